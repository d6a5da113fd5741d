"""What a training run can be told: one dataclass for the model, one for the data, one for the training loop.

The fourth group, how the backbone is tuned, is `nvv.training.tuning.TuningArguments`; reading all four from YAML files
and the command line is the neighbour `config_files`. Field names are unique over the four groups, because every field
is also a command-line option. The defaults of the training loop are those in force in the LINKS study
(links-ads/kk-nonverbal-vocal-class): batch 16 × 2 accumulation steps, 50 epochs, AdamW at 1e-4 with weight decay 0.01,
linear decay, no warm-up, the checkpoint with the best validation macro-F1.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import validate_repo_id
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from ..configuration_nvv import CONTRASTIVE_LOSS, HEADS, LOSSES, PADDINGS, POOLINGS

TASK_LOSSES = (*LOSSES, "ccc", "mse")
TASK_WEIGHTINGS = ("fixed", "uncertainty")
COLUMN_FIELDS = ("audio_column", "label_column", "speaker_column", "file_column", "split_column")
SAMPLING_STRATEGIES = ("group_by_length", "random", "sequential", "class_balanced")
# What the Trainer alone would follow, which pushes checkpoints; a run is pushed once.
_HUB_FIELDS_OF_TRAINER = {"hub_strategy": HubStrategy.EVERY_SAVE, "hub_always_push": False}
AUTOMATIC_METRIC = "auto"
"""`metric_for_best_model` by what the model predicts; see `nvv.training.scores.selection_metric`."""


class ArgumentsError(ValueError):
    """An argument has a value that cannot be used, alone or beside another."""


def _check_choice(name: str, value: Any, *, allowed: Collection[str]) -> None:
    """Raise unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ArgumentsError(f"{name}: expected one of {', '.join(allowed)}; found {value!r}.")


def as_mapping(name: str, value: dict[str, Any] | str | None) -> dict[str, Any] | None:
    """Read nested settings, which the command line gives as JSON text.

    Raises:
        ArgumentsError: for text that is not a JSON object.
    """
    if not isinstance(value, str):
        return value
    try:
        settings = json.loads(value)
    except json.JSONDecodeError as error:
        raise ArgumentsError(f"{name}: expected JSON text such as {{...}}, found {value!r} ({error}).") from error
    if not isinstance(settings, dict):
        raise ArgumentsError(f"{name}: expected a JSON object, found {value!r}.")
    return settings


def _resolved_augmentation(settings: dict[str, Any] | None) -> dict[str, Any] | None:
    """Check the transforms of training clips and fill their defaults in, so that a run's record holds all values.

    Raises:
        ArgumentsError: for settings that are not understood, naming transform, field and value.
    """
    if settings is None:
        return None
    from ..data.augmentation import Augmentation, AugmentationError  # here: scipy's filters take time to import

    try:
        return Augmentation(settings).describe()
    except AugmentationError as error:
        raise ArgumentsError(str(error)) from error


def _check_number(name: str, value: float | None, *, above: float, inclusive: bool = False) -> None:
    """Raise unless `value` is None or lies above a bound."""
    if value is None or value > above or (inclusive and value == above):
        return
    raise ArgumentsError(f"{name}: expected {'at least' if inclusive else 'more than'} {above}, found {value!r}.")


@dataclass
class ModelArguments:
    """Which backbone, how much of it, and what stands on top. Lengths are in seconds.

    Raises:
        ArgumentsError: for a value outside its range, naming field, value and what is allowed.
    """

    backbone: str = field(
        default="openai/whisper-tiny",
        metadata={"help": "Hub id of the speech encoder, or a folder that holds one."},
    )
    backbone_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the backbone on the Hub; none: its main branch."}
    )
    random_init: bool = field(
        default=False,
        metadata={"help": "Build the backbone at its true size with random weights: needs no network, knows nothing."},
    )
    num_backbone_layers: int | None = field(
        default=None, metadata={"help": "Keep only this many of the backbone's first layers; none: all of them."}
    )
    summed_layers: list[int] | None = field(
        default=None,
        metadata={"help": "Hidden states in the weighted sum: 0 is the embedding output, n layer n; none: all."},
    )
    use_weighted_layer_sum: bool = field(
        default=True, metadata={"help": "Learn a weighted sum of hidden states; false: take the last one."}
    )
    head: str = field(default="linear", metadata={"help": f"What classifies: {', '.join(HEADS)}."})
    pooling: str = field(default="mean", metadata={"help": f"How frames become one vector: {', '.join(POOLINGS)}."})
    projection_size: int = field(default=256, metadata={"help": "Width of the layer before the classifier."})
    head_dropout: float = field(default=0.1, metadata={"help": "Dropout probability in the mlp head, in [0, 1)."})
    lstm_hidden_size: int = field(default=512, metadata={"help": "Units of each LSTM layer (head: lstm)."})
    lstm_layers: int = field(
        default=2, metadata={"help": "LSTM layers; 0: a linear layer on each frame, without an LSTM (head: lstm)."}
    )
    lstm_bidirectional: bool = field(default=False, metadata={"help": "Read frames in both directions (head: lstm)."})
    embedding_size: int = field(default=128, metadata={"help": "Width of the embedding (head: embedding)."})
    contrastive_temperature: float = field(
        default=0.1, metadata={"help": "Temperature of the supervised contrastive loss, > 0 (head: embedding)."}
    )
    loss: str | None = field(
        default=None,
        metadata={
            "help": f"What is minimised: {', '.join(TASK_LOSSES)}. none: cross_entropy for classes, ccc for numbers, "
            "supervised_contrastive for head: embedding. With tasks each names its own."
        },
    )
    focal_gamma: float = field(
        default=2.0, metadata={"help": "How much the focal loss turns to the hard clips, at least 0 (loss: focal)."}
    )
    task_weighting: str = field(
        default="fixed",
        metadata={
            "help": "How several tasks' losses are added: fixed, by their weights; uncertainty, by learned "
            "uncertainties (Kendall et al. 2018)."
        },
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "Share of each target spread over all classes."})
    padding: str = field(
        default="mask",
        metadata={
            "help": "mask: padding is hidden from the model; silence: every clip is padded to padding_seconds and the "
            "model hears it."
        },
    )
    padding_seconds: float = field(default=7.0, metadata={"help": "Length that padding: silence pads to."})
    pool_padding: bool = field(
        default=False, metadata={"help": "With padding: silence, let the pooling include the silence."}
    )
    max_seconds: float = field(
        default=7.0,
        metadata={"help": "Longer clips are cropped: at random while training, from the start when evaluated."},
    )

    layerdrop: float = field(
        default=0.0, metadata={"help": "Probability of skipping a backbone layer while training, in [0, 1)."}
    )
    apply_spec_augment: bool = field(
        default=False, metadata={"help": "Mask spans of frames while training, as the checkpoint's config says."}
    )
    spec_augment: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Settings of apply_spec_augment that replace the checkpoint's: mask_time_prob, mask_time_length, "
            "mask_time_min_masks, mask_feature_prob, mask_feature_length, mask_feature_min_masks."
        },
    )

    def __post_init__(self) -> None:
        """Check every field that has a bounded set of values."""
        if not self.backbone:
            raise ArgumentsError("backbone: expected a Hub id or a folder, found nothing.")
        _check_choice("head", self.head, allowed=HEADS)
        _check_choice("pooling", self.pooling, allowed=POOLINGS)
        _check_choice("padding", self.padding, allowed=PADDINGS)
        _check_number("num_backbone_layers", self.num_backbone_layers, above=1, inclusive=True)
        _check_number("projection_size", self.projection_size, above=1, inclusive=True)
        _check_number("max_seconds", self.max_seconds, above=0)
        _check_number("padding_seconds", self.padding_seconds, above=0)
        self._check_head()
        self.spec_augment = as_mapping("spec_augment", self.spec_augment)
        if self.spec_augment is not None and not self.apply_spec_augment:
            raise ArgumentsError(
                "spec_augment: has no effect without apply_spec_augment: true; set that too or leave it out."
            )
        for name in ("head_dropout", "label_smoothing", "layerdrop"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentsError(f"{name}: expected a number in [0, 1), found {getattr(self, name)!r}.")
        if self.summed_layers is not None and min(self.summed_layers, default=-1) < 0:
            raise ArgumentsError(f"summed_layers: expected layer numbers from 0, found {self.summed_layers!r}.")
        if self.pool_padding and self.padding != "silence":
            raise ArgumentsError(
                "pool_padding: expected false with padding: mask (there is nothing to pool), found true. "
                "Set padding: silence too."
            )
        if self.padding == "silence" and self.max_seconds > self.padding_seconds:
            raise ArgumentsError(
                f"max_seconds: expected at most padding_seconds ({self.padding_seconds}) with padding: silence, "
                f"found {self.max_seconds}."
            )

    def _check_head(self) -> None:
        """Check the head and the loss, and refuse options of heads and losses that were not chosen."""
        _check_number("lstm_hidden_size", self.lstm_hidden_size, above=1, inclusive=True)
        _check_number("lstm_layers", self.lstm_layers, above=0, inclusive=True)
        _check_number("embedding_size", self.embedding_size, above=1, inclusive=True)
        _check_number("contrastive_temperature", self.contrastive_temperature, above=0)
        _check_number("focal_gamma", self.focal_gamma, above=0, inclusive=True)
        _check_choice("task_weighting", self.task_weighting, allowed=TASK_WEIGHTINGS)
        if self.loss is not None:
            _check_choice("loss", self.loss, allowed=TASK_LOSSES)
        is_contrastive = self.loss == CONTRASTIVE_LOSS or (self.loss is None and self.head == "embedding")
        if is_contrastive != (self.head == "embedding"):
            raise ArgumentsError(
                f"head: {self.head} does not go with loss: {self.loss}; head: embedding and loss: {CONTRASTIVE_LOSS} "
                "belong together."
            )
        for chosen, names in (
            (self.head == "lstm", ("lstm_hidden_size", "lstm_layers", "lstm_bidirectional")),
            (self.head == "embedding", ("embedding_size", "contrastive_temperature")),
        ):
            refuse_fields(self, () if chosen else names, reason=f"has no effect with head: {self.head}; leave it out.")


@dataclass
class DataArguments:
    """Which recordings, and how they are divided.

    Raises:
        ArgumentsError: for a value outside its range, naming field, value and what is allowed.
    """

    corpus: str = field(
        default="synthetic",
        metadata={
            "help": "A corpus that nvv.data.list_corpora() names; a folder that nvv prepare wrote; or data of your "
            "own: a CSV, TSV or JSON lines file of paths and labels, a folder of class folders, a dataset's folder or "
            "Hub id."
        },
    )
    data_dir: str | None = field(
        default=None,
        metadata={
            "help": "Folder with the corpus as its authors released it, where it needs one; for a table of your own, "
            "the folder that its paths start from (none: the table's)."
        },
    )
    corpus_config: str | None = field(
        default=None, metadata={"help": "Config of a dataset of your own that has several."}
    )
    corpus_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of a dataset on the Hub; none: its main branch."}
    )
    audio_column: str | None = field(
        default=None, metadata={"help": "Column with the audio, or the paths to it; none: audio."}
    )
    label_column: str | None = field(default=None, metadata={"help": "Column with the classes; none: label."})
    speaker_column: str | None = field(
        default=None, metadata={"help": "Column that tells speakers apart; none: speaker_id, if there is one."}
    )
    file_column: str | None = field(
        default=None, metadata={"help": "Column with a unique name for each clip; none: the paths of the audio."}
    )
    split_column: str | None = field(
        default=None, metadata={"help": "Column that says train, validation or test; none: the dataset's own splits."}
    )
    positive_labels: list[str] | None = field(
        default=None,
        metadata={
            "help": "Make a detector: these classes become one, all others become `other`. none: the classes as they "
            "are."
        },
    )
    target_columns: list[str] | None = field(
        default=None,
        metadata={"help": "Columns of numbers to predict, instead of classes, such as arousal dominance valence."},
    )
    tasks: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Several tasks at once, by name: {high: {targets: [Awe, Fear], loss: ccc, weight: 1.0}, type: "
            "{label: label, loss: cross_entropy}}. Missing values are left out of the losses."
        },
    )
    augment: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "What is done to training clips, by name: {noise: {probability: 0.5, snr_db: [5, 20]}, …}; see "
            "nvv.data.augmentation."
        },
    )
    mixup_alpha: float = field(
        default=0.0, metadata={"help": "Mix pairs of training clips with weights from Beta(alpha, alpha); 0: none."}
    )
    split_protocol: str | None = field(
        default=None,
        metadata={
            "help": "How clips are divided: speaker, stratified, official, fold_0 … fold_9, or another config that the "
            "corpus has (none: its default, mostly speaker); voc2vec_fold_0 … voc2vec_fold_9 hold out a random tenth "
            "that also chooses the checkpoint, as voc2vec published. For data of your own: given, speaker, stratified, "
            "fold_0 … fold_9 (none: given if it has train and test, else speaker if speakers are known, else "
            "stratified)."
        },
    )
    data_cache_dir: str | None = field(
        default=None, metadata={"help": "Where prepared corpora are kept; none: the datasets library's own cache."}
    )
    max_train_clips: int | None = field(
        default=None, metadata={"help": "Train on this many clips, evenly taken from the split; none: all."}
    )
    max_evaluation_clips: int | None = field(
        default=None, metadata={"help": "The same for validation and test: for trying things out, not for results."}
    )
    decoded_audio_mebibytes: int = field(
        default=1024, metadata={"help": "Decoded clips kept in memory at most, for each split; 0: decode every time."}
    )

    def __post_init__(self) -> None:
        """Check every field that has a bounded set of values."""
        if not self.corpus:
            raise ArgumentsError("corpus: expected a corpus name, a Hub dataset id or a folder, found nothing.")
        for name in ("split_protocol", "corpus_config", "corpus_revision", *COLUMN_FIELDS):
            if getattr(self, name) == "":
                raise ArgumentsError(f"{name}: expected a name or none, found nothing.")
        _check_number("max_train_clips", self.max_train_clips, above=1, inclusive=True)
        _check_number("max_evaluation_clips", self.max_evaluation_clips, above=1, inclusive=True)
        _check_number("decoded_audio_mebibytes", self.decoded_audio_mebibytes, above=0, inclusive=True)
        _check_number("mixup_alpha", self.mixup_alpha, above=0, inclusive=True)
        self.tasks = as_mapping("tasks", self.tasks)
        self.augment = _resolved_augmentation(as_mapping("augment", self.augment))
        self._check_tasks()

    def _check_tasks(self) -> None:
        """Refuse two ways at once of saying what is predicted."""
        given = [name for name in ("target_columns", "tasks", "positive_labels") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ArgumentsError(f"{', '.join(given)}: expected one of these at most; each says what is predicted.")
        for name in given:
            if not getattr(self, name):
                raise ArgumentsError(f"{name}: expected at least one, found none.")
        if self.target_columns is not None and len(set(self.target_columns)) < len(self.target_columns):
            raise ArgumentsError(f"target_columns: {self.target_columns!r} names a column twice.")


TASK_FIELDS = ("target_columns", "tasks")
AUGMENTATION_FIELDS = ("augment", "mixup_alpha")


def refuse_fields(arguments: Any, names: Collection[str], *, reason: str) -> None:
    """Refuse options that a program does not act on, rather than pass them over.

    Args:
        arguments: a group of arguments.
        names: the fields that must have their defaults.
        reason: why, and what to do instead; the end of the message.

    Raises:
        ArgumentsError: for a field that was set.
    """
    defaults = type(arguments).__dataclass_fields__
    for name in names:
        if getattr(arguments, name) != defaults[name].default:
            raise ArgumentsError(f"{name}: {getattr(arguments, name)!r} {reason}")


@dataclass
class NvvTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with the published defaults and what a run of `nvv` adds.

    Raises:
        ArgumentsError: for a combination that would train something else than asked for.
    """

    per_device_train_batch_size: int = field(default=16, metadata={"help": "Clips a step on each device."})
    per_device_eval_batch_size: int = field(
        default=16, metadata={"help": "Clips a step when evaluating; changes speed, not scores."}
    )
    gradient_accumulation_steps: int = field(default=2, metadata={"help": "Steps between two updates."})
    num_train_epochs: float = field(default=50.0, metadata={"help": "Passes over the training split."})
    learning_rate: float = field(default=1e-4, metadata={"help": "The largest learning rate of the schedule."})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's weight decay, not on biases and norms."})
    logging_strategy: str = field(default="epoch", metadata={"help": "When the training loss is logged."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When the validation split is scored."})
    save_strategy: str = field(default="epoch", metadata={"help": "When a checkpoint is written."})
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints kept: the last ones, and the best one in any case."}
    )
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Test and save the checkpoint that validation chose."}
    )
    metric_for_best_model: str | None = field(
        default=AUTOMATIC_METRIC,
        metadata={
            "help": "Validation score that chooses the checkpoint; auto: macro_f1 for classes, ccc for numbers, "
            "mean_score for several tasks (the mean of CCC and UAR over them)."
        },
    )
    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={"help": f"Order of training clips: {', '.join(SAMPLING_STRATEGIES)}."},
    )
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "A resumed run keeps counting early stopping's patience where it was."}
    )
    resume_from_checkpoint: str | None = field(
        default=None,
        metadata={"help": "`last`: go on from the last complete checkpoint in output_dir; or a checkpoint's folder."},
    )
    class_balanced_loss: bool = field(
        default=False,
        metadata={"help": "Weigh class c by n / (k · n_c): n training clips, k classes, n_c clips of the class."},
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after this many evaluations without a better score; none: never."}
    )
    early_stopping_threshold: float = field(
        default=0.0, metadata={"help": "How much better a score must be to count for early stopping."}
    )
    cpu_threads: int | None = field(
        default=None,
        metadata={
            "help": "Threads of each process on a CPU; none: all cores for a single process that accelerate launched, "
            "which would give it one, otherwise what torch finds."
        },
    )
    num_bootstrap_resamples: int = field(default=1000, metadata={"help": "Bootstrap resamples behind each interval."})
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Delete what another run left in output_dir, then start."}
    )

    def __post_init__(self) -> None:
        """Check what the base class cannot know, and let it do the rest."""
        if not self.output_dir:
            raise ArgumentsError(
                "output_dir: expected a folder to write the run to, found nothing. Pass --output_dir runs/NAME."
            )
        has_accelerator = torch.accelerator.is_available()
        if self.fp16 and not has_accelerator:
            raise ArgumentsError("fp16: needs a GPU, and none is here. A CPU can do --fp16 false --bf16 true.")
        if not has_accelerator:
            # The base class refuses bf16 unless told that the CPU is meant, and would pin memory for no device.
            self.use_cpu = True
        if self.greater_is_better is None and (self.metric_for_best_model or "").endswith("mae"):
            self.greater_is_better = False  # the base class knows this of losses only
        super().__post_init__()
        _check_choice("train_sampling_strategy", self.train_sampling_strategy, allowed=SAMPLING_STRATEGIES)
        _check_number("early_stopping_patience", self.early_stopping_patience, above=1, inclusive=True)
        _check_number("early_stopping_threshold", self.early_stopping_threshold, above=0, inclusive=True)
        _check_number("cpu_threads", self.cpu_threads, above=1, inclusive=True)
        _check_number("num_bootstrap_resamples", self.num_bootstrap_resamples, above=1, inclusive=True)
        self._check_combinations()
        self._check_push()

    def _check_push(self) -> None:
        """Refuse what no upload would follow, and a repository that the Hub cannot have, before hours of training."""
        for name, default in _HUB_FIELDS_OF_TRAINER.items():
            if getattr(self, name) != default:
                raise ArgumentsError(
                    f"{name}: has no effect, found {getattr(self, name)!r}: a run is uploaded once, when it has ended. "
                    "Leave it out."
                )
        if self.push_to_hub:
            name = self.hub_model_id or Path(self.output_dir).resolve().name
            try:
                validate_repo_id(name)
            except ValueError as error:
                raise ArgumentsError(
                    f"hub_model_id: {name!r} is no name that a repository can have ({error}) Pass --hub_model_id "
                    "OWNER/NAME."
                ) from error

    def _check_combinations(self) -> None:
        """Refuse what the base class would accept and then do differently from what it says."""
        if self.label_smoothing_factor:
            # The base class's own smoothing computes another loss and would leave the class weights out.
            raise ArgumentsError(
                f"label_smoothing_factor: expected 0, found {self.label_smoothing_factor}. "
                "Use label_smoothing, which goes together with class_balanced_loss."
            )
        if self.prediction_loss_only or self.batch_eval_metrics:
            raise ArgumentsError(
                "prediction_loss_only, batch_eval_metrics: expected false, found true. Scores need all predictions."
            )
        if self.early_stopping_patience is not None and not self.load_best_model_at_end:
            raise ArgumentsError(
                f"early_stopping_patience: {self.early_stopping_patience} needs load_best_model_at_end: true, or the "
                "run would end with the model that made it stop."
            )
        if self.resume_from_checkpoint and self.overwrite_output_dir:
            raise ArgumentsError(
                f"overwrite_output_dir: expected false with resume_from_checkpoint ({self.resume_from_checkpoint!r}): "
                "it would delete the checkpoint to resume from."
            )
