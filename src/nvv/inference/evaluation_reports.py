"""The reports that an evaluation makes where they are asked for: on robustness, and on groups of clips.

What they hold is computed in `robustness` and `group_report`; whether and on what is `evaluation`'s to say. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..training.arguments import ArgumentsError
from ..training.dataset import ClipDataset
from .arguments import EvaluateArguments
from .group_columns import GroupColumn
from .group_report import TaskGroups, group_report
from .group_tables import write_groups
from .load import Classifier
from .read_answers import AnswerReader
from .report_facts import report_facts
from .robustness import RobustnessReport, robustness_report
from .robustness_tables import write_robustness

__all__ = ["Reports"]


@dataclass(kw_only=True)
class Reports:
    """The reports of an evaluation, split after split.

    Args:
        columns: by which groups are made; none: no report on groups.
        robustness: the finished ones by split.
        groups: the finished ones by split.
    """

    columns: Sequence[GroupColumn] = ()
    robustness: dict[str, RobustnessReport] = field(default_factory=dict)
    groups: dict[str, list[TaskGroups]] = field(default_factory=dict)

    def add(
        self,
        split: str,
        clips: ClipDataset,
        logits: NDArray[np.float32],
        *,
        classifier: Classifier,
        read_answers: AnswerReader,
        babble_from: ClipDataset | None,
        arguments: EvaluateArguments,
        keep_in: Path,
    ) -> None:
        """Make the reports on one split, as far as they are asked for.

        Args:
            split: its name.
            clips: its clips.
            logits: what the model answered on them (clips, outputs), on the device where it now is.
            classifier: the model.
            read_answers: from logits to the answers that are scored.
            babble_from: the clips that babble is made of; None: `clips`.
            arguments: which reports, and how.
            keep_in: folder of finished passes.

        Raises:
            ArgumentsError: for a split without a single reference.
        """
        if not (arguments.robustness or self.columns):
            return
        answers = read_answers(logits)
        if not any(one.has_reference.any() for one in answers):
            raise ArgumentsError(
                f"splits: {split} has no references, so that there is nothing to report by groups or corruptions. "
                "Leave it out."
            )
        if self.columns:
            self.groups[split] = group_report(
                answers,
                self.columns,
                split=split,
                speaker_ids=clips.speaker_ids,
                num_resamples=arguments.num_bootstrap_resamples,
            )
        if arguments.robustness:
            self.robustness[split] = robustness_report(
                classifier.model,
                classifier.feature_extractor,
                clips,
                conditions=arguments.robustness_conditions,
                severities=arguments.robustness_severities,
                seed=arguments.robustness_seed,
                num_resamples=arguments.num_bootstrap_resamples,
                read_answers=read_answers,
                clean_logits=logits,
                babble_from=babble_from,
                keep_in=keep_in,
                max_batch_seconds=arguments.max_batch_seconds,
                bf16=arguments.bf16,
                num_workers=arguments.num_workers,
            )

    @property
    def tables(self) -> list[Path]:
        """The tables for people that `write` writes, by their names in the folder."""
        return [Path(name) for name, made in (("robustness.md", self.robustness), ("groups.md", self.groups)) if made]

    def write(self, folder: Path, metrics: Mapping[str, Any]) -> None:
        """Write what was reported.

        Args:
            folder: where.
            metrics: the evaluation's.
        """
        facts = report_facts(metrics)
        if self.robustness:
            write_robustness(folder, self.robustness, facts=facts)
        if self.groups:
            write_groups(folder, self.groups, facts=facts)
