import csv
import importlib.resources
import random
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import datasets
import numpy as np
import pytest

from nvv.audio import AudioError, encode_wav
from nvv.data import SPLITS, CorpusError, corpus_builder, corpus_facts, load_corpus, manifest_digest

CORPUS = "recanvo"
LABELS = ("selftalk", "frustrated", "delighted", "dysregulated", "social", "request")
PARTICIPANTS = ("P01", "P02", "P03", "P05", "P06", "P08", "P11", "P16")
HEADER = "Filename,Participant,Label"

# The irregular names of the release: a note in the time, words in the time, three-digit minutes, one-digit seconds, no
# fraction, the letter c at the end. The words contradict the label, which is what the label file says.
IRREGULAR = [
    ("210112_1709n1_00-00-36.57--00-00-36.97c.wav", "P16", "delighted"),
    ("210201_1400n01_00-00-52.68--00-00-53.12c.wav", "P16", "selftalk"),
    ("200306_2047SelfTalk-Frustrated_00-05-46.88--00-05-58.06.wav", "P01", "dysregulated"),
    ("200306_2024_00-09-59.2--00-010-03.963.wav", "P01", "selftalk"),
    ("200527_1738_00-00-08.122--00-00-9.87c.wav", "P16", "delighted"),
    ("200307_1826_00-02-43--00-02-44.wav", "P02", "delighted"),
]
OTHER_LABELS = [
    ("200126_2142_00-13-04.06--00-13-04.324.wav", "P01", "dysregulation-sick"),
    ("200126_2142_00-13-05.06--00-13-06.324.wav", "P01", "yes"),
    ("200127_2142_00-13-05.06--00-13-06.324c.wav", "P05", "yes"),
]


def make_rows() -> list[tuple[str, str, str]]:
    """Five clips of each label by each participant but two, as the release has none there, in two sessions each."""
    rows = []
    for day, participant in enumerate(PARTICIPANTS, start=10):
        for number, label in enumerate(LABELS):
            if (participant, label) in (("P02", "dysregulated"), ("P03", "social")):
                continue
            for minute in range(5):
                hour = 9 + minute // 3
                end = "c" if minute % 2 else ""
                name = f"2003{day}_{hour:02d}15_00-{minute:02d}-0{number}.12--00-{minute:02d}-0{number}.9{end}.wav"
                rows.append((name, participant, label))
    return rows + IRREGULAR


ROWS = make_rows()  # 8 x 6 x 5 - 2 x 5 + 6 = 236


def wav(name: str) -> bytes:
    generator = random.Random(name)
    return encode_wav(np.array([generator.uniform(-0.5, 0.5) for _ in range(50)]))


def label_file(rows: Iterable[tuple[str, str, str]]) -> str:
    """As in the release: Windows line ends."""
    return "".join(line + "\r\n" for line in [HEADER, *map(",".join, rows)])


def write(root: Path, rows: list[tuple[str, str, str]], *, table: str | None = None) -> Path:
    root.mkdir(parents=True)
    for name, _, _ in rows:
        (root / name).write_bytes(wav(name))
    text = label_file(rows) if table is None else table
    (root / "dataset_file_directory.csv").write_bytes(text.encode())
    return root


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """A flat folder, with what the release and a Mac leave beside the audio."""
    root = write(tmp_path_factory.mktemp("raw") / "ReCANVo", ROWS + OTHER_LABELS)
    (root / "Communication_Profiles.xlsx").write_bytes(b"PK")
    (root / "notes.csv").write_bytes("Teilnehmer;Größe\r\nP01;1\r\n".encode("latin-1"))
    (root / "profiles.csv").write_bytes(f"{HEADER}\n".encode("utf-16"))
    (root / "empty.csv").touch()
    (root / "._dataset_file_directory.csv").write_text(f"{HEADER}\nforeign.wav,P01,social\n")
    (root / f"._{ROWS[0][0]}").write_bytes(b"resource fork")
    return root


def test_prepared_corpus_holds_every_clip_of_the_six_labels_unchanged(load, rows_of, release):
    loaded = load("speaker")
    rows = rows_of(loaded)
    assert sorted(rows) == sorted(name for name, _, _ in ROWS)
    for name, participant, label in ROWS:
        row = rows[name]
        assert row == {
            "audio": {"bytes": (release / name).read_bytes(), "path": row["audio"]["path"]},
            "label": LABELS.index(label),
            "file": name,
            "speaker_id": participant,
            "session": f"{participant}_{name.split('_')[0]}_{name.split('_')[1]}",
            "raw_label": label,
        }
    assert loaded["train"].features["label"].names == list(LABELS)


def test_irregular_names_keep_their_note_in_the_session_and_take_the_label_of_the_table(load, rows_of):
    rows = rows_of(load("speaker"))
    row = rows["200306_2047SelfTalk-Frustrated_00-05-46.88--00-05-58.06.wav"]
    assert (row["session"], LABELS[row["label"]]) == ("P01_200306_2047SelfTalk-Frustrated", "dysregulated")
    assert rows["210112_1709n1_00-00-36.57--00-00-36.97c.wav"]["session"] == "P16_210112_1709n1"


def test_prepared_speakers_and_sessions_are_in_one_split_each(load):
    loaded = load("speaker")
    for column in ("speaker_id", "session"):
        values = [set(loaded[split][column]) for split in SPLITS]
        assert sum(map(len, values)) == len(set.union(*values))


def test_prepared_folds_leave_one_participant_out_each(load, prepared):
    names = [name for name in datasets.get_dataset_config_names(str(prepared.output_dir)) if name.startswith("fold_")]
    assert names == [f"fold_{fold}" for fold in range(8)]
    loaded = [load(name) for name in names]
    assert sorted(set(fold["test"]["speaker_id"]).pop() for fold in loaded) == list(PARTICIPANTS)
    for fold in loaded:
        parts = [set(fold[split]["speaker_id"]) for split in SPLITS]
        assert [len(part) for part in parts] == [6, 1, 1]
        assert len(set.union(*parts)) == 8


def test_other_labels_are_left_out_with_the_label_as_the_reason(build, release):
    builder = build(release)
    builder.collect_clips()
    assert [(entry.file, entry.reason) for entry in builder.excluded] == [
        (OTHER_LABELS[0][0], "label 'dysregulation-sick' is not one of the six used"),
        (OTHER_LABELS[1][0], "label 'yes' is not one of the six used"),
        (OTHER_LABELS[2][0], "label 'yes' is not one of the six used"),
    ]


def test_corpus_is_the_same_whatever_the_order_of_files_and_rows(build, release, tmp_path):
    shuffled = ROWS + OTHER_LABELS
    random.Random(0).shuffle(shuffled)
    first, second = build(release), build(write(tmp_path / "other", shuffled))
    clips = first.collect_clips()
    assert second.collect_clips() == clips
    assert second.excluded == first.excluded
    for protocol in ("speaker", "stratified", "fold_5"):
        assert first.split_clips(clips, protocol) == second.split_clips(clips[::-1], protocol)


def test_corpus_is_the_same_one_level_higher_and_from_the_archive(build, release, tmp_path):
    expected = build(release).collect_clips()
    assert build(release.parent).collect_clips() == expected
    archive = shutil.make_archive(str(tmp_path / "ReCANVo"), "gztar", release.parent)
    assert build(Path(archive)).collect_clips() == expected


def test_label_file_beside_the_archive_does_not_hide_it(build, release, tmp_path):
    expected = build(release).collect_clips()
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    shutil.make_archive(str(downloads / "ReCANVo"), "zip", release.parent, release.name)
    shutil.copy(release / "dataset_file_directory.csv", downloads)
    assert build(downloads).collect_clips() == expected


def test_corpus_is_the_same_when_the_audio_lies_deeper_than_the_label_file(build, release, tmp_path):
    expected = build(release).collect_clips()
    root = write(tmp_path / "release", ROWS + OTHER_LABELS)
    for path in root.glob("*.wav"):
        folder = root / "audio" / path.name[:6]
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.with_suffix(".WAV").name)
    builder = build(root)
    assert builder.collect_clips() == expected
    assert builder.read_clip(expected[0]) == wav(expected[0].file)


@pytest.mark.parametrize("name", ["labels.csv", "DATASET_FILE_DIRECTORY.CSV"])
def test_label_file_is_known_by_its_header(build, tmp_path, name):
    root = write(tmp_path / "release", ROWS)
    (root / "dataset_file_directory.csv").rename(root / name)
    assert len(build(root).collect_clips()) == len(ROWS)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,  # byte order mark
        lambda text: text.replace("\r\n", "\n"),
        lambda text: text + "\r\n,,\r\n",
        lambda text: text + ",".join(ROWS[3]) + "\r\n",  # the same row again
        lambda text: text.replace(",", " , "),
        lambda text: text.replace(HEADER, '"Filename","Participant","Label"'),
    ],
    ids=["byte order mark", "Unix line ends", "blank rows", "repeated row", "blanks", "quotes"],
)
def test_label_file_may_differ_in_form(build, tmp_path, change):
    root = write(tmp_path / "release", ROWS, table=change(label_file(ROWS)))
    assert [clip.file for clip in build(root).collect_clips()] == sorted(name for name, _, _ in ROWS)


FIRST = ROWS[0][0]


@pytest.mark.parametrize(
    ("rows", "start"),
    [
        (ROWS[1:], f"{FIRST}: no row of the label file names it; "),
        (ROWS[2:], f"{FIRST}: no row of the label file names it (and so for 1 more)"),
        ([*ROWS, ("200401_1200_a--b.wav", "P01", "social")], "200401_1200_a--b.wav: the label file names it, but"),
        ([*ROWS, ("200401_1200_a--b.wav", "P01", "yes")], "200401_1200_a--b.wav: the label file names it, but"),
        ([*ROWS, (FIRST, "P10", "social")], f"{FIRST}: two rows of dataset_file_directory.csv disagree, P01,selftalk"),
        (
            [*ROWS, (FIRST.upper(), "P01", "social")],
            f"{FIRST.upper()}: two rows of dataset_file_directory.csv disagree",
        ),
        ([*ROWS, (FIRST, "P02", "selftalk")], f"{FIRST}: two rows of dataset_file_directory.csv disagree"),
        ([(FIRST, "1", "social"), *ROWS[1:]], f"{FIRST}: participant '1', expected P and two digits"),
        ([(FIRST, "P001", "social"), *ROWS[1:]], f"{FIRST}: participant 'P001'"),
        (
            [(FIRST, "P01", ""), *ROWS[1:]],
            f"dataset_file_directory.csv: line 2: expected {HEADER}, found '{FIRST},P01,'",
        ),
        (
            [*ROWS, ("a.wav", "P01", "yes", "no")],
            f"dataset_file_directory.csv: line {len(ROWS) + 2}: expected {HEADER}",
        ),
    ],
)
def test_label_file_is_refused_when(build, tmp_path, rows, start):
    root = write(tmp_path / "release", ROWS, table=label_file(rows))
    with pytest.raises(CorpusError) as caught:
        build(root).collect_clips()
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize(
    "name",
    [
        "200126_00-13-04.06--00-13-04.324.wav",  # no time of day
        "20200126_2142_00-13-04.06--00-13-04.324.wav",
        "200126_2142_00-13-04.06.wav",  # no end
        "200126_2142_00-13-04.06--00-13-04.324_2.wav",
        "social.wav",
    ],
)
@pytest.mark.parametrize("label", ["social", "yes"])
def test_name_is_refused_and_named_when(build, tmp_path, name, label):
    root = write(tmp_path / "release", [*ROWS, (name, "P01", label)])
    with pytest.raises(CorpusError) as caught:
        build(root).collect_clips()
    assert str(caught.value).startswith(f"{name}: the name is not <date>_<time>_<start>--<end>.wav")


def test_folder_is_refused_when_it_has_no_label_file(build, tmp_path):
    root = write(tmp_path / "release", ROWS[:3])
    (root / "dataset_file_directory.csv").write_text("Filename,Label\n")
    with pytest.raises(CorpusError, match="no label file; expected dataset_file_directory"):
        build(root).collect_clips()


def test_audio_is_refused_when_two_files_have_one_name(build, tmp_path):
    root = write(tmp_path / "release", ROWS)
    (root / "copy").mkdir()
    shutil.copy(root / FIRST, root / "copy" / FIRST)
    with pytest.raises(CorpusError, match=rf"^copy/{FIRST}: has the same name as {FIRST}"):
        build(root).collect_clips()


def test_clip_is_refused_and_named_when_cut_off(tmp_path):
    root = write(tmp_path / "release", ROWS)
    (root / FIRST).write_bytes(wav(FIRST)[:-1])
    with pytest.raises(AudioError, match=rf"^{FIRST}: "):
        load_corpus("recanvo", data_dir=root, cache_dir=tmp_path / "cache")


def test_facts_name_the_people_recorded_and_forbid_public_copies():
    facts = corpus_facts("recanvo")
    assert facts.licence == "unknown"  # reported only
    assert "reported" in facts.no_public_copies
    assert "minimally speaking" in facts.summary
    assert "diagnoses" in facts.summary
    assert "vulnerable" in facts.terms
    assert [record.record_id for record in corpus_builder("recanvo").DOWNLOADS] == [5786860]


def test_script_loads_the_classic_way(release, load_classically):
    loaded = load_classically(CORPUS, release)
    assert sum(loaded.num_rows.values()) == len(ROWS)


# The release's label file.

REAL_DIGESTS = {
    "speaker": "93169a54b96bfba01be72b1fec356e6fe42127fb24a253ff3069cff6438c1d5e",
    "stratified": "10a614f84c3e9d43877d1d1dd7174110e457bea5fa2435462be3b8e9717916f3",
    "fold_0": "02ccaa5d5b73b389a442bc0f22efc5ed56d923a15f21f3ee8c4444bdf7602bbd",
    "all folds": "9d1f941939fbd8a96ecf83c05ef794ff4d66366af9897d37f04eebcb72d85c92",
}


@pytest.fixture(scope="module")
def real_folder(real_data, tmp_path_factory) -> Path:
    """The release's label file and its names, empty: listing clips reads no audio."""
    listing = real_data / "listings" / "recanvo_dataset_file_directory.csv"
    if not listing.is_file():
        pytest.skip(f"{listing} is missing")
    root = tmp_path_factory.mktemp("listing")
    shutil.copyfile(listing, root / "dataset_file_directory.csv")
    with listing.open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            (root / row["Filename"]).touch()
    return root


@pytest.mark.realdata
def test_real_rows_are_clips_or_left_out_for_their_label(build, real_folder):
    builder = build(real_folder)
    clips = builder.collect_clips()
    assert len(clips) == 6450
    assert Counter(clip.label for clip in clips) == dict(
        zip(LABELS, (1885, 1536, 1272, 704, 634, 419), strict=True),
    )
    left_out = Counter(entry.reason.split("'")[1] for entry in builder.excluded)
    assert left_out == {
        "affectionate": 129,
        "yes": 123,
        "laughter": 93,
        "dysregulation-sick": 74,
        "happy": 61,
        "help": 24,
        "more": 22,
        "protest": 21,
        "bathroom": 20,
        "dysregulation-bathroom": 18,
        "no": 12,
        "glee": 8,
        "laugh": 8,
        "tablet": 7,
        "hunger": 4,
        "greeting": 3,
    }


@pytest.mark.realdata
def test_real_speakers_and_sessions_are_as_counted(build, real_folder, monkeypatch):
    builder = build(real_folder)
    # With every label let in, the counts are those of the whole release.
    monkeypatch.setattr(type(builder), "LABELS", _AnyLabel())
    clips = list(builder.list_clips(real_folder))
    assert len(clips) == 7077
    assert Counter(clip.speaker_id for clip in clips) == dict(
        zip(PARTICIPANTS, (1708, 557, 525, 1028, 569, 1545, 366, 779), strict=True)
    )
    sessions = {(clip.speaker_id, clip.metadata["session"]) for clip in clips}
    assert Counter(speaker for speaker, _ in sessions) == dict(
        zip(PARTICIPANTS, (38, 11, 12, 33, 11, 21, 28, 57), strict=True)
    )
    assert len({session for _, session in sessions}) == 211


class _AnyLabel:
    def __contains__(self, label: object) -> bool:
        return True


@pytest.mark.realdata
@pytest.mark.parametrize("protocol", ["speaker", "stratified", "fold_0", "all folds"])
def test_real_splits_stay_as_pinned(build, real_folder, protocol):
    builder = build(real_folder)
    clips = builder.collect_clips()
    split_of = builder.fold_parts(clips) if protocol == "all folds" else builder.split_clips(clips, protocol)
    assert len(split_of) == 6450
    assert manifest_digest(split_of) == REAL_DIGESTS[protocol]


@pytest.mark.realdata
def test_real_speaker_split_has_every_label_in_every_split(build, real_folder):
    builder = build(real_folder)
    clips = builder.collect_clips()
    split_of = builder.split_clips(clips, "speaker")
    assert len({(split_of[clip.file], clip.label) for clip in clips}) == 3 * 6
    assert len({(split_of[clip.file], clip.speaker_id) for clip in clips}) == 8


@pytest.mark.realdata
def test_real_stratified_split_leaks_every_session_as_the_card_says(build, real_folder):
    builder = build(real_folder)
    clips = builder.collect_clips()
    assert len({clip.metadata["session"] for clip in clips}) == 199
    split_of = builder.split_clips(clips, "stratified")
    trained = {clip.metadata["session"] for clip in clips if split_of[clip.file] == "train"}
    assert {clip.metadata["session"] for clip in clips if split_of[clip.file] == "test"} <= trained


@pytest.mark.realdata
def test_real_counts_are_those_of_the_card(build, real_folder):
    card = (importlib.resources.files("nvv.dataset_scripts") / "recanvo" / "README.md").read_text(encoding="utf-8")
    builder = build(real_folder)
    clips = builder.collect_clips()
    for protocol in ("speaker", "stratified"):
        sizes = Counter(builder.split_clips(clips, protocol).values())
        assert f"| {sizes['train']:,} | {sizes['validation']} | {sizes['test']} |\n" in card
    numbers = Counter((clip.label, clip.speaker_id) for clip in clips)
    for label in LABELS:
        columns = [numbers[label, value] for value in PARTICIPANTS]
        assert f"| {label} | {sum(columns):,} | {' | '.join(map(str, columns))} |\n" in card.replace("*", "")
    split_of = builder.split_clips(clips, "speaker")
    numbers = Counter((clip.label, split_of[clip.file]) for clip in clips)
    for label in LABELS:
        train, validation, test = (numbers[label, split] for split in SPLITS)
        assert f"| {label} | {train:,} | {validation} | {test} |\n" in card
