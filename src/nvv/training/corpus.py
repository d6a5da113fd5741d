"""The recordings of a run: one of our corpora, a prepared repository, or data of one's own, all in the same columns.

Which of the three a name means is decided here; reading is ``nvv.data``'s, decoding the neighbour `dataset`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from ..data import SPLITS, corpus_builder, corpus_facts, list_corpora, load_corpus, manifest_digest, random_folds
from ..data.own_data import OwnData, open_own_data
from ..data.own_sources import config_names
from ..data.own_splits import OWN_PROTOCOLS
from ..data.synthetic_hume_vb import MARKER as SYNTHETIC_MARKER
from .arguments import COLUMN_FIELDS, ArgumentsError, DataArguments

# Configs by which a repository shows that `nvv prepare` wrote it: one of these is among them, or there are none but the
# tasks of Hume-VB, which has no such protocols.
_PREPARED_CONFIGS = {"speaker", "official", "stratified"}
_TASK_CONFIGS = {"high", "two", "culture", "type", "joint"}

VOC2VEC_PROTOCOLS = tuple(f"voc2vec_fold_{fold}" for fold in range(10))
"""Ten random folds by voc2vec's published rule: what is held out chooses the checkpoint and is the test too."""

NEGATIVE_LABEL = "other"
"""What `positive_labels` calls the classes that are not named."""

_EVERY_CLIP = "stratified"  # the protocol that leaves no clip out
_VOC2VEC_NOTE = (
    "voc2vec's published protocol (Koudounas et al., ICASSP 2025), for comparison with it: one of ten random folds, "
    "made without regard to classes and speakers, is held out, and the same clips choose the checkpoint and are the "
    "test. So the test score is an optimistic one: it is the validation score."
)


@dataclass(frozen=True, kw_only=True)
class RunCorpus:
    """The recordings of a run.

    Args:
        splits: `train`, `validation` and `test` with the columns `audio`, `label`, `file`, and `speaker_id` if known.
        protocol: how they were split: a protocol, or a config of the corpus.
        facts: what results and cards record of the corpus: its `CorpusFacts`, `manifest_digest` of the split, and of
            data of one's own `source`, `columns`, `num_shared_speakers`, `is_local` and `revision` too;
            `protocol_note` where a protocol needs a word of warning.
        was_decoded: whether every clip was decoded when the corpus was built, so that none can be damaged.
    """

    splits: datasets.DatasetDict
    protocol: str
    facts: Mapping[str, Any]
    was_decoded: bool


def load_run_corpus(data: DataArguments, *, metadata_columns: Sequence[str] = ()) -> RunCorpus:
    """Load the recordings of a run.

    Args:
        data: the data group of the arguments.
        metadata_columns: further columns that are wanted of data of one's own; the targets and classes of the tasks are
            there in any case, and corpora have all their columns.

    Returns:
        The splits and what is known of them; with `positive_labels` the column `label` has a detector's two classes.

    Raises:
        ArgumentsError: for a protocol that the corpus does not have, naming those it has, an option without effect, or
            a corpus without one of the splits.
        ValueError: as `nvv.data.load_corpus` and `nvv.data.own_data.load_own_data`.
        OSError: for a dataset that the Hub does not have.
    """
    corpus = _load(data, metadata_columns)
    if data.positive_labels is not None:
        corpus = _as_detection(corpus, data.positive_labels)
    if data.data_dir is not None and (Path(data.data_dir).expanduser() / SYNTHETIC_MARKER).is_file():
        corpus = dataclasses.replace(corpus, facts={**corpus.facts, "is_synthetic": True})
    return corpus


def _as_detection(corpus: RunCorpus, positive_labels: list[str]) -> RunCorpus:
    """Make one class of the positive ones and another, `other`, of the rest."""
    if "label" not in corpus.splits["train"].column_names:
        raise ArgumentsError("positive_labels: the corpus has no classes; use target_columns or tasks for its numbers.")
    names = corpus.splits["train"].features["label"].names
    unknown = [label for label in positive_labels if label not in names]
    if unknown:
        raise ArgumentsError(f"positive_labels: no class is called {unknown[0]!r}; there are {', '.join(names)}.")
    if set(positive_labels) == set(names):
        raise ArgumentsError("positive_labels: every class is named, so that nothing is left to tell them from.")
    positive = "+".join(positive_labels)
    if positive == NEGATIVE_LABEL:
        raise ArgumentsError(f"positive_labels: {positive!r} is what all other classes are called here; name another.")
    is_positive = [name in positive_labels for name in names]
    feature = datasets.ClassLabel(names=[NEGATIVE_LABEL, positive])
    splits = {}
    for split, clips in corpus.splits.items():
        # All rows behind the split, and its choice of them put back: adding a column to a choice would copy its audio.
        rows = datasets.Dataset(clips.data, info=clips.info.copy())
        column = [None if label is None else int(is_positive[label]) for label in rows["label"][:]]
        relabelled = rows.remove_columns("label").add_column("label", column, feature=feature)
        splits[split] = datasets.Dataset(
            relabelled.data, info=relabelled.info, split=clips.split, indices_table=clips._indices
        )
    facts = {**corpus.facts, "positive_labels": list(positive_labels)}
    return dataclasses.replace(corpus, splits=datasets.DatasetDict(splits), facts=facts)


def _load(data: DataArguments, metadata_columns: Sequence[str]) -> RunCorpus:
    """Load the recordings with their own classes."""
    if data.split_protocol in VOC2VEC_PROTOCOLS:
        return _voc2vec_fold(data, VOC2VEC_PROTOCOLS.index(data.split_protocol), metadata_columns)
    is_ours = data.corpus in list_corpora()
    protocol = _config_of(data, is_ours=is_ours)
    columns = {**_columns(data), **_further_columns(data, metadata_columns)}
    if protocol is None:
        own = open_own_data(data.corpus, **columns, **_place(data), split_protocol=data.split_protocol)
        return _own(data, own)
    if not is_ours and (data.corpus_revision is not None or _columns(data)):
        place = {**_place(data), "config": protocol}
        return _own(data, open_own_data(data.corpus, **columns, **place, split_protocol="given"), protocol)
    splits = load_corpus(data.corpus, data_dir=data.data_dir, config=protocol, cache_dir=data.data_cache_dir)
    _check_splits(data, splits, protocol=protocol)
    facts = dataclasses.asdict(corpus_facts(data.corpus))
    if _columns(data):  # another column of the corpus as its label
        own = _own(data, open_own_data(splits, **columns, split_protocol="given"), protocol)
        return dataclasses.replace(own, facts={**own.facts, **facts, "is_local": False}, was_decoded=True)
    split_of = {file: split for split, clips in splits.items() for file in clips["file"][:]}
    facts["manifest_digest"] = manifest_digest(split_of)
    return RunCorpus(splits=splits, protocol=protocol, facts=facts, was_decoded=True)


def fold_protocols(data: DataArguments) -> list[str]:
    """Return the fold protocols that a corpus has, such as `fold_0` to `fold_9`.

    Args:
        data: the data group of the arguments; its `split_protocol` does not count.

    Raises:
        ArgumentsError: for a corpus without folds.
    """
    if data.corpus in list_corpora():
        protocols = list(corpus_builder(data.corpus).builder_configs)
    else:
        protocols = [] if data.corpus_config else config_names(data.corpus, revision=data.corpus_revision)
        if not _is_prepared(protocols):
            protocols = list(OWN_PROTOCOLS)
    folds = [name for name in protocols if name.startswith("fold_")]
    if not folds:
        raise ArgumentsError(f"corpus: {data.corpus} has no folds; its protocols are {', '.join(protocols)}.")
    return folds


def _voc2vec_fold(data: DataArguments, fold: int, metadata_columns: Sequence[str]) -> RunCorpus:
    """Pool all clips of a corpus and hold out one of voc2vec's folds, as validation and test at once."""
    protocol = VOC2VEC_PROTOCOLS[fold]
    try:
        whole = _load(dataclasses.replace(data, split_protocol=_EVERY_CLIP), metadata_columns)
    except ArgumentsError as error:
        raise ArgumentsError(
            f"split_protocol: {protocol} needs all clips of {data.corpus}, which the protocol {_EVERY_CLIP} gives: "
            f"{error}"
        ) from error
    clips = datasets.concatenate_datasets([whole.splits[split] for split in SPLITS])
    files = list(clips["file"][:])
    part_of = random_folds(files, num_folds=len(VOC2VEC_PROTOCOLS))
    rows = sorted(range(len(files)), key=files.__getitem__)
    held_out = clips.select([row for row in rows if part_of[files[row]] == fold])
    splits = {
        "train": clips.select([row for row in rows if part_of[files[row]] != fold]),
        "validation": held_out,
        "test": held_out,
    }
    facts = {
        **whole.facts,
        "manifest_digest": manifest_digest(
            {file: "test" if part == fold else "train" for file, part in part_of.items()}
        ),
        "protocol_note": _VOC2VEC_NOTE,
    }
    if facts.get("num_shared_speakers") is not None:
        train, test = (set(splits[split]["speaker_id"][:]) for split in ("train", "test"))
        facts["num_shared_speakers"] = len((train & test) - {None})
    return dataclasses.replace(whole, splits=datasets.DatasetDict(splits), protocol=protocol, facts=facts)


def _config_of(data: DataArguments, *, is_ours: bool) -> str | None:
    """Return the config that the corpus has for the protocol; None for data of one's own, which is split here."""
    asked = data.split_protocol
    if is_ours:
        for field in ("corpus_config", "corpus_revision"):
            if getattr(data, field) is not None:
                raise ArgumentsError(
                    f"{field}: expected none with corpus {data.corpus}, found {getattr(data, field)!r}. "
                    "Its configs are chosen by split_protocol."
                )
        builder = corpus_builder(data.corpus)
        configs, default = list(builder.builder_configs), builder.DEFAULT_CONFIG_NAME
    else:
        configs = [] if data.corpus_config else config_names(data.corpus, revision=data.corpus_revision)
        if asked not in configs and not _is_prepared(configs):
            return None
        default = asked or datasets.get_dataset_default_config_name(data.corpus, revision=data.corpus_revision)
    if asked is not None and asked not in configs:
        raise ArgumentsError(
            f"split_protocol: expected one of {', '.join(configs)} for {data.corpus}, found {asked!r}. "
            f"{VOC2VEC_PROTOCOLS[0]} … {VOC2VEC_PROTOCOLS[-1]} are there for every corpus."
        )
    return asked or default


def _is_prepared(configs: list[str]) -> bool:
    """Say whether a repository with these configs is one that `nvv prepare` wrote."""
    return bool(_PREPARED_CONFIGS & set(configs)) or (bool(configs) and set(configs) <= _TASK_CONFIGS)


def _columns(data: DataArguments) -> dict[str, str]:
    """Return the columns that were named, as arguments of `open_own_data`."""
    return {name: getattr(data, name) for name in COLUMN_FIELDS if getattr(data, name) is not None}


def _further_columns(data: DataArguments, metadata_columns: Sequence[str]) -> dict[str, Any]:
    """Return what is predicted instead of the column `label`, and metadata, as arguments of `open_own_data`."""
    tasks = [task for task in (data.tasks or {}).values() if isinstance(task, Mapping)]  # others are refused later
    targets = [*(data.target_columns or ()), *(column for task in tasks for column in task.get("targets") or ())]
    classes = [task["label"] for task in tasks if task.get("label")]
    if data.label_column is not None:  # it is then `label`, as in every corpus
        classes = [column for column in classes if column != "label"]
    further = {
        "target_columns": list(dict.fromkeys(targets)),
        "metadata_columns": list(dict.fromkeys([*classes, *metadata_columns])),
    }
    if data.label_column is None and (data.target_columns is not None or data.tasks is not None):
        further["label_column"] = None
    return further


def _place(data: DataArguments) -> dict[str, Any]:
    """Return where the data is, as arguments of `open_own_data`."""
    return {
        "config": data.corpus_config,
        "data_dir": data.data_dir,
        "cache_dir": data.data_cache_dir,
        "revision": data.corpus_revision,
    }


def _own(data: DataArguments, own: OwnData, protocol: str | None = None) -> RunCorpus:
    """Put data of one's own into the form of a run's."""
    label = own.splits["train"].features.get("label")
    names = label.names if isinstance(label, datasets.ClassLabel) else None  # none with targets or tasks only
    if names is not None and len(names) < 2:
        raise ArgumentsError(
            f"label_column: expected at least two classes in column {own.columns['label']!r} of {data.corpus}, found "
            f"{', '.join(names)}."
        )
    path = Path(data.corpus)
    facts = {
        **dataclasses.asdict(own.facts),
        # Where a file lies on a machine is nobody's business once the results are pushed.
        "source": path.name if path.is_absolute() or data.corpus.startswith("~") else data.corpus,
        "columns": dict(own.columns),
        "manifest_digest": own.manifest_digest,
        "num_shared_speakers": own.num_shared_speakers,
        "is_local": own.is_local,
        "revision": own.revision,
    }
    return RunCorpus(splits=own.splits, protocol=protocol or own.protocol, facts=facts, was_decoded=False)


def _check_splits(data: DataArguments, splits: datasets.DatasetDict, *, protocol: str) -> None:
    missing = [split for split in SPLITS if split not in splits]
    if missing:
        raise ArgumentsError(
            f"corpus: {data.corpus} with split_protocol {protocol} has no {' and no '.join(missing)} split; "
            f"found {', '.join(splits)}."
        )
