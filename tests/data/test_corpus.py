import dataclasses
import os
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets.exceptions import DatasetGenerationError

from nvv.audio import AudioError, encode_wav
from nvv.data import CorpusConfig, CorpusError, Excluded, SplitError, configs, corpus


def loaded(builder) -> datasets.DatasetDict:
    builder.download_and_prepare()
    return builder.as_dataset().cast_column("audio", datasets.Audio(decode=False))


def rows(dataset: datasets.DatasetDict) -> dict[str, tuple[str, dict]]:
    return {row["file"]: (split, row) for split in dataset for row in dataset[split]}


def cached_files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_corpus_keeps_bytes_and_columns(build_birdsong, raw_birdsong):
    dataset = loaded(build_birdsong())
    assert list(dataset) == ["train", "validation", "test"]
    assert list(dataset["train"].features) == ["audio", "label", "file", "speaker_id", "number"]
    assert dataset["train"].features["label"].names == ["trill", "call"]
    found = rows(dataset)
    assert len(found) == 30
    for file, (_, row) in found.items():
        assert row["audio"] == {"bytes": (raw_birdsong / file).read_bytes(), "path": file}
    assert found["call/bird3-2.wav"][1] | {"audio": None} == {
        "audio": None,
        "label": 1,
        "file": "call/bird3-2.wav",
        "speaker_id": "bird3",
        "number": 2,
    }


@pytest.mark.parametrize("config", ["speaker", "stratified"])
def test_every_split_holds_every_class(build_birdsong, config):
    dataset = loaded(build_birdsong(config))
    for split in dataset.values():
        assert set(split["label"]) == {0, 1}
        assert split["file"] == sorted(split["file"])


def test_speakers_are_apart_in_the_default_config(birdsong_class, raw_birdsong, tmp_path):
    builder = birdsong_class(cache_dir=str(tmp_path / "cache"), data_dir=str(raw_birdsong))
    assert builder.config.name == "speaker"
    speakers = [set(split["speaker_id"]) for split in loaded(builder).values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 10


def test_building_stops_with_name_and_reason_when_a_clip_is_cut_off(build_birdsong, raw_birdsong, tmp_path):
    path = raw_birdsong / "trill" / "bird4-1.wav"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DatasetGenerationError) as caught:
        build_birdsong().download_and_prepare()
    assert isinstance(caught.value.__cause__, AudioError)
    assert str(caught.value.__cause__).startswith("trill/bird4-1.wav: cut off")
    assert cached_files(tmp_path / "cache") == []


def test_bad_clips_are_left_out_and_listed_when_asked(build_birdsong, raw_birdsong):
    before = {file: split for file, (split, _) in rows(loaded(build_birdsong())).items()}
    (raw_birdsong / "trill" / "bird4-1.wav").write_bytes(b"")
    (raw_birdsong / "call" / "bird0-2.wav").write_bytes(b"no audio")
    builder = build_birdsong(skip_bad_audio=True)
    after = {file: split for file, (split, _) in rows(loaded(builder)).items()}
    bad = {"trill/bird4-1.wav", "call/bird0-2.wav"}
    assert after == {file: split for file, split in before.items() if file not in bad}
    reasons = dict(builder.skipped)
    assert set(reasons) == bad
    assert reasons["trill/bird4-1.wav"] == "empty file (0 bytes)."


def test_corpus_is_built_anew_when_raw_files_change(build_birdsong, raw_birdsong):
    first = loaded(build_birdsong())
    assert build_birdsong().config_id == build_birdsong().config_id
    path = raw_birdsong / "call" / "bird0-2.wav"
    content = encode_wav(np.full(999, 0.2))
    path.write_bytes(content)
    assert rows(loaded(build_birdsong()))["call/bird0-2.wav"][1]["audio"]["bytes"] == content
    assert rows(first)["call/bird0-2.wav"][1]["audio"]["bytes"] != content


def test_corpus_is_built_anew_when_the_code_changes(build_birdsong, monkeypatch):
    before = build_birdsong().config_id
    monkeypatch.setattr(configs, "code_digest", lambda: "other")
    assert build_birdsong().config_id != before


def test_code_digest_covers_splits_and_audio(monkeypatch):
    read = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self.name) or original(self))
    configs.code_digest.__wrapped__()
    assert {"audio.py", "splits.py", "corpus.py", "synthesis.py"} <= set(read)


def test_table_order_does_not_depend_on_modification_order(build_birdsong, raw_birdsong):
    builder = build_birdsong()
    expected = [clip.file for clip in builder.collect_clips()]
    for position, path in enumerate(sorted(raw_birdsong.rglob("*.wav"), reverse=True)):
        os.utime(path, (position, position))
    assert [clip.file for clip in build_birdsong().collect_clips()] == expected == sorted(expected)


def test_data_dir_is_asked_for_when_missing(build_birdsong):
    with pytest.raises(CorpusError, match=r"birdsong needs data_dir.*one folder of WAV files per class.*Ask the birds"):
        build_birdsong(data_dir=None).collect_clips()


def test_unknown_config_is_refused(build_birdsong):
    with pytest.raises(ValueError, match=r"speaker.*stratified"):
        build_birdsong("random")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "quack"}, "unknown label 'quack'"),
        ({"label": None}, "unknown label None"),
        ({"speaker_id": ""}, "no speaker"),
        ({"metadata": {}}, r"metadata \[\], expected \['number'\]"),
    ],
)
def test_clip_is_refused_when_described_wrongly(build_birdsong, monkeypatch, change, message):
    builder = build_birdsong()
    clips = builder.collect_clips()
    clips[5] = dataclasses.replace(clips[5], **change)
    monkeypatch.setattr(type(builder), "list_clips", lambda *_: clips)
    with pytest.raises(CorpusError, match=f"{clips[5].file}: {message}"):
        builder.collect_clips()


def test_clip_is_refused_when_listed_twice(build_birdsong, monkeypatch):
    builder = build_birdsong()
    clips = builder.collect_clips()
    monkeypatch.setattr(type(builder), "list_clips", lambda *_: [*clips, clips[0]])
    with pytest.raises(CorpusError, match="listed twice"):
        builder.collect_clips()


def test_clip_without_a_file_is_an_error_that_names_it(build_birdsong, raw_birdsong):
    builder = build_birdsong()
    clips = builder.collect_clips()
    (builder.root / clips[0].file).unlink()
    with pytest.raises(AudioError, match=f"{clips[0].file}: cannot be read"):
        list(builder.read_clips(clips, skip_bad_audio=False))


def test_corpus_can_have_targets_and_an_official_split_instead_of_speakers(birdsong_class, raw_birdsong, tmp_path):
    class Rated(birdsong_class):
        ALLOW_MISSING_LABELS = True
        SPEAKERS_ARE_KNOWN = False
        TARGETS = ("awe", "calm")
        BUILDER_CONFIGS = [  # noqa: RUF012
            CorpusConfig(name="feeling", protocol="official", with_label=False, targets=("awe",)),
            CorpusConfig(name="kind", protocol="official"),
        ]
        DEFAULT_CONFIG_NAME = "feeling"

        def list_clips(self, root):
            for clip in super().list_clips(root):
                number = clip.metadata["number"]
                split = ("train", "validation", None)[number] if clip.speaker_id != "bird0" else "test"
                targets = {"awe": None if split == "test" else number / 2, "calm": 1.0}
                label = None if split == "test" else clip.label
                yield dataclasses.replace(clip, speaker_id=None, label=label, targets=targets, split=split)

    def build(config):
        return Rated(cache_dir=str(tmp_path / "cache"), config_name=config, data_dir=str(raw_birdsong))

    dataset = loaded(build(None))
    # Birds 1 to 9: clip 0 trains, clip 1 validates, clip 2 is in no split; bird 0 tests with all three.
    assert dataset.num_rows == {"train": 9, "validation": 9, "test": 3}
    assert list(dataset["train"].features) == ["audio", "awe", "file", "speaker_id", "number"]
    assert dataset["test"]["awe"] == [None] * 3
    assert dataset["validation"]["awe"] == [0.5] * 9
    assert set(dataset["train"]["speaker_id"]) == {None}
    kind = loaded(build("kind"))
    assert list(kind["train"].features) == ["audio", "label", "file", "speaker_id", "number"]
    assert kind["test"]["label"] == [None] * 3
    builder = build("kind")
    assert list(builder.table_features()) == ["audio", "label", "awe", "calm", "file", "speaker_id", "number"]
    with pytest.raises(SplitError, match=r"does not say who made call/bird0-2\.wav"):
        builder.split_clips(builder.collect_clips(), "speaker")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"targets": {"awe": 1.0}}, r"targets \['awe'\], expected \[\]"), ({"split": "dev"}, "unknown split 'dev'")],
)
def test_clip_is_refused_when_targets_or_split_are_wrong(build_birdsong, monkeypatch, change, message):
    builder = build_birdsong()
    clips = builder.collect_clips()
    clips[0] = dataclasses.replace(clips[0], **change)
    monkeypatch.setattr(type(builder), "list_clips", lambda *_: clips)
    with pytest.raises(CorpusError, match=f"{clips[0].file}: {message}"):
        builder.collect_clips()


def test_excluded_files_are_kept_apart(build_birdsong, monkeypatch):
    builder = build_birdsong()
    clips = builder.collect_clips()
    left_out = [Excluded(file="z.wav", reason="a frog"), Excluded(file="a.wav", reason="a frog")]
    monkeypatch.setattr(type(builder), "list_clips", lambda *_: [left_out[0], *clips, left_out[1]])
    assert builder.collect_clips() == clips
    assert builder.collect_clips() == clips
    assert [entry.file for entry in builder.excluded] == ["a.wav", "z.wav"]
    monkeypatch.setattr(type(builder), "list_clips", lambda *_: left_out)
    with pytest.raises(CorpusError, match=r"no clips found \(a frog\)"):
        builder.collect_clips()


def test_folds_test_each_bird_once_and_keep_birds_apart(build_birdsong):
    tested = []
    for fold in range(10):
        dataset = loaded(build_birdsong(f"fold_{fold}"))
        birds = {split: set(dataset[split]["speaker_id"]) for split in dataset}
        assert {split: len(names) for split, names in birds.items()} == {"train": 8, "validation": 1, "test": 1}
        assert len(set.union(*birds.values())) == 10
        tested += birds["test"]
    assert sorted(tested) == sorted(f"bird{number}" for number in range(10))


def test_folds_are_random_where_speakers_say_nothing(birdsong_class, raw_birdsong, tmp_path, monkeypatch):
    monkeypatch.setattr(birdsong_class, "FOLDS_BY_SPEAKER", False)
    builder = birdsong_class(cache_dir=str(tmp_path / "cache"), config_name="fold_0", data_dir=str(raw_birdsong))
    dataset = loaded(builder)
    assert dataset.num_rows == {"train": 24, "validation": 3, "test": 3}
    assert set(dataset["train"]["speaker_id"]) & set(dataset["test"]["speaker_id"])


def test_folds_are_refused_when_there_are_fewer_speakers(build_birdsong, raw_birdsong):
    for path in raw_birdsong.rglob("bird9-*.wav"):
        path.unlink()
    builder = build_birdsong("fold_0")
    with pytest.raises(SplitError, match="10 parts need at least 10 speakers, found 9"):
        builder.split_clips(builder.collect_clips(), "fold_0")


def test_tables_hold_at_most_64_clips(build_birdsong, monkeypatch):
    monkeypatch.setattr(corpus, "_CLIPS_PER_TABLE", 8)
    builder = build_birdsong()
    tables = [table for _, table in builder._generate_tables(builder.collect_clips())]
    assert [len(table) for table in tables] == [8, 8, 8, 6]
    monkeypatch.setattr(corpus, "_BYTES_PER_TABLE", 1)
    assert {len(table) for _, table in builder._generate_tables(builder.collect_clips())} == {1}


def test_two_processes_build_the_same_as_one(build_birdsong, tmp_path):
    expected = rows(loaded(build_birdsong()))
    builder = build_birdsong(cache_dir=str(tmp_path / "other"))
    builder.download_and_prepare(num_proc=2)
    assert rows(loaded(builder)) == expected
