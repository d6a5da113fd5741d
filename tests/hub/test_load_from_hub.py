"""What was pushed loads by its id: whole models, adapters and heads, at a revision, in private, and without the Hub."""

import hashlib
import json
import math
import subprocess
import sys

import datasets
import numpy as np
import pytest
import torch
from huggingface_hub import HfApi
from transformers import AutoModel, Wav2Vec2FeatureExtractor

from nvv import NvvForAudioClassification
from nvv.audio import encode_wav
from nvv.hub.dataset_repository import prepare_corpus
from nvv.hub.push_dataset import check_dataset, push_dataset
from nvv.hub.push_metric import push_metric
from nvv.hub.repository import save_repository
from nvv.training.tuning import TuningArguments, apply_tuning

LABELS = ("laugh", "sigh", "cough")
METHODS = {"ada/lora": "lora", "ada/probe": "frozen", "ada/whole": "full"}

# A process with plain transformers: loads what it is told to, and prints logits or errors.
LOAD = """
import json, sys
sys.modules["nvv"] = None
import torch
from transformers import AutoModelForAudioClassification, pipeline

clip = torch.load(sys.argv[1])
answers = []
for name, options in json.loads(sys.argv[2]):
    by_pipeline = options.pop("pipeline", False)
    add = options.pop("add", None)
    try:
        if by_pipeline:
            classify = pipeline("audio-classification", model=name, trust_remote_code=True, **options)
            answer = classify({"array": clip.numpy(), "sampling_rate": 16_000}, top_k=None)
            answers.append({entry["label"]: entry["score"] for entry in answer})
            continue
        model = AutoModelForAudioClassification.from_pretrained(name, trust_remote_code=True, **options)
        if add:
            model.load_adapter(add, "added", **{key: options[key] for key in ("token",) if key in options})
        with torch.no_grad():
            logits = model(clip[None]).logits[0].tolist()
        answers.append([logits, getattr(sys.modules[type(model).__module__], "CODE", "first")])
    except (OSError, ValueError) as error:
        answers.append(f"{type(error).__name__}: {error}")
assert not any(name.startswith("nvv") for name, module in sys.modules.items() if module is not None)
print(json.dumps(answers))
"""


@pytest.fixture
def clip(tmp_path):
    return 0.1 * torch.randn(9_000, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def load_elsewhere(hub_environment, clip, tmp_path):
    """Load models in a new process that has plain transformers, the cache of those before it, and no nvv."""

    def load(*wanted, **variables):
        torch.save(clip, tmp_path / "clip.pt")
        done = subprocess.run(
            [sys.executable, "-c", LOAD, str(tmp_path / "clip.pt"), json.dumps(wanted)],
            env={**hub_environment, "OMP_NUM_THREADS": "1", **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return load


@pytest.fixture
def push_backbone(tiny_backbone_config, randomise, tmp_path):
    """Upload a tiny encoder as a commit of its own repository."""

    def push(name="ada/encoder", *, seed=0, private=False):
        folder = tmp_path / f"encoder{seed}"
        randomise(AutoModel.from_config(tiny_backbone_config("wav2vec2")), seed=seed).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
        HfApi().create_repo(name, private=private, exist_ok=True)
        return HfApi().upload_folder(repo_id=name, folder_path=folder).oid

    return push


@pytest.fixture
def push_model(clip, tmp_path):
    """Upload a classifier on the backbone as a commit of its repository, and return the commit and its logits."""

    def push(name, method, *, seed=1, private=False, code="first", backbone="ada/encoder"):
        labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: at for at, label in enumerate(LABELS)}}
        model = NvvForAudioClassification.from_backbone(backbone, max_seconds=3.0, projection_size=8, **labels)
        model = apply_tuning(model, TuningArguments(method=method)).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
            logits = model(clip[None]).logits[0].tolist()
        folder = tmp_path / f"{name.replace('/', '-')}-{seed}"
        extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False)
        save_repository(model, extractor, folder, repository_id=name)
        with open(folder / "modeling_nvv.py", "a", encoding="utf-8") as file:
            file.write(f"\nCODE = {code!r}\n")
        HfApi().create_repo(name, private=private, exist_ok=True)
        return HfApi().upload_folder(repo_id=name, folder_path=folder).oid, logits

    return push


def check(answers, expected):
    for answer, logits in zip(answers, expected, strict=True):
        if isinstance(answer, dict):
            probabilities = torch.tensor(logits).softmax(-1).tolist()
            assert answer == pytest.approx(dict(zip(LABELS, probabilities, strict=True)), abs=1e-5)
        else:
            assert isinstance(answer, list), answer
            assert answer[0] == pytest.approx(logits, abs=1e-5)


@pytest.mark.slow
def test_every_kind_of_repository_loads_by_id_and_then_from_the_cache(hub, push_backbone, push_model, load_elsewhere):
    push_backbone()
    logits = {name: push_model(name, method)[1] for name, method in METHODS.items()}
    wanted = [(name, {"pipeline": by_pipeline}) for name in METHODS for by_pipeline in (False, True)]
    wanted.append(("ada/probe", {"add": "ada/lora"}))
    expected = [logits[name] for name, _ in wanted[:-1]] + [logits["ada/lora"]]
    check(load_elsewhere(*wanted), expected)
    assert not hub.defects

    hub.fail_next("(GET|HEAD)", "", times=math.inf, status=500)
    check(load_elsewhere(wanted[0]), expected[:1])  # one is enough: the clients wait seconds between their attempts
    hub.stop()
    check(load_elsewhere(*wanted), expected)
    check(load_elsewhere(*wanted[::2], HF_HUB_OFFLINE="1"), expected[::2])


@pytest.mark.slow
def test_revision_names_the_weights_and_the_code(hub, push_backbone, push_model, load_elsewhere):
    push_backbone()
    api, wanted, expected = HfApi(), [], []
    for name, method in METHODS.items():
        first, old = push_model(name, method)
        api.create_tag(name, tag="v1", revision=first)
        api.create_branch(name, branch="steady", revision=first)
        _, new = push_model(name, method, seed=2, code="second")
        assert max(abs(a - b) for a, b in zip(old, new, strict=True)) > 1e-3
        revisions = {"v1": (old, "first"), "steady": (old, "first"), first: (old, "first"), None: (new, "second")}
        wanted += [(name, {} if revision is None else {"revision": revision}) for revision in revisions]
        expected += revisions.values()
    for stops in (False, True):
        if stops:
            hub.stop()
        answers = load_elsewhere(*wanted)
        check(answers, [logits for logits, _ in expected])
        assert [code for _, code in answers] == [code for _, code in expected]


@pytest.mark.slow
def test_private_models_load_with_a_token_and_backbones_at_their_pinned_commit(
    hub, push_backbone, push_model, load_elsewhere
):
    api = HfApi()
    push_backbone("ada/hidden_encoder", private=True)
    push_backbone()
    push_backbone("ada/lost_encoder")
    hidden = push_model("ada/hidden", "lora", private=True, backbone="ada/hidden_encoder")[1]
    whole = push_model("ada/hidden_whole", "full", private=True, backbone="ada/hidden_encoder")[1]
    probe = push_model("ada/hidden_probe", "frozen", private=True, backbone="ada/hidden_encoder")[1]
    public = push_model("ada/lora", "lora")[1]
    push_model("ada/orphan", "lora", backbone="ada/lost_encoder")
    push_backbone(seed=2)  # another commit, with other weights
    api.delete_repo("ada/lost_encoder")
    token = {"token": "hf_ada"}
    no_token, wrong_token, *loaded, orphan = load_elsewhere(
        ("ada/hidden", {}),
        ("ada/hidden", {"token": "hf_bob"}),
        ("ada/hidden", token),
        ("ada/hidden", {"pipeline": True, **token}),
        ("ada/hidden_whole", token),
        ("ada/hidden_probe", token),
        ("ada/hidden_probe", {"add": "ada/hidden", **token}),
        ("ada/lora", {}),
        ("ada/orphan", {}),
        HF_TOKEN="",
    )
    check(loaded, [hidden, hidden, whole, probe, hidden, public])
    for error in (no_token, wrong_token):
        assert error.startswith("OSError: ada/hidden is not a local folder and is not a valid model identifier")
        assert "hf_bob" not in error
    assert orphan.startswith("OSError: The backbone of ada/orphan, ada/lost_encoder at revision ")
    assert "is not a valid model identifier" in orphan


# A process with plain datasets and evaluate.
LOAD_DATA = """
import hashlib, json, sys
sys.modules["nvv"] = None
import datasets, evaluate

def contents(splits):
    found = {}
    for split, rows in splits.items():
        rows = rows.cast_column("audio", datasets.Audio(decode=False))
        names = rows.features["label"].names
        found[split] = [
            [row["file"], names[row["label"]], hashlib.sha256(row["audio"]["bytes"]).hexdigest()] for row in rows
        ]
    return found

results = {"whole": contents(datasets.load_dataset("ada/sounds", "speaker"))}
if "stream" in sys.argv:
    results["streamed"] = contents(datasets.load_dataset("ada/sounds", "speaker", streaming=True))
    results["at_commit"] = contents(datasets.load_dataset("ada/sounds", "speaker", revision=sys.argv[-1]))
results["uar"] = evaluate.load("ada/uar").compute(references=[0, 0, 1], predictions=[0, 1, 1], labels=[0, 1, 2])
print(json.dumps(results))
"""


@pytest.mark.slow
def test_pushed_corpus_and_metric_load_by_id_streamed_and_from_the_cache(hub, hub_environment, tmp_path):
    for number in range(12):
        code, label = (4, "coughing") if number % 2 else (7, "sighing")
        file = tmp_path / "raw" / "dataset" / label / f"AB{number // 2:02d}_{code}_1_0_20_0_0_0.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_wav(np.full(100, 0.05 * (number + 1))))
    folder = tmp_path / "prepared"
    prepare_corpus("nonverbal_vocalization", data_dir=tmp_path / "raw", output_dir=folder)
    expected = {
        split: [
            [row["file"], row["file"].split("/")[0], hashlib.sha256(row["audio"]["bytes"]).hexdigest()]
            for row in rows.cast_column("audio", datasets.Audio(decode=False))
        ]
        for split, rows in datasets.load_dataset(str(folder), "speaker", cache_dir=str(tmp_path / "cache")).items()
    }
    assert sum(map(len, expected.values())) == 12
    pushed = push_dataset(check_dataset(folder, public=False), "ada/sounds")
    push_metric("uar", "ada/uar")
    HfApi().upload_file(path_or_fileobj=b"later", path_in_repo="note.txt", repo_id="ada/sounds", repo_type="dataset")

    def load(*options):
        done = subprocess.run(
            [sys.executable, "-c", LOAD_DATA, *options],
            env={**hub_environment, "HF_UPDATE_DOWNLOAD_COUNTS": "0"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    uar = {"uar": 0.5}  # (1/2 + 1 + 0) / 3
    online = load("stream", pushed.commit)
    assert online == {"whole": expected, "streamed": expected, "at_commit": expected, "uar": uar}
    hub.stop()
    assert load() == {"whole": expected, "uar": uar}
