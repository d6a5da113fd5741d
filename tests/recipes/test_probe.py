from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = Path(__file__).parents[2] / "recipes" / "probe.py"


@pytest.fixture
def words(corpus_folder, tiny_backbone_config, tmp_path):
    """Make the command line of a small probe of a tiny backbone with random weights."""
    tiny_backbone_config("whisper").save_pretrained(tmp_path / "tiny_whisper")

    def make(*more):
        return [
            *("--corpus", str(corpus_folder), "--data_cache_dir", str(tmp_path / "cache")),
            *("--backbone", str(tmp_path / "tiny_whisper"), "--random_init", "true", "--max_seconds", "2"),
            *("--features_cache_dir", str(tmp_path / "features"), "--projection_size", "16", "--num_seeds", "2"),
            *("--num_train_epochs", "3", "--num_bootstrap_resamples", "20", "--disable_tqdm", "true", *more),
        ]

    return make


@pytest.fixture
def run_recipe(monkeypatch, tmp_path, capsys):
    """Run the recipe in this process, in an empty folder, and return what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(words):
        monkeypatch.setattr(sys, "argv", [str(PROBE), *words])
        runpy.run_path(str(PROBE), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_recipe_prints_scores_times_and_places_and_can_be_run_twice(run_recipe, words, tmp_path):
    printed = run_recipe(words())
    folder = Path("runs/probe_tones_default_tiny_whisper")
    report = json.loads((tmp_path / folder / "probe.json").read_text(encoding="utf-8"))
    best = report["layers"][report["best_layer"]]["test"]["macro_f1"]
    assert f"best hidden state by validation: {report['best_layer']}, test macro_f1: {best['mean']:.3f} ± " in printed
    score = report["main"]["test"]["uar"]
    assert (
        f"test uar: {score['mean']:.3f} ± {score['standard_deviation']:.3f} over seeds ({score['low']:.3f}" in printed
    )
    assert "mean of 2 seeds (95 % bootstrap interval over test speakers)" in printed
    assert "these scores are evidence of nothing" in printed
    assert "42 clips, 0 of them from the cache" in printed
    assert printed.endswith(f"plots: {folder}\n")
    assert "42 clips, 42 of them from the cache" in run_recipe(words())


def test_recipe_reads_files_of_settings_and_tells_of_a_single_state(run_recipe, words, tmp_path):
    settings = (
        "num_seeds: 1\nsingle_layers: false\nuse_weighted_layer_sum: false\noutput_dir: here\nweight_decays: [1]\n"
    )
    (tmp_path / "a.yaml").write_text(settings, encoding="utf-8")
    command = words()
    at = command.index("--num_seeds")
    printed = run_recipe(["a.yaml", *command[:at], *command[at + 2 :]])
    assert "hidden state 3, weight decay 1, mean of 1 seed (95 %" in printed
    assert "±" not in printed
    assert "best hidden state" not in printed
    assert (tmp_path / "here" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--num_seed", "2"), "ArgumentsError: Command line: no field is called 'num_seed'. Did you mean 'num_seeds'"),
        (("--method", "lora"), "ArgumentsError: method: a probe leaves the backbone frozen"),
        (("--corpus", "no-such"), "no-such"),
    ],
)
def test_errors_end_without_a_traceback(run_recipe, words, more, message):
    with pytest.raises(SystemExit) as caught:
        run_recipe(words(*more))
    assert message in str(caught.value.code)


# ----------------------------------------------------------------------------------------------------------------------
# Other processes
# ----------------------------------------------------------------------------------------------------------------------


def _launch(words, *, processes=None, folder):
    config = PROBE.parent / "accelerate_configs" / f"cpu_{processes}.yaml"
    chosen = () if processes is None else ("--config_file", str(config))
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *chosen, str(PROBE), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_two_processes_share_the_pass_and_end_with_the_same_results(words, tmp_path):
    probed = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        places = ("--features_cache_dir", str(folder / "features"), "--output_dir", str(folder / "run"))
        folder.mkdir()
        result = _launch(words(*places, "--use_cpu", "true"), processes=processes, folder=folder)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("best hidden state") == 1  # one process tells
        probed[processes] = json.loads((folder / "run" / "probe.json").read_text(encoding="utf-8"))
        timing = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))["timing"]
        assert timing["processes"] == processes
    assert probed[2]["features"] == {"num_clips": 42, "num_computed": 42, "num_cached": 0}
    assert probed[2]["main"] == probed[1]["main"]
    assert probed[2]["layers"] == probed[1]["layers"]


@pytest.mark.slow
@pytest.mark.realdata
def test_real_sample_is_probed_and_read_from_the_cache_again(real_data, tmp_path):
    words = [
        *("--corpus", "nonverbal_vocalization", "--data_dir", str(real_data / "nonverbal_vocalization")),
        *("--backbone", "openai/whisper-tiny", "--random_init", "true", "--num_backbone_layers", "1"),
        *("--max_seconds", "1", "--num_seeds", "1", "--weight_decays", "0.01", "--num_train_epochs", "5"),
        *("--data_cache_dir", str(tmp_path / "cache"), "--features_cache_dir", str(tmp_path / "features")),
    ]
    for cached in (0, 727):
        result = _launch(words, folder=tmp_path)
        assert result.returncode == 0, result.stderr
        assert f"727 clips, {cached} of them from the cache" in result.stdout
    folder = tmp_path / "runs" / "probe_nonverbal_vocalization_default_whisper-tiny"
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    # Above the best guess, by ear alone of an untrained encoder: heads do learn.
    scores = metrics["splits"]["validation"]
    assert scores["scores"]["uar"]["value"] > scores["chance"]["majority"]["uar"] + 0.02
