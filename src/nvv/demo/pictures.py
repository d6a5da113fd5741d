"""The picture of a model's layer weights, as a file. Drawn by ``nvv.training.plots``. Own work."""

from __future__ import annotations

from pathlib import Path

from ..inference.load import Classifier
from ..training.plots import write_layer_weights
from .facts import LayerWeights

__all__ = ["write_layer_picture"]


def write_layer_picture(path: Path, layer_weights: LayerWeights, classifier: Classifier) -> Path:
    """Write a model's layer weights as a PNG.

    Args:
        path: the file.
        layer_weights: what to draw.
        classifier: the model, which is named.

    Returns:
        The file's path.
    """
    facts = classifier.facts
    return write_layer_weights(
        path,
        layer_weights.weights,
        backbone_id=facts.backbone_id or facts.architecture,
        layers=layer_weights.layers,
        random_init=facts.random_init,
    )
