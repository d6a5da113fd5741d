import dataclasses
import json

import pytest
from matplotlib import image

from nvv.data.audit import KINDS, as_dict, as_markdown, summarize, write_report
from nvv.version import __version__


@pytest.fixture(scope="module")
def leaking_report(audit_sounds, clean_sounds, sound):
    """A speaker and a file in two splits, and a clip that cannot be decoded."""
    shared = sound(clean_sounds[0].content, clean_sounds[0].label, "voice0", "test", "copy.wav")
    return audit_sounds(*clean_sounds, shared, sound(b"", "cry", "voice1", "train", "bad|name.wav"), name="leaky")


def test_files_are_written(leaking_report, tmp_path):
    written = write_report(leaking_report, tmp_path / "new" / "folder")
    assert sorted(path.name for path in written) == ["report.json", "report.md", "report.png"]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(p.name for p in written)
    assert json.loads((tmp_path / "new/folder/report.json").read_text()) == json.loads(
        json.dumps(as_dict(leaking_report))
    )
    picture = image.imread(tmp_path / "new/folder/report.png")
    assert picture.shape[1] > picture.shape[0] > 500
    assert picture.std() > 0.05


def test_same_audit_writes_the_same_bytes(leaking_report, tmp_path):
    first, second = (write_report(leaking_report, tmp_path / name) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_nothing_half_written_is_left_when_writing_fails(leaking_report, tmp_path, monkeypatch):
    from nvv.data.audit import report as module

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(module, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(leaking_report, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.png"]


def test_json_has_the_documented_schema(leaking_report):
    content = as_dict(leaking_report)
    assert list(content) == [
        "schema_version", "nvv_version", "dataset", "leaks", "num_clips", "configs", "findings", "sound", "kinds",
    ]  # fmt: skip
    assert (content["schema_version"], content["nvv_version"], content["dataset"]) == (1, __version__, "leaky")
    assert content["leaks"] is True
    assert content["num_clips"] == 49  # 48 clean ones and the bad one; the copy is the same file
    config = content["configs"]["default"]
    assert list(config) == ["leaks", "has_labels", "splits", "findings"]
    assert list(config["splits"]["train"]) == [
        "num_clips", "duration_s", "num_speakers", "num_unknown_speakers", "labels",
    ]  # fmt: skip
    for finding in config["findings"] + content["findings"]:
        assert list(finding) == ["kind", "severity", "message", "clips", "details"]
        assert finding["kind"] in content["kinds"]
        assert finding["severity"] in {"leak", "warning", "note"}
        assert all(list(clip) == ["file", "split", "label", "speaker_id"] for clip in finding["clips"])
    assert list(content["kinds"]) == list(KINDS)
    assert content["sound"]["sampling_rates"] == {"16000": 48}


def test_json_findings_name_clips(leaking_report):
    (copies,) = [
        one for one in as_dict(leaking_report)["configs"]["default"]["findings"] if one["kind"] == "identical_bytes"
    ]
    assert {"file": "copy.wav", "split": "test", "label": "laugh", "speaker_id": "voice0"} in copies["clips"]


def test_markdown_states_verdict_counts_and_findings(leaking_report):
    text = as_markdown(leaking_report)
    assert text.startswith("# Audit of leaky\n")
    assert "| default | train 33, validation 8, test 9 | **yes** | 1 | 1 | 0 | 0 |" in text
    assert "## Splits of `default`: LEAKS" in text
    assert "### Speakers in more than one split (1)" in text
    assert "| laugh | 4 | 1 | 2 |" in text
    assert "| warning | bad\\|name.wav: empty file (0 bytes). | bad\\|name.wav (train, cry, voice1) |" in text
    assert "(report.png)" in text


def test_markdown_says_that_nothing_was_found(clean_report):
    text = as_markdown(clean_report)
    assert text.count("No findings.") == 2
    assert "| default | train 32, validation 8, test 8 | no | 0 | 0 | 0 | 0 |" in text


def test_markdown_cuts_long_lists_and_says_so(clean_report):
    (config,) = clean_report.configs.values()
    clips = tuple(row.clip for row in config.rows)
    from nvv.data.audit import Finding, Severity

    many = tuple(
        Finding(kind="clipping", severity=Severity.NOTE, message=f"Number {number}.", clips=clips)
        for number in range(25)
    )
    text = as_markdown(dataclasses.replace(clean_report, findings=many))
    assert "Number 19." in text
    assert "Number 20." not in text
    assert "and 5 more, in report.json" in text
    assert "and 42 more" in text  # clips in a row


def test_markdown_says_that_speakers_are_not_known(audit_sounds, clean_sounds):
    nobody = [dataclasses.replace(one, speaker=None) for one in clean_sounds[::9]]
    text = as_markdown(audit_sounds(*nobody))
    assert "no leak found, but speakers could not be checked" in text
    assert "| not known |" in text


def test_summary_has_a_line_for_each_kind(leaking_report):
    lines = summarize(leaking_report).splitlines()
    assert lines[0] == "leaky, config default (33 train, 8 validation, 9 test): LEAKS"
    assert "  LEAK: speakers in more than one split (1)" in lines
    assert "  LEAK: identical files (1)" in lines
    assert "  warning: clips that cannot be decoded (1)" in lines
