"""What a model says of short and long recordings, and of files that are none."""

import json

import numpy as np
import pytest
import soundfile
import torch

from nvv.audio import AudioError, decode_audio
from nvv.demo.answers import answer_recording
from nvv.inference.load import load_classifier
from nvv.segmentation.segment import segment_file

TASKS = [
    {"name": "kind", "kind": "classification", "outputs": ["laugh", "sigh", "background"]},
    {"name": "affect", "kind": "regression", "outputs": ["arousal", "valence"]},
]


@pytest.fixture
def classifier(make_model_folder):
    return load_classifier(str(make_model_folder("lora")))


def test_short_recording_is_answered_whole(classifier, write_recording):
    path = write_recording(2.0)
    answer = answer_recording(classifier, path)
    with torch.inference_mode():
        expected = torch.softmax(classifier.model(torch.from_numpy(decode_audio(path))[None]).logits[0], dim=-1)
    assert answer.duration_s == 2.0
    (task,) = answer.tasks
    assert (task.task, task.kind, task.about) == (None, "classes", "all of it")
    assert list(task.values) == ["laugh", "sigh", "cough"]
    np.testing.assert_allclose(list(task.values.values()), expected, atol=1e-5)
    assert answer.events is None
    assert json.loads(json.dumps(answer.as_json()))["events"] is None


def test_long_recording_is_answered_by_its_windows(classifier, write_recording):
    path = write_recording(7.0)
    answer = answer_recording(classifier, path)
    expected = segment_file(classifier, path)
    assert answer.events.segmentation.file == "recording.wav"
    assert answer.events.segmentation.events == expected.events
    (task,) = answer.tasks
    assert task.about == f"the average over {len(expected.scores)} windows of 1 s"
    np.testing.assert_allclose(list(task.values.values()), expected.scores.mean(axis=0), atol=1e-6)
    assert answer.events.envelope.num_samples == 7 * 16_000
    assert "no class for what is not one of laugh, sigh, cough" in answer.events.caveats[0]
    listed = json.loads(json.dumps(answer.as_json()))["events"]
    assert [event["label"] for event in listed] == [event.label for event in expected.events]


def test_recording_within_what_the_model_hears_is_answered_whole_and_with_events(make_model_folder, write_recording):
    classifier = load_classifier(str(make_model_folder("long", max_seconds=8.0)))
    answer = answer_recording(classifier, write_recording(6.0))
    assert answer.tasks[0].about == "all of it"
    assert answer.events is not None


def test_silence_has_no_events_and_no_scores(classifier, write_recording):
    answer = answer_recording(classifier, write_recording(6.0, silent=True))
    assert answer.events.segmentation.events == ()
    assert set(answer.tasks[0].values.values()) == {0.0}
    assert answer.tasks[0].about == "the average over 0 windows of 1 s"


def test_tasks_are_answered_each_in_its_way(make_model_folder, write_recording):
    classifier = load_classifier(str(make_model_folder("tasks", tasks=TASKS)), allows_tasks=True)
    short, long = write_recording(2.0), write_recording(7.0, name="long.wav")
    with torch.inference_mode():
        logits = classifier.model(torch.from_numpy(decode_audio(short))[None]).logits[0]
        first_3_s = classifier.model(torch.from_numpy(decode_audio(long)[:48_000])[None]).logits[0]
    kind, affect = answer_recording(classifier, short).tasks
    np.testing.assert_allclose(list(kind.values.values()), torch.softmax(logits[:3], dim=-1), atol=1e-5)
    assert (kind.task, kind.kind, affect.task, affect.kind) == ("kind", "classes", "affect", "numbers")
    assert affect.values == pytest.approx({"arousal": float(logits[3]), "valence": float(logits[4])}, abs=1e-5)
    answer = answer_recording(classifier, long)
    kind, affect = answer.tasks
    assert list(kind.values) == ["laugh", "sigh"]  # the background has no events
    means = answer.events.segmentation.scores.mean(axis=0)
    np.testing.assert_allclose(list(kind.values.values()), means, atol=1e-6)
    assert affect.about == "its first 3 s"
    assert affect.values == pytest.approx({"arousal": float(first_3_s[3]), "valence": float(first_3_s[4])}, abs=1e-5)


def test_numbers_alone_have_no_events(make_model_folder, write_recording):
    classifier = load_classifier(str(make_model_folder("numbers", tasks=TASKS[1:])), allows_tasks=True)
    answer = answer_recording(classifier, write_recording(7.0))
    assert answer.events is None
    assert [(task.kind, task.about) for task in answer.tasks] == [("numbers", "its first 3 s")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no sound at all", r"^clip\.wav: not readable as audio .*WAV, FLAC, OGG, MP3 and AIFF files can be read"),
        (b"", r"^clip\.wav: empty file"),
        (b"RIFF\x24\x00\x00\x00WAVE", r"^clip\.wav: cut off"),
    ],
)
def test_unreadable_file_is_named_without_its_folder(classifier, tmp_path, content, message):
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message) as raised:
        answer_recording(classifier, path)
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize("seconds", [2.0, 7.0])
def test_file_that_breaks_off_inside_is_named_without_its_folder(classifier, tmp_path, seconds):
    path = tmp_path / "clip.flac"
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(16_000 * seconds))
    soundfile.write(path, noise, 16_000)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(AudioError, match=r"^clip\.flac: ") as raised:
        answer_recording(classifier, path)
    assert str(tmp_path) not in str(raised.value)
