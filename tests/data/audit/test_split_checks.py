import dataclasses

import datasets
import numpy as np
import pytest

from nvv.audio import encode_wav
from nvv.data.audit import ClipReference, Severity, audit_dataset
from nvv.data.audit.clips import Row
from nvv.data.audit.duplicates import NearDuplicate
from nvv.data.audit.measures import ClipMeasures
from nvv.data.audit.split_checks import check_copies

COPIES = ("identical_bytes", "identical_samples", "near_duplicate")


def test_clean_splits_have_no_findings(clean_report):
    (config,) = clean_report.configs.values()
    assert config.findings == ()
    assert clean_report.findings == ()
    assert not clean_report.leaks


def test_splits_are_counted(clean_report):
    (config,) = clean_report.configs.values()
    # Eight classes by four, one and one voices.
    assert {split: one.num_clips for split, one in config.splits.items()} == {"train": 32, "validation": 8, "test": 8}
    assert [one.num_speakers for one in config.splits.values()] == [4, 1, 1]
    assert config.splits["train"].labels["laugh"] == 4
    assert config.splits["test"].num_unknown_speakers == 0


def test_speaker_in_two_splits_is_a_leak(audit_sounds, clean_sounds, findings_of):
    moved = [dataclasses.replace(one, split="test") if one.file == "hum/voice2.wav" else one for one in clean_sounds]
    report = audit_sounds(*moved)
    (finding,) = findings_of(report, "shared_speaker")
    assert report.leaks
    assert finding.severity is Severity.LEAK
    assert finding.message == "Speaker voice2 has clips in train (7), test (1)."
    assert finding.details == {"speaker_id": "voice2", "num_clips": {"train": 7, "validation": 0, "test": 1}}
    assert [clip.file for clip in finding.clips if clip.split == "test"] == ["hum/voice2.wav"]


def test_unknown_speakers_cannot_be_checked(audit_sounds, clean_sounds, findings_of):
    nobody = [dataclasses.replace(one, speaker=None) for one in clean_sounds[::5]]
    report = audit_sounds(*nobody)
    (finding,) = findings_of(report, "speakers_unknown")
    assert not report.leaks
    assert "The speaker of any clip is not known" in finding.message
    assert "could not be checked" in finding.message
    assert findings_of(report, "shared_speaker") == []


def test_known_speakers_are_checked_where_others_are_unknown(audit_sounds, clean_sounds, findings_of):
    some = [dataclasses.replace(one, speaker=None if n == 0 else "voice7") for n, one in enumerate(clean_sounds)]
    report = audit_sounds(*some)
    assert "The speaker of 1 of 48 clips" in findings_of(report, "speakers_unknown")[0].message
    assert len(findings_of(report, "shared_speaker")) == 1


def test_speakers_need_not_be_known_when_there_is_one_split(audit_sounds, clean_sounds, findings_of):
    report = audit_sounds(*(dataclasses.replace(one, speaker=None, split="train") for one in clean_sounds[:5]))
    assert findings_of(report, "speakers_unknown") == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_copies_leak_across_splits_only(audit_sounds, clean_sounds, findings_of, sound, voice, encode_as, split):
    original = next(one for one in clean_sounds if one.file == "gasp/voice1.wav")  # in train
    waveform = voice("gasp", 1)
    copies = {
        "identical_bytes": original.content,
        "identical_samples": encode_as(
            np.clip(np.rint(waveform * 32767), -32768, 32767) / 32768, container="FLAC", subtype="PCM_16"
        ),
        "near_duplicate": encode_wav(np.pad(0.5 * waveform, (9_000, 0))),
    }
    for kind, content in copies.items():
        report = audit_sounds(*clean_sounds, sound(content, "gasp", None, split, "copy.wav"))
        (finding,) = findings_of(report, kind)
        assert [(clip.file, clip.split) for clip in finding.clips] == [
            ("gasp/voice1.wav", "train"),
            ("copy.wav", split),
        ]
        assert finding.severity is (Severity.WARNING if split == "train" else Severity.LEAK)
        assert report.leaks == (split == "test")
        assert sum(len(findings_of(report, other)) for other in COPIES) == 1
        assert findings_of(report, "label_conflict") == []


def test_near_duplicate_says_how_alike_the_copies_are(audit_sounds, clean_sounds, findings_of, sound, voice):
    copy = sound(encode_wav(np.pad(voice("laugh", 0), (8_000, 0))), "laugh", "voice0", "train", "copy.wav")
    (finding,) = findings_of(audit_sounds(*clean_sounds, copy), "near_duplicate")
    (pair,) = finding.details["pairs"]
    assert (pair["first"], pair["second"]) == ("laugh/voice0.wav", "copy.wav")
    assert pair["lag_s"] == pytest.approx(0.5, abs=0.017)
    assert pair["correlation"] > 0.95
    assert f"correlation {pair['correlation']:.2f}" in finding.message


def test_chain_of_copies_is_one_finding(audit_sounds, clean_sounds, findings_of, sound, voice):
    waveform = voice("moan", 3)
    copies = [sound(encode_wav(gain * waveform), "moan", "voice3", "train", f"{gain}.wav") for gain in (0.3, 0.5, 0.7)]
    (finding,) = findings_of(audit_sounds(*clean_sounds, *copies), "near_duplicate")
    assert {clip.file for clip in finding.clips} == {"moan/voice3.wav", "0.3.wav", "0.5.wav", "0.7.wav"}
    assert finding.message.startswith("The same recording 4 times within train")


def test_groups_of_copies_are_joined_whatever_the_order_of_the_pairs():
    rows = [Row(ClipReference(f"{name}.wav", "train", "laugh", None), name) for name in "abcdef"]
    measures = {name: ClipMeasures(samples_digest=f"samples of {name}") for name in "abcdef"}
    alike = NearDuplicate(first=0, second=1, lag_s=0.0, bit_error_rate=0.1, correlation=0.9, shared=1.0)
    pairs = [("a", "b", alike), ("c", "d", alike), ("b", "d", alike)]  # e and f stand alone
    (finding,) = check_copies(rows, measures, pairs)
    assert {clip.file for clip in finding.clips} == {"a.wav", "b.wav", "c.wav", "d.wav"}
    assert len(finding.details["pairs"]) == 3


def test_copies_with_different_labels_are_a_conflict(audit_sounds, clean_sounds, findings_of, sound):
    original = clean_sounds[0]
    copy = sound(original.content, "sigh", "voice0", "train", "copy.wav")
    (finding,) = findings_of(audit_sounds(*clean_sounds, copy), "label_conflict")
    assert finding.details == {"labels": sorted([original.label, "sigh"])}
    assert {clip.file for clip in finding.clips} == {original.file, "copy.wav"}


def test_copy_without_label_is_no_conflict(audit_sounds, clean_sounds, findings_of, sound):
    report = audit_sounds(*clean_sounds, sound(clean_sounds[0].content, None, "voice0", "train", "copy.wav"))
    assert findings_of(report, "label_conflict") == []


def test_class_missing_from_a_split_is_found(audit_sounds, clean_sounds, findings_of):
    kept = [one for one in clean_sounds if not (one.split == "test" and one.label in {"cry", "hum"})]
    (finding,) = findings_of(audit_sounds(*kept), "missing_class")
    assert finding.details == {"split": "test", "labels": ["cry", "hum"]}
    assert finding.message == "test has no clip of cry, hum."


def test_missing_labels_are_found(audit_sounds, clean_sounds, findings_of):
    some = [dataclasses.replace(one, label=None) if one.split == "test" else one for one in clean_sounds]
    report = audit_sounds(*some)
    (finding,) = findings_of(report, "missing_label")
    assert finding.message == "8 of 8 clips in test have no label."
    assert len(finding.clips) == 8
    # A test split whose labels are withheld lacks no class.
    assert findings_of(report, "missing_class") == []


def test_classes_are_not_checked_when_there_is_no_label_column(make_dataset, clean_sounds, findings_of):
    dataset = make_dataset(clean_sounds).remove_columns("label")
    report = audit_dataset(dataset, num_workers=1)
    assert findings_of(report, "missing_label") == findings_of(report, "missing_class") == []
    assert report.configs["default"].label_names is None


def test_text_labels_are_classes(make_dataset, clean_sounds, findings_of):
    kept = [one for one in clean_sounds if one.label in {"laugh", "cry"} and (one.split, one.label) != ("test", "cry")]
    dataset = make_dataset(kept)
    names = dataset["train"].features["label"].names
    dataset = datasets.DatasetDict(
        {
            split: rows.remove_columns("label").add_column("label", [names[number] for number in rows["label"][:]])
            for split, rows in dataset.items()
        }
    )
    report = audit_dataset(dataset, num_workers=1)
    assert report.configs["default"].label_names == ("cry", "laugh")
    (finding,) = findings_of(report, "missing_class")
    assert finding.details == {"split": "test", "labels": ["cry"]}
