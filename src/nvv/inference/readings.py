"""What a model's numbers mean: classes that exclude each other, labels with yes or no to each, or measured quantities.

Numbers come from the neighbours `streams` and `classify`; tables of them are `answer_tables`'. Operating points are
applied and checked in ``nvv.decisions_nvv``. Own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax

from ..configuration_nvv import NvvConfig
from ..decisions_nvv import detected, operating_point_of
from .load import Classifier
from .report_facts import RANDOM_WEIGHTS, SYNTHETIC_SOUNDS

__all__ = [
    "KINDS",
    "OutputGroup",
    "give_calibrated_scores",
    "is_trained",
    "output_groups",
    "scores_of",
    "thresholds_of",
    "why_no_result",
]

KINDS = ("classes", "yes_no", "numbers")


@dataclass(frozen=True, kw_only=True)
class OutputGroup:
    """Outputs of a model that are read together.

    Args:
        name: the task's; None for a model that has no tasks, and with them one group.
        kind: `classes` (one of the labels, their scores add up to 1), `yes_no` (each label by itself) or `numbers`.
        labels: the classes, or the names of the numbers, in the order of the columns.
        columns: their columns among the model's outputs.
    """

    name: str | None
    kind: str
    labels: tuple[str, ...]
    columns: slice


def output_groups(classifier: Classifier) -> tuple[OutputGroup, ...]:
    """Return how a model's outputs are to be read, in the order of their columns.

    Example:
        >>> [group.kind for group in output_groups(load_classifier("runs/emotions"))]  # doctest: +SKIP
        ['classes', 'numbers']
    """
    config = classifier.model.config
    if isinstance(config, NvvConfig) and config.tasks is not None:
        kinds = {"classification": "classes", "regression": "numbers"}
        return tuple(
            OutputGroup(name=task.name, kind=kinds[task.kind], labels=task.outputs, columns=task.logits)
            for task in config.task_list
        )
    labels = tuple(classifier.label_names)
    kind = "yes_no" if classifier.is_multi_label else "classes"
    return (OutputGroup(name=None, kind=kind, labels=labels, columns=slice(0, len(labels))),)


def scores_of(groups: Sequence[OutputGroup], logits: ArrayLike) -> NDArray[np.float64]:
    """Read logits.

    Args:
        groups: how, from `output_groups`.
        logits: (…, outputs), as the model gives them: those of this package are calibrated.

    Returns:
        The same shape: the softmax of classes, the sigmoid of labels with yes or no, and numbers as they are.

    Raises:
        ValueError: for another number of outputs than the groups have.
    """
    values = np.array(logits, dtype=np.float64)
    num_outputs = groups[-1].columns.stop
    if values.ndim == 0 or values.shape[-1] != num_outputs:
        raise ValueError(f"logits: expected (…, {num_outputs}), found {values.shape}.")
    for group in groups:
        columns = values[..., group.columns]
        if group.kind == "classes":
            values[..., group.columns] = softmax(columns, axis=-1)
        elif group.kind == "yes_no":
            values[..., group.columns] = expit(columns)
    return values


def thresholds_of(classifier: Classifier) -> dict[str, float]:
    """Return the operating points that a model's config stores.

    Where the config says to apply one (`apply_operating_point`), the model's scores are moved so that 0.5 decides: that
    label's threshold is then 0.5, and the others have none. `give_calibrated_scores` switches that off.

    Args:
        classifier: any; models that are not of this package store none.

    Returns:
        The threshold of each label that has one, on the scores that `scores_of` gives.

    Raises:
        ValueError: if a threshold was chosen with another front-end or temperature than the config now has.
    """
    config = classifier.model.config
    if not isinstance(config, NvvConfig) or not config.operating_points:
        return {}
    thresholds = {}
    for label in config.operating_points:
        # Decides nothing, and says whether the stored point can be used.
        detected(torch.zeros(1, config.num_labels, dtype=classifier.model.dtype), config, label)
        thresholds[label] = float(operating_point_of(config, label)["threshold"])
    applied = config.apply_operating_point
    return thresholds if applied is None else {applied: 0.5}


def give_calibrated_scores(classifier: Classifier) -> None:
    """Have a model answer with calibrated scores, which stored thresholds are for, whatever its config applies."""
    if isinstance(classifier.model.config, NvvConfig):
        classifier.model.config.apply_operating_point = None


def why_no_result(classifier: Classifier) -> list[str]:
    """Return why a model's scores are no result, in sentences; empty where nothing is known against them."""
    metrics = classifier.facts.metrics or {}
    reasons = [RANDOM_WEIGHTS] if classifier.facts.random_init else []
    if metrics.get("corpus", {}).get("is_synthetic"):
        reasons.append("The model was trained on computed sounds: " + SYNTHETIC_SOUNDS.partition(": ")[2])
    return reasons


def is_trained(classifier: Classifier) -> bool | None:
    """Say whether a model learned from real sounds with pretrained weights; None where nothing is recorded of it."""
    if why_no_result(classifier):
        return False
    return True if classifier.facts.metrics is not None else None
