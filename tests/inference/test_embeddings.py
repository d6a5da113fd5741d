from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from nvv.inference import embedding_folder
from nvv.inference.embedding_arguments import EmbeddingArguments
from nvv.inference.embeddings import score_model_embeddings
from nvv.inference.load import ModelError, load_classifier
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.checkpoints import OutputFolderError

FILES = {"embedding_scores.json", "embedding_scores.csv", "embedding_scores.md", "embeddings.parquet", "embeddings.png"}
RUN = (
    *("--head", "embedding", "--train_sampling_strategy", "class_balanced", "--embedding_size", "8"),
    *("--num_train_epochs", "2"),
)


@pytest.fixture
def scored(corpus_folder, tmp_path, monkeypatch):
    """Score the embeddings of a model on the tones; pictures are drawn only where asked for."""

    def make(model, *, output_dir="embeddings", draws=False, **fields):
        if not draws:
            monkeypatch.setattr(
                embedding_folder, "write_embedding_plot", lambda path, splits, **options: path.write_text("picture")
            )
        data_fields = {name: fields.pop(name) for name in list(fields) if name in DataArguments.__dataclass_fields__}
        data = {"corpus": str(corpus_folder), "data_cache_dir": str(tmp_path / "cache"), **data_fields}
        arguments = EmbeddingArguments(
            model=str(model),
            output_dir=str(tmp_path / output_dir),
            **{"num_bootstrap_resamples": 20, "num_workers": 1, **fields},
        )
        return score_model_embeddings(arguments, DataArguments(**data))

    return make


def test_folder_holds_embeddings_scores_tables_and_picture(scored, run_folder, tmp_path):
    result = scored(run_folder(*RUN), draws=True, projection="tsne")
    assert {path.name for path in result.output_dir.iterdir()} == FILES
    assert (result.output_dir / "embeddings.png").read_bytes()[:4] == b"\x89PNG"
    report = json.loads((result.output_dir / "embedding_scores.json").read_text())
    assert report["embeddings"].keys() == {"model"}
    assert report["embeddings"]["model"]["size"] == 8
    assert not report["embeddings"]["model"]["standardised"]
    assert report["labels"] == ["laugh", "sigh", "cough"]
    assert report["num_clips"] == {"train": 24, "validation": 9, "test": 9}
    assert report["provenance"]["config"]["embeddings"]["model"] == "run"
    assert str(tmp_path) not in json.dumps(report)
    table = pd.read_csv(result.output_dir / "embedding_scores.csv")
    row = table.query("classifier == 'linear_probe' and split == 'test' and score == 'macro_f1'").iloc[0]
    scores = report["embeddings"]["model"]["splits"]["test"]["linear_probe"]["scores"]["macro_f1"]
    assert (row["value"], row["low"], row["high"]) == (scores["value"], scores["low"], scores["high"])
    text = (result.output_dir / "embedding_scores.md").read_text()
    assert "| model, 8 | nearest centroid |" in text
    assert "The sounds are computed" in text  # the tones are tagged as synthetic


def test_embeddings_are_kept_with_split_file_speaker_and_class(scored, run_folder):
    folder = run_folder(*RUN)
    result = scored(folder)
    kept = pd.read_parquet(result.output_dir / "embeddings.parquet")
    assert kept["split"].value_counts().to_dict() == {"train": 24, "validation": 9, "test": 9}
    row = kept.query("split == 'test'").iloc[4]
    assert (row["file"], row["speaker_id"], row["label"]) == ("test/004.wav", "S0", "sigh")
    values = np.stack(kept["embedding"])
    assert values.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)


def test_nearest_centroid_is_the_saved_models_own_answer(scored, run_folder, evaluated):
    folder = run_folder(*RUN)
    result = scored(folder)
    for split in ("validation", "test"):
        metrics = json.loads((folder / "metrics.json").read_text())["splits"][split]
        own = result.report["embeddings"]["model"]["splits"][split]["nearest_centroid"]
        assert own["confusion_matrix"] == metrics["confusion_matrix"]
    kept = pd.read_parquet(result.output_dir / "embeddings.parquet").query("split == 'train'")
    sums = np.stack([np.stack(kept["embedding"])[kept["label"] == name].sum(axis=0) for name in ("laugh", "sigh")])
    centroids = load_classifier(str(folder)).model.head.centroids[:2]
    expected = torch.nn.functional.normalize(torch.from_numpy(sums), dim=1)
    torch.testing.assert_close(centroids, expected, atol=1e-4, rtol=0)


def test_untuned_embeddings_stand_beside_the_models(scored, run_folder):
    result = scored(run_folder(*RUN), untuned=True)
    assert {path.name for path in result.output_dir.iterdir()} == FILES | {"embeddings_untuned.png"}
    untuned = result.report["embeddings"]["untuned"]
    assert untuned["standardised"]
    kept = pd.read_parquet(result.output_dir / "embeddings.parquet")
    assert len(kept["untuned_embedding"].iloc[0]) == untuned["size"] == 32
    assert "| untuned, 32 | linear probe |" in (result.output_dir / "embedding_scores.md").read_text()
    again = scored(run_folder(*RUN))  # the same model and corpus: replaced
    assert {path.name for path in again.output_dir.iterdir()} == FILES


def test_any_model_of_nvv_has_embeddings(scored, run_folder):
    report = scored(run_folder("--num_train_epochs", "1")).report
    assert report["model"]["head"] == "linear"
    assert report["embeddings"]["model"]["standardised"]
    assert report["embeddings"]["model"]["size"] == 16  # the projection


def test_checkpoint_is_scored_by_its_own_weights(scored, run_folder):
    folder = run_folder(*RUN)
    steps = sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))
    reports = [scored(folder / f"checkpoint-{step}", output_dir=f"at_{step}").report for step in steps]
    assert [report["model"]["checkpoint_step"] for report in reports] == steps


@pytest.mark.slow
def test_random_weights_are_named_everywhere(scored, run_folder):
    folder = run_folder(*RUN, "--random_init", "true")
    result = scored(folder, untuned=True)
    assert "random weights" in result.report["notes"][0]
    assert "**The model's encoder has random weights" in (result.output_dir / "embedding_scores.md").read_text()


def test_clips_can_be_fewer(scored, run_folder):
    report = scored(run_folder(*RUN), max_train_clips=12, max_evaluation_clips=5).report
    assert report["num_clips"] == {"train": 12, "validation": 5, "test": 5}


@pytest.mark.parametrize("other", ["run", "evaluation", "checkpoint"])
def test_folder_of_a_run_or_an_evaluation_is_never_written_to(scored, run_folder, tmp_path, other):
    folder = run_folder(*RUN)
    target = tmp_path / "other"
    target.mkdir()
    if other == "checkpoint":
        (target / "checkpoint-3").mkdir()
    else:
        (target / {"run": "config.json", "evaluation": "metrics.json"}[other]).write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(OutputFolderError, match="holds a model, a training run or an evaluation"):
            scored(folder, output_dir="other", overwrite_output_dir=overwrite)
    assert len(list(target.iterdir())) == 1


@pytest.mark.slow
def test_embeddings_of_something_else_are_replaced_only_when_told(scored, run_folder):
    first = scored(run_folder(*RUN))
    before = (first.output_dir / "embedding_scores.json").read_bytes()
    other = run_folder(*RUN, "--seed", "3", name="other")
    with pytest.raises(OutputFolderError, match="which differ in: model"):
        scored(other)
    with pytest.raises(OutputFolderError, match="which differ in: num_clips"):
        scored(run_folder(*RUN), max_evaluation_clips=5)
    assert (first.output_dir / "embedding_scores.json").read_bytes() == before
    assert scored(other, overwrite_output_dir=True).report["model"]["id"] == "other"


def test_nothing_is_left_when_writing_fails(scored, run_folder, tmp_path, monkeypatch):
    folder = run_folder(*RUN)

    def fail(*args, **options):
        raise OSError("disk full")

    scored(folder)
    before = {path.name: path.read_bytes() for path in (tmp_path / "embeddings").iterdir()}
    monkeypatch.setattr(embedding_folder, "embedding_scores_text", fail)
    with pytest.raises(OSError, match="disk full"):
        scored(folder)
    assert {path.name: path.read_bytes() for path in (tmp_path / "embeddings").iterdir()} == before


def test_models_and_corpora_without_what_is_needed_are_refused(scored, run_folder, stock_folder):
    with pytest.raises(ModelError, match="expected a model of nvv"):
        scored(stock_folder("wav2vec2"))
    folder = run_folder(*RUN)
    with pytest.raises(ArgumentsError, match=r"target_columns: .* has no effect"):
        scored(folder, target_columns=["label"])
    with pytest.raises(ArgumentsError, match=r"mixup_alpha: .* has no effect"):
        scored(folder, mixup_alpha=0.4)


@pytest.mark.slow
def test_missing_backbone_is_named_when_untuned_embeddings_are_asked_for(scored, run_folder):
    folder = run_folder(*RUN, "--method", "full")
    config = json.loads((folder / "config.json").read_text())
    config["backbone_id"] = "/nowhere/at/all"
    (folder / "config.json").write_text(json.dumps(config))
    assert scored(folder).report["embeddings"].keys() == {"model"}
    with pytest.raises(ModelError, match="untuned: the backbone all cannot be had as it was before tuning"):
        scored(folder, untuned=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": ""}, "model: expected a folder"),
        ({"projection": "mds"}, "projection: expected one of tsne, umap, pca"),
        ({"numbers_of_neighbours": []}, "numbers_of_neighbours: expected numbers above 0"),
        ({"c_values": [0.0]}, "c_values: expected numbers above 0"),
        ({"metric_for_best_model": "f2"}, "metric_for_best_model: expected one of accuracy"),
        ({"max_plot_clips": 0}, "max_plot_clips: expected at least 1"),
        ({"max_batch_seconds": 0.0}, "max_batch_seconds: expected more than 0"),
    ],
)
def test_arguments_out_of_range_are_refused(fields, message):
    with pytest.raises(ArgumentsError, match=message):
        EmbeddingArguments(**{"model": "runs/x", **fields})
