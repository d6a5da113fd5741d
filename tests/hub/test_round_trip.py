"""The whole way as a user goes it: prepare, push, train from the Hub, push, load without nvv, load without the Hub."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi
from transformers import WhisperModel

PROGRAMS = Path(sys.executable).parent
TRAIN = Path(__file__).parents[2] / "recipes" / "train.py"
NUM_CLIPS = 6

# A machine that never saw nvv: the corpus and the adapter by their ids, with plain datasets and transformers.
USE = """
import io, json, sys
sys.modules["nvv"] = None
import soundfile, torch
from datasets import Audio, load_dataset
from transformers import AutoModelForAudioClassification, pipeline

clips = load_dataset("ada/synthetic", "speaker", split="test").cast_column("audio", Audio(decode=False))
model = AutoModelForAudioClassification.from_pretrained("ada/laughs", trust_remote_code=True)
classify = pipeline("audio-classification", model="ada/laughs", trust_remote_code=True)
answers = {}
for clip in clips.select(range(int(sys.argv[1]))):
    waveform, sampling_rate = soundfile.read(io.BytesIO(clip["audio"]["bytes"]), dtype="float32")
    assert (waveform.ndim, sampling_rate) == (1, 16_000)
    with torch.no_grad():
        logits = model(torch.from_numpy(waveform)[None]).logits[0]
    entries = classify({"array": waveform, "sampling_rate": sampling_rate}, top_k=None)
    answers[clip["file"]] = {
        "logits": logits.tolist(),
        "probabilities": dict(zip(model.config.id2label.values(), logits.softmax(-1).tolist(), strict=True)),
        "pipeline": {entry["label"]: entry["score"] for entry in entries},
    }
assert not any(name.startswith("nvv") for name, module in sys.modules.items() if module is not None)
print(json.dumps(answers))
"""


@pytest.fixture
def run(hub_environment, tmp_path):
    """Run a program as a user of the Hub would, and return what it printed."""

    def run(*command, **variables):
        done = subprocess.run(
            list(map(str, command)),
            env={**hub_environment, "OMP_NUM_THREADS": "1", **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    return run


@pytest.fixture
def backbone(hub, tiny_backbone_config, tmp_path):
    """A tiny Whisper in a repository of its own on the Hub, and the commit that it has."""
    torch.manual_seed(5)
    WhisperModel(tiny_backbone_config("whisper")).save_pretrained(tmp_path / "tiny-whisper")
    HfApi().create_repo("ada/tiny-whisper")
    return HfApi().upload_folder(repo_id="ada/tiny-whisper", folder_path=tmp_path / "tiny-whisper").oid


@pytest.mark.slow
def test_corpus_and_adapter_go_to_the_hub_and_come_back_where_nvv_is_not_installed(hub, backbone, run, tmp_path):
    nvv = PROGRAMS / "nvv"
    run(nvv, "prepare", "synthetic", "--output-dir", "synthetic")
    assert "commit" in run(nvv, "push-dataset", "synthetic", "ada/synthetic")
    run(
        *(PROGRAMS / "accelerate", "launch", "--cpu", "--num_processes", "1", TRAIN),
        *("--backbone", "ada/tiny-whisper", "--max_seconds", "2", "--projection_size", "16"),
        *("--corpus", "ada/synthetic", "--method", "lora", "--lora_rank", "2", "--learning_rate", "1e-2"),
        *("--max_steps", "4", "--eval_strategy", "steps", "--save_strategy", "steps", "--eval_steps", "4"),
        *("--save_steps", "4", "--num_bootstrap_resamples", "20", "--disable_tqdm", "true", "--use_cpu", "true"),
        *("--output_dir", "run", "--push_to_hub", "true", "--hub_model_id", "ada/laughs"),
    )

    pushed = hub.model("ada/laughs")
    assert len(pushed.branches["main"]) == 2  # the Hub's first, and one commit for all files
    files = pushed.files()
    assert {"adapter_model.safetensors", "config.json", "modeling_nvv.py", "README.md", "metrics.json"} <= files.keys()
    assert "model.safetensors" not in files
    config = json.loads(files["config.json"])
    assert (config["backbone_id"], config["backbone_revision"]) == ("ada/tiny-whisper", backbone)
    assert b"ada/synthetic" in files["README.md"]
    assert not any(b"hf_ada" in content for content in files.values())

    with (tmp_path / "run" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        expected = {row["file"]: row for row in csv.DictReader(file) if row["split"] == "test"}
    online = json.loads(run(sys.executable, "-c", USE, NUM_CLIPS).splitlines()[-1])
    assert len(online) == NUM_CLIPS
    for file, answer in online.items():
        row = {
            name.removeprefix("probability_"): value for name, value in expected[file].items() if "bability_" in name
        }
        assert answer["probabilities"] == pytest.approx({name: float(value) for name, value in row.items()}, abs=1e-4)
        assert answer["pipeline"] == pytest.approx(answer["probabilities"], abs=1e-5)
    differences = torch.tensor([answer["logits"] for answer in online.values()]).std(dim=0)
    assert differences.max() > 1e-3  # the clips are told apart

    hub.stop()
    offline = json.loads(run(sys.executable, "-c", USE, NUM_CLIPS).splitlines()[-1])
    assert offline == online
