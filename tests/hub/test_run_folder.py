import pytest

from nvv.hub.run_folder import files_to_push, is_own_file, names_clips, why_clips_are_private


def test_checkpoints_caches_hidden_and_partial_files_stay_behind(tmp_path):
    kept = ["README.md", "model.safetensors", "random/metrics.json", "modeling_nvv.py"]
    left = [
        *("checkpoint-7/model.safetensors", ".partial-x/config.json", ".incomplete-1-a.json", ".cache/huggingface/x"),
        *(".env", "runs/Nov21/events.out.tfevents.1", "__pycache__/a.pyc", "random/.DS_Store", "a.tmp", "x.lock"),
    ]
    for file in (*kept, *left):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert sorted(files_to_push(tmp_path)) == sorted(kept)


@pytest.mark.parametrize(
    ("file", "is_own"),
    [
        ("model.safetensors", True),
        ("model-00001-of-00002.safetensors", True),
        ("model.safetensors.index.json", True),
        ("pytorch_model.bin", True),
        ("adapter_model.safetensors", True),
        ("modeling_nvv.py", True),
        ("predictions_high.csv", True),
        ("confusion_matrix.png", True),
        ("README.md", False),
        ("LICENSE", False),
        ("photo.png", False),
        ("train.py", False),
        ("docs/model.safetensors", False),
        ("evaluations/x/metrics.json", False),
    ],
)
def test_push_removes_what_runs_write_and_nothing_else(file, is_own):
    assert is_own_file(file) is is_own


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("predictions.csv", True),
        ("predictions_high.csv", True),
        ("evaluations/x/detections.csv", True),
        ("embeddings.parquet", True),
        ("scores.parquet", False),
        ("metrics.json", False),
        ("my_predictions.md", False),
    ],
)
def test_files_that_name_clips_are_known(file, names):
    assert names_clips(file) is names


def test_loading_script_is_the_authority_on_what_may_be_public():
    # A results file that claims another licence than the corpus has.
    assert "CNVVE" in why_clips_are_private([{"name": "cnvve", "licence": "cc0-1.0"}])
    assert why_clips_are_private([{"name": "vivae", "licence": "unknown"}]) is None
    assert "agreement" in why_clips_are_private([{"name": "vivae"}, {"name": "hume_vb"}])


def test_own_data_may_be_public_where_its_licence_is_known_to_allow_it():
    assert why_clips_are_private([{"name": "kitchen", "licence": "cc-by-4.0"}]) is None
    for facts in ({"licence": "unknown"}, {"licence": None}, {}, {"licence": "cc-by-4.0", "no_public_copies": "No."}):
        assert why_clips_are_private([{"name": "kitchen", **facts}]).startswith("kitchen may not be made public")
