"""What choosing an operating point can be told, beside which recordings (`nvv.training.arguments.DataArguments`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..metrics.thresholds import FIXED_THRESHOLDS, ThresholdError, ThresholdRule
from ..training.arguments import ArgumentsError
from .pass_arguments import PassArguments

__all__ = ["DetectArguments"]

_RULE_FIELDS = ("wanted_precision", "wanted_recall", "max_false_positives")


@dataclass
class DetectArguments(PassArguments):
    """Which model, which label, by which rule its threshold is chosen, and where that is written.

    Raises:
        ArgumentsError: for a value outside its range, and options that contradict each other.
    """

    model: str = field(
        default="",
        metadata={
            "help": "The classifier: a run's folder; with --store_in_model false also a checkpoint, a Hub id, or an "
            "audio classifier of transformers."
        },
    )
    label: str = field(default="", metadata={"help": "The model's label to detect against the rest."})
    wanted_precision: float | None = field(
        default=None,
        metadata={"help": "Take the threshold of the largest recall with at least this precision, in (0, 1]."},
    )
    wanted_recall: float | None = field(
        default=None,
        metadata={"help": "Take the threshold of the largest precision with at least this recall, in (0, 1]."},
    )
    max_false_positives: int | None = field(
        default=None,
        metadata={
            "help": "Take the threshold of the largest recall with at most so many false positives on validation. None "
            "of the three: the threshold of the best F1."
        },
    )
    thresholds: list[float] = field(
        default_factory=lambda: list(FIXED_THRESHOLDS),
        metadata={"help": "Thresholds of the tables, in (0, 1); every distinct score is in the curves in any case."},
    )
    calibrate: bool = field(
        default=True,
        metadata={
            "help": "Fit a temperature on validation, which divides the logits; false: leave the model's as it is."
        },
    )
    store_in_model: bool = field(
        default=True,
        metadata={"help": "Store threshold and temperature in the model's config.json; false: write the report only."},
    )
    replace_operating_points: bool = field(
        default=False,
        metadata={
            "help": "Fit the temperature anew although other labels have operating points that were chosen with the "
            "model's, and remove those."
        },
    )
    trust_remote_code: bool = field(
        default=False,
        metadata={"help": "Run the code that comes with a model of another project. Never needed for those of nvv."},
    )
    bf16: bool = field(
        default=False,
        metadata={"help": "Compute in bfloat16 throughout. The threshold is then for a model that does so, too."},
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write the report; none: runs/detect_LABEL_MODEL_CORPUS."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Replace the report on something else in output_dir."}
    )

    def __post_init__(self) -> None:
        """Check every field that has a bounded set of values."""
        super().__post_init__()
        for name, example in (("model", "runs/NAME"), ("label", "laughing")):
            if not getattr(self, name):
                raise ArgumentsError(f"{name}: expected a name, found nothing. Pass --{name} {example}.")
        self.rule  # noqa: B018 - checks the three fields behind it
        if not self.thresholds or not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ArgumentsError(f"thresholds: expected numbers between 0 and 1, found {self.thresholds!r}.")
        if self.replace_operating_points and not (self.calibrate and self.store_in_model):
            raise ArgumentsError("replace_operating_points: has no effect without calibrate and store_in_model.")

    @property
    def rule(self) -> ThresholdRule:
        """How the threshold is chosen.

        Raises:
            ArgumentsError: for several rules at once, or a value that the rule cannot have.
        """
        given = [name for name in _RULE_FIELDS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ArgumentsError(f"{', '.join(given)}: expected one of these at most; each is a rule of its own.")
        try:
            return (
                ThresholdRule(kind=given[0], value=getattr(self, given[0])) if given else ThresholdRule(kind="best_f1")
            )
        except ThresholdError as error:
            raise ArgumentsError(str(error)) from error
