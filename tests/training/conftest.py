"""Small recordings, models and command lines that the training tests share."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pytest
import soundfile
import torch
from transformers import WhisperModel

LABELS = ("laugh", "sigh", "cough")


def _wav(waveform: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, 16_000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


@pytest.fixture
def make_split():
    """Make a split of tones: class c sounds at 300 + 500·c Hz, with lengths in seconds as given."""

    def make(lengths, *, labels=None, seed=0) -> datasets.Dataset:
        generator = np.random.default_rng(seed)
        labels = [at % len(LABELS) for at in range(len(lengths))] if labels is None else labels
        cells = []
        for label, seconds in zip(labels, lengths, strict=True):
            time = np.arange(round(seconds * 16_000)) / 16_000
            tone = 0.3 * np.sin(2 * np.pi * (300 + 500 * label) * time) + 0.02 * generator.standard_normal(len(time))
            cells.append({"bytes": _wav(tone), "path": None})
        features = datasets.Features(
            {
                "audio": datasets.Audio(decode=False),
                "label": datasets.ClassLabel(names=list(LABELS)),
                "file": datasets.Value("string"),
                "speaker_id": datasets.Value("string"),
            }
        )
        columns = {
            "audio": cells,
            "label": labels,
            "file": [f"{at:03d}.wav" for at in range(len(lengths))],
            "speaker_id": [f"S{at % 4}" for at in range(len(lengths))],
        }
        # Through Arrow: from Python objects the datasets library would encode the cells, for which it needs torchcodec.
        table = pyarrow.Table.from_pydict(columns, schema=features.arrow_schema)
        return datasets.Dataset(table, info=datasets.DatasetInfo(features=features))

    return make


@pytest.fixture
def make_corpus(make_split):
    """Make a `DatasetDict` of tones with the three splits."""

    def make(num_train=24, num_evaluation=9) -> datasets.DatasetDict:
        generator = np.random.default_rng(1)
        sizes = {"train": num_train, "validation": num_evaluation, "test": num_evaluation}
        return datasets.DatasetDict(
            {
                name: make_split(generator.uniform(0.15, 0.6, size).round(3).tolist(), seed=at)
                for at, (name, size) in enumerate(sizes.items())
            }
        )

    return make


_CARD = """---
license: cc-by-4.0
pretty_name: Tones
tags: [synthetic]
configs:
- config_name: speaker
  data_files:
  - {split: train, path: train.parquet}
  - {split: validation, path: validation.parquet}
  - {split: test, path: test.parquet}
---
# Tones
"""


@pytest.fixture
def corpus_folder(make_corpus, tmp_path) -> Path:
    """A prepared corpus of tones: 24 training clips, 9 each to validate and test, of 0.15 to 0.6 s."""
    folder = tmp_path / "tones"
    folder.mkdir()
    for name, split in make_corpus().items():
        split.to_parquet(folder / f"{name}.parquet")
    (folder / "README.md").write_text(_CARD, encoding="utf-8")
    return folder


@pytest.fixture
def backbone_folder(tiny_backbone_config, tmp_path) -> Path:
    """A tiny Whisper checkpoint with weights, as transformers saves it."""
    torch.manual_seed(5)
    model = WhisperModel(tiny_backbone_config("whisper"))
    model.save_pretrained(tmp_path / "tiny_whisper")
    return tmp_path / "tiny_whisper"


@pytest.fixture
def command_line(corpus_folder, backbone_folder, tmp_path):
    """Make the command line of a small run: tiny backbone, tones, 2 epochs of 3 steps with 8 clips each."""

    def make(*options: str, name: str = "run") -> list[str]:
        return [
            *("--backbone", str(backbone_folder), "--max_seconds", "2", "--projection_size", "16"),
            *("--corpus", str(corpus_folder), "--data_cache_dir", str(tmp_path / "cache")),
            *("--method", "lora", "--learning_rate", "1e-3", "--num_train_epochs", "2"),
            *("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2"),
            *("--per_device_eval_batch_size", "4", "--num_bootstrap_resamples", "20", "--disable_tqdm", "true"),
            *("--output_dir", str(tmp_path / name), *options),
        ]

    return make
