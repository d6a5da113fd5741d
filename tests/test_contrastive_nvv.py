import math

import pytest
import torch
from torch.nn import functional as F

from nvv.contrastive_nvv import supervised_contrastive_loss


def _draw(num_clips=12, *, num_labels=4, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(num_clips, size, generator=generator, dtype=torch.float64), dim=1)
    return embeddings, torch.randint(num_labels, (num_clips,), generator=generator)


def _by_the_book(embeddings, labels, temperature):
    """Equation 2 of Khosla et al. 2020, term by term in float64, averaged over the clips that have a partner."""
    rows = embeddings.double()
    clips = [at for at in range(len(rows)) if labels[at] != -100]
    terms = []
    for i in clips:
        others = [a for a in clips if a != i]
        partners = [p for p in others if labels[p] == labels[i]]
        if partners:
            total = sum(torch.exp(rows[i].dot(rows[a]) / temperature) for a in others)
            logs = [torch.log(torch.exp(rows[i].dot(rows[p]) / temperature) / total) for p in partners]
            terms.append(-sum(logs) / len(partners))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
@pytest.mark.parametrize("missing", [(), (0, 3, 4)])
def test_loss_and_gradients_equal_the_published_sum_over_clips(temperature, missing):
    embeddings, labels = _draw()
    labels[list(missing)] = -100
    labels[7] = 9  # nobody's partner, and told from everybody
    ours, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    loss, expected = supervised_contrastive_loss(ours, labels, temperature=temperature), None
    expected = _by_the_book(theirs, labels, temperature)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    assert (ours.grad[list(missing)] == 0).all()
    assert ours.grad[7].abs().sum() > 0


def test_loss_follows_from_two_classes_by_hand():
    # Two laughs at an angle of 90° and a sigh opposite the first; temperature 1. The first laugh finds the second with
    # e^0 / (e^0 + e^-1), the second the first with e^0 / (e^0 + e^0); the sigh has no partner.
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss = supervised_contrastive_loss(embeddings, torch.tensor([0, 0, 1]), temperature=1.0)
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-1)) + math.log(2)) / 2, rel=1e-6)


def test_loss_falls_when_classes_come_apart():
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    mixed = apart[[0, 2, 1, 3]]
    assert supervised_contrastive_loss(apart, labels, temperature=0.1) < 0.001
    assert supervised_contrastive_loss(mixed, labels, temperature=0.1) > 5


@pytest.mark.parametrize(
    "labels", [[], [0], [0, 1, 2], [-100, -100], [0, -100, 1]], ids=["none", "one", "all_alone", "missing", "both"]
)
def test_loss_is_zero_with_finite_gradients_when_no_clip_has_a_partner(labels):
    embeddings = F.normalize(torch.randn(len(labels), 3), dim=-1).requires_grad_()
    loss = supervised_contrastive_loss(embeddings, torch.tensor(labels, dtype=torch.int64), temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert (embeddings.grad == 0).all()


def test_loss_is_finite_when_the_temperature_is_tiny_and_clips_coincide():
    # Similarities of 1 / 0.001 overflow any exponential in fp32.
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss = supervised_contrastive_loss(embeddings, torch.tensor([0, 1, 0, 1]), temperature=1e-3)
    loss.backward()
    # Clip 0 has its partner opposite and a stranger on top of it: 2 / 0.001 beside ln(1 + small).
    assert loss.item() == pytest.approx(2_000, rel=1e-5)
    assert torch.isfinite(embeddings.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loss_is_computed_in_single_precision_when_embeddings_are_halves(dtype):
    embeddings, labels = _draw()
    halves = embeddings.to(dtype)
    loss = supervised_contrastive_loss(halves, labels, temperature=0.07)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), _by_the_book(halves, labels, 0.07), rtol=1e-5, atol=1e-6)


def test_loss_is_computed_in_single_precision_under_autocast():
    embeddings, labels = _draw()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = supervised_contrastive_loss(embeddings.float(), labels, temperature=0.07)
    torch.testing.assert_close(loss.double(), _by_the_book(embeddings.float(), labels, 0.07), rtol=1e-5, atol=1e-6)


def test_loss_does_not_depend_on_the_order_of_clips_or_the_names_of_classes():
    embeddings, labels = _draw()
    loss = supervised_contrastive_loss(embeddings, labels, temperature=0.1)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(supervised_contrastive_loss(embeddings[order], labels[order], temperature=0.1), loss)
    torch.testing.assert_close(supervised_contrastive_loss(embeddings, 7 - labels, temperature=0.1), loss)


@pytest.mark.parametrize("temperature", [0.0, -0.1, math.nan])
def test_temperature_is_refused_when_it_is_not_positive(temperature):
    with pytest.raises(ValueError, match="temperature: expected more than 0"):
        supervised_contrastive_loss(torch.ones(2, 2), torch.tensor([0, 0]), temperature=temperature)


def test_shapes_are_refused_when_they_do_not_fit():
    with pytest.raises(ValueError, match=r"found \(2, 2\) and \(3,\)"):
        supervised_contrastive_loss(torch.ones(2, 2), torch.tensor([0, 0, 1]), temperature=0.1)
