"""Corpora by name: which there are, their facts, and loading one as a `DatasetDict`.

Loading scripts are the modules ``nvv.dataset_scripts.<name>.<name>``; what a corpus is stands in ``nvv.data.corpus``.
The recordings of a corpus are kept once, undivided; its configs are rows and columns of that.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.resources
import inspect
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import datasets
import huggingface_hub
from datasets.exceptions import DatasetGenerationError

from ..files import write_text
from .corpus import EVERY_CLIP, CorpusBuilder
from .facts import CorpusFacts
from .rawfiles import CorpusError
from .splits import SPLITS

__all__ = ["corpus_builder", "corpus_facts", "list_corpora", "load_corpus"]

_SCRIPTS = "nvv.dataset_scripts"


def list_corpora() -> list[str]:
    """Return the names of the corpora that this package has a loading script for, sorted."""
    folder = importlib.resources.files(_SCRIPTS)
    return sorted(entry.name for entry in folder.iterdir() if (entry / f"{entry.name}.py").is_file())


def corpus_builder(name: str) -> type[CorpusBuilder]:
    """Return the builder class of a corpus.

    Args:
        name: One of `list_corpora`.

    Raises:
        CorpusError: If there is no such corpus.
    """
    if name not in list_corpora():
        raise CorpusError(f"Unknown corpus {name!r}; there are {', '.join(list_corpora())}.")
    module = importlib.import_module(f"{_SCRIPTS}.{name}.{name}")
    for value in vars(module).values():
        if inspect.isclass(value) and issubclass(value, CorpusBuilder) and value.__module__ == module.__name__:
            return value
    raise CorpusError(f"{module.__file__}: defines no subclass of CorpusBuilder.")


def load_corpus(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> datasets.DatasetDict:
    """Load a corpus with its splits.

    Built corpora are cached by `datasets`, the recordings once for all configs; a changed raw file or a change to the
    code that reads it builds anew.

    Args:
        name: One of `list_corpora`, or else a dataset repository: a folder that ``nvv prepare`` wrote, or a Hub id.
        data_dir: Folder or archive with the raw recordings; required unless the corpus is computed or can be
            downloaded, refused for anything else.
        config: Split protocol: ``"speaker"``, ``"stratified"``, ``"fold_0"`` … ``"fold_9"``, and ``"official"`` where
            the authors gave one; a task in a corpus that has several. None: the corpus's default, which is
            ``"speaker"`` unless the authors gave a split.
        cache_dir: Where built corpora are kept; by default where `datasets` keeps them.

    Returns:
        Splits ``train``, ``validation`` and ``test`` with the columns ``audio`` (undecoded cells
        ``{"bytes", "path"}``), ``label`` (ClassLabel) where the corpus has classes, ``file``, ``speaker_id`` and the
        corpus's metadata.

    Raises:
        CorpusError: If the corpus or the raw folder is not as expected.
        AudioError: If a clip cannot be decoded; the message names it. Nothing is left in the cache.
        SplitError: If this copy of the corpus cannot have the split, for want of speakers for example.
        ValueError: If the corpus has no such config.

    Example:
        >>> load_corpus("synthetic")["test"].features["label"].names[0]  # doctest: +SKIP
        'laugh'
    """
    cache = None if cache_dir is None else os.fspath(cache_dir)
    if name not in list_corpora():
        if data_dir is not None:
            raise CorpusError(
                f"data_dir was given for {name!r}, which is none of the raw corpora {', '.join(list_corpora())}."
            )
        loaded = datasets.load_dataset(name, config, cache_dir=cache)
        return loaded.cast_column("audio", datasets.Audio(decode=False))
    builder_class = corpus_builder(name)
    config = config or builder_class.DEFAULT_CONFIG_NAME
    if config not in builder_class.builder_configs:
        raise ValueError(f"config: {name} has {', '.join(builder_class.builder_configs)}; found {config!r}.")
    builder = builder_class(
        cache_dir=cache,
        dataset_name=name,
        data_dir=None if data_dir is None else str(Path(data_dir).expanduser().resolve()),
        hash=hashlib.sha256(Path(inspect.getfile(builder_class)).read_bytes()).hexdigest()[:16],
        every_clip=True,
    )
    split_of = _split_of(builder, config)
    clips = builder.as_dataset(split=EVERY_CLIP).cast_column("audio", datasets.Audio(decode=False))
    return _divided(clips, split_of, config=config, columns=list(builder.config_features(config)))


def _split_of(builder: CorpusBuilder, config: str) -> dict[str, str]:
    """Build the recordings if they are not there, and return the split of a config by file, kept beside them."""
    # The folder is named after the raw files and the code, so that what is in it stays right.
    kept = Path(builder.cache_dir) / f"split_{config}.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    # First, because it takes little time and may be impossible.
    split_of = builder.split_clips(builder.collect_clips(), builder.builder_configs[config].protocol)
    try:
        builder.download_and_prepare()
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, ValueError):  # ours, which names the clip; the wrapper only says that it failed
            raise error.__cause__ from None
        raise
    write_text(kept, json.dumps(split_of, ensure_ascii=False))
    return split_of


def _divided(
    clips: datasets.Dataset, split_of: Mapping[str, str], *, config: str, columns: list[str]
) -> datasets.DatasetDict:
    """Take the rows of each split and the columns of the config out of all clips; nothing is copied."""
    rows_of: dict[str, list[int]] = {split: [] for split in SPLITS}
    for row, file in enumerate(clips["file"][:]):
        if file in split_of:
            rows_of[split_of[file]].append(row)
    parts = {split: clips.select_columns(columns).select(rows) for split, rows in rows_of.items() if rows}
    sizes = datasets.SplitDict(dataset_name=clips.info.dataset_name)
    for split, part in parts.items():
        sizes.add(datasets.SplitInfo(name=split, num_examples=len(part)))
    divided = datasets.DatasetDict()
    for split, part in parts.items():
        info = part.info.copy()
        info.config_name, info.splits = config, sizes
        divided[split] = datasets.Dataset(
            part.data,
            info=info,
            split=datasets.NamedSplit(split),
            indices_table=part._indices,
            fingerprint=part._fingerprint,
        )
    return divided


def corpus_facts(name_or_dataset: str | datasets.Dataset | datasets.DatasetDict) -> CorpusFacts:
    """Return what a corpus states about itself.

    Args:
        name_or_dataset: One of `list_corpora`; a dataset repository (folder or Hub id), whose card is read; or a loaded
            dataset.

    Raises:
        CorpusError: If a repository has no card, or if a dataset carries no name that is known and no licence.
    """
    if isinstance(name_or_dataset, datasets.DatasetDict):
        return corpus_facts(next(iter(name_or_dataset.values())))
    if isinstance(name_or_dataset, datasets.Dataset):
        return _facts_of_info(name_or_dataset.info)
    if name_or_dataset in list_corpora():
        return corpus_builder(name_or_dataset).FACTS
    return _facts_of_card(name_or_dataset)


def _facts_of_info(info: datasets.DatasetInfo) -> CorpusFacts:
    name = info.dataset_name or info.builder_name
    if name in list_corpora():
        return corpus_builder(name).FACTS
    if not name:
        raise CorpusError("The dataset carries no name, so its licence is unknown; pass the corpus's name instead.")
    return CorpusFacts(
        name=name,
        pretty_name=name,
        licence=info.license or "unknown",
        homepage=info.homepage,
        citation=info.citation,
        summary=info.description,
    )


def _facts_of_card(repository: str) -> CorpusFacts:
    readme = Path(repository) / "README.md"
    if Path(repository).is_dir() and not readme.is_file():
        raise CorpusError(
            f"{readme}: no such file, so the dataset's licence is unknown; write the folder with nvv prepare."
        )
    card = huggingface_hub.DatasetCard.load(readme if readme.is_file() else repository)
    data = card.data.to_dict()
    citation = re.search(r"^```bibtex\n(.*?)^```", card.text, flags=re.MULTILINE | re.DOTALL)
    name = Path(repository).name
    licence = data.get("license") or "unknown"
    return CorpusFacts(
        name=name,
        pretty_name=data.get("pretty_name") or name,
        licence=licence if isinstance(licence, str) else licence[0],
        licence_url=data.get("license_link") or "",
        homepage="" if Path(repository).is_dir() else f"https://huggingface.co/datasets/{repository}",
        citation=citation.group(1).strip() if citation else "",
        is_synthetic="synthetic" in (data.get("tags") or []),
    )
