"""Fixtures of the corpora's tests.

A module whose corpus is read from a release names it in the constant `CORPUS` and defines the fixture `release` (scope
"module"): a small raw tree by the release's grammar. The other fixtures here build on these two.
"""

import importlib.resources
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest

from nvv.audio import encode_wav
from nvv.data import CorpusBuilder, corpus_builder
from nvv.hub.dataset_repository import PreparedCorpus, prepare_corpus

LABELS = {4: "coughing", 11: "crying", 12: "laughing"}


@pytest.fixture
def raw_folder(tmp_path) -> Path:
    """The release's layout in small: twelve speakers, three classes, one clip of each, plus the metadata file."""
    root = tmp_path / "release"
    speakers = {}
    for number in range(12):
        speaker = f"AB{number:02d}"
        for code, label in LABELS.items():
            path = root / "dataset" / label / f"{speaker}_{code}_{number + 1}_{number % 2}_{20 + number}_1_0_1.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_wav(np.full(20 + number + code, 0.1)))
        speakers[speaker] = {"sex": ("Female", "Male")[number % 2], "age": 20 + number, "class": list(LABELS.values())}
    speakers["AB01"] |= {"sex": "Female", "age": 41}  # the release, too, disagrees with itself
    del speakers["AB02"]
    (root / "dataset" / "Nonverbal_Vocalization_metadata.json").write_text(json.dumps(speakers), encoding="utf-8")
    (root / "README.md").write_text("the release's own")
    return root


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> str:
    """The name of the corpus that the module tests."""
    return request.module.CORPUS


@pytest.fixture
def build(corpus: str, tmp_path: Path) -> Callable[..., CorpusBuilder]:
    """The function that makes the corpus's builder, in its default config, for a raw folder or archive."""

    def build(data_dir: Path | str) -> CorpusBuilder:
        return corpus_builder(corpus)(cache_dir=str(tmp_path / "cache"), data_dir=str(data_dir))

    return build


@pytest.fixture
def changed(release: Path, tmp_path: Path) -> Path:
    """A copy of the release that a test may change."""
    return Path(shutil.copytree(release, tmp_path / "changed"))


@pytest.fixture(scope="module")
def prepared(corpus: str, release: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    """What `prepare_corpus` says of the release and wrote, once a module."""
    return prepare_corpus(corpus, data_dir=release, output_dir=tmp_path_factory.mktemp("prepared") / corpus)


@pytest.fixture
def load(prepared: PreparedCorpus, tmp_path: Path) -> Callable[..., datasets.DatasetDict]:
    """The function that loads a config of the prepared corpus, the default one if none is named, audio as bytes."""

    def load(config: str | None = None) -> datasets.DatasetDict:
        loaded = datasets.load_dataset(str(prepared.output_dir), config, cache_dir=str(tmp_path / "cache"))
        return loaded.cast_column("audio", datasets.Audio(decode=False))

    return load


@pytest.fixture
def rows_of() -> Callable[[datasets.DatasetDict], dict[str, dict]]:
    """The function that gives all rows of a loaded corpus by their file."""

    def rows_of(dataset: datasets.DatasetDict) -> dict[str, dict]:
        return {row["file"]: row for split in dataset.values() for row in split}

    return rows_of


@pytest.fixture
def load_classically(tmp_path: Path) -> Callable[..., datasets.DatasetDict]:
    """The function that loads a corpus by its script folder, as datasets up to 3 does; skips under later ones."""
    if int(datasets.__version__.split(".")[0]) > 3:
        pytest.skip("datasets 4 and later refuse loading scripts")

    def load_classically(name: str, data_dir: Path, config: str | None = None) -> datasets.DatasetDict:
        # A copy, because datasets 3 leaves a lock file beside the folder.
        script = importlib.resources.files("nvv.dataset_scripts") / name
        folder = shutil.copytree(script, tmp_path / "scripts" / name)
        return datasets.load_dataset(
            str(folder), config, data_dir=str(data_dir), trust_remote_code=True, cache_dir=str(tmp_path / "cache")
        )

    return load_classically
