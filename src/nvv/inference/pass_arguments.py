"""What every program that lets a model hear clips can be told: which version of it, where and how it computes.

The programs' own options stand in `arguments`, `detect_arguments` and `embedding_arguments`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..training.arguments import ArgumentsError

__all__ = ["PassArguments"]


@dataclass
class PassArguments:
    """How a model hears clips and how sure its scores are.

    Raises:
        ArgumentsError: for a value outside its range.
    """

    model_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the model on the Hub; none: its main branch."}
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

    def __post_init__(self) -> None:
        """Check every field that has a bounded set of values."""
        if self.max_batch_seconds is not None and self.max_batch_seconds <= 0:
            raise ArgumentsError(f"max_batch_seconds: expected more than 0, found {self.max_batch_seconds!r}.")
        if self.num_workers is not None and self.num_workers < 0:
            raise ArgumentsError(f"num_workers: expected 0 or more, found {self.num_workers!r}.")
        if self.num_bootstrap_resamples < 1:
            raise ArgumentsError(
                f"num_bootstrap_resamples: expected at least 1, found {self.num_bootstrap_resamples!r}."
            )
