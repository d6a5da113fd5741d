import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, WhisperModel
from typer.testing import CliRunner

import nvv
from nvv.audio import encode_wav
from nvv.cli import app
from nvv.commands import segment as command
from nvv.data.synthesis import synthesize
from nvv.decisions_nvv import front_end_of
from nvv.segmentation.formats import FORMATS, events_csv, read_events
from nvv.segmentation.generated import generate_recording
from nvv.segmentation.settings import SMOOTHINGS
from nvv.training.config_files import parse_arguments
from nvv.training.run import train

NVV = Path(sys.executable).with_name("nvv")
TONES = (("low", 2.1, 3.4), ("high", 5.03, 5.7), ("low", 8.0, 9.0))


def run(*arguments):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model(tone_detector_folder):
    return tone_detector_folder


@pytest.fixture
def recording(tone_recording):
    return tone_recording(TONES, seconds=10.0)


def rows_of(text):
    return [
        (row["file"], row["label"], round(float(row["start_s"]), 1), round(float(row["end_s"]), 1))
        for row in csv.DictReader(io.StringIO(text))
    ]


def test_events_are_printed_as_one_table_through_the_installed_command(model, recording, tone_recording, tmp_path):
    tone_recording([("high", 1.0, 2.0)], seconds=4.0, name="more/b.flac", rate=44_100, channels=2)
    (tmp_path / "more" / "a.wav").write_bytes(b"this is no audio")
    done = subprocess.run([NVV, "segment", model, "recording.wav", "more"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stdout.count("file,start_s") == 1
    assert rows_of(done.stdout) == [
        ("recording.wav", "low", 2.1, 3.4),
        ("recording.wav", "high", 5.0, 5.7),
        ("recording.wav", "low", 8.0, 9.0),
        ("more/b.flac", "high", 1.0, 2.0),
    ]
    note, failure, summary = done.stderr.splitlines()
    assert note.startswith("nvv segment: note: ")
    assert "random" in note
    assert failure.startswith("nvv segment: more/a.wav: not readable as audio")
    assert summary == "nvv segment: 1 of 3 recordings could not be read."


def test_a_file_of_each_format_is_written_for_each_recording(model, recording, tone_recording, tmp_path):
    tone_recording([], seconds=3.0, name="more/recording.wav")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "recording.csv").write_text("old")
    result = run(model, "recording.wav", "more", "--output-dir", "out", "--format", "all", "--window-scores")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "recording.wav: 3 events (low 2, high 1) → out/recording.json, " in result.stderr
    assert "more/recording.wav: 0 events → out/more/recording.json, " in result.stderr
    written = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file())
    assert written == sorted(f"{folder}recording{ending}" for folder in ("", "more/") for ending in FORMATS.values())
    for name in set(FORMATS) - {"picture"}:
        (events,) = read_events(Path("out") / f"recording{FORMATS[name]}").values()
        assert [event.label for event in events] == ["low", "high", "low"], name
    document = json.loads(Path("out/recording.json").read_text())
    assert document["model_is_trained"] is False
    assert len(document["scores"]) == len(document["window_starts_s"]) == 40
    assert document["settings"]["smoothing"] == "median"


def test_files_of_finished_recordings_stay_when_another_is_damaged(model, recording, tone_recording):
    damaged = tone_recording([], seconds=5.0, name="z.flac")
    damaged.write_bytes(damaged.read_bytes()[:-20_000])
    result = run(model, "recording.wav", "z.flac", "--output-dir", "out")
    assert result.exit_code == 1
    assert "nvv segment: z.flac: damaged or cut off" in result.stderr
    assert {path.name for path in Path("out").iterdir()} == {"recording.json", "recording.csv"}


def write_reference(path, tones=TONES, file="recording.wav"):
    rows = [f"{file},{start},{end},{label}\n" for label, start, end in tones]
    Path(path).write_text("file,start_s,end_s,label\n" + "".join(rows))


def test_events_are_scored_against_references(model, recording):
    write_reference("truth.csv", [*TONES, ("speech", 0.0, 1.0), ("high", 6.0, 6.5)])
    result = run(model, "recording.wav", "--reference", "truth.csv", "--output-dir", "out")
    assert result.exit_code == 0, result.output
    assert "references of speech are not scored: the model does not look for them" in result.stderr
    scores = json.loads(Path("out/event_scores.json").read_text())
    # Three of four events, and none that is not there: F1 is 2 · 3 / (3 + 4).
    assert scores["event_based"]["overall"]["f1"] == pytest.approx(6 / 7)
    assert scores["event_based"]["labels"]["low"]["f1"] == 1.0
    assert "events (starts within 0.2 s" in result.stdout
    assert "segments of 1 s" in result.stdout
    assert "start_s" not in result.stdout
    narrow = run(model, "recording.wav", "--reference", "truth.csv", "--collar-seconds", "0.001")
    assert "starts within 0.001 s" in narrow.stdout


def test_recordings_without_references_are_left_out_of_the_scores(model, recording, tone_recording):
    tone_recording([("high", 1.0, 2.0)], seconds=4.0, name="b.wav")
    write_reference("truth.csv")
    result = run(model, "recording.wav", "b.wav", "--reference", "truth.csv")
    assert result.exit_code == 0, result.output
    assert "1 of 2 recordings were read and have references; the scores are theirs" in result.stderr
    assert result.stdout.splitlines()[-1].startswith("overall")


def test_references_are_never_replaced_by_what_was_found(model, recording):
    write_reference("recording.csv")
    before = Path("recording.csv").read_text()
    result = run(model, "recording.wav", "--reference", "recording.csv", "--output-dir", ".")
    assert result.exit_code == 2
    assert "output_dir: recording.csv would replace the references" in result.stderr
    assert Path("recording.csv").read_text() == before
    assert not Path("recording.json").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["low", "high", "low"]),
        (("--label", "high"), ["high"]),
        (("--background", "high", "--background", "background"), ["low", "low"]),
        (("--min-event-seconds", "1.2"), ["low"]),
        (("--max-gap-seconds", "5", "--label", "low"), ["low"]),
        (("--silence-dbfs", "-10"), []),
        (("--silence-dbfs", "off"), ["low", "high", "low"]),
    ],
)
def test_options_change_what_is_found(model, recording, options, expected):
    result = run(model, "recording.wav", *options)
    assert result.exit_code == 0, result.output
    assert [label for _, label, _, _ in rows_of(result.stdout)] == expected


def test_options_of_windows_reach_the_segmentation(model, recording):
    options = {
        "--window-seconds": "0.8",
        "--hop-seconds": "0.4",
        "--smoothing": "mean",
        "--smoothing-seconds": "1.2",
        "--release-threshold": "0.3",
        "--batch-seconds": "4",
        "--num-workers": "1",
        "--dtype": "bfloat16",
        "--device": "cpu",
    }
    given = [word for pair in options.items() for word in pair]
    result = run(model, "recording.wav", *given, "--no-refine-ends", "--overlapping", "--output-dir", "out")
    assert result.exit_code == 0, result.output
    document = json.loads(Path("out/recording.json").read_text())
    assert (document["window_s"], document["hop_s"]) == (0.8, 0.4)
    expected = {"smoothing": "mean", "smoothing_seconds": 1.2, "release_threshold": 0.3, "refine_ends": False}
    assert expected.items() <= document["settings"].items()
    assert document["settings"]["overlapping"] is True
    for event in document["events"]:
        assert event["start_s"] / 0.4 == pytest.approx(round(event["start_s"] / 0.4))


def test_thresholds_are_the_stored_ones_unless_others_are_given(model, recording, tmp_path):
    folder = tmp_path / "stored"
    nvv_model = nvv.NvvForAudioClassification.from_pretrained(model)
    config = nvv_model.config
    config.operating_points = {"low": {"threshold": 0.2, "front_end": front_end_of(config)}}
    config.apply_operating_point = "low"  # which would move all scores; here they stay calibrated
    nvv_model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(folder)

    def thresholds(*options):
        assert run(folder, "recording.wav", "--output-dir", "out", *options).exit_code == 0
        return json.loads(Path("out/recording.json").read_text())["thresholds"]

    assert thresholds() == {"low": 0.2, "high": 0.5}
    assert thresholds("--threshold", "0.6", "--threshold", "high=0.7") == {"low": 0.6, "high": 0.7}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nothing.wav"], "nothing.wav: no such file or folder"),
        ([], "sources: expected recordings"),
        (["recording.wav", "--format", "csv"], "--format: has an effect with --output-dir only"),
        (["recording.wav", "--window-scores"], "--window-scores: has an effect with --output-dir only"),
        (["recording.wav", "--output-dir", "out", "--format", "csv,elan"], "found 'elan'"),
        (["recording.wav", "--output-dir", "out", "--format", "csv", "--window-scores"], "without the format json"),
        (["recording.wav", "--output-dir", "recording.wav"], "output_dir: expected a folder, found the file"),
        (["recording.wav", "--threshold", "loud"], "threshold: expected a score or LABEL=SCORE, found 'loud'"),
        (["recording.wav", "--threshold", "0.5", "--threshold", "0.6"], "0.5 and 0.6 are both for all labels"),
        (["recording.wav", "--threshold", "low=0.5", "--threshold", "low=0.6"], "'low' has two, 0.5 and 0.6"),
        (["recording.wav", "--threshold", "1.5"], "threshold: expected a score between 0 and 1, found 1.5"),
        (["recording.wav", "--threshold", "loud=0.5"], "thresholds: the model has no label 'loud'"),
        (["recording.wav", "--silence-dbfs", "quiet"], "silence_dbfs: expected a level in dB such as -60, or off"),
        (["recording.wav", "--window-seconds", "9"], "hears the first 3 s of a clip, so that a window of 9 s"),
        (["recording.wav", "--smoothing", "mode"], "expected one of median, mean, none, found 'mode'"),
        (["recording.wav", "--collar-seconds", "1"], "collar_seconds: has no effect without --reference"),
        (["recording.wav", "--reference", "none.csv"], "none.csv: No such file"),
        (["recording.wav", "--reference", "other.csv"], "reference: is about other.wav, and none of the recordings"),
        (["recording.wav", "--dtype", "int8"], "expected one of float32, bfloat16, float16"),
    ],
)
def test_bad_input_is_an_error_before_anything_is_written(model, recording, options, message):
    write_reference("other.csv", file="other.wav")
    before = sorted(Path().rglob("*"))
    result = run(model, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert sorted(Path().rglob("*")) == before


def test_model_that_is_none_is_an_error(recording):
    result = run("./no/model", "recording.wav")
    assert result.exit_code == 2
    assert result.stderr.startswith("nvv segment: model: ./no/model: no such folder")


def test_names_that_only_the_command_knows_are_those_of_the_library():
    assert tuple(FORMATS) == command._FORMATS
    assert SMOOTHINGS == command._SMOOTHINGS


@pytest.mark.slow
def test_interrupted_run_leaves_finished_recordings_and_nothing_half_written(
    model, recording, tone_recording, start_interruptible, tmp_path
):
    tone_recording([("high", 1.0, 2.0)], seconds=1200.0, name="z.wav")
    process = start_interruptible(
        [NVV, "segment", model, "recording.wav", "z.wav", "--output-dir", "out", "--batch-seconds", "2"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr:
            if line.startswith("recording.wav: 3 events"):
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    assert "nvv segment: interrupted; finished recordings are complete." in rest
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"recording.json", "recording.csv"}


# ----------------------------------------------------------------------------------------------------------------------
# The whole way: a model is trained, and finds what it was trained on in a long recording
# ----------------------------------------------------------------------------------------------------------------------

CLASSES = ("background", "gasp", "hum")

CARD = """---
license: cc-by-4.0
pretty_name: Computed sounds
tags: [synthetic]
configs:
- config_name: speaker
  data_files:
  - {split: train, path: train.parquet}
  - {split: validation, path: validation.parquet}
  - {split: test, path: test.parquet}
---
# Computed sounds
"""


def window_of(label, voice, generator):
    """A second of noise, with part of a computed sound in it unless it is background; encoded."""
    window = 10 ** generator.uniform(-3.3, -2.3) * generator.standard_normal(16_000)
    if label != "background":
        sound = synthesize(label, voice)
        first = int(generator.integers(0, max(1, len(sound) - 8_000)))
        piece = sound[first : first + len(window)]
        at = int(generator.integers(0, len(window) - len(piece) + 1))
        window[at : at + len(piece)] += generator.uniform(0.4, 1.0) * piece
    return encode_wav(window)


@pytest.fixture
def corpus(tmp_path):
    """A prepared corpus of windows of three classes: 240 to train, 30 each to validate and test."""
    folder = tmp_path / "windows"
    folder.mkdir()
    generator = np.random.default_rng(0)
    features = datasets.Features(
        {
            "audio": datasets.Audio(decode=False),
            "label": datasets.ClassLabel(names=list(CLASSES)),
            "file": datasets.Value("string"),
            "speaker_id": datasets.Value("string"),
        }
    )
    voice = 0
    for split, size in (("train", 240), ("validation", 30), ("test", 30)):
        voices = [voice + at // 6 for at in range(size)]
        voice = voices[-1] + 1
        labels = [at % 3 for at in range(size)]
        columns = {
            "audio": [
                {"bytes": window_of(CLASSES[label], one, generator), "path": None}
                for label, one in zip(labels, voices, strict=True)
            ],
            "label": labels,
            "file": [f"{split}/{at}.wav" for at in range(size)],
            "speaker_id": [f"voice{one}" for one in voices],
        }
        table = pyarrow.Table.from_pydict(columns, schema=features.arrow_schema)
        datasets.Dataset(table, info=datasets.DatasetInfo(features=features)).to_parquet(folder / f"{split}.parquet")
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_trained_model_finds_the_events_of_a_generated_recording(corpus, tiny_backbone_config, randomise, tmp_path):
    """The sounds are computed: how well they are found says nothing about voices, only that all parts work together."""
    torch.manual_seed(0)
    randomise(WhisperModel(tiny_backbone_config("whisper"))).save_pretrained("backbone")
    train(
        parse_arguments(
            [
                *("--backbone", "backbone", "--max_seconds", "3", "--projection_size", "32"),
                *("--corpus", str(corpus), "--data_cache_dir", "cache", "--method", "full"),
                *("--learning_rate", "3e-3", "--num_train_epochs", "8", "--per_device_train_batch_size", "16"),
                *("--num_bootstrap_resamples", "20", "--disable_tqdm", "true", "--output_dir", "run"),
            ]
        )
    )
    clips = {label: [synthesize(label, 900 + at) for at in range(12)] for label in CLASSES[1:]}
    truth = generate_recording(
        "long.flac", duration_s=180, clips_by_label=clips, seed=1, events_per_minute=10, snr_db=(18, 30)
    )
    Path("truth.csv").write_text(events_csv({"long.flac": truth}))
    scored = {}
    for name in ("run", "shuffled"):
        if name == "shuffled":  # the same model, whose classes changed places
            model = nvv.NvvForAudioClassification.from_pretrained("run")
            with torch.no_grad():
                for values in (model.head.classifier.weight, model.head.classifier.bias):
                    values.copy_(values[[1, 2, 0]].clone())
            model.save_pretrained("shuffled")
            Wav2Vec2FeatureExtractor.from_pretrained("run").save_pretrained("shuffled")
        options = ["--reference", "truth.csv", "--output-dir", f"events_{name}", "--collar-seconds", "0.25"]
        done = subprocess.run(
            [NVV, "segment", name, "long.flac", *options], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        scored[name] = json.loads(Path(f"events_{name}/event_scores.json").read_text())
    found = {name: scores["event_based"]["overall"]["f1"] or 0.0 for name, scores in scored.items()}
    assert found["run"] > 0.6, found
    assert found["shuffled"] < 0.1, found
    assert scored["run"]["segment_based"]["overall"]["f1"] > 0.8
