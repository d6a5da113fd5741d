from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional as F
from transformers import TrainerCallback, set_seed

from nvv.loading_nvv import load_feature_extractor
from nvv.modeling_nvv import NvvForAudioClassification
from nvv.training.arguments import NvvTrainingArguments
from nvv.training.dataset import ClipDataset
from nvv.training.trainer import NvvTrainer
from nvv.training.tuning import TuningArguments, apply_tuning

LENGTHS = [0.5, 0.2, 0.9, 0.3, 0.7, 0.25, 0.6, 0.8, 0.35, 0.45, 0.55]


@pytest.fixture
def make_trainer(make_split, backbone_folder, tmp_path):
    def make(*, method="lora", class_weights=None, label_smoothing=0.0, lengths=LENGTHS, name="run", **options):
        set_seed(0)  # the adapters' weights are drawn from the global generator
        model = NvvForAudioClassification.from_backbone(
            str(backbone_folder),
            num_labels=3,
            projection_size=8,
            max_seconds=2.0,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
        )
        clips = ClipDataset(make_split(lengths), max_seconds=2.0, random_crops=True)
        options = {"num_train_epochs": 1, "per_device_train_batch_size": 2, "per_device_eval_batch_size": 4, **options}
        arguments = NvvTrainingArguments(
            output_dir=str(tmp_path / name), gradient_accumulation_steps=1, disable_tqdm=True, **options
        )
        return NvvTrainer(
            apply_tuning(model, TuningArguments(method=method)),
            arguments,
            feature_extractor=load_feature_extractor(str(backbone_folder)),
            train_dataset=clips,
            eval_dataset=ClipDataset(make_split(lengths, seed=1), max_seconds=2.0),
        )

    return make


def _logits_one_by_one(trainer, clips):
    """Classify each clip alone, in the dataset's order."""
    trainer.model.eval()
    with torch.no_grad():
        return torch.cat([trainer.model(**trainer.data_collator([clips[at]])).logits for at in range(len(clips))])


def test_predictions_come_in_the_dataset_order_when_evaluated_by_length(make_trainer):
    trainer = make_trainer()
    output = trainer.predict(trainer.eval_dataset)
    np.testing.assert_array_equal(output.label_ids, trainer.eval_dataset.labels)
    expected = _logits_one_by_one(trainer, trainer.eval_dataset)
    np.testing.assert_allclose(output.predictions, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"class_weights": [0.5, 1.0, 3.0]}, {"label_smoothing": 0.2}])
def test_evaluation_loss_is_that_of_all_clips_whatever_the_batch_size(make_trainer, options):
    losses = [make_trainer(per_device_eval_batch_size=size, **options).evaluate()["eval_loss"] for size in (2, 4, 16)]
    trainer = make_trainer(**options)
    labels = torch.from_numpy(trainer.eval_dataset.labels)
    logits = _logits_one_by_one(trainer, trainer.eval_dataset)
    each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=options.get("label_smoothing", 0.0))
    weights = torch.tensor(options.get("class_weights", [1.0, 1.0, 1.0]))[labels]
    assert losses == pytest.approx([(weights * each).mean().item()] * 3, abs=1e-5)


def test_scores_are_those_of_scikit_learn(make_trainer):
    trainer = make_trainer()
    scores = trainer.evaluate()
    predicted = _logits_one_by_one(trainer, trainer.eval_dataset).argmax(dim=-1)
    expected = f1_score(trainer.eval_dataset.labels, predicted, average="macro", zero_division=0)
    assert scores["eval_macro_f1"] == pytest.approx(expected)


def test_class_weights_change_the_training_loss(make_trainer):
    batches = []
    for weights in (None, [0.1, 1.0, 5.0]):
        trainer = make_trainer(class_weights=weights)
        batch = trainer.data_collator([trainer.train_dataset[at] for at in range(3)])
        batches.append(trainer.compute_loss(trainer.model.eval(), batch).item())
    assert batches[0] != pytest.approx(batches[1], rel=0.01)


def test_results_that_do_not_fit_the_clips_are_refused(make_trainer):
    trainer = make_trainer()
    original = trainer.data_collator

    def swapped(clips):
        batch = original(clips)
        batch["labels"] = batch["labels"].flip(0)
        return batch

    trainer.data_collator = swapped
    with pytest.raises(RuntimeError, match="cannot be put in order"):
        trainer.evaluate()


@pytest.mark.parametrize("workers", [0, 2])
def test_training_crops_follow_seed_and_epoch_when_loaded_by_workers(make_trainer, workers):
    trainer = make_trainer(lengths=[3.0] * 4, num_train_epochs=2, dataloader_num_workers=workers)
    seen: list[torch.Tensor] = []
    original = trainer.training_step

    def recording_step(model, inputs, *args):
        seen.append(inputs["input_values"].clone())
        return original(model, inputs, *args)

    trainer.training_step = recording_step
    trainer.train()
    clips = trainer.train_dataset
    for epoch in range(2):
        cropped = {clips[(at, epoch)]["input_values"].tobytes() for at in range(4)}
        rows = torch.cat(seen[2 * epoch : 2 * epoch + 2])
        assert {row.numpy().tobytes() for row in rows} == cropped


@pytest.mark.parametrize("method", ["frozen", "full", "lora", "adapter", "prompt", "combined"])
def test_best_checkpoint_is_back_in_the_model_at_the_end(make_trainer, method, monkeypatch):
    scores = iter([0.9, 0.1, 0.2])  # the first of three epochs is the best one
    monkeypatch.setattr(
        "nvv.training.scores.classification_scores", lambda *args, **options: {"macro_f1": next(scores)}
    )
    trainer = make_trainer(method=method, num_train_epochs=3, learning_rate=1e-2, save_total_limit=None)
    logits = []
    original = trainer._save_checkpoint

    def recording_save(model, trial):
        logits.append(_logits_one_by_one(trainer, trainer.eval_dataset))
        original(model, trial)

    trainer._save_checkpoint = recording_save
    trainer.train()
    assert trainer.state.best_global_step == trainer.state.max_steps // 3
    torch.testing.assert_close(_logits_one_by_one(trainer, trainer.eval_dataset), logits[0])
    assert not torch.allclose(logits[2], logits[0], atol=1e-4)


def test_training_stops_early_when_validation_does_not_improve(make_trainer, monkeypatch):
    scores = iter([0.5, 0.6, 0.6, 0.4] + [0.0] * 20)
    monkeypatch.setattr(
        "nvv.training.scores.classification_scores", lambda *args, **options: {"macro_f1": next(scores)}
    )
    trainer = make_trainer(num_train_epochs=10, early_stopping_patience=2)
    trainer.train()
    # Epoch 2 is the best; epochs 3 and 4 are no better, and two such use up the patience.
    assert trainer.state.epoch == 4
    assert trainer.state.best_metric == 0.6


@pytest.mark.parametrize("steps", [6, 8])
def test_resumed_training_ends_with_the_same_weights(make_trainer, tmp_path, steps):
    # 11 clips, batches of 2: an epoch has 6 steps; step 6 ends the first epoch, step 8 is within the second.
    options = {"num_train_epochs": 3, "load_best_model_at_end": False, "learning_rate": 1e-2}
    whole = make_trainer(name="whole", **options)
    whole.train()
    steps_options = {"save_strategy": "steps", "eval_strategy": "steps", "save_steps": 2, "eval_steps": 2}
    part = make_trainer(name="part", **options, **steps_options)
    part.add_callback(_StopAfter(steps))
    part.train()
    resumed = make_trainer(name="resumed", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "part" / f"checkpoint-{steps}"))
    expected = dict(whole.model.named_parameters())
    for name, parameter in resumed.model.named_parameters():
        torch.testing.assert_close(parameter, expected[name], msg=name)


class _StopAfter(TrainerCallback):
    def __init__(self, steps):
        self.steps = steps

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.steps


def test_bf16_training_gives_finite_scores(make_trainer):
    trainer = make_trainer(bf16=True)
    assert np.isfinite(trainer.train().training_loss)
    assert trainer.predict(trainer.eval_dataset).predictions.dtype == np.float32
