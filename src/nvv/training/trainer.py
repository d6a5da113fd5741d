"""The Trainer where transformers' own would give results that depend on how they were computed.

Clips are evaluated by length, which is fast, and their results put back in the dataset's order; the evaluation loss is
computed over all clips at once, where the base class averages over batches; training order and crops come from
`samplers`, and losses that compare clips are taken over whole updates by `whole_batch`. So scores do not depend on the
number of processes or the batch size. What a model is and what is trained in it is left to the model and to
`nvv.training.tuning`. Own work.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    Wav2Vec2FeatureExtractor,
)
from transformers.trainer_utils import EvalLoopOutput

from ..configuration_nvv import CONTRASTIVE_LOSS
from ..losses_nvv import task_loss, weighted_cross_entropy
from .arguments import AUTOMATIC_METRIC, NvvTrainingArguments
from .collator import ClipCollator
from .contrastive import has_centroids, refresh_centroids, set_centroids
from .dataset import ClipDataset
from .quick_lora import quicken_lora
from .samplers import LengthSortedSampler, TrainingSampler
from .scores import selection_metric, task_scores
from .whole_batch import WholeBatchTrainer


class _EpochCallback(TrainerCallback):
    """Tells the training sampler its epoch.

    accelerate tells it too, but not in a run of several processes that was resumed within an epoch.
    """

    def __init__(self, trainer: NvvTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the epoch that begins, or that a resumed run goes on with."""
        del args, control, kwargs
        if self._trainer.training_sampler is not None:
            self._trainer.training_sampler.set_epoch(int(state.epoch or 0))


class NvvTrainer(WholeBatchTrainer):
    """A Trainer for `NvvForAudioClassification`, bare or inside a `PeftModel`.

    Args:
        model: the model; tasks, losses, class weights and label smoothing are in its config.
        args: the training arguments.
        feature_extractor: the model's; saved with every checkpoint.
        train_dataset: training clips; None for evaluation only.
        eval_dataset: validation clips.

    Example:
        >>> trainer = NvvTrainer(model, arguments, feature_extractor=feature_extractor)  # doctest: +SKIP
        >>> logits = trainer.predict(ClipDataset(test_split, max_seconds=7.0)).predictions  # doctest: +SKIP
    """

    def __init__(
        self,
        model: PreTrainedModel | torch.nn.Module,
        args: NvvTrainingArguments,
        *,
        feature_extractor: Wav2Vec2FeatureExtractor,
        train_dataset: ClipDataset | None = None,
        eval_dataset: ClipDataset | None = None,
    ) -> None:
        quicken_lora(model)
        if args.metric_for_best_model == AUTOMATIC_METRIC:
            args = copy.copy(args)
            args.metric_for_best_model = selection_metric(model.config)
        super().__init__(
            model=model,
            args=args,
            data_collator=ClipCollator(feature_extractor),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=feature_extractor,
            compute_metrics=partial(_compute_scores, model.config),
        )
        self.training_sampler: TrainingSampler | None = None
        self.add_callback(_EpochCallback(self))
        if args.early_stopping_patience is not None:
            self.add_callback(
                EarlyStoppingCallback(
                    early_stopping_patience=args.early_stopping_patience,
                    early_stopping_threshold=args.early_stopping_threshold,
                )
            )

    def _get_train_sampler(self, train_dataset: ClipDataset | None = None) -> TrainingSampler:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        grouped = self.args.train_sampling_strategy == "group_by_length"
        is_balanced = self.args.train_sampling_strategy == "class_balanced"
        batch_size = self.args.train_batch_size
        if is_balanced and self.classifier.config.loss == CONTRASTIVE_LOSS:
            # Its loss compares the clips of a whole update, so these are what is balanced.
            batch_size *= self.args.world_size * self.args.gradient_accumulation_steps
        self.training_sampler = TrainingSampler(
            dataset.lengths if grouped else [0] * len(dataset),
            labels=dataset.labels if is_balanced else None,
            strategy=self.args.train_sampling_strategy,
            batch_size=batch_size,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
        )
        return self.training_sampler

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        if has_centroids(self):
            refresh_centroids(self)
        super()._save_checkpoint(*args, **kwargs)

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """Return what weight decay acts on: not on learned uncertainties, which it would pull to one value for all."""
        return [name for name in super().get_decay_parameter_names(model) if "log_variances" not in name]

    def _get_eval_sampler(self, eval_dataset: ClipDataset) -> LengthSortedSampler:
        return LengthSortedSampler(eval_dataset.lengths)

    def evaluation_loop(
        self,
        dataloader: torch.utils.data.DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Evaluate by falling length and return results in the dataset's order.

        Args:
            dataloader: of a `ClipDataset`, from this Trainer.
            description: shown in the log.
            prediction_loss_only: passed on.
            ignore_keys: passed on.
            metric_key_prefix: put before each score's name.

        Returns:
            `predictions` (clips, outputs) and `label_ids` (clips,) or (clips, columns) in the dataset's order, and
            `metrics`, among them the loss over all clips; of contrastive learning the cross-entropy of the
            nearest-centroid classifier.

        Raises:
            RuntimeError: if the results do not belong to the dataset's clips.
        """
        if has_centroids(self):
            set_centroids(self)
        output = super().evaluation_loop(
            dataloader,
            description,
            prediction_loss_only=prediction_loss_only,
            ignore_keys=ignore_keys,
            metric_key_prefix=metric_key_prefix,
        )
        dataset: ClipDataset = dataloader.dataset
        order = self._get_eval_sampler(dataset).order
        if not np.array_equal(output.label_ids, dataset.labels[order], equal_nan=dataset.tasks is not None):
            raise RuntimeError(
                f"{description}: the labels that came back from the devices are not those of the {len(order)} clips "
                "that were sent. The results cannot be put in order; run with one process and report this."
            )
        logits, labels = np.empty_like(output.predictions), np.empty_like(output.label_ids)
        logits[order], labels[order] = output.predictions, output.label_ids
        metrics = {**output.metrics, f"{metric_key_prefix}_loss": self._loss(logits, labels)}
        return output._replace(predictions=logits, label_ids=labels, metrics=metrics)

    def _loss(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """Compute the model's loss over all clips at once."""
        outputs, references = torch.from_numpy(logits), torch.from_numpy(labels)
        config, log_variances = self.classifier.config, self._log_variances
        if config.loss == CONTRASTIVE_LOSS:
            return weighted_cross_entropy(outputs, references).item()
        if log_variances is not None:
            log_variances = log_variances.detach().float().cpu()
        return task_loss(outputs, references, config, log_variances=log_variances).item()


def _compute_scores(config: Any, evaluation: EvalPrediction) -> dict[str, float]:
    """Score logits (clips, outputs) against labels (clips,) or (clips, columns)."""
    return task_scores(config, np.asarray(evaluation.predictions), np.asarray(evaluation.label_ids))
