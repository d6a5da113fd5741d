from __future__ import annotations

from pathlib import Path

import pytest

from nvv.training.arguments import ArgumentsError
from nvv.training.config_files import GROUPS, RunArguments, parse_groups
from nvv.training.probe_arguments import ProbeArguments, check_probe, default_output_dir

RECIPES = Path(__file__).parents[2] / "recipes"


def _parse(*words):
    *groups, probe_arguments = parse_groups(
        [*words, "--output_dir", "unused"], (*GROUPS, ProbeArguments), defaults={"method": "frozen"}
    )
    return RunArguments(*groups), probe_arguments


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_seeds": 0}, "num_seeds: expected at least 1, found 0"),
        ({"weight_decays": []}, "weight_decays: expected different numbers"),
        ({"weight_decays": [1.0, 1.0]}, "weight_decays: expected different numbers"),
        ({"weight_decays": [-1.0]}, "weight_decays: expected numbers from 0 on"),
        ({"weight_decays": [float("nan")]}, "weight_decays: expected numbers from 0 on"),
        ({"max_batch_seconds": 0.0}, "max_batch_seconds: expected more than 0"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(ArgumentsError, match=message):
        ProbeArguments(**values)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "lora"), "method: .* found 'lora'"),
        (("--pooling", "max"), "pooling: expected one of mean, first, last, found 'max'"),
        (("--layerdrop", "0.1"), "layerdrop: expected 0.0, found 0.1"),
        (("--apply_spec_augment", "true"), "apply_spec_augment: expected False"),
        (("--weight_decay", "1"), "weight_decay: has no effect on a probe, found 1.0. The probe takes weight_decays"),
        (("--resume_from_checkpoint", "last"), "resume_from_checkpoint: .* its features are kept"),
        (("--optim", "sgd"), "optim: expected one of adamw_torch, adamw_torch_fused, found 'sgd'"),
        (("--activation_checkpointing", "true"), "activation_checkpointing: has no effect on a probe"),
        (("--save_total_limit", "5"), "save_total_limit: has no effect on a probe, found 5"),
        (("--load_best_model_at_end", "false"), "load_best_model_at_end: has no effect on a probe"),
        (("--eval_strategy", "steps", "--eval_steps", "5", "--save_strategy", "steps", "--save_steps", "5"),
         "(eval_strategy|save_strategy): has no effect on a probe"),
        (("--dataloader_drop_last", "true"), "dataloader_drop_last: has no effect"),
        (("--report_to", "tensorboard"), "report_to: has no effect"),
        (("--metric_for_best_model", "speed"), "metric_for_best_model: expected one of"),
        (("--weight_decays", "1", "100", "--learning_rate", "0.01"), "weight_decays: 100.0 × learning_rate 0.01"),
    ],
)  # fmt: skip
def test_settings_that_a_probe_does_not_have_are_refused(words, message):
    with pytest.raises(ArgumentsError, match=message):
        check_probe(*_parse(*words))


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--optim", "adamw_torch", "--max_steps", "3", "--bf16", "true", "--seed", "4", "--data_seed", "5"),
        ("--class_balanced_loss", "true", "--early_stopping_patience", "3", "--metric_for_best_model", "loss"),
        ("--lr_scheduler_type", "cosine", "--warmup_steps", "10", "--max_grad_norm", "0", "--adam_beta2", "0.99"),
        ("--push_to_hub", "true", "--hub_model_id", "somebody/probe", "--overwrite_output_dir", "true"),
        # the option files of the other recipes
        (RECIPES / "base" / "whisper_small.yaml", RECIPES / "base" / "frozen.yaml", RECIPES / "links_published.yaml"),
    ],
)
def test_settings_that_a_probe_follows_are_taken(words):
    check_probe(*_parse(*map(str, words)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"corpus": "vivae", "split_protocol": None, "backbone": "openai/whisper-tiny"}, "vivae_default_whisper-tiny"),
        ({"corpus": "a/b.csv", "split_protocol": "fold_1", "backbone": "/x/hubert/"}, "b_fold_1_hubert"),
    ],
)
def test_folder_is_named_by_corpus_protocol_and_backbone(values, expected):
    assert default_output_dir(values) == f"runs/probe_{expected}"
