import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import CorpusError, corpus_builder, corpus_facts
from nvv.hub.dataset_repository import prepare_corpus

CORPUS = "donateacry"
FOLDER = "donateacry_corpus_cleaned_and_updated_data"
CODES = {"belly_pain": "bp", "burping": "bu", "discomfort": "dc", "hungry": "hu", "tired": "ti"}
NUM_IDS = {"belly_pain": 7, "burping": 7, "discomfort": 16, "tired": 16}  # as in the release
AGES = ("04", "48", "26", "72", "22")
ANDROID = "549a46d8-9c84-430e-ade8-97eae2bef787"
IOS = "0D1AD73E-4C5E-45F3-85C4-9A3CB71E8856"
IRREGULAR = {  # file: speaker and some columns; what the release has, on other names
    f"hungry/{ANDROID}-1430130772174-1.7-m-48-hu.wav": (
        ANDROID,
        {"timestamp": 1430130772.174, "platform": "android", "gender": "male", "age": "4 to 8 weeks"},
    ),
    f"tired/{ANDROID}-1430130799999-1.7-f-22-ti.wav": (  # another class, gender and age
        ANDROID,
        {"timestamp": 1430130799.999, "gender": "female", "age_code": "22", "age": "over 2 years"},
    ),
    f"hungry/{IOS}-1430742197-1.0-m-04-hu.wav": (
        IOS,
        {"timestamp": 1430742197.0, "platform": "ios", "version": "1.0", "age": "0 to 4 weeks", "reason_code": "hu"},
    ),
    f"discomfort/{IOS}-1430742198-1.1-f-26-ch.wav": (IOS, {"reason_code": "ch", "age": "2 to 6 months"}),
}


def regular_names() -> list[str]:
    """One clip from each of 160 installations that met hunger, and of the other classes from some of them."""
    names = []
    for number in range(160):
        installation = f"{number:08x}-00ab-4cde-8f01-{number:012x}"
        if number % 3:
            start = f"{installation}-{1430000000000 + number}-1.7"
        else:
            start = f"{installation.upper()}-{1430000000 + number}-1.0"
        labels = ["hungry"]
        for place, (label, num_ids) in enumerate(NUM_IDS.items()):
            labels += [label] if 0 <= number - 20 * place < num_ids else []
        names += [f"{label}/{start}-{'mf'[number % 2]}-{AGES[number % 5]}-{CODES[label]}.wav" for label in labels]
    return names


def build_release(root: Path, *, order: int = 1) -> Path:
    for number, name in list(enumerate([*regular_names(), *IRREGULAR]))[::order]:
        path = root / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_wav(np.full(50, number / 1_000), 8_000))
    (root / FOLDER / "README.md").write_text("the cleaners' own")
    (root / "README.md").write_text("the release's own")
    for name in (
        f"donateacry-android-upload-bucket/{ANDROID}-1430130772174-1.7-m-48-hu.3gp",
        f"donateacry-android-upload-bucket/{ANDROID}-1430130772199-1.7-m-48-lo.3gp",
        f"donateacry-ios-upload-bucket/{IOS}-1430742197-1.0-m-04-hu.caf",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"a raw upload")
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """The repository's layout in small: 206 regular clips, the irregular ones, raw uploads; not to be changed."""
    return build_release(tmp_path_factory.mktemp("raw") / "donateacry-corpus-master")


def test_prepared_clips_are_those_of_the_release_unchanged(load, rows_of, release, prepared):
    rows = rows_of(load("speaker"))
    assert len(rows) == prepared.num_clips == 160 + 7 + 7 + 16 + 16 + len(IRREGULAR)
    for file, row in rows.items():
        content = (release / FOLDER / file).read_bytes()
        assert hashlib.sha256(row["audio"]["bytes"]).digest() == hashlib.sha256(content).digest()
    assert prepared.excluded == ()


def test_prepared_labels_are_the_folders(load, rows_of):
    dataset = load("stratified")
    names = dataset["train"].features["label"].names
    assert names == ["belly_pain", "burping", "discomfort", "hungry", "tired"]
    rows = rows_of(dataset)
    assert all(names[row["label"]] == file.partition("/")[0] for file, row in rows.items())
    numbers = Counter(names[row["label"]] for row in rows.values())
    assert numbers == {"hungry": 162, "belly_pain": 7, "burping": 7, "discomfort": 17, "tired": 17}


def test_prepared_names_become_columns(load, rows_of):
    rows = rows_of(load("speaker"))
    for file, (speaker, columns) in IRREGULAR.items():
        assert rows[file]["speaker_id"] == speaker, file
        assert {column: rows[file][column] for column in columns} == columns, file
    # 54 of 0 … 159 are multiples of three; 7 ids of belly_pain (0 … 6) hold three of them, burping (20 … 26) two,
    # discomfort (40 … 55) five, tired (60 … 75) six; and two of the irregular ones.
    platforms = Counter(row["platform"] for row in rows.values())
    assert platforms == {"ios": 54 + 3 + 2 + 5 + 6 + 2, "android": 210 - 72}


@pytest.mark.parametrize("config", ["speaker", "fold_0", "fold_9"])
def test_prepared_splits_share_no_installation(load, config):
    dataset = load(config)
    speakers = [set(split["speaker_id"]) for split in dataset.values()]
    assert len(speakers) == 3
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 162
    if config == "speaker":
        assert all(set(split["label"]) == set(range(5)) for split in dataset.values())


def test_not_every_fold_holds_a_class_of_seven_installations(build, release):
    builder = build(release)
    clips = builder.collect_clips()
    parts = builder.fold_parts(clips)
    for label in ("belly_pain", "burping"):
        assert len({parts[clip.file] for clip in clips if clip.label == label}) == 7
    assert len({parts[clip.file] for clip in clips if clip.label == "hungry"}) == 10


def test_corpus_is_the_same_whatever_the_order_of_creation(build, release, tmp_path):
    other = build_release(tmp_path / "reversed", order=-1)
    builders = build(release), build(other)
    clips, others = (builder.collect_clips() for builder in builders)
    assert clips == others
    for protocol in ("speaker", "stratified", "fold_3"):
        assert builders[0].split_clips(clips, protocol) == builders[1].split_clips(others, protocol)


def test_corpus_is_the_same_from_each_folder(build, release, tmp_path):
    expected = build(release).collect_clips()
    above = tmp_path / "download"
    above.mkdir()
    shutil.copytree(release, above / "donateacry-corpus-master")
    for folder in (release / FOLDER, above):
        assert build(folder).collect_clips() == expected


def test_corpus_is_the_same_from_an_archive(build, release, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "donateacry-corpus-master"), "zip", release.parent, release.name)
    assert build(archive).collect_clips() == build(release).collect_clips()


def test_foreign_files_that_are_no_recordings_are_ignored(build, release, changed):
    expected = build(release).collect_clips()
    for name in (
        f"__MACOSX/{FOLDER}/hungry/._{IOS}-1430742197-1.0-m-04-hu.wav",
        f"{FOLDER}/hungry/._{IOS}-1430742197-1.0-m-04-hu.wav",
        f"{FOLDER}/hungry/.DS_Store",
        f"{FOLDER}/hungry/features.csv",
        "stray.csv",
    ):
        (changed / name).parent.mkdir(parents=True, exist_ok=True)
        (changed / name).write_bytes(b"foreign")
    assert build(changed).collect_clips() == expected


def test_endings_may_be_upper_case(build, release, changed):
    expected = build(release).collect_clips()
    for path in list((changed / FOLDER).rglob("*.wav")):
        path.rename(path.with_suffix(".WAV"))
    found = build(changed).collect_clips()
    assert [(clip.label, clip.metadata) for clip in found] == [(clip.label, clip.metadata) for clip in expected]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hungry/cry.wav", "the name is not <id>-<time>-<version>"),
        (f"hungry/{ANDROID[:-1]}-1430130772175-1.7-m-48-hu.wav", "the name is not"),  # an id of 35 characters
        (f"hungry/{ANDROID}-1430130772-1.7-m-48-hu.wav", "the name is not"),  # Android with seconds
        (f"hungry/{IOS}-1430742197000-1.0-m-04-hu.wav", "the name is not"),  # iOS with milliseconds
        (f"hungry/{ANDROID}-1430130772175-1.7-x-48-hu.wav", "the name is not"),
        (f"hungry/{ANDROID}-1430130772175-1.7-m-48.wav", "the name is not"),
        (f"hungry/{ANDROID}-1430130772175-1.7-m-48-hu (1).wav", "the name is not"),
        (f"hungry/{ANDROID}-1430130772175-1.7-m-99-hu.wav", "age code 99, expected one of 04, 48, 26, 72, 22"),
        (f"tired/{ANDROID}-1430130772175-1.7-m-48-hu.wav", "reason 'hu' in the folder 'tired', expected ti"),
        (f"hungry/{ANDROID}-1430130772175-1.7-m-48-ch.wav", "reason 'ch' in the folder 'hungry', expected hu"),
        (f"lonely/{ANDROID}-1430130772175-1.7-m-48-lo.wav", "the folder is 'lonely', expected one of belly_pain"),
        (f"hungry/more/{ANDROID}-1430130772175-1.7-m-48-hu.wav", "the folder is 'hungry/more'"),
        (f"{ANDROID}-1430130772175-1.7-m-48-hu.wav", "the folder is '.', expected"),
    ],
)
def test_name_is_refused_and_named_when(build, changed, name, message):
    path = changed / FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(CorpusError) as caught:
        build(changed).collect_clips()
    assert str(caught.value).startswith(f"{name}: ")
    assert message in str(caught.value)


def test_damage_stops_preparation_and_leaves_nothing(changed, tmp_path):
    path = changed / FOLDER / "hungry" / f"{IOS}-1430742197-1.0-m-04-hu.wav"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AudioError) as audio_error:
        prepare_corpus("donateacry", data_dir=changed, output_dir=tmp_path / "out")
    assert str(audio_error.value).startswith(f"hungry/{IOS}-1430742197-1.0-m-04-hu.wav: cut off")
    path.rename(path.with_name("cry.wav"))
    with pytest.raises(CorpusError, match=r"^hungry/cry\.wav: the name is not"):
        prepare_corpus("donateacry", data_dir=changed, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_raw_uploads_alone_are_refused_with_the_layout(build, changed):
    shutil.rmtree(changed / FOLDER)
    with pytest.raises(CorpusError, match=f"expected the folder {FOLDER}"):
        build(changed).collect_clips()


def test_missing_data_dir_is_refused_with_where_to_get_it(tmp_path):
    with pytest.raises(CorpusError) as caught:
        corpus_builder("donateacry")(cache_dir=str(tmp_path)).collect_clips()
    for part in ("needs data_dir", "https://github.com/gveres/donateacry-corpus", "Open Database License 1.0"):
        assert part in str(caught.value)


def test_facts_state_the_licence():
    facts = corpus_facts("donateacry")
    assert facts.licence == "odbl"
    assert facts.no_public_copies == ""


def test_script_loads_the_classic_way(release, load_classically):
    loaded = load_classically(CORPUS, release)
    assert sum(loaded.num_rows.values()) == 210
