from __future__ import annotations

import pytest

from nvv.training.arguments import ArgumentsError, DataArguments, ModelArguments, NvvTrainingArguments


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("head", "gru", "head: expected one of linear, mlp, lstm, embedding; found 'gru'"),
        ("pooling", "median", "pooling: expected one of mean, max, first, last; found 'median'"),
        ("padding", "zero", "padding: expected one of mask, silence; found 'zero'"),
        ("max_seconds", 0.0, "max_seconds: expected more than 0, found 0.0"),
        ("num_backbone_layers", 0, "num_backbone_layers: expected at least 1, found 0"),
        ("head_dropout", 1.0, r"head_dropout: expected a number in \[0, 1\), found 1.0"),
        ("summed_layers", [0, -1], r"summed_layers: expected layer numbers from 0, found \[0, -1\]"),
        ("backbone", "", "backbone: expected a Hub id"),
    ],
)
def test_model_arguments_name_the_value_when_it_is_not_allowed(field, value, message):
    with pytest.raises(ArgumentsError, match=message):
        ModelArguments(**{field: value})


def test_pooled_padding_is_refused_when_padding_is_masked():
    with pytest.raises(ArgumentsError, match="pool_padding"):
        ModelArguments(pool_padding=True)
    assert ModelArguments(pool_padding=True, padding="silence").pool_padding


def test_longer_clips_than_the_silence_are_refused():
    with pytest.raises(ArgumentsError, match=r"padding_seconds \(5.0\).*found 7.0"):
        ModelArguments(padding="silence", padding_seconds=5.0)


def test_data_arguments_name_the_value_when_it_is_not_allowed():
    with pytest.raises(ArgumentsError, match="label_column: expected a name or none, found nothing"):
        DataArguments(label_column="")
    with pytest.raises(ArgumentsError, match="max_train_clips: expected at least 1, found 0"):
        DataArguments(max_train_clips=0)


def test_training_defaults_are_the_published_ones(tmp_path):
    arguments = NvvTrainingArguments(output_dir=str(tmp_path))
    # methods.md (a): batch 16 with 2 accumulation steps, 50 epochs, AdamW lr 1e-4, betas 0.9 and 0.999, epsilon 1e-8,
    # weight decay 0.01, linear decay, no warm-up, one evaluation an epoch, best macro-F1 kept, seed 42.
    published = {
        "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 50,
        "learning_rate": 1e-4,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "weight_decay": 0.01,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "eval_strategy": "epoch",
        "metric_for_best_model": "auto",  # macro_f1 for classes: tests/training/test_scores.py
        "greater_is_better": True,
        "load_best_model_at_end": True,
        "seed": 42,
    }
    assert {name: getattr(arguments, name) for name in published} == published
    assert "adamw" in arguments.optim
    assert arguments.report_to == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_sampling_strategy": "batch_rebalance"}, "found 'batch_rebalance'"),
        ({"early_stopping_patience": 0}, "early_stopping_patience: expected at least 1, found 0"),
        ({"early_stopping_patience": 2, "load_best_model_at_end": False}, "needs load_best_model_at_end: true"),
        ({"label_smoothing_factor": 0.1}, "Use label_smoothing"),
        ({"prediction_loss_only": True}, "Scores need all predictions"),
        ({"resume_from_checkpoint": "last", "overwrite_output_dir": True}, "delete the checkpoint to resume from"),
        ({"num_bootstrap_resamples": 0}, "num_bootstrap_resamples: expected at least 1, found 0"),
        ({"output_dir": None}, "output_dir: expected a folder"),
    ],
)
def test_training_arguments_are_refused_when_they_would_not_do_what_they_say(tmp_path, options, message):
    with pytest.raises(ArgumentsError, match=message):
        NvvTrainingArguments(**{"output_dir": str(tmp_path), **options})


def test_half_precision_on_a_cpu_is_bf16(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    assert NvvTrainingArguments(output_dir=str(tmp_path), bf16=True).use_cpu
    with pytest.raises(ArgumentsError, match="--bf16 true"):
        NvvTrainingArguments(output_dir=str(tmp_path), fp16=True)
