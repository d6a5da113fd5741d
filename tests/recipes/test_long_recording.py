from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from nvv.segmentation.formats import read_events

RECIPE = Path(__file__).parents[2] / "recipes" / "long_recording.py"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the recipe in this process, in a working directory of its own."""

    def start(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [RECIPE.name, *map(str, words)])
        runpy.run_path(str(RECIPE), run_name="__main__")

    return start


def test_recipe_writes_a_recording_its_events_and_its_settings(run, corpus_folder, tmp_path, capsys):
    run("--corpus", corpus_folder, "--duration_minutes", "0.5", "--events_per_minute", "10", "--audio_format", "wav")
    folder = tmp_path / "runs" / f"long_recording_{Path(corpus_folder).name}"
    assert f"({30.0} s)" in capsys.readouterr().out
    assert soundfile.info(folder / "recording.wav").frames == 30 * 16_000
    ((file, events),) = read_events(folder / "reference.csv").items()
    assert file == "recording.wav"
    assert len(events) == 5

    # The settings make the same recording again.
    before = [(folder / name).read_bytes() for name in ("recording.wav", "reference.csv")]
    run(folder / "config_resolved.yaml", "--corpus", corpus_folder, "--output_dir", tmp_path / "again")
    assert [(tmp_path / "again" / name).read_bytes() for name in ("recording.wav", "reference.csv")] == before


def test_recipe_takes_the_split_and_labels_that_were_asked_for(run, corpus_folder, tmp_path):
    words = ("--corpus", corpus_folder, "--duration_minutes", "0.5", "--output_dir", tmp_path / "out")
    run(*words, "--split", "train", "--labels", "sigh")
    (events,) = read_events(tmp_path / "out" / "reference.csv").values()
    assert {event.label for event in events} == {"sigh"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--split", "dev"), "ArgumentsError: split: expected one of train, validation, test, found 'dev'"),
        (("--labels", "snore"), "ArgumentsError: labels: no clips of snore in the split test, which has "),
        (("--audio_format", "mp3"), "ArgumentsError: audio_format: expected flac or wav, found 'mp3'"),
        (("--mixup_alpha", "0.3"), "ArgumentsError: mixup_alpha: 0.3 has no effect"),
        (("--max_train_clips", "3"), "ArgumentsError: max_train_clips: 3 has no effect"),
        (("--events_per_minute", "1000"), "GenerationError: events_per_minute: expected events that fit; 500 need"),
        (("--event_per_minute", "10"), "Did you mean 'events_per_minute'"),
    ],
)
def test_recipe_says_what_to_mend_and_leaves_nothing(words, message, run, corpus_folder, tmp_path):
    with pytest.raises(SystemExit, match=message):
        run("--corpus", corpus_folder, "--duration_minutes", "0.5", "--output_dir", tmp_path / "out", *words)
    assert not list((tmp_path / "out").glob("*"))


def test_recording_is_replaced_only_when_asked(run, corpus_folder, tmp_path):
    words = ("--corpus", corpus_folder, "--duration_minutes", "0.5", "--output_dir", tmp_path / "out")
    run(*words)
    with pytest.raises(SystemExit, match=r"recording.flac exists. Pass --overwrite_output_dir true"):
        run(*words, "--seed", "1")
    before = (tmp_path / "out" / "recording.flac").read_bytes()
    run(*words, "--seed", "1", "--overwrite_output_dir", "true")
    assert (tmp_path / "out" / "recording.flac").read_bytes() != before


@pytest.mark.slow
def test_help_ends_with_an_example():
    done = subprocess.run([sys.executable, str(RECIPE), "--help"], capture_output=True, text=True, check=True)
    assert " ".join(done.stdout.split()).endswith(
        "Example: python recipes/long_recording.py --corpus synthetic --duration_minutes 10 --output_dir "
        "runs/long_recording"
    )
