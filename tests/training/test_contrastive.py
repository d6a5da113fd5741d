from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoModelForAudioClassification, TrainerCallback, set_seed

from nvv.hub.repository import save_repository
from nvv.loading_nvv import load_feature_extractor
from nvv.modeling_nvv import NvvForAudioClassification
from nvv.training.arguments import NvvTrainingArguments
from nvv.training.config_files import parse_arguments
from nvv.training.contrastive import set_centroids
from nvv.training.dataset import ClipDataset
from nvv.training.results import comparable_metrics
from nvv.training.run import train
from nvv.training.trainer import NvvTrainer
from nvv.training.tuning import TuningArguments, apply_tuning

LENGTHS = [0.5, 0.2, 0.9, 0.3, 0.7, 0.25, 0.6, 0.8, 0.35, 0.45, 0.55]
METHODS = ("frozen", "full", "partial", "lora", "adapter", "combined")
CONTRASTIVE = ("--head", "embedding", "--loss", "supervised_contrastive", "--train_sampling_strategy", "class_balanced")


@pytest.fixture
def make_trainer(make_split, backbone_folder, tmp_path):
    """Make a Trainer of an embedding model; training clips are longer than what is heard, and cropped at random."""

    def make(*, method="lora", labels=None, name="run", model_fields=None, **options):
        set_seed(0)
        model = NvvForAudioClassification.from_backbone(
            str(backbone_folder),
            id2label={0: "laugh", 1: "sigh", 2: "cough"},
            head="embedding",
            loss="supervised_contrastive",
            embedding_size=6,
            projection_size=8,
            max_seconds=0.4,
            **(model_fields or {}),
        )
        options = {
            "gradient_accumulation_steps": 1,
            "num_train_epochs": 2,
            "per_device_train_batch_size": 6,
            "per_device_eval_batch_size": 4,
            "learning_rate": 1e-2,
            "train_sampling_strategy": "class_balanced",
            **options,
        }
        return NvvTrainer(
            apply_tuning(model, TuningArguments(method=method)),
            NvvTrainingArguments(output_dir=str(tmp_path / name), disable_tqdm=True, **options),
            feature_extractor=load_feature_extractor(str(backbone_folder)),
            train_dataset=ClipDataset(make_split(LENGTHS, labels=labels), max_seconds=0.4, random_crops=True),
            eval_dataset=ClipDataset(make_split(LENGTHS, seed=1), max_seconds=0.4),
        )

    return make


def _bare(trainer):
    return trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model


def _move_weights(model):
    """Move everything that trains off its start, so that adapters are no identity and heads differ."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def _centroids_by_hand(trainer):
    """Embed clip after clip, from its start, and average in float64."""
    dataset, model = trainer.train_dataset, _bare(trainer).eval()
    rows = []
    for at in range(len(dataset)):
        waveform = torch.from_numpy(dataset.from_start(at))[None]
        with torch.no_grad():
            rows.append(model.embed(waveform)[0].double())
    means = [
        torch.stack([row for row, label in zip(rows, dataset.labels, strict=True) if label == index]).mean(dim=0)
        for index in range(3)
    ]
    return F.normalize(torch.stack(means), dim=1).float()


@pytest.mark.parametrize("method", METHODS)
def test_centroids_are_the_mean_directions_of_the_training_clips(make_trainer, method):
    trainer = make_trainer(method=method)
    _move_weights(trainer.model)
    set_centroids(trainer)
    expected = _centroids_by_hand(trainer)
    torch.testing.assert_close(_bare(trainer).head.centroids, expected, atol=1e-5, rtol=0)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    with torch.no_grad():
        clip = torch.from_numpy(trainer.eval_dataset.from_start(2))[None]
        embedding, logits = trainer.model.embed(clip), trainer.model(clip).logits
    torch.testing.assert_close(logits, embedding @ expected.T / 0.1, atol=1e-3, rtol=0)


def test_centroids_hear_the_silence_that_the_model_hears(make_trainer):
    trainer = make_trainer(model_fields={"padding": "silence", "padding_seconds": 0.8, "pool_padding": True})
    _move_weights(trainer.model)
    set_centroids(trainer)
    torch.testing.assert_close(_bare(trainer).head.centroids, _centroids_by_hand(trainer), atol=1e-5, rtol=0)


def test_setting_centroids_draws_nothing_and_leaves_the_mode(make_trainer):
    trainer = make_trainer(method="full")
    trainer.model.train()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    set_centroids(trainer)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert trainer.model.training
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_class_without_a_training_clip_has_a_centroid_of_zeros_and_is_named(make_trainer, caplog):
    trainer = make_trainer(labels=[0, 2] * 5 + [0])
    transformers_logger = logging.getLogger("transformers")
    transformers_logger.addHandler(caplog.handler)
    try:
        set_centroids(trainer)
    finally:
        transformers_logger.removeHandler(caplog.handler)
    assert "No training clip of sigh" in caplog.text
    centroids = _bare(trainer).head.centroids
    assert (centroids[1] == 0).all()
    torch.testing.assert_close(centroids[[0, 2]].norm(dim=1), torch.ones(2))


def test_other_heads_have_no_centroids_to_set(make_split, backbone_folder, tmp_path):
    trainer = NvvTrainer(
        NvvForAudioClassification.from_backbone(str(backbone_folder), num_labels=3, max_seconds=1.0),
        NvvTrainingArguments(output_dir=str(tmp_path / "run"), eval_strategy="no", load_best_model_at_end=False),
        feature_extractor=load_feature_extractor(str(backbone_folder)),
        train_dataset=ClipDataset(make_split(LENGTHS), max_seconds=1.0),
    )
    with pytest.raises(ValueError, match="head: expected embedding"):
        set_centroids(trainer)


def test_model_keeps_its_centroids_when_it_is_only_evaluated(make_trainer):
    trainer = make_trainer(method="full")
    trainer.train_dataset = None
    with torch.no_grad():
        trainer.model.head.centroids.copy_(torch.eye(3, 6))
    trainer.evaluate()
    torch.testing.assert_close(trainer.model.head.centroids, torch.eye(3, 6))


def test_validation_scores_the_nearest_centroid(make_trainer):
    trainer = make_trainer()
    trainer.train()
    output = trainer.predict(trainer.eval_dataset)
    embeddings = torch.cat(
        [
            _bare(trainer).embed(torch.from_numpy(trainer.eval_dataset.from_start(at))[None]).detach()
            for at in range(len(trainer.eval_dataset))
        ]
    )
    nearest = torch.cdist(embeddings, _centroids_by_hand(trainer)).argmin(dim=1)
    np.testing.assert_array_equal(output.predictions.argmax(axis=1), nearest.numpy())


def _stored_centroids(folder):
    weights = {}
    for file in Path(folder).glob("*.safetensors"):
        weights |= load_file(file)
    [name] = [name for name in weights if name.endswith("centroids")]
    return weights[name]


@pytest.mark.parametrize("evaluated", ["epoch", "no"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_checkpoint_holds_the_centroids_of_its_weights(make_trainer, tmp_path, method, evaluated):
    at_save = {}

    class Watch(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            at_save[state.global_step] = _centroids_by_hand(trainer)
            trainer.model.train()

    trainer = make_trainer(method=method, eval_strategy=evaluated, load_best_model_at_end=False)
    trainer.add_callback(Watch())
    trainer.train()
    assert len(at_save) == 2
    for step, expected in at_save.items():
        stored = _stored_centroids(tmp_path / "run" / f"checkpoint-{step}")
        torch.testing.assert_close(stored, expected, atol=1e-5, rtol=0)
    first, second = at_save.values()
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("method", ["full", "frozen", "lora", "combined"])
def test_saved_model_answers_as_the_trained_one(make_trainer, tmp_path, method):
    trainer = make_trainer(method=method)
    trainer.train()
    expected = trainer.predict(trainer.eval_dataset).predictions
    save_repository(trainer.model, trainer.processing_class, tmp_path / "saved")
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path / "saved", trust_remote_code=True)
    torch.testing.assert_close(loaded.head.centroids, _bare(trainer).head.centroids)
    with torch.no_grad():
        for at, row in enumerate(expected):
            clip = torch.from_numpy(trainer.eval_dataset.from_start(at))[None]
            np.testing.assert_allclose(loaded(clip).logits[0].numpy(), row, atol=1e-3)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_resumed_training_ends_with_the_same_weights_and_centroids(make_trainer, tmp_path, method):
    class StopAfterFirst(TrainerCallback):
        def on_epoch_end(self, args, state, control, **kwargs):
            control.should_training_stop = True

    options = {"method": method, "num_train_epochs": 3, "load_best_model_at_end": False}
    whole = make_trainer(name="whole", **options)
    whole.train()
    part = make_trainer(name="part", **options)
    part.add_callback(StopAfterFirst())
    part.train()
    resumed = make_trainer(name="resumed", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "part" / "checkpoint-2"))
    assert resumed.state.global_step == whole.state.global_step == 6
    for trainer in (whole, resumed):
        trainer.evaluate()
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_classes_are_balanced_over_a_whole_update(make_trainer):
    trainer = make_trainer(labels=[0] * 7 + [1, 1, 2, 2], per_device_train_batch_size=2, gradient_accumulation_steps=3)
    order = [index for index, _ in trainer._get_train_sampler()]
    assert np.bincount(trainer.train_dataset.labels[order[:6]]).tolist() == [2, 2, 2]


def test_training_in_half_precision_gives_centroids_of_length_one(make_trainer):
    trainer = make_trainer(bf16=True)
    assert np.isfinite(trainer.train().training_loss)
    trainer.evaluate()
    centroids = _bare(trainer).head.centroids
    assert centroids.dtype == torch.float32
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(3))


def _tones(command_line, *options, name="run"):
    return train(
        parse_arguments(
            command_line(
                *(*CONTRASTIVE, "--embedding_size", "16", "--projection_size", "32", "--learning_rate", "3e-3"),
                *("--method", "full", "--per_device_train_batch_size", "12", "--gradient_accumulation_steps", "1"),
                *("--num_train_epochs", "16", *options),
                name=name,
            )
        )
    )


def test_contrastive_run_tells_tones_apart_by_their_nearest_centroid(command_line, tmp_path):
    result = _tones(command_line)
    scores = result.metrics["splits"]["test"]
    assert scores["scores"]["macro_f1"]["value"] > scores["chance"]["random"]["macro_f1"] + 0.3
    # With 12 clips, embeddings that are all alike cost ln 11 = 2.40; four clips a class, each class at one point, ln 3.
    losses = [entry["loss"] for entry in result.log_history if "loss" in entry]
    assert losses[0] > 2.39
    assert 1.09 < losses[-1] < 1.5
    assert result.metrics["training"]["selection_metric"] == "macro_f1"
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["head"], config["loss"], config["embedding_size"]) == ("embedding", "supervised_contrastive", 16)


@pytest.mark.slow
def test_contrastive_run_tells_synthetic_sounds_apart_by_their_nearest_centroid(backbone_folder, tmp_path):
    result = train(
        parse_arguments(
            [
                *("--corpus", "synthetic", "--data_cache_dir", str(tmp_path / "cache"), "--max_seconds", "2"),
                *("--backbone", str(backbone_folder), "--method", "full", "--learning_rate", "3e-3"),
                *(*CONTRASTIVE, "--embedding_size", "16", "--projection_size", "64", "--num_train_epochs", "4"),
                *("--per_device_train_batch_size", "32", "--gradient_accumulation_steps", "1"),
                *("--num_bootstrap_resamples", "20", "--disable_tqdm", "true", "--output_dir", str(tmp_path / "run")),
            ]
        )
    )
    test = result.metrics["splits"]["test"]
    # Eight classes by voices that are not in training; guessing scores about 1 / 8.
    assert test["chance"]["random"]["macro_f1"] < 0.15
    assert test["scores"]["macro_f1"]["value"] > 0.25


def test_finished_contrastive_run_resumes_with_the_same_metrics(command_line):
    short = ("--num_train_epochs", "3")
    first = _tones(command_line, *short)
    again = _tones(command_line, *short, "--resume_from_checkpoint", "last")
    assert comparable_metrics(again.metrics) == comparable_metrics(first.metrics)


# Runs with `nvv` made unimportable, as on a machine that never saw it.
_ELSEWHERE = """
import json, sys
sys.modules["nvv"] = None
import torch
from transformers import AutoModelForAudioClassification, pipeline
model = AutoModelForAudioClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
clip = torch.load(sys.argv[2])
with torch.no_grad():
    logits, embedding = model(clip[None]).logits[0], model.embed(clip[None])[0]
classify = pipeline("audio-classification", model=sys.argv[1], trust_remote_code=True)
answers = classify({"array": clip.numpy(), "sampling_rate": 16_000}, top_k=None)
print(json.dumps({"logits": logits.tolist(), "embedding": embedding.tolist(), "answers": answers}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "frozen"])
def test_plain_transformers_give_the_same_centroid_logits(make_trainer, tmp_path, method, run_elsewhere):
    trainer = make_trainer(method=method)
    trainer.train()
    expected = trainer.predict(trainer.eval_dataset).predictions[4]
    save_repository(trainer.model, trainer.processing_class, tmp_path / "saved")
    torch.save(torch.from_numpy(trainer.eval_dataset.from_start(4)), tmp_path / "clip.pt")
    answers = run_elsewhere(_ELSEWHERE, tmp_path / "saved", tmp_path / "clip.pt")
    found = answers
    np.testing.assert_allclose(found["logits"], expected, atol=1e-3)
    assert np.linalg.norm(found["embedding"]) == pytest.approx(1, abs=1e-5)
    probabilities = torch.tensor(expected).softmax(-1)
    names = ["laugh", "sigh", "cough"]
    for answer in found["answers"]:
        assert answer["score"] == pytest.approx(probabilities[names.index(answer["label"])].item(), abs=1e-3)


# Sets the centroids in each process and says what they are.
_PROCESS = """
import json, sys
from pathlib import Path
from nvv.training.config_files import parse_arguments
from nvv.training.contrastive import set_centroids
from nvv.training.steps import build_model, load_clips
from nvv.training.trainer import NvvTrainer
report, words = sys.argv[1], sys.argv[2:]
arguments = parse_arguments(words)
_, clips = load_clips(arguments.data, training=arguments.training, model=arguments.model)
model, feature_extractor = build_model(arguments.model, clips["train"], training=arguments.training)
embedded, embed = [], model.embed
def watch(input_values, **options):
    embedded.append(len(input_values))
    return embed(input_values, **options)
model.embed = watch
trainer = NvvTrainer(
    model,
    arguments.training,
    feature_extractor=feature_extractor,
    train_dataset=clips["train"],
    eval_dataset=clips["validation"],
)
set_centroids(trainer)
said = {"centroids": model.head.centroids.tolist(), "embedded": sum(embedded)}
Path(f"{report}.{arguments.training.process_index}.json").write_text(json.dumps(said))
"""


@pytest.mark.slow
def test_processes_share_the_work_and_have_the_same_centroids(command_line, tmp_path):
    (tmp_path / "process.py").write_text(_PROCESS)
    config = Path(__file__).parents[2] / "recipes" / "accelerate_configs" / "cpu_2.yaml"
    said = {}
    for name, launcher in (("two", ("-m", "accelerate.commands.launch", "--config_file", str(config))), ("one", ())):
        done = subprocess.run(
            [
                *(sys.executable, *launcher, str(tmp_path / "process.py"), str(tmp_path / name)),
                *command_line(*CONTRASTIVE, "--method", "full", name=name),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        said[name] = [json.loads(file.read_text()) for file in sorted(tmp_path.glob(f"{name}.*.json"))]
    [first, second], [alone] = said["two"], said["one"]
    assert first["embedded"] + second["embedded"] == alone["embedded"] == 24
    assert min(first["embedded"], second["embedded"]) > 0
    assert first["centroids"] == second["centroids"]  # to the last bit
    np.testing.assert_allclose(first["centroids"], alone["centroids"], atol=1e-5)
