from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import numpy as np
import pytest

from nvv.audio import encode_wav
from nvv.data import Clip, CorpusBuilder, CorpusError, CorpusFacts, list_files


class Birdsong(CorpusBuilder):
    """A corpus as the next ones will be: ``<label>/<speaker>-<number>.wav``, one metadata column."""

    FACTS = CorpusFacts(name="birdsong", pretty_name="Birdsong", licence="cc-by-4.0", obtain="Ask the birds.")
    LABELS = ("trill", "call")
    METADATA = {"number": datasets.Value("int32")}  # noqa: RUF012
    ROOT_MARKERS = ("trill/*.wav", "call/*.wav")
    LAYOUT = "one folder of WAV files per class."

    def list_clips(self, root: Path) -> Iterable[Clip]:
        for file in list_files(root, suffixes={".wav"}):
            label, _, name = file.partition("/")
            speaker, _, number = name.removesuffix(".wav").partition("-")
            if not number.isdigit():
                raise CorpusError(f"{file}: no number.")
            yield Clip(file=file, speaker_id=speaker, label=label, metadata={"number": int(number)})


@pytest.fixture
def birdsong_class() -> type[CorpusBuilder]:
    return Birdsong


@pytest.fixture
def raw_birdsong(tmp_path) -> Path:
    """Ten birds with two trills and a call each, all of different lengths."""
    root = tmp_path / "raw"
    for bird in range(10):
        for number, label in enumerate(("trill", "trill", "call")):
            path = root / label / f"bird{bird}-{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_wav(np.full(10 + 3 * bird + number, 0.1)))
    return root


@pytest.fixture
def build_birdsong(birdsong_class, raw_birdsong, tmp_path) -> Callable[..., CorpusBuilder]:
    def build(config: str = "speaker", **options) -> CorpusBuilder:
        options = {"data_dir": str(raw_birdsong), "cache_dir": str(tmp_path / "cache"), **options}
        return birdsong_class(config_name=config, **options)

    return build
