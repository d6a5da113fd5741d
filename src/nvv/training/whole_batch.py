"""Losses that belong to a batch rather than to its clips, exact where the batch comes in parts.

CCC and the supervised contrastive loss compare clips with each other. Under gradient accumulation and over several
processes the base class takes the mean of the micro-batches' losses, which for them is another loss, and so are the
means of per-clip losses where labels are missing, and with them the learned weights of several tasks. Here the outputs
of all clips of an update are computed first, all but the first micro-batch without gradient; the loss of all of them
gives each output its gradient, and each micro-batch then passes its own outputs' gradients back. The second forward
pass of a micro-batch draws the same dropout masks: the random states before the first are put back.

What it costs: of n micro-batches an update, n - 1 are computed forwards twice; with one micro-batch, also in several
processes, none is. Losses of single clips without missing labels go the base class's way. What holds of the result: the
same parameters as one large batch, up to rounding, as far as the model itself treats clips apart (dropout draws other
masks in other batches). The losses themselves are `losses_nvv`'s and `contrastive_nvv`'s.

Source: L. Gao, Y. Zhang, J. Han, J. Callan, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
RepL4NLP 2021, section 3 (GradCache); own code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import Trainer

from ..configuration_nvv import CONTRASTIVE_LOSS
from ..contrastive_nvv import MISSING_LABEL, supervised_contrastive_loss
from ..losses_nvv import task_loss
from ..modeling_nvv import NvvForAudioClassification

__all__ = ["BATCH_LOSSES", "WholeBatchTrainer"]

BATCH_LOSSES = ("ccc", CONTRASTIVE_LOSS)
"""Losses that compare the clips of a batch with each other."""


@dataclass(frozen=True, slots=True)
class _RandomStates:
    """The states of torch's generators, the only ones that our models draw from.

    Attributes:
        cpu: Of the CPU's.
        devices: Number of each CUDA device in use to its state.
    """

    cpu: torch.Tensor
    devices: Mapping[int, torch.Tensor]

    @classmethod
    def now(cls, devices: range) -> _RandomStates:
        """Read the states; `devices` are the CUDA devices in use."""
        return cls(
            cpu=torch.get_rng_state(),
            devices={device: torch.cuda.get_rng_state(device) for device in devices},
        )

    def put_back(self) -> None:
        """Set the generators to these states."""
        torch.set_rng_state(self.cpu)
        for device, state in self.devices.items():
            torch.cuda.set_rng_state(state, device)


@dataclass(slots=True)
class _Update:
    """One update of the parameters.

    Attributes:
        batches: Its micro-batches in this process.
        position: The one whose gradients come next.
        states: Random states before each one's forward pass.
        loss: Of all clips of the update, in all processes.
        gradients: Of the loss, with respect to each micro-batch's outputs.
        weight_gradient: Of the loss, with respect to the learned log-variances of the tasks.
    """

    batches: list[Mapping[str, Any]]
    position: int = 0
    states: list[_RandomStates] = field(default_factory=list)
    loss: torch.Tensor | None = None
    gradients: list[torch.Tensor] = field(default_factory=list)
    weight_gradient: torch.Tensor | None = None


class WholeBatchTrainer(Trainer):
    """A Trainer that takes a batch's loss over all clips of an update.

    For `NvvForAudioClassification`, bare or inside a `PeftModel`; a training dataset with missing labels has them as
    its `labels`, NaN or -100. Everything else is the base class's.
    """

    _update: _Update | None = None

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """Collect the micro-batches of an update, as the base class does, and remember them if they belong together."""
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        parts = len(batches) * self.accelerator.num_processes * max(1, self.args.n_gpu)
        self._update = _Update(batches) if parts > 1 and self._losses_belong_together else None
        return batches, num_items

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Compute the loss of a micro-batch.

        Where the update's clips belong together, its value is the loss of all of them, and its gradient such that
        what the base class adds up over micro-batches and averages over processes is the gradient of that loss.

        Args:
            model: the model, wrapped as for training.
            inputs: the micro-batch.
            return_outputs: also return the model's outputs; so does evaluation, which goes the base class's way.
            num_items_in_batch: passed on.

        Returns:
            The loss, and with `return_outputs` the outputs.
        """
        update = self._update
        if update is None or return_outputs or not (model.training and torch.is_grad_enabled()):
            return super().compute_loss(
                model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
            )
        if update.position == 0:
            outputs = self._outputs(model, inputs)
            self._look_ahead(model, update, first=outputs)
        else:
            update.states[update.position].put_back()
            outputs = self._outputs(model, inputs)
        gradient = update.gradients[update.position]  # in fp32 at least, as is the sum
        # The base class divides by the number of micro-batches, and processes are averaged.
        scale = len(update.batches) * self.accelerator.num_processes
        surrogate = scale * (outputs.to(gradient.dtype) * gradient).sum()
        log_variances = self._log_variances
        if update.weight_gradient is not None:
            surrogate = surrogate + (log_variances * update.weight_gradient).sum()  # once for all parts: no scale
        update.position += 1
        return update.loss + (surrogate - surrogate.detach())

    def _look_ahead(self, model: torch.nn.Module, update: _Update, *, first: torch.Tensor) -> None:
        """Compute the outputs of the other micro-batches, the loss, and its gradients."""
        devices = range(self.args.n_gpu) if self.args.n_gpu > 1 else range(0)
        if self.args.device.type == "cuda" and not devices:
            index = self.args.device.index
            index = torch.cuda.current_device() if index is None else index
            devices = range(index, index + 1)
        outputs = [first.detach()]
        batches = [self._prepare_inputs(batch) for batch in update.batches]
        update.states.append(_RandomStates.now(devices))  # of the first: never put back
        with torch.no_grad():
            for batch in batches[1:]:
                update.states.append(_RandomStates.now(devices))
                outputs.append(self._outputs(model, batch))
        sizes = [len(output) for output in outputs]
        values = torch.cat(outputs)
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        whole, start = self._of_all_processes({"outputs": values, **_joined_labels(batches)})
        values = whole.pop("outputs").requires_grad_()
        log_variances = self._log_variances
        wanted = [values] if log_variances is None else [values, log_variances.detach().float().requires_grad_()]
        with torch.enable_grad():
            loss = _loss(self._config, values, log_variances=None if len(wanted) == 1 else wanted[1], **whole)
            gradients = torch.autograd.grad(loss, wanted)
        update.loss = loss.detach()
        update.gradients = list(gradients[0][start : start + sum(sizes)].split(sizes))
        if log_variances is not None:
            update.weight_gradient = gradients[1].to(log_variances.dtype)

    def _outputs(self, model: torch.nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
        """Return what the loss is of, logits or embeddings (batch, …).

        The labels go along, so that everything that has gradients is in the outputs' graph, where DDP looks for it.
        """
        if self._config.loss == CONTRASTIVE_LOSS:
            return model(**inputs, output_embeddings=True).embeddings
        return model(**inputs).logits

    def _of_all_processes(self, own: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], int]:
        """Return the tensors (clips, …) of all processes, one after the other, and where this process's begin."""
        if self.accelerator.num_processes == 1:
            return own, 0
        num_clips = len(own["outputs"])
        sizes = self.accelerator.gather(torch.tensor([num_clips], device=own["outputs"].device)).tolist()
        most = max(sizes)
        whole = {}
        for name, tensor in own.items():
            padded = F.pad(tensor, (0, 0) * (tensor.dim() - 1) + (0, most - num_clips))
            parts = self.accelerator.gather(padded.contiguous()).split(most)
            whole[name] = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
        return whole, sum(sizes[: self.accelerator.process_index])

    @property
    def unwrapped(self) -> torch.nn.Module:
        """The classifier or the `PeftModel` around it, out of what torch.compile and accelerate put around them."""
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    @property
    def classifier(self) -> NvvForAudioClassification:
        """The classifier itself, inside a `PeftModel` with the active copy of its head."""
        model = self.unwrapped
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    @property
    def _config(self) -> Any:
        return self.classifier.config

    @property
    def _log_variances(self) -> torch.nn.Parameter | None:
        """The learned uncertainties of several tasks; inside PEFT those of the active copy of the head."""
        return getattr(self.classifier.head, "log_variances", None)

    @cached_property
    def _losses_belong_together(self) -> bool:
        """Whether the mean over the micro-batches' losses is not the loss of all clips."""
        if any(task.loss in BATCH_LOSSES for task in self._config.task_list):
            return True
        labels = np.asarray(getattr(self.train_dataset, "labels", ()))
        return bool(np.isnan(labels).any() if labels.dtype.kind == "f" else (labels == MISSING_LABEL).any())


def _joined_labels(batches: list[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Return `labels` of all clips, and `mixed_targets` and `mixing_weights` where clips are mixed."""
    names = [name for name in ("labels", "mixed_targets", "mixing_weights") if batches[0].get(name) is not None]
    return {name: torch.cat([batch[name] for batch in batches]) for name in names}


def _loss(
    config: Any,
    outputs: torch.Tensor,
    *,
    labels: torch.Tensor,
    log_variances: torch.Tensor | None,
    mixed_targets: torch.Tensor | None = None,
    mixing_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute the loss of all clips, as `forward` does of a batch."""
    if config.loss == CONTRASTIVE_LOSS:
        return supervised_contrastive_loss(outputs, labels, temperature=config.contrastive_temperature)
    return task_loss(
        outputs,
        labels,
        config,
        log_variances=log_variances,
        mixed_targets=mixed_targets,
        mixing_weights=mixing_weights,
    )
