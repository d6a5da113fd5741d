"""The part of a model card on how probabilities become decisions: calibration and operating points.

Both are in the model's config where they were chosen (`nvv.inference.operating_points`), on the validation split. Own
work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .card_format import percent, table

if TYPE_CHECKING:
    from .model_card import CardFacts

_SPLITS = ("validation", "test")

_CODE = """\
```python
detector = AutoModelForAudioClassification.from_pretrained(
    repository, trust_remote_code=True, apply_operating_point={label}
).eval()
with torch.inference_mode():
    is_detected = detector.detect(**inputs)  # (1,)
    probabilities = detector(**inputs).logits.softmax(dim=-1)  # {name}: 0.5 or more where detected
```"""


def decisions_text(facts: CardFacts) -> str:
    """Write the sections on operating points and on calibration; empty where the model has neither."""
    return "\n\n".join(part for part in (_operating_points(facts), _calibration(facts)) if part)


def is_calibrated(facts: CardFacts) -> bool:
    """Say whether the logits are divided by a temperature."""
    return _temperature(facts) != 1


def _temperature(facts: CardFacts) -> float:
    return facts.model_config.get("calibration_temperature", 1.0)


def _points(facts: CardFacts) -> Mapping[str, Mapping[str, Any]]:
    return facts.model_config.get("operating_points") or {}


def _operating_points(facts: CardFacts) -> str:
    points = _points(facts)
    if not points:
        return ""
    applied = facts.model_config.get("apply_operating_point")
    label = applied or next(iter(points))
    text = (
        "A detector says yes where the probability of its class reaches a threshold. The rule chose it on the "
        f"validation split{_chosen_on(points)}, for clips cut and padded as this model does it. "
    )
    text += (
        f"The operating point of `{applied}` is applied as the model is loaded; `apply_operating_point=None` leaves "
        "it out."
        if applied
        else "The stored operating points are applied when asked for:"
    )
    parts = ["## Operating points", text, _CODE.format(label=json.dumps(label, ensure_ascii=False), name=label)]
    return "\n\n".join([*parts, "Scores in per cent:", _point_table(points)])


def _chosen_on(points: Mapping[str, Mapping[str, Any]]) -> str:
    """Name the corpora that thresholds were chosen on, where that was recorded."""
    corpora = {
        f"`{Path(point['corpus']).name}`" + (f" (`{point['corpus_config']}`)" if point.get("corpus_config") else "")
        for point in points.values()
        if point.get("corpus")
    }
    return f" of {', '.join(sorted(corpora))}" if corpora else ""


def _point_table(points: Mapping[str, Mapping[str, Any]]) -> str:
    header = ("class", "rule", "threshold", "split", "precision", "recall", "F1", "false alarms", "misses", "clips")
    rows = []
    for label, point in points.items():
        start = (label, point.get("rule", "-"), f"{point['threshold']:.4g}")
        scored = [split for split in _SPLITS if point.get(split)]
        for split in scored:
            scores = point[split]
            rows.append(
                (
                    *start,
                    split,
                    *(percent(scores.get(name)) for name in ("precision", "recall", "f1")),
                    scores.get("false_positives", "-"),
                    scores.get("false_negatives", "-"),
                    _clips(scores),
                )
            )
        if not scored:
            rows.append((*start, *["-"] * 7))
    return table(header, rows)


def _clips(scores: Mapping[str, Any]) -> str:
    positives = scores.get("num_positives")
    return f"{scores.get('num_clips', '-')}" + ("" if positives is None else f", {positives} of the class")


def _calibration(facts: CardFacts) -> str:
    if not is_calibrated(facts):
        return ""
    text = (
        f"Logits are divided by a temperature of {_temperature(facts):.4g}, fitted on the validation split, so that "
        "their softmax says how often an answer is right."
    )
    rows = [
        (label, split, percent(errors.get("before")), percent(errors.get("after")))
        for label, point in _points(facts).items()
        for split in _SPLITS
        if (errors := (point.get("calibration") or {}).get(split))
    ]
    parts = ["## Calibration", text]
    if rows:
        parts += ["Expected calibration error in per cent:", table(("class", "split", "before", "after"), rows)]
    return "\n\n".join(parts)
