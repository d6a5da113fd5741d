"""Dataset cards, rendered from what was measured while a corpus was prepared; nothing in them is typed by hand.

Facts come from the loading script (``nvv.data.facts``), counts from ``nvv.hub.dataset_summary``, tables are laid out by
``nvv.hub.dataset_tables``. The YAML header follows the Hub's dataset card specification: ``configs`` and
``dataset_info`` make ``load_dataset`` find splits, columns and label names; ``nvv_corpus`` names the loading script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from ..data.facts import CorpusFacts
from ..version import __version__
from .dataset_summary import AudioSummary, ProtocolSummary
from .dataset_tables import class_table, counted, fold_table, limited_table, markdown_table, target_table

__all__ = ["DatasetCardFacts", "PreparedConfig", "render_dataset_card"]

_SIZE_CATEGORIES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
_PROTOCOL_TEXT = {
    "speaker": "No speaker is in two splits; classes are balanced as well as that allows.",
    "stratified": "Each class is cut in the same proportions and speakers are ignored, as most published systems did: "
    "a test speaker may have trained the model.",
    "official": "The split that the corpus's authors released.",
}


@dataclass(frozen=True, kw_only=True)
class PreparedConfig:
    """One config as written.

    Attributes:
        name: Config name.
        features: Its columns.
        data_files: Split to glob patterns of its Parquet files; splits without clips are left out.
        num_clips: Split to number of clips.
        num_bytes: Split to bytes of its Arrow tables.
        download_size: Bytes of its Parquet files.
        manifest_digest: Digest of the whole assignment, skipped clips included; see ``nvv.data.splits``.
    """

    name: str
    features: datasets.Features
    data_files: Mapping[str, Sequence[str]]
    num_clips: Mapping[str, int]
    num_bytes: Mapping[str, int]
    download_size: int
    manifest_digest: str


@dataclass(frozen=True, kw_only=True)
class DatasetCardFacts:
    """Everything that a card is rendered from.

    Attributes:
        facts: What the corpus states about itself.
        features: All columns of the files.
        labels: Classes in canonical order; None for a corpus without classes.
        targets: Regression targets.
        audio: What was measured.
        num_speakers: How many are known; 0 where none is.
        configs: As written, the default first.
        protocols: What the parts of each assignment hold.
        folds_by_speaker: Whether folds keep speakers apart.
        unavailable: Config that this copy of the corpus cannot have to the reason.
        skipped: Clips that could not be decoded, as pairs of file and reason.
        excluded: Why files are no part of the corpus, as pairs of reason and number of files.
    """

    facts: CorpusFacts
    features: datasets.Features
    labels: Sequence[str] | None
    targets: Sequence[str] = ()
    audio: AudioSummary
    num_speakers: int
    configs: Sequence[PreparedConfig]
    protocols: Sequence[ProtocolSummary]
    folds_by_speaker: bool = True
    unavailable: Mapping[str, str] = field(default_factory=dict)
    skipped: Sequence[tuple[str, str]] = ()
    excluded: Sequence[tuple[str, int]] = ()


def render_dataset_card(card_facts: DatasetCardFacts) -> DatasetCard:
    """Render the card of a prepared corpus.

    Args:
        card_facts: What was measured and stated.

    Returns:
        The card; `DatasetCard.save` writes it.
    """
    facts = card_facts.facts
    sections = [
        f"# {facts.pretty_name}",
        facts.summary,
        _synthetic_warning(facts),
        _use(card_facts),
        _contents(card_facts),
        *(_protocol(card_facts, protocol) for protocol in card_facts.protocols),
        _unavailable(card_facts.unavailable),
        _notes(facts),
        _excluded(card_facts.excluded),
        _skipped(card_facts.skipped),
        _licence(facts),
        f"## Citation\n\n```bibtex\n{facts.citation.strip()}\n```" if facts.citation else "",
        _provenance(card_facts),
    ]
    header = f"---\n{_card_data(card_facts).to_yaml()}\n---\n\n"
    return DatasetCard(header + "\n\n".join(section for section in sections if section) + "\n")


def _card_data(card_facts: DatasetCardFacts) -> DatasetCardData:
    facts, number = card_facts.facts, card_facts.audio.num_clips
    synthetic = ["synthetic"] if facts.is_synthetic else []
    optional = {"license_link": facts.licence_url} if facts.licence == "other" and facts.licence_url else {}
    data = DatasetCardData(
        license=facts.licence,
        pretty_name=facts.pretty_name,
        task_categories=["audio-classification"],
        size_categories=[next((name for limit, name in _SIZE_CATEGORIES if number < limit), "n>1T")],
        tags=["nvv", "non-verbal-vocalization", "audio", *synthetic],
        nvv_corpus=facts.name,
        **optional,
    )
    configs = card_facts.configs
    MetadataConfigs(
        {
            config.name: _metadata_config(card_facts, config, is_default=position == 0)
            for position, config in enumerate(configs)
        }
    ).to_dataset_card_data(data)
    DatasetInfosDict({config.name: _info(config) for config in configs}).to_dataset_card_data(data)
    return data


def _metadata_config(card_facts: DatasetCardFacts, config: PreparedConfig, *, is_default: bool) -> dict[str, Any]:
    files = [
        {"split": split, "path": globs[0] if len(globs) == 1 else list(globs)}
        for split, globs in config.data_files.items()
    ]
    columns = {} if config.features == card_facts.features else {"columns": list(config.features)}
    return {"data_files": files, **columns, **({"default": True} if is_default else {})}


def _info(config: PreparedConfig) -> datasets.DatasetInfo:
    splits = {
        split: datasets.SplitInfo(name=split, num_bytes=config.num_bytes[split], num_examples=config.num_clips[split])
        for split in config.data_files
    }
    return datasets.DatasetInfo(
        features=config.features,
        splits=datasets.SplitDict(splits),
        download_size=config.download_size,
        dataset_size=sum(config.num_bytes.values()),
    )


def _synthetic_warning(facts: CorpusFacts) -> str:
    if not facts.is_synthetic:
        return ""
    return (
        "> **Synthetic.** These sounds were computed, nobody made them. Results on them are no evidence about people."
    )


def _use(card_facts: DatasetCardFacts) -> str:
    default, *others = [config.name for config in card_facts.configs]
    name = card_facts.facts.name
    lines = [
        "## Use",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'dataset = load_dataset("nvv/{name}", "{default}")  # this repository: a folder, or its id on the Hub',
        "```",
    ]
    if others:
        lines += ["", f"Other configs: {', '.join(f'`{other}`' for other in others)}."]
    return "\n".join(lines)


def _contents(card_facts: DatasetCardFacts) -> str:
    audio = card_facts.audio
    total, low, high = audio.seconds
    kinds = [f"{len(card_facts.labels)} classes"] if card_facts.labels else []
    kinds += [f"{len(card_facts.targets)} targets"] if card_facts.targets else []
    rows = [
        ("clips", f"{audio.num_clips:,}"),
        ("speakers", f"{card_facts.num_speakers:,}" if card_facts.num_speakers else "not known"),
        ("labels", ", ".join(kinds) or "none"),
        ("hours", f"{total / 3600:.3f}"),
        ("seconds a clip", f"{low:.2f} to {high:.2f}, mean {total / audio.num_clips:.2f}"),
        ("sampling rate", counted({f"{rate:,} Hz": number for rate, number in audio.sampling_rates.items()})),
        ("channels", counted({f"{count}": number for count, number in audio.channels.items()})),
        ("byte-identical copies", f"{audio.num_copies:,}"),
    ]
    shared = set.intersection(*(set(config.features) for config in card_facts.configs))
    columns = ", ".join(f"`{name}`" for name in card_facts.features if name in shared)
    text = f"Columns: {columns}. `audio` holds the bytes of the original files, nothing is re-encoded."
    own = [
        f"- `{config.name}`: {', '.join(f'`{name}`' for name in config.features if name not in shared)}"
        for config in card_facts.configs
        if set(config.features) - shared
    ]
    if own:
        text += "\n\nColumns that only some configs have:\n\n" + "\n".join(own)
    return f"## Contents\n\n{markdown_table(('', ''), rows)}\n\n{text}"


def _protocol(card_facts: DatasetCardFacts, protocol: ProtocolSummary) -> str:
    if all(isinstance(part, int) for part in protocol.num_clips):
        return _folds(card_facts, protocol)
    names = ", ".join(f"`{config}`" for config in protocol.configs)
    rules = dict.fromkeys([protocol.name, *protocol.configs])  # configs may divide the clips alike by chance
    blocks = [
        f"## Config{'' if len(protocol.configs) == 1 else 's'} {names}",
        " ".join(_PROTOCOL_TEXT[rule] for rule in rules if rule in _PROTOCOL_TEXT),
        class_table(protocol, card_facts.labels),
        target_table(protocol, card_facts.targets),
        _unmet(protocol),
    ]
    return "\n\n".join(block for block in blocks if block)


def _folds(card_facts: DatasetCardFacts, protocol: ProtocolSummary) -> str:
    number = len(protocol.configs)
    rule = (
        "No speaker is in two parts; classes are balanced as well as that allows."
        if card_facts.folds_by_speaker
        else "The clips were cut in shuffled order, whatever their labels and speakers (voc2vec's protocol)."
    )
    blocks = [
        f"## Configs `{protocol.configs[0]}` to `{protocol.configs[-1]}`" if number > 1 else "## Config `fold_0`",
        f"The clips are in {len(protocol.num_clips)} parts. Config `fold_k` tests on part k, validates on the next one "
        f"(after the last, on part 0) and trains on the others. {rule}",
        fold_table(protocol, card_facts.labels),
        _unmet(protocol),
    ]
    return "\n\n".join(block for block in blocks if block)


def _unmet(protocol: ProtocolSummary) -> str:
    if not protocol.unmet:
        return ""
    return "What could not be met:\n\n" + "\n".join(
        f"- {sentence[:1].upper()}{sentence[1:]}" for sentence in protocol.unmet
    )


def _unavailable(unavailable: Mapping[str, str]) -> str:
    if not unavailable:
        return ""
    reasons: dict[str, list[str]] = {}
    for config, reason in unavailable.items():
        reasons.setdefault(reason, []).append(f"`{config}`")
    lines = [f"- {', '.join(configs)}: {reason}" for reason, configs in reasons.items()]
    return "## Configs that this copy cannot have\n\n" + "\n".join(lines)


def _notes(facts: CorpusFacts) -> str:
    return "## Limits\n\n" + "\n".join(f"- {note}" for note in facts.notes) if facts.notes else ""


def _excluded(excluded: Sequence[tuple[str, int]]) -> str:
    if not excluded:
        return ""
    total = sum(number for _, number in excluded)
    rows = [(reason, f"{number:,}") for reason, number in excluded]
    return (
        f"## Excluded\n\nFiles of the release that are deliberately no part of this corpus: {total:,}. "
        "`excluded.csv` lists each of them.\n\n" + limited_table(("reason", "files"), rows)
    )


def _skipped(skipped: Sequence[tuple[str, str]]) -> str:
    if not skipped:
        return ""
    return (
        f"## Left out\n\nClips that could not be decoded and are not here: {len(skipped):,}; `skipped.csv` lists them "
        "too. The other clips are in the splits where they would be anyway.\n\n"
        + limited_table(("file", "reason"), [(f"`{file}`", reason) for file, reason in skipped])
    )


def _licence(facts: CorpusFacts) -> str:
    if facts.licence == "unknown":
        lines = ["The licence of the recordings is not known here: nobody who wrote this card has seen it."]
    elif facts.licence == "other":
        lines = ["The recordings are under terms of their own."]
    else:
        link = f" (<{facts.licence_url}>)" if facts.licence_url else ""
        lines = [f"The recordings are under `{facts.licence}`{link}."]
    if facts.homepage:
        lines.append(f"Home of the corpus: <{facts.homepage}>.")
    paragraphs = [" ".join(lines), facts.terms]
    if facts.no_public_copies:
        paragraphs.append(f"**Do not make copies public.** {facts.no_public_copies}")
    return "## Licence\n\n" + "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _provenance(card_facts: DatasetCardFacts) -> str:
    rows = [(f"`{config.name}`", f"`{config.manifest_digest}`") for config in card_facts.configs]
    return (
        f"## How this was made\n\nBy `nvv prepare {card_facts.facts.name}`, nvv {__version__}, from the raw "
        "files. A split depends on the files' names, labels and speakers, or is the authors' own; SHA-256 digests of "
        "each assignment of file to split:\n\n" + markdown_table(("config", "digest"), rows)
    )
