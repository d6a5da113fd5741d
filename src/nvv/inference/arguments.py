"""What an evaluation can be told, beside which recordings (`nvv.training.arguments.DataArguments`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..data import SPLITS
from ..training.arguments import ArgumentsError
from .label_map import UNMAPPED_ANSWERS, UNMAPPED_CLIPS

__all__ = ["EvaluateArguments"]


@dataclass
class EvaluateArguments:
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
    model_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the model on the Hub; none: its main branch."}
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
    max_batch_seconds: float | None = field(
        default=None,
        metadata={
            "help": "Seconds of audio in a batch at most, padding included; none: what suits the device. Changes "
            "speed only."
        },
    )
    bf16: bool = field(
        default=False, metadata={"help": "Compute in bfloat16 throughout: faster on most devices, and less exact."}
    )
    device: str | None = field(
        default=None,
        metadata={"help": "Where to compute: cpu, cuda, cuda:1 …; none: the accelerator, where there is one."},
    )
    num_workers: int | None = field(
        default=None, metadata={"help": "Threads that decode ahead; none: one a processor, at most eight."}
    )
    num_bootstrap_resamples: int = field(default=1000, metadata={"help": "Bootstrap resamples behind each interval."})
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write the results; none: runs/evaluate_MODEL_CORPUS."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Replace the evaluation of something else in output_dir."}
    )

    def __post_init__(self) -> None:
        """Check every field that has a bounded set of values."""
        if not self.model:
            raise ArgumentsError("model: expected a folder or a Hub id, found nothing. Pass --model runs/NAME.")
        if not self.splits or not set(self.splits) <= set(SPLITS) or len(set(self.splits)) < len(self.splits):
            raise ArgumentsError(f"splits: expected some of {', '.join(SPLITS)}, each once; found {self.splits!r}.")
        for name in ("max_seconds", "max_batch_seconds"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ArgumentsError(f"{name}: expected more than 0, found {getattr(self, name)!r}.")
        if self.num_workers is not None and self.num_workers < 0:
            raise ArgumentsError(f"num_workers: expected 0 or more, found {self.num_workers!r}.")
        if self.num_bootstrap_resamples < 1:
            raise ArgumentsError(
                f"num_bootstrap_resamples: expected at least 1, found {self.num_bootstrap_resamples!r}."
            )
        for name, allowed in (("unmapped_clips", UNMAPPED_CLIPS), ("unmapped_answers", UNMAPPED_ANSWERS)):
            if getattr(self, name) not in allowed:
                raise ArgumentsError(f"{name}: expected one of {', '.join(allowed)}; found {getattr(self, name)!r}.")
            if self.label_map is None and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ArgumentsError(
                    f"{name}: {getattr(self, name)!r} has no effect without a label_map; leave it out."
                )
