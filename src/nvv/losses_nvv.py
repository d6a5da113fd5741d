"""Losses of classifications and regressions, and their sum over a model's tasks.

Labels that are missing (-100 among class indices, NaN among numbers) are left out: a loss is what it would be had the
batch been without them, and 0 with gradients of 0 where nothing is left. The contrastive loss of embeddings is the
sibling `contrastive_nvv`'s. Everything is computed in fp32 at least.

Which losses can be added up over parts of a batch (gradient accumulation, several processes): cross-entropy, focal loss
and MSE are means over clips, so the mean over parts of equal size is the whole's, as long as no label is missing. CCC
never is: it compares a clip with the others of its batch, and over parts is another loss, with smaller batches.
`nvv.training.whole_batch` computes those over all clips of an update.

Sources: Lin 1989 (CCC, population moments), Lin et al. 2017 (focal loss), Zhang et al. 2018 (mixup), Kendall et al.
2018 (uncertainty weighting). Part of the remote-code bundle: imports only torch and its siblings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from .configuration_nvv import CONTRASTIVE_LOSS, NvvConfig
from .tasks_nvv import Task

MISSING_CLASS = -100
"""Class index of a clip whose class is not known."""


def weighted_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean over the clips of (class weight × cross-entropy).

    torch's own weighted cross-entropy divides by the sum of the weights in the batch, so its value depends on which
    classes happen to share a batch, and it changes under gradient accumulation or several processes. Dividing by the
    number of clips does not; with weights n / (classes · n_c), whose mean over the training clips is 1, both estimate
    the same class-balanced loss.

    Args:
        logits: `(batch, num_labels)`.
        labels: `(batch,)`, class indices; -100 where missing.
        class_weights: One factor for each label; `None` for equal weights.
        label_smoothing: In [0, 1); the share of each target spread evenly over all labels.

    Returns:
        The loss, a scalar in fp32.
    """
    losses = _cross_entropies(logits, labels, class_weights=class_weights, label_smoothing=label_smoothing)
    return _mean_of_present(losses, labels != MISSING_CLASS)


def focal_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    gamma: float = 2.0,
    class_weights: Sequence[float] | None = None,
) -> torch.Tensor:
    """Mean over the clips of (class weight × (1 - p)^gamma × cross-entropy), p the probability of the clip's class.

    Args:
        logits: `(batch, num_labels)`.
        labels: `(batch,)`, class indices; -100 where missing.
        gamma: >= 0; the higher, the less clips count that are classified well already. 0 is cross-entropy.
        class_weights: One factor for each label (the paper's alpha); `None` for equal weights.

    Returns:
        The loss, a scalar in fp32.
    """
    losses = _focal_losses(logits, labels, gamma=gamma, class_weights=class_weights)
    return _mean_of_present(losses, labels != MISSING_CLASS)


def ccc_loss(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over the targets of 1 - CCC, the concordance correlation coefficient over the batch.

    With means m, population variances v and covariance c of predictions p and targets t,
    CCC = 2 c / (v_p + v_t + (m_p - m_t)²). Where the targets are constant, and so with a single clip, CCC is 0 and
    there is nothing to follow: the loss is 1, its gradient 0. Where only the predictions are, the loss is 1, too, but
    its gradient points to the targets.

    Args:
        predictions: `(batch, targets)`, in any precision.
        targets: `(batch, targets)`, NaN where missing. A target without any value in the batch is left out of the mean.

    Returns:
        The loss, a scalar in [0, 2], in fp32, or fp64 where the predictions are.

    Raises:
        ValueError: The two have different shapes, or not two dimensions.

    Example:
        >>> targets = torch.tensor([[0.0], [1.0]])
        >>> round(ccc_loss(targets + 1.0, targets).item(), 4)  # v = c = 1/4, distance 1: CCC = (1/2) / (3/2)
        0.6667
    """
    predictions, targets, is_there = _pairs(predictions, targets)
    num_clips = is_there.sum(dim=0)  # (targets,)
    divisor = num_clips.clamp(min=1)
    p_mean, t_mean = predictions.sum(dim=0) / divisor, targets.sum(dim=0) / divisor
    p = torch.where(is_there, predictions - p_mean, 0.0)
    t = torch.where(is_there, targets - t_mean, 0.0)
    # The mean of equal numbers is rounded; what is left of them is no variation.
    t = torch.where(_is_constant(targets, is_there), 0.0, t)
    p_variance, t_variance = p.square().sum(dim=0) / divisor, t.square().sum(dim=0) / divisor
    covariance = (p * t).sum(dim=0) / divisor
    denominator = p_variance + t_variance + (p_mean - t_mean).square()
    # Below this a quotient's gradient overflows; the 1 keeps 0 / 0 out of the graph.
    has_spread = denominator > torch.finfo(denominator.dtype).tiny
    ccc = torch.where(has_spread, 2.0 * covariance / torch.where(has_spread, denominator, 1.0), 0.0)
    return _mean_of_present(1.0 - ccc, num_clips > 0)


def mse_loss(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean squared error over all values that are there.

    Args:
        predictions: `(batch, targets)`, in any precision.
        targets: `(batch, targets)`, NaN where missing.

    Returns:
        The loss, a scalar in fp32, or fp64 where the predictions are.

    Raises:
        ValueError: The two have different shapes, or not two dimensions.
    """
    predictions, targets, is_there = _pairs(predictions, targets)
    return _mean_of_present((predictions - targets).square(), is_there)


def task_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    config: NvvConfig,
    *,
    log_variances: torch.Tensor | None = None,
    mixed_targets: torch.Tensor | None = None,
    mixing_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss of all tasks of a model together.

    With `task_weighting="fixed"`: the sum of weight × loss. With `"uncertainty"` and s a task's learned log-variance:
    the sum of exp(-s) × loss + s / 2, where half of exp(-s) is taken for a regression (Kendall et al. 2018, equation 7;
    there for squared errors, for CCC by analogy). A task of which the batch has no label adds 0 either way.

    Args:
        logits: `(batch, num_labels)`.
        labels: Without `config.tasks` `(batch,)` class indices, -100 where missing. Else `(batch, num_label_columns)`
            in floating point, NaN where missing; a classification's column holds class indices.
        config: The tasks.
        log_variances: `(tasks,)`, the head's, for `task_weighting="uncertainty"`.
        mixed_targets: Labels of the clips that were mixed into these (mixup), like `labels`. The losses of both are
            weighed for a classification, the targets for a regression; a label missing from one is missing from both.
        mixing_weights: `(batch,)`, in [0, 1]: the share of `labels`.

    Returns:
        The loss, a scalar in fp32.

    Raises:
        ValueError: The shapes do not fit the config, the config's loss is the contrastive one, or one of two arguments
            that go together is missing.
    """
    _check_arguments(logits, labels, config, log_variances, mixed_targets, mixing_weights)
    columns = labels if labels.dim() == 2 else labels.unsqueeze(1)
    mixed = None if mixed_targets is None else mixed_targets.reshape(columns.shape)
    total = logits.new_zeros((), dtype=torch.promote_types(logits.dtype, torch.float32))
    for index, task in enumerate(config.task_list):
        loss, is_learned = _loss_of_task(
            task,
            logits[:, task.logits],
            columns[:, task.labels],
            config=config,
            mixed=None if mixed is None else mixed[:, task.labels],
            mixing_weights=mixing_weights,
        )
        if config.task_weighting == "uncertainty":
            log_variance = log_variances[index].to(loss.dtype)
            share = 0.5 if task.kind == "regression" else 1.0
            # Without a label there is no loss to hold the variance, which would only shrink.
            loss = torch.where(is_learned, share * torch.exp(-log_variance) * loss + 0.5 * log_variance, 0.0)
        total = total + task.weight * loss
    return total


def _loss_of_task(
    task: Task,
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    config: NvvConfig,
    mixed: torch.Tensor | None,
    mixing_weights: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One task's loss from its own columns, and whether the batch has a label of it, both scalars."""
    if task.kind == "regression":
        if mixed is not None:
            share = mixing_weights.to(labels.dtype).unsqueeze(1)
            labels = share * labels + (1 - share) * mixed  # NaN where either is
        loss = (ccc_loss if task.loss == "ccc" else mse_loss)(logits, labels)
        return loss, (~labels.isnan()).any()
    classes = _class_indices(labels)
    losses = _losses_of_classes(logits, classes, task=task, config=config)
    is_there = classes != MISSING_CLASS
    if mixed is not None:
        others = _class_indices(mixed)
        share = mixing_weights.to(losses.dtype)
        losses = share * losses + (1 - share) * _losses_of_classes(logits, others, task=task, config=config)
        is_there = is_there & (others != MISSING_CLASS)
    return _mean_of_present(losses, is_there), is_there.any()


def _losses_of_classes(logits: torch.Tensor, classes: torch.Tensor, *, task: Task, config: NvvConfig) -> torch.Tensor:
    """Each clip's loss `(batch,)`."""
    if task.loss == "focal":
        return _focal_losses(logits, classes, gamma=config.focal_gamma, class_weights=task.class_weights)
    return _cross_entropies(logits, classes, class_weights=task.class_weights, label_smoothing=config.label_smoothing)


def _cross_entropies(
    logits: torch.Tensor,
    classes: torch.Tensor,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Each clip's class weight × cross-entropy `(batch,)`, 0 where the class is missing."""
    losses = F.cross_entropy(
        _at_least_fp32(logits), classes, label_smoothing=label_smoothing, reduction="none", ignore_index=MISSING_CLASS
    )
    if class_weights is None:
        return losses
    return losses * torch.tensor(class_weights, dtype=losses.dtype, device=losses.device)[classes.clamp(min=0)]


def _focal_losses(
    logits: torch.Tensor, classes: torch.Tensor, *, gamma: float, class_weights: Sequence[float] | None = None
) -> torch.Tensor:
    """Each clip's focal loss `(batch,)`, 0 where the class is missing."""
    surprise = _cross_entropies(logits, classes)  # -log p
    # 1 - p without cancellation. The bound is far below rounding; a power below 1 has no finite slope at 0.
    miss = -torch.expm1(-surprise).clamp(max=-torch.finfo(surprise.dtype).tiny)
    factors = miss.pow(gamma)
    if class_weights is not None:
        weights = torch.tensor(class_weights, dtype=surprise.dtype, device=surprise.device)
        factors = factors * weights[classes.clamp(min=0)]
    return factors * surprise


def _class_indices(labels: torch.Tensor) -> torch.Tensor:
    """A classification's label column `(batch, 1)` as class indices `(batch,)`."""
    labels = labels.squeeze(1)
    if not labels.is_floating_point():
        return labels.long()
    return torch.where(labels.isnan(), MISSING_CLASS, labels).long()


def _pairs(predictions: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both in one precision, 0 where a target is missing, and where it is there."""
    if predictions.dim() != 2 or predictions.shape != targets.shape:
        raise ValueError(
            f"predictions and targets: expected both (batch, targets), found {tuple(predictions.shape)} and "
            f"{tuple(targets.shape)}."
        )
    predictions = _at_least_fp32(predictions)
    targets = targets.to(predictions)
    is_there = ~targets.isnan()
    # torch.where, not a product: 0 · NaN is NaN.
    return torch.where(is_there, predictions, 0.0), torch.where(is_there, targets, 0.0), is_there


def _is_constant(values: torch.Tensor, is_there: torch.Tensor) -> torch.Tensor:
    """Which columns `(targets,)` hold one number only."""
    highest = torch.where(is_there, values, -torch.inf).amax(dim=0)
    return highest <= torch.where(is_there, values, torch.inf).amin(dim=0)


def _mean_of_present(losses: torch.Tensor, is_there: torch.Tensor) -> torch.Tensor:
    """Mean over what is there; 0, with gradients of 0, where nothing is."""
    return torch.where(is_there, losses, 0.0).sum() / is_there.sum().clamp(min=1)


def _at_least_fp32(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check_arguments(
    logits: torch.Tensor,
    labels: torch.Tensor,
    config: NvvConfig,
    log_variances: torch.Tensor | None,
    mixed_targets: torch.Tensor | None,
    mixing_weights: torch.Tensor | None,
) -> None:
    if config.loss == CONTRASTIVE_LOSS:
        raise ValueError("The contrastive loss is of embeddings, not of logits; see contrastive_nvv.")
    expected = (len(logits),) if config.tasks is None else (len(logits), config.num_label_columns)
    if tuple(labels.shape) != expected or logits.shape[-1] != config.num_labels:
        raise ValueError(
            f"logits and labels: expected {(len(logits), config.num_labels)} and {expected}, found "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}."
        )
    if config.tasks is not None and not labels.is_floating_point():
        raise ValueError(f"labels: expected floating point, NaN where missing, found {labels.dtype}.")
    if (mixed_targets is None) != (mixing_weights is None):
        raise ValueError("mixed_targets and mixing_weights go together; one is missing.")
    if mixed_targets is not None and (mixed_targets.shape != labels.shape or mixing_weights.shape != labels.shape[:1]):
        raise ValueError(
            f"mixed_targets and mixing_weights: expected {expected} and {expected[:1]}, found "
            f"{tuple(mixed_targets.shape)} and {tuple(mixing_weights.shape)}."
        )
    is_learned = config.task_weighting == "uncertainty"
    if is_learned != (log_variances is not None):
        expected_here = "the head's" if is_learned else "None"
        raise ValueError(
            f"log_variances: with task_weighting={config.task_weighting!r} expected {expected_here}, "
            f"found {log_variances!r}."
        )
