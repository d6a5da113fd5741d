"""What a run of baselines can be told, beside the data: `BaselineArguments`.

Reading them from YAML files and the command line is `nvv.training.config_files`' business. Fields that training has too
(`max_seconds`, `seed`, `class_balanced_loss`, …) have its names and meanings, so that one grid can set them for both.
Own work.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ..metrics import SCORE_NAMES
from ..training.arguments import AUTOMATIC_METRIC, ArgumentsError

FEATURES = ("duration", "mfcc", "egemaps", "compare")
GUESSING = ("majority", "random")
LEARNING = ("logistic_regression", "linear_svm")
CLASSIFIERS = (*GUESSING, *LEARNING)


@dataclass
class BaselineArguments:
    """Which baselines, how they are chosen and where they go. Lengths are in seconds.

    Raises:
        ArgumentsError: for a value outside its range, and for features that no classifier uses.
    """

    features: list[str] | None = field(
        default=None, metadata={"help": f"Features, some of {', '.join(FEATURES)}; none: all of them."}
    )
    classifiers: list[str] | None = field(
        default=None,
        metadata={
            "help": f"Classifiers, some of {', '.join(CLASSIFIERS)}; none: all of them. The first two guess and need "
            "no features."
        },
    )
    c_values: list[float] = field(
        default_factory=lambda: [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0],
        metadata={"help": "Inverse strengths of regularization (scikit-learn's C) that validation chooses from."},
    )
    metric_for_best_model: str = field(
        default="macro_f1", metadata={"help": f"Validation score that chooses C: {', '.join(SCORE_NAMES)}."}
    )
    class_balanced_loss: bool = field(
        default=False,
        metadata={"help": "Weigh class c by n / (k · n_c): n training clips, k classes, n_c clips of the class."},
    )
    pool_folds: bool = field(
        default=False,
        metadata={"help": "Train on each of the corpus's folds and score all test clips together, each tested once."},
    )
    max_seconds: float = field(default=7.0, metadata={"help": "Longer clips are cropped from their start."})
    seed: int = field(default=42, metadata={"help": "Of random guesses and of the solver of the linear SVM."})
    num_bootstrap_resamples: int = field(default=1000, metadata={"help": "Bootstrap resamples behind each interval."})
    num_workers: int | None = field(
        default=None, metadata={"help": "Threads that compute features; none: one a processor, at most eight."}
    )
    features_cache_dir: str | None = field(
        default=None, metadata={"help": "Where features are kept; none: nvv/baseline_features in HF_HOME."}
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "Where results go; none: runs/baselines_CORPUS_PROTOCOL."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Replace the baselines that another run left in output_dir."}
    )

    def __post_init__(self) -> None:
        """Check every field, and that the features are used."""
        _check_choices("features", self.features, allowed=FEATURES)
        _check_choices("classifiers", self.classifiers, allowed=CLASSIFIERS)
        if self.metric_for_best_model == AUTOMATIC_METRIC:
            self.metric_for_best_model = "macro_f1"  # of classes, which are all that is learned here
        _check_choices("metric_for_best_model", [self.metric_for_best_model], allowed=SCORE_NAMES)
        if not self.c_values or min(self.c_values) <= 0 or len(set(self.c_values)) < len(self.c_values):
            raise ArgumentsError(f"c_values: expected different numbers above 0, found {self.c_values!r}.")
        for name in ("max_seconds", "num_bootstrap_resamples", "num_workers"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ArgumentsError(f"{name}: expected more than 0, found {value!r}.")
        if self.features and not set(self.classifiers or LEARNING) & set(LEARNING):
            raise ArgumentsError(
                f"features: {', '.join(self.features)} would have no effect, because {' and '.join(self.classifiers)} "
                f"need none. Name {' or '.join(LEARNING)} in classifiers too."
            )

    @property
    def pairs(self) -> list[tuple[str | None, str]]:
        """The baselines asked for: each guess with None, then each of the features with each classifier that learns."""
        asked = self.classifiers or CLASSIFIERS
        guesses = [(None, classifier) for classifier in GUESSING if classifier in asked]
        return guesses + [
            (features, classifier)
            for features in FEATURES
            for classifier in LEARNING
            if features in (self.features or FEATURES) and classifier in asked
        ]


def _check_choices(name: str, values: Collection[str] | None, *, allowed: Collection[str]) -> None:
    """Raise unless there are values, each allowed and named once; None stands for all."""
    if values is None:
        return
    wrong = [value for value in values if value not in allowed]
    if wrong or not values or len(set(values)) < len(values):
        raise ArgumentsError(f"{name}: expected some of {', '.join(allowed)}, each once; found {values!r}.")
