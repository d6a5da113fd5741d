"""The Hub on localhost as `transformers`, `peft`, `datasets` and `evaluate` see it, each in a process of its own."""

import json
import subprocess
import sys

import pytest

from nvv.hub.push_metric import push_metric

pytestmark = pytest.mark.slow

# The clients wait between attempts, up to 23 s for a Hub that is gone.
IMPATIENT = "import time; _sleep = time.sleep; time.sleep = lambda seconds: _sleep(min(seconds, 0.05))\n"

PUSH_MODELS = """
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForAudioClassification, Wav2Vec2Config, Wav2Vec2FeatureExtractor
torch.manual_seed(0)
config = Wav2Vec2Config(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8] * 7,
    num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, vocab_size=8, num_labels=3,
)
model = AutoModelForAudioClassification.from_config(config)
model.push_to_hub("ada/tiny", private=True)
Wav2Vec2FeatureExtractor().push_to_hub("ada/tiny")
adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
adapted.push_to_hub("ada/tiny-lora", private=True)
"""

# peft asks whether a file exists before it looks into the cache; only where it is told to be offline it does not.
LOAD_MODELS = """
import json, sys, torch, huggingface_hub
from peft import PeftModel
from transformers import AutoModelForAudioClassification, pipeline
model = AutoModelForAudioClassification.from_pretrained("ada/tiny", revision="v1").eval()
sound = torch.sin(torch.arange(4000) / 9)[None]
answers = pipeline("audio-classification", model="ada/tiny", revision="v1", top_k=1)(sound[0].numpy())
huggingface_hub.constants.HF_HUB_OFFLINE = "gone" in sys.argv
with torch.no_grad():
    logits = model(sound).logits[0].tolist()
    adapted = PeftModel.from_pretrained(model, "ada/tiny-lora").eval()(sound).logits[0].tolist()
print(json.dumps([logits, answers[0]["label"], adapted]))
"""

PUSH_DATASET = """
import datasets
for split, start in (("train", 0), ("test", 100)):
    rows = datasets.Dataset.from_dict({"number": list(range(start, start + 40)), "text": ["x" * 900] * 40})
    rows.push_to_hub("ada/numbers", split=split, private=True, **({"num_shards": 2} if split == "train" else {}))
"""

LOAD_DATASET = """
import json
from datasets import load_dataset
whole = load_dataset("ada/numbers", revision="main")
print(json.dumps({split: sum(rows["number"]) for split, rows in whole.items()}))
"""

STREAM_DATASET = """
import json
from datasets import load_dataset
streamed = load_dataset("ada/numbers", split="test", streaming=True)
chosen = load_dataset("ada/numbers", data_files={"some": "data/tr*-00001-*.parquet"}, split="some", streaming=True)
print(json.dumps([[row["number"] for row in rows] for rows in (streamed.skip(30), chosen.take(3))]))
"""

LOAD_METRIC = """
import sys
sys.modules["transformers"] = None  # evaluate would import it, which only costs time
import evaluate
del sys.modules["transformers"]
print(evaluate.load("ada/recall-of-all").compute(references=[0, 0, 1], predictions=[0, 1, 1])["uar"])
"""


@pytest.fixture
def run(hub_environment, tmp_path):
    """The function that runs a program against the Hub and returns the last line that it prints, as JSON."""

    def start(code, *arguments, **changes):
        environment = {**hub_environment, "OMP_NUM_THREADS": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0", **changes}
        done = subprocess.run(
            [sys.executable, "-c", IMPATIENT + code, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None

    return start


def test_model_and_adapter_load_by_id_and_from_the_cache_when_the_hub_is_gone(hub, run, tmp_path):
    run(PUSH_MODELS)
    repository = hub.model("ada/tiny")
    repository.tags["v1"] = repository.resolve("main")
    repository.add_commit("main", {}, "nothing is left on main")
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(hub.model("ada/tiny-lora").files())

    hub.cut_next(r"large-files/.*/model.safetensors")  # the first download of weights stops half way
    fresh = {"HF_HOME": str(tmp_path / "another_home")}
    logits, label, adapted = loaded = run(LOAD_MODELS, **fresh)
    assert label == f"LABEL_{logits.index(max(logits))}"
    assert adapted != logits
    weights = [entry.status for entry in hub.requests("GET", "large-files/.*/model.safetensors")]
    assert weights == [None, 200]
    hub.stop()
    assert run(LOAD_MODELS, "gone", **fresh) == loaded


def test_dataset_is_pushed_loaded_streamed_in_parts_and_cached(hub, run):
    run(PUSH_DATASET)
    assert [path for path in sorted(hub.dataset("ada/numbers").files()) if path.startswith("data/")] == [
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
    ]
    # The second half of 100 … 139, and the first of the second shard of 0 … 39.
    assert run(STREAM_DATASET) == [list(range(130, 140)), [20, 21, 22]]
    parts = [entry for entry in hub.requests("GET", "large-files") if entry.status == 206]
    assert parts
    hub.cut_next("train-00000")
    sums = run(LOAD_DATASET)
    assert sums == {"train": 780, "test": 4780}  # 39 · 40 / 2, and 40 · 100 more
    assert [entry.status for entry in hub.requests("GET", "train-00000")][-2:] == [None, 200]
    hub.stop()
    assert run(LOAD_DATASET) == sums


def test_metric_loads_by_id_and_from_the_cache_when_the_hub_is_gone(hub, run):
    push_metric("uar", "ada/recall-of-all")
    assert run(LOAD_METRIC) == 0.75  # (1/2 + 1) / 2
    hub.stop()
    assert run(LOAD_METRIC) == 0.75
