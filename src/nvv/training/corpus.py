"""The recordings of a run: one of our corpora, a prepared repository, or data of one's own, all in the same columns.

Which of the three a name means is decided here; reading is ``nvv.data``'s, decoding the neighbour `dataset`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from ..data import SPLITS, corpus_builder, corpus_facts, list_corpora, load_corpus, manifest_digest
from ..data.own_data import OwnData, open_own_data
from ..data.own_sources import config_names
from .arguments import COLUMN_FIELDS, ArgumentsError, DataArguments

# Configs by which a repository shows that `nvv prepare` wrote it.
_PREPARED_CONFIGS = {"speaker", "official", "stratified"}


@dataclass(frozen=True, kw_only=True)
class RunCorpus:
    """The recordings of a run.

    Args:
        splits: `train`, `validation` and `test` with the columns `audio`, `label`, `file`, and `speaker_id` if known.
        protocol: how they were split: a protocol, or a config of the corpus.
        facts: what results and cards record of the corpus: its `CorpusFacts`, `manifest_digest` of the split, and of
            data of one's own `source`, `columns`, `num_shared_speakers`, `is_local` and `revision` too.
        was_decoded: whether every clip was decoded when the corpus was built, so that none can be damaged.
    """

    splits: datasets.DatasetDict
    protocol: str
    facts: Mapping[str, Any]
    was_decoded: bool


def load_run_corpus(data: DataArguments) -> RunCorpus:
    """Load the recordings of a run.

    Args:
        data: the data group of the arguments.

    Returns:
        The splits and what is known of them.

    Raises:
        ArgumentsError: for a protocol that the corpus does not have, naming those it has, an option without effect, or
            a corpus without one of the splits.
        ValueError: as `nvv.data.load_corpus` and `nvv.data.own_data.load_own_data`.
        OSError: for a dataset that the Hub does not have.
    """
    is_ours = data.corpus in list_corpora()
    protocol = _config_of(data, is_ours=is_ours)
    if protocol is None:
        return _own(
            data, open_own_data(data.corpus, **_columns(data), **_place(data), split_protocol=data.split_protocol)
        )
    if not is_ours and (data.corpus_revision is not None or _columns(data)):
        place = {**_place(data), "config": protocol}
        return _own(data, open_own_data(data.corpus, **_columns(data), **place, split_protocol="given"), protocol)
    splits = load_corpus(data.corpus, data_dir=data.data_dir, config=protocol, cache_dir=data.data_cache_dir)
    _check_splits(data, splits, protocol=protocol)
    facts = dataclasses.asdict(corpus_facts(data.corpus))
    if _columns(data):  # another column of the corpus as its label
        own = _own(data, open_own_data(splits, **_columns(data), split_protocol="given"), protocol)
        return dataclasses.replace(own, facts={**own.facts, **facts, "is_local": False}, was_decoded=True)
    split_of = {file: split for split, clips in splits.items() for file in clips["file"][:]}
    facts["manifest_digest"] = manifest_digest(split_of)
    return RunCorpus(splits=splits, protocol=protocol, facts=facts, was_decoded=True)


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
        if asked not in configs and not _PREPARED_CONFIGS & set(configs):
            return None
        default = asked or datasets.get_dataset_default_config_name(data.corpus, revision=data.corpus_revision)
    if asked is not None and asked not in configs:
        raise ArgumentsError(
            f"split_protocol: expected one of {', '.join(configs)} for {data.corpus}, found {asked!r}."
        )
    return asked or default


def _columns(data: DataArguments) -> dict[str, str]:
    """Return the columns that were named, as arguments of `open_own_data`."""
    return {name: getattr(data, name) for name in COLUMN_FIELDS if getattr(data, name) is not None}


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
    names = own.splits["train"].features["label"].names
    if len(names) < 2:
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
