from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from matplotlib.image import imread
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier

from nvv.inference import embedding_plots
from nvv.inference.embedding_plots import project, projection_or_default, write_embedding_plot
from nvv.inference.embedding_scores import EmbeddedSplit
from nvv.training.arguments import ArgumentsError


def _split(name, num_clips, *, num_labels=3, size=8, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(num_clips) % num_labels
    values = 3 * np.eye(num_labels, size)[labels] + 0.3 * generator.standard_normal((num_clips, size))
    return EmbeddedSplit(
        split=name,
        files=[f"{at}.wav" for at in range(num_clips)],
        embeddings=values.astype(np.float32),
        labels=labels,
    )


def _splits(*sizes, **options):
    names = ("train", "validation", "test")
    return {
        name: _split(name, size, seed=at, **options) for at, (name, size) in enumerate(zip(names, sizes, strict=True))
    }


def _embeddings(splits):
    return {name: split.embeddings for name, split in splits.items()}


def test_tsne_keeps_neighbours_together_across_splits():
    splits = _splits(45, 30, 30)
    points, used = project(_embeddings(splits), projection="tsne")
    assert used == "tsne"
    assert {name: place.shape for name, place in points.items()} == {
        "train": (45, 2),
        "validation": (30, 2),
        "test": (30, 2),
    }
    together = np.concatenate(list(_embeddings(splits).values()))
    assert trustworthiness(together, np.concatenate(list(points.values())), metric="cosine") > 0.8
    votes = KNeighborsClassifier(3).fit(points["train"], splits["train"].labels)
    assert votes.score(points["test"], splits["test"].labels) > 0.9


def test_projection_is_the_same_each_time():
    embeddings = _embeddings(_splits(20, 9, 9))
    first, second = (project(embeddings, projection="tsne", seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(first["test"], second["test"])


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1, 1), (4, 3, 2)])
@pytest.mark.parametrize("projection", ["tsne", "umap"])
def test_principal_axes_are_shown_when_clips_are_few(projection, sizes):
    points, used = project(_embeddings(_splits(*sizes)), projection=projection)
    assert used == "pca"
    assert all(np.isfinite(place).all() for place in points.values())


@pytest.mark.parametrize("size", [1, 2])
def test_embeddings_of_one_or_two_numbers_and_equal_clips_have_a_place(size):
    same = {name: np.ones((8, size), np.float32) for name in ("train", "test")}
    points, _ = project(same, projection="tsne")
    assert points["train"].shape == (8, 2)
    assert np.isfinite(points["train"]).all()


@pytest.fixture
def umap(monkeypatch):
    """Stand in for umap-learn: remembers what it was told, and takes the first two numbers as the plane."""
    told = {}

    class UMAP:
        def __init__(self, **options):
            told.update(options)

        def fit(self, values):
            told["fitted"] = len(values)
            self.embedding_ = values[:, :2]
            return self

        def transform(self, values):
            return values[:, :2]

    module = ModuleType("umap")
    module.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    monkeypatch.setattr(embedding_plots, "find_spec", lambda name: object())
    return told


def test_umap_is_fitted_on_training_clips_and_places_the_others(umap):
    embeddings = _embeddings(_splits(12, 4, 5))
    points, used = project(embeddings, projection="umap", seed=7)
    assert used == projection_or_default(None) == "umap"
    assert umap == {"n_components": 2, "n_neighbors": 11, "metric": "cosine", "random_state": 7, "fitted": 12}
    for name, values in embeddings.items():
        np.testing.assert_array_equal(points[name], values[:, :2])


def test_umap_is_refused_with_its_command_when_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(embedding_plots, "find_spec", lambda name: None)
    assert projection_or_default(None) == "tsne"
    with pytest.raises(ArgumentsError, match=r"pip install 'nvv\[umap\]'"):
        projection_or_default("umap")
    with pytest.raises(ArgumentsError, match="projection: expected one of tsne, umap, pca"):
        projection_or_default("mds")


def _written(path):
    pixels = imread(path)
    assert pixels.shape[1] > 1000
    return pixels


def test_picture_has_a_panel_for_each_split_and_changes_with_the_classes(tmp_path):
    splits = _splits(24, 12, 12)
    names = ["laugh", "sigh", "cough"]
    first = _written(
        write_embedding_plot(tmp_path / "a.png", splits, label_names=names, title="Tones", projection="pca")
    )
    again = write_embedding_plot(tmp_path / "b.png", splits, label_names=names, title="Tones", projection="pca")
    assert again.read_bytes() == (tmp_path / "a.png").read_bytes()
    test = splits["test"]
    other = EmbeddedSplit(split="test", files=test.files, embeddings=test.embeddings, labels=np.roll(test.labels, 1))
    changed = _written(
        write_embedding_plot(
            tmp_path / "c.png", {**splits, "test": other}, label_names=names, title="Tones", projection="pca"
        )
    )
    assert first.shape == changed.shape
    differs = (first != changed).any(axis=(0, 2))
    third = len(differs) // 3
    assert differs[2 * third - 60 :].any()
    assert not differs[:third].any()  # the panel of the training clips is as it was


def test_picture_is_drawn_with_many_classes_missing_labels_and_too_many_clips(tmp_path):
    splits = _splits(60, 30, 1, num_labels=23, size=30)
    unknown = splits["test"]
    splits["test"] = EmbeddedSplit(
        split="test", files=unknown.files, embeddings=unknown.embeddings, labels=np.array([-100])
    )
    path = write_embedding_plot(
        tmp_path / "many.png",
        splits,
        label_names=[f"class {at}" for at in range(23)],
        title="Tones",
        notes=["Random weights: no evidence about the backbone or the method"],
        max_clips=40,
    )
    _written(path)
    assert [file.name for file in tmp_path.iterdir()] == ["many.png"]
