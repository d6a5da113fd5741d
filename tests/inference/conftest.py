"""Fixtures of the inference tests: the training tests' tones and command lines, the Hub on localhost, stock models."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoModelForAudioClassification,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from nvv.inference import EvaluateArguments, evaluate, evaluation_folder
from nvv.training.arguments import DataArguments
from nvv.training.config_files import parse_arguments
from nvv.training.run import train


def _fixtures_of(folder):
    path = Path(__file__).parents[1] / folder / "conftest.py"
    spec = importlib.util.spec_from_file_location(f"_{folder}_fixtures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_training, _hub = _fixtures_of("training"), _fixtures_of("hub")

LABELS = _training.LABELS
make_split = _training.make_split
make_tones = _training.make_corpus
corpus_folder = _training.corpus_folder
backbone_folder = _training.backbone_folder
command_line = _training.command_line
hub_of_datasets = _hub.hub


@pytest.fixture
def make_corpus(make_tones):
    """Make a `DatasetDict` of tones with the three splits, each file name in one of them only."""

    def make():
        corpus = make_tones()
        return datasets.DatasetDict(
            {
                name: split.map(lambda row, name=name: {"file": f"{name}/{row['file']}"}, load_from_cache_file=False)
                for name, split in corpus.items()
            }
        )

    return make


@pytest.fixture(scope="session")
def _trained_runs(tmp_path_factory):
    """Where each tiny run is kept that a test has trained, by its options."""
    return tmp_path_factory.mktemp("runs"), {}


@pytest.fixture
def run_folder(command_line, tmp_path, _trained_runs):
    """Train a tiny run, once a session for the same options, and return a copy of its folder to do anything with."""

    def make(*options, name="run"):
        kept, runs = _trained_runs
        if options not in runs:
            train(parse_arguments(command_line(*options, name=name)))
            runs[options] = shutil.copytree(tmp_path / name, kept / str(len(runs)))
        return shutil.copytree(runs[options], tmp_path / name, dirs_exist_ok=True)

    return make


@pytest.fixture
def evaluated(corpus_folder, tmp_path, monkeypatch):
    """Evaluate a model on the tones; fields of both groups of arguments. Plots are drawn only where asked for."""

    def make(model, *, output_dir="evaluation", draws=False, **fields):
        if not draws:
            monkeypatch.setattr(
                evaluation_folder, "write_confusion_matrix", lambda path, metrics, *, split: path.write_text(split)
            )
        data_fields = {name: fields.pop(name) for name in list(fields) if name in DataArguments.__dataclass_fields__}
        data = {"corpus": str(corpus_folder), "data_cache_dir": str(tmp_path / "cache"), **data_fields}
        arguments = EvaluateArguments(
            model=str(model),
            output_dir=str(tmp_path / output_dir),
            **{"num_bootstrap_resamples": 20, "num_workers": 1, **fields},
        )
        return evaluate(arguments, DataArguments(**data))

    return make


@pytest.fixture
def hub(hub_of_datasets, monkeypatch, tmp_path):
    """The Hub on localhost, for downloads of models too, with an empty cache."""
    template = f"{hub_of_datasets.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    # The module's own functions, which PEFT calls, belong to a client made when it was imported.
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub_of_datasets.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    return hub_of_datasets


@pytest.fixture
def stock_folder(tiny_backbone_config, randomise, tmp_path):
    """Save a tiny audio classifier of transformers with its feature extractor, and return its folder."""

    def make(kind, *, labels=LABELS, name=None, **config_fields):
        named = {"id2label": dict(enumerate(labels)), "label2id": {label: at for at, label in enumerate(labels)}}
        if kind == "audio-spectrogram-transformer":
            sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
            spectrogram = {"max_length": 64, "num_mel_bins": 32}
            model = ASTForAudioClassification(ASTConfig(**sizes, **spectrogram, **named, **config_fields))
            feature_extractor = ASTFeatureExtractor(**spectrogram)
        else:
            config = tiny_backbone_config(kind)
            config.update({**named, "classifier_proj_size": 8, **config_fields})
            model = AutoModelForAudioClassification.from_config(config)
            feature_extractor = (
                WhisperFeatureExtractor(feature_size=16, chunk_length=3)
                if kind == "whisper"
                else Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
            )
        folder = tmp_path / (name or f"stock_{kind}")
        randomise(model).save_pretrained(folder)
        feature_extractor.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def tones(make_split):
    """Make nine clips of 0.2 to 1.1 s, two of them equally long."""

    def make(num=9):
        lengths = np.random.default_rng(3).uniform(0.2, 1.1, num).round(3)
        lengths[num // 2] = lengths[0]
        return make_split(lengths.tolist())

    return make


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """Every test here computes in one thread."""
