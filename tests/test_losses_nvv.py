import math

import audmetric
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nvv import NvvConfig
from nvv.losses_nvv import ccc_loss, focal_loss, mse_loss, task_loss, weighted_cross_entropy
from nvv.metrics.regression import regression_scores

NAN = float("nan")


def reference_ccc_loss(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Lin's formula in float64, target by target on the clips that have one, by torch's own moments."""
    losses = []
    for p, t in zip(predictions.double().T, targets.double().T, strict=True):
        there = ~t.isnan()
        if there.any():
            p, t = p[there], t[there]
            spread = p.var(correction=0) + t.var(correction=0) + (p.mean() - t.mean()) ** 2
            losses.append(1 - 2 * ((p - p.mean()) * (t - t.mean())).mean() / spread)
    return torch.stack(losses).mean()


def value_and_gradient(loss, predictions: torch.Tensor, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
    predictions = predictions.clone().requires_grad_()
    value = loss(predictions, targets)
    value.backward()
    return value.item(), predictions.grad


def regression(name="affect", outputs=("arousal", "valence"), **fields) -> dict:
    return {"name": name, "kind": "regression", "outputs": list(outputs), **fields}


def classification(name="type", outputs=("cry", "gasp", "laugh"), **fields) -> dict:
    return {"name": name, "kind": "classification", "outputs": list(outputs), **fields}


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


@pytest.mark.parametrize("options", [{}, {"class_weights": [0.5, 2.0, 4.0]}])
@pytest.mark.parametrize("loss", [weighted_cross_entropy, focal_loss])
def test_classification_losses_are_those_of_the_clips_with_a_label(loss, options):
    logits, labels = torch.randn(5, 3), torch.tensor([0, -100, 2, 1, -100])
    there = labels >= 0
    torch.testing.assert_close(loss(logits, labels, **options), loss(logits[there], labels[there], **options))
    value, gradient = value_and_gradient(loss, logits, torch.full((5,), -100))
    assert (value, gradient.abs().max().item()) == (0.0, 0.0)


def test_focal_loss_equals_its_formula():
    # Probabilities 1/4, 3/4 of the clips' classes: (3/4)² ln 4 and (1/4)² ln(4/3), weighted by 2 and 5.
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    loss = focal_loss(logits, torch.tensor([0, 1]), gamma=2.0, class_weights=[2.0, 5.0])
    assert loss.item() == pytest.approx((2 * 9 / 16 * math.log(4) + 5 / 16 * math.log(4 / 3)) / 2, rel=1e-6)


def test_focal_loss_is_cross_entropy_when_gamma_is_0():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 1, -100])
    weights = [1.0, 2.0, 0.5, 3.0]
    focal, expected = (
        value_and_gradient(loss, logits, labels)
        for loss in (
            lambda x, y: focal_loss(x, y, gamma=0.0, class_weights=weights),
            lambda x, y: weighted_cross_entropy(x, y, class_weights=weights),
        )
    )
    assert focal[0] == pytest.approx(expected[0], rel=1e-6)
    torch.testing.assert_close(focal[1], expected[1])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_has_finite_gradients_on_certain_and_hopeless_clips(gamma):
    logits = torch.tensor([[300.0, 0.0], [300.0, 0.0], [0.0, 0.0]])
    value, gradient = value_and_gradient(lambda x, y: focal_loss(x, y, gamma=gamma), logits, torch.tensor([0, 1, 0]))
    assert math.isfinite(value)
    assert torch.isfinite(gradient).all()
    # A hopeless clip keeps cross-entropy's slope 1, here over 3 clips; a certain one has none.
    assert gradient[1].tolist() == pytest.approx([1 / 3, -1 / 3], abs=1e-5)
    assert gradient[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize(("num_clips", "num_targets"), [(2, 1), (16, 3), (200, 10)])
def test_ccc_loss_and_its_gradient_equal_a_float64_reference(num_clips, num_targets, missing):
    generator = torch.Generator().manual_seed(num_clips)
    targets = torch.rand(num_clips, num_targets, generator=generator)
    predictions = 0.5 * targets + 0.3 + 0.2 * torch.randn(num_clips, num_targets, generator=generator)
    if num_clips > 2:
        targets[torch.rand(targets.shape, generator=generator) < missing] = NAN
    value, gradient = value_and_gradient(ccc_loss, predictions, targets)
    expected, expected_gradient = value_and_gradient(reference_ccc_loss, predictions, targets)
    assert value == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-6, rtol=1e-4)
    assert gradient[targets.isnan()].abs().sum() == 0


def test_ccc_loss_equals_audmetrics():
    generator = np.random.default_rng(5)
    targets = generator.random((40, 3))
    predictions = targets + 0.4 * generator.standard_normal((40, 3))
    expected = np.mean([1 - audmetric.concordance_cc(t, p) for t, p in zip(targets.T, predictions.T, strict=True)])
    assert ccc_loss(torch.tensor(predictions), torch.tensor(targets)).item() == pytest.approx(expected, abs=1e-9)
    single = ccc_loss(torch.tensor(predictions, dtype=torch.float32), torch.tensor(targets))
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(expected, abs=1e-5)


def test_ccc_loss_agrees_with_the_metric_where_little_is_known():
    targets = torch.tensor([[0.2, 0.5, NAN], [0.9, 0.5, NAN], [0.4, 0.5, NAN]])
    predictions = torch.tensor([[0.1, 0.5, 3.0], [0.7, 0.5, 1.0], [0.6, 0.5, 2.0]])
    score = regression_scores(targets.numpy(), predictions.numpy())["ccc"]
    assert score["per_target"][1:] == [0.0, None]  # constant and equal; nothing known
    assert ccc_loss(predictions, targets).item() == pytest.approx(1 - score["mean"], abs=1e-6)


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param([0.7] * 7, id="constant"),  # whose mean in fp32 is not 0.7
        pytest.param([NAN] * 6 + [0.7], id="single"),
    ],
)
@pytest.mark.parametrize("spread", [0.0, 1e-4, 1.0])
def test_ccc_loss_is_1_without_a_gradient_when_targets_do_not_vary(targets, spread):
    predictions = 0.7 + spread * torch.tensor([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
    value, gradient = value_and_gradient(ccc_loss, predictions.unsqueeze(1), torch.tensor(targets).unsqueeze(1))
    assert value == 1.0
    assert gradient.flatten().tolist() == [0.0] * 7


def test_ccc_loss_leads_constant_predictions_to_the_targets():
    # CCC = 2 c / (v_t + d²); at constant predictions its gradient is 2 (t - m_t) / n / (v_t + d²). Targets 0, 1 and
    # predictions 1: v_t = d² = 1/4, so 2 (±1/2) / 2 / (1/2) = ±1.
    value, gradient = value_and_gradient(ccc_loss, torch.ones(2, 1), torch.tensor([[0.0], [1.0]]))
    assert value == pytest.approx(1.0)
    assert gradient.flatten().tolist() == pytest.approx([1.0, -1.0])


@pytest.mark.parametrize("loss", [ccc_loss, mse_loss])
def test_regression_losses_are_0_without_a_gradient_when_nothing_is_known(loss):
    value, gradient = value_and_gradient(loss, torch.randn(4, 2), torch.full((4, 2), NAN))
    assert value == 0.0
    assert gradient.tolist() == [[0.0, 0.0]] * 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loss", [ccc_loss, mse_loss])
def test_regression_losses_are_computed_in_fp32_when_predictions_are_half(loss, dtype):
    # Numbers whose squares and sums half precision cannot hold: 300² is infinite in fp16.
    targets = torch.linspace(200, 300, 64).unsqueeze(1)
    predictions = (targets + 10).to(dtype)
    value, gradient = value_and_gradient(loss, predictions, targets)
    expected, expected_gradient = value_and_gradient(loss, predictions.double(), targets.double())
    assert value == pytest.approx(expected, rel=1e-5)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient.double(), expected_gradient, atol=1e-7, rtol=0.02)


@pytest.mark.parametrize("scale", [1e-18, 1e-9, 1e9, 1e15])
def test_ccc_loss_is_the_same_for_numbers_of_any_size(scale):
    targets, predictions = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.5], [1.0], [3.0]])
    expected = reference_ccc_loss(predictions, targets).item()
    value, gradient = value_and_gradient(ccc_loss, scale * predictions, scale * targets)
    assert value == pytest.approx(expected, rel=1e-4)
    assert torch.isfinite(gradient).all()


def test_mse_loss_is_the_mean_over_the_values_that_are_there():
    # (1 + 4 + 9) / 3
    predictions, targets = torch.tensor([[1.0, 2.0], [3.0, 9.0]]), torch.tensor([[0.0, 0.0], [0.0, NAN]])
    assert mse_loss(predictions, targets).item() == pytest.approx(14 / 3)


@pytest.mark.parametrize("loss", [ccc_loss, mse_loss])
def test_regression_losses_refuse_other_shapes(loss):
    with pytest.raises(ValueError, match=r"expected both \(batch, targets\), found \(4, 2\) and \(4,\)"):
        loss(torch.zeros(4, 2), torch.zeros(4))


def test_task_loss_is_the_plain_loss_when_there_are_no_tasks():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, -100, 1])
    weights = [1.0, 2.0, 3.0]
    config = NvvConfig(num_labels=3, class_weights=weights, label_smoothing=0.1)
    expected = weighted_cross_entropy(logits, labels, class_weights=weights, label_smoothing=0.1)
    assert torch.equal(task_loss(logits, labels, config), expected)
    config = NvvConfig(num_labels=3, loss="focal", focal_gamma=1.5, class_weights=weights)
    assert torch.equal(task_loss(logits, labels, config), focal_loss(logits, labels, gamma=1.5, class_weights=weights))


def test_task_loss_adds_up_weighted_tasks_on_their_own_columns_and_clips():
    tasks = [
        regression(weight=2.0),
        classification(loss="focal", class_weights=[1.0, 2.0, 3.0]),
        regression("age", ["years"], loss="mse", weight=0.5),
    ]
    logits = torch.randn(4, 6)
    # arousal, valence, type, years
    labels = torch.tensor([[0.1, NAN, 2, 30], [0.9, 0.4, NAN, NAN], [0.5, 0.3, 0, 5], [NAN, 0.8, 1, 61]])
    loss = task_loss(logits, labels, NvvConfig(tasks=tasks))
    type_there = torch.tensor([0, 2, 3])
    expected = (
        2.0 * reference_ccc_loss(logits[:, :2], labels[:, :2])
        + focal_loss(logits[type_there, 2:5], labels[type_there, 2].long(), class_weights=[1.0, 2.0, 3.0])
        + 0.5 * (logits[type_there, 5] - labels[type_there, 3]).square().mean()
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_uncertainty_weighting_equals_its_formula_and_leaves_absent_tasks_out():
    tasks = [regression(loss="mse"), classification(), regression("age", ["years"])]
    config = NvvConfig(tasks=tasks, task_weighting="uncertainty")
    logits, log_variances = torch.randn(3, 6), torch.tensor([0.3, -0.7, 2.0], requires_grad=True)
    labels = torch.tensor([[0.1, 0.2, 2, NAN], [0.9, 0.4, 1, NAN], [0.5, 0.3, 0, NAN]])
    loss = task_loss(logits, labels, config, log_variances=log_variances)
    squares = F.mse_loss(logits[:, :2], labels[:, :2]).item()
    entropy = F.cross_entropy(logits[:, 2:5], labels[:, 2].long()).item()
    expected = math.exp(-0.3) / 2 * squares + 0.3 / 2 + math.exp(0.7) * entropy - 0.7 / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    expected = [-math.exp(-0.3) / 2 * squares + 0.5, -math.exp(0.7) * entropy + 0.5, 0.0]
    assert log_variances.grad.tolist() == pytest.approx(expected, rel=1e-5)


def test_task_loss_of_mixed_clips_is_between_both():
    logits, share = torch.randn(3, 3), torch.tensor([0.6, 0.9, 1.0])
    first, second = torch.tensor([0, 1, 2]), torch.tensor([1, 2, -100])
    losses = [F.cross_entropy(logits, labels, reduction="none") for labels in (first, second.clamp(min=0))]
    mixed = share * losses[0] + (1 - share) * losses[1]
    mixture = {"mixed_targets": second, "mixing_weights": share}
    loss = task_loss(logits, first, NvvConfig(num_labels=3), **mixture)
    assert loss.item() == pytest.approx(mixed[:2].mean().item(), rel=1e-6)  # the third's partner has no label

    first, second = torch.tensor([[0.0], [4.0], [1.0]]), torch.tensor([[1.0], [2.0], [NAN]])
    # targets 0.6 · 0 + 0.4 · 1 and 0.9 · 4 + 0.1 · 2; the third is missing
    config = NvvConfig(tasks=[regression(outputs=["valence"], loss="mse")])
    predictions = torch.tensor([[0.0], [0.0], [9.0]])
    loss = task_loss(predictions, first, config, mixed_targets=second, mixing_weights=share)
    assert loss.item() == pytest.approx((0.4**2 + 3.8**2) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "arguments", "message"),
    [
        ({"num_labels": 3}, {"labels": torch.zeros(4, 1)}, r"\(4, 3\) and \(4,\), found \(4, 3\) and \(4, 1\)"),
        ({"tasks": [regression()]}, {"labels": torch.zeros(4, 2)}, r"expected \(4, 2\) and \(4, 2\), found \(4, 3\)"),
        (
            {"tasks": [regression(outputs="abc")]},
            {"labels": torch.zeros(4, 3, dtype=torch.long)},
            "expected floating point",
        ),
        (
            {"num_labels": 3},
            {"labels": torch.zeros(4, dtype=torch.long), "mixing_weights": torch.ones(4)},
            "mixed_targets and mixing_weights go together",
        ),
        (
            {"num_labels": 3},
            {
                "labels": torch.zeros(4, dtype=torch.long),
                "mixed_targets": torch.zeros(3),
                "mixing_weights": torch.ones(4),
            },
            r"mixed_targets and mixing_weights: expected \(4,\) and \(4,\), found \(3,\)",
        ),
        (
            {"tasks": [regression(outputs="ab"), regression("b", "c")], "task_weighting": "uncertainty"},
            {"labels": torch.zeros(4, 3)},
            "log_variances: with task_weighting='uncertainty' expected the head's",
        ),
        (
            {"num_labels": 3, "head": "embedding", "loss": "supervised_contrastive"},
            {"labels": torch.zeros(4, dtype=torch.long)},
            "is of embeddings, not of logits",
        ),
    ],
)
def test_task_loss_refuses_what_does_not_fit(fields, arguments, message):
    with pytest.raises(ValueError, match=message):
        task_loss(torch.zeros(4, 3), arguments.pop("labels"), NvvConfig(**fields), **arguments)
