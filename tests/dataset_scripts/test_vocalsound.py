import hashlib
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import (
    CorpusError,
    Excluded,
    SplitError,
    corpus_builder,
    corpus_facts,
    load_corpus,
    manifest_digest,
)
from nvv.hub.dataset_repository import prepare_corpus

CORPUS = "vocalsound"
LABELS = ("laughter", "sigh", "cough", "throatclearing", "sneeze", "sniff")
# The class ids in the release's lists, as four public loaders give them.
MIDS = dict(zip(LABELS, ("/m/01j3sz", "/m/07plz5l", "/m/01b_21", "/m/0dl9sf8", "/m/01hsr_", "/m/07ppn3j"), strict=True))
SPEAKERS = {
    "tr": [f"{sex}{number:04d}" for number in range(3, 18) for sex in "fm"],  # 30 speakers
    "val": [f"f{number:04d}" for number in range(40, 45)],
    "te": [f"m{number:04d}" for number in range(50, 60)],
    None: ["f0070"],  # recorded, but in no list
}
NUM_LISTED = {"train": 31 * 6, "validation": 5 * 6, "test": 10 * 6}  # f0003 came twice
NOT_IN_COPY = [f"m0600_0_{label}" for label in LABELS]  # listed, but taken out as broken


def clip_names() -> list[str]:
    everybody = [speaker for part in SPEAKERS.values() for speaker in part]
    return [f"{speaker}_0_{label}" for speaker in everybody for label in LABELS] + [
        f"f0003_1_{label}" for label in LABELS
    ]


def write_lists(folder: Path, *, home: str = "/data/sls/audio_16k/") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("tr", "val", "te"):
        names = [name for name in clip_names() if name.partition("_")[0] in SPEAKERS[part]]
        names += NOT_IN_COPY if part == "tr" else []
        entries = [{"spk_id": n[:5], "wav": f"{home}{n}.wav", "labels": MIDS[n.rpartition("_")[2]]} for n in names]
        (folder / f"{part}.json").write_text(json.dumps({"data": entries}, indent=1))


def write_tables(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("tr", "val", "te"):
        rows = [f'{s},{"fe" * (s[0] == "f")}male,{20 + int(s[1:])},USA,"English, Welsh",no' for s in SPEAKERS[part]]
        (folder / f"{part}_meta.csv").write_text("\n".join(rows) + "\n")


def build_release(root: Path, *, reverse: bool = False, audio: str = "audio_16k", ending: str = ".wav") -> Path:
    (root / audio).mkdir(parents=True)
    for number, name in sorted(enumerate(clip_names()), reverse=reverse):
        (root / audio / f"{name}{ending}").write_bytes(encode_wav(np.full(50, number / 1000)))
    write_lists(root / "datafiles")
    write_tables(root / "meta")
    (root / "class_labels_indices_vs.csv").write_text("index,mid,display_name\n")
    (root / "readme.txt").write_text("the release's own")
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """The release's layout in small; not to be changed."""
    return build_release(tmp_path_factory.mktemp("raw") / "vs_release_16k")


@pytest.fixture
def collect(build):
    def collect(folder):
        builder = build(folder)
        return builder, builder.collect_clips()

    return collect


def test_default_config_is_the_official_split(load):
    loaded = load()
    assert loaded.num_rows == NUM_LISTED
    speakers = {split: {row["speaker_id"] for row in loaded[split]} for split in loaded}
    assert speakers == {
        "train": set(SPEAKERS["tr"]),
        "validation": set(SPEAKERS["val"]),
        "test": set(SPEAKERS["te"]),
    }


def test_file_name_and_tables_become_columns(load, rows_of, release):
    rows = rows_of(load())
    row = rows["f0003_1_throatclearing.wav"]
    content = (release / "audio_16k" / "f0003_1_throatclearing.wav").read_bytes()
    assert row.pop("audio") == {"bytes": content, "path": "f0003_1_throatclearing.wav"}
    assert row == {
        "label": 3,
        "file": "f0003_1_throatclearing.wav",
        "speaker_id": "f0003",
        "sex": "female",
        "session": 1,
        "age": 23,
        "country": "USA",
        "native_language": "English, Welsh",
        "health_condition": "no",
    }
    assert rows["m0004_0_laughter.wav"]["sex"] == "male"


def test_labels_are_in_the_order_of_the_paper(load, rows_of):
    assert load()["train"].features["label"].names == list(LABELS)
    counts = Counter(row["label"] for row in rows_of(load("speaker")).values())
    assert counts == dict.fromkeys(range(6), 47)  # 46 speakers, one of them twice


@pytest.mark.parametrize("config", ["speaker", "fold_0", "fold_9"])
def test_no_speaker_is_in_two_splits(load, config):
    loaded = load(config)
    assert sum(loaded.num_rows.values()) == 47 * 6  # with the clips that no list has
    speakers = [{row["speaker_id"] for row in split} for split in loaded.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 46
    assert all({row["label"] for row in split} == set(range(6)) for split in loaded.values())


def test_bytes_are_unchanged(load, rows_of, release):
    for file, row in rows_of(load("stratified")).items():
        raw = (release / "audio_16k" / file).read_bytes()
        assert hashlib.sha256(row["audio"]["bytes"]).digest() == hashlib.sha256(raw).digest()


def test_listed_files_that_are_not_there_are_left_out_for_a_reason(collect, release):
    builder, clips = collect(release)
    assert builder.excluded == [
        Excluded(file=f"{name}.wav", reason="listed in datafiles/tr.json, but not in this copy")
        for name in sorted(NOT_IN_COPY)
    ]
    assert len(clips) == 47 * 6
    assert [clip.file for clip in clips if clip.split is None] == sorted(f"f0070_0_{label}.wav" for label in LABELS)


def test_corpus_is_the_same_in_every_order_layout_and_rate(collect, release, tmp_path):
    builder, expected = collect(release)
    digests = {name: manifest_digest(builder.split_clips(expected, name)) for name in builder.builder_configs}
    other = build_release(tmp_path / "above" / "release", reverse=True, audio="data_44k")
    (other / "__MACOSX").mkdir()
    for junk in ("__MACOSX/._f0003_0_cough.wav", "data_44k/._f0003_0_cough.wav", "data_44k/.DS_Store"):
        (other / junk).write_bytes(b"resource fork")
    (other / "data_44k" / "stray.csv").write_text("file,label\n")
    for folder in (other.parent, other, other / "data_44k"):
        found_builder, found = collect(folder)
        assert found == expected
        assert {name: manifest_digest(found_builder.split_clips(found, name)) for name in digests} == digests


def test_corpus_is_the_same_from_the_archive(collect, release, tmp_path):
    # As downloaded: the folders lie at the top of the archive.
    archive = shutil.make_archive(str(tmp_path / "vs_release_16k"), "zip", root_dir=release)
    builder, clips = collect(archive)
    original, expected = collect(release)
    assert clips == expected
    assert builder.excluded == original.excluded
    assert builder.read_clip(clips[0]) == original.read_clip(expected[0])


def test_upper_case_endings_are_read(collect, tmp_path):
    _, clips = collect(build_release(tmp_path / "release", ending=".WAV"))
    assert len(clips) == 47 * 6
    assert Counter(clip.split for clip in clips) == {**NUM_LISTED, None: 6}


def test_lists_may_carry_foreign_paths_and_the_44k_names(collect, changed, release):
    shutil.rmtree(changed / "datafiles")
    write_lists(changed / "datafiles", home="D:\\data\\audio_16k\\")
    for path in list((changed / "datafiles").iterdir()):
        path.rename(path.with_name(f"{path.stem}_rev.json"))
    assert collect(changed)[1] == collect(release)[1]


def test_both_rates_in_one_folder_are_refused_until_one_is_named(collect, changed):
    shutil.copytree(changed / "audio_16k", changed / "audio_44k")
    with pytest.raises(CorpusError, match=r"audio_16k.*audio_44k.*name the one to use"):
        collect(changed)
    assert len(collect(changed / "audio_44k")[1]) == 47 * 6


def test_copy_without_lists_and_tables_has_all_but_the_official_config(rows_of, changed, tmp_path):
    shutil.rmtree(changed / "datafiles")
    shutil.rmtree(changed / "meta")
    with pytest.raises(SplitError, match="No clip of this copy of vocalsound has an official split"):
        load_corpus("vocalsound", data_dir=changed, config="official", cache_dir=tmp_path / "cache")
    rows = rows_of(load_corpus("vocalsound", data_dir=changed, config="speaker", cache_dir=tmp_path / "cache"))
    assert len(rows) == 47 * 6
    columns = ("age", "country", "native_language", "health_condition")
    assert {row[column] for row in rows.values() for column in columns} == {None}


def test_tables_may_have_a_header_and_empty_cells(collect, changed):
    path = changed / "meta" / "val_meta.csv"
    path.write_text("spk_id,gender,age,country,native language,health\nf0040,female,,USA,,no\n", encoding="utf-8-sig")
    metadata = {clip.speaker_id: clip.metadata for clip in collect(changed)[1]}
    assert metadata["f0040"] == {
        "sex": "female",
        "session": 0,
        "age": None,
        "country": "USA",
        "native_language": None,
        "health_condition": "no",
    }
    assert metadata["f0041"]["country"] is None  # no longer in a table
    assert metadata["f0070"]["age"] is None  # never was


@pytest.mark.parametrize(
    "content",
    [
        [["f0040", "female", 31, "India", "Hindi", "cold"]],
        {"data": [{"spk": "f0040", "sex": "female", "age": 31.0, "country": "India", "lang": "Hindi", "ill": "cold"}]},
    ],
)
def test_tables_may_be_json(collect, changed, content):
    (changed / "meta" / "all_meta.json").write_text(json.dumps(content))
    metadata = next(clip.metadata for clip in collect(changed)[1] if clip.speaker_id == "f0040")
    facts = ("age", "country", "native_language", "health_condition")
    assert [metadata[name] for name in facts] == [31, "India", "Hindi", "cold"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cough1.wav", "not <sex><four digits>_<session>_<label>.wav"),
        ("F0003_0_cough.wav", "not <sex>"),
        ("x0003_0_cough.wav", "not <sex>"),
        ("f003_0_cough.wav", "not <sex>"),
        ("f0003_cough.wav", "not <sex>"),
        ("f0003_0_throat-clearing.wav", "not <sex>"),
        ("more/f0003_0_cough.wav", "not <sex>"),
        ("f0003_0_yawn.wav", "label 'yawn', expected one of laughter, sigh, cough, throatclearing, sneeze, sniff"),
        ("f0003_0_cough.WAV", "the same clip as"),
    ],
)
def test_name_is_refused_and_named_when(collect, changed, name, message):
    path = changed / "audio_16k" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode_wav(np.zeros(50)))
    with pytest.raises(CorpusError) as caught:
        collect(changed)
    assert str(caught.value).startswith((f"{name}: ", "f0003_0_cough.wav: the same"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("datafiles/te.json", "{", r"^datafiles/te\.json: not valid JSON"),
        ("datafiles/te.json", '{"clips": []}', r'^datafiles/te\.json: expected a list under "data"'),
        ("datafiles/te.json", '{"data": [{"path": "a.wav"}]}', r"^datafiles/te\.json: entry .* under 'wav'"),
        (
            "datafiles/te.json",
            '{"data": [{"wav": "f0003_0_cough.wav"}]}',
            r"^f0003_0_cough\.wav: in datafiles/tr\.json and in datafiles/te\.json",
        ),
        ("meta/te_meta.csv", "m0050,male,31,USA,English\n", r"^meta/te_meta\.csv: row 1 is .*, expected speaker"),
        ("meta/te_meta.csv", "m0050,male,31,USA,English,no\nEve,,,,,\n", r"^meta/te_meta\.csv: row 2 is"),
        ("meta/te_meta.csv", "m0050,male,old,USA,English,no\n", r"^meta/te_meta\.csv: row 1: the age is 'old'"),
        ("meta/te_meta.csv", b"m0050,male,31,C\xf4te,English,no\n", r"^meta/te_meta\.csv: not UTF-8 text"),
        ("meta/te_meta.json", "[[", r"^meta/te_meta\.json: not valid JSON"),
    ],
)
def test_damaged_list_or_table_is_refused_and_named_when(collect, changed, file, content, message):
    (changed / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError, match=message):
        collect(changed)


def test_broken_clip_is_refused_and_left_out_on_request(changed, tmp_path):
    path = changed / "audio_16k" / "m0004_0_sniff.wav"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AudioError, match=r"^m0004_0_sniff\.wav: cut off"):
        prepare_corpus("vocalsound", data_dir=changed, output_dir=tmp_path / "out")
    written = prepare_corpus("vocalsound", data_dir=changed, output_dir=tmp_path / "out", skip_bad_audio=True)
    assert written.num_clips == 47 * 6 - 1
    assert [file for file, _ in written.skipped] == ["m0004_0_sniff.wav"]


def test_folder_without_the_corpus_is_refused_with_the_layout(collect, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(CorpusError, match="expected a folder audio_16k, audio_44k or data_44k of WAV files"):
        collect(tmp_path / "other")


def test_facts_allow_public_copies_under_the_same_licence():
    facts = corpus_facts("vocalsound")
    assert (facts.licence, facts.no_public_copies, facts.terms) == ("cc-by-sa-4.0", "", "")
    assert "CC BY-SA 4.0" in facts.obtain


def test_download_is_the_authors_archive_with_a_checksum():
    (download,) = corpus_builder("vocalsound").DOWNLOADS
    assert (download.filename, download.url.startswith("https://")) == ("vs_release_16k.zip", True)
    assert re.fullmatch("sha256:[0-9a-f]{64}", download.checksum)


def test_script_loads_the_classic_way(release, load_classically):
    loaded = load_classically(CORPUS, release)
    assert loaded.num_rows == NUM_LISTED
