"""Base class of all corpora: a `datasets` builder that finds, checks and splits clips and keeps their bytes unchanged.

A loading script in ``dataset_scripts/<corpus>/<corpus>.py`` subclasses `CorpusBuilder` and states only what is
particular to its corpus. Split protocols stand in ``nvv.data.splits``, finding and loading scripts in
``nvv.data.loading``, writing a dataset repository in ``nvv.hub.dataset_repository``.

The same class serves ``load_dataset`` of `datasets` 3 (which runs scripts), ``nvv.data.load_corpus`` and
``nvv prepare``. It builds Arrow tables of ``{bytes, path}`` itself, because `datasets` 4 and later need torchcodec to
encode an Audio cell.
"""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow as pa

from ..audio import AudioError, AudioProperties, check_audio
from .facts import CorpusFacts
from .rawfiles import CorpusError, find_root, fingerprint
from .splits import SPLITS, speaker_split, stratified_split

__all__ = ["Clip", "CorpusBuilder", "CorpusConfig"]

logger = logging.getLogger(__name__)

_CLIPS_PER_TABLE = 64
_BYTES_PER_TABLE = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording, as a loading script describes it.

    Attributes:
        file: Path relative to the corpus root with forward slashes; unique, and what the splits depend on.
        speaker_id: Who made the sound; clips with the same id never lie in two parts of the ``speaker`` protocol.
        label: One of the corpus's ``LABELS``; None for a corpus without classes.
        metadata: A value, or None, for each of the corpus's ``METADATA`` columns.
        split: ``"train"``, ``"validation"`` or ``"test"`` where the authors gave an official split; None leaves the
            clip out of the ``official`` config.
        path: Where the file lies; None for a computed clip.
    """

    file: str
    speaker_id: str
    label: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None
    path: Path | None = None


@dataclass
class CorpusConfig(datasets.BuilderConfig):
    """A split protocol, with what the user asked for.

    Attributes:
        skip_bad_audio: Leave out clips that cannot be decoded, instead of stopping at the first.
    """

    skip_bad_audio: bool = False

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Name the cache folder after the raw files and the reading code too: a change to either builds anew."""
        base = super().create_config_id(config_kwargs, custom_features=custom_features)
        raw = fingerprint(Path(self.data_dir)) if self.data_dir else ""
        return f"{base}-{hashlib.sha256((raw + _code_digest()).encode()).hexdigest()[:16]}"


class CorpusBuilder(datasets.ArrowBasedBuilder):
    """A corpus of labelled clips.

    A subclass sets the class attributes and implements `list_clips`; it may override `read_clip`.

    Attributes:
        FACTS: Name, licence, citation, limits.
        LABELS: Class names in canonical order; None for a corpus without classes (its targets are ``METADATA``
            columns).
        METADATA: Columns beyond audio, label, file and speaker_id, with their types.
        ROOT_MARKERS: Glob patterns that show where the raw corpus begins. Empty: the corpus needs no raw folder.
        LAYOUT: The raw layout in words, for errors.
        STRATIFIED_WEIGHTS: Proportions of the ``stratified`` protocol.
        skipped: Clips left out by ``skip_bad_audio``, as pairs of file and reason, in order of the files.
    """

    FACTS: ClassVar[CorpusFacts]
    LABELS: ClassVar[tuple[str, ...] | None] = None
    METADATA: ClassVar[Mapping[str, datasets.Value]] = {}
    ROOT_MARKERS: ClassVar[tuple[str, ...]] = ()
    LAYOUT: ClassVar[str] = ""
    STRATIFIED_WEIGHTS: ClassVar[tuple[int, int, int]] = (8, 1, 1)

    BUILDER_CONFIG_CLASS = CorpusConfig
    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = [
        CorpusConfig(name="speaker", description="No speaker in two splits."),
        CorpusConfig(name="stratified", description="Each class cut in the same proportions, speakers ignored."),
    ]
    DEFAULT_CONFIG_NAME = "speaker"

    @abstractmethod
    def list_clips(self, root: Path) -> Iterable[Clip]:
        """Describe every clip below the corpus root, in any order, without reading the audio.

        Args:
            root: Where the raw corpus begins; the current folder, unused, for a corpus that needs none.

        Raises:
            CorpusError: If a name does not follow the corpus's grammar; the message names the file.
        """

    def read_clip(self, clip: Clip) -> bytes:
        """Return the bytes of a clip's file, unchanged."""
        if clip.path is None:
            raise CorpusError(
                f"{clip.file}: the clip has no path and {type(self).__name__} does not override read_clip."
            )
        try:
            return clip.path.read_bytes()
        except OSError as error:
            raise AudioError(f"{clip.file}: cannot be read ({error.strerror}).") from error

    def collect_clips(self) -> list[Clip]:
        """Find the corpus, list its clips and check what was listed.

        Returns:
            The clips, sorted by file.

        Raises:
            CorpusError: If the folder is missing or laid out otherwise, holds no clips, or if a clip is described
                wrongly.
        """
        clips = sorted(self.list_clips(self._root()), key=lambda clip: clip.file)
        if not clips:
            raise CorpusError(f"{self.config.data_dir}: no clips found; expected {self.LAYOUT}")
        files = set()
        for clip in clips:
            if clip.file in files:
                raise CorpusError(f"{clip.file}: listed twice.")
            files.add(clip.file)
            if (clip.label is None) != (self.LABELS is None) or (self.LABELS and clip.label not in self.LABELS):
                raise CorpusError(f"{clip.file}: unknown label {clip.label!r}; expected one of {self.LABELS}.")
            if not clip.speaker_id:
                raise CorpusError(f"{clip.file}: no speaker.")
            if set(clip.metadata) != set(self.METADATA):
                raise CorpusError(f"{clip.file}: metadata {sorted(clip.metadata)}, expected {sorted(self.METADATA)}.")
        return clips

    def split_clips(self, clips: list[Clip], protocol: str) -> dict[str, str]:
        """Assign clips to splits.

        Args:
            clips: All clips of the corpus, bad ones too: what is left out must not move what stays.
            protocol: ``"speaker"``, ``"stratified"`` or ``"official"``.

        Returns:
            File to ``"train"``, ``"validation"`` or ``"test"``.

        Raises:
            ValueError: If the protocol is unknown.
        """
        files = [clip.file for clip in clips]
        labels = {clip.file: clip.label for clip in clips}
        if protocol == "speaker":
            return speaker_split(files, labels=labels, speakers={clip.file: clip.speaker_id for clip in clips})
        if protocol == "stratified":
            return stratified_split(files, labels=labels, weights=self.STRATIFIED_WEIGHTS)
        if protocol == "official":
            return {clip.file: clip.split for clip in clips if clip.split is not None}
        raise ValueError(f"Unknown split protocol {protocol!r}; {self.FACTS.name} has {sorted(self.builder_configs)}.")

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

    def make_table(self, rows: list[tuple[Clip, bytes]]) -> pa.Table:
        """Lay clips out as an Arrow table in the corpus's columns, bytes unchanged."""
        clips = [clip for clip, _ in rows]
        columns: dict[str, list] = {"audio": [{"bytes": content, "path": clip.file} for clip, content in rows]}
        if self.LABELS is not None:
            index = {label: number for number, label in enumerate(self.LABELS)}
            columns["label"] = [index[clip.label] for clip in clips]
        columns["file"] = [clip.file for clip in clips]
        columns["speaker_id"] = [clip.speaker_id for clip in clips]
        for name in self.METADATA:
            columns[name] = [clip.metadata[name] for clip in clips]
        return pa.table(columns, schema=self._features().arrow_schema)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Clips left out so far, as pairs of file and reason."""
        return self.__dict__.setdefault("_skipped", [])

    def _root(self) -> Path:
        data_dir = self.config.data_dir
        if not self.ROOT_MARKERS:
            if data_dir is not None:
                raise CorpusError(f"{self.FACTS.name} is computed and takes no data_dir, got {str(data_dir)!r}.")
            return Path()
        if data_dir is None:
            raise CorpusError(
                f"{self.FACTS.name} needs data_dir, its folder of raw recordings: {self.LAYOUT} {self.FACTS.obtain}"
            )
        return find_root(Path(data_dir).expanduser(), markers=self.ROOT_MARKERS, expected=self.LAYOUT)

    def _features(self) -> datasets.Features:
        label = {} if self.LABELS is None else {"label": datasets.ClassLabel(names=list(self.LABELS))}
        return datasets.Features(
            {
                "audio": datasets.Audio(),
                **label,
                "file": datasets.Value("string"),
                "speaker_id": datasets.Value("string"),
                **self.METADATA,
            }
        )

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description=self.FACTS.summary,
            features=self._features(),
            homepage=self.FACTS.homepage,
            license=self.FACTS.licence,
            citation=self.FACTS.citation,
        )

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:  # noqa: ARG002
        clips = self.collect_clips()
        split_of = self.split_clips(clips, self.config.name)
        return [
            datasets.SplitGenerator(
                name=split, gen_kwargs={"clips": [clip for clip in clips if split_of.get(clip.file) == split]}
            )
            for split in SPLITS
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


@cache
def _code_digest() -> str:
    """Digest of the code that decides what a built corpus holds: this folder and ``audio.py``."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [here.parent / "audio.py", *sorted(here.glob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
