from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainerCallback, Wav2Vec2FeatureExtractor, set_seed

from nvv.contrastive_nvv import supervised_contrastive_loss
from nvv.losses_nvv import task_loss
from nvv.training.arguments import NvvTrainingArguments
from nvv.training.collator import ClipCollator
from nvv.training.trainer import NvvTrainer
from nvv.training.tuning import TuningArguments, apply_tuning

HIGH = {"name": "high", "kind": "regression", "outputs": ["awe", "fear"], "loss": "ccc"}
TWO = {"name": "two", "kind": "regression", "outputs": ["valence", "arousal"], "loss": "mse"}
TYPE = {"name": "type", "kind": "classification", "outputs": ["gasp", "laugh"], "loss": "cross_entropy"}
TARGETS = {"name": "targets", "kind": "regression", "outputs": ["a", "b", "c", "d"], "loss": "ccc"}

# Fields of the model's config; every model has four logits.
CASES = {
    "ccc": {"tasks": [TARGETS]},
    "lstm": {"tasks": [TARGETS], "head": "lstm", "lstm_hidden_size": 12, "lstm_layers": 2},
    "mixture": {"tasks": [HIGH, {**TYPE, "weight": 0.3}]},
    "uncertainty": {"tasks": [HIGH, TYPE], "task_weighting": "uncertainty"},
    "missing": {"tasks": [TWO, TYPE], "task_weighting": "uncertainty"},
    "contrastive": {"head": "embedding", "loss": "supervised_contrastive", "embedding_size": 6},
    "per_clip": {"tasks": [TWO, TYPE]},
}
OPTIONS = {
    "max_steps": 3,
    "optim": "sgd",
    "learning_rate": 0.02,
    "max_grad_norm": 0.0,
    "train_sampling_strategy": "sequential",
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "logging_strategy": "steps",
    "logging_steps": 1,
    "disable_tqdm": True,
    "seed": 1,
}
MISSING = ("missing", "mixture", "uncertainty")  # in which some labels are left out


class Noises(torch.utils.data.Dataset):
    """Short noises with labels for a case, as `ClipDataset` gives them."""

    def __init__(self, case: str, *, num_clips: int = 20) -> None:
        generator = np.random.default_rng(3)
        self.lengths = generator.integers(1_500, 4_000, num_clips).tolist()
        self._clips = [generator.normal(0, 0.3, length).astype(np.float32) for length in self.lengths]
        self.tasks = CASES[case].get("tasks")
        if self.tasks is None:
            self.labels = generator.integers(0, 4, num_clips)
            self.labels[5] = -100
            return
        columns = []
        for task in self.tasks:
            if task["kind"] == "classification":
                columns.append(generator.integers(0, 2, num_clips)[:, None])
            else:
                columns.append(generator.normal(size=(num_clips, len(task["outputs"]))))
        self.labels = np.concatenate(columns, axis=1).astype(np.float32)
        if case in MISSING:
            self.labels[generator.random(self.labels.shape) < 0.25] = np.nan

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, key):
        index = key[0] if isinstance(key, tuple) else key
        labels = int(self.labels[index]) if self.tasks is None else self.labels[index]
        return {"input_values": self._clips[index], "labels": labels}

    def from_start(self, index):
        """Hear a clip as evaluation does."""
        return self._clips[index]


def _feature_extractor():
    return Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=16_000, do_normalize=False, return_attention_mask=True
    )


@pytest.fixture
def make_trainer(make_model, tmp_path):
    """Make a Trainer of a case; `backbone` are fields of the encoder's config."""

    def make(case, *, family="whisper", variant="pre_norm", backbone=None, method="full", fields=None, **options):
        given = {**CASES[case], **(fields or {})}
        model = make_model(family, variant, backbone=backbone, **given)
        arguments = {"output_dir": str(tmp_path / "run"), **OPTIONS, **options}
        return NvvTrainer(
            apply_tuning(model, TuningArguments(method=method)),
            NvvTrainingArguments(**arguments),
            feature_extractor=_feature_extractor(),
            train_dataset=Noises(case),
        )

    return make


def _micro_batches(trainer, *, sizes=(3, 2, 3)):
    """The first clips of the dataset in micro-batches of unequal size."""
    collate, clips, start = ClipCollator(_feature_extractor()), trainer.train_dataset, 0
    batches = []
    for size in sizes:
        batches.append(collate([clips[at] for at in range(start, start + size)]))
        start += size
    return batches


def _gradients(model):
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: gradient.clone() for name, gradient in gradients.items() if gradient is not None}


def _whole_gradients(trainer, batches):
    """Gradients of the loss of all clips, by keeping the graphs of all micro-batches at once."""
    model = trainer.model
    model.train()
    model.zero_grad()
    outputs = [model(**batch, output_embeddings=True) for batch in batches]
    labels, config = torch.cat([batch["labels"] for batch in batches]), model.config
    mixed = {
        name: torch.cat([batch[name] for batch in batches])
        for name in ("mixed_targets", "mixing_weights")
        if name in batches[0]
    }
    if config.loss == "supervised_contrastive":
        embeddings = torch.cat([output.embeddings for output in outputs])
        loss = supervised_contrastive_loss(embeddings, labels, temperature=config.contrastive_temperature)
    else:
        logits = torch.cat([output.logits for output in outputs]).float()
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        loss = task_loss(logits, labels, config, log_variances=base.head.log_variances, **mixed)
    loss.backward()
    return loss.item(), _gradients(model)


def _step_gradients(trainer, batches):
    """Gradients as the Trainer's own loop gathers them."""
    model = trainer.model
    model.zero_grad()
    samples, _ = trainer.get_batch_samples(iter(batches), len(batches), trainer.args.device)
    trainer.current_gradient_accumulation_steps = len(samples)
    losses = [trainer.training_step(model, batch).item() for batch in samples]
    return sum(losses), _gradients(model)


def _compare(trainer, batches, *, atol=1e-6, rtol=1e-4):
    set_seed(7)
    expected_loss, expected = _whole_gradients(trainer, batches)
    state = torch.get_rng_state()
    set_seed(7)
    loss, found = _step_gradients(trainer, batches)
    assert loss == pytest.approx(expected_loss, rel=1e-5, abs=atol)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=atol, rtol=rtol)
    assert any(gradient.abs().max() > 1e-3 for gradient in found.values())
    # Afterwards the generators are where one plain pass would have left them.
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("case", [case for case in CASES if case != "per_clip"])
def test_gradients_are_those_of_all_clips_at_once_with_dropout(make_trainer, case):
    trainer = make_trainer(case, backbone={"dropout": 0.3, "attention_dropout": 0.2}, fields={"layerdrop": 0.3})
    _compare(trainer, _micro_batches(trainer))


@pytest.mark.parametrize("method", ["lora", "adapter", "partial", "frozen"])
def test_gradients_are_those_of_all_clips_when_part_of_the_model_is_tuned(make_trainer, method):
    trainer = make_trainer("uncertainty", method=method, backbone={"dropout": 0.3})
    _compare(trainer, _micro_batches(trainer))
    names = [name for name, parameter in trainer.model.named_parameters() if parameter.grad is not None]
    assert sum("log_variances" in name for name in names) == 1


def test_gradients_are_those_of_all_clips_with_masked_spans_and_checkpointing(make_trainer):
    trainer = make_trainer(
        "ccc",
        family="wav2vec2",
        backbone={"hidden_dropout": 0.2, "activation_dropout": 0.2},
        fields={"apply_spec_augment": True, "spec_augment": {"mask_time_prob": 0.5, "mask_time_length": 2}},
    )
    trainer.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    _compare(trainer, _micro_batches(trainer))


def test_gradients_are_those_of_all_clips_when_clips_are_mixed(make_trainer):
    trainer = make_trainer("uncertainty")
    batches = _micro_batches(trainer)
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        batch["mixed_targets"] = batch["labels"].flip(0)
        batch["mixing_weights"] = 0.5 + torch.rand(len(batch["labels"]), generator=generator) / 2
    _compare(trainer, batches)


def test_gradients_are_those_of_all_clips_under_autocast(make_trainer):
    trainer = make_trainer("mixture")
    with torch.autocast("cpu", torch.bfloat16):
        # Two orders of adding bf16 numbers: a digit in the third place.
        _compare(trainer, _micro_batches(trainer), atol=2e-2, rtol=5e-2)


class _Losses(TrainerCallback):
    def __init__(self):
        self.losses = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.losses.append(logs["loss"])


def _trained(trainer):
    """Train; return the weights and the logged losses."""
    callback = _Losses()
    trainer.add_callback(callback)
    trainer.train()
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}, callback.losses


@pytest.mark.parametrize("case", ["ccc", "uncertainty", "missing", "contrastive"])
def test_training_in_micro_batches_ends_as_with_one_large_batch(make_trainer, case):
    # Twenty clips: two updates of eight, and one of four in two micro-batches.
    small, losses = _trained(make_trainer(case, per_device_train_batch_size=2, gradient_accumulation_steps=4))
    large, expected = _trained(make_trainer(case, per_device_train_batch_size=8, gradient_accumulation_steps=1))
    start = make_trainer(case).model.state_dict()
    for name, value in large.items():
        torch.testing.assert_close(small[name], value, atol=1e-6, rtol=1e-5)
    assert any((value - start[name]).abs().max() > 1e-3 for name, value in large.items())
    assert losses == pytest.approx(expected, abs=2e-4)  # logged to four digits
    assert len(losses) == 3


def test_micro_batches_of_their_own_would_end_elsewhere(make_trainer, monkeypatch):
    options = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    exact, _ = _trained(make_trainer("ccc", **options))
    monkeypatch.setattr(NvvTrainer, "compute_loss", Trainer.compute_loss)
    plain, _ = _trained(make_trainer("ccc", **options))
    assert max((plain[name] - exact[name]).abs().max().item() for name in exact) > 1e-3


@pytest.mark.parametrize(
    ("case", "steps", "forwards"),
    [
        ("ccc", 1, 1),
        ("ccc", 4, 7),  # the first micro-batch once, three others twice
        ("contrastive", 1, 1),
        ("missing", 4, 7),
        ("per_clip", 4, 4),
    ],
)
def test_forward_passes_are_as_few_as_can_be(make_trainer, case, steps, forwards):
    trainer = make_trainer(case, per_device_train_batch_size=2, gradient_accumulation_steps=steps, max_steps=1)
    calls = []
    trainer.model.register_forward_pre_hook(lambda *_: calls.append(1))
    trainer.train()
    assert len(calls) == forwards


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", ["full", "lora"])
def test_gradients_are_those_of_all_clips_on_a_gpu_with_dropout(make_trainer, method):
    trainer = make_trainer("uncertainty", method=method, backbone={"dropout": 0.3, "attention_dropout": 0.2})
    batches = [
        {name: value.to(trainer.args.device) for name, value in batch.items()} for batch in _micro_batches(trainer)
    ]
    _compare(trainer, batches, atol=1e-4, rtol=1e-3)


def test_evaluation_between_updates_goes_the_usual_way(make_trainer):
    trainer = make_trainer("ccc")
    batches = _micro_batches(trainer)
    trainer.get_batch_samples(iter(batches), 3, trainer.args.device)
    trainer.model.eval()
    with torch.no_grad():
        loss, outputs = trainer.compute_loss(trainer.model, batches[1], return_outputs=True)
    assert loss.item() == pytest.approx(outputs.loss.item())
    assert len(outputs.logits) == 2


# ----------------------------------------------------------------------------------------------------------------------
# Other processes
# ----------------------------------------------------------------------------------------------------------------------

_SCRIPT = """
import importlib.util, json, sys
import torch
from nvv import NvvForAudioClassification

tests, folder, runs = sys.argv[1:]
spec = importlib.util.spec_from_file_location("whole_batch_tests", tests)
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
load = NvvForAudioClassification.from_pretrained
results = [
    tests.trained_weights(load(f"{folder}/{case}"), case, method, folder, **options)
    for case, method, options in json.loads(runs)
]
if results[0]["process"] == 0:
    torch.save(results, f"{folder}/results.pt")
"""

_METHODS = {"ccc": "full", "uncertainty": "lora", "missing": "frozen", "contrastive": "full"}
_SIZES = [{"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}]
_SIZES += [{"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}]


def trained_weights(model, case, method, folder, **options):
    """Train a model on the case's clips; also called by other processes."""
    set_seed(0)
    trainer = NvvTrainer(
        apply_tuning(model, TuningArguments(method=method)),
        NvvTrainingArguments(output_dir=str(folder), use_cpu=True, **{**OPTIONS, **options}),
        feature_extractor=_feature_extractor(),
        train_dataset=Noises(case, num_clips=24),
    )
    trainer.train()
    return {
        "process": trainer.args.process_index,
        "processes": trainer.args.world_size,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "weights": {name: value.detach() for name, value in trainer.model.named_parameters() if value.requires_grad},
    }


@pytest.mark.slow
def test_two_processes_end_as_one(make_model, tmp_path):
    for case in _METHODS:
        make_model(**CASES[case]).save_pretrained(tmp_path / case)
    (tmp_path / "train.py").write_text(_SCRIPT)
    runs = [(case, method, size) for case, method in _METHODS.items() for size in _SIZES]
    config = Path(__file__).parents[2] / "recipes" / "accelerate_configs" / "cpu_2.yaml"
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    done = subprocess.run(
        [*launcher, str(tmp_path / "train.py"), __file__, str(tmp_path), json.dumps(runs)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (case, method, _), two in zip(runs, torch.load(tmp_path / "results.pt"), strict=True):
        one = trained_weights(
            make_model(**CASES[case]),
            case,
            method,
            tmp_path,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=1,
        )
        assert (one["processes"], two["processes"]) == (1, 2)
        assert two["losses"] == pytest.approx(one["losses"], abs=2e-4)
        assert two["weights"].keys() == one["weights"].keys()
        for name, value in one["weights"].items():
            torch.testing.assert_close(two["weights"][name], value, atol=1e-6, rtol=1e-5)
