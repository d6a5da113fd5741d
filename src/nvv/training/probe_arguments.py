"""What the linear probe can be told beyond a training run, and which of a training run's settings it does not have.

The probe itself is the neighbour `probe`, reading YAML files and the command line `config_files`. Own work.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers.training_args import OptimizerNames

from ..heads_nvv import POOLINGS_THAT_COMMUTE
from .arguments import (
    AUGMENTATION_FIELDS,
    TASK_FIELDS,
    ArgumentsError,
    ModelArguments,
    NvvTrainingArguments,
    refuse_fields,
)
from .config_files import RunArguments, resolved_config
from .probe_heads import selection_metric

WEIGHT_DECAYS = (0.01, 10.0, 30.0)

# The training settings that the probe follows. Any other one that is not at its default would do nothing.
_FOLLOWED = {
    *("output_dir", "overwrite_output_dir", "seed", "data_seed", "full_determinism", "cpu_threads", "use_cpu"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps"),
    *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
    *("adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "train_sampling_strategy", "class_balanced_loss"),
    *("metric_for_best_model", "greater_is_better", "early_stopping_patience", "early_stopping_threshold"),
    *("bf16", "dataloader_num_workers", "num_bootstrap_resamples", "disable_tqdm"),
    *("push_to_hub", "hub_model_id", "hub_private_repo", "hub_revision", "hub_token"),
    # Of the launcher, of the messages; and what says how much a GPU holds, which option files set for every recipe.
    *("local_rank", "ddp_backend", "ddp_timeout", "log_level", "log_level_replica", "per_device_eval_batch_size"),
}
_OPTIMISERS = (OptimizerNames.ADAMW_TORCH, OptimizerNames.ADAMW_TORCH_FUSED)  # the same arithmetic

_INSTEAD = {
    "weight_decay": "The probe takes weight_decays, a list from which validation chooses.",
    "resume_from_checkpoint": "A probe has no checkpoints: run it again, its features are kept.",
    "fp16": "Features are computed in fp32, or with --bf16 true; heads train in fp32.",
}


@dataclass
class ProbeArguments:
    """What is probed, and where features are kept.

    Raises:
        ArgumentsError: for a value outside its range, naming field, value and what is allowed.
    """

    num_seeds: int = field(
        default=3,
        metadata={"help": "Heads of each kind: with the seeds seed, seed + 1, …; a random backbone keeps the first."},
    )
    weight_decays: list[float] = field(
        default_factory=lambda: list(WEIGHT_DECAYS),
        metadata={
            "help": "AdamW's weight decays to choose from, by the mean validation score over seeds. A step takes "
            "learning_rate × weight_decay off a weight. At 1e-4 with linear decay over 950 steps, 0.01 (published) "
            "takes 0.05 per cent off in all, which is next to nothing; 10 takes 38 and 30 takes 76."
        },
    )
    single_layers: bool = field(
        default=True, metadata={"help": "Probe each single hidden state too: which layers know vocalizations."}
    )
    features_cache_dir: str | None = field(
        default=None,
        metadata={"help": "Where features are kept for further runs; none: nvv/features in the Hugging Face cache."},
    )
    max_batch_seconds: float | None = field(
        default=None,
        metadata={
            "help": "Audio in one batch of the backbone, padding included; none: what suits the device. Changes "
            "speed only."
        },
    )

    def __post_init__(self) -> None:
        """Check every field."""
        if self.num_seeds < 1:
            raise ArgumentsError(f"num_seeds: expected at least 1, found {self.num_seeds}.")
        if not self.weight_decays or len(set(self.weight_decays)) < len(self.weight_decays):
            raise ArgumentsError(f"weight_decays: expected different numbers, found {self.weight_decays}.")
        if not all(math.isfinite(decay) and decay >= 0 for decay in self.weight_decays):
            raise ArgumentsError(f"weight_decays: expected numbers from 0 on, found {self.weight_decays}.")
        seconds = self.max_batch_seconds
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise ArgumentsError(f"max_batch_seconds: expected more than 0, found {self.max_batch_seconds}.")


def check_probe(arguments: RunArguments, probe_arguments: ProbeArguments) -> None:
    """Refuse what a probe cannot do, and what would have no effect on one.

    Args:
        arguments: the four groups of a run.
        probe_arguments: the probe's own.

    Raises:
        ArgumentsError: naming the field, its value and what to do instead.
    """
    model, data, tuning, training = arguments
    if tuning.method != "frozen":
        raise ArgumentsError(
            f"method: a probe leaves the backbone frozen; found {tuning.method!r}. Use recipes/train.py for it."
        )
    refuse_fields(
        data,
        (*TASK_FIELDS, *AUGMENTATION_FIELDS),
        reason="is not for probes, which learn classes from features computed once. Use recipes/train.py --method "
        "frozen for it.",
    )
    _check_model(model)
    _check_training(training)
    selection_metric(training)
    largest = max(probe_arguments.weight_decays)
    if training.learning_rate * largest >= 1:
        raise ArgumentsError(
            f"weight_decays: {largest} × learning_rate {training.learning_rate} is 1 or more, which would turn every "
            "weight over at each step. Lower one of them."
        )


def _check_model(model: ModelArguments) -> None:
    if model.head not in ("linear", "mlp") or model.loss not in (None, "cross_entropy"):
        raise ArgumentsError(
            f"head, loss: a probe learns a linear or mlp head by cross_entropy, found {model.head} and {model.loss}. "
            "Use recipes/train.py --method frozen for them."
        )
    if model.pooling not in POOLINGS_THAT_COMMUTE:
        raise ArgumentsError(
            f"pooling: expected one of {', '.join(POOLINGS_THAT_COMMUTE)}, found {model.pooling!r}, which does not "
            "commute with the layer sum and the projection. Use recipes/train.py --method frozen for it."
        )
    for name in ("layerdrop", "apply_spec_augment"):
        if getattr(model, name):
            raise ArgumentsError(
                f"{name}: expected {_default_of(ModelArguments, name)!r}, found {getattr(model, name)!r}. A frozen "
                "backbone is in evaluation mode, where it has no effect."
            )


def _check_training(training: NvvTrainingArguments) -> None:
    optimiser = OptimizerNames(training.optim)
    if optimiser not in _OPTIMISERS:
        names = ", ".join(allowed.value for allowed in _OPTIMISERS)
        raise ArgumentsError(f"optim: expected one of {names}, found {optimiser.value!r}.")
    # What differs from transformers' defaults, and all that nvv has defaults of its own for.
    found = {**resolved_config([training]), "resume_from_checkpoint": training.resume_from_checkpoint}
    for name, value in found.items():
        if name in _FOLLOWED or name == "optim":
            continue
        if name in NvvTrainingArguments.__annotations__ and value == _default_of(NvvTrainingArguments, name):
            continue
        hint = _INSTEAD.get(name, "Leave it out, or use recipes/train.py --method frozen.")
        raise ArgumentsError(f"{name}: has no effect on a probe, found {value!r}. {hint}")


def _default_of(group: type, name: str) -> Any:
    return next(item.default for item in dataclasses.fields(group) if item.name == name)


def default_output_dir(values: Mapping[str, Any]) -> str:
    """Name a probe's folder by corpus, split protocol and backbone.

    Args:
        values: all other values by field name.

    Returns:
        Such as `runs/probe_vivae_default_whisper-tiny`.
    """
    corpus, backbone = (Path(str(values[name]).rstrip("/")).name for name in ("corpus", "backbone"))
    corpus = corpus.split(".")[0] or corpus
    return f"runs/probe_{corpus}_{values['split_protocol'] or 'default'}_{backbone}"
