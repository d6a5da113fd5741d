"""Whether a clip is of one label: calibrated probability against a stored threshold.

An operating point is a label's threshold, chosen on validation and kept in the config beside the temperature that
`modeling_nvv` divides logits by. Choosing is left to the training side of the package; here a stored point is applied,
to logits that are divided already. All arithmetic is in float64 and in log-odds, so that probabilities near 0 and 1
keep their order. A threshold holds for the front-end it was chosen with (how clips are cut, padded and rounded), so
that is stored with it and compared here. Part of the remote-code bundle: imports only torch, transformers and its
siblings. Own work; temperature scaling is Guo et al., On Calibration of Modern Neural Networks, 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers.utils import logging

from .configuration_nvv import NvvConfig

logger = logging.get_logger(__name__)

FRONT_END_FIELDS = (
    "sampling_rate",
    "max_seconds",
    "padding",
    "padding_seconds",
    "pool_padding",
    "normalize_cut_clips",
)
"""What the config says of how a clip reaches the encoder; stored with an operating point as its `front_end`."""

PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}

LARGEST_LOG_ODDS = 36.0
"""Log-odds beyond this, on either side, count as this: a probability in float64 cannot come nearer to 1 than so."""

_MARGIN = 1e-4  # of adjusted logits around even odds: what float32's softmax rounds away is a thousandth of it


def detection_scores(logits: torch.Tensor, config: NvvConfig, label: str) -> torch.Tensor:
    """Calibrated probability of one label.

    Args:
        logits: `(batch, num_labels)`, as forward gives them without an operating point: divided by the temperature.
        config: Names the labels.
        label: The label.

    Returns:
        `(batch,)`, in float64: the logits' softmax, strictly between 0 and 1. Where the device knows no float64, on
        the CPU.

    Raises:
        ValueError: The config is not of one classification, has no such label, or other logits belong to it.

    Example:
        >>> config = NvvConfig(id2label={0: "other", 1: "laughing"})
        >>> detection_scores(torch.tensor([[0.0, 0.0], [0.0, 2.0]]), config, "laughing")
        tensor([0.5000, 0.8808], dtype=torch.float64)
    """
    log_odds, _ = _split(logits, config, _index_of(config, label))
    return torch.sigmoid(log_odds)


def detected(logits: torch.Tensor, config: NvvConfig, label: str | None = None) -> torch.Tensor:
    """Whether each clip is of a label, at the label's operating point.

    Args:
        logits: As for `detection_scores`.
        config: Holds the operating points.
        label: A label with an operating point; `None` for the one that `config.apply_operating_point` names, else the
            only one there is.

    Returns:
        `(batch,)`, bool, on the logits' device: whether the calibrated probability is at least the threshold.

    Raises:
        ValueError: As `detection_scores`, and for a label without an operating point, or one that was chosen with
            another front-end or temperature than the config now has.
    """
    label = chosen_label(config, label)
    point = operating_point_of(config, label)
    _check_holds(config, point, label=label, precision=PRECISIONS.get(logits.dtype))
    is_detected = detection_scores(logits, config, label) >= point["threshold"]
    return is_detected.to(logits.device)


def at_operating_point(logits: torch.Tensor, config: NvvConfig) -> torch.Tensor:
    """Logits whose softmax decides at the operating point that `config.apply_operating_point` names.

    The label's odds are divided by those of its threshold, so that even odds are where the threshold is.

    Args:
        logits: As for `detection_scores`.
        config: Holds the operating points and names the one to apply.

    Returns:
        `(batch, num_labels)`, in float32, or float64 where the logits are. After softmax the label has a probability
        of at least 0.5 exactly where `detected` is true, and is then the most probable one; where it is false, another
        label is more probable. The other labels' probabilities keep their (calibrated) ratios.

    Raises:
        ValueError: As `detected`.
    """
    label = chosen_label(config, None)
    index = _index_of(config, label)
    log_odds, others = _split(logits, config, index)  # (batch,), (batch, num_labels - 1)
    point = operating_point_of(config, label)
    _check_holds(config, point, label=label, precision=PRECISIONS.get(logits.dtype))
    threshold = point["threshold"]
    moved = log_odds - torch.logit(log_odds.new_tensor(threshold))
    # The same comparison as in `detected`: rounding must not part them.
    is_detected = torch.sigmoid(log_odds) >= threshold
    below = others.amax(dim=-1).clamp(max=0.0) - _MARGIN
    moved = torch.where(is_detected, moved.clamp(min=_MARGIN), torch.minimum(moved, below))
    adjusted = torch.cat([others[:, :index], moved[:, None], others[:, index:]], dim=-1)
    return adjusted.to(logits.device, torch.float64 if logits.dtype == torch.float64 else torch.float32)


def chosen_label(config: NvvConfig, label: str | None) -> str:
    """Which label's operating point is meant.

    Args:
        config: Holds the operating points.
        label: A label with an operating point, or `None` as for `detected`.

    Returns:
        The label.

    Raises:
        ValueError: It has none, or nothing says which is meant.
    """
    points = config.operating_points or {}
    label = label if label is not None else config.apply_operating_point
    if label is None and len(points) == 1:
        return next(iter(points))
    if label in points:
        return label
    stored = ", ".join(points) or "none"
    if label is None:
        raise ValueError(f"label: expected the name of one with an operating point ({stored}), found nothing.")
    raise ValueError(
        f"label: {label!r} has no operating point in the config, which stores: {stored}. recipes/detect.py stores them."
    )


def operating_point_of(config: NvvConfig, label: str) -> Mapping[str, Any]:
    """A label's operating point.

    Args:
        config: Holds it.
        label: The label.

    Returns:
        Its fields, `threshold` among them: a calibrated probability, strictly between 0 and 1.

    Raises:
        ValueError: It has none, or one whose threshold is no such probability.
    """
    point = config.operating_points[chosen_label(config, label)]
    threshold = point.get("threshold")
    if not isinstance(threshold, float) or not 0 < threshold < 1:
        raise ValueError(
            f"operating_points: expected for {label!r} a threshold between 0 and 1, found {threshold!r}. Store it anew "
            "with recipes/detect.py."
        )
    return point


def front_end_of(config: NvvConfig) -> dict[str, Any]:
    """How clips reach the encoder, as an operating point stores it.

    Args:
        config: Says it.

    Returns:
        The config's fields by name, those that have an effect only.
    """
    unused = {"mask": ("padding_seconds", "pool_padding"), "silence": ()}[config.padding]
    return {name: getattr(config, name) for name in FRONT_END_FIELDS if name not in unused}


def _check_holds(config: NvvConfig, point: Mapping[str, Any], *, label: str, precision: str | None) -> None:
    """Refuse a threshold that belongs to other probabilities than the model now computes."""
    stored = dict(point.get("front_end") or {})
    chosen_with = stored.pop("precision", precision)
    now = {name: getattr(config, name, None) for name in stored}
    if "temperature" in point:
        stored["temperature"], now["temperature"] = point["temperature"], config.calibration_temperature
    differing = [f"{name} {now[name]!r} instead of {stored[name]!r}" for name in stored if now[name] != stored[name]]
    if differing:
        raise ValueError(
            f"operating_points: the threshold of {label!r} was chosen with another front-end; the config now has "
            f"{', '.join(differing)}. Load the model as it was saved, or choose a threshold anew (recipes/detect.py)."
        )
    if precision != chosen_with:
        logger.warning_once(
            f"The threshold of {label!r} was chosen on logits in {chosen_with}, these are in {precision}: clips near "
            "it may be decided otherwise."
        )


def _index_of(config: NvvConfig, label: str) -> int:
    """The label's place among the logits."""
    tasks = config.task_list
    if len(tasks) != 1 or tasks[0].kind != "classification":
        raise ValueError(
            f"operating points are for a model of one classification; this one has the tasks "
            f"{', '.join(f'{task.name} ({task.kind})' for task in tasks)}."
        )
    names = [config.id2label[index] for index in range(config.num_labels)]
    if label not in names:
        raise ValueError(f"label: expected one of {', '.join(names)}; found {label!r}.")
    if len(names) < 2:
        raise ValueError(f"label: {label!r} is the only one; a detector needs what to tell it from.")
    return names.index(label)


def _split(logits: torch.Tensor, config: NvvConfig, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-odds `(batch,)` of the label at `index`, and the others' logits, whose exponentials add up to 1."""
    if logits.ndim != 2 or logits.shape[-1] != config.num_labels:
        raise ValueError(f"logits: expected (batch, {config.num_labels}), found {tuple(logits.shape)}.")
    has_float64 = logits.device.type != "mps"
    exact = logits.to(logits.device if has_float64 else "cpu", torch.float64)
    others = torch.cat([exact[:, :index], exact[:, index + 1 :]], dim=-1)
    total = torch.logsumexp(others, dim=-1)
    log_odds = (exact[:, index] - total).clamp(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    return log_odds, others - total[:, None]
