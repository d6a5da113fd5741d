"""What scoring embeddings can be told, beside which recordings (`nvv.training.arguments.DataArguments`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..metrics import SCORE_NAMES
from ..training.arguments import ArgumentsError
from .embedding_plots import PROJECTIONS
from .embedding_scores import C_VALUES, NUMBERS_OF_NEIGHBOURS

__all__ = ["EmbeddingArguments"]


@dataclass
class EmbeddingArguments:
    """Which model, how its embeddings are scored and drawn, and where that is written.

    Raises:
        ArgumentsError: for a value outside its range.
    """

    model: str = field(
        default="",
        metadata={
            "help": "A model of nvv: a run's folder, a checkpoint in one (runs/x/checkpoint-120), or a Hub id. Models "
            "with the head `embedding` were trained for this; of others what their last layers read is taken."
        },
    )
    model_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the model on the Hub; none: its main branch."}
    )
    untuned: bool = field(
        default=False,
        metadata={
            "help": "Score the embeddings of the backbone before it was tuned too: its hidden states, pooled. Needs "
            "the backbone's own weights."
        },
    )
    numbers_of_neighbours: list[int] = field(
        default_factory=lambda: list(NUMBERS_OF_NEIGHBOURS),
        metadata={"help": "How many training clips may vote; validation chooses."},
    )
    c_values: list[float] = field(
        default_factory=lambda: list(C_VALUES),
        metadata={"help": "Inverse strengths of the linear probe's regularization; validation chooses."},
    )
    metric_for_best_model: str = field(
        default="macro_f1", metadata={"help": f"Validation score that chooses: {', '.join(SCORE_NAMES)}."}
    )
    projection: str | None = field(
        default=None,
        metadata={
            "help": f"How embeddings are drawn in the plane: {', '.join(PROJECTIONS)}; none: umap where umap-learn is "
            "installed, else tsne."
        },
    )
    max_plot_clips: int = field(default=5000, metadata={"help": "Clips of each split that are drawn at most."})
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
    seed: int = field(default=0, metadata={"help": "Of the resamples and of the projection."})
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write the results; none: runs/embeddings_MODEL_CORPUS."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Replace the embeddings of something else in output_dir."}
    )

    def __post_init__(self) -> None:
        """Check every field that has a bounded set of values."""
        if not self.model:
            raise ArgumentsError("model: expected a folder or a Hub id, found nothing. Pass --model runs/NAME.")
        if self.metric_for_best_model not in SCORE_NAMES:
            raise ArgumentsError(
                f"metric_for_best_model: expected one of {', '.join(SCORE_NAMES)}; found "
                f"{self.metric_for_best_model!r}."
            )
        if self.projection is not None and self.projection not in PROJECTIONS:
            raise ArgumentsError(f"projection: expected one of {', '.join(PROJECTIONS)}; found {self.projection!r}.")
        for name in ("numbers_of_neighbours", "c_values"):
            if not getattr(self, name) or min(getattr(self, name)) <= 0:
                raise ArgumentsError(f"{name}: expected numbers above 0, found {getattr(self, name)!r}.")
        for name, least in (("max_plot_clips", 1), ("num_bootstrap_resamples", 1), ("num_workers", 0), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ArgumentsError(f"{name}: expected at least {least}, found {value!r}.")
        if self.max_batch_seconds is not None and self.max_batch_seconds <= 0:
            raise ArgumentsError(f"max_batch_seconds: expected more than 0, found {self.max_batch_seconds!r}.")
