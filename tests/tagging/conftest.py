"""Fixtures of the tagging tests: saved tiny models, datasets of tones in several forms, and runs as real processes.

The tests of the commands use this file too.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from transformers import Wav2Vec2FeatureExtractor

from nvv.audio import encode_wav
from nvv.hub.repository import save_repository


def _fixtures_of(folder):
    path = Path(__file__).parents[1] / folder / "conftest.py"
    spec = importlib.util.spec_from_file_location(f"_{folder}_fixtures_of_tagging", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_training, _hub = _fixtures_of("training"), _fixtures_of("hub")

make_split = _training.make_split
hub = _hub.hub
hub_environment = _hub.hub_environment

LABELS = ("laugh", "sigh", "cough", "cry")
CARD = """---
license: cc-by-nc-4.0
pretty_name: Tones
tags: [synthetic]
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*.parquet}
  - {split: test, path: data/test-*.parquet}
---
# Tones

## Authors

A. Tuner and B. Fork
"""


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """Every test here computes in one thread."""


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    """What `datasets` builds stays in the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets_cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets_cache"))


@pytest.fixture
def save_model(make_model, tmp_path):
    """The function that saves a small classifier of four labels as a repository, and returns its folder."""

    def save(*arguments, name="model", **fields):
        if "tasks" not in fields:
            fields["id2label"] = dict(enumerate(LABELS))
            fields["label2id"] = {label: at for at, label in enumerate(LABELS)}
        model = make_model(*arguments, **fields)
        save_repository(model, Wav2Vec2FeatureExtractor(return_attention_mask=True), tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def model_folder(save_model):
    """A saved tiny Whisper classifier."""
    return save_model("whisper", projection_size=16)


@pytest.fixture
def tones(make_split):
    """The function that makes a split of `num` tones with a second audio column, a list and a struct."""

    def make(num, *, seed=0):
        split = make_split([0.2 + 0.05 * (at % 7) for at in range(num)], seed=seed)
        features = datasets.Features(
            {
                **split.features,
                "file": datasets.Value("string"),
                "take": datasets.Audio(decode=False),
                "marks": [datasets.Value("float32")],
                "who": {"age": datasets.Value("int32"), "sex": datasets.ClassLabel(names=["f", "m"])},
            }
        )
        table = split.data.table
        for name, values in {
            "take": [{"bytes": encode_wav([0.1 * at % 1] * 20), "path": f"take{at}.wav"} for at in range(num)],
            "marks": [[0.5] * (at % 3) for at in range(num)],
            "who": [{"age": at, "sex": at % 2} for at in range(num)],
        }.items():
            table = table.append_column(name, pa.array(values, features.arrow_schema.field(name).type))
        names = pa.array([f"{seed}_{at:03d}.wav" for at in range(num)])
        table = table.set_column(table.column_names.index("file"), "file", names)
        table = table.replace_schema_metadata(features.arrow_schema.metadata)
        return datasets.Dataset(table, info=datasets.DatasetInfo(features=features))

    return make


@pytest.fixture
def with_bad_audio():
    """The function that puts bytes that are no audio into some rows of a split."""

    def spoil(split, rows):
        cells = split.data.table["audio"].to_pylist()
        for row in rows:
            cells[row]["bytes"] = b"no audio"
        table = split.data.table.set_column(
            0, "audio", pa.array(cells, split.features.arrow_schema.field("audio").type)
        )
        return datasets.Dataset(table, info=datasets.DatasetInfo(features=split.features))

    return spoil


@pytest.fixture
def dataset_folder(tones, tmp_path):
    """A dataset repository: train in three files of four rows, test in one of three."""
    folder = tmp_path / "tones"
    (folder / "data").mkdir(parents=True)
    train = tones(12)
    for part in range(3):
        rows = train.select(range(4 * part, 4 * part + 4))
        rows.to_parquet(folder / "data" / f"train-{part:05d}-of-00003.parquet", batch_size=2)
    tones(3, seed=1).to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


@pytest.fixture
def start(tmp_path):
    """The function that starts `python -m nvv …`, or another program, in a process, or in several by a launcher."""

    def run(*arguments, launcher=(), program=("-m", "nvv"), environment=None):
        fresh = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE", "NVV"))}
        return subprocess.Popen(
            [sys.executable, *launcher, *map(str, (*program, *arguments))],
            env={**fresh, "OMP_NUM_THREADS": "1", **(environment or {})},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture
def content_of():
    """The function that reads a folder: relative path to bytes, without the hidden folder of the plan."""

    def read(folder):
        files = (file for file in sorted(folder.rglob("*")) if file.is_file())
        return {
            name: file.read_bytes()
            for file in files
            if not (name := file.relative_to(folder).as_posix()).startswith(".tagging")
        }

    return read
