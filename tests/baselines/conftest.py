"""The small corpus of the training tests, for the baselines' tests too, and clips without a corpus."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import datasets
import pytest

from nvv.baselines import BaselineArguments
from nvv.training.arguments import DataArguments
from nvv.training.dataset import ClipDataset

_spec = importlib.util.spec_from_file_location(
    "_training_fixtures_of_baselines", Path(__file__).parents[1] / "training" / "conftest.py"
)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

make_split = _fixtures.make_split
make_corpus = _fixtures.make_corpus
corpus_folder = _fixtures.corpus_folder


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch):
    """Leave out what takes most of a run's time here; the recipe's test draws."""
    monkeypatch.setattr("nvv.baselines.run.write_confusion_matrix", lambda path, metrics: path.write_bytes(b"plot"))


@pytest.fixture
def make_clips(make_split):
    """Make clips of the given lengths in seconds, without a corpus."""

    def make(lengths, *, max_seconds=7.0, seed=0) -> ClipDataset:
        return ClipDataset(make_split(lengths, seed=seed), max_seconds=max_seconds)

    return make


@pytest.fixture
def own_tones(make_split, tmp_path) -> Path:
    """Sixty tones of a tenth of a second as Parquet, which is data of one's own: three classes, four speakers."""
    make_split([0.1] * 60).remove_columns("speaker_id").to_parquet(tmp_path / "own_tones.parquet")
    return tmp_path / "own_tones.parquet"


@pytest.fixture
def data(corpus_folder) -> DataArguments:
    return DataArguments(corpus=str(corpus_folder))


@pytest.fixture
def options(tmp_path):
    """Make the arguments of a quick run: MFCC only, two strengths of regularization."""

    def make(**changes) -> BaselineArguments:
        quick = {
            "features": ["mfcc"],
            "c_values": [0.01, 1.0],
            "num_bootstrap_resamples": 20,
            "features_cache_dir": str(tmp_path / "features"),
            "output_dir": str(tmp_path / "baselines"),
        }
        return BaselineArguments(**{**quick, **changes})

    return make
