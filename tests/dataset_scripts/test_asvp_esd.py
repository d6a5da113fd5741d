import csv
import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import CorpusError, corpus_builder, corpus_facts, manifest_digest, unmet_wishes
from nvv.hub.dataset_repository import prepare_corpus

CORPUS = "asvp_esd"
NUM_EMOTIONS = 13
IRREGULAR = {  # file: (speaker, label, some of its columns); what the real release has, on other names
    "Audio/actor_/03-02-13-01-01-110-02-02-02-22.wav": ("110", "breath", {"folder": "actor_", "sex": "male"}),
    "Audio/actor_/03-02-13-02-01-07-02-02-02-22.wav": ("7", "breath", {"folder": "actor_", "intensity": "high"}),
    "Audio/actor_119/03-02-07-01-18-09-02-02-17.wav": (
        "9",
        "disgust_dislike_contempt",
        {"folder": "actor_119", "language_code": "17", "first_extra": None},
    ),
    "Audio/actor_0/03-02-03-01-09-00-02-02-02.wav": ("0", "happy_laugh_gaggle", {"extra_fields": None}),
    "Audio/actor_5/03-02-03-021-10-05-03-01-00-13.wav": (
        "5",
        "happy_laugh_gaggle",
        {"intensity_code": "021", "intensity": None, "age": "under 20", "first_extra": "13", "sex": "female"},
    ),
    "Audio/actor_5/03-02-06-01-10-05-106-07-00-66.wav": (
        "5",
        "fearful_scream_panic",
        {"age_code": "106", "age": None, "source_code": "07", "source": None, "mixed_voices": True, "noise": False},
    ),
    "Audio/actor_5/03-02-04-01-11-05-02-03-01-14-01-77.wav": (
        "5",
        "sad_cry",
        {"noise": True, "mixed_voices": False, "extra_fields": "14-01-77", "source": "film"},
    ),
    "Audio/actor_5/03-02-04-01-11-05-02-03-01-77-22.wav": ("5", "sad_cry", {"noise": False, "first_extra": "77"}),
    "Audio/actor_5/03-02-04-01-12-05-04-03.wav": ("5", "sad_cry", {"language_code": None, "age": "baby"}),
}


def regular_names() -> list[str]:
    """Two non-speech clips of each emotion by each of twelve actors, and three of speech by each."""
    names = []
    for actor in range(1, 13):
        folder = f"Audio/actor_{actor}"
        for code in range(1, NUM_EMOTIONS + 1):
            names += [f"{folder}/03-02-{code:02d}-01-{item:02d}-{actor:02d}-02-02-02-16.wav" for item in (1, 2)]
        names += [f"{folder}/03-01-{code:02d}-01-01-{actor:02d}-02-01-01-16.wav" for code in (2, 3, 5)]
    return names


def build_release(root: Path, *, order: int = 1) -> Path:
    names = [*regular_names(), *IRREGULAR]
    for number, name in list(enumerate(names))[::order]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(50, number / 1_000)))
    other_half = root / "Bonus" / "actor_50" / "03-02-04-01-09-50-04-01-00-14-01.wav"
    other_half.parent.mkdir(parents=True)
    other_half.write_bytes(b"no sound, and none of this corpus's business")
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """The release's layout in small: 312 regular clips, the irregular ones, 36 of speech; not to be changed."""
    return build_release(tmp_path_factory.mktemp("raw") / "ASVP-ESD-Update")


def test_prepared_clips_are_those_of_the_release_unchanged(load, rows_of, release, prepared):
    rows = rows_of(load("speaker"))
    assert len(rows) == prepared.num_clips == 12 * NUM_EMOTIONS * 2 + len(IRREGULAR)
    for file, row in rows.items():
        content = (release / file).read_bytes()
        assert hashlib.sha256(row["audio"]["bytes"]).digest() == hashlib.sha256(content).digest()
        assert row["channel"] == "non-speech"
    assert prepared.excluded == (("speech (channel 01)", 36),)


def test_prepared_labels_are_in_the_order_of_the_codes(load, rows_of):
    dataset = load("stratified")
    names = dataset["train"].features["label"].names
    numbers = Counter(names[row["label"]] for row in rows_of(dataset).values())
    # 24 regular clips of each; the irregular ones are two of breath (13), two of 03, three of 04, one of 06 and of 07.
    expected = dict.fromkeys(names, 24)
    expected["breath"] += 2
    expected["happy_laugh_gaggle"] += 2
    expected["sad_cry"] += 3
    expected["fearful_scream_panic"] += 1
    expected["disgust_dislike_contempt"] += 1
    assert numbers == expected
    assert names.index("boredom_sigh") == 0
    assert names.index("breath") == 12


def test_prepared_irregular_names_become_columns(load, rows_of):
    dataset = load("speaker")
    names = dataset["train"].features["label"].names
    rows = rows_of(dataset)
    for file, (speaker, label, columns) in IRREGULAR.items():
        row = rows[file]
        assert (row["speaker_id"], names[row["label"]]) == (speaker, label), file
        assert {column: row[column] for column in columns} == columns, file


@pytest.mark.parametrize("config", ["speaker", "fold_0", "fold_9"])
def test_prepared_splits_share_no_speaker(load, config):
    speakers = [set(split["speaker_id"]) for split in load(config).values()]
    assert len(speakers) == 3
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 14  # 1 to 12, 110 and 0


def test_every_clip_is_tested_in_one_fold(build, release):
    builder = build(release)
    clips = builder.collect_clips()
    tested = Counter()
    for fold in range(10):
        split_of = builder.split_clips(clips, f"fold_{fold}")
        tested.update(file for file, split in split_of.items() if split == "test")
    assert tested == {clip.file: 1 for clip in clips}


def test_corpus_is_the_same_whatever_the_order_of_creation(build, release, tmp_path):
    other = build_release(tmp_path / "reversed", order=-1)
    builders = build(release), build(other)
    clips, others = (builder.collect_clips() for builder in builders)
    assert clips == others
    assert builders[0].excluded == builders[1].excluded
    assert builders[0].split_clips(clips, "speaker") == builders[1].split_clips(others, "speaker")


def test_corpus_is_the_same_from_a_folder_above(build, release, tmp_path):
    expected = build(release).collect_clips()
    above = tmp_path / "download" / "archive"
    above.mkdir(parents=True)
    shutil.copytree(release, above / "ASVP-ESD-Update")
    assert build(above).collect_clips() == expected
    assert build(above.parent).collect_clips() == expected


def test_corpus_is_the_same_from_an_archive(build, release, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "ASVP-ESD-Update"), "zip", release.parent, release.name)
    builder = build(archive)
    assert builder.collect_clips() == build(release).collect_clips()
    file = next(iter(IRREGULAR))
    (clip,) = (clip for clip in builder.collect_clips() if clip.file == file)
    assert builder.read_clip(clip) == (release / file).read_bytes()


def test_foreign_files_that_are_no_recordings_are_ignored(build, release, changed):
    expected = build(release).collect_clips()
    for name in (
        "__MACOSX/Audio/actor_1/._03-02-01-01-01-01-02-02-02-16.wav",
        "Audio/actor_1/._03-02-01-01-01-01-02-02-02-16.wav",
        "Audio/.DS_Store",
        "Audio/labels.csv",
        "Audio/actor_1/Thumbs.db",
        "stray.csv",
    ):
        (changed / name).parent.mkdir(parents=True, exist_ok=True)
        (changed / name).write_bytes(b"foreign")
    assert build(changed).collect_clips() == expected


def test_endings_may_be_upper_case(build, release, changed):
    expected = build(release).collect_clips()
    for path in list((changed / "Audio").rglob("*.wav")):
        path.rename(path.with_suffix(".WAV"))
    found = build(changed).collect_clips()
    assert [clip.file.removesuffix(".WAV") for clip in found] == [clip.file.removesuffix(".wav") for clip in expected]
    assert [(clip.label, clip.metadata) for clip in found] == [(clip.label, clip.metadata) for clip in expected]


def test_release_without_this_half_is_refused_with_the_layout(build, changed):
    shutil.rmtree(changed / "Audio")
    with pytest.raises(CorpusError, match=r"expected a folder Audio/ .* Bonus/, is the corpus asvp_esd_babies"):
        build(changed).collect_clips()


def test_half_is_read_without_the_other(build, release, changed):
    expected = build(release).collect_clips()
    shutil.rmtree(changed / "Bonus")
    assert build(changed).collect_clips() == expected


def test_only_speech_is_no_corpus(build, tmp_path):
    path = tmp_path / "raw" / "Audio" / "actor_1" / "03-01-02-01-01-01-02-01-01-16.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(CorpusError, match=r"no clips found \(speech \(channel 01\)\)"):
        build(tmp_path / "raw").collect_clips()


def test_damaged_name_stops_preparation_and_is_named(changed, tmp_path):
    (changed / "Audio" / "actor_1" / "03-02-01-01-01-01-02.wav").touch()
    with pytest.raises(CorpusError, match=r"^Audio/actor_1/03-02-01-01-01-01-02\.wav: 7 fields"):
        prepare_corpus("asvp_esd", data_dir=changed, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_audio_stops_preparation_and_is_named(changed, tmp_path):
    path = changed / "Audio" / "actor_3" / "03-02-11-01-02-03-02-02-02-16.wav"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AudioError, match=r"^Audio/actor_3/03-02-11-01-02-03-02-02-02-16\.wav: cut off"):
        prepare_corpus("asvp_esd", data_dir=changed, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_data_dir_is_refused_with_where_to_get_it(tmp_path):
    with pytest.raises(CorpusError) as caught:
        corpus_builder("asvp_esd")(cache_dir=str(tmp_path)).collect_clips()
    for part in ("needs data_dir", "10.5281/zenodo.7132783", "dejolilandry/", "check that you may use them"):
        assert part in str(caught.value)


def test_facts_forbid_public_copies():
    facts = corpus_facts("asvp_esd")
    assert facts.licence == "unknown"
    assert "films, television and video sites" in facts.no_public_copies
    assert corpus_builder("asvp_esd").DOWNLOADS == ()


def test_script_loads_the_classic_way(release, load_classically):
    loaded = load_classically(CORPUS, release)
    assert sum(loaded.num_rows.values()) == 321


# The real names.

COUNTS = {  # non-speech clips of each emotion in `Audio`, as the corpus page of the project has them
    "boredom_sigh": 447,
    "neutral_calm": 281,
    "happy_laugh_gaggle": 1_172,
    "sad_cry": 964,
    "angry_grunt_frustration": 389,
    "fearful_scream_panic": 1_001,
    "disgust_dislike_contempt": 709,
    "surprised_gasp_amazed": 1_094,
    "excited": 131,
    "pleasure": 330,
    "pain_groan": 778,
    "disappointment_disapproval": 77,
    "breath": 172,
}
DIGESTS = {
    "speaker": "ca722ee1b025319b99f47b1b27cf79367c266f4e0fb4a3f05dcbb91f3643aaa7",
    "stratified": "acde0e0c0397c8e6e9878fb7e591462b84aca7cd17f435a28f7a136321fc2abf",
    "fold_0": "35666c3d0381d960fd7279cf950a60c1286e109dc21e12c1ffd8d0decf8b936f",
}
SIZES = {"speaker": (6_004, 775, 766), "stratified": (6_035, 756, 754)}  # as the card says
PARTS_DIGEST = "8158a09a1b6edace1fda20ef8ce68ba802ff2438eb1ee363a007e359933d05a3"


@pytest.fixture(scope="module")
def real(real_data, tmp_path_factory):
    """The corpus of the real names, on empty files: its builder and its clips."""
    listing = real_data / "listings" / "asvp_esd_files.csv"
    if not listing.is_file():
        pytest.skip(f"the list of names is not at {listing}")
    root = tmp_path_factory.mktemp("names")
    with listing.open(encoding="utf-8", newline="") as stream:
        files = [row["file"] for row in csv.DictReader(stream)]
    for folder in {file.rpartition("/")[0] for file in files}:
        (root / folder).mkdir(parents=True)
    for file in files:
        (root / file).touch()
    builder = corpus_builder("asvp_esd")(cache_dir=str(tmp_path_factory.mktemp("cache")), data_dir=str(root))
    return builder, builder.collect_clips()


@pytest.mark.realdata
def test_real_names_are_all_clips_or_excluded_for_a_reason(real):
    builder, clips = real
    assert len(clips) == 7_545
    assert Counter(entry.reason for entry in builder.excluded) == {"speech (channel 01)": 5_080}
    assert Counter(clip.label for clip in clips) == COUNTS
    speakers = Counter(clip.speaker_id for clip in clips)
    assert len(speakers) == 129
    # Counted with grep on the listing: ^Audio/actor_[0-9]*/03-02-[0-9]+-[0-9]+-[0-9]+-<actor>-
    assert {speaker: speakers[speaker] for speaker in ("101", "47", "102", "57", "23", "0", "1")} == {
        "101": 340,
        "47": 293,
        "102": 259,
        "57": 229,
        "23": 159,
        "0": 61,
        "1": 1,
    }


@pytest.mark.realdata
def test_real_irregularities_are_as_the_card_says(real):
    _, clips = real
    metadata = [clip.metadata for clip in clips]
    misfiled = [clip for clip in clips if clip.metadata["folder"] != f"actor_{clip.speaker_id}"]
    assert len(misfiled) == 186  # 187 in all of `Audio`, one of them speech
    assert sum(clip.metadata["folder"] == "actor_" for clip in misfiled) == 171
    assert [sum(row[column] is None for row in metadata) for column in ("intensity", "age", "source")] == [11, 7, 3]
    assert (sum(row["mixed_voices"] for row in metadata), sum(row["noise"] for row in metadata)) == (271, 65)
    # 7,545 less those with a last field of 66 or 77 are the 7,209 of the corpus page.
    assert sum(not row["mixed_voices"] and not row["noise"] for row in metadata) == 7_209
    assert (
        sum(row["language_code"] is None for row in metadata) == 6
    )  # so 7,539 have nine fields or more, as LINKS uses
    assert sum(row["first_extra"] is None for row in metadata) == 437
    assert sum(row["age"] == "baby" for row in metadata) == 152


@pytest.mark.realdata
@pytest.mark.parametrize("protocol", DIGESTS)
def test_real_splits_stay_as_pinned(real, protocol):
    builder, clips = real
    split_of = builder.split_clips(clips, protocol)
    assert manifest_digest(split_of) == DIGESTS[protocol]
    if protocol in SIZES:
        sizes = Counter(split_of.values())
        assert (sizes["train"], sizes["validation"], sizes["test"]) == SIZES[protocol]
    labels = {clip.file: clip.label for clip in clips}
    assert unmet_wishes(split_of, labels=labels, wanted={"train": 8, "validation": 1, "test": 1}) == []
    if protocol != "stratified":
        pairs = {(clip.speaker_id, split_of[clip.file]) for clip in clips}
        assert len(pairs) == 129


@pytest.mark.realdata
def test_real_folds_stay_as_pinned(real):
    builder, clips = real
    parts = builder.fold_parts(clips)
    assert manifest_digest(parts) == PARTS_DIGEST
    assert len({(clip.label, parts[clip.file]) for clip in clips}) == 13 * 10
    assert len({(clip.speaker_id, parts[clip.file]) for clip in clips}) == 129
    assert (min(Counter(parts.values()).values()), max(Counter(parts.values()).values())) == (735, 793)
