"""The card of a tagged dataset: whose recordings it holds, under which terms, and whose opinion the new columns are.

Everything comes from the source's own card, the plan and what was counted. Licence and conditions are the source's; a
source of which copies may not be public gives a card that forbids them too, which ``nvv push-dataset`` heeds. This is a
record of terms, not legal advice. Own work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from ..data import CorpusFacts, corpus_facts, list_corpora
from ..inference.report_facts import SYNTHETIC_SOUNDS
from .plan import Plan
from .sources import CardOfSource

__all__ = ["TaggedFacts", "render_card"]

# What a header may ask of whoever gets a copy: the licence, and the terms shown before access is given.
_TERMS = re.compile(r"license(_name|_link)?|extra_gated_\w+")
_SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
_LARGEST = "n>1M"


@dataclass(frozen=True, kw_only=True)
class TaggedFacts:
    """What the card is rendered from.

    Attributes:
        plan: What was done.
        source: The source's card.
        is_local: Whether the source is a folder or file, and not on the Hub.
        num_rows: Split to number of rows.
        num_bytes: Split to size of its files.
        num_unreadable: Rows without an answer, in all splits.
        column_notes: Column to what it holds, in words.
        model_warnings: Why the model's scores are no result, each in one sentence.
    """

    plan: Plan
    source: CardOfSource
    is_local: bool
    num_rows: Mapping[str, int]
    num_bytes: Mapping[str, int]
    num_unreadable: int
    column_notes: Mapping[str, str]
    model_warnings: Sequence[str]


def render_card(facts: TaggedFacts) -> DatasetCard:
    """Render the card of a tagged dataset."""
    header = facts.source.header
    corpus = _corpus_of(header)
    is_synthetic = "synthetic" in (header.get("tags") or []) or (corpus is not None and corpus.is_synthetic)
    name = header.get("pretty_name") or facts.plan.dataset["id"]
    sections = [
        f"# {name}, tagged by {facts.plan.model['id']}",
        _origin(facts),
        *(f"**{warning}**" for warning in [*facts.model_warnings, *([SYNTHETIC_SOUNDS] if is_synthetic else [])]),
        _columns(facts),
        _licence(facts, corpus),
        _making(facts),
        _card_of_source(facts.source),
    ]
    head = f"---\n{_data(facts, corpus, name=name, is_synthetic=is_synthetic).to_yaml()}\n---\n\n"
    return DatasetCard(head + "\n\n".join(section for section in sections if section) + "\n")


def _corpus_of(header: Mapping[str, Any]) -> CorpusFacts | None:
    """Return what this package knows of a corpus that it prepared; its facts count more than a card."""
    name = header.get("nvv_corpus")
    return corpus_facts(name) if name in list_corpora() else None


def _data(facts: TaggedFacts, corpus: CorpusFacts | None, *, name: str, is_synthetic: bool) -> DatasetCardData:
    terms = {key: value for key, value in facts.source.header.items() if _TERMS.fullmatch(key)}
    if corpus is not None:
        terms["license"] = corpus.licence
    if corpus is not None and corpus.no_public_copies:
        # Named by itself, a licence that allows copies would say that these may be public.
        terms["license"], terms["license_name"] = "other", f"{corpus.licence}-no-public-copies"
    tags = ["audio", "non-verbal-vocalization", "nvv-tagged", *(["synthetic"] if is_synthetic else [])]
    number = sum(facts.num_rows.values())
    optional = {} if facts.is_local else {"source_datasets": [facts.plan.dataset["id"]]}
    data = DatasetCardData(
        pretty_name=f"{name}, tagged",
        task_categories=["audio-classification"],
        size_categories=[next((size for limit, size in _SIZE_CATEGORIES if number < limit), _LARGEST)],
        tags=tags,
        **optional,
        **terms,
    )
    data.configs = [
        {
            "config_name": facts.plan.dataset["config"] or "default",
            "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in facts.num_rows],
        }
    ]
    data.dataset_info = {
        "config_name": facts.plan.dataset["config"] or "default",
        "splits": [
            {"name": split, "num_bytes": facts.num_bytes[split], "num_examples": rows}
            for split, rows in facts.num_rows.items()
        ],
        "download_size": sum(facts.num_bytes.values()),
        "dataset_size": sum(facts.num_bytes.values()),
    }
    return data


def _origin(facts: TaggedFacts) -> str:
    dataset, model = facts.plan.dataset, facts.plan.model
    source = f"`{dataset['id']}`" if facts.is_local else _link("datasets/", dataset["id"])
    config = f", config `{dataset['config']}`" if dataset["config"] else ""
    commit = f", commit `{dataset['revision']}`" if dataset["revision"] else ""
    tagger = f"`{model['id']}`" if model["revision"] is None else _link("", model["id"])
    tagger += f", commit `{model['revision']}`" if model["revision"] else ""
    return (
        f"The rows of {source}{config}{commit}, with all columns as they are there, and with what the model {tagger} "
        "makes of each recording. **The new columns were computed and checked by nobody: they are a model's opinion, "
        "not annotations.**"
    )


def _link(kind: str, repository: str) -> str:
    return f"[{repository}](https://huggingface.co/{kind}{repository})"


def _columns(facts: TaggedFacts) -> str:
    lines = [f"- `{column}`: {note}" for column, note in facts.column_notes.items()]
    counts = ", ".join(f"{split} {rows:,}" for split, rows in facts.num_rows.items())
    unreadable = (
        f" {facts.num_unreadable:,} recordings could not be read and have no answers." if facts.num_unreadable else ""
    )
    return "## New columns\n\n" + "\n".join(lines) + f"\n\nRows: {counts}.{unreadable}"


def _licence(facts: TaggedFacts, corpus: CorpusFacts | None) -> str:
    licence = facts.source.header.get("license") if corpus is None else corpus.licence
    if not licence or licence == "unknown":
        said = "The source names no licence, so nothing is known to allow handing on copies of the recordings."
    else:
        names = ", ".join(f"`{one}`" for one in ([licence] if isinstance(licence, str) else licence))
        said = f"The recordings are the source's and stay under its terms ({names})."
    paragraphs = [said]
    if corpus is not None:
        paragraphs.append(corpus.terms)
        if corpus.no_public_copies:
            paragraphs.append(f"**Do not make copies public.** {corpus.no_public_copies}")
        if corpus.citation:
            paragraphs.append(f"```bibtex\n{corpus.citation.strip()}\n```")
    return "## Licence and source\n\n" + "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _making(facts: TaggedFacts) -> str:
    plan = facts.plan
    digest = plan.model["weights_digest"]
    weights = f"weights `{digest}`" if digest else f"commit `{plan.model['revision']}`"
    rows = [
        f"model: `{plan.model['id']}`, {weights}",
        f"dataset: `{plan.dataset['id']}`, `{plan.dataset['identity']}`",
        *(f"{name}: `{value}`" for name, value in plan.settings.items()),
    ]
    return f"## How this was made\n\nBy `nvv tag`, nvv {plan.version}:\n\n" + "\n".join(f"- {row}" for row in rows)


def _card_of_source(card: CardOfSource) -> str:
    """Return the source's card below a heading of its own, with its headings one level down."""
    if not card.text:
        return ""
    return "## The source's card\n\n" + re.sub(r"^(#{1,5} )", r"#\1", card.text, flags=re.MULTILINE)
