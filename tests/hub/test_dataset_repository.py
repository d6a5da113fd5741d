import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard

import nvv.data.corpus
from nvv.audio import AudioError, encode_wav
from nvv.data import (
    Clip,
    CorpusBuilder,
    CorpusConfig,
    CorpusError,
    CorpusFacts,
    Excluded,
    SplitError,
    corpus_builder,
    corpus_facts,
    load_corpus,
)
from nvv.hub import dataset_repository, shard_plan
from nvv.hub.dataset_repository import PreparedCorpus, prepare_corpus

NAME = "nonverbal_vocalization"


def write_raw_folder(root: Path) -> Path:
    """Ten speakers, two classes, one clip of each; no metadata file."""
    for number in range(10):
        for code, label in ((4, "coughing"), (12, "laughing")):
            path = root / "dataset" / label / f"AB{number:02d}_{code}_1_0_20_0_0_0.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_wav(np.full(100 + 10 * number + code, 0.1)))
    return root


@pytest.fixture
def raw_folder(tmp_path) -> Path:
    return write_raw_folder(tmp_path / "raw")


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory) -> PreparedCorpus:
    """The repository of the raw folder as it is; its raw folder stands beside it. Not to be written to."""
    folder = tmp_path_factory.mktemp("unchanged")
    return prepare_corpus(NAME, data_dir=write_raw_folder(folder / "raw"), output_dir=folder / NAME)


@pytest.fixture
def prepare(raw_folder, tmp_path):
    def prepare(**options):
        return prepare_corpus(NAME, **{"data_dir": raw_folder, "output_dir": tmp_path / "nvv" / NAME, **options})

    return prepare


def load(folder, config, tmp_path) -> datasets.DatasetDict:
    return datasets.load_dataset(str(folder), config, cache_dir=str(tmp_path / "cache"))


def rows_of(dataset) -> dict[str, tuple[str, dict]]:
    dataset = dataset.cast_column("audio", datasets.Audio(decode=False))
    return {row["file"]: (split, row) for split in dataset for row in dataset[split]}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files that were read, as they are read."""
    files = []
    builder_class = corpus_builder(NAME)
    original = builder_class.read_clip

    def read_clip(self, clip):
        files.append(clip.file)
        return original(self, clip)

    monkeypatch.setattr(builder_class, "read_clip", read_clip)
    return files


class Ratings(CorpusBuilder):
    """Three tasks over the same clips: two ratings, three ratings, one of two classes. Of 16 files one is foreign."""

    FACTS = CorpusFacts(
        name="ratings",
        pretty_name="Ratings",
        licence="other",
        terms="Whoever obtains it signs an agreement.",
        no_public_copies="The agreement forbids it.",
    )
    LABELS = ("cry", "laugh")
    ALLOW_MISSING_LABELS = True
    TARGETS = ("awe", "fear", "joy")
    SPEAKERS_ARE_KNOWN = False
    METADATA = {"country": datasets.Value("string")}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        CorpusConfig(name="two", with_label=False, targets=("awe", "fear")),
        CorpusConfig(name="three", protocol="official", with_label=False, targets=("joy", "fear", "awe")),
        CorpusConfig(name="kind"),
        CorpusConfig(name="speaker"),
    ]
    DEFAULT_CONFIG_NAME = "speaker"
    ROOT_MARKERS = ("*.wav",)
    LAYOUT = "a folder of WAV files."

    def list_clips(self, root):
        for number, path in enumerate(sorted(root.glob("*.wav"))):
            if number == 15:
                yield Excluded(file=path.name, reason="no rating")
                continue
            is_test = number >= 12
            yield Clip(
                file=path.name,
                label=None if is_test else self.LABELS[number % 2],
                targets={"awe": number / 16, "fear": None if is_test else 0.25, "joy": 1.0 - number / 16},
                metadata={"country": "Peru"},
                split="test" if is_test else "validation" if number >= 8 else "train",
            )

    def split_clips(self, clips, protocol):
        return super().split_clips(clips, "official" if protocol in ("two", "kind") else protocol)


@pytest.fixture
def ratings(tmp_path, monkeypatch):
    """The result of preparing `Ratings`."""
    (tmp_path / "ratings").mkdir()
    for number in range(16):
        (tmp_path / "ratings" / f"{number:02d}.wav").write_bytes(encode_wav(np.full(50 + number, 0.1)))
    monkeypatch.setattr(dataset_repository, "corpus_builder", lambda _: Ratings)
    return prepare_corpus("ratings", data_dir=tmp_path / "ratings", output_dir=tmp_path / "nvv" / "ratings")


@pytest.mark.parametrize("config", ["speaker", "stratified", "fold_0", "fold_9"])
def test_repository_loads_as_the_corpus_itself(unchanged, tmp_path, config):
    dataset = load(unchanged.output_dir, config, tmp_path)
    direct = load_corpus(
        NAME, data_dir=unchanged.output_dir.parent / "raw", config=config, cache_dir=tmp_path / "cache"
    )
    assert list(dataset) == list(direct) == ["train", "validation", "test"]
    assert rows_of(dataset) == rows_of(direct)
    assert isinstance(dataset["train"].features["audio"], datasets.Audio)
    assert dataset["train"].features["label"] == direct["train"].features["label"]


def test_bytes_come_back_unchanged(unchanged, tmp_path):
    rows = rows_of(load(unchanged.output_dir, "speaker", tmp_path))
    assert len(rows) == 20
    for file, (_, row) in rows.items():
        raw = (unchanged.output_dir.parent / "raw" / "dataset" / file).read_bytes()
        assert hashlib.sha256(row["audio"]["bytes"]).digest() == hashlib.sha256(raw).digest()


def test_default_config_is_by_speaker(unchanged, tmp_path):
    folder = unchanged.output_dir
    assert rows_of(load(folder, None, tmp_path)) == rows_of(load(folder, "speaker", tmp_path))


def test_audio_is_stored_once(unchanged):
    tables = [pq.read_table(path) for path in (unchanged.output_dir / "data").iterdir()]
    files = [file for table in tables for file in table["file"].to_pylist()]
    assert len(files) == len(set(files)) == unchanged.num_clips == 20
    assert len(tables) == unchanged.num_shards


def test_shards_are_split_at_the_limit_and_load_the_same(unchanged, prepare, tmp_path):
    whole = rows_of(load(unchanged.output_dir, "speaker", tmp_path))
    prepared = prepare(max_shard_bytes=600)
    assert prepared.num_shards > unchanged.num_shards
    folder = prepared.output_dir
    for path in (folder / "data").iterdir():
        sizes = [len(cell["bytes"]) for cell in pq.read_table(path)["audio"].to_pylist()]
        assert sum(sizes) <= 600 or len(sizes) == 1
    assert rows_of(load(folder, "speaker", tmp_path)) == whole


@pytest.mark.parametrize("num_workers", [1, 7])
def test_preparing_again_gives_the_same_bytes(unchanged, prepare, raw_folder, tmp_path, num_workers):
    again = tmp_path / "raw again"
    for path in sorted(raw_folder.rglob("*.wav"), reverse=True):  # written in another order, at another time
        copy = again / path.relative_to(raw_folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    prepared = prepare(data_dir=again, num_workers=num_workers)
    assert contents(prepared.output_dir) == contents(unchanged.output_dir)


def test_folds_are_made_of_the_same_parts(unchanged, tmp_path):
    folder = unchanged.output_dir
    builder = corpus_builder(NAME)(cache_dir=str(tmp_path / "cache"), data_dir=str(folder.parent / "raw"))
    parts = builder.fold_parts(builder.collect_clips())
    for fold in (0, 1, 9):
        found = {file: split for file, (split, _) in rows_of(load(folder, f"fold_{fold}", tmp_path)).items()}
        others = dict.fromkeys(range(10), "train")
        assert found == {file: {**others, (fold + 1) % 10: "validation", fold: "test"}[parts[file]] for file in parts}


def test_tasks_choose_their_columns_of_the_same_files(ratings, tmp_path):
    files = [
        file for path in (ratings.output_dir / "data").iterdir() for file in pq.read_table(path)["file"].to_pylist()
    ]
    assert sorted(files) == [f"{number:02d}.wav" for number in range(15)]
    columns = {"two": ["awe", "fear"], "three": ["joy", "fear", "awe"], "kind": ["label"]}
    for config, own in columns.items():
        dataset = load(ratings.output_dir, config, tmp_path)
        assert dataset.num_rows == {"train": 8, "validation": 4, "test": 3}
        assert dataset["train"].column_names == ["audio", *own, "file", "speaker_id", "country"]
    names = sorted(path.name for path in (ratings.output_dir / "data").iterdir())
    assert names == [f"official_{split}-00000.parquet" for split in ("test", "train", "validation")]
    assert "`kind`\n\nThe split that the corpus's authors released." in (ratings.output_dir / "README.md").read_text()
    row = rows_of(load(ratings.output_dir, "two", tmp_path))["13.wav"][1]
    assert (row["awe"], row["fear"], row["speaker_id"], row["country"]) == (0.8125, None, None, "Peru")
    kinds = rows_of(load(ratings.output_dir, "kind", tmp_path))
    assert [kinds[f"{number:02d}.wav"][1]["label"] for number in (0, 1, 13)] == [0, 1, None]


def test_first_config_is_the_default_when_the_usual_one_cannot_be_had(ratings, tmp_path):
    assert ratings.configs == ("two", "three", "kind")
    assert [name for name, _ in ratings.unavailable] == ["speaker"]
    assert rows_of(load(ratings.output_dir, None, tmp_path)) == rows_of(load(ratings.output_dir, "two", tmp_path))


def test_excluded_files_are_counted_and_listed(ratings):
    assert (ratings.num_clips, ratings.excluded) == (15, (("no rating", 1),))
    assert (ratings.output_dir / "excluded.csv").read_text(encoding="utf-8") == "file,reason\n15.wav,no rating\n"
    assert "| no rating | 1 |" in (ratings.output_dir / "README.md").read_text(encoding="utf-8")


def test_card_and_result_say_what_this_copy_cannot_have(ratings):
    reason = "ratings does not say who made 00.wav, so speakers cannot be kept apart."
    assert ratings.unavailable == (("speaker", reason),)
    assert f"- `speaker`: {reason}" in (ratings.output_dir / "README.md").read_text(encoding="utf-8")
    assert ratings.describe().splitlines() == [
        f"15 clips in {ratings.output_dir} (configs: two, three, kind)",
        f"excluded files: 1 (1 no rating), listed in {ratings.output_dir / 'excluded.csv'}",
        f"not available: speaker ({reason})",
    ]


def test_corpus_that_can_have_no_config_is_refused(prepare, monkeypatch, tmp_path):
    def refuse(*_):
        raise SplitError("too few")

    monkeypatch.setattr(corpus_builder(NAME), "split_clips", refuse)
    monkeypatch.setattr(corpus_builder(NAME), "fold_parts", refuse)
    with pytest.raises(SplitError, match=r"this copy can have none of the configs: too few$"):
        prepare()
    assert not (tmp_path / "nvv").exists()


def test_folds_are_left_out_when_there_are_too_few_speakers(prepare, raw_folder):
    for path in raw_folder.rglob("*.wav"):
        if path.name[:4] >= "AB06":
            path.unlink()
    prepared = prepare()
    assert prepared.configs == ("speaker", "stratified")
    assert [name for name, _ in prepared.unavailable] == [f"fold_{fold}" for fold in range(10)]
    assert "not available: fold_0 to fold_9 (10 parts need at least 10 speakers, found 6" in prepared.describe()
    header = DatasetCard.load(prepared.output_dir / "README.md").data
    assert [config["config_name"] for config in header.configs] == ["speaker", "stratified"]


def test_archive_is_taken_for_its_folder(unchanged, prepare, raw_folder, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "release"), "zip", raw_folder)
    assert contents(prepare(data_dir=archive).output_dir) == contents(unchanged.output_dir)
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [NAME]  # what was unpacked is gone


def test_downloads_are_kept_where_datasets_keeps_its_own(prepare, raw_folder, monkeypatch, tmp_path):
    folders = []

    def fetch(downloads, *, facts, cache_dir):
        folders.append(cache_dir)
        return raw_folder

    monkeypatch.setattr(nvv.data.corpus, "fetch", fetch)
    monkeypatch.setattr(corpus_builder(NAME), "DOWNLOADS", ("an archive",))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets cache")
    assert prepare(data_dir=None).num_clips == 20
    assert folders == [tmp_path / "datasets cache" / "nvv_raw"]


def test_interrupted_run_is_finished_by_the_next(unchanged, prepare, raw_folder, tmp_path, reads, monkeypatch):
    num_shards = unchanged.num_shards

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(dataset_repository, "render_dataset_card", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare()
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [f".{NAME}.incomplete"]
    reads.clear()
    # One clip has changed meanwhile, and half a file lies about.
    changed = raw_folder / "dataset" / "laughing" / "AB09_12_1_0_20_0_0_0.wav"
    os.utime(changed, ns=(0, 0))
    (tmp_path / "nvv" / f".{NAME}.incomplete" / "content" / "data" / ".incomplete-1-x.parquet").write_bytes(b"PAR")
    prepared = prepare()
    assert "laughing/AB09_12_1_0_20_0_0_0.wav" in reads
    assert len(reads) < 20
    assert (prepared.num_shards, prepared.num_reused) == (num_shards, num_shards - 1)
    assert f"{num_shards - 1} of {num_shards} Parquet files were kept from an interrupted run" in prepared.describe()
    assert contents(prepared.output_dir) == contents(unchanged.output_dir)
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [NAME]


@pytest.mark.parametrize("change", ["options", "code", "lost file"])
def test_interrupted_run_is_of_no_use_when_something_else_changed(prepare, reads, monkeypatch, tmp_path, change):
    with monkeypatch.context() as patched:
        patched.setattr(dataset_repository, "render_dataset_card", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare()
    reads.clear()
    if change == "code":
        monkeypatch.setattr(shard_plan, "code_digest", lambda: "another")
    if change == "lost file":
        for path in (tmp_path / "nvv" / f".{NAME}.incomplete" / "content" / "data").iterdir():
            path.write_bytes(path.read_bytes()[:-1])
    assert prepare(skip_bad_audio=change == "options").num_reused == 0
    assert len(reads) == 20


def test_facts_of_the_repository_are_those_of_the_corpus(unchanged):
    found, expected = corpus_facts(str(unchanged.output_dir)), corpus_facts(NAME)
    for field in ("name", "pretty_name", "licence", "citation", "is_synthetic"):
        assert getattr(found, field) == getattr(expected, field)


def test_nothing_is_left_when_a_clip_is_bad(prepare, raw_folder, tmp_path):
    (raw_folder / "dataset" / "laughing" / "AB09_12_1_0_20_0_0_0.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"laughing/AB09_12_1_0_20_0_0_0\.wav: empty file"):
        prepare()
    assert not (tmp_path / "nvv").exists()


def test_bad_clips_are_left_out_and_listed_when_asked(unchanged, prepare, raw_folder, tmp_path):
    before = {file: split for file, (split, _) in rows_of(load(unchanged.output_dir, "speaker", tmp_path)).items()}
    bad = "laughing/AB09_12_1_0_20_0_0_0.wav"
    (raw_folder / "dataset" / bad).write_bytes(b"")
    prepared = prepare(skip_bad_audio=True)
    assert prepared.skipped == ((bad, "empty file (0 bytes)."),)
    with (prepared.output_dir / "skipped.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == [["file", "reason"], [bad, "empty file (0 bytes)."]]
    assert f"| `{bad}` | empty file (0 bytes). |" in (prepared.output_dir / "README.md").read_text(encoding="utf-8")
    after = {file: split for file, (split, _) in rows_of(load(prepared.output_dir, "speaker", tmp_path)).items()}
    assert after == {file: split for file, split in before.items() if file != bad}


def test_there_is_no_list_of_bad_clips_when_all_are_good(prepare):
    prepared = prepare(skip_bad_audio=True)
    assert sorted(path.name for path in prepared.output_dir.iterdir()) == ["README.md", "data"]


def test_corpus_without_one_good_clip_is_refused(prepare, raw_folder, tmp_path):
    for path in raw_folder.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(CorpusError, match="None of the 20 clips could be decoded"):
        prepare(skip_bad_audio=True)
    assert not (tmp_path / "nvv").exists()


def test_splits_without_a_good_clip_are_no_splits(unchanged, prepare, raw_folder, tmp_path):
    rows = rows_of(load(unchanged.output_dir, "speaker", tmp_path))
    for file, (split, _) in rows.items():
        if split == "validation":
            (raw_folder / "dataset" / file).write_bytes(b"")
    folder = prepare(skip_bad_audio=True).output_dir
    assert list(load(folder, "speaker", tmp_path)) == ["train", "test"]


def test_earlier_repository_is_replaced(prepare, raw_folder, tmp_path):
    prepare(max_shard_bytes=600)
    (raw_folder / "dataset" / "laughing" / "AB09_12_1_0_20_0_0_0.wav").unlink()
    prepared = prepare()
    assert prepared.num_clips == 19
    assert len(rows_of(load(prepared.output_dir, "speaker", tmp_path))) == 19
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [NAME]


def test_earlier_repository_stays_when_a_clip_is_bad(prepare, raw_folder, tmp_path):
    prepared = prepare()
    before = (prepared.output_dir / "README.md").read_text(encoding="utf-8")
    (raw_folder / "dataset" / "laughing" / "AB09_12_1_0_20_0_0_0.wav").write_bytes(b"")
    with pytest.raises(AudioError):
        prepare()
    assert (prepared.output_dir / "README.md").read_text(encoding="utf-8") == before
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [NAME]


@pytest.mark.parametrize("entry", ["thesis.tex", "README.md", ".git/config"])
def test_foreign_folder_is_refused_and_kept(prepare, tmp_path, entry):
    target = tmp_path / "nvv" / NAME
    if entry.startswith(".git"):
        prepare()  # our own repository, but somebody pushes from it
    path = target / entry
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\ntags: [: mine\n---\n", encoding="utf-8")
    with pytest.raises(FileExistsError, match=f"holds '{entry.partition('/')[0]}', which nvv prepare did not write"):
        prepare()
    assert "mine" in path.read_text(encoding="utf-8")


def test_empty_folder_is_used_and_a_file_refused(prepare, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert prepare(output_dir=empty).num_clips == 20
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FileExistsError, match="is a file"):
        prepare(output_dir=file)


def test_full_disk_leaves_the_earlier_repository(prepare, monkeypatch, tmp_path):
    before = contents(prepare().output_dir)

    def refuse(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(dataset_repository, "render_dataset_card", refuse)
        with pytest.raises(OSError, match="disk full"):
            prepare()
    assert contents(tmp_path / "nvv" / NAME) == before
    prepared = prepare()  # room was made
    assert prepared.num_reused == prepared.num_shards
    assert contents(prepared.output_dir) == before
    assert [path.name for path in (tmp_path / "nvv").iterdir()] == [NAME]


@pytest.mark.parametrize("option", ["max_shard_bytes", "num_workers"])
def test_numbers_must_be_positive(prepare, option):
    with pytest.raises(ValueError, match=f"{option} must be positive, got 0"):
        prepare(**{option: 0})


def test_clips_outside_a_protocol_are_in_none_of_its_splits(prepare, monkeypatch, tmp_path):
    # As an official split will have it, which leaves some clips out.
    builder_class = dataset_repository.corpus_builder(NAME)
    original = builder_class.split_clips

    def without_one_speaker(self, clips, protocol):
        split_of = original(self, clips, protocol)
        return {f: s for f, s in split_of.items() if protocol == "speaker" or "AB00" not in f}

    monkeypatch.setattr(builder_class, "split_clips", without_one_speaker)
    folder = prepare().output_dir
    assert len(rows_of(load(folder, "speaker", tmp_path))) == 20
    assert len(rows_of(load(folder, "stratified", tmp_path))) == 18


def test_label_names_are_in_the_parquet_files_too(unchanged):
    path = next((unchanged.output_dir / "data").iterdir())
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert features["label"]["names"][12] == "laughing"


@pytest.mark.realdata
def test_real_sample_comes_back_as_it_is(real_data, tmp_path):
    raw = real_data / NAME
    prepared = prepare_corpus(NAME, data_dir=raw, output_dir=tmp_path / NAME)
    assert (prepared.num_clips, len(prepared.configs)) == (727, 12)
    rows = rows_of(load(prepared.output_dir, "speaker", tmp_path))
    raw_digests = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in raw.rglob("*.wav")}
    found = {Path(file).name: hashlib.sha256(row["audio"]["bytes"]).digest() for file, (_, row) in rows.items()}
    assert found == raw_digests
    for split in ("train", "validation", "test"):
        assert len({row["label"] for name, row in rows.values() if name == split}) == 16
    speakers = {(row["speaker_id"], split) for split, row in rows.values()}
    assert len(speakers) == len({speaker for speaker, _ in speakers}) == 410
    # Hours: the standard library's wave module adds the headers up to 2063.1 s = 0.5731 h.
    card = (prepared.output_dir / "README.md").read_text(encoding="utf-8")
    for row in ("| clips | 727 |", "| speakers | 410 |", "| hours | 0.573 |", "| sampling rate | 16,000 Hz |"):
        assert row in card
