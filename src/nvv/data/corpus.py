"""Base class of all corpora: a `datasets` builder that finds, checks and splits clips and keeps their bytes unchanged.

A loading script in ``dataset_scripts/<corpus>/<corpus>.py`` subclasses `CorpusBuilder` and states only what is
particular to its corpus. Split protocols stand in ``nvv.data.splits``, finding and loading scripts in
``nvv.data.loading``, writing a dataset repository in ``nvv.hub.dataset_repository``.

The same class serves ``load_dataset`` of `datasets` 3 (which runs scripts), ``nvv.data.load_corpus`` and
``nvv prepare``. It builds Arrow tables of ``{bytes, path}`` itself, because `datasets` 4 and later need torchcodec to
encode an Audio cell.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow as pa

from ..audio import AudioError, AudioProperties, check_audio
from .archives import open_raw
from .clip import Clip, Excluded
from .configs import CorpusConfig, protocol_configs
from .downloads import Download, ZenodoRecord, fetch
from .facts import CorpusFacts
from .rawfiles import CorpusError
from .splits import SPLITS, SplitError, fold_split, random_folds, speaker_folds, speaker_split, stratified_split

__all__ = ["EVERY_CLIP", "CorpusBuilder"]

logger = logging.getLogger(__name__)

EVERY_CLIP = "clips"
"""Name of the one part that is built where a config asks for every clip."""

_CLIPS_PER_TABLE = 64
_BYTES_PER_TABLE = 64 * 2**20


class CorpusBuilder(datasets.ArrowBasedBuilder):
    """A corpus of labelled clips.

    A subclass sets the class attributes and implements `list_clips`; a computed corpus overrides `read_clip` too.

    Attributes:
        FACTS: Name, licence, citation, limits.
        LABELS: Class names in canonical order; None for a corpus without classes.
        ALLOW_MISSING_LABELS: Whether some clips' classes are not released.
        TARGETS: Names of all regression targets, float columns; each config names those that it has.
        METADATA: Columns beyond audio, label, targets, file and speaker_id, with their types.
        ROOT_MARKERS: Glob patterns that show where the raw corpus begins. Empty: the corpus needs no raw folder.
        LAYOUT: The raw layout in words, for errors.
        DOWNLOADS: What to download where the user names no raw folder; empty where licence or host forbid it.
        STRATIFIED_WEIGHTS: Proportions of the ``stratified`` protocol.
        SPEAKERS_ARE_KNOWN: False where ``speaker_id`` may be empty.
        FOLDS_BY_SPEAKER: Whether folds keep speakers apart; False takes voc2vec's random folds.
    """

    FACTS: ClassVar[CorpusFacts]
    LABELS: ClassVar[tuple[str, ...] | None] = None
    ALLOW_MISSING_LABELS: ClassVar[bool] = False
    TARGETS: ClassVar[tuple[str, ...]] = ()
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {}
    ROOT_MARKERS: ClassVar[tuple[str, ...]] = ()
    LAYOUT: ClassVar[str] = ""
    DOWNLOADS: ClassVar[tuple[Download | ZenodoRecord, ...]] = ()
    STRATIFIED_WEIGHTS: ClassVar[tuple[int, int, int]] = (8, 1, 1)
    SPEAKERS_ARE_KNOWN: ClassVar[bool] = True
    FOLDS_BY_SPEAKER: ClassVar[bool] = True

    BUILDER_CONFIG_CLASS = CorpusConfig
    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = protocol_configs()
    DEFAULT_CONFIG_NAME = "speaker"

    @abstractmethod
    def list_clips(self, root: Path) -> Iterable[Clip | Excluded]:
        """Describe every clip below the corpus root, in any order, without reading the audio.

        Args:
            root: Where the raw corpus begins; the current folder, unused, for a corpus that needs none.

        Raises:
            CorpusError: If a name does not follow the corpus's grammar; the message names the file.
        """

    def clip_path(self, clip: Clip) -> Path:
        """Return where a clip's file lies; a corpus whose clips are called otherwise than their files overrides it."""
        return self.root / clip.file

    def read_clip(self, clip: Clip) -> bytes:
        """Return the bytes of a clip's file, unchanged."""
        try:
            return self.clip_path(clip).read_bytes()
        except OSError as error:
            raise AudioError(f"{clip.file}: cannot be read ({error.strerror}).") from error

    @property
    def root(self) -> Path:
        """Where the raw corpus begins; found, unpacked or downloaded at the first use.

        Raises:
            CorpusError: If there is no such folder or archive, or if it is laid out otherwise.
        """
        if "_raw_root" not in self.__dict__:
            self._raw_root = self._find_root()
        return self._raw_root

    @property
    def raw_cache_dir(self) -> Path:
        """Where archives are unpacked and downloads kept: below the builder's cache unless set."""
        return self.__dict__.get("_raw_cache_dir") or Path(self._cache_dir_root) / "nvv_raw"

    @raw_cache_dir.setter
    def raw_cache_dir(self, folder: Path) -> None:
        self._raw_cache_dir = folder

    @property
    def num_folds(self) -> int:
        """Number of ``fold_<k>`` configs."""
        return sum(name.startswith("fold_") for name in self.builder_configs)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Clips left out so far because they could not be decoded, as pairs of file and reason."""
        return self.__dict__.setdefault("_skipped", [])

    @property
    def excluded(self) -> list[Excluded]:
        """Files that the last `collect_clips` found to be no part of the corpus, in order of the files."""
        return self.__dict__.setdefault("_excluded", [])

    def collect_clips(self) -> list[Clip]:
        """Find the corpus, list its clips and check what was listed.

        Returns:
            The clips, sorted by file.

        Raises:
            CorpusError: If the folder is missing or laid out otherwise, holds no clips, or if a clip is described
                wrongly.
        """
        listed = sorted(self.list_clips(self.root), key=lambda entry: entry.file)
        clips = [entry for entry in listed if isinstance(entry, Clip)]
        self.excluded[:] = [entry for entry in listed if isinstance(entry, Excluded)]
        if not clips:
            reasons = ", ".join(sorted({entry.reason for entry in self.excluded})) or "no files"
            raise CorpusError(f"{self.config.data_dir}: no clips found ({reasons}); expected {self.LAYOUT}")
        for before, clip in pairwise([None, *clips]):
            if before is not None and before.file == clip.file:
                raise CorpusError(f"{clip.file}: listed twice.")
            self._check_clip(clip)
        return clips

    def split_clips(self, clips: list[Clip], protocol: str) -> dict[str, str]:
        """Assign clips to splits.

        Args:
            clips: All clips of the corpus, bad ones too: what is left out must not move what stays.
            protocol: ``"speaker"``, ``"stratified"``, ``"official"`` or ``"fold_<k>"``.

        Returns:
            File to ``"train"``, ``"validation"`` or ``"test"``.

        Raises:
            SplitError: If this copy of the corpus cannot have the protocol, for want of speakers for example.
            ValueError: If the protocol is unknown.
        """
        files = [clip.file for clip in clips]
        labels = {clip.file: clip.label for clip in clips}
        if protocol == "speaker":
            return speaker_split(files, labels=labels, speakers=self._speakers(clips))
        if protocol == "stratified":
            return stratified_split(files, labels=labels, weights=self.STRATIFIED_WEIGHTS)
        if protocol == "official":
            split_of = {clip.file: clip.split for clip in clips if clip.split is not None}
            if not split_of:
                raise SplitError(f"No clip of this copy of {self.FACTS.name} has an official split.")
            return split_of
        kind, _, fold = protocol.partition("_")
        if kind == "fold" and fold.isdecimal() and int(fold) < self.num_folds:
            return fold_split(self.fold_parts(clips), int(fold), num_folds=self.num_folds)
        raise ValueError(
            f"Unknown split protocol {protocol!r}; {self.FACTS.name} has {', '.join(self.builder_configs)}."
        )

    def fold_parts(self, clips: list[Clip]) -> dict[str, int]:
        """Assign clips to the parts that folds are made of.

        Args:
            clips: All clips of the corpus.

        Returns:
            File to part, 0 to ``num_folds - 1``.

        Raises:
            SplitError: If there are fewer speakers, or clips, than folds.
        """
        files = [clip.file for clip in clips]
        if not self.FOLDS_BY_SPEAKER:
            return random_folds(files, num_folds=self.num_folds)
        labels = {clip.file: clip.label for clip in clips}
        return speaker_folds(files, labels=labels, speakers=self._speakers(clips), num_folds=self.num_folds)

    def read_clips(
        self, clips: Iterable[Clip], *, skip_bad_audio: bool
    ) -> Iterator[tuple[Clip, bytes, AudioProperties]]:
        """Read clips and decode each once, to be sure that it can be.

        Args:
            clips: What to read.
            skip_bad_audio: Note a bad clip in ``skipped`` and go on.

        Yields:
            Clip, bytes of its file, what decoding found.

        Raises:
            AudioError: At the first clip that cannot be decoded, naming it and the reason, unless bad audio is skipped.
        """
        for clip in clips:
            try:
                content = self.read_clip(clip)
                properties = check_audio(content, name=clip.file)
            except AudioError as error:
                if not skip_bad_audio:
                    raise
                logger.warning("Left out: %s", error)
                self.skipped.append((clip.file, str(error).removeprefix(f"{clip.file}: ")))
            else:
                yield clip, content, properties

    def make_table(self, rows: list[tuple[Clip, bytes]], *, features: datasets.Features | None = None) -> pa.Table:
        """Lay clips out as an Arrow table, bytes unchanged.

        Args:
            rows: Clips with the bytes of their files.
            features: Columns; by default those of the config.
        """
        features = features or self._features(self.config)
        clips = [clip for clip, _ in rows]
        index = {label: number for number, label in enumerate(self.LABELS or ())}
        columns: dict[str, list] = {
            "audio": [{"bytes": content, "path": clip.file} for clip, content in rows],
            "label": [None if clip.label is None else index[clip.label] for clip in clips],
            "file": [clip.file for clip in clips],
            "speaker_id": [clip.speaker_id for clip in clips],
            **{name: [clip.targets[name] for clip in clips] for name in self.TARGETS},
            **{name: [clip.metadata[name] for clip in clips] for name in self.METADATA},
        }
        return pa.table({name: columns[name] for name in features}, schema=features.arrow_schema)

    def table_features(self) -> datasets.Features:
        """Return every column that some config has."""
        return self._features(CorpusConfig(name="all", every_clip=True))

    def config_features(self, name: str) -> datasets.Features:
        """Return the columns of a config."""
        return self._features(self.builder_configs[name])

    def _check_clip(self, clip: Clip) -> None:
        if clip.label is None:
            wrong = self.LABELS is not None and not self.ALLOW_MISSING_LABELS
        else:
            wrong = clip.label not in (self.LABELS or ())
        if wrong:
            raise CorpusError(f"{clip.file}: unknown label {clip.label!r}; expected one of {self.LABELS}.")
        if not clip.speaker_id and self.SPEAKERS_ARE_KNOWN:
            raise CorpusError(f"{clip.file}: no speaker.")
        for kind, found, expected in (
            ("metadata", clip.metadata, self.METADATA),
            ("targets", clip.targets, self.TARGETS),
        ):
            if found.keys() != set(expected):
                raise CorpusError(f"{clip.file}: {kind} {sorted(found)}, expected {sorted(expected)}.")
        if clip.split is not None and clip.split not in SPLITS:
            raise CorpusError(f"{clip.file}: unknown split {clip.split!r}; expected one of {', '.join(SPLITS)}.")

    def _speakers(self, clips: list[Clip]) -> dict[str, str]:
        unknown = next((clip.file for clip in clips if not clip.speaker_id), None)
        if unknown is not None:
            raise SplitError(f"{self.FACTS.name} does not say who made {unknown}, so speakers cannot be kept apart.")
        return {clip.file: clip.speaker_id for clip in clips}

    def _find_root(self) -> Path:
        data_dir = self.config.data_dir
        if not self.ROOT_MARKERS:
            if data_dir is not None:
                raise CorpusError(f"{self.FACTS.name} is computed and takes no data_dir, got {str(data_dir)!r}.")
            return Path()
        if data_dir is not None:
            folder = Path(data_dir).expanduser()
        elif self.DOWNLOADS:
            folder = fetch(self.DOWNLOADS, facts=self.FACTS, cache_dir=self.raw_cache_dir)
        else:
            raise CorpusError(
                " ".join(
                    part
                    for part in (
                        f"{self.FACTS.name} needs data_dir, its folder of raw recordings: {self.LAYOUT}",
                        self.FACTS.obtain,
                        self.FACTS.terms,
                    )
                    if part
                )
            )
        return open_raw(folder, markers=self.ROOT_MARKERS, expected=self.LAYOUT, cache_dir=self.raw_cache_dir)

    def _features(self, config: CorpusConfig) -> datasets.Features:
        with_label = self.LABELS and (config.with_label or config.every_clip)
        label = {"label": datasets.ClassLabel(names=list(self.LABELS))} if with_label else {}
        targets = self.TARGETS if config.every_clip else config.targets
        return datasets.Features(
            {
                "audio": datasets.Audio(),
                **label,
                **{name: datasets.Value("float32") for name in targets},
                "file": datasets.Value("string"),
                "speaker_id": datasets.Value("string"),
                **self.METADATA,
            }
        )

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=self.FACTS.summary,
            features=self._features(self.config),
            homepage=self.FACTS.homepage,
            license=self.FACTS.licence,
            citation=self.FACTS.citation,
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:  # noqa: ARG002
        clips = self.collect_clips()
        if self.config.every_clip:
            return [datasets.SplitGenerator(name=EVERY_CLIP, gen_kwargs={"clips": clips})]
        split_of = self.split_clips(clips, self.config.protocol)
        return [
            datasets.SplitGenerator(
                name=split, gen_kwargs={"clips": [clip for clip in clips if split_of.get(clip.file) == split]}
            )
            for split in SPLITS
            if split in split_of.values()
        ]

    def _generate_tables(self, clips: list[Clip]) -> Iterator[tuple[Any, pa.Table]]:
        rows: list[tuple[Clip, bytes]] = []
        size = tables = 0
        for clip, content, _ in self.read_clips(clips, skip_bad_audio=self.config.skip_bad_audio):
            rows.append((clip, content))
            size += len(content)
            if len(rows) == _CLIPS_PER_TABLE or size >= _BYTES_PER_TABLE:
                yield _table_key(tables), self.make_table(rows)
                rows, size, tables = [], 0, tables + 1
        if rows:
            yield _table_key(tables), self.make_table(rows)


def _table_key(number: int) -> Any:
    """Key of a table as the installed `datasets` wants it: its own class where it has one, anything unique before."""
    key_class = getattr(datasets.builder, "Key", None)
    return number if key_class is None else key_class(0, number)
