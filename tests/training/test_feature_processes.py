"""Feature passes in processes of their own: killed, side by side, and launched together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

pytestmark = pytest.mark.slow

# Computes the features of a prepared corpus and says what it did. Each batch takes as long as asked.
SCRIPT = """
import json, sys, time
from pathlib import Path
import torch
from accelerate import Accelerator
from nvv import NvvForAudioClassification
from nvv.data import load_corpus
from nvv.loading_nvv import load_feature_extractor
from nvv.training import features
from nvv.training.dataset import ClipDataset
from nvv.training.feature_pass import FeaturePass

corpus, backbone, cache, report, seconds, distributed = sys.argv[1:]
features._SHARD_CLIPS = 4
encode = FeaturePass._encode
sizes = []

def slowly(self, inputs):
    time.sleep(float(seconds))
    sizes.append([len(inputs["input_values"]), int(inputs["attention_mask"].sum())])
    return encode(self, inputs)

FeaturePass._encode = slowly
accelerator = Accelerator(cpu=True) if distributed == "yes" else None
splits = load_corpus(corpus, cache_dir=report + ".data" + (str(accelerator.process_index) if accelerator else ""))
clips = {name: ClipDataset(split, max_seconds=2.0) for name, split in splits.items()}
model = NvvForAudioClassification.from_backbone(backbone, num_labels=3, max_seconds=2.0)
found = features.compute_features(
    model,
    load_feature_extractor(backbone, random_init=True),
    clips,
    cache_dir=Path(cache),
    accelerator=accelerator,
    max_batch_seconds=1.0,
    num_workers=1,
)
index = accelerator.process_index if accelerator else 0
selected = {name: found.select(name, model.config).tolist() for name in clips}
said = {"num_computed": found.num_computed, "num_clips": found.num_clips, "sizes": sizes, "features": selected}
Path(f"{report}.{index}.json").write_text(json.dumps(said))
"""


@pytest.fixture
def start(corpus_folder, backbone_folder, tmp_path):
    """Start a pass in a process of its own; the function returned waits for it and returns what it reports."""
    script = tmp_path / "pass.py"
    script.write_text(SCRIPT)
    started = []

    def begin(name, *, cache="cache", seconds=0.0, launcher=(), distributed=False):
        report = tmp_path / name
        line = [sys.executable, *launcher, str(script), str(corpus_folder), str(backbone_folder), str(tmp_path / cache)]
        process = subprocess.Popen(
            [*line, str(report), str(seconds), "yes" if distributed else "no"],
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)

        def finish(index=0):
            _, said = process.communicate(timeout=240)
            assert process.returncode == 0, said
            return json.loads(Path(f"{report}.{index}.json").read_text())

        finish.process = process
        return finish

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def shards_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.safetensors") if not path.name.startswith(".")]


def stored_in(shards: list[Path]) -> int:
    total = 0
    for path in shards:
        with safe_open(path, framework="pt") as file:
            total += len(file.get_tensor("digests"))
    return total


def assert_same_features(found, expected):
    for split, values in expected["features"].items():
        torch.testing.assert_close(
            torch.tensor(found["features"][split]), torch.tensor(values), atol=1e-5, rtol=1e-4, msg=split
        )


def test_pass_that_was_killed_computes_only_what_is_missing(start, tmp_path):
    run = start("killed", seconds=0.5)
    deadline = time.monotonic() + 120
    while len(shards_in(tmp_path / "cache")) < 2:
        assert run.process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.process.send_signal(signal.SIGKILL)
    run.process.communicate()
    assert run.process.returncode == -signal.SIGKILL
    kept = stored_in(shards_in(tmp_path / "cache"))
    again, whole = start("again"), start("whole", cache="other_cache")
    again, whole = again(), whole()
    assert whole["num_clips"] == whole["num_computed"] == 42
    assert 8 <= kept < 42
    assert again["num_computed"] == sum(clips for clips, _ in again["sizes"]) == 42 - kept
    assert_same_features(again, whole)


def test_second_process_waits_and_reuses_when_two_run_at_once(start, tmp_path):
    runs = [start("one", seconds=0.1), start("two", seconds=0.1)]
    one, two = (run() for run in runs)
    assert sorted([one["num_computed"], two["num_computed"]]) == [0, 42]
    assert stored_in(shards_in(tmp_path / "cache")) == 42
    assert_same_features(one, two)


def test_processes_of_one_launch_divide_the_clips_by_length(start, tmp_path):
    # On a computer without a GPU, accelerate starts several processes only if it is told so by a configuration.
    config = Path(__file__).parents[2] / "recipes" / "accelerate_configs" / "cpu_2.yaml"
    launcher = ("-m", "accelerate.commands.launch", "--config_file", str(config))
    run = start("both", launcher=launcher, distributed=True)
    first, second = run(0), run(1)
    alone = start("alone", cache="other_cache")()
    assert first["num_computed"] == second["num_computed"] == alone["num_computed"] == 42
    assert sum(clips for part in (first, second) for clips, _ in part["sizes"]) == 42
    samples = [sum(samples for _, samples in part["sizes"]) for part in (first, second)]
    assert abs(samples[0] - samples[1]) < 0.6 * 16_000  # the longest clip has 0.6 s
    assert stored_in(shards_in(tmp_path / "cache")) == 42
    assert_same_features(first, alone)
    assert_same_features(second, alone)
