import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import datasets
import numpy as np
import pyarrow as pa
import pytest
import soundfile
from scipy import signal

from nvv.audio import encode_wav
from nvv.data.audit import AuditReport, Finding, audit_dataset
from nvv.data.synthesis import VOCALIZATIONS, synthesize

RATE = 16_000


@dataclass(frozen=True)
class Sound:
    """A clip to be put into a dataset."""

    content: bytes | None
    label: str | None = "laugh"
    speaker: str | None = "voice0"
    split: str = "train"
    file: str | None = None


def encode(waveform: np.ndarray, sampling_rate: int = RATE, *, container: str, subtype: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, waveform, sampling_rate, format=container, subtype=subtype)
    return stream.getvalue()


def padded(waveform: np.ndarray, *, before_s: float = 0.0, after_s: float = 0.0) -> np.ndarray:
    return np.pad(waveform, (round(before_s * RATE), round(after_s * RATE)))


# A copy and the change that made it; each returns the bytes of a file.
CHANGES: dict[str, Callable[[np.ndarray], bytes]] = {
    "20 dB softer": lambda waveform: encode_wav(0.1 * waveform),
    "20 dB louder": lambda waveform: encode_wav(waveform / np.abs(waveform).max()),  # the sounds here peak at 0.1
    "silence before": lambda waveform: encode_wav(padded(waveform, before_s=1.2345)),
    "silence after": lambda waveform: encode_wav(padded(waveform, after_s=2.0)),
    "start cut off": lambda waveform: encode_wav(waveform[len(waveform) // 10 :]),
    "turned round": lambda waveform: encode_wav(-waveform),
    "MP3": lambda waveform: encode(waveform, container="MP3", subtype="MPEG_LAYER_III"),
    "Ogg Vorbis": lambda waveform: encode(waveform, container="OGG", subtype="VORBIS"),
    "Ogg Opus": lambda waveform: encode(waveform, container="OGG", subtype="OPUS"),
    "µ-law": lambda waveform: encode(waveform, container="WAV", subtype="ULAW"),
    "24 bit, softer": lambda waveform: encode(0.4321 * waveform, container="WAV", subtype="PCM_24"),
    "8 kHz": lambda waveform: encode_wav(signal.resample_poly(waveform, 1, 2), 8_000),
    "8 kHz and back": lambda waveform: encode_wav(signal.resample_poly(signal.resample_poly(waveform, 1, 2), 2, 1)),
    "44.1 kHz": lambda waveform: encode_wav(signal.resample_poly(waveform, 441, 160), 44_100),
    "several": lambda waveform: encode(
        padded(0.3 * signal.resample_poly(signal.resample_poly(waveform, 1, 2), 2, 1), before_s=0.717),
        container="MP3",
        subtype="MPEG_LAYER_III",
    ),
}


@pytest.fixture(params=CHANGES)
def change(request) -> Callable[[np.ndarray], bytes]:
    """Each way of making a copy that is not the same file, one test run for each."""
    return CHANGES[request.param]


@pytest.fixture(scope="session")
def changes() -> dict[str, Callable[[np.ndarray], bytes]]:
    return CHANGES


@pytest.fixture(scope="session")
def encode_as() -> Callable[..., bytes]:
    return encode


@pytest.fixture(scope="session")
def sound() -> type[Sound]:
    return Sound


@pytest.fixture(scope="session")
def voice() -> Callable[..., np.ndarray]:
    """The function that synthesizes a sound with its peak at 0.1, so that 20 dB more fit."""

    def make(vocalization: str = "laugh", number: int = 0, *, take: int = 0) -> np.ndarray:
        waveform = synthesize(vocalization, number, take=take)
        return 0.1 * waveform / np.abs(waveform).max()

    return make


@pytest.fixture(scope="session")
def clean_sounds(voice) -> list[Sound]:
    """Eight classes by six voices, no voice in two splits, nothing wrong with any clip."""
    split_of = ["train", "train", "train", "train", "validation", "test"]
    return [
        Sound(encode_wav(voice(label, number)), label, f"voice{number}", split, f"{label}/voice{number}.wav")
        for number, split in enumerate(split_of)
        for label in VOCALIZATIONS
    ]


@pytest.fixture(scope="session")
def make_dataset() -> Callable[[Iterable[Sound]], datasets.DatasetDict]:
    """The function that lays sounds out as a dataset with the columns of a corpus."""

    def make(sounds: Iterable[Sound]) -> datasets.DatasetDict:
        sounds = list(sounds)
        features = datasets.Features(
            {
                "audio": datasets.Audio(),
                "label": datasets.ClassLabel(names=list(VOCALIZATIONS)),
                "file": datasets.Value("string"),
                "speaker_id": datasets.Value("string"),
            }
        )
        splits = {}
        for split in dict.fromkeys(one.split for one in sounds):
            rows = [(number, one) for number, one in enumerate(sounds) if one.split == split]
            columns = {
                "audio": [{"bytes": one.content, "path": None} for _, one in rows],
                "label": [None if one.label is None else VOCALIZATIONS.index(one.label) for _, one in rows],
                "file": [one.file or f"extra{number}.wav" for number, one in rows],
                "speaker_id": [one.speaker for _, one in rows],
            }
            splits[split] = datasets.Dataset(pa.table(columns, schema=features.arrow_schema))
        return datasets.DatasetDict(splits)

    return make


@pytest.fixture(scope="session")
def audit_sounds(make_dataset) -> Callable[..., AuditReport]:
    """The function that audits sounds as one dataset with one config."""

    def audit_all(*sounds: Sound, **options) -> AuditReport:
        return audit_dataset(make_dataset(sounds), num_workers=1, **options)

    return audit_all


@pytest.fixture(scope="session")
def findings_of() -> Callable[[AuditReport, str], list[Finding]]:
    """The function that picks the findings of a kind, in whichever part of the report they are."""

    def pick(report: AuditReport, kind: str) -> list[Finding]:
        everywhere = [*report.findings, *(one for config in report.configs.values() for one in config.findings)]
        return [finding for finding in everywhere if finding.kind == kind]

    return pick


@pytest.fixture(scope="session")
def clean_report(audit_sounds, clean_sounds) -> AuditReport:
    """The audit of the clean sounds."""
    return audit_sounds(*clean_sounds, name="clean")
