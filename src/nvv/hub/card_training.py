"""The part of a model card on how the model was trained.

Own work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .card_format import backbone_name, corpus_name, duration, facts_table, inline_code, setting

if TYPE_CHECKING:
    from .model_card import CardFacts

METHODS = {
    "frozen": "frozen backbone, only the head trained (linear probe)",
    "full": "all parameters trained",
    "partial": "all parameters trained but the convolutional front-end's",
    "lora": "LoRA",
    "adapter": "bottleneck adapters",
    "prompt": "deep prompt tuning",
    "combined": "LoRA, bottleneck adapters and deep prompts together",
}

_OPTIONAL_FIELDS = ("augment", "mixup_alpha", "spec_augment")
"""Listed only where they are set: most runs leave them out."""

_TRAINING_FIELDS = (
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_ratio",
    "warmup_steps",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "train_sampling_strategy",
    "class_balanced_loss",
    "label_smoothing",
    "early_stopping_patience",
    "bf16",
    "fp16",
    "layerdrop",
    "apply_spec_augment",
    "max_train_clips",
    "max_evaluation_clips",
)

# The options of each tuning method by the start of their names; a method's card lists its own only.
_TUNING_FIELDS = {
    "lora": ("lora_",),
    "adapter": ("adapter_",),
    "prompt": ("num_prompts", "prompt_"),
    "combined": ("lora_", "adapter_", "num_prompts", "prompt_"),
    "peft": ("peft_",),
}


def _all_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return every field of the resolved configuration by its name, groups opened."""
    settings: dict[str, Any] = {}
    for name, value in config.items():
        settings.update(value if isinstance(value, Mapping) and not name.startswith("peft_") else {name: value})
    return settings


def _parameters(facts: CardFacts) -> str:
    tuning = facts.metrics["tuning"]
    trained, total = tuning["trainable_parameters"], tuning["total_parameters"]
    return f"{trained:,} of {total:,} ({100 * trained / total:.2f} %)"


def training_table(facts: CardFacts) -> str:
    """Write what was trained, from what, on what."""
    metrics, config = facts.metrics, facts.model_config
    backbone, tuning, training = metrics["backbone"], metrics["tuning"], metrics["training"]
    method = tuning["method"]
    best = f"step {training['best_step']}" if training.get("best_step") is not None else None
    if best and training.get("best_epoch") is not None:
        best += f", epoch {training['best_epoch']:g}"
    head = ", ".join(str(config[name]) for name in ("head", "pooling") if config.get(name))
    return facts_table(
        [
            ("backbone", inline_code(backbone_name(facts))),
            ("backbone revision", backbone.get("revision")),
            ("backbone weights", "random" if backbone["random_init"] else "pretrained"),
            ("backbone layers kept", config.get("num_backbone_layers")),
            ("method", METHODS.get(method, method)),
            ("tuned layers", tuning.get("layers")),
            ("parameters trained", _parameters(facts)),
            ("head, pooling", head or None),
            ("head's size", _head_size(config)),
            ("loss", _loss(facts)),
            ("hidden states summed", config.get("layers")),
            ("padding", config.get("padding")),
            ("corpus", corpus_name(facts)),
            ("corpus revision", metrics["corpus"].get("revision")),
            ("columns of the corpus", metrics["corpus"].get("columns")),
            ("split protocol", metrics["corpus"]["config"]),
            ("split manifest (SHA-256)", metrics["corpus"].get("manifest_digest")),
            ("seed", training["seed"]),
            ("tested checkpoint", best),
            ("device", metrics["provenance"].get("device")),
            ("training time", duration(metrics.get("timing", {}).get("wall_time_s"))),
            ("code commit", metrics["provenance"].get("git_commit")),
        ]
    )


def _head_size(config: Mapping[str, Any]) -> str | None:
    """Describe the heads that have more to them than the widths of two Linears."""
    if config.get("head") == "lstm":
        directions = "both directions" if config["lstm_bidirectional"] else "one direction"
        layers = config["lstm_layers"]
        return f"LSTM, {layers} x {config['lstm_hidden_size']}, {directions}" if layers else "no LSTM, one Linear"
    if config.get("head") == "embedding":
        return f"embeddings of {config['embedding_size']} numbers"
    return None


def _loss(facts: CardFacts) -> str | None:
    """Describe a loss that is not plain cross-entropy."""
    config = facts.model_config
    if config.get("tasks"):
        losses = [(task["name"], task["loss"], task["weight"]) for task in config["tasks"]]
        if len(losses) == 1:
            return _named_loss(losses[0][1], config)
        if config.get("task_weighting") == "uncertainty":
            listed = ", ".join(f"{name}: {_named_loss(loss, config)}" for name, loss, _ in losses)
            return f"{listed}; weighted by learned uncertainties"
        return ", ".join(f"{name}: {_named_loss(loss, config)} x {weight:g}" for name, loss, weight in losses)
    loss = config.get("loss", "cross_entropy")
    return None if loss == "cross_entropy" else _named_loss(loss, config)


def _named_loss(loss: str, config: Mapping[str, Any]) -> str:
    named = {
        "ccc": "1 - CCC",
        "mse": "mean squared error",
        "cross_entropy": "cross-entropy",
        "focal": f"focal (gamma {config.get('focal_gamma', 2.0):g})",
        "supervised_contrastive": "supervised contrastive "
        f"(temperature {config.get('contrastive_temperature', 0.1):g})",
    }
    return named[loss]


def hyperparameter_table(facts: CardFacts) -> str:
    """Write the settings of the training; empty where none was recorded."""
    config = facts.metrics["provenance"].get("config") or {}
    rows = [(name, setting(config, name)) for name in _TRAINING_FIELDS]
    rows += [(name, setting(config, name) or None) for name in _OPTIONAL_FIELDS]
    starts = _TUNING_FIELDS.get(facts.metrics["tuning"]["method"], ())
    rows += [(name, value) for name, value in _all_settings(config).items() if starts and name.startswith(starts)]
    known = [(inline_code(name), value) for name, value in rows if value is not None and value != ""]
    # max_steps is -1 where the epochs say how long
    known = [(name, value) for name, value in known if (name, value) != ("`max_steps`", -1)]
    return facts_table(known) if known else ""
