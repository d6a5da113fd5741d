"""The Trainer where transformers' own would give results that depend on how they were computed.

Clips are evaluated by length, which is fast, and their results put back in the dataset's order; the evaluation loss is
computed over all clips at once, where the base class averages over batches; training order and crops come from
`samplers`. So scores do not depend on the number of processes or the batch size. What a model is and what is trained in
it is left to the model and to `nvv.training.tuning`. Own work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    Wav2Vec2FeatureExtractor,
)
from transformers.trainer_utils import EvalLoopOutput

from ..losses_nvv import weighted_cross_entropy
from ..metrics import classification_scores
from .arguments import NvvTrainingArguments
from .collator import ClipCollator
from .dataset import ClipDataset
from .quick_lora import quicken_lora
from .samplers import LengthSortedSampler, TrainingSampler


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


class NvvTrainer(Trainer):
    """A Trainer for `NvvForAudioClassification`, bare or inside a `PeftModel`.

    Args:
        model: the model; class weights and label smoothing are in its config.
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
        super().__init__(
            model=model,
            args=args,
            data_collator=ClipCollator(feature_extractor),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=feature_extractor,
            compute_metrics=_compute_scores,
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
        self.training_sampler = TrainingSampler(
            dataset.lengths if grouped else [0] * len(dataset),
            strategy=self.args.train_sampling_strategy,
            batch_size=self.args.train_batch_size,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
        )
        return self.training_sampler

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
            `predictions` (clips, labels) and `label_ids` (clips,) in the dataset's order, and `metrics`, among them the
            loss over all clips.

        Raises:
            RuntimeError: if the results do not belong to the dataset's clips.
        """
        output = super().evaluation_loop(
            dataloader,
            description,
            prediction_loss_only=prediction_loss_only,
            ignore_keys=ignore_keys,
            metric_key_prefix=metric_key_prefix,
        )
        dataset: ClipDataset = dataloader.dataset
        order = self._get_eval_sampler(dataset).order
        if not np.array_equal(output.label_ids, dataset.labels[order]):
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
        config = self.accelerator.unwrap_model(self.model).config
        loss = weighted_cross_entropy(
            torch.from_numpy(logits),
            torch.from_numpy(labels),
            class_weights=config.class_weights,
            label_smoothing=config.label_smoothing,
        )
        return loss.item()


def _compute_scores(evaluation: EvalPrediction) -> dict[str, float]:
    """Score logits (clips, labels) against labels (clips,)."""
    logits = np.asarray(evaluation.predictions)
    return classification_scores(evaluation.label_ids, logits.argmax(axis=-1), num_labels=logits.shape[-1])
