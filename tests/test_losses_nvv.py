import math

import pytest
import torch
from torch.nn import functional as F

from nvv.losses_nvv import weighted_cross_entropy


def test_cross_entropy_equals_torchs_when_unweighted():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 1, 1])
    torch.testing.assert_close(weighted_cross_entropy(logits, labels), F.cross_entropy(logits, labels))
    torch.testing.assert_close(
        weighted_cross_entropy(logits, labels, label_smoothing=0.2),
        F.cross_entropy(logits, labels, label_smoothing=0.2),
    )


def test_cross_entropy_weights_each_clip_by_its_class():
    # Even logits over two classes: every clip costs ln 2, so the mean of the weights 3, 3, 1 times ln 2.
    loss = weighted_cross_entropy(torch.zeros(3, 2), torch.tensor([0, 0, 1]), class_weights=[3.0, 1.0])
    assert loss.item() == pytest.approx(7 / 3 * math.log(2), rel=1e-6)


def test_weighted_cross_entropy_of_a_batch_is_the_mean_of_its_halves():
    logits, labels = torch.randn(8, 3), torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    weights = [0.5, 2.0, 4.0]
    halves = [weighted_cross_entropy(logits[h], labels[h], class_weights=weights) for h in (slice(0, 4), slice(4, 8))]
    whole = weighted_cross_entropy(logits, labels, class_weights=weights)
    torch.testing.assert_close(whole, torch.stack(halves).mean())
