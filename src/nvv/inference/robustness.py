"""How a model's scores fall with noise, babble, reverberation, narrow bands and lossy coding: one pass a condition.

Each kind of corruption in each severity is one pass over the split, on the same clips with the same corrupted samples
for every model. Every score has its bootstrap interval, and its difference to the clean clips has a paired one. What is
done to clips is the neighbour `corruptions`', scoring `resampled_scores`', tables and pictures `robustness_tables`' and
`robustness_plots`'. Scores are in [0, 1], CCC in [-1, 1]. Own work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import PreTrainedModel
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor

from ..training.dataset import ClipDataset
from .classify import classify_clips
from .corruptions import (
    CORRUPTIONS,
    CorruptedClips,
    Corruption,
    Severity,
    available_corruptions,
    chosen_severities,
)
from .kept_passes import KeptPasses, clips_digest, model_digest
from .read_answers import AnswerReader, answers_of
from .resampled_scores import AnsweredTask, ResampledScores, chance_scores, drawn_units, score_answers, shown_scores

__all__ = ["ConditionScores", "RobustnessReport", "robustness_report"]


@dataclass(frozen=True, kw_only=True)
class ConditionScores:
    """The scores under one condition.

    Args:
        corruption: its kind, a name of `CORRUPTIONS`.
        severity: in the unit of the corruption; None for one that is there or not.
        scores: for each score `value`, `low`, `high`, and the difference to the clean clips: `difference`,
            `difference_low`, `difference_high`, of the paired bootstrap.
    """

    corruption: str
    severity: Severity
    scores: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class RobustnessReport:
    """A model's scores on one split, clean and under every condition.

    Args:
        num_clips: clips that were heard.
        num_speakers: who made them; None where unknown.
        score_names: the scores that tables show, the main one first.
        clean: for each score `value`, `low` and `high`.
        conditions: the scores under each, in the order of `CORRUPTIONS` and from mild to severe.
        chance: what guessing scores, where a score has such a level.
        interval: how intervals were made: `method`, `unit` (what was drawn), `confidence`, `num_resamples`, `seed`.
        seed: of everything random in the corruptions.
        left_out: corruptions that cannot be had here, with the reason.
    """

    num_clips: int
    num_speakers: int | None
    score_names: Sequence[str]
    clean: Mapping[str, Mapping[str, float]]
    conditions: Sequence[ConditionScores]
    chance: Mapping[str, float]
    interval: Mapping[str, Any]
    seed: int
    left_out: Mapping[str, str] = field(default_factory=dict)

    def of(self, corruption: str) -> list[ConditionScores]:
        """Return the conditions of one kind, from mild to severe."""
        return [one for one in self.conditions if one.corruption == corruption]

    @property
    def corruptions(self) -> list[Corruption]:
        """The kinds that were tried, in order."""
        return [CORRUPTIONS[name] for name in dict.fromkeys(one.corruption for one in self.conditions)]


def robustness_report(
    model: PreTrainedModel,
    feature_extractor: SequenceFeatureExtractor,
    clips: ClipDataset,
    *,
    conditions: Sequence[str] | None = None,
    severities: Mapping[str, Sequence[float]] | None = None,
    seed: int = 0,
    num_resamples: int = 1_000,
    read_answers: AnswerReader | None = None,
    clean_logits: NDArray[np.float32] | None = None,
    babble_from: ClipDataset | None = None,
    keep_in: Path | None = None,
    max_batch_seconds: float | None = None,
    bf16: bool = False,
    device: torch.device | str | None = None,
    num_workers: int | None = None,
    show_progress: bool = True,
) -> RobustnessReport:
    """Score a model on clips as they are and corrupted in many ways.

    Args:
        model: an `NvvForAudioClassification`, or any of transformers' audio classifiers; put into evaluation mode.
        feature_extractor: the model's.
        clips: one split. Give it `memory_mebibytes` for its decoded clips, or each pass decodes them anew.
        conditions: which corruptions, of `CORRUPTIONS`; None: all that the installed libraries can make.
        severities: other severities than the usual ones, by corruption, from mild to severe.
        seed: of everything random in the corruptions.
        num_resamples: bootstrap resamples behind each interval.
        read_answers: from logits (clips, outputs) to the answers to score; None: the model's labels are those of the
            clips, in any order, or its tasks are those of `clips.tasks`.
        clean_logits: the model's logits on the clips as they are, where they are known already.
        babble_from: the clips that babble is made of; None: `clips`.
        keep_in: a folder where finished passes are kept: where it is interrupted and called again with the same model
            and clips, it goes on. The caller removes it. None: nothing is kept.
        max_batch_seconds: as in `classify_clips`.
        bf16: as in `classify_clips`.
        device: as in `classify_clips`.
        num_workers: as in `classify_clips`.
        show_progress: draw progress bars.

    Returns:
        All scores, with intervals.

    Raises:
        ArgumentsError: for corruptions or severities that there are not, and labels that the clips do not have.
        ValueError: for clips without a single reference, and as `classify_clips`.
        nvv.audio.AudioError: for a clip that cannot be decoded, naming it.

    Example:
        >>> report = robustness_report(model, feature_extractor, clips, conditions=["noise"])  # doctest: +SKIP
        >>> [(one.severity, one.scores["macro_f1"]["difference"]) for one in report.conditions]  # doctest: +SKIP
        [(30.0, -0.01), (20.0, -0.03), (10.0, -0.12), (5.0, -0.2), (0.0, -0.31)]
    """
    chosen = chosen_severities(conditions, severities)
    read_answers = read_answers or answers_of(model.config, clips)
    groups, interval = drawn_units(clips.speaker_ids, num_resamples=num_resamples)
    passes = [(CORRUPTIONS[name], severity) for name, levels in chosen.items() for severity in levels]
    corrupted = [
        CorruptedClips(clips, corruption=corruption, severity=severity, seed=seed, babble_from=babble_from)
        for corruption, severity in passes
    ]

    def heard(what: Any) -> NDArray[np.float32]:
        return classify_clips(
            model,
            feature_extractor,
            what,
            max_batch_seconds=max_batch_seconds,
            bf16=bf16,
            device=device,
            num_workers=num_workers,
            show_progress=show_progress,
        )

    def scored(answers: Sequence[AnsweredTask]) -> ResampledScores:
        return score_answers(answers, groups=groups, num_resamples=num_resamples, seed=interval["seed"])

    answers = read_answers(heard(clips) if clean_logits is None else clean_logits)
    clean = scored(answers)
    kept = _kept(keep_in, model, feature_extractor, clips, seed=seed, bf16=bf16)
    found = []
    with tqdm(total=len(passes), desc="Robustness", unit="condition", disable=not show_progress) as progress:
        for (corruption, severity), what in zip(passes, corrupted, strict=True):
            progress.set_postfix_str(_name(corruption, severity))
            logits = _passed(kept, what, lambda what=what: heard(what), name=_name(corruption, severity))
            found.append(_compared(corruption, severity, scored(read_answers(logits)), clean=clean))
            progress.update()
    return RobustnessReport(
        num_clips=len(clips),
        num_speakers=None if clips.speaker_ids is None else len(set(clips.speaker_ids)),
        score_names=shown_scores(answers),
        clean={name: clean.interval(name) for name in clean.values},
        conditions=found,
        chance=chance_scores(answers),
        interval=interval,
        seed=seed,
        left_out={} if conditions is not None else {name: why for name, why in available_corruptions().items() if why},
    )


def _name(corruption: Corruption, severity: Severity) -> str:
    return corruption.name if severity is None else f"{corruption.name}_{severity:g}"


def _kept(
    folder: Path | None,
    model: PreTrainedModel,
    feature_extractor: SequenceFeatureExtractor,
    clips: ClipDataset,
    *,
    seed: int,
    bf16: bool,
) -> KeptPasses:
    if folder is None:
        return KeptPasses(None, settings={})
    settings = {
        "model": model_digest(model, feature_extractor),
        "clips": clips_digest(clips),
        "max_seconds": clips.max_seconds,
        "seed": seed,
        "bf16": bf16,
    }
    return KeptPasses(folder, settings=settings)


def _passed(
    kept: KeptPasses, clips: CorruptedClips, compute: Callable[[], NDArray[np.float32]], *, name: str
) -> NDArray[np.float32]:
    """Return the logits of a pass, from its file or from the model."""
    # The first clip as it is heard stands for the code and the libraries that corrupt.
    condition = {"name": name, "heard": hashlib.sha256(clips[0]["input_values"].tobytes()).hexdigest()}
    logits = kept.read(name, condition)
    if logits is None:
        logits = compute()
        kept.write(name, condition, logits)
    return logits


def _compared(
    corruption: Corruption, severity: Severity, scores: ResampledScores, *, clean: ResampledScores
) -> ConditionScores:
    named: dict[str, dict[str, float]] = {}
    for name in clean.values:
        difference = scores.difference(name, clean)
        named[name] = {
            **scores.interval(name),
            "difference": difference["value"],
            "difference_low": difference["low"],
            "difference_high": difference["high"],
        }
    return ConditionScores(corruption=corruption.name, severity=severity, scores=named)
