import datasets
import pytest

from nvv.audio import encode_wav
from nvv.data import CorpusError
from nvv.data.audit import Columns, audit_configs, audit_dataset
from nvv.data.audit import clips as clips_module
from nvv.data.audit.clips import Clips


def test_columns_may_have_other_names(make_dataset, clean_sounds):
    dataset = make_dataset(clean_sounds).rename_columns(
        {"audio": "recording", "label": "emotion", "speaker_id": "participant", "file": "name"}
    )
    columns = Columns(audio="recording", label="emotion", speaker="participant", file="name")
    report = audit_dataset(dataset, columns=columns, num_workers=1)
    split = report.configs["default"].splits["test"]
    assert (split.num_speakers, split.labels["laugh"]) == (1, 1)
    assert report.configs["default"].rows[0].clip.file == clean_sounds[0].file


@pytest.mark.parametrize("role", ["audio", "label", "speaker", "file"])
def test_column_that_was_named_must_be_there(make_dataset, clean_sounds, role):
    with pytest.raises(CorpusError, match=rf"no column 'colour' with the {role}; there are audio, .*--{role}-column"):
        audit_dataset(make_dataset(clean_sounds[:2]), columns=Columns(**{role: "colour"}))


def test_clips_are_numbered_when_they_have_no_names(make_dataset, clean_sounds):
    dataset = make_dataset(clean_sounds[:2]).remove_columns(["file", "speaker_id"])
    rows = audit_dataset(dataset, num_workers=1).configs["default"].rows
    assert [row.clip.file for row in rows] == ["train[0]", "train[1]"]
    assert rows[0].clip.speaker_id is None


def test_audio_may_lie_in_files(tmp_path, voice):
    (tmp_path / "laugh.wav").write_bytes(encode_wav(voice("laugh")))
    paths = [str(tmp_path / "laugh.wav"), str(tmp_path / "missing.wav")]
    dataset = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"audio": paths})})
    report = audit_dataset(dataset, num_workers=1)
    assert [finding.message for finding in report.findings] == ["train[1]: cannot be read (No such file or directory)"]
    assert len(report.durations_s) == 1


def test_dataset_without_clips_is_an_error(make_dataset, clean_sounds):
    empty = make_dataset(clean_sounds)["train"].select([])
    with pytest.raises(CorpusError, match="holds no clips"):
        audit_dataset({"train": empty})


def test_result_does_not_depend_on_the_number_of_threads(make_dataset, clean_sounds):
    dataset = make_dataset(clean_sounds)
    one, four = (Clips(num_workers=number) for number in (1, 4))
    assert one.add(dataset, config="default") == four.add(dataset, config="default")
    assert list(one.measures) == list(four.measures)
    assert [found.samples_digest for found in one.measures.values()] == [
        found.samples_digest for found in four.measures.values()
    ]


def test_clip_in_several_configs_is_decoded_once(make_dataset, clean_sounds, monkeypatch):
    decoded = []
    measure = clips_module.measure_clip
    monkeypatch.setattr(
        clips_module, "measure_clip", lambda content, *, name: decoded.append(name) or measure(content, name=name)
    )
    dataset = make_dataset(clean_sounds)
    swapped = datasets.DatasetDict({"train": dataset["test"], "test": dataset["train"]})
    report = audit_configs([("first", dataset), ("second", swapped)], name="twice", num_workers=1)
    assert sorted(decoded) == sorted(one.file for one in clean_sounds)
    assert report.configs["second"].splits["test"].num_clips == 32
    assert not report.leaks


def test_configs_after_the_first_need_no_audio_when_files_identify_clips(make_dataset, clean_sounds, findings_of):
    dataset = make_dataset(clean_sounds)
    names_only = datasets.DatasetDict({"train": dataset["train"], "test": dataset["train"]}).remove_columns("audio")
    report = audit_configs(
        [("first", dataset), ("second", names_only)], name="twice", num_workers=1, files_identify_clips=True
    )
    assert not report.configs["first"].leaks
    assert report.configs["second"].leaks
    assert len([one for one in report.configs["second"].findings if one.kind == "identical_bytes"]) == 32
