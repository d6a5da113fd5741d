"""What an evaluation can be told, beside which recordings (`nvv.training.arguments.DataArguments`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..data import SPLITS
from ..training.arguments import ArgumentsError, as_mapping
from .corruptions import CORRUPTIONS
from .label_map import UNMAPPED_ANSWERS, UNMAPPED_CLIPS
from .pass_arguments import PassArguments

__all__ = ["EvaluateArguments"]


@dataclass
class EvaluateArguments(PassArguments):
    """Which model, on which splits, and how its labels are read.

    Raises:
        ArgumentsError: for a value outside its range, and options without effect.
    """

    model: str = field(
        default="",
        metadata={
            "help": "The classifier: a run's folder, a checkpoint in one (runs/x/checkpoint-120), any folder or Hub id "
            "with a repository of nvv or with an audio classifier of transformers."
        },
    )
    trust_remote_code: bool = field(
        default=False,
        metadata={"help": "Run the code that comes with a model of another project. Never needed for those of nvv."},
    )
    splits: list[str] = field(
        default_factory=lambda: ["test"], metadata={"help": f"Splits to evaluate: {', '.join(SPLITS)}."}
    )
    label_map: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "YAML file of lines `model label: corpus label`, or such a mapping: needed where the model's "
            "labels are not the corpus's. Several labels of the model may share one (their probabilities add up); null "
            'where the corpus has no such class; the key "*" stands for all labels that are not named.'
        },
    )
    unmapped_clips: str = field(
        default="drop",
        metadata={
            "choices": UNMAPPED_CLIPS,
            "help": "Clips of a class that no label of the model stands for. drop: left out and counted, the class is "
            "not evaluated. wrong: kept, every answer is wrong. error: stop.",
        },
    )
    unmapped_answers: str = field(
        default="wrong",
        metadata={
            "choices": UNMAPPED_ANSWERS,
            "help": "Labels of the model that are mapped to null. wrong: together an answer of their own, (other), "
            "given where one of them is more probable than every class, and always wrong: the model as it is. "
            "renormalise: left out, as if the model knew that they do not occur.",
        },
    )
    max_seconds: float | None = field(
        default=None,
        metadata={
            "help": "Cut clips to their first so many seconds; none: as the model says, and whole clips for models of "
            "transformers."
        },
    )
    only_present_targets: bool = field(
        default=False,
        metadata={
            "help": "Evaluate a model with targets or tasks on those whose columns the corpus has; otherwise all must "
            "be there."
        },
    )
    robustness: bool = field(
        default=False,
        metadata={
            "help": "Let the model hear the clips corrupted in many ways too, one pass each, and write robustness.csv, "
            ".md, .json and .png. An interrupted report goes on when the same command is run again."
        },
    )
    robustness_conditions: list[str] | None = field(
        default=None,
        metadata={"help": f"Corruptions to try: {', '.join(CORRUPTIONS)}; none: all that can be had here."},
    )
    robustness_severities: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Other severities than the usual ones, mild to severe: {noise: [20, 10, 0], reverberation: [0.5]}; "
            "on the command line as JSON text."
        },
    )
    robustness_seed: int = field(
        default=0, metadata={"help": "Seed of the noise, babble and rooms: the same for models to be compared."}
    )
    by: list[str] | None = field(
        default=None,
        metadata={
            "help": "Score groups of clips too: columns of the corpus such as sex, speaker, or age_band for bands of "
            "the numbers in age; separated by commas or spaces. Writes groups.csv, .md, .json and .png."
        },
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write the results; none: runs/evaluate_MODEL_CORPUS."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Replace the evaluation of something else in output_dir."}
    )

    def __post_init__(self) -> None:
        """Check every field that has a bounded set of values."""
        super().__post_init__()
        if not self.model:
            raise ArgumentsError("model: expected a folder or a Hub id, found nothing. Pass --model runs/NAME.")
        if not self.splits or not set(self.splits) <= set(SPLITS) or len(set(self.splits)) < len(self.splits):
            raise ArgumentsError(f"splits: expected some of {', '.join(SPLITS)}, each once; found {self.splits!r}.")
        if self.max_seconds is not None and self.max_seconds <= 0:
            raise ArgumentsError(f"max_seconds: expected more than 0, found {self.max_seconds!r}.")
        self._check_reports()
        for name, allowed in (("unmapped_clips", UNMAPPED_CLIPS), ("unmapped_answers", UNMAPPED_ANSWERS)):
            if getattr(self, name) not in allowed:
                raise ArgumentsError(f"{name}: expected one of {', '.join(allowed)}; found {getattr(self, name)!r}.")
            if self.label_map is None and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ArgumentsError(
                    f"{name}: {getattr(self, name)!r} has no effect without a label_map; leave it out."
                )

    def _check_reports(self) -> None:
        """Check the options of both reports."""
        self.robustness_severities = as_mapping("robustness_severities", self.robustness_severities)
        if self.robustness_conditions is not None:
            self.robustness_conditions = _split_at_commas(self.robustness_conditions)
        if self.by is not None:
            self.by = _split_at_commas(self.by)
            if not self.by or len(set(self.by)) < len(self.by):
                raise ArgumentsError(f"by: expected columns, each once; found {self.by!r}.")
        if self.robustness_seed < 0:
            raise ArgumentsError(f"robustness_seed: expected 0 or more, found {self.robustness_seed!r}.")
        for name in ("robustness_conditions", "robustness_severities", "robustness_seed"):
            value = getattr(self, name)
            if not self.robustness and value != type(self).__dataclass_fields__[name].default:
                raise ArgumentsError(f"{name}: {value!r} has no effect without --robustness; leave it out.")


def _split_at_commas(values: list[str]) -> list[str]:
    return [part for value in values for part in value.split(",") if part]
