import pytest
import torch

from nvv import NvvConfig
from nvv.heads_nvv import NvvHead, pool_frames

KINDS = {
    "linear": {},
    "mlp": {"head": "mlp"},
    "lstm": {"head": "lstm", "lstm_hidden_size": 7},
    "bidirectional": {"head": "lstm", "lstm_hidden_size": 7, "lstm_layers": 1, "lstm_bidirectional": True},
    "no_lstm": {"head": "lstm", "lstm_layers": 0},
    "embedding": {"head": "embedding", "loss": "supervised_contrastive", "embedding_size": 6},
}
POOLINGS = {
    "mean": lambda clip: clip.mean(0),
    "max": lambda clip: clip.max(0).values,
    "first": lambda clip: clip[0],
    "last": lambda clip: clip[-1],
}


@pytest.fixture
def make_head(tiny_backbone_config, randomise):
    """The function that makes a head of a kind, with random weights and centroids, and hidden states of 3 clips."""

    def make(kind: str, **fields):
        labels = {} if "tasks" in fields else {"num_labels": 3}
        config = NvvConfig(backbone_config=tiny_backbone_config("wav2vec2"), **labels, **KINDS[kind], **fields)
        head = randomise(NvvHead(config)).eval()
        for weight in head.parameters():
            weight.data.mul_(3.0)  # an LSTM of small weights hardly tells frames apart
        generator = torch.Generator().manual_seed(2)
        for buffer in head.buffers():
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
        states = [torch.randn(3, 6, 32, generator=generator) for _ in config.summed_layers]
        mask = torch.arange(6) < torch.tensor([[6], [2], [1]])
        return head, states, mask

    return make


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


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_head_reads_nothing_of_the_padding(make_head, kind, pooling, weighted):
    head, states, mask = make_head(kind, pooling=pooling, use_weighted_layer_sum=weighted)
    states = [state.masked_fill(~mask.unsqueeze(-1), float("nan")) for state in states]
    logits, embeddings = head(states, mask, with_embeddings=True)
    for index, num_frames in enumerate(mask.sum(dim=1)):
        alone = head([state[index : index + 1, :num_frames] for state in states], with_embeddings=True)
        torch.testing.assert_close(logits[index : index + 1], alone[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(embeddings[index : index + 1], alone[1], atol=1e-5, rtol=0)
    assert logits.std(dim=0).min() > 1e-3  # the clips are told apart
    torch.testing.assert_close(head(states, mask), logits)
    logits.square().sum().backward()
    gradients = {name: weight.grad for name, weight in head.named_parameters()}
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values()), gradients
    assert all(gradient.abs().max() > 0 for name, gradient in gradients.items() if name.endswith("weight"))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", ["lstm", "bidirectional"])
def test_lstm_head_equals_torchs_lstm_on_each_clips_own_frames(make_head, kind, pooling):
    head, states, mask = make_head(kind, pooling=pooling)
    weights = torch.softmax(head.layer_weights, dim=0)
    summed = sum(weight * state for weight, state in zip(weights, states, strict=True))
    fields = {"num_layers": 2} if kind == "lstm" else {"num_layers": 1, "bidirectional": True}
    lstm = torch.nn.LSTM(32, 7, batch_first=True, **fields)
    lstm.load_state_dict(head.lstm.state_dict())
    for clip, expected, num_frames in zip(summed, head(states, mask), mask.sum(dim=1), strict=True):
        frames, _ = lstm(clip[:num_frames])
        torch.testing.assert_close(POOLINGS[pooling](head.classifier(frames)), expected, atol=1e-5, rtol=0)


def test_lstm_head_without_an_lstm_is_a_linear_layer_on_pooled_frames(make_head):
    head, states, mask = make_head("no_lstm", pooling="mean", use_weighted_layer_sum=False)
    assert head.lstm is None
    expected = head.classifier(torch.stack([clip[:n].mean(0) for clip, n in zip(states[0], (6, 2, 1), strict=True)]))
    torch.testing.assert_close(head(states, mask), expected)


def test_heads_train_from_pooled_features_only_when_nothing_comes_before_the_pooling(make_head):
    for kind in KINDS:
        for pooling in POOLINGS:
            head, states, mask = make_head(kind, pooling=pooling)
            assert head.pools_first == (head.kind != "lstm" and pooling != "max")
            if head.pools_first:
                torch.testing.assert_close(head.forward_pooled(head.pool(states, mask)), head(states, mask))


def test_embedding_head_answers_with_the_nearest_centroid(make_head):
    head, states, mask = make_head("embedding", contrastive_temperature=0.5, layers=[3])
    head.centroids.copy_(torch.nn.functional.normalize(head.centroids, dim=-1))
    logits, embeddings = head(states, mask, with_embeddings=True)
    pooled = torch.stack([clip[:n].mean(0) for clip, n in zip(states[0], (6, 2, 1), strict=True)])
    expected = torch.nn.functional.normalize(head.embedder(torch.relu(head.projector(pooled))), dim=-1)
    torch.testing.assert_close(embeddings, expected)
    # On the unit sphere the squared distance is 2 - 2 cos, and the logits are cos / 0.5.
    torch.testing.assert_close(2 - logits, torch.cdist(embeddings, head.centroids).square(), atol=1e-5, rtol=0)


def test_embeddings_are_what_the_last_layers_read(make_head):
    # audEERING's: the pooled layer sum, before the head's two layers.
    head, states, _ = make_head("mlp", layers=[2], num_backbone_layers=2)
    torch.testing.assert_close(head(states, with_embeddings=True)[1], states[0].mean(dim=1))
    head, states, _ = make_head("linear", layers=[3])
    torch.testing.assert_close(head(states, with_embeddings=True)[1], head.projector(states[0]).mean(dim=1))
    head, states, _ = make_head("lstm", layers=[3])
    torch.testing.assert_close(head(states, with_embeddings=True)[1], head.lstm(states[0])[0].mean(dim=1))


def test_head_learns_weights_of_tasks_only_when_asked_to(make_head):
    tasks = [{"name": name, "kind": "regression", "outputs": ["a", "b"]} for name in ("one", "two")]
    assert make_head("linear", tasks=tasks)[0].log_variances is None
    head, *_ = make_head("linear", tasks=tasks, task_weighting="uncertainty")
    assert head.log_variances.shape == (2,)
    assert "log_variances" in head.state_dict()
