import pytest
import torch

from nvv import NvvConfig
from nvv.heads_nvv import NvvHead, pool_frames


@pytest.mark.parametrize(
    ("pooling", "expected"),
    # frames of the one clip: (1, 8), (3, 2), then padding
    [("mean", [2.0, 5.0]), ("max", [3.0, 8.0]), ("first", [1.0, 8.0]), ("last", [3.0, 2.0])],
)
def test_pool_frames_leaves_padding_out_when_masked(pooling, expected):
    states = torch.tensor([[[1.0, 8.0], [3.0, 2.0], [float("nan"), 99.0]]])
    mask = torch.tensor([[True, True, False]])
    assert pool_frames(states, mask, pooling).tolist() == [expected]
    assert pool_frames(states[:, :2], None, pooling).tolist() == [expected]


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("pooling", ["mean", "max", "first", "last"])
@pytest.mark.parametrize("weighted", [True, False])
def test_head_equals_its_definition(tiny_backbone_config, randomise, head, pooling, weighted):
    config = NvvConfig(
        backbone_config=tiny_backbone_config("wav2vec2"),
        num_labels=3,
        head=head,
        pooling=pooling,
        use_weighted_layer_sum=weighted,
        projection_size=8,
    )
    module = randomise(NvvHead(config)).eval()
    states = [torch.randn(2, 6, 32) for _ in config.summed_layers]
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    summed = states[-1]
    if weighted:
        weights = torch.softmax(module.layer_weights, dim=0)
        summed = sum(weight * state for weight, state in zip(weights, states, strict=True))
    frames = module.projector(summed) if head == "linear" else summed
    pools = {
        "mean": lambda clip: clip.mean(0),
        "max": lambda clip: clip.max(0).values,
        "first": lambda clip: clip[0],
        "last": lambda clip: clip[-1],
    }
    pooled = torch.stack([pools[pooling](frames[0]), pools[pooling](frames[1, :2])])
    expected = module.classifier(pooled if head == "linear" else torch.tanh(module.projector(pooled)))
    torch.testing.assert_close(module(states, mask), expected)


def test_head_gives_the_same_logits_from_cached_pooled_states(tiny_backbone_config, randomise):
    config = NvvConfig(backbone_config=tiny_backbone_config("hubert"), num_labels=3)
    head = randomise(NvvHead(config)).eval()
    states = [torch.randn(2, 6, 32) for _ in config.summed_layers]
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    assert head.pools_first
    torch.testing.assert_close(head.forward_pooled(head.pool(states, mask)), head(states, mask))


def test_head_dropout_acts_in_training_only_when_it_is_an_mlp(tiny_backbone_config, randomise):
    states = [torch.randn(4, 3, 32)]
    for kind, acts in (("mlp", True), ("linear", False)):
        config = NvvConfig(
            backbone_config=tiny_backbone_config("wavlm"), layers=[3], head=kind, head_dropout=0.5, num_labels=3
        )
        head = randomise(NvvHead(config))
        same = torch.equal(head.train()(states), head.eval()(states))
        assert same is not acts
