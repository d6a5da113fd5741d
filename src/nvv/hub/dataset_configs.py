"""Configs of a dataset repository: how each divides the clips, and which files and columns are its own.

Configs that divide the clips alike share an assignment of file to part, and all folds share theirs; the files are named
after the parts (``nvv.hub.shard_plan``). The protocols themselves are ``nvv.data.corpus``'s. Own work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..data import SPLITS, Clip, CorpusBuilder, SplitError, fold_split, manifest_digest
from .dataset_card import PreparedConfig
from .dataset_summary import ProtocolSummary, summarize_protocol
from .shard_plan import Part, Shard, data_glob
from .shards import ShardReport

__all__ = ["Protocols", "assign_parts", "make_config", "summarize_protocols"]

_PARTS = "part"  # the assignment that all folds share


@dataclass(frozen=True)
class Protocols:
    """How the configs divide the clips.

    Attributes:
        assignments: Name to file to part. Configs that divide the clips alike share one, and all folds share theirs.
        assignment_of: Config that can be had to the name of its assignment, the default first.
        unavailable: Config that cannot be had to the reason.
    """

    assignments: dict[str, Mapping[str, Part]] = field(default_factory=dict)
    assignment_of: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    def configs_of(self, assignment: str) -> list[str]:
        """Return the configs that use an assignment."""
        return [config for config, name in self.assignment_of.items() if name == assignment]


def assign_parts(builder: CorpusBuilder, clips: list[Clip]) -> Protocols:
    """Divide the clips by every protocol that this copy of the corpus can have.

    Args:
        builder: The corpus.
        clips: All its clips.

    Raises:
        SplitError: If it can have none.
    """
    found = Protocols()
    configs = builder.builder_configs
    official = {clip.file: clip.split for clip in clips if clip.split is not None}
    for config in sorted(configs, key=lambda name: name != builder.DEFAULT_CONFIG_NAME):  # stable: default first
        protocol = configs[config].protocol
        name = _PARTS if protocol.startswith("fold_") else protocol
        try:
            if name not in found.assignments:
                part_of = builder.fold_parts(clips) if name == _PARTS else builder.split_clips(clips, protocol)
                alike = (other for other, parts in found.assignments.items() if parts == part_of)
                name = next(alike, "official" if part_of == official else name)
                found.assignments[name] = part_of
            found.assignment_of[config] = name
        except SplitError as error:
            found.unavailable[config] = str(error)
    if not found.assignments:
        reasons = "; ".join(dict.fromkeys(found.unavailable.values()))
        raise SplitError(f"{builder.FACTS.name}: this copy can have none of the configs: {reasons}")
    return found


def make_config(
    builder: CorpusBuilder,
    config: str,
    protocols: Protocols,
    shards: Sequence[Shard],
    reports: Sequence[ShardReport],
) -> PreparedConfig:
    """Name the files, sizes and columns of a config.

    Args:
        builder: The corpus.
        config: A config that can be had.
        protocols: How the clips were divided.
        shards: All shards.
        reports: What was measured, in order of the shards.

    Returns:
        The config; without ``data_files`` where all its clips were skipped.
    """
    assignment = protocols.assignment_of[config]
    part_of = protocols.assignments[assignment]
    split_of_part: Mapping[Part, str] = {split: split for split in SPLITS}
    split_of = part_of
    if assignment == _PARTS:
        fold, number = int(builder.builder_configs[config].protocol.removeprefix("fold_")), builder.num_folds
        split_of_part = fold_split({part: part for part in range(number)}, fold, num_folds=number)
        split_of = fold_split(part_of, fold, num_folds=number)
    num_clips, num_bytes, download_size = Counter(), Counter(), 0
    globs: dict[str, set[Part]] = {split: set() for split in SPLITS}
    for shard, report in zip(shards, reports, strict=True):
        part = shard.parts[assignment]
        if part is None or not report.num_clips:
            continue
        split = split_of_part[part]
        globs[split].add(part)
        num_clips[split] += report.num_clips
        num_bytes[split] += report.num_bytes
        download_size += report.file_size
    order = list(protocols.assignments)
    return PreparedConfig(
        name=config,
        features=builder.config_features(config),
        data_files={
            split: [data_glob(order, assignment, part) for part in sorted(parts)]
            for split, parts in globs.items()
            if parts
        },
        num_clips={split: num_clips[split] for split in SPLITS if num_clips[split]},
        num_bytes={split: num_bytes[split] for split in SPLITS if num_clips[split]},
        download_size=download_size,
        manifest_digest=manifest_digest(split_of),
    )


def summarize_protocols(
    builder: CorpusBuilder, clips: Sequence[Clip], protocols: Protocols, *, configs: Collection[str]
) -> list[ProtocolSummary]:
    """Count what each part of each assignment holds.

    Args:
        builder: The corpus.
        clips: The clips that were written.
        protocols: How all clips were divided.
        configs: The configs that were written.
    """
    wanted: dict[str, Mapping[Part, int]] = {
        "speaker": dict(zip(SPLITS, (8, 1, 1), strict=True)),
        "stratified": dict(zip(SPLITS, builder.STRATIFIED_WEIGHTS, strict=True)),
        _PARTS: dict.fromkeys(range(builder.num_folds), 1),
    }
    summaries = []
    for name, part_of in protocols.assignments.items():
        users = [config for config in protocols.configs_of(name) if config in configs]
        if users:
            summaries.append(
                summarize_protocol(
                    name,
                    {clip.file: part_of[clip.file] for clip in clips if clip.file in part_of},
                    clips,
                    configs=users,
                    targets=() if name == _PARTS else builder.TARGETS,
                    wanted=wanted.get(name),
                )
            )
    return summaries
