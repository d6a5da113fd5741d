"""What every report of an evaluation says beside its numbers: which model, which clips, and why they may be no result.

Taken from an evaluation's `metrics.json`; how reports are worded and drawn is the neighbours' business. Own work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "RANDOM_WEIGHTS",
    "SCORE_TITLES",
    "SYNTHETIC_SOUNDS",
    "ReportFacts",
    "is_share",
    "report_facts",
    "score_title",
    "written",
]

RANDOM_WEIGHTS = "The model's encoder has random weights: these scores are no result."
SYNTHETIC_SOUNDS = "The sounds are computed: these scores say nothing about people's voices."

SCORE_TITLES = {
    "macro_f1": "macro-F1",
    "uar": "UAR",
    "accuracy": "accuracy",
    "ccc": "CCC",
    "pearson": "Pearson correlation",
    "mae": "mean absolute error",
    "mean_shift": "mean shift",
    "mean_score": "mean score",
}
_SHARES = ("macro_f1", "uar", "accuracy")


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """Which model was evaluated on what.

    Args:
        model: its name.
        corpus: the corpus's name in words.
        protocol: how it was split.
        is_random: whether the encoder has random weights.
        is_synthetic: whether the sounds are computed.
        warnings: what else the reader of the scores must know.
        recorded: what identifies model and corpus, for the JSON file.
    """

    model: str
    corpus: str
    protocol: str
    is_random: bool = False
    is_synthetic: bool = False
    warnings: Sequence[str] = ()
    recorded: Mapping[str, Any] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """Sentences that stand above every table."""
        return [
            *([RANDOM_WEIGHTS] if self.is_random else []),
            *([SYNTHETIC_SOUNDS] if self.is_synthetic else []),
            *self.warnings,
        ]

    @property
    def short_notes(self) -> str:
        """The same in a few words, for pictures; empty where the scores are a result."""
        parts = [
            *(["random weights: no result"] if self.is_random else []),
            *(["computed sounds: no evidence about voices"] if self.is_synthetic else []),
        ]
        return "; ".join(parts).capitalize()


def report_facts(metrics: Mapping[str, Any]) -> ReportFacts:
    """Take a report's facts from an evaluation's metrics.

    Args:
        metrics: the content of its `metrics.json`.

    Returns:
        The facts.
    """
    corpus, evaluation = metrics["corpus"], metrics["evaluation"]
    names = ("name", "config", "manifest_digest", "is_synthetic")
    return ReportFacts(
        model=evaluation["model"]["id"],
        corpus=corpus.get("pretty_name") or corpus["name"],
        protocol=corpus["config"],
        is_random=bool(metrics["backbone"]["random_init"]),
        is_synthetic=bool(corpus.get("is_synthetic")),
        warnings=tuple(evaluation["warnings"]),
        recorded={
            "model": evaluation["model"],
            "backbone": metrics["backbone"],
            "corpus": {name: corpus.get(name) for name in names},
            "max_seconds": evaluation["max_seconds"],
            "precision": evaluation["precision"],
        },
    )


def is_share(score: str) -> bool:
    """Say whether a score is a share, which is written in per cent."""
    return any(score == name or score.endswith(f"_{name}") for name in _SHARES)


def score_title(score: str) -> str:
    """Return a score's name in words, such as `CCC, Valence` or `type: UAR`.

    Args:
        score: by the names of `resampled_scores.score_answers`.
    """
    name, _, target = score.partition("/")
    if name in SCORE_TITLES:
        return f"{SCORE_TITLES[name]}, {target}" if target else SCORE_TITLES[name]
    known = next((one for one in SCORE_TITLES if name.endswith(f"_{one}")), None)
    if known is None:
        return score
    title = f"{name.removesuffix(f'_{known}')}: {SCORE_TITLES[known]}"
    return f"{title}, {target}" if target else title


def written(value: float, *, score: str, sign: bool = False) -> str:
    """Return a score as tables show it: shares in per cent with one decimal, all else with three decimals.

    Args:
        value: the score, or a difference of two.
        score: which one.
        sign: write a plus sign too.
    """
    plus = "+" if sign else ""
    text = f"{100 * value:{plus}.1f}" if is_share(score) else f"{value:{plus}.3f}"
    if float(text) == 0:
        text = text.replace("-", plus)
    return text.replace("-", "−")  # a minus sign, which a table does not break after
