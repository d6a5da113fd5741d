from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile
import torch
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoModelForAudioClassification,
    Wav2Vec2FeatureExtractor,
    pipeline,
)
from typer.testing import CliRunner

import nvv
from nvv.cli import app
from nvv.commands import classify as command
from nvv.commands.model_options import DTYPE_NAMES
from nvv.decisions_nvv import front_end_of
from nvv.inference.answer_tables import FORMATS
from nvv.inference.streams import DTYPES

LABELS = {0: "laugh", 1: "sigh", 2: "cough", 3: "cry"}
NVV = Path(sys.executable).with_name("nvv")


def run(*arguments, **options):
    return CliRunner().invoke(app, ["classify", *map(str, arguments)], **options)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def save(tiny_backbone_config, tiny_model, tmp_path):
    """Save a tiny model with its feature extractor, and return its folder."""

    def make(name="model", family="whisper", **fields):
        fields = fields if "tasks" in fields else {"id2label": LABELS, **fields}
        model = tiny_model(tiny_backbone_config(family), max_seconds=2.0, **fields)
        model.save_pretrained(tmp_path / name)
        extractor = Wav2Vec2FeatureExtractor(do_normalize=family != "whisper", return_attention_mask=True)
        extractor.save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def recordings(tmp_path):
    """Five recordings of 0.3 to 3 s and one that is damaged, in a folder."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for at, seconds in enumerate((0.5, 3.0, 0.3, 0.9, 0.5)):
        waveform = (0.05 + 0.1 * at) * generator.normal(size=round(seconds * 16_000))
        soundfile.write(folder / ("deep" if at == 4 else ".") / f"{at}.wav", waveform.clip(-1, 1), 16_000)
    (folder / "2b.wav").write_bytes((folder / "1.wav").read_bytes()[:2_000])
    return folder


FILES = ["in/0.wav", "in/1.wav", "in/2.wav", "in/2b.wav", "in/3.wav", "in/deep/4.wav"]
READABLE = [file for file in FILES if file != "in/2b.wav"]


def pipeline_scores(model, file, **options):
    waveform, _ = soundfile.read(file, dtype="float32")
    answers = pipeline("audio-classification", model=str(model), trust_remote_code=True)(
        waveform, top_k=None, **options
    )
    return {answer["label"]: answer["score"] for answer in answers}


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


# ----------------------------------------------------------------------------------------------------------------------
# Answers
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["whisper", "wav2vec2"])
def test_scores_equal_the_plain_pipelines(save, recordings, family):
    model = save(family=family)
    result = run(model, "in", "--format", "jsonl", "--top-k", 0, "--batch-seconds", 2)
    assert result.exit_code == 1
    answers = objects(result.stdout)
    assert [answer["file"] for answer in answers] == FILES
    for answer in answers:
        if "error" in answer:
            continue
        expected = pipeline_scores(model, answer["file"])
        assert {one["label"]: one["score"] for one in answer["labels"]} == pytest.approx(expected, abs=1e-5)
    assert [list(answer) for answer in answers if "error" in answer] == [["file", "error"]]
    assert answers[3]["error"].startswith("cut off, 1956 bytes of samples")


def test_unreadable_recordings_are_one_line_each_and_the_rest_goes_on(save, recordings):
    result = run(save(), "in", "missing.wav", "--format", "csv")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nvv classify: sources: missing.wav: no such file or folder." in result.stderr
    result = run(save(), "in", "--format", "csv")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line for line in lines if "2b.wav" in line] == [
        "nvv classify: in/2b.wav: cut off, 1956 bytes of samples where the header promises 96000."
    ]
    assert lines[-1] == "nvv classify: 1 of 6 recordings have no answer."
    files = [line.split(",")[0] for line in result.stdout.splitlines()[1:]]
    assert files == [file for file in FILES for _ in range(1 if file == "in/2b.wav" else 3)]


def test_csv_is_a_row_for_each_label(save, recordings):
    model = save()
    result = run(model, "in", "--output", "answers/out.csv", "--top-k", 0)
    assert (result.exit_code, result.stdout) == (1, "")
    frame = pandas.read_csv("answers/out.csv")
    assert frame["file"].unique().tolist() == FILES
    wide = frame[frame["error"].isna()].pivot(index="file", columns="label", values="score")
    assert wide.loc["in/3.wav"].to_dict() == pytest.approx(pipeline_scores(model, "in/3.wav"), abs=1e-5)
    assert sorted(path.name for path in Path("answers").iterdir()) == ["out.csv"]


def test_table_shows_the_most_probable_labels(save, recordings):
    model = save()
    lines = run(model, *READABLE, "--top-k", 2).stdout.splitlines()
    assert len(lines) == 5
    for file, line in zip(READABLE, lines, strict=True):
        best = sorted(pipeline_scores(model, file).items(), key=lambda pair: -pair[1])[:2]
        assert line.split() == [file, *(part for label, score in best for part in (label, f"{score:.3f}"))]


def test_recordings_longer_than_the_model_hears_are_noted_once(save, recordings):
    result = run(save(), *READABLE)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "nvv classify: note: the model hears the first 2 s of a recording; 1 of 5 are longer "
        "(nvv segment goes through all of a recording)."
    ]
    assert run(save(), "in/0.wav").stderr == ""


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--batch-size", 1], (1, None)),
        (["--batch-seconds", 0.1], (1, None)),
        (["--dtype", "bfloat16"], (None, torch.bfloat16)),
        (["--dtype", "float16", "--device", "cpu"], (None, torch.float16)),
    ],
)
def test_options_change_how_it_is_computed(save, recordings, monkeypatch, options, wanted):
    shapes, dtypes, forward = [], [], nvv.NvvForAudioClassification.forward

    def recording(model, **inputs):
        shapes.append(len(inputs["input_values"]))
        dtypes.append(inputs["input_values"].dtype)
        return forward(model, **inputs)

    model = save()
    monkeypatch.setattr(nvv.NvvForAudioClassification, "forward", recording)
    plain = objects(run(model, *READABLE, "--format", "jsonl").stdout)
    assert (max(shapes), dtypes[0]) == (5, torch.float32)
    shapes.clear()
    dtypes.clear()
    result = run(model, *READABLE, "--format", "jsonl", *options)
    assert result.exit_code == 0, result.output
    assert (max(shapes), dtypes[-1]) == (wanted[0] or 5, wanted[1] or torch.float32)
    tolerance = 0.05 if wanted[1] else 1e-5
    for one, other in zip(plain, objects(result.stdout), strict=True):
        assert one["labels"][0]["score"] == pytest.approx(other["labels"][0]["score"], abs=tolerance)


# ----------------------------------------------------------------------------------------------------------------------
# Kinds of models
# ----------------------------------------------------------------------------------------------------------------------


def test_tasks_and_numbers_answer_by_their_names(save, recordings):
    tasks = [
        {"name": "type", "kind": "classification", "outputs": ["laugh", "sigh"]},
        {"name": "feeling", "kind": "regression", "outputs": ["valence", "arousal"]},
    ]
    names = ("type/laugh", "type/sigh", "feeling/valence", "feeling/arousal")
    model = save(tasks=tasks, id2label=dict(enumerate(names)))
    (answer,) = objects(run(model, "in/0.wav", "--format", "jsonl").stdout)
    raw = pipeline_scores(model, "in/0.wav", function_to_apply="none")
    odds = np.exp(raw["type/laugh"] - raw["type/sigh"])
    by_label = {one["label"]: one["score"] for one in answer["tasks"]["type"]["labels"]}
    assert by_label == pytest.approx({"laugh": odds / (1 + odds), "sigh": 1 / (1 + odds)}, abs=1e-5)
    expected = {"valence": raw["feeling/valence"], "arousal": raw["feeling/arousal"]}
    assert answer["tasks"]["feeling"]["numbers"] == pytest.approx(expected, abs=1e-5)


def test_number_of_labels_is_refused_of_a_model_without_labels(save, recordings):
    tasks = [{"name": "feeling", "kind": "regression", "outputs": ["valence"]}]
    model = save(tasks=tasks, id2label={0: "valence"})
    assert list(objects(run(model, "in/0.wav", "--format", "jsonl").stdout)[0]["numbers"]) == ["valence"]
    result = run(model, "in/0.wav", "--top-k", 1)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "top_k: the model predicts numbers" in result.stderr


@pytest.fixture
def spectrogram_transformer(tmp_path):
    """A stock model that says yes or no to each label, as those trained on AudioSet do."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = ASTConfig(
        **sizes, max_length=64, num_mel_bins=32, id2label=LABELS, problem_type="multi_label_classification"
    )
    torch.manual_seed(0)
    model = ASTForAudioClassification(config)
    with torch.no_grad():
        model.classifier.dense.bias.copy_(torch.tensor([2.0, -2.0, 1.0, -1.0]))
    model.save_pretrained(tmp_path / "ast")
    ASTFeatureExtractor(max_length=64, num_mel_bins=32).save_pretrained(tmp_path / "ast")
    return tmp_path / "ast"


def test_labels_of_yes_are_shown_of_a_stock_model(spectrogram_transformer, recordings):
    result = run(spectrogram_transformer, "in/1.wav", "--format", "jsonl")
    (answer,) = objects(result.stdout)
    stock = AutoModelForAudioClassification.from_pretrained(spectrogram_transformer)
    assert stock.config.problem_type == "multi_label_classification"
    expected = pipeline_scores(spectrogram_transformer, "in/1.wav")
    assert {one["label"]: one["score"] for one in answer["labels"]} == pytest.approx(
        {label: score for label, score in expected.items() if score >= 0.5}, abs=1e-5
    )
    assert [one["label"] for one in answer["labels"]] == ["laugh", "cough"]
    assert "hears the first 0.655 s of a recording; 1 of 1 are longer" in result.stderr


@pytest.fixture
def detector(save):
    model = save()
    config = nvv.NvvConfig.from_pretrained(model)
    front_end = {**front_end_of(config), "precision": "fp32"}
    config.calibration_temperature = 1.5
    config.operating_points = {"laugh": {"threshold": 0.231, "temperature": 1.5, "front_end": front_end}}
    config.apply_operating_point = "laugh"
    config.save_pretrained(model)
    return model


def test_operating_point_says_yes_or_no_as_the_model_does(detector, recordings):
    result = run(detector, *READABLE, "--operating-point", "laugh", "--format", "jsonl", "--top-k", 0)
    assert result.exit_code == 0, result.output
    model = nvv.NvvForAudioClassification.from_pretrained(detector)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(detector)
    expected = []
    for file in READABLE:
        inputs = extractor(soundfile.read(file, dtype="float32")[0], sampling_rate=16_000, return_tensors="pt")
        expected.append(model.detect(**inputs, label="laugh").item())
    answers = objects(result.stdout)
    assert [answer["detected"] for answer in answers] == expected
    assert len(set(expected)) == 2  # both happen
    for answer in answers:
        # Calibrated probabilities, not those that the operating point has moved.
        score = next(one["score"] for one in answer["labels"] if one["label"] == "laugh")
        assert answer["detection"] == {"label": "laugh", "score": score, "threshold": 0.231}
        assert (score >= 0.231) is answer["detected"]


def test_operating_point_that_is_not_stored_is_refused(detector, recordings):
    result = run(detector, "in/0.wav", "--operating-point", "sigh")
    assert result.exit_code == 2
    assert "the model stores no threshold for 'sigh'; it has some for: laugh." in result.stderr


def test_random_weights_are_named(save, recordings):
    result = run(save(random_init_seed=3), "in/0.wav")
    assert result.exit_code == 0
    assert "nvv classify: note: The model's encoder has random weights: these scores are no result." in result.stderr


def test_scores_that_are_not_finite_are_errors(save, recordings, monkeypatch):
    model = save()
    loaded = nvv.NvvForAudioClassification.from_pretrained(model)
    with torch.no_grad():
        next(loaded.head.parameters()).fill_(float("nan"))
    loaded.save_pretrained(model)
    result = run(model, "in/0.wav", "--format", "jsonl")
    assert result.exit_code == 1
    assert objects(result.stdout)[0]["error"] == "the model's scores are not finite; try --dtype float32."


# ----------------------------------------------------------------------------------------------------------------------
# Sources
# ----------------------------------------------------------------------------------------------------------------------


def test_lists_and_standard_input_give_what_files_give(save, recordings):
    model = save()
    expected = objects(run(model, *READABLE, "--format", "jsonl").stdout)
    Path("list.txt").write_text("\n".join(READABLE) + "\nin/gone.wav\n")
    listed = run(model, "--files-from", "list.txt", "--format", "jsonl")
    assert listed.exit_code == 1
    answers = objects(listed.stdout)
    assert [answer["file"] for answer in answers] == [*READABLE, "in/gone.wav"]
    assert answers[-1] == {"file": "in/gone.wav", "error": "no such file."}
    scores = [answer["labels"][0]["score"] for answer in expected]
    assert [answer["labels"][0]["score"] for answer in answers[:-1]] == pytest.approx(scores, abs=1e-5)
    piped = run(model, "--files-from", "-", "--format", "jsonl", input="\n".join(READABLE))
    assert [answer["labels"][0]["score"] for answer in objects(piped.stdout)] == pytest.approx(scores, abs=1e-5)
    waveform, rate = soundfile.read("in/3.wav")
    soundfile.write("clip.flac", waveform, rate)
    sound = run(model, "-", "--format", "jsonl", input=Path("clip.flac").read_bytes())
    (answer,) = objects(sound.stdout)
    assert answer["file"] == "-"
    assert answer["labels"][0]["score"] == pytest.approx(scores[3], abs=1e-5)


def test_sound_on_standard_input_that_cannot_be_read_is_an_error(save):
    result = run(save(), "-", input=b"not audio")
    assert result.exit_code == 1
    assert "nvv classify: -: not readable as audio" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL"], "sources: expected recordings as arguments or a list by --files-from, found neither."),
        (["MODEL", "in/0.wav", "--files-from", "list"], "or a list by --files-from, found both."),
        (["MODEL", "-", "in/0.wav"], "sources: - is one recording on standard input, and goes with no other source."),
        (["MODEL", "--files-from", "nowhere"], "files_from: expected a file with paths, one a line; nowhere is none."),
        (["MODEL", "in/*.mp3"], "sources: in/*.mp3: no audio files."),
        (["nowhere/at/all", "in/0.wav"], "model: nowhere/at/all: no such folder, and no Hub id either"),
        (["MODEL", "in/0.wav", "--device", "cuda:99"], "device: 'cuda:99' cannot be used here"),
        (["MODEL", "in/0.wav", "--revision", "main"], "model_revision: 'main' has no effect on the folder"),
        (["MODEL", "in/0.wav", "--output", "in"], "output: expected a file, found the folder in."),
        (["MODEL", "in/0.wav", "--dtype", "int8"], "'--dtype': expected one of float32, bfloat16, float16, found"),
        (["MODEL", "in/0.wav", "--format", "xml"], "'--format': expected one of table, jsonl, csv, found 'xml'."),
        (["MODEL", "in/0.wav", "--batch-seconds", "0"], "'--batch-seconds': expected more than 0, found 0.0."),
        (["MODEL", "in/0.wav", "--top-k", "-1"], "'--top-k'"),
        (["MODEL", "--files-from", "empty"], "no recordings: the list of --files-from is empty."),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(save, recordings, arguments, message):
    Path("empty").write_text("\n")
    model = save()
    result = run(*(model if argument == "MODEL" else argument for argument in arguments))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_nothing_is_left_behind_when_it_is_interrupted(save, recordings, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nvv.inference.answer_tables.read_answer", interrupted)
    result = run(save(), "in/0.wav", "--output", "out.csv")
    assert result.exit_code == 130
    assert "nvv classify: interrupted." in result.stderr
    assert not list(Path().glob("*out.csv"))


def test_names_of_choices_are_those_of_the_library():
    assert tuple(DTYPES) == DTYPE_NAMES
    assert command._FORMATS == FORMATS


# ----------------------------------------------------------------------------------------------------------------------
# The installed entry point
# ----------------------------------------------------------------------------------------------------------------------


def test_help_has_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert "--operating-point LABEL" in result.stdout
    assert f"Example:\n    {command.EXAMPLE}" in result.stdout


@pytest.mark.slow
def test_entry_point_classifies_what_find_prints(save, recordings):
    names = subprocess.run(["find", "in", "-name", "*.wav", "-print0"], capture_output=True, check=True).stdout
    odd = os.fsencode("in/") + b"\xff.wav"
    Path(os.fsdecode(odd)).write_bytes(Path("in/0.wav").read_bytes())
    done = subprocess.run(
        [NVV, "classify", save(), "--files-from", "-", "--format", "csv"],
        input=names + odd + b"\0",
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 1
    files = {line.split(b",")[0] for line in done.stdout.splitlines()[1:]}
    assert files == {*map(os.fsencode, FILES), odd}
    # Standard error holds what the user needs to know, and no bars, warnings or logs.
    assert [line.partition(b":")[0] for line in done.stderr.splitlines()] == [b"nvv classify"] * 3
    bad = subprocess.run([NVV, "classify", "nowhere/at/all", "in/0.wav"], capture_output=True, text=True, timeout=300)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("nvv classify: model: nowhere/at/all: no such folder")


@pytest.mark.slow
def test_reader_that_leaves_early_ends_it_quietly(save, recordings):
    program = subprocess.Popen(
        [NVV, "classify", save(), *(READABLE * 300), "--format", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert json.loads(program.stdout.readline())["file"] == "in/0.wav"
    program.stdout.close()
    assert program.stderr.read() == b""
    assert program.wait(timeout=60) == 141  # as of a program that SIGPIPE ended


@pytest.mark.slow
def test_interrupt_ends_it_at_once(save, recordings, start_interruptible):
    program = start_interruptible(
        [NVV, "classify", save(), "--files-from", "-", "--format", "jsonl", "--output", "out.jsonl"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    program.stdin.write("".join(f"{file}\n" for file in READABLE * 20).encode())
    program.stdin.flush()  # and stays open: the program waits for more
    deadline = time.monotonic() + 120
    while not list(Path().glob(".incomplete-*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    program.send_signal(signal.SIGINT)
    assert program.wait(timeout=20) == 130
    assert program.stderr.read() == b"nvv classify: interrupted.\n"
    assert not list(Path().glob("*out.jsonl"))
    program.stdin.close()
