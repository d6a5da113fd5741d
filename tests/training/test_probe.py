from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, WhisperModel

from nvv.training.arguments import ArgumentsError, ModelArguments
from nvv.training.checkpoints import OutputFolderError
from nvv.training.config_files import GROUPS, RunArguments, parse_arguments, parse_groups
from nvv.training.probe import probe
from nvv.training.probe_arguments import ProbeArguments
from nvv.training.push import PushError
from nvv.training.results import comparable_metrics
from nvv.training.run import train
from nvv.training.steps import load_clips


@pytest.fixture
def telling_backbone(tiny_backbone_config, randomise, tmp_path):
    """A tiny checkpoint that tells the tones apart: as initialised, it would give every clip the same features."""
    folder = tmp_path / "telling_whisper"
    randomise(WhisperModel(tiny_backbone_config("whisper"))).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def options(command_line, telling_backbone, tmp_path):
    """Make the command line of a small probe: tiny backbone, tones, 4 epochs, two seeds, two weight decays."""

    def make(*more, name="run"):
        small = [
            *("--method", "frozen", "--num_train_epochs", "4", "--learning_rate", "0.02", "--num_seeds", "2"),
            *("--weight_decays", "0.01", "10", "--features_cache_dir", str(tmp_path / "features")),
            *("--backbone", telling_backbone),
        ]
        return command_line(*small, *more, name=name)

    return make


def _arguments(words):
    *groups, probe_arguments = parse_groups(words, (*GROUPS, ProbeArguments), program="recipes/probe.py")
    return RunArguments(*groups), probe_arguments


def _probe(words):
    return probe(*_arguments(words))


def _json(file):
    return json.loads(file.read_text(encoding="utf-8"))


def test_probe_leaves_what_a_run_leaves_and_its_own_files(options, tmp_path):
    result = _probe(options())
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} >= {
        *("model.safetensors", "config.json", "preprocessor_config.json", "modeling_nvv.py", "README.md"),
        *("metrics.json", "predictions.csv", "config_resolved.yaml", "confusion_matrix.png", "layer_weights.png"),
        *("probe.json", "layer_scores.csv", "layer_scores.png"),
    }
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert result.metrics == _json(folder / "metrics.json")
    assert result.report == _json(folder / "probe.json")
    assert result.metrics["tuning"] | {"total_parameters": 0} == {
        "method": "frozen",
        "layers": None,
        "total_parameters": 0,
        # 4 layer weights, 32 → 16 with biases, 16 → 3 with biases
        "trainable_parameters": 4 + 32 * 16 + 16 + 16 * 3 + 3,
    }
    assert result.metrics["provenance"]["config"]["probe"]["num_seeds"] == 2
    assert [entry["epoch"] for entry in result.log_history if "eval_loss" in entry] == [1, 2, 3, 4]
    # The file that says what was run is read back as the same run.
    again = _arguments([str(folder / "config_resolved.yaml"), "--output_dir", str(folder)])
    assert again[1].weight_decays == [0.01, 10.0]


def test_one_head_is_the_frozen_run_of_train(options, command_line, telling_backbone, tmp_path):
    """Contract 3 of the design, through the two recipes' functions."""
    settings = ("--class_balanced_loss", "true", "--warmup_steps", "2", "--max_grad_norm", "0.3", "--max_train_clips",
                "19", "--seed", "7")  # fmt: skip
    one_head = ("--num_seeds", "1", "--weight_decays", "0.5", "--single_layers", "false")
    probed = _probe(options(*settings, *one_head, name="probed"))
    live = ("--method", "frozen", "--num_train_epochs", "4", "--learning_rate", "0.02", "--weight_decay", "0.5",
            "--backbone", telling_backbone)  # fmt: skip
    trained = train(parse_arguments(command_line(*settings, *live, name="trained")))
    left, right = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("probed", "trained"))
    names = [name for name in left if name.startswith("probability_")]
    np.testing.assert_allclose(left[names], right[names], atol=1e-4)
    pd.testing.assert_frame_equal(left.drop(columns=names), right.drop(columns=names))
    ours, theirs = comparable_metrics(probed.metrics), comparable_metrics(trained.metrics)
    assert ours.pop("training") == pytest.approx(theirs.pop("training"))
    assert ours == theirs
    assert not (tmp_path / "probed" / "layer_scores.png").exists()
    assert right[names].std().max() > 0.01  # clips are told apart


def test_repository_gives_the_logits_that_were_scored(options, corpus_folder, tmp_path):
    arguments, probe_arguments = _arguments(options())
    probe(arguments, probe_arguments)
    folder = tmp_path / "run"
    assert _json(folder / "config.json")["saved_weights"] == "head"
    model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    _, clips = load_clips(arguments.data, training=arguments.training, model=ModelArguments(max_seconds=2.0))
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    for at, row in enumerate(rows):
        inputs = extractor(clips["test"][at]["input_values"], sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            probabilities = model(**inputs).logits.softmax(-1)[0]
        expected = [float(row[f"probability_{name}"]) for name in ("laugh", "sigh", "cough")]
        assert probabilities.tolist() == pytest.approx(expected, abs=1e-4)


def test_weight_decay_is_chosen_on_validation_for_each_probe(options, tmp_path):
    report = _probe(options("--weight_decays", "0.01", "10", "45")).report
    assert report["seeds"] == [42, 43]
    assert [summary["hidden_states"] for summary in report["layers"]] == [[0], [1], [2], [3]]
    assert report["main"]["hidden_states"] == [0, 1, 2, 3]
    for summary in (report["main"], *report["layers"]):
        by_decay = {
            decay: np.mean(
                [head["validation"]["macro_f1"] for head in summary["heads"] if head["weight_decay"] == decay]
            )
            for decay in (0.01, 10.0, 45.0)
        }
        assert summary["weight_decay"] == max(by_decay, key=by_decay.get)
        chosen = [head for head in summary["heads"] if head["weight_decay"] == summary["weight_decay"]]
        for split in ("validation", "test"):
            values = [head[split]["macro_f1"] for head in chosen]
            score = summary[split]["macro_f1"]
            assert score["by_seed"] == values
            assert score["mean"] == pytest.approx((values[0] + values[1]) / 2)
            # of two numbers: half their distance times the root of two
            assert score["standard_deviation"] == pytest.approx(abs(values[0] - values[1]) / 2 * 2**0.5)
    best = max(report["layers"], key=lambda summary: summary["selection_score"])
    assert report["best_layer"] == best["hidden_states"][0]
    weights = np.array(report["layer_weights"]["by_seed"])
    assert weights.shape == (2, 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert np.ptp(weights) > 1e-3  # learned, and not those it began with


def test_second_run_reads_the_cache_and_replaces_its_own_results(options, tmp_path):
    first = _probe(options())
    assert first.report["features"] == {"num_clips": 42, "num_computed": 42, "num_cached": 0}
    (tmp_path / "run" / "predictions.csv").write_text("old", encoding="utf-8")
    second = _probe(options())
    assert second.report["features"] == {"num_clips": 42, "num_computed": 0, "num_cached": 42}
    assert comparable_metrics(second.metrics) == comparable_metrics(first.metrics)
    assert second.report["layers"] == first.report["layers"]
    assert (tmp_path / "run" / "predictions.csv").read_text(encoding="utf-8") != "old"
    # Other layers read the same features; another pooling does not.
    assert _probe(options("--summed_layers", "1", "2", name="b")).report["features"]["num_computed"] == 0
    assert _probe(options("--pooling", "first", name="c")).report["features"]["num_computed"] == 42


def test_folder_of_another_run_is_refused_unless_told_otherwise(options, command_line, tmp_path):
    _probe(options())
    with pytest.raises(OutputFolderError, match=r"learning_rate .*--overwrite_output_dir true replaces"):
        _probe(options("--learning_rate", "0.01"))
    result = _probe(options("--learning_rate", "0.01", "--single_layers", "false", "--overwrite_output_dir", "true"))
    assert not result.report["layers"]
    assert not list((tmp_path / "run").glob("layer_scores.*"))  # not of the run that was replaced
    train(parse_arguments(command_line("--method", "frozen", "--num_train_epochs", "1", name="trained")))
    with pytest.raises(OutputFolderError, match="trained"):
        _probe(options(name="trained"))


def test_seeds_and_options_change_the_heads(options, tmp_path):
    one = ("--num_seeds", "1", "--weight_decays", "0.01", "--single_layers", "false", "--num_train_epochs", "2")
    probabilities = {}
    for name, more in {
        "plain": (),
        "seed": ("--seed", "43"),
        "balanced": ("--class_balanced_loss", "true"),
        "smooth": ("--label_smoothing", "0.3"),
        "bf16": ("--bf16", "true"),
        "mlp": ("--head", "mlp"),
        "last": ("--use_weighted_layer_sum", "false"),
        "random": ("--train_sampling_strategy", "random"),
    }.items():
        _probe(options(*one, "--max_train_clips", "19", *more, name=name))
        table = pd.read_csv(tmp_path / name / "predictions.csv")
        probabilities[name] = table[[column for column in table if column.startswith("probability")]].to_numpy()
    for name, values in probabilities.items():
        assert name == "plain" or np.abs(values - probabilities["plain"]).max() > 1e-5, name
    assert np.abs(probabilities["bf16"] - probabilities["plain"]).max() < 0.02
    # The second head of a probe of two seeds is the first one of a probe of the next seed.
    of_two = _probe(options(*one, "--num_seeds", "2", "--max_train_clips", "19", name="two")).report
    of_next = _json(tmp_path / "seed" / "probe.json")
    assert of_two["main"]["heads"][1] == of_next["main"]["heads"][0]


def test_layer_weights_plot_is_left_out_without_a_weighted_sum(options, tmp_path):
    result = _probe(options("--use_weighted_layer_sum", "false", "--num_seeds", "1"))
    assert result.report["layer_weights"] is None
    assert not (tmp_path / "run" / "layer_weights.png").exists()
    assert (tmp_path / "run" / "layer_scores.png").exists()
    main, last = result.report["main"], result.report["layers"][-1]
    assert main.pop("is_weighted_sum") is False
    assert main == last


def test_failed_push_leaves_a_complete_folder(options, tmp_path):
    # The tests run with HF_HUB_OFFLINE=1, so the Hub cannot be reached.
    with pytest.raises(PushError, match=r"push it later with: nvv push .*run somebody/probe"):
        _probe(options("--push_to_hub", "true", "--hub_model_id", "somebody/probe", "--single_layers", "false"))
    assert {"metrics.json", "probe.json", "README.md"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_refused_probe_leaves_nothing(options, tmp_path):
    with pytest.raises(ArgumentsError, match="method: a probe leaves the backbone frozen; found 'lora'"):
        _probe(options("--method", "lora"))
    assert not (tmp_path / "run").exists()
