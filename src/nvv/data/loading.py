"""Corpora by name: which there are, their facts, and loading one as a `DatasetDict`.

Loading scripts are the modules ``nvv.dataset_scripts.<name>.<name>``; what a corpus is stands in ``nvv.data.corpus``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.resources
import inspect
import os
import re
from pathlib import Path

import datasets
import huggingface_hub
from datasets.exceptions import DatasetGenerationError

from .corpus import CorpusBuilder
from .facts import CorpusFacts
from .rawfiles import CorpusError

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

    Built corpora are cached by `datasets`; a changed raw file or a change to the code that reads it builds anew.

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
    builder = builder_class(
        cache_dir=cache,
        dataset_name=name,
        config_name=config,
        data_dir=None if data_dir is None else str(Path(data_dir).expanduser().resolve()),
        hash=hashlib.sha256(Path(inspect.getfile(builder_class)).read_bytes()).hexdigest()[:16],
    )
    try:
        builder.download_and_prepare()
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, ValueError):  # ours, which names the clip; the wrapper only says that it failed
            raise error.__cause__ from None
        raise
    return builder.as_dataset().cast_column("audio", datasets.Audio(decode=False))


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
