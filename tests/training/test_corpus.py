from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import datasets
import pytest
import yaml

from nvv.audio import AudioError
from nvv.data import CorpusError, SplitError, manifest_digest, speaker_split
from nvv.data.synthetic_hume_vb import write_synthetic_hume_vb
from nvv.hub.dataset_repository import prepare_corpus
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.checkpoints import OutputFolderError
from nvv.training.config_files import parse_arguments
from nvv.training.corpus import VOC2VEC_PROTOCOLS, fold_protocols, load_run_corpus
from nvv.training.results import comparable_metrics
from nvv.training.run import train

COLUMNS = ("--audio_column", "clip", "--label_column", "sound", "--speaker_column", "who")
TWO_STEPS = ("--max_steps", "2", "--method", "frozen")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def own_clips(make_split, tmp_path):
    """Thirty tones of a tenth of a second in files: ten speakers, each with a clip of each of three classes."""
    split = make_split([0.1] * 30)
    rows = []
    for number, clip in enumerate(split):
        file = Path(f"S{number % 10}") / f"{number:02d}.wav"
        (tmp_path / "own" / file.parent).mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / file).write_bytes(clip["audio"]["bytes"])
        rows.append((file.as_posix(), split.features["label"].int2str(clip["label"]), f"S{number % 10}"))
    return rows


@pytest.fixture
def own_csv(own_clips, tmp_path):
    path = tmp_path / "own" / "clips.csv"
    path.write_text("clip,sound,who\n" + "".join(",".join(row) + "\n" for row in own_clips))
    return path


@pytest.fixture
def own_folder(own_clips, tmp_path):
    for file, label, _ in own_clips:
        path = tmp_path / "classes" / label / Path(file).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((tmp_path / "own" / file).read_bytes())
    return tmp_path / "classes"


def _manifest(splits):
    return {file: split for split, clips in splits.items() for file in clips["file"][:]}


# ----------------------------------------------------------------------------------------------------------------------
# Runs
# ----------------------------------------------------------------------------------------------------------------------


def test_table_trains_with_the_recipe_and_everything_is_recorded(command_line, own_csv, own_clips, tmp_path):
    (own_csv.parent / "README.md").write_text("---\nlicense: cc-by-nc-4.0\npretty_name: Our tones\n---\n")
    command = command_line("--corpus", str(own_csv), *COLUMNS, *TWO_STEPS)
    result = train(parse_arguments(command))
    files = [file for file, _, _ in own_clips]
    split_of = speaker_split(
        files, labels={file: label for file, label, _ in own_clips}, speakers={file: who for file, _, who in own_clips}
    )
    corpus = result.metrics["corpus"]
    assert {name: corpus[name] for name in ("name", "source", "columns", "config", "licence", "is_local")} == {
        "name": "clips",
        "source": "clips.csv",
        "columns": {"audio": "clip", "label": "sound", "speaker": "who"},
        "config": "speaker",
        "licence": "cc-by-nc-4.0",
        "is_local": True,
    }
    assert corpus["manifest_digest"] == manifest_digest(split_of)
    assert corpus["num_shared_speakers"] == 0
    assert result.metrics["labels"] == ["cough", "laugh", "sigh"]  # sorted texts
    assert result.metrics["splits"]["test"]["num_clips"] == 3
    assert result.metrics["training"]["best_step"] == 2
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "Our tones" in card
    assert "| columns of the corpus | audio: clip, label: sound, speaker: who |" in card
    assert f"| split manifest (SHA-256) | {corpus['manifest_digest']} |" in card
    assert "datasets" not in yaml.safe_load(card.split("---\n")[1])  # no dataset on the Hub is called so
    for file in (tmp_path / "run").iterdir():
        if file.suffix in (".json", ".md", ".yaml", ".csv"):
            assert str(own_csv.parent) not in file.read_text(encoding="utf-8"), file.name
    resumed = train(parse_arguments([*command, "--resume_from_checkpoint", "last"]))
    assert comparable_metrics(resumed.metrics) == comparable_metrics(result.metrics)
    with pytest.raises(OutputFolderError, match="split_protocol"):
        train(parse_arguments([*command, "--resume_from_checkpoint", "last", "--split_protocol", "fold_1"]))


def test_class_folders_train_with_the_recipe(command_line, own_folder, tmp_path):
    result = train(parse_arguments(command_line("--corpus", str(own_folder), *TWO_STEPS)))
    corpus = result.metrics["corpus"]
    assert (corpus["config"], corpus["columns"]) == ("stratified", {"audio": "audio", "label": "label"})
    assert result.metrics["splits"]["test"]["num_speakers"] is None
    assert "may also be in the training clips" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")


def test_fold_of_parquet_files_trains_with_the_recipe(command_line, make_split, tmp_path):
    split = make_split([0.1] * 30).remove_columns("speaker_id")  # folds of random clips
    split.rename_columns({"audio": "clip", "label": "sound"}).to_parquet(tmp_path / "p.parquet")
    options = ("--audio_column", "clip", "--label_column", "sound", "--split_protocol", "fold_3", *TWO_STEPS)
    result = train(parse_arguments(command_line("--corpus", str(tmp_path / "p.parquet"), *options)))
    assert result.metrics["corpus"]["config"] == "fold_3"
    assert result.metrics["splits"]["test"]["num_clips"] == 3
    assert result.metrics["labels"] == ["laugh", "sigh", "cough"]  # in the order of the ClassLabel


def test_damaged_clip_stops_the_run_before_it_trains(command_line, own_csv, own_clips, tmp_path):
    file = own_csv.parent / own_clips[17][0]
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(AudioError, match=f"^{own_clips[17][0]}: "):
        train(parse_arguments(command_line("--corpus", str(own_csv), *COLUMNS, *TWO_STEPS)))
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--label_column", "sound"), CorpusError, "no column 'audio'; found clip, sound, who"),
        ((*COLUMNS, "--split_protocol", "random"), ArgumentsError, "split_protocol: expected one of given, speaker"),
        ((*COLUMNS, "--corpus_config", "a"), CorpusError, "config: 'a' has no effect"),
    ],
)
def test_run_says_in_one_line_what_does_not_fit(command_line, own_csv, options, error, message):
    with pytest.raises(error, match=message):
        train(parse_arguments(command_line("--corpus", str(own_csv), *options)))


# ----------------------------------------------------------------------------------------------------------------------
# What a name means
# ----------------------------------------------------------------------------------------------------------------------


def test_prepared_folder_is_taken_as_it_is(corpus_folder):
    corpus = load_run_corpus(DataArguments(corpus=str(corpus_folder)))
    assert corpus.protocol == "speaker"
    assert corpus.was_decoded
    assert corpus.splits.num_rows == {"train": 24, "validation": 9, "test": 9}
    assert corpus.facts["manifest_digest"] == manifest_digest(_manifest(corpus.splits))
    assert "columns" not in corpus.facts


def test_prepared_folder_has_its_own_default(corpus_folder):
    card = corpus_folder / "README.md"
    files = "".join(f"  - {{split: {part}, path: {part}.parquet}}\n" for part in ("train", "validation", "test"))
    other = f"- config_name: official\n  default: true\n  data_files:\n{files}"
    card.write_text(card.read_text().replace("---\n# Tones", f"{other}---\n# Tones"))
    assert load_run_corpus(DataArguments(corpus=str(corpus_folder))).protocol == "official"
    assert load_run_corpus(DataArguments(corpus=str(corpus_folder), split_protocol="speaker")).protocol == "speaker"


def test_prepared_folder_lists_its_configs_when_it_lacks_one(corpus_folder):
    with pytest.raises(ArgumentsError, match=r"split_protocol: expected one of speaker for .*tones, found 'official'"):
        load_run_corpus(DataArguments(corpus=str(corpus_folder), split_protocol="official"))


def test_another_column_of_a_prepared_folder_can_be_the_label(corpus_folder):
    corpus = load_run_corpus(DataArguments(corpus=str(corpus_folder), label_column="speaker_id"))
    assert corpus.protocol == "speaker"
    assert corpus.splits.num_rows == {"train": 24, "validation": 9, "test": 9}
    assert corpus.splits["test"].features["label"].names == ["S0", "S1", "S2", "S3"]
    assert corpus.facts["licence"] == "cc-by-4.0"


def test_our_corpus_lists_its_protocols_when_it_lacks_one():
    with pytest.raises(ArgumentsError, match=r"split_protocol: expected one of speaker, stratified, .*found 'random'"):
        load_run_corpus(DataArguments(corpus="synthetic", split_protocol="random"))


def test_our_corpus_is_loaded_by_name_with_its_default_protocol(make_corpus, monkeypatch):
    loaded, asked = make_corpus(), []
    for split, clips in loaded.items():  # our corpora name each clip once
        files = [f"{split}/{file}" for file in clips["file"][:]]
        loaded[split] = clips.remove_columns("file").add_column("file", files)
    monkeypatch.setattr(
        "nvv.training.corpus.load_corpus", lambda name, **options: asked.append((name, options)) or loaded
    )
    corpus = load_run_corpus(DataArguments(data_dir="raw", data_cache_dir="cache"))
    assert asked == [("synthetic", {"data_dir": "raw", "config": "speaker", "cache_dir": "cache"})]
    assert (corpus.facts["name"], corpus.protocol) == ("synthetic", "speaker")
    assert corpus.facts["manifest_digest"] == manifest_digest(_manifest(loaded))
    relabelled = load_run_corpus(DataArguments(label_column="speaker_id", split_protocol="fold_2"))
    assert asked[-1][1]["config"] == relabelled.protocol == "fold_2"
    assert relabelled.splits["test"].features["label"].names == ["S0", "S1", "S2", "S3"]
    assert relabelled.facts["is_synthetic"]
    assert relabelled.facts["manifest_digest"] == corpus.facts["manifest_digest"]


@pytest.mark.parametrize("field", ["corpus_config", "corpus_revision"])
def test_our_corpus_takes_no_config_or_revision(field):
    with pytest.raises(ArgumentsError, match=f"{field}: expected none with corpus synthetic, found 'a'"):
        load_run_corpus(DataArguments(**{field: "a"}))


def test_one_class_is_refused(own_csv):
    own_csv.write_text(own_csv.read_text().replace("sigh", "laugh").replace("cough", "laugh"))
    data = DataArguments(corpus=str(own_csv), audio_column="clip", label_column="sound")
    with pytest.raises(ArgumentsError, match="label_column: expected at least two classes in column 'sound'"):
        load_run_corpus(data)


def test_paths_of_a_table_start_from_data_dir(own_csv, tmp_path):
    table = own_csv.rename(tmp_path / "elsewhere.csv")
    options = {"corpus": str(table), "audio_column": "clip", "label_column": "sound"}
    assert load_run_corpus(DataArguments(**options, data_dir=str(tmp_path / "own"))).protocol == "stratified"
    with pytest.raises(CorpusError, match="no file"):
        load_run_corpus(DataArguments(**options))


def test_given_splits_are_taken_from_a_column(own_csv):
    lines = own_csv.read_text().splitlines()
    parts = ["set", *(["train"] * 20), *(["dev"] * 5), *(["test"] * 5)]
    own_csv.write_text("".join(f"{line},{part}\n" for line, part in zip(lines, parts, strict=True)))
    data = DataArguments(corpus=str(own_csv), audio_column="clip", label_column="sound", split_column="set")
    corpus = load_run_corpus(data)
    assert corpus.protocol == "given"
    assert corpus.splits.num_rows == {"train": 20, "validation": 5, "test": 5}
    assert json.dumps(corpus.facts)  # everything that is recorded can be written
    with pytest.raises(SplitError, match="needs to know who"):
        load_run_corpus(DataArguments(**{**vars(data), "split_protocol": "speaker"}))


# ----------------------------------------------------------------------------------------------------------------------
# voc2vec's folds
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fold", [0, 9])
def test_voc2vec_fold_is_validation_and_test(own_csv, own_clips, fold):
    options = {"corpus": str(own_csv), "audio_column": "clip", "label_column": "sound", "speaker_column": "who"}
    corpus = load_run_corpus(DataArguments(**options, split_protocol=f"voc2vec_fold_{fold}"))
    files = [file for file, _, _ in own_clips]
    # The published rule on 30 shuffled clips: each fold is the next three. Our order is that of the names' digests.
    shuffled = sorted(files, key=lambda file: hashlib.sha256(file.encode()).hexdigest())
    held_out = shuffled[3 * fold : 3 * fold + 3]
    assert corpus.protocol == f"voc2vec_fold_{fold}"
    assert corpus.splits["validation"]["file"][:] == corpus.splits["test"]["file"][:] == sorted(held_out)
    assert corpus.splits["train"]["file"][:] == sorted(set(files) - set(held_out))
    split_of = {file: "test" if file in held_out else "train" for file in files}
    assert corpus.facts["manifest_digest"] == manifest_digest(split_of)
    assert "it is the validation score" in corpus.facts["protocol_note"]
    tested = {who for file, _, who in own_clips if file in held_out}
    trained = {who for file, _, who in own_clips if file not in held_out}
    assert corpus.facts["num_shared_speakers"] == len(tested & trained) > 0
    rows = {row["file"]: row for part in corpus.splits.values() for row in part}
    names = corpus.splits["train"].features["label"].names
    assert {file: names[row["label"]] for file, row in rows.items()} == {file: label for file, label, _ in own_clips}


@pytest.mark.slow
def test_voc2vec_folds_test_each_clip_of_our_corpus_once(tmp_path):
    folds = [
        load_run_corpus(
            DataArguments(corpus="synthetic", split_protocol=protocol, data_cache_dir=str(tmp_path / "cache"))
        )
        for protocol in VOC2VEC_PROTOCOLS
    ]
    whole = load_run_corpus(DataArguments(corpus="synthetic", data_cache_dir=str(tmp_path / "cache")))
    every = sorted(_manifest(whole.splits))
    assert sorted(file for fold in folds for file in fold.splits["test"]["file"][:]) == every
    assert folds[4].was_decoded
    assert folds[4].facts["is_synthetic"]
    assert "num_shared_speakers" not in folds[4].facts
    assert len(list((tmp_path / "cache").rglob("*.arrow"))) == 1


def test_voc2vec_fold_of_a_prepared_folder_is_made_of_all_its_clips(corpus_folder):
    card = corpus_folder / "README.md"
    for part in ("train", "validation", "test"):  # our corpora name each clip once
        table = datasets.Dataset.from_parquet(str(corpus_folder / f"{part}.parquet"))
        names = [f"{part}/{file}" for file in table["file"][:]]
        table.remove_columns("file").add_column("file", names).to_parquet(corpus_folder / f"{part}.parquet")
    card.write_text(card.read_text().replace("config_name: speaker", "config_name: stratified"))
    corpus = load_run_corpus(DataArguments(corpus=str(corpus_folder), split_protocol="voc2vec_fold_9"))
    # 42 clips: nine folds of 4, the last also takes the 2 that are left over
    assert corpus.splits.num_rows == {"train": 36, "validation": 6, "test": 6}


def test_voc2vec_fold_is_refused_when_no_protocol_holds_all_clips(corpus_folder):
    with pytest.raises(ArgumentsError, match=r"voc2vec_fold_2 needs all clips .* found 'stratified'"):
        load_run_corpus(DataArguments(corpus=str(corpus_folder), split_protocol="voc2vec_fold_2"))


def test_unknown_protocol_is_told_of_the_voc2vec_folds():
    with pytest.raises(ArgumentsError, match=r"found 'voc2vec_fold_10'. voc2vec_fold_0 … voc2vec_fold_9 are there"):
        load_run_corpus(DataArguments(corpus="synthetic", split_protocol="voc2vec_fold_10"))


def test_voc2vec_fold_trains_with_the_recipe_and_says_so(command_line, own_csv, tmp_path):
    options = ("--corpus", str(own_csv), *COLUMNS, *TWO_STEPS, "--split_protocol", "voc2vec_fold_1")
    metrics = train(parse_arguments(command_line(*options))).metrics
    assert metrics["corpus"]["config"] == "voc2vec_fold_1"
    assert metrics["corpus"]["protocol_note"].startswith("voc2vec's published protocol")
    assert metrics["splits"]["validation"]["scores"] == metrics["splits"]["test"]["scores"]


def test_fold_protocols_are_those_of_the_corpus(own_csv, corpus_folder):
    ten = [f"fold_{fold}" for fold in range(10)]
    assert fold_protocols(DataArguments(corpus="synthetic")) == ten
    own = DataArguments(corpus=str(own_csv), audio_column="clip", label_column="sound", speaker_column="who")
    assert fold_protocols(own) == ten
    assert load_run_corpus(dataclasses.replace(own, split_protocol=ten[-1])).protocol == "fold_9"
    with pytest.raises(ArgumentsError, match="has no folds; its protocols are speaker"):
        fold_protocols(DataArguments(corpus=str(corpus_folder)))


# ----------------------------------------------------------------------------------------------------------------------
# Detectors, and computed corpora
# ----------------------------------------------------------------------------------------------------------------------


def test_positive_labels_leave_two_classes_when_a_detector_is_asked_for(corpus_folder):
    whole = load_run_corpus(DataArguments(corpus=str(corpus_folder)))
    data = DataArguments(corpus=str(corpus_folder), positive_labels=["laugh", "cough"])
    corpus = load_run_corpus(data)
    assert corpus.splits["test"].features["label"].names == ["other", "laugh+cough"]
    assert corpus.facts["positive_labels"] == ["laugh", "cough"]
    for split, clips in corpus.splits.items():
        names = [whole.splits[split].features["label"].int2str(label) for label in whole.splits[split]["label"][:]]
        assert list(clips["label"][:]) == [int(name != "sigh") for name in names]
        assert list(clips["file"][:]) == list(whole.splits[split]["file"][:])


@pytest.mark.parametrize(
    ("labels", "named"),
    [(["giggle"], "no class is called 'giggle'"), (["laugh", "sigh", "cough"], "every class is named")],
)
def test_positive_labels_are_refused_when_they_make_no_detector(corpus_folder, labels, named):
    with pytest.raises(ArgumentsError, match=named):
        load_run_corpus(DataArguments(corpus=str(corpus_folder), positive_labels=labels))


def test_corpus_is_synthetic_when_its_folder_says_so(tmp_path):
    tree = write_synthetic_hume_vb(tmp_path / "tree", num_clips=(6, 4, 4))
    data = DataArguments(corpus="hume_vb", data_dir=str(tree), split_protocol="two")
    assert load_run_corpus(data).facts["is_synthetic"] is True
    (tree / "SYNTHETIC.md").unlink()
    assert load_run_corpus(data).facts["is_synthetic"] is False


# ----------------------------------------------------------------------------------------------------------------------
# Numbers and several tasks
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rated_csv(own_clips, tmp_path):
    """The tones with a number, and with a class that some lack."""
    path = tmp_path / "own" / "rated.csv"
    rows = ["audio,valence,kind,who"]
    for number, (file, sound, who) in enumerate(own_clips):
        rows.append(f"{file},{number / 10},{sound if number % 5 else ''},{who}")
    path.write_text("\n".join(rows))
    return path


def test_targets_take_no_label_column(rated_csv):
    corpus = load_run_corpus(DataArguments(corpus=str(rated_csv), target_columns=["valence"]))
    assert set(corpus.splits["train"].column_names) == {"audio", "file", "valence"}
    assert "label" not in corpus.facts["columns"]
    with pytest.raises(CorpusError, match="no column 'label'"):
        load_run_corpus(DataArguments(corpus=str(rated_csv)))


def test_tasks_keep_their_classes_though_some_are_missing(rated_csv):
    tasks = {"two": {"targets": ["valence"]}, "type": {"label": "kind"}}
    corpus = load_run_corpus(DataArguments(corpus=str(rated_csv), tasks=tasks, speaker_column="who"))
    kinds = [kind for split in corpus.splits.values() for kind in split["kind"][:]]
    assert kinds.count(None) == 6
    assert corpus.splits["train"].features["valence"] == datasets.Value("float64")
    assert corpus.protocol == "speaker"


def test_metadata_is_there_when_asked_for(own_csv, corpus_folder):
    data = DataArguments(corpus=str(own_csv), audio_column="clip", label_column="sound")
    assert "who" in load_run_corpus(data, metadata_columns=["who"]).splits["test"].column_names
    assert "who" not in load_run_corpus(data).splits["test"].column_names
    prepared = load_run_corpus(DataArguments(corpus=str(corpus_folder)), metadata_columns=["speaker_id"])
    assert "speaker_id" in prepared.splits["test"].column_names


def test_prepared_tasks_are_a_corpus_of_ours_when_no_protocol_is_named(tmp_path):
    tree = write_synthetic_hume_vb(tmp_path / "tree", num_clips=(6, 4, 4))
    prepare_corpus("hume_vb", data_dir=tree, output_dir=tmp_path / "hume_vb")
    corpus = load_run_corpus(DataArguments(corpus=str(tmp_path / "hume_vb"), target_columns=["Awe"]))
    assert corpus.protocol == "high"  # the corpus's default
    assert corpus.splits["train"].num_rows == 6


def test_detector_of_chosen_rows_takes_their_labels_and_copies_no_audio(own_csv, monkeypatch):
    monkeypatch.setattr(datasets.Dataset, "flatten_indices", lambda *args, **options: pytest.fail("audio was copied"))
    asked = {"corpus": str(own_csv), "audio_column": "clip", "label_column": "sound", "speaker_column": "who"}
    whole = load_run_corpus(DataArguments(**asked, split_protocol="fold_1"))
    assert whole.splits["train"]._indices is not None  # a choice of rows, as all our splits are
    detector = load_run_corpus(DataArguments(**asked, split_protocol="fold_1", positive_labels=["sigh"]))
    for split, clips in detector.splits.items():
        sounds = whole.splits[split].features["label"].int2str(list(whole.splits[split]["label"][:]))
        assert list(clips["label"][:]) == [int(sound == "sigh") for sound in sounds]
        assert list(clips["file"][:]) == list(whole.splits[split]["file"][:])
        paths = [cell["path"] for cell in clips.cast_column("audio", datasets.Audio(decode=False))["audio"][:]]
        assert [Path(path).name for path in paths] == [Path(file).name for file in clips["file"][:]]
