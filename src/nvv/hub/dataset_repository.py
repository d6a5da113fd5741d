"""Writing a corpus as a dataset repository that the Hub and ``load_dataset`` understand: Parquet files and a card.

Every clip is stored once, whatever the number of split protocols and tasks; configs are glob patterns over shared files
and choose their columns. Which clips stand in which file is ``nvv.hub.shard_plan``'s, writing the files
``nvv.hub.shards``'s, the card's text ``nvv.hub.dataset_card``'s, and what a corpus holds ``nvv.data.corpus``'s.
"""

from __future__ import annotations

import csv
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
from tqdm.auto import tqdm

from ..data import Clip, CorpusBuilder, CorpusError, corpus_builder
from ..data.prepared import CARD, EXCLUDED_LIST, SKIPPED_LIST, is_prepared
from ..processors import default_num_workers
from .dataset_card import DatasetCardFacts, render_dataset_card
from .dataset_configs import Protocols, assign_parts, make_config, summarize_protocols
from .dataset_summary import summarize_audio
from .resumable import ResumableFolder, resumable_folder
from .shard_plan import Shard, plan_shards
from .shards import ShardReport, write_shards

__all__ = ["PreparedCorpus", "prepare_corpus"]

logger = logging.getLogger(__name__)

_MAX_REASONS = 5  # the card has them all
_OWN_ENTRIES = {CARD, "data", SKIPPED_LIST, EXCLUDED_LIST}


@dataclass(frozen=True, kw_only=True)
class PreparedCorpus:
    """What `prepare_corpus` wrote.

    Attributes:
        output_dir: The repository.
        num_clips: Clips in it.
        configs: Its configs, the default first.
        unavailable: Configs that this copy of the corpus cannot have, as pairs of name and reason.
        skipped: Clips left out because they could not be decoded, as pairs of file and reason.
        excluded: Why files of the release are no part of the corpus, as pairs of reason and number of files, most
            first.
        num_shards: Parquet files.
        num_reused: Those that an interrupted run had completed.
    """

    output_dir: Path
    num_clips: int
    configs: tuple[str, ...]
    unavailable: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    excluded: tuple[tuple[str, int], ...] = ()
    num_shards: int = 0
    num_reused: int = 0

    def describe(self) -> str:
        """Say in a few lines what was written and what was not."""
        lines = [f"{self.num_clips} clips in {self.output_dir} (configs: {_name_configs(self.configs)})"]
        if self.num_reused:
            lines.append(f"{self.num_reused} of {self.num_shards} Parquet files were kept from an interrupted run")
        if self.skipped:
            lines.append(f"{len(self.skipped)} clips left out, listed in {self.output_dir / SKIPPED_LIST}")
        if self.excluded:
            total = sum(number for _, number in self.excluded)
            reasons = [f"{number} {reason}" for reason, number in self.excluded[:_MAX_REASONS]]
            if len(self.excluded) > _MAX_REASONS:
                reasons.append(f"{len(self.excluded) - _MAX_REASONS} more reasons")
            lines.append(f"excluded files: {total} ({'; '.join(reasons)}), listed in {self.output_dir / EXCLUDED_LIST}")
        for reason in dict.fromkeys(reason for _, reason in self.unavailable):
            configs = [config for config, why in self.unavailable if why == reason]
            lines.append(f"not available: {_name_configs(configs)} ({reason})")
        return "\n".join(lines)


def prepare_corpus(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    output_dir: str | os.PathLike[str],
    skip_bad_audio: bool = False,
    num_workers: int | None = None,
    max_shard_bytes: int = 500 * 2**20,
) -> PreparedCorpus:
    """Write a corpus as a dataset repository.

    The repository is built in the hidden folder ``.NAME.incomplete`` beside ``output_dir`` and renamed at the end: it
    appears whole or not at all. A run that was interrupted or killed leaves that folder; the next run with the same
    ``output_dir`` keeps each of its Parquet files whose raw files, options and reading code are unchanged. The result
    is the same, byte for byte, whatever the number of workers and interruptions.

    Args:
        name: One of ``nvv.data.list_corpora``.
        data_dir: Folder or archive with the raw recordings; none for a computed corpus, and for one that may be
            downloaded.
        output_dir: Where to write. It may be new, empty, or a repository that this function wrote, which is replaced.
        skip_bad_audio: Leave out clips that cannot be decoded and list them in the card and in ``skipped.csv``, instead
            of stopping at the first. The other clips stay in the splits where they would be.
        num_workers: Threads that read and write, >= 1; by default the number of processors, at most eight.
        max_shard_bytes: Start a new Parquet file after this many bytes of audio, > 0.

    Returns:
        What was written.

    Raises:
        AudioError: If a clip cannot be decoded; the message names it. Nothing is left behind.
        CorpusError: If the corpus is unknown, the raw folder not as expected, or no clip could be decoded. Nothing is
            left behind.
        SplitError: If this copy of the corpus cannot have any of its configs.
        FileExistsError: If ``output_dir`` holds anything that this function did not write.
        BlockingIOError: If another process writes ``output_dir``.
        ValueError: If ``num_workers`` or ``max_shard_bytes`` is not positive.
    """
    for option, value in (("num_workers", num_workers), ("max_shard_bytes", max_shard_bytes)):
        if value is not None and value <= 0:
            raise ValueError(f"{option} must be positive, got {value}.")
    builder_class = corpus_builder(name)
    target = Path(output_dir).expanduser().resolve()
    _refuse_foreign(target)
    with resumable_folder(target) as folder:
        builder = builder_class(
            # `datasets` keeps lock files for every builder; nothing of this one belongs in the user's cache.
            cache_dir=str(folder.scratch / "cache"),
            data_dir=None if data_dir is None else os.fspath(data_dir),
        )
        # Archives are unpacked for this run alone; what was downloaded is worth keeping.
        lasting = Path(datasets.config.HF_DATASETS_CACHE) / "nvv_raw"
        builder.raw_cache_dir = lasting if data_dir is None else folder.scratch / "raw"
        clips = builder.collect_clips()
        protocols = assign_parts(builder, clips)
        shards = plan_shards(
            builder, clips, protocols.assignments, skip_bad_audio=skip_bad_audio, max_shard_bytes=max_shard_bytes
        )
        reports, num_reused = _write(
            builder, shards, folder, skip_bad_audio, num_workers or default_num_workers(), len(clips)
        )
        prepared = _describe(builder, clips, protocols, shards, reports, folder.content)
    return PreparedCorpus(
        **prepared,
        output_dir=target,
        excluded=tuple(Counter(entry.reason for entry in builder.excluded).most_common()),
        num_shards=sum(report.num_clips > 0 for report in reports),
        num_reused=num_reused,
    )


def _write(
    builder: CorpusBuilder,
    shards: Sequence[Shard],
    folder: ResumableFolder,
    skip_bad_audio: bool,
    num_workers: int,
    num_clips: int,
) -> tuple[list[ShardReport], int]:
    """Write the Parquet files and the lists of what was left out."""
    data = folder.content / "data"
    data.mkdir(exist_ok=True)
    with tqdm(total=num_clips, desc=f"Preparing {builder.FACTS.name}", unit="clip") as bar:
        reports, num_reused = write_shards(
            builder,
            shards,
            folder=data,
            reports=folder.reports,
            skip_bad_audio=skip_bad_audio,
            num_workers=num_workers,
            progress=bar.update,
        )
    builder.skipped[:] = sorted(pair for report in reports for pair in report.skipped)
    for file, reason in builder.skipped:
        logger.warning("Left out: %s: %s", file, reason)
    if len(builder.skipped) == num_clips:
        raise CorpusError(f"None of the {num_clips} clips could be decoded, the first: {': '.join(builder.skipped[0])}")
    _write_list(folder.content / SKIPPED_LIST, builder.skipped)
    _write_list(folder.content / EXCLUDED_LIST, [(entry.file, entry.reason) for entry in builder.excluded])
    return reports, num_reused


def _describe(
    builder: CorpusBuilder,
    clips: Sequence[Clip],
    protocols: Protocols,
    shards: Sequence[Shard],
    reports: Sequence[ShardReport],
    content: Path,
) -> dict[str, object]:
    """Write the card; return what it says that `PreparedCorpus` says too."""
    left_out = {file for file, _ in builder.skipped}
    kept = [clip for clip in clips if clip.file not in left_out] if left_out else clips
    configs, unavailable = [], dict(protocols.unavailable)
    for config in protocols.assignment_of:
        prepared = make_config(builder, config, protocols, shards, reports)
        if prepared.data_files:
            configs.append(prepared)
        else:
            unavailable[config] = "None of its clips could be decoded."
    if not configs:
        raise CorpusError(f"{builder.FACTS.name}: none of the clips of any config could be decoded.")
    audio = summarize_audio(reports)
    speakers = {clip.speaker_id for clip in kept if clip.speaker_id}
    card = render_dataset_card(
        DatasetCardFacts(
            facts=builder.FACTS,
            features=builder.table_features(),
            labels=builder.LABELS,
            targets=builder.TARGETS,
            audio=audio,
            num_speakers=len(speakers),
            configs=configs,
            protocols=summarize_protocols(builder, kept, protocols, configs=[config.name for config in configs]),
            folds_by_speaker=builder.FOLDS_BY_SPEAKER,
            unavailable=unavailable,
            skipped=builder.skipped,
            excluded=Counter(entry.reason for entry in builder.excluded).most_common(),
        )
    )
    card.save(content / CARD)
    return {
        "num_clips": audio.num_clips,
        "configs": tuple(config.name for config in configs),
        "unavailable": tuple(unavailable.items()),
        "skipped": tuple(builder.skipped),
    }


def _name_configs(configs: Sequence[str]) -> str:
    """Name configs, the many folds in short."""
    folds = [config for config in configs if config.startswith("fold_")]
    if len(folds) < 3:
        return ", ".join(configs)
    others = [config for config in configs if config not in folds]
    return ", ".join([*others, f"{folds[0]} to {folds[-1]}"])


def _write_list(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write files with reasons; no file where there are none."""
    rows = list(rows)
    if not rows:
        path.unlink(missing_ok=True)  # of an earlier, interrupted run
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "reason"))
        writer.writerows(rows)


def _refuse_foreign(target: Path) -> None:
    """Refuse to replace anything that `prepare_corpus` did not write."""
    if not target.exists():
        return
    if not target.is_dir():
        raise FileExistsError(f"{target}: is a file; name a folder that does not exist yet.")
    entries = sorted(entry.name for entry in target.iterdir())
    foreign = [entry for entry in entries if entry not in _OWN_ENTRIES]
    if foreign or (entries and not is_prepared(target)):
        found = foreign[0] if foreign else entries[0]
        raise FileExistsError(
            f"{target}: holds {found!r}, which nvv prepare did not write; name another folder or empty this one."
        )
