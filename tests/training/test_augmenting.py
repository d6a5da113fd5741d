from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import Wav2Vec2FeatureExtractor

from nvv import NvvConfig, NvvForAudioClassification
from nvv.data.augmentation import Augmentation
from nvv.training.arguments import ArgumentsError, DataArguments, ModelArguments
from nvv.training.augmenting import check_augmentation, make_augmentation
from nvv.training.collator import ClipCollator
from nvv.training.config_files import parse_arguments
from nvv.training.dataset import ClipDataset
from nvv.training.results import comparable_metrics
from nvv.training.run import train
from nvv.training.tasks import TaskSpec
from nvv.training.tuning import TuningArguments

RECIPE = Path(__file__).parents[2] / "recipes" / "base" / "augmented.yaml"
AUGMENT = ("--augment", '{"noise": {"probability": 0.8}, "babble": {}, "speed": {}, "shift": {"seconds": [0, 0.2]}}')


def _losses(result, name):
    return [entry[name] for entry in result.log_history if name in entry]


def test_settings_are_resolved_and_kept_in_the_arguments(command_line):
    data = parse_arguments([str(RECIPE), *command_line()]).data
    assert data.augment["telephone"] == {"probability": 0.1}
    assert data.augment["noise"]["snr_db"] == [5.0, 25.0]
    assert make_augmentation(data).describe() == data.augment
    assert DataArguments(augment='{"gain": {}}').augment == {"gain": {"probability": 0.5, "gain_db": [-10.0, 10.0]}}
    assert make_augmentation(DataArguments()) is None


def test_settings_that_are_not_understood_are_errors_of_the_arguments():
    with pytest.raises(ArgumentsError, match="augment: noise: no field is called 'snr'"):
        DataArguments(augment={"noise": {"snr": 3}})
    with pytest.raises(ArgumentsError, match="augment: expected JSON text"):
        DataArguments(augment="noise")


def test_augmentation_that_cannot_act_is_an_error():
    frozen, lora = TuningArguments(method="frozen"), TuningArguments(method="lora")
    masking = ModelArguments(apply_spec_augment=True)
    contrastive = ModelArguments(head="embedding")
    augmented, mixed = DataArguments(augment={"noise": {}}), DataArguments(mixup_alpha=0.2)
    with pytest.raises(ArgumentsError, match="apply_spec_augment: has no effect with method: frozen"):
        check_augmentation(masking, augmented, frozen)
    with pytest.raises(ArgumentsError, match=r"mixup_alpha: 0\.2 does not go with loss: supervised_contrastive"):
        check_augmentation(contrastive, mixed, lora)
    for allowed in (
        (masking, augmented, lora),
        (contrastive, augmented, lora),
        (ModelArguments(), augmented, frozen),
        (ModelArguments(), mixed, frozen),
    ):
        check_augmentation(*allowed)


def test_loss_of_mixtures_is_that_of_both_clips_targets(make_split, tiny_backbone_config):
    split = make_split([0.2, 0.3, 0.4], labels=[0, 1, 2]).add_column("arousal", [0.1, 0.5, 0.9])
    tasks = (
        TaskSpec(name="affect", kind="regression", outputs=("arousal",), columns=("arousal",), loss="mse"),
        TaskSpec(name="type", kind="classification", outputs=("a", "b", "c"), columns=("label",), loss="cross_entropy"),
    )
    dataset = ClipDataset(split, max_seconds=1.0, tasks=tasks, mixup_alpha=2.0)
    batch = ClipCollator(Wav2Vec2FeatureExtractor())([dataset[index] for index in range(3)])
    fields = [
        {"name": task.name, "kind": task.kind, "outputs": list(task.outputs), "loss": task.loss, "weight": 1.0}
        for task in tasks
    ]
    config = NvvConfig(
        backbone_config=tiny_backbone_config("whisper"), max_seconds=3.0, projection_size=8, tasks=fields
    )
    model = NvvForAudioClassification(config).eval()
    with torch.no_grad():
        output = model(**batch)
    logits, own, other = (value.double() for value in (output.logits, batch["labels"], batch["mixed_targets"]))
    share = batch["mixing_weights"].double()
    target = share * own[:, 0] + (1 - share) * other[:, 0]
    mse = (logits[:, 0] - target).square().mean()
    log_probabilities = logits[:, 1:].log_softmax(dim=-1)
    both = [log_probabilities[torch.arange(3), classes[:, 1].long()] for classes in (own, other)]
    cross_entropy = -(share * both[0] + (1 - share) * both[1]).mean()
    assert output.loss.item() == pytest.approx((mse + cross_entropy).item(), rel=1e-5)


def test_frozen_backbone_learns_from_augmented_clips_and_validates_on_clean_ones(command_line, tmp_path):
    # A learning rate of next to nothing: the same model throughout, so only the clips can change a loss.
    options = ("--method", "frozen", "--learning_rate", "1e-12", "--num_train_epochs", "1")
    plain = train(parse_arguments(command_line(*options, name="plain")))
    augmented = train(parse_arguments(command_line(*options, *AUGMENT, name="augmented")))
    mixed = train(parse_arguments(command_line(*options, "--mixup_alpha", "0.5", name="mixed")))
    for changed in (augmented, mixed):
        np.testing.assert_allclose(_losses(changed, "eval_loss"), _losses(plain, "eval_loss"), rtol=1e-6)
        assert all(np.abs(np.subtract(_losses(changed, "loss"), _losses(plain, "loss"))) > 1e-5)
    record = yaml.safe_load((tmp_path / "augmented" / "config_resolved.yaml").read_text(encoding="utf-8"))
    assert Augmentation(record["augment"]).describe() == record["augment"]
    assert record["augment"]["babble"]["num_clips"] == [3, 6]
    assert yaml.safe_load((tmp_path / "mixed" / "config_resolved.yaml").read_text())["mixup_alpha"] == 0.5


@pytest.mark.slow
def test_recipe_runs_with_spec_augment_and_resumes_as_if_it_had_not_stopped(command_line, tmp_path):
    masks = ("--apply_spec_augment", "true", "--spec_augment", '{"mask_time_length": 4, "mask_time_prob": 0.2}')
    words = [str(RECIPE), *command_line("--mixup_alpha", "0.3", *masks, name="whole")]
    whole = train(parse_arguments(words))
    folder = tmp_path / "whole"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["spec_augment"] == {"mask_time_length": 4, "mask_time_prob": 0.2}
    assert config["backbone_config"]["mask_time_length"] == 4
    last = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    stopped = tmp_path / "stopped"
    shutil.copytree(folder, stopped)
    shutil.rmtree(stopped / last.name)
    assert list(stopped.glob("checkpoint-*"))
    (stopped / "metrics.json").unlink()
    words = [word if word != str(folder) else str(stopped) for word in words]
    resumed = train(parse_arguments([*words, "--resume_from_checkpoint", "last"]))
    assert comparable_metrics(resumed.metrics) == comparable_metrics(whole.metrics)
    assert _losses(resumed, "loss")[-1] == pytest.approx(_losses(whole, "loss")[-1], rel=1e-6)
