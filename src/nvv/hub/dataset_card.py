"""Dataset cards, rendered from what was measured while a corpus was prepared; nothing in them is typed by hand.

Facts come from the loading script (``nvv.data.facts``), counts from ``nvv.hub.dataset_repository``. The YAML header
follows the Hub's dataset card specification; its ``configs`` and ``dataset_info`` make ``load_dataset`` find splits and
label names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import datasets
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from ..data.facts import CorpusFacts
from ..data.splits import SPLITS
from ..version import __version__

__all__ = ["ClipRecord", "DatasetCardFacts", "PreparedConfig", "render_dataset_card"]

_SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_PROTOCOL_TEXT = {
    "speaker": "No speaker is in two splits; classes are balanced as well as that allows. Use it to report results.",
    "stratified": "Each class is cut in the same proportions and speakers are ignored, as most published systems did: "
    "a test speaker may have trained the model.",
    "official": "The split that the corpus's authors released.",
}


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """What was measured of one clip.

    Attributes:
        file: Path relative to the corpus root.
        label: Its class; None for a corpus without classes.
        speaker_id: Its speaker.
        duration_s: Seconds as decoded.
        sampling_rate: Rate of the file in Hz.
        num_channels: Channels of the file.
        content_digest: SHA-256 hex digest of the file's bytes.
    """

    file: str
    label: str | None
    speaker_id: str
    duration_s: float
    sampling_rate: int
    num_channels: int
    content_digest: str


@dataclass(frozen=True, kw_only=True)
class PreparedConfig:
    """One split protocol as written.

    Attributes:
        name: Config name.
        split_of: File to split, of the clips that were written.
        data_files: Split to glob pattern of its Parquet files.
        num_bytes: Split to bytes of its Arrow tables.
        manifest_digest: Digest of the whole assignment, left-out clips included; see ``nvv.data.splits``.
    """

    name: str
    split_of: Mapping[str, str]
    data_files: Mapping[str, str]
    num_bytes: Mapping[str, int]
    manifest_digest: str


@dataclass(frozen=True, kw_only=True)
class DatasetCardFacts:
    """Everything that a card is rendered from.

    Attributes:
        facts: What the corpus states about itself.
        features: Columns.
        labels: Classes in canonical order; None for a corpus without classes.
        records: What was measured, in order of the files.
        configs: Split protocols, the default first.
        skipped: Clips left out, as pairs of file and reason.
        download_size: Bytes of all Parquet files.
    """

    facts: CorpusFacts
    features: datasets.Features
    labels: Sequence[str] | None
    records: Sequence[ClipRecord]
    configs: Sequence[PreparedConfig]
    skipped: Sequence[tuple[str, str]] = field(default_factory=tuple)
    download_size: int = 0


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
        *(_split_table(card_facts, config) for config in card_facts.configs),
        _notes(facts),
        _skipped(card_facts.skipped),
        _licence(facts),
        f"## Citation\n\n```bibtex\n{facts.citation.strip()}\n```" if facts.citation else "",
        _provenance(card_facts),
    ]
    header = f"---\n{_card_data(card_facts).to_yaml()}\n---\n\n"
    return DatasetCard(header + "\n\n".join(section for section in sections if section) + "\n")


def _card_data(card_facts: DatasetCardFacts) -> DatasetCardData:
    facts, number = card_facts.facts, len(card_facts.records)
    size = next(
        (name for limit, name in _SIZE_CATEGORIES if number < limit), "n>1T" if number >= 10**12 else "1M<n<10M"
    )
    synthetic = ["synthetic"] if facts.is_synthetic else []
    optional = {"license_link": facts.licence_url} if facts.licence == "other" and facts.licence_url else {}
    data = DatasetCardData(
        license=facts.licence,
        pretty_name=facts.pretty_name,
        task_categories=["audio-classification"],
        size_categories=[size],
        tags=["nvv", "non-verbal-vocalization", "audio", *synthetic],
        **optional,
    )
    MetadataConfigs(
        {
            config.name: {
                "data_files": [{"split": split, "path": path} for split, path in config.data_files.items()],
                **({"default": True} if position == 0 else {}),
            }
            for position, config in enumerate(card_facts.configs)
        }
    ).to_dataset_card_data(data)
    DatasetInfosDict({config.name: _info(card_facts, config) for config in card_facts.configs}).to_dataset_card_data(
        data
    )
    return data


def _info(card_facts: DatasetCardFacts, config: PreparedConfig) -> datasets.DatasetInfo:
    numbers = Counter(config.split_of.values())
    splits = {
        split: datasets.SplitInfo(name=split, num_bytes=config.num_bytes[split], num_examples=numbers[split])
        for split in config.data_files
    }
    return datasets.DatasetInfo(
        features=card_facts.features,
        splits=datasets.SplitDict(splits),
        download_size=card_facts.download_size,
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
    records = card_facts.records
    durations = [record.duration_s for record in records]
    rates = Counter(f"{record.sampling_rate:,} Hz" for record in records)
    channels = Counter(f"{record.num_channels}" for record in records)
    repeated = len(records) - len({record.content_digest for record in records})
    rows = [
        ("clips", f"{len(records):,}"),
        ("speakers", f"{len({record.speaker_id for record in records}):,}"),
        ("classes", f"{len(card_facts.labels)}" if card_facts.labels else "none; the targets are columns"),
        ("hours", f"{sum(durations) / 3600:.3f}"),
        ("seconds a clip", f"{min(durations):.2f} to {max(durations):.2f}, mean {sum(durations) / len(durations):.2f}"),
        ("sampling rate", _counted(rates)),
        ("channels", _counted(channels)),
        ("byte-identical copies", f"{repeated:,}"),
    ]
    columns = ", ".join(f"`{name}`" for name in card_facts.features)
    return (
        "## Contents\n\n"
        + _table(("", ""), rows)
        + f"\n\nColumns: {columns}. `audio` holds the bytes of the original files, nothing is re-encoded."
    )


def _split_table(card_facts: DatasetCardFacts, config: PreparedConfig) -> str:
    present = {record.file: record for record in card_facts.records}
    counts = Counter((present[file].label, split) for file, split in config.split_of.items())
    splits = [split for split in SPLITS if split in config.data_files]
    rows = [(label, *(f"{counts[label, split]}" for split in splits)) for label in card_facts.labels or ()]
    totals = Counter(config.split_of.values())
    rows.append(("**clips**", *(f"{totals[split]}" for split in splits)))
    speakers = {split: {present[f].speaker_id for f, s in config.split_of.items() if s == split} for split in splits}
    rows.append(("**speakers**", *(f"{len(speakers[split])}" for split in splits)))
    text = _PROTOCOL_TEXT.get(config.name, "")
    return f"## Config `{config.name}`\n\n{text}\n\n" + _table(("class", *splits), rows)


def _notes(facts: CorpusFacts) -> str:
    return "## Limits\n\n" + "\n".join(f"- {note}" for note in facts.notes) if facts.notes else ""


def _skipped(skipped: Sequence[tuple[str, str]]) -> str:
    if not skipped:
        return ""
    return (
        f"## Left out\n\n{len(skipped)} clips could not be decoded and are not here; `skipped.csv` lists them too. "
        "The other clips are in the splits where they would be anyway.\n\n"
        + _table(("file", "reason"), [(f"`{file}`", reason.replace("|", "\\|")) for file, reason in skipped])
    )


def _licence(facts: CorpusFacts) -> str:
    lines = [
        f"The recordings are under `{facts.licence}`" + (f" (<{facts.licence_url}>)." if facts.licence_url else ".")
    ]
    if facts.homepage:
        lines.append(f"Home of the corpus: <{facts.homepage}>.")
    return "## Licence\n\n" + " ".join(lines)


def _provenance(card_facts: DatasetCardFacts) -> str:
    digests = [f"- `{config.name}`: `{config.manifest_digest}`" for config in card_facts.configs]
    return (
        f"## How this was made\n\nBy `nvv prepare {card_facts.facts.name}`, nvv {__version__}, from the raw "
        "files. Each split depends only on the files' names, labels and speakers; SHA-256 digests of each "
        "assignment of file to split:\n\n" + "\n".join(digests)
    )


def _counted(counter: Counter[str]) -> str:
    if len(counter) == 1:
        return next(iter(counter))
    return ", ".join(f"{value} ({number:,} clips)" for value, number in counter.most_common())


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = list(header)
    lines = [cells, ["---"] + ["---:"] * (len(cells) - 1), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
