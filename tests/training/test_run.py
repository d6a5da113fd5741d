from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoModelForAudioClassification

from nvv.training.arguments import ArgumentsError
from nvv.training.checkpoints import OutputFolderError
from nvv.training.config_files import parse_arguments
from nvv.training.push import PushError
from nvv.training.results import comparable_metrics
from nvv.training.run import train

TRAIN = Path(__file__).parents[2] / "recipes" / "train.py"


def _train(command_line):
    return train(parse_arguments(command_line))


def _metrics(folder):
    return json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))


def test_run_writes_repository_results_plots_and_card(command_line, tmp_path):
    result = _train(command_line("--summed_layers", "0", "2", "--tuned_layers", "0"))
    folder = tmp_path / "run"
    expected = {
        *("adapter_model.safetensors", "adapter_config.json", "config.json", "preprocessor_config.json"),
        *("modeling_nvv.py", "README.md", "metrics.json", "predictions.csv", "config_resolved.yaml"),
        *("confusion_matrix.png", "layer_weights.png"),
    }
    assert expected <= {path.name for path in folder.iterdir()}
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".") or path.name.endswith(".tmp")]
    metrics = _metrics(folder)
    assert metrics["splits"].keys() == {"validation", "test"}
    assert metrics["splits"]["test"]["num_clips"] == 9
    assert metrics["tuning"]["layers"] == [0]
    assert metrics["provenance"]["config"]["model"]["summed_layers"] == [0, 2]
    assert metrics["splits"]["validation"]["scores"]["macro_f1"]["value"] == pytest.approx(
        metrics["training"]["best_validation_score"]
    )
    assert result.metrics["splits"] == metrics["splits"]
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows if row["split"] == "test"] == [f"{at:03d}.wav" for at in range(9)]
    model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
    assert list(model.config.id2label.values()) == ["laugh", "sigh", "cough"]


def test_two_runs_of_one_configuration_end_alike(command_line):
    one, other = (_train(command_line(name=name)) for name in ("one", "other"))
    assert comparable_metrics(one.metrics) == comparable_metrics(other.metrics)


def test_seed_changes_the_run(command_line):
    losses = []
    for seed in ("1", "2"):
        result = _train(command_line("--seed", seed, "--num_train_epochs", "1", name=f"seed{seed}"))
        losses.append([entry["eval_loss"] for entry in result.log_history if "eval_loss" in entry])
    assert losses[0] != losses[1]


def test_class_weights_reach_the_saved_config_when_balanced(command_line, tmp_path):
    options = ("--num_train_epochs", "1", "--method", "frozen", "--max_train_clips", "10")
    _train(command_line("--class_balanced_loss", "true", *options))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    # 10 of 24 clips in label order are 4 of the first class and 3 each of the others (or so): weights n / (k · n_c).
    assert sum(1 / weight for weight in config["class_weights"]) == pytest.approx(3.0)
    _train(command_line(*options, name="plain"))
    assert json.loads((tmp_path / "plain" / "config.json").read_text()).get("class_weights") is None


def test_options_reach_the_model(command_line, tmp_path):
    options = ("--head", "mlp", "--pooling", "max", "--padding", "silence", "--padding_seconds", "2.5")
    _train(command_line(*options, "--pool_padding", "true", "--label_smoothing", "0.1", "--num_train_epochs", "1"))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    expected = {
        "head": "mlp",
        "pooling": "max",
        "padding": "silence",
        "padding_seconds": 2.5,
        "pool_padding": True,
        "label_smoothing": 0.1,
        "max_seconds": 2.0,
    }
    # What equals the default is not written.
    assert {name: config[name] for name in expected if name in config} == {
        name: value for name, value in expected.items() if name in config
    }
    assert {"head", "pooling", "padding", "pool_padding", "label_smoothing"} <= config.keys()


def test_finished_run_is_kept_unless_told_otherwise(command_line, tmp_path):
    options = ("--num_train_epochs", "1", "--method", "frozen")
    _train(command_line(*options))
    with pytest.raises(OutputFolderError, match="a finished run"):
        _train(command_line(*options))
    before = _metrics(tmp_path / "run")
    resumed = _train(command_line(*options, "--resume_from_checkpoint", "last"))
    assert comparable_metrics(resumed.metrics) == comparable_metrics(before)
    _train(command_line("--num_train_epochs", "1", "--method", "prompt", "--overwrite_output_dir", "true"))
    assert _metrics(tmp_path / "run")["tuning"]["method"] == "prompt"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_early_stopped_run_stays_stopped_when_resumed(command_line, monkeypatch):
    scores = iter([0.5, 0.4, 0.3])
    monkeypatch.setattr(
        "nvv.training.scores.classification_scores", lambda *args, **options: {"macro_f1": next(scores, 0.0)}
    )
    options = ("--num_train_epochs", "6", "--early_stopping_patience", "2")
    first = _train(command_line(*options))
    again = _train(command_line(*options, "--resume_from_checkpoint", "last"))
    for result in (first, again):
        assert max(entry["epoch"] for entry in result.log_history) == 3
    assert comparable_metrics(first.metrics) == comparable_metrics(again.metrics)


def test_failed_push_leaves_a_complete_folder_and_says_how_to_push(command_line, tmp_path):
    # The tests run with HF_HUB_OFFLINE=1, so the Hub cannot be reached.
    options = ("--push_to_hub", "true", "--hub_model_id", "somebody/tones", "--num_train_epochs", "1")
    with pytest.raises(PushError, match=r"push it later with: nvv push .*run somebody/tones"):
        _train(command_line(*options))
    assert {"metrics.json", "README.md", "adapter_model.safetensors"} <= {p.name for p in (tmp_path / "run").iterdir()}


def test_corpus_without_test_split_is_refused(command_line, corpus_folder):
    card = corpus_folder / "README.md"
    card.write_text(card.read_text().replace("  - {split: test, path: test.parquet}\n", ""))
    with pytest.raises(ValueError, match="has no test split; found train, validation"):
        _train(command_line())


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"])
def test_every_family_trains_from_random_weights(command_line, tiny_backbone_config, tmp_path, family):
    tiny_backbone_config(family).save_pretrained(tmp_path / family)
    options = ("--backbone", str(tmp_path / family), "--random_init", "true", "--max_steps", "2")
    result = _train(command_line(*options, "--eval_strategy", "steps", "--save_strategy", "steps", "--eval_steps", "2",
                                 "--save_steps", "2"))  # fmt: skip
    assert result.metrics["backbone"]["random_init"]


# ----------------------------------------------------------------------------------------------------------------------
# Other processes
# ----------------------------------------------------------------------------------------------------------------------


def _environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def _launch(command_line, *, processes=1):
    config = TRAIN.parent / "accelerate_configs" / f"cpu_{processes}.yaml"
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    return subprocess.run(
        [*launcher, str(TRAIN), *command_line, "--use_cpu", "true"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_killed_run_ends_like_an_uninterrupted_one_when_resumed(command_line, tmp_path):
    options = ("--num_train_epochs", "6", "--method", "adapter", "--learning_rate", "1e-2")
    whole = subprocess.run(
        [sys.executable, str(TRAIN), *command_line(*options, name="whole")], env=_environment(), check=False
    )
    assert whole.returncode == 0
    command = [sys.executable, str(TRAIN), *command_line(*options, name="killed")]
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    # 24 clips in batches of 4 × 2: an epoch has 3 steps; the kill comes after the second epoch's checkpoint.
    while not (tmp_path / "killed" / "checkpoint-6" / "trainer_state.json").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "metrics.json").exists()
    resumed = subprocess.run([*command, "--resume_from_checkpoint", "last"], env=_environment(), check=False)
    assert resumed.returncode == 0
    left, right = (comparable_metrics(_metrics(tmp_path / name)) for name in ("whole", "killed"))
    assert left == right
    assert (tmp_path / "whole" / "predictions.csv").read_text() == (tmp_path / "killed" / "predictions.csv").read_text()
    with (
        safe_open(tmp_path / "whole" / "adapter_model.safetensors", "np") as one,
        safe_open(tmp_path / "killed" / "adapter_model.safetensors", "np") as other,
    ):
        assert all((one.get_tensor(name) == other.get_tensor(name)).all() for name in one.keys())  # noqa: SIM118


@pytest.mark.slow
def test_evaluation_is_the_same_with_one_and_two_processes(command_line, tmp_path):
    result = _launch(command_line(name="one"))
    assert result.returncode == 0, result.stderr
    # The same checkpoint, evaluated anew by two processes: the finished run is resumed, so nothing is trained.
    (tmp_path / "one").rename(tmp_path / "two")
    one = _metrics(tmp_path / "two")
    rows = (tmp_path / "two" / "predictions.csv").read_text().splitlines()
    for state in (tmp_path / "two").glob("checkpoint-*/trainer_state.json"):
        state.write_text(state.read_text().replace(str(tmp_path / "one"), str(tmp_path / "two")))
    result = _launch(command_line("--resume_from_checkpoint", "last", name="two"), processes=2)
    assert result.returncode == 0, result.stderr
    two = _metrics(tmp_path / "two")
    assert (one["timing"]["processes"], two["timing"]["processes"]) == (1, 2)
    assert two["splits"] == one["splits"]
    for left, right in zip(rows[1:], (tmp_path / "two" / "predictions.csv").read_text().splitlines()[1:], strict=True):
        *names, first, second, third = left.split(",")
        *other_names, first2, second2, third2 = right.split(",")
        assert names == other_names
        values, others = map(float, (first, second, third)), map(float, (first2, second2, third2))
        assert list(values) == pytest.approx(list(others), abs=1e-5)


@pytest.mark.slow
def test_validation_while_training_is_the_same_with_one_and_two_processes(command_line, tmp_path):
    # A learning rate of 0 keeps the weights; 9 clips in batches of 4 leave the last process to repeat clips. Unequal
    # class weights make a loss that counts a clip twice another one.
    options = ("--learning_rate", "0", "--class_balanced_loss", "true", "--max_train_clips", "10")
    logs = []
    for processes in (1, 2):
        result = _launch(command_line("--method", "full", *options, name=str(processes)), processes=processes)
        assert result.returncode == 0, result.stderr
        folder = tmp_path / str(processes)
        assert _metrics(folder)["timing"]["processes"] == processes
        states = [json.loads(file.read_text()) for file in folder.glob("checkpoint-*/trainer_state.json")]
        history = max(states, key=lambda state: state["global_step"])["log_history"]
        logs.append({name: value for name, value in history[-1].items() if name.startswith("eval_")})
    names = [name for name in logs[0] if name not in ("eval_runtime",) and not name.endswith("_per_second")]
    assert "eval_loss" in names
    assert {name: logs[0][name] for name in names} == pytest.approx({name: logs[1][name] for name in names}, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--tuned_layers", "3"], "there is no layer 3"),
        (["--summed_layers", "9"], "are not hidden states of this backbone"),
        (["--corpus", "no/such-corpus"], "corpus: .*no/such-corpus.* The raw corpora are .*nonverbal_vocalization"),
        (["--backbone", "no/such-encoder"], "backbone: .* Without a network, --random_init true"),
    ],
)
def test_run_that_cannot_begin_says_why_and_is_not_in_the_way_of_the_next(command_line, tmp_path, changes, message):
    with pytest.raises(ArgumentsError, match=message):
        _train(command_line(*changes))
    assert list((tmp_path / "run").iterdir()) == []
    _train(command_line("--max_steps", "1"))


def test_command_line_errors_end_without_a_traceback(tmp_path):
    (tmp_path / "a.yaml").write_text("learning_rat: 1\n")
    result = subprocess.run(
        [sys.executable, str(TRAIN), str(tmp_path / "a.yaml")], env=_environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "a.yaml: no field is called 'learning_rat'. Did you mean 'learning_rate'?" in result.stderr
    assert "Traceback" not in result.stderr
    assert ArgumentsError.__name__ in result.stderr
