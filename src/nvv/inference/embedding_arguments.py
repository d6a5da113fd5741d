"""What scoring embeddings can be told, beside which recordings (`nvv.training.arguments.DataArguments`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..metrics import SCORE_NAMES
from ..training.arguments import ArgumentsError
from .embedding_plots import PROJECTIONS
from .embedding_scores import C_VALUES, NUMBERS_OF_NEIGHBOURS
from .pass_arguments import PassArguments

__all__ = ["EmbeddingArguments"]


@dataclass
class EmbeddingArguments(PassArguments):
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
    seed: int = field(default=0, metadata={"help": "Of the resamples and of the projection."})
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write the results; none: runs/embeddings_MODEL_CORPUS."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Replace the embeddings of something else in output_dir."}
    )

    def __post_init__(self) -> None:
        """Check every field that has a bounded set of values."""
        super().__post_init__()
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
        for name, least in (("max_plot_clips", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ArgumentsError(f"{name}: expected at least {least}, found {getattr(self, name)!r}.")
