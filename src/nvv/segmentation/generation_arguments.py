"""What making a long recording can be told, and making one from a corpus: the recording and a table of its events.

How it is made stands in the neighbour `generated`, which corpora there are in ``nvv.training.corpus``. Own work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.augmentation import NOISE_COLORS
from ..files import write_text
from ..training.arguments import AUGMENTATION_FIELDS, TASK_FIELDS, ArgumentsError, DataArguments, refuse_fields
from ..training.config_files import RESOLVED_CONFIG_NAME, write_resolved_config
from ..training.corpus import load_run_corpus
from .events import Event
from .formats import events_csv
from .generated import ENDINGS, clips_of_split, generate_recording

__all__ = ["PROGRAM", "GenerationArguments", "MadeRecording", "default_output_dir", "make_recording"]

PROGRAM = "recipes/long_recording.py"
RECORDING_STEM = "recording"
REFERENCE_FILE = "reference.csv"


@dataclass
class GenerationArguments:
    """How long a recording is made of which clips, how loud they are, and where it is written.

    Raises:
        ArgumentsError: for a value outside its range.
    """

    duration_minutes: float = field(default=10.0, metadata={"help": "Length of the recording in minutes, > 0."})
    split: str = field(default="test", metadata={"help": "Split of the corpus that the clips come from."})
    labels: list[str] | None = field(default=None, metadata={"help": "Take clips of these classes; none: of all."})
    events_per_minute: float = field(default=6.0, metadata={"help": "Events a minute on average, > 0."})
    noise_dbfs: float = field(default=-55.0, metadata={"help": "Level of the noise in dB of full scale, below 0."})
    noise_color: str = field(default="pink", metadata={"help": f"Colour of the noise: {', '.join(NOISE_COLORS)}."})
    min_snr_db: float = field(
        default=15.0, metadata={"help": "Lowest power of a clip over the noise's, in dB; drawn for each event."}
    )
    max_snr_db: float = field(default=30.0, metadata={"help": "Highest power of a clip over the noise's, in dB."})
    min_gap_seconds: float = field(
        default=0.5, metadata={"help": "From an event's end to the next one's start at least, >= 0."}
    )
    overlapping: bool = field(default=False, metadata={"help": "Let events of different classes overlap."})
    seed: int = field(default=0, metadata={"help": "Of all that is drawn; the same seed gives the same samples."})
    audio_format: str = field(default="flac", metadata={"help": "flac or wav, 16 bit mono at 16 kHz."})
    output_dir: str | None = field(default=None, metadata={"help": "Where to write; none: runs/long_recording_CORPUS."})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Replace a recording in output_dir."})

    def __post_init__(self) -> None:
        """Check what the generator itself is not asked."""
        if f".{self.audio_format}" not in ENDINGS:
            raise ArgumentsError(f"audio_format: expected flac or wav, found {self.audio_format!r}.")
        if self.labels is not None and not self.labels:
            raise ArgumentsError("labels: expected at least one, found none.")


@dataclass(frozen=True, kw_only=True)
class MadeRecording:
    """A recording that was made.

    Args:
        recording: its file.
        reference: the table of its events.
        duration_s: its length in seconds.
        events: what is in it, in order of time.
    """

    recording: Path
    reference: Path
    duration_s: float
    events: tuple[Event, ...]


def default_output_dir(values: Mapping[str, Any]) -> str:
    """Name the folder after the corpus.

    Args:
        values: all arguments by name.

    Returns:
        A folder below `runs`.

    Example:
        >>> default_output_dir({"corpus": "nvv/vivae"})
        'runs/long_recording_vivae'
    """
    name = re.sub(r"[^\w.-]+", "_", Path(str(values["corpus"])).name).strip("._")
    return f"runs/long_recording_{name or 'corpus'}"


def make_recording(arguments: GenerationArguments, data: DataArguments) -> MadeRecording:
    """Make a recording from a corpus, and write it, the table of its events and the arguments.

    Args:
        arguments: how.
        data: which corpus.

    Returns:
        What was made.

    Raises:
        ArgumentsError: for an option without effect, a split or class that the corpus does not have, or a folder that
            holds a recording already.
        nvv.segmentation.generated.GenerationError: as `nvv.segmentation.generated.generate_recording`.
        ValueError: as `nvv.training.corpus.load_run_corpus`.
    """
    refuse_fields(data, TASK_FIELDS, reason="has no effect: events are of the classes of the column label.")
    refuse_fields(data, AUGMENTATION_FIELDS, reason="has no effect here: clips stand in noise as they are.")
    limits = ("max_train_clips", "max_evaluation_clips", "decoded_audio_mebibytes")
    refuse_fields(data, limits, reason="has no effect here: clips are decoded when they are needed.")
    folder = Path(arguments.output_dir or default_output_dir({"corpus": data.corpus})).expanduser()
    recording = folder / f"{RECORDING_STEM}.{arguments.audio_format}"
    reference = folder / REFERENCE_FILE
    there = [file for file in (recording, reference) if file.exists()]
    if there and not arguments.overwrite_output_dir:
        raise ArgumentsError(
            f"output_dir: {there[0]} exists. Pass --overwrite_output_dir true to replace it, or another --output_dir."
        )
    splits = load_run_corpus(data).splits
    if arguments.split not in splits:
        raise ArgumentsError(f"split: expected one of {', '.join(splits)}, found {arguments.split!r}.")
    clips = clips_of_split(splits[arguments.split])
    unknown = sorted(set(arguments.labels or ()) - set(clips))
    if unknown:
        raise ArgumentsError(
            f"labels: no clips of {', '.join(unknown)} in the split {arguments.split}, which has {', '.join(clips)}."
        )
    events = generate_recording(
        recording,
        duration_s=60 * arguments.duration_minutes,
        clips_by_label={label: clips[label] for label in arguments.labels or clips},
        seed=arguments.seed,
        events_per_minute=arguments.events_per_minute,
        noise_dbfs=arguments.noise_dbfs,
        noise_color=arguments.noise_color,
        snr_db=(arguments.min_snr_db, arguments.max_snr_db),
        min_gap_s=arguments.min_gap_seconds,
        overlapping=arguments.overlapping,
    )
    write_text(reference, events_csv({recording.name: events}))
    write_resolved_config((arguments, data), folder / RESOLVED_CONFIG_NAME, program=PROGRAM)
    return MadeRecording(
        recording=recording, reference=reference, duration_s=60 * arguments.duration_minutes, events=tuple(events)
    )
