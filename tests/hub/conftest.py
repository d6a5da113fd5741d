"""Fixtures of the Hub's tests: a Hub on localhost (localhost_hub.py), and small dataset repositories to push to it.

The commands' tests use this file too (tests/cli/conftest.py).
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard

from nvv.audio import encode_wav
from nvv.data import Clip, corpus_builder


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


for _name in ("localhost_hub_repository", "localhost_hub_answers"):  # the server imports them
    _load(_name)
localhost_hub = _load("localhost_hub")
make_run = _load("finished_runs").make_run


@pytest.fixture
def hub(monkeypatch, tmp_path_factory):
    """An empty Hub that the client in this process uses, as ada, with an empty cache and no waits between attempts."""
    with localhost_hub.serving_hub() as served:
        for name, value in {
            "ENDPOINT": served.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": served.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
            "HF_HUB_CACHE": str(tmp_path_factory.mktemp("hub_cache")),
        }.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_ada")
        for module in (huggingface_hub.utils._http, huggingface_hub.file_download):
            monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
        yield served
        huggingface_hub.close_session()


@pytest.fixture
def hub_environment(hub, tmp_path_factory):
    """Environment of a fresh process with an empty cache that uses the Hub, as ada."""
    caches = ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "HF_EVALUATE_CACHE", "HF_TOKEN_PATH")
    return {
        **{name: value for name, value in os.environ.items() if name not in caches},  # HF_HOME holds them all
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path_factory.mktemp("hf_home")),
        "HF_TOKEN": "hf_ada",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }


def write_card(folder, header, text):
    # JSON is YAML too
    (folder / "README.md").write_text(f"---\n{json.dumps(header)}\n---\n\n{text}", encoding="utf-8")


@pytest.fixture
def make_folder(tmp_path):
    """The function that writes a small dataset repository with a corpus's columns and one clip in each file."""

    def make(corpus, *, num_files=2, name=None):
        builder = corpus_builder(corpus)(cache_dir=str(tmp_path / "cache"))
        facts, features = builder.FACTS, builder.table_features()
        folder = tmp_path / (name or corpus)
        (folder / "data").mkdir(parents=True)
        for number in range(num_files):
            clip = Clip(
                file=f"clip{number}.wav",
                speaker_id=f"speaker{number}",
                label=builder.LABELS[0] if builder.LABELS else None,
                targets=dict.fromkeys(builder.TARGETS, 0.5),
                metadata=dict.fromkeys(builder.METADATA),
            )
            content = encode_wav(np.full(50, 0.01 * (number + 1)))
            table = builder.make_table([(clip, content)], features=features)
            pq.write_table(table, folder / "data" / f"speaker_train-{number:05d}.parquet")
        header = {
            "license": facts.licence,
            "pretty_name": facts.pretty_name,
            "tags": ["nvv", *(["synthetic"] if facts.is_synthetic else [])],
            "nvv_corpus": facts.name,
            "configs": [
                {
                    "config_name": "speaker",
                    "data_files": [{"split": "train", "path": "data/speaker_train-*.parquet"}],
                }
            ],
            "dataset_info": [
                {"config_name": "speaker", "splits": [{"name": "train", "num_examples": num_files, "num_bytes": 1}]}
            ],
        }
        example = f'load_dataset("nvv/{corpus}", "speaker")'
        write_card(folder, header, f"```python\n{example}\n```\n\n## Citation\n\n{facts.citation}\n")
        return folder

    return make


@pytest.fixture
def change_card():
    """The function that changes the header of a folder's card, as somebody with an editor would."""

    def change(folder, edit):
        card = DatasetCard.load(folder / "README.md")
        header = card.data.to_dict()
        edit(header)
        write_card(folder, header, card.text)

    return change


@pytest.fixture
def own_folder(make_folder):
    """A dataset that is none of the corpora: one more column, no corpus named, under CC BY 4.0 with an author."""
    folder = make_folder("synthetic", name="own")
    for file in (folder / "data").iterdir():
        table = pq.read_table(file)
        pq.write_table(table.append_column("room", [["kitchen"] * table.num_rows]), file)
    header = {"license": "cc-by-4.0", "pretty_name": "Kitchen sounds"}
    write_card(folder, header, "# Kitchen sounds\n\n## Authors\n\nA. Cook\n")
    return folder
