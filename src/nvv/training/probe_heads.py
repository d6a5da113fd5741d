"""Trains many classification heads side by side on features that were computed once.

The arithmetic is that of `NvvTrainer` with a frozen backbone (order of clips, accumulation, loss, clipping, weight
decay, schedule, choice of the epoch, early stopping), so that each head ends as it would there. A step of all heads at
once is the neighbour `stacked_heads`', features are `features`', what is probed is `probe`'s. Own work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.functional import one_hot
from transformers import get_scheduler
from transformers.trainer_utils import SchedulerType

from ..heads_nvv import NvvHead
from ..losses_nvv import weighted_cross_entropy
from ..metrics import SCORE_NAMES, scores_from_confusion
from .arguments import AUTOMATIC_METRIC, ArgumentsError, NvvTrainingArguments
from .samplers import TrainingSampler
from .stacked_heads import StackedHeads

_CLIPPING_EPSILON = 1e-6  # of torch.nn.utils.clip_grad_norm_

# Parameters, gradients and moments of the heads that train side by side. On a CPU they are to stay in its cache; a GPU
# is to have enough to do in a step.
_CPU_BYTES = 8 * 2**20
_GPU_BYTES = 4 * 2**30

# Schedules that follow the scores, and so have no plan that heads could share.
_UNPLANNED = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Pooled hidden states of a split's clips.

    Args:
        features: float32 (clips, states, width).
        labels: class indices (clips,), int64.
        lengths: length of each clip (clips,), any unit: training groups by it. None where nothing trains on the split.
    """

    features: torch.Tensor
    labels: torch.Tensor
    lengths: Sequence[int] | None = None


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """One head to train.

    Args:
        head: with its initial weights, which are left alone.
        seed: of the order of clips (where `data_seed` does not say) and of dropout.
        weight_decay: AdamW's, ≥ 0; not on biases.
    """

    head: NvvHead
    seed: int
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class TrainedHead:
    """A head as it was at the end of the epoch that validation chose.

    Args:
        head: with its trained weights, on the CPU, in evaluation mode.
        seed: as in `HeadPlan`.
        weight_decay: as in `HeadPlan`.
        best_score: validation score at that epoch.
        best_step: optimiser steps done by then.
        best_epoch: epochs done by then; a fraction where training ended within one.
        history: what a Trainer would have logged: for each epoch one entry with the training `loss`, one with
            `eval_loss` and `eval_<score>`, both with `epoch` and `step`.
    """

    head: NvvHead
    seed: int
    weight_decay: float
    best_score: float
    best_step: int
    best_epoch: float
    history: list[dict[str, float]]


@dataclass(frozen=True)
class _Step:
    """One optimiser step."""

    number: int  # from 1
    epoch: int  # from 0
    clips: slice  # in the epoch's order
    shares: torch.Tensor  # (clips,): each clip's factor in the mean over batches of the means over their clips
    epochs_done: float  # after it
    is_evaluated: bool


@dataclass
class _Progress:
    """What is known of one head while it trains."""

    best_score: float | None = None
    best_step: int = 0
    best_epoch: float = 0.0
    evaluations_without_gain: int = 0
    has_stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


def train_heads(
    plans: Sequence[HeadPlan],
    training: NvvTrainingArguments,
    *,
    train: LabelledFeatures,
    validation: LabelledFeatures,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    device: torch.device | None = None,
) -> list[TrainedHead]:
    """Train heads of one shape on the same features.

    Args:
        plans: the heads.
        training: settings of the training loop, as `NvvTrainer` takes them; batches are those of one process on one
            device, precision is fp32.
        train: the training clips.
        validation: the clips that choose the epoch.
        class_weights: a factor for each label's loss; None for equal ones.
        label_smoothing: share of each target spread over all labels, in [0, 1).
        device: where to compute; None for the CPU.

    Returns:
        The trained heads in the order of `plans`. Dropout in an `mlp` head draws other numbers than in a Trainer;
        everything else is equal up to rounding.

    Raises:
        ArgumentsError: for a metric that is not computed, and for a schedule that follows the scores.
        ValueError: for heads of different shapes or whose pooling does not come first, and for features that do not
            fit them.

    Example:
        >>> trained = train_heads(plans, training, train=train, validation=validation)  # doctest: +SKIP
        >>> trained[0].head.forward_pooled(test.features).argmax(-1)  # doctest: +SKIP
    """
    device = torch.device("cpu") if device is None else device
    _check_features(plans, train=train, validation=validation)
    metric = selection_metric(training)
    steps = list(_plan_steps(training, num_clips=len(train.labels)))
    learning_rates = _plan_learning_rates(training, num_steps=len(steps))

    def train_part(part: list[HeadPlan]) -> list[TrainedHead]:
        loop = _Loop(
            part,
            training,
            train=train,
            validation=validation,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
            device=device,
        )
        return loop.run(steps, learning_rates, metric=metric)

    with _single_threads() as (threads, num_threads):
        parts = _parts(plans, device=device, num_threads=num_threads)
        return [trained for of_part in threads.map(train_part, parts) for trained in of_part]


@contextmanager
def _single_threads() -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Give as many threads as an operation of torch may use, and their number; in them each operation uses one.

    The operations are small: if several threads divide one, they wait for each other at its end, ages on a busy
    machine. Each thread has to be told by itself, or the matrix products in it use all cores.
    """
    num_threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            yield threads, num_threads
    finally:
        torch.set_num_threads(num_threads)  # what the threads were told holds for later ones too


def selection_metric(training: NvvTrainingArguments) -> str:
    """Return the name of the validation score that chooses the epoch.

    Args:
        training: gives `metric_for_best_model`.

    Raises:
        ArgumentsError: if that is neither a score nor the loss.
    """
    name = (training.metric_for_best_model or "loss").removeprefix("eval_")
    if name == AUTOMATIC_METRIC:
        return "macro_f1"
    if name not in (*SCORE_NAMES, "loss"):
        raise ArgumentsError(
            f"metric_for_best_model: expected one of {', '.join((*SCORE_NAMES, 'loss'))}, found {name!r}."
        )
    return name


def _check_features(plans: Sequence[HeadPlan], *, train: LabelledFeatures, validation: LabelledFeatures) -> None:
    """Raise unless heads and features belong together."""
    if not plans:
        raise ValueError("plans: expected at least one head, found none.")
    head = plans[0].head
    num_states = 1 if head.layer_weights is None else len(head.layer_weights)
    for name, split in (("train", train), ("validation", validation)):
        expected = (len(split.labels), num_states, head.projector.in_features)
        if tuple(split.features.shape) != expected:
            raise ValueError(f"{name}: expected features {expected}, found {tuple(split.features.shape)}.")
    if train.lengths is None or len(train.lengths) != len(train.labels):
        found = "none" if train.lengths is None else len(train.lengths)
        raise ValueError(f"train: expected {len(train.labels)} lengths, one for each clip, found {found}.")


def _parts(plans: Sequence[HeadPlan], *, device: torch.device, num_threads: int) -> list[list[HeadPlan]]:
    """Divide the heads into parts of like size, as many as keep all threads busy to the end."""
    bytes_of_one = 4 * 4 * sum(parameter.numel() for parameter in plans[0].head.parameters())
    is_cpu = device.type == "cpu"
    num_parts = math.ceil(len(plans) / max(1, (_CPU_BYTES if is_cpu else _GPU_BYTES) // bytes_of_one))
    if is_cpu:
        num_parts = min(len(plans), math.ceil(num_parts / num_threads) * num_threads)
    return [[plans[index] for index in part] for part in np.array_split(np.arange(len(plans)), num_parts)]


def _plan_steps(training: NvvTrainingArguments, *, num_clips: int) -> Iterator[_Step]:
    """Lay out the optimiser's steps as the Trainer does: the last one of an epoch has what is left of it."""
    batch_size, accumulated = training.per_device_train_batch_size, training.gradient_accumulation_steps
    num_batches = math.ceil(num_clips / batch_size)
    size_of_last = num_clips - (num_batches - 1) * batch_size
    steps_per_epoch = math.ceil(num_batches / accumulated)
    num_steps = training.max_steps
    if num_steps <= 0:
        num_steps = math.ceil(training.num_train_epochs * steps_per_epoch)
    for number in range(num_steps):
        epoch, step = divmod(number, steps_per_epoch)
        first, end = step * accumulated, min((step + 1) * accumulated, num_batches)
        clips = slice(first * batch_size, min(end * batch_size, num_clips))
        # A smaller batch at the end weighs as much as a full one, so its clips weigh more.
        shares = torch.full((clips.stop - clips.start,), 1 / (batch_size * (end - first)))
        if end == num_batches:
            shares[-size_of_last:] = 1 / (size_of_last * (end - first))
        yield _Step(
            number=number + 1,
            epoch=epoch,
            clips=clips,
            shares=shares,
            epochs_done=epoch + end / num_batches,
            is_evaluated=step == steps_per_epoch - 1 or number == num_steps - 1,
        )


def _plan_learning_rates(training: NvvTrainingArguments, *, num_steps: int) -> list[float]:
    """Return the learning rate of each step, from transformers' own schedule."""
    kind = SchedulerType(training.lr_scheduler_type)
    if kind in _UNPLANNED:
        raise ArgumentsError(
            f"lr_scheduler_type: {kind.value} follows each head's own scores, and heads that train side by side share "
            "one schedule. Choose another, or train with recipes/train.py --method frozen."
        )
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=training.learning_rate)
    try:
        schedule = get_scheduler(
            kind,
            optimizer=optimiser,
            num_warmup_steps=training.get_warmup_steps(num_steps),
            num_training_steps=num_steps,
            scheduler_specific_kwargs=training.lr_scheduler_kwargs,
        )
    except (TypeError, ValueError) as error:
        raise ArgumentsError(f"lr_scheduler_type: {kind.value}: {error}") from error
    rates = []
    for _ in range(num_steps):
        rates.append(float(schedule.get_last_lr()[0]))
        optimiser.step()
        schedule.step()
    return rates


class _Loop:
    """The training loop of heads that train side by side; arguments as in `train_heads`."""

    def __init__(
        self,
        plans: Sequence[HeadPlan],
        training: NvvTrainingArguments,
        *,
        train: LabelledFeatures,
        validation: LabelledFeatures,
        class_weights: Sequence[float] | None,
        label_smoothing: float,
        device: torch.device,
    ) -> None:
        self._plans, self._training, self._device = plans, training, device
        self._class_weights, self._label_smoothing = class_weights, label_smoothing
        seeds = [plan.seed for plan in plans]
        self._heads = StackedHeads([plan.head for plan in plans], seeds=seeds, device=device)
        self._decays = torch.tensor([[plan.weight_decay] for plan in plans], device=device)
        # States first: one state of a batch is then one block, and the layer sum a matrix product.
        self._train_states = train.features.to(device).transpose(0, 1).contiguous()
        self._validation_states = validation.features.to(device).transpose(0, 1).contiguous()
        self._validation_labels = validation.labels.to(device)
        self._num_labels = plans[0].head.classifier.out_features
        labels = train.labels.to(device)
        weights = torch.ones(self._num_labels) if class_weights is None else torch.tensor(class_weights)
        self._clip_weights = weights.to(device)[labels]  # (clips,)
        spread = label_smoothing / self._num_labels
        self._targets = one_hot(labels, self._num_labels).float() * (1 - label_smoothing) + spread  # (clips, labels)
        self._samplers = [
            TrainingSampler(
                train.lengths,
                strategy=training.train_sampling_strategy,
                batch_size=training.per_device_train_batch_size,
                seed=seed if training.data_seed is None else training.data_seed,
            )
            for seed in seeds
        ]
        self._progress = [_Progress() for _ in plans]
        self._best_values = self._heads.values.clone()

    def run(self, steps: Sequence[_Step], learning_rates: Sequence[float], *, metric: str) -> list[TrainedHead]:
        """Train all heads and return them at their best."""
        parameter = torch.nn.Parameter(self._heads.values)  # shares its memory with the heads
        parameter.grad = self._heads.gradients
        optimiser = torch.optim.AdamW(
            [parameter],
            betas=(self._training.adam_beta1, self._training.adam_beta2),
            eps=self._training.adam_epsilon,
            weight_decay=0.0,  # each head has its own
            fused=True,
        )
        losses: list[torch.Tensor] = []
        order = self._epoch_order(0)
        for step, learning_rate in zip(steps, learning_rates, strict=True):
            losses.append(self._differentiate(step, order))
            self._clip_gradients()
            self._decay(learning_rate)
            optimiser.param_groups[0]["lr"] = learning_rate
            optimiser.step()
            if step.is_evaluated:
                self._evaluate(step, torch.stack(losses).mean(dim=0), metric=metric)
                if all(progress.has_stopped for progress in self._progress):
                    break
                losses, order = [], self._epoch_order(step.epoch + 1)
        return [self._finish(at) for at in range(len(self._plans))]

    def _epoch_order(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the heads' clips in the epoch's order, with their targets and class weights.

        Returns:
            Indices (heads, clips), targets (heads, clips, labels), weights (heads, clips).
        """
        orders: dict[int, list[int]] = {}
        for plan, sampler in zip(self._plans, self._samplers, strict=True):
            if plan.seed not in orders:
                sampler.set_epoch(epoch)
                orders[plan.seed] = [index for index, _ in sampler]
        indices = torch.tensor([orders[plan.seed] for plan in self._plans], device=self._device)
        return indices, self._targets[indices], self._clip_weights[indices]

    def _differentiate(self, step: _Step, order: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Compute the gradients of one step; return the losses (heads,)."""
        indices, targets, weights = (values[:, step.clips] for values in order)
        num_states, _, width = self._train_states.shape
        states = self._train_states.index_select(1, indices.flatten()).view(num_states, *indices.shape, width)
        shares = weights * step.shares.to(self._device)
        return self._heads.differentiate(states.transpose(0, 1), targets, shares.unsqueeze(-1))

    def _clip_gradients(self) -> None:
        """Scale each head's gradient down to the largest norm allowed."""
        if self._training.max_grad_norm > 0:
            norms = torch.linalg.vector_norm(self._heads.gradients, dim=1, keepdim=True)
            factors = (self._training.max_grad_norm / (norms + _CLIPPING_EPSILON)).clamp_(max=1.0)
            self._heads.gradients.mul_(factors)

    def _decay(self, learning_rate: float) -> None:
        """Apply each head's weight decay, as AdamW does ahead of its update."""
        self._heads.values[:, : self._heads.num_decayed].mul_(1 - learning_rate * self._decays)

    def _evaluate(self, step: _Step, train_losses: torch.Tensor, *, metric: str) -> None:
        """Score all heads on validation; keep those that are better than before, stop those out of patience."""
        logits = self._heads.logits(self._validation_states)
        scores = self._scores(logits)
        for at, progress in enumerate(self._progress):
            if progress.has_stopped:
                continue
            entry = {"epoch": step.epochs_done, "step": step.number}
            evaluated = {f"eval_{name}": float(values[at]) for name, values in scores.items()}
            progress.history.append({"loss": float(train_losses[at]), **entry})
            progress.history.append({**evaluated, **entry})
            if self._update(progress, evaluated[f"eval_{metric}"], step=step):
                self._best_values[at] = self._heads.values[at]

    def _scores(self, logits: torch.Tensor) -> dict[str, np.ndarray]:
        """Return the loss and every score of logits (heads, clips, labels), each (heads,)."""
        num_heads, num_labels = len(self._heads), self._num_labels
        cells = (
            torch.arange(num_heads, device=self._device)[:, None] * num_labels + self._validation_labels
        ) * num_labels
        counts = torch.bincount((cells + logits.argmax(dim=-1)).flatten(), minlength=num_heads * num_labels**2)
        confusions = counts.view(num_heads, num_labels, num_labels).cpu().numpy()
        losses = [
            weighted_cross_entropy(
                of_head,
                self._validation_labels,
                class_weights=self._class_weights,
                label_smoothing=self._label_smoothing,
            )
            for of_head in logits
        ]
        return {"loss": torch.stack(losses).cpu().numpy(), **scores_from_confusion(confusions)}

    def _update(self, progress: _Progress, score: float, *, step: _Step) -> bool:
        """Note a head's new score as the Trainer and its early stopping do; return whether it is the best so far."""
        training, best = self._training, progress.best_score
        is_better = best is None or (score > best if training.greater_is_better else score < best)
        if best is None or (is_better and abs(score - best) > training.early_stopping_threshold):
            progress.evaluations_without_gain = 0
        else:
            progress.evaluations_without_gain += 1
        patience = training.early_stopping_patience
        progress.has_stopped = patience is not None and progress.evaluations_without_gain >= patience
        if is_better:
            progress.best_score, progress.best_step, progress.best_epoch = score, step.number, step.epochs_done
        return is_better

    def _finish(self, at: int) -> TrainedHead:
        plan, progress = self._plans[at], self._progress[at]
        return TrainedHead(
            head=self._heads.write_to(plan.head, self._best_values[at]),
            seed=plan.seed,
            weight_decay=plan.weight_decay,
            best_score=progress.best_score,
            best_step=progress.best_step,
            best_epoch=progress.best_epoch,
            history=progress.history,
        )
