from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from nvv import NvvConfig
from nvv.heads_nvv import NvvHead
from nvv.training.stacked_heads import StackedHeads

CPU = torch.device("cpu")


@pytest.fixture
def make_heads(tiny_backbone_config):
    """Make heads with strong weights on three hidden states of width 32, or on one."""

    def make(num_heads=2, *, states=3, num_labels=5, **fields):
        config = NvvConfig(
            backbone_config=tiny_backbone_config("whisper"), layers=list(range(states)), max_seconds=2.0,
            use_weighted_layer_sum=states > 1, projection_size=7, num_labels=num_labels, **fields,
        )  # fmt: skip
        heads = [NvvHead(config).train() for _ in range(num_heads)]
        for head in heads:
            for parameter in head.parameters():
                torch.nn.init.normal_(parameter, std=0.4)
        return heads

    return make


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("states", [1, 3])
@pytest.mark.parametrize("fields", [{}, {"head": "mlp", "head_dropout": 0.0}])
def test_gradients_and_losses_are_those_of_autograd(make_heads, states, fields):
    heads = make_heads(states=states, **fields)
    stacked = StackedHeads(heads, seeds=[0, 1], device=CPU)
    features = torch.randn(2, states, 6, 32)  # each head sees its own clips
    targets = torch.softmax(torch.randn(2, 6, 5), dim=-1)
    shares = torch.rand(2, 6, 1)
    losses = stacked.differentiate(features, targets, shares)
    for at, head in enumerate(heads):
        logits = head.forward_pooled(features[at].transpose(0, 1))
        loss = (F.cross_entropy(logits, targets[at], reduction="none") * shares[at, :, 0]).sum()
        loss.backward()
        torch.testing.assert_close(losses[at], loss.detach())
        slopes = stacked.write_to(head, stacked.gradients[at])
        for (name, weight), slope in zip(head.named_parameters(), slopes.parameters(), strict=True):
            torch.testing.assert_close(slope.detach(), weight.grad, atol=1e-5, rtol=1e-5, msg=name)
        assert all(weight.grad.abs().max() > 1e-3 for weight in head.parameters())


@pytest.mark.parametrize("states", [1, 3])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_logits_are_those_of_each_head(make_heads, states, kind):
    heads = make_heads(states=states, head=kind, head_dropout=0.5)
    stacked = StackedHeads(heads, seeds=[0, 1], device=CPU)
    features = torch.randn(4, states, 32)
    logits = stacked.logits(features.transpose(0, 1))
    for at, head in enumerate(heads):
        torch.testing.assert_close(logits[at], head.eval().forward_pooled(features), atol=1e-5, rtol=1e-5)
        again = stacked.write_to(head, stacked.values[at])
        assert not again.training
        torch.testing.assert_close(again.forward_pooled(features), head.forward_pooled(features), atol=0, rtol=0)


def test_weight_decay_reaches_matrices_and_layer_weights_only(make_heads):
    stacked = StackedHeads(make_heads(1), seeds=[0], device=CPU)
    # 3 layer weights, 32 → 7 and 7 → 5 without their biases
    assert stacked.num_decayed == 3 + 32 * 7 + 7 * 5
    before = stacked.write_to(make_heads(1)[0], stacked.values[0])
    stacked.values[:, : stacked.num_decayed] = 0
    after = stacked.write_to(before, stacked.values[0])
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(new, old) if "bias" in name else not new.any(), name


def test_dropout_of_a_head_depends_on_its_seed_and_not_on_its_neighbours(make_heads):
    heads = make_heads(3, head="mlp", head_dropout=0.5)
    heads = [heads[0], copy.deepcopy(heads[0]), copy.deepcopy(heads[0])]
    features = torch.randn(1, 3, 6, 32).expand(3, -1, -1, -1)
    targets, shares = torch.full((3, 6, 5), 0.2), torch.ones(3, 6, 1)
    beside = StackedHeads(heads, seeds=[4, 4, 5], device=CPU)
    same, again, other = beside.differentiate(features, targets, shares)
    assert same == again != other
    alone = StackedHeads(heads[:1], seeds=[4], device=CPU)
    torch.testing.assert_close(alone.differentiate(features[:1], targets[:1], shares[:1])[0], same)
    # Drawn anew at each step, and what is kept is scaled up: the mean over draws is the head without dropout.
    steps = torch.stack([alone.differentiate(features[:1], targets[:1], shares[:1])[0] for _ in range(50)])
    assert steps.unique().numel() == 50


def test_heads_that_differ_or_do_not_pool_first_are_refused(make_heads):
    with pytest.raises(ValueError, match="expected at least one, found none"):
        StackedHeads([], seeds=[], device=CPU)
    with pytest.raises(ValueError, match="one kind, one shape and one dropout"):
        StackedHeads([*make_heads(1), *make_heads(1, num_labels=4)], seeds=[0, 1], device=CPU)
    with pytest.raises(ValueError, match="pooling: 'max' does not commute"):
        StackedHeads(make_heads(1, pooling="max"), seeds=[0], device=CPU)
