"""Pictures of embeddings: every clip a point in the plane, a panel for each split, coloured by class.

The plane is found by t-SNE (scikit-learn) over all splits together, or by UMAP (the optional package umap-learn), which
is fitted on the training clips and then places the others. Neither keeps distances or sizes of groups: what the picture
shows is who has whom for a neighbour. Too few clips for either are shown along their principal axes. Own work.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import normalize

from ..training.arguments import ArgumentsError
from ..training.plot_style import GREY, INK, save_figure
from .embedding_scores import EmbeddedSplit

__all__ = ["PROJECTIONS", "project", "projection_or_default", "write_embedding_plot"]

PROJECTIONS = ("tsne", "umap", "pca")
_TITLES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal axes"}
_FEWEST_CLIPS = 10
"""Of fewer neither method can say who is near; UMAP fails outright."""
_PERPLEXITY = 30.0  # scikit-learn's default
_NEIGHBOURS = 15  # umap-learn's default
_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
_LEGEND_ROWS = 20


def projection_or_default(projection: str | None) -> str:
    """Return the projection to use.

    Args:
        projection: one of `PROJECTIONS`, or None for UMAP where umap-learn is installed, else t-SNE.

    Raises:
        ArgumentsError: for another name, or for UMAP where umap-learn is missing, with the command that installs it.
    """
    has_umap = find_spec("umap") is not None
    if projection is None:
        return "umap" if has_umap else "tsne"
    if projection not in PROJECTIONS:
        raise ArgumentsError(f"projection: expected one of {', '.join(PROJECTIONS)}; found {projection!r}.")
    if projection == "umap" and not has_umap:
        raise ArgumentsError("projection: umap needs umap-learn: pip install 'nvv[umap]'. tsne needs nothing.")
    return projection


def project(
    embeddings: Mapping[str, NDArray[np.float32]], *, projection: str, seed: int = 0
) -> tuple[dict[str, NDArray[np.float32]], str]:
    """Place clips in the plane by the angles between their embeddings.

    Args:
        embeddings: (clips, size) by split, `train` among them; together at least one clip.
        projection: one of `PROJECTIONS`.
        seed: of what the method draws at random.

    Returns:
        Points (clips, 2) by split; and the projection that was used: `pca` where clips are too few for another.
    """
    sizes = {name: len(values) for name, values in embeddings.items()}
    together = normalize(np.concatenate(list(embeddings.values())).astype(np.float64))
    fitted_on = sizes["train"] if projection == "umap" else len(together)
    if fitted_on < _FEWEST_CLIPS:
        projection = "pca"
    if projection == "umap":
        points = _umap(embeddings, seed=seed)
    elif projection == "tsne":
        points = _tsne(together, seed=seed)
    else:
        points = _principal_axes(together)
    bounds = np.cumsum([0, *sizes.values()])
    return {
        name: points[start:end].astype(np.float32)
        for name, start, end in zip(sizes, bounds[:-1], bounds[1:], strict=True)
    }, projection


def _tsne(vectors: NDArray[np.float64], *, seed: int) -> NDArray[np.floating]:
    method = TSNE(
        n_components=2,
        perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),
        init=_principal_axes(vectors, deviation=1e-4),  # of the size that scikit-learn's own start has
        random_state=seed,
    )
    return method.fit_transform(vectors.astype(np.float32))


def _umap(embeddings: Mapping[str, NDArray[np.float32]], *, seed: int) -> NDArray[np.floating]:
    train = embeddings["train"]
    method = import_module("umap").UMAP(
        n_components=2, n_neighbors=min(_NEIGHBOURS, len(train) - 1), metric="cosine", random_state=seed
    )
    method.fit(train)
    return np.concatenate(
        [method.embedding_ if name == "train" else method.transform(values) for name, values in embeddings.items()]
    )


def _principal_axes(vectors: NDArray[np.float64], *, deviation: float | None = None) -> NDArray[np.float32]:
    """Return coordinates along the first two principal axes, 0 along those that there are not."""
    points = np.zeros((len(vectors), 2), dtype=np.float32)
    num_axes = min(2, *vectors.shape)
    # One clip has no axes, and equal clips have no spread to divide by.
    if len(vectors) > 1 and np.ptp(vectors, axis=0).any():
        points[:, :num_axes] = PCA(num_axes, svd_solver="full").fit_transform(vectors)
        if deviation is not None:
            points *= deviation / points[:, 0].std()
    return points


def write_embedding_plot(
    path: str | os.PathLike[str],
    splits: Mapping[str, EmbeddedSplit],
    *,
    label_names: Sequence[str],
    title: str,
    notes: Sequence[str] = (),
    projection: str = "tsne",
    max_clips: int = 5_000,
    seed: int = 0,
) -> Path:
    """Write a picture of the embeddings with a panel for each split.

    Args:
        path: the PNG file.
        splits: `train` and others.
        label_names: class names in label order; clips without a label are drawn as grey dots.
        title: what was embedded.
        notes: what has to be said of it, such as that weights are random.
        projection: one of `PROJECTIONS`.
        max_clips: of larger splits so many clips are drawn, chosen at even distances.
        seed: of the projection.

    Returns:
        The file's path.
    """
    shown = {name: _at_even_distances(split, max_clips) for name, split in splits.items()}
    embeddings = {name: splits[name].embeddings[rows] for name, rows in shown.items()}
    points, projection = project(embeddings, projection=projection, seed=seed)
    figure = Figure(figsize=(4.2 * len(splits) + 0.5, 5.2), layout="constrained")
    panels = figure.subplots(1, len(splits), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, places) in zip(panels, points.items(), strict=True):
        if name != "train":
            axes.scatter(*points["train"].T, s=5, color="#e2e8f0", linewidths=0, rasterized=True)
        _draw_classes(axes, places, splits[name].labels[shown[name]], num_labels=len(label_names))
        total, drawn = len(splits[name].labels), len(places)
        clips = f"{total} clips" if drawn == total else f"{drawn} of {total} clips"
        axes.set_title(f"{name}, {clips}", color=INK, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(GREY)
    _add_legend(figure, panels[0], label_names)
    figure.suptitle("\n".join([f"{title}: {_TITLES[projection]}", *notes]), color=INK, fontsize=11)
    return save_figure(figure, path)


def _at_even_distances(split: EmbeddedSplit, max_clips: int) -> NDArray[np.int64]:
    num_clips = len(split.labels)
    return np.unique(np.linspace(0, num_clips - 1, num=min(num_clips, max_clips)).round().astype(np.int64))


def _look(label: int, num_labels: int) -> dict[str, object]:
    """Return colour and marker of a class; up to ten classes differ by colour alone."""
    colours = colormaps["tab10"].colors
    shape = _MARKERS[label // len(colours) % len(_MARKERS)] if num_labels > len(colours) else _MARKERS[0]
    return {"color": colours[label % len(colours)], "marker": shape}


def _draw_classes(axes: Axes, points: NDArray[np.float32], labels: NDArray[np.int64], *, num_labels: int) -> None:
    size = 22 if len(points) < 500 else 10
    unknown = labels < 0
    axes.scatter(*points[unknown].T, s=size / 2, color=GREY, linewidths=0)
    for label in np.unique(labels[~unknown]):
        axes.scatter(*points[labels == label].T, s=size, alpha=0.8, linewidths=0, **_look(int(label), num_labels))


def _add_legend(figure: Figure, axes: Axes, label_names: Sequence[str]) -> None:
    """Name all classes, also those that no clip of the first panel is of."""
    handles = [
        axes.scatter([], [], s=26, linewidths=0, label=name, **_look(label, len(label_names)))
        for label, name in enumerate(label_names)
    ]
    figure.legend(
        handles=handles,
        loc="outside right upper",
        ncols=1 + (len(handles) - 1) // _LEGEND_ROWS,
        fontsize=8,
        frameon=False,
        labelcolor=INK,
    )
