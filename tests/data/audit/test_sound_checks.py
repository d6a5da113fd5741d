import math

import numpy as np
import pytest
from scipy import signal
from sklearn.metrics import roc_auc_score

from nvv.audio import encode_wav
from nvv.data.audit import KINDS
from nvv.data.audit.findings import ClipReference
from nvv.data.audit.measures import ClipMeasures
from nvv.data.audit.sound_checks import check_sound, duration_limits


def test_limits_of_usual_durations_follow_from_the_median_deviation():
    # Logarithms to base 2: 0, 1, 1, 2, 10; median 1, distances 1, 0, 0, 1, 9 with median 1, times 1.4826 times 3.5.
    low, high = duration_limits([1.0, 2.0, 2.0, 4.0, 1024.0])
    assert low == pytest.approx(2 ** (1 - 5.1891), rel=1e-4)
    assert high == pytest.approx(2 ** (1 + 5.1891), rel=1e-4)


def test_limits_follow_from_the_mean_deviation_when_most_durations_are_equal():
    # Distances 0, 0, 0, ln 8; their mean is ln 8 / 4, times 1.2533 times 3.5.
    low, high = duration_limits([2.0, 2.0, 2.0, 16.0])
    assert high == pytest.approx(2 * math.exp(math.log(8) / 4 * 1.2533 * 3.5), rel=1e-4)
    assert low * high == pytest.approx(4)


def test_nothing_is_unusual_when_all_durations_are_equal():
    low, high = duration_limits([2.0] * 9)
    assert low < 2.0 < high


@pytest.mark.parametrize(
    ("kind", "waveform"),
    [
        ("silent", np.zeros(16_000)),
        ("very_short", np.full(1_500, 0.1)),  # 94 ms
        ("clipping", np.concatenate([np.full(8_000, 0.1), np.ones(50)])),
        ("mostly_silence", np.concatenate([np.full(2_000, 0.1), np.zeros(14_000)])),
        ("long_edge_silence", np.concatenate([np.zeros(17_000), np.full(16_000, 0.1)])),
        ("long_edge_silence", np.concatenate([np.full(16_000, 0.1), np.zeros(17_000)])),
        ("duration_outlier", np.full(90 * 16_000, 0.1)),
    ],
)
def test_sound_findings_name_the_clip(audit_sounds, clean_sounds, findings_of, sound, kind, waveform):
    report = audit_sounds(*clean_sounds, sound(encode_wav(waveform), "laugh", "voice9", "test", "odd.wav"))
    (finding,) = findings_of(report, kind)
    (clip,) = finding.clips
    assert (clip.file, clip.split, clip.label, clip.speaker_id) == ("odd.wav", "test", "laugh", "voice9")
    assert finding.severity is KINDS[kind].severity
    assert not report.leaks


def reference(label: str, number: int) -> ClipReference:
    return ClipReference(file=f"{label}{number}.wav", split="train", label=label, speaker_id=None)


def test_class_that_its_duration_tells_is_found():
    # Ten cries of 4.5 to 5.4 s, ten laughs of 4 to 4.9 s, thirty coughs of 1 to 3.9 s. A cry is longer than all coughs
    # and than 6 + … laughs: of 400 pairs all but those with a longer or equal laugh. Ties count half.
    durations = {
        "cry": [4.5 + 0.1 * number for number in range(10)],
        "laugh": [4.0 + 0.1 * number for number in range(10)],
        "cough": [1.0 + 0.1 * number for number in range(30)],
        "gasp": [9.0] * 7,  # too few to tell
    }
    clips = [
        (reference(label, number), ClipMeasures(duration_s=seconds, sampling_rate=16_000, num_channels=1))
        for label, lengths in durations.items()
        for number, seconds in enumerate(lengths)
    ]
    expected = {
        label: roc_auc_score([clip.label == label for clip, _ in clips], [round(one.duration_s, 6) for _, one in clips])
        for label in durations
    }
    found = {finding.details["label"]: finding for finding in check_sound(clips) if finding.kind == "telling_duration"}
    assert 1 - expected["cough"] == 1.0
    assert expected["cry"] < 0.95  # the gasps are longer
    assert set(found) == {"cough"}
    assert found["cough"].details["share_of_pairs"] == pytest.approx(1.0)
    assert found["cough"].message.startswith("cough: median 2.45 s, 4.")
    assert "shorter in 100 % of pairs" in found["cough"].message
    without_gasps = [pair for pair in clips if pair[0].label != "gasp"]
    found = {finding.details["label"] for finding in check_sound(without_gasps) if finding.kind == "telling_duration"}
    assert found == {"cough", "cry"}


def test_empty_band_is_found(audit_sounds, clean_sounds, findings_of, sound):
    upsampled = signal.resample(0.1 * np.random.default_rng(0).standard_normal(8_000), 16_000)  # one second
    report = audit_sounds(*clean_sounds, sound(encode_wav(upsampled), file="odd.wav", speaker="voice9"))
    (finding,) = findings_of(report, "empty_band")
    assert finding.details == {"filled_to_hz": pytest.approx(4_000, abs=200), "half_sampling_rate_hz": 8_000}
    assert finding.clips[0].file == "odd.wav"


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty file"), (b"RIFF", "not readable"), (None, "the cell is empty")]
)
def test_clip_that_cannot_be_decoded_is_a_finding(audit_sounds, clean_sounds, findings_of, sound, content, reason):
    report = audit_sounds(*clean_sounds, sound(content, "laugh", "voice0", "train", "bad.wav"))
    (finding,) = findings_of(report, "undecodable")
    assert finding.message.startswith("bad.wav: ")
    assert reason in finding.message
    assert report.configs["default"].splits["train"].num_clips == 33


def test_all_clips_may_be_undecodable(audit_sounds, findings_of, sound):
    report = audit_sounds(sound(b"one"), sound(b"two", split="test", speaker="voice1"))
    assert len(findings_of(report, "undecodable")) == 2


def test_several_rates_and_channels_are_found(audit_sounds, clean_sounds, findings_of, sound, encode_as):
    noise = np.random.default_rng(0).standard_normal((48_000, 2)) * 0.1
    odd = sound(encode_as(noise, 48_000, container="WAV", subtype="PCM_16"), "laugh", "voice0", "train", "odd.wav")
    report = audit_sounds(*clean_sounds, odd)
    (rates,), (channels,) = (findings_of(report, f"several_{what}") for what in ("sampling_rates", "channel_counts"))
    assert rates.message == "16000 Hz (48 clips), 48000 Hz (1 clips)."
    assert channels.details == {"num_clips": {"1": 48, "2": 1}}
    assert [clip.file for clip in rates.clips] == [clip.file for clip in channels.clips] == ["odd.wav"]
