import csv
import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import CorpusError, corpus_builder, corpus_facts, manifest_digest
from nvv.hub.dataset_repository import prepare_corpus

CORPUS = "asvp_esd_babies"

# Clips of each code by each actor number: cries everywhere, the other five where the real release has them.
NUMBERS = {
    "50": {"04": 60, "03": 20},
    "150": {"04": 150, "03": 20, "06": 9, "02": 1},
    "200": {"01": 6, "02": 12, "03": 7, "04": 14, "06": 1, "11": 2},
}
LABELS = {
    "01": "boredom_sigh",
    "02": "neutral_calm",
    "03": "happy_laugh_gaggle",
    "04": "sad_cry",
    "06": "fearful_scream_panic",
    "11": "pain_groan",
}
IRREGULAR = {  # file: some of its columns; what the real release has, on other names
    "Bonus/actor_150/03-02-04-01-52-150-04-01-00-14 -71.wav": {"first_extra": "14 ", "extra_fields": "14 -71"},
    "Bonus/actor_50/03-02-04-01-09-50-04-01-00-14-77-71.wav": {"noise": False, "extra_fields": "14-77-71"},
    "Bonus/actor_50/03-02-04-01-09-50-0401-00-00-14-71.wav": {
        "age_code": "0401",
        "age": None,
        "source_code": "00",
        "source": None,
    },
    "Bonus/actor_50/03-02-04-02-09-50-05-02-00.wav": {"age_code": "05", "age": None, "first_extra": None},
    "Bonus/actor_200/03-01-04-01-09-200-02-02-04.wav": {"channel": "speech", "age": "20-64", "language_code": "04"},
}
UNKNOWN_EMOTION = "Bonus/actor_200/03-01-17-01-05-200-05-02-01-12.wav"


def regular_names() -> list[str]:
    """Names by the grammar; actor 200's clips of `neutral_calm` are speech, all others are not."""
    names = []
    for actor, numbers in NUMBERS.items():
        for code, number in numbers.items():
            channel = "01" if (actor, code) == ("200", "02") else "02"
            for item in range(1, number + 1):
                names.append(f"Bonus/actor_{actor}/03-{channel}-{code}-01-{item:02d}-{actor}-04-01-00-14.wav")
    return names


def build_release(root: Path, *, order: int = 1) -> Path:
    for number, name in list(enumerate([*regular_names(), *IRREGULAR, UNKNOWN_EMOTION]))[::order]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(50, number / 1_000)))
    other_half = root / "Audio" / "actor_8" / "03-02-03-01-01-08-02-02-02-13.wav"
    other_half.parent.mkdir(parents=True)
    other_half.write_bytes(b"no sound, and none of this corpus's business")
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """The release's layout in small: 302 regular clips, the irregular ones, one of code 17; not to be changed."""
    return build_release(tmp_path_factory.mktemp("raw") / "ASVP-ESD-Update")


def test_prepared_clips_are_those_of_the_release_unchanged(load, rows_of, release, prepared):
    rows = rows_of(load("speaker"))
    assert len(rows) == prepared.num_clips == 302 + len(IRREGULAR)
    for file, row in rows.items():
        content = (release / file).read_bytes()
        assert hashlib.sha256(row["audio"]["bytes"]).digest() == hashlib.sha256(content).digest()
    assert prepared.excluded == (("emotion code 17 is none of the corpus's 6", 1),)


def test_prepared_labels_and_channels_are_those_of_the_names(load, rows_of):
    dataset = load("stratified")
    names = dataset["train"].features["label"].names
    assert names == list(LABELS.values())
    rows = rows_of(dataset)
    expected = Counter()
    for numbers in NUMBERS.values():
        expected.update({LABELS[code]: number for code, number in numbers.items()})
    expected["sad_cry"] += len(IRREGULAR)
    assert Counter(names[row["label"]] for row in rows.values()) == expected
    assert Counter(row["channel"] for row in rows.values()) == {"speech": 13, "non-speech": 294}  # 12 + 1 irregular
    assert "sex" not in dataset["train"].column_names


def test_prepared_irregular_names_become_columns(load, rows_of):
    rows = rows_of(load("speaker"))
    for file, columns in IRREGULAR.items():
        assert {column: rows[file][column] for column in columns} == columns, file


def test_prepared_speaker_splits_hold_one_number_each(load):
    dataset = load("speaker")
    assert sorted(map(sorted, (set(split["speaker_id"]) for split in dataset.values()))) == [["150"], ["200"], ["50"]]
    assert set(dataset["train"]["speaker_id"]) == {"150"}


def test_prepared_folds_are_random_tenths_across_numbers(load, rows_of):
    """voc2vec: n // 10 clips a part, the last takes the rest; 307 // 10 = 30."""
    sizes = {config: load(config).num_rows for config in ("fold_0", "fold_8", "fold_9")}
    assert sizes["fold_0"] == {"train": 247, "validation": 30, "test": 30}
    assert sizes["fold_8"] == {"train": 240, "validation": 37, "test": 30}
    assert sizes["fold_9"] == {"train": 240, "validation": 30, "test": 37}
    fold = load("fold_0")
    order = sorted(rows_of(fold), key=lambda file: hashlib.sha256(file.encode()).hexdigest())
    assert set(fold["test"]["file"]) == set(order[:30])
    assert set(fold["validation"]["file"]) == set(order[30:60])
    assert set(fold["test"]["speaker_id"]) & set(fold["train"]["speaker_id"])


def test_corpus_is_the_same_whatever_the_order_of_creation(build, release, tmp_path):
    other = build_release(tmp_path / "reversed", order=-1)
    builders = build(release), build(other)
    clips, others = (builder.collect_clips() for builder in builders)
    assert clips == others
    assert builders[0].excluded == builders[1].excluded
    for protocol in ("speaker", "stratified", "fold_3"):
        assert builders[0].split_clips(clips, protocol) == builders[1].split_clips(others, protocol)


def test_corpus_is_the_same_from_a_folder_above(build, release, tmp_path):
    expected = build(release).collect_clips()
    above = tmp_path / "download"
    above.mkdir()
    shutil.copytree(release, above / "ASVP-ESD-Update")
    assert build(above).collect_clips() == expected


def test_foreign_files_that_are_no_recordings_are_ignored(build, release, changed):
    expected = build(release).collect_clips()
    for name in (
        "__MACOSX/Bonus/actor_50/._03-02-04-01-01-50-04-01-00-14.wav",
        "Bonus/actor_50/._03-02-04-01-01-50-04-01-00-14.wav",
        "Bonus/actor_50/list.csv",
        "stray.csv",
    ):
        (changed / name).parent.mkdir(parents=True, exist_ok=True)
        (changed / name).write_bytes(b"foreign")
    assert build(changed).collect_clips() == expected


def test_endings_may_be_upper_case(build, release, changed):
    expected = build(release).collect_clips()
    for path in list((changed / "Bonus").rglob("*.wav")):
        path.rename(path.with_suffix(".WAV"))
    found = build(changed).collect_clips()
    assert [(clip.label, clip.metadata) for clip in found] == [(clip.label, clip.metadata) for clip in expected]


def test_release_without_this_half_is_refused_with_the_layout(build, changed):
    shutil.rmtree(changed / "Bonus")
    with pytest.raises(CorpusError, match=r"expected a folder Bonus/ .* Audio/, is the corpus asvp_esd\."):
        build(changed).collect_clips()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("actor_50/cry.wav", "1 field in the name, expected at least 8"),
        ("actor_50/03-02-04-01-01-50-04-01-00-14 (2).wav", "field 10 of the name is '14 (2)', expected a number"),
        ("actor_50/03-09-04-01-01-50-04-01-00-14.wav", "channel '09'"),
        ("baby/03-02-04-01-01-50-04-01-00-14.wav", "expected Bonus/actor_<number>/<name>.wav"),
    ],
)
def test_name_is_refused_and_named_when(changed, tmp_path, name, message):
    path = changed / "Bonus" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(CorpusError) as caught:
        prepare_corpus("asvp_esd_babies", data_dir=changed, output_dir=tmp_path / "out")
    assert str(caught.value).startswith(f"Bonus/{name}: ")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_damaged_audio_stops_preparation_and_is_named(changed, tmp_path):
    (changed / "Bonus" / "actor_50" / "03-02-04-01-03-50-04-01-00-14.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"^Bonus/actor_50/03-02-04-01-03-50-04-01-00-14\.wav: "):
        prepare_corpus("asvp_esd_babies", data_dir=changed, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_data_dir_is_refused_with_where_to_get_it(tmp_path):
    with pytest.raises(CorpusError) as caught:
        corpus_builder("asvp_esd_babies")(cache_dir=str(tmp_path)).collect_clips()
    for part in ("needs data_dir", "10.5281/zenodo.7132783", "dejolilandry/", "check that you may use them"):
        assert part in str(caught.value)


def test_facts_forbid_public_copies():
    facts = corpus_facts("asvp_esd_babies")
    assert facts.licence == "unknown"
    assert "children" in facts.no_public_copies
    assert corpus_builder("asvp_esd_babies").DOWNLOADS == ()


def test_script_loads_the_classic_way(release, load_classically):
    loaded = load_classically(CORPUS, release)
    assert sum(loaded.num_rows.values()) == 307


# The real names.

COUNTS = {
    "boredom_sigh": 6,
    "neutral_calm": 30,
    "happy_laugh_gaggle": 110,
    "sad_cry": 1_180,
    "fearful_scream_panic": 10,
    "pain_groan": 2,
}
DIGESTS = {
    "speaker": "c788cd8c32ffece1fe7ee0ec12e145c716feee2e8a32e778682dad3684e59947",
    "stratified": "bdfa9088862ab1560932d97b3003aa03776e8d82c14b9042dd0779539c291ca6",
    "fold_0": "ca1131d4aa6271d4a89472778a92918cc1e540a9db27d691c4e1fe1567da6d02",
}
PARTS_DIGEST = "282307f39ac35c3fd8164247935594bdc3b23dd2677546a1b1db83fe8355d6ad"


@pytest.fixture(scope="module")
def real(real_data, tmp_path_factory):
    """The corpus of the real names, on empty files: its builder and its clips."""
    listing = real_data / "listings" / "asvp_esd_files.csv"
    if not listing.is_file():
        pytest.skip(f"the list of names is not at {listing}")
    root = tmp_path_factory.mktemp("names")
    with listing.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["file"].startswith("Bonus/") or "/actor_8/" in row["file"]:
                path = root / row["file"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    builder = corpus_builder("asvp_esd_babies")(cache_dir=str(tmp_path_factory.mktemp("cache")), data_dir=str(root))
    return builder, builder.collect_clips()


@pytest.mark.realdata
def test_real_names_are_all_clips_or_excluded_for_a_reason(real):
    builder, clips = real
    assert len(clips) == 1_338
    assert [entry.reason for entry in builder.excluded] == ["emotion code 17 is none of the corpus's 6"]
    assert Counter(clip.label for clip in clips) == COUNTS
    assert Counter(clip.speaker_id for clip in clips) == {"150": 1_073, "50": 206, "200": 59}
    assert Counter(clip.metadata["channel"] for clip in clips) == {"non-speech": 1_279, "speech": 59}
    cries = [clip for clip in clips if clip.label == "sad_cry" and clip.metadata["channel"] == "non-speech"]
    assert len(cries) == 1_179


@pytest.mark.realdata
def test_real_irregularities_are_as_the_card_says(real):
    _, clips = real
    metadata = [clip.metadata for clip in clips]
    assert [sum(row[column] is None for row in metadata) for column in ("intensity", "age", "source")] == [0, 41, 2]
    assert Counter(row["age"] for row in metadata) == {"baby": 1_139, "20-64": 89, "under 20": 69, None: 41}
    assert sum(" " in (row["extra_fields"] or "") for row in metadata) == 5
    assert sum("77" in (row["extra_fields"] or "").split("-") for row in metadata) == 6
    assert sum(row["first_extra"] is None for row in metadata) == 12
    assert not any(row["mixed_voices"] or row["noise"] for row in metadata)


@pytest.mark.realdata
@pytest.mark.parametrize("protocol", DIGESTS)
def test_real_splits_stay_as_pinned(real, protocol):
    builder, clips = real
    assert manifest_digest(builder.split_clips(clips, protocol)) == DIGESTS[protocol]


@pytest.mark.realdata
def test_real_splits_have_what_the_card_says(real):
    builder, clips = real
    table = Counter((clip.speaker_id, clip.label) for clip in clips)
    assert (table["200", "sad_cry"], table["50", "happy_laugh_gaggle"], table["150", "sad_cry"]) == (14, 52, 1_012)
    by_speaker = builder.split_clips(clips, "speaker")
    assert Counter(by_speaker.values()) == {"train": 1_073, "validation": 206, "test": 59}
    classes = {split: {clip.label for clip in clips if by_speaker[clip.file] == split} for split in by_speaker.values()}
    assert set(COUNTS) - classes["train"] == {"boredom_sigh", "pain_groan"}
    assert classes["validation"] == {"happy_laugh_gaggle", "sad_cry"}
    assert classes["test"] == set(COUNTS)
    stratified = builder.split_clips(clips, "stratified")
    assert Counter(stratified.values()) == {"train": 1_069, "validation": 134, "test": 135}
    groans = [stratified[clip.file] for clip in clips if clip.label == "pain_groan"]
    assert sorted(groans) == ["test", "train"]


@pytest.mark.realdata
def test_real_folds_stay_as_pinned(real):
    builder, clips = real
    parts = builder.fold_parts(clips)
    assert manifest_digest(parts) == PARTS_DIGEST
    assert sorted(Counter(parts.values()).values()) == [133] * 9 + [141]  # 1,338 // 10, and the last takes the rest
