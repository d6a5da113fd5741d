import logging
import math

import pytest
import torch
from scipy.special import softmax

from nvv import NvvConfig
from nvv.decisions_nvv import (
    at_operating_point,
    chosen_label,
    detected,
    detection_scores,
    front_end_of,
    operating_point_of,
)

BINARY = ("other", "laughing")
SEVERAL = ("coughing", "laughing", "sighing", "yawning")


@pytest.fixture
def make_config(tiny_backbone_config):
    """A config with operating points at the thresholds given, and other fields."""

    def make(labels, *, apply=None, front_end=None, temperature=1.0, **thresholds):
        points = {
            label: {"threshold": threshold, **({} if front_end is None else {"front_end": front_end})}
            for label, threshold in thresholds.items()
        }
        return NvvConfig(
            backbone_config=tiny_backbone_config("whisper"),
            max_seconds=3.0,
            id2label=dict(enumerate(labels)),
            calibration_temperature=temperature,
            operating_points=points or None,
            apply_operating_point=apply,
        )

    return make


@pytest.fixture(params=[BINARY, SEVERAL], ids=["binary", "multi_class"])
def labels(request):
    return request.param


def random_logits(num_labels, num_clips=400, scale=4.0):
    return scale * torch.randn(num_clips, num_labels, generator=torch.Generator().manual_seed(0))


def test_scores_are_the_softmax_of_scipy_in_double_precision(make_config, labels):
    logits = random_logits(len(labels))
    scores = detection_scores(logits, make_config(labels), "laughing")
    expected = softmax(logits.double().numpy(), axis=1)[:, 1]
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, torch.from_numpy(expected), rtol=1e-12, atol=0)


def test_scores_keep_their_order_when_they_are_near_the_ends(make_config):
    config = make_config(BINARY)
    logits = torch.tensor([[0.0, odds] for odds in (-900, -30, -29, 17.5, 20, 30, 900)])
    scores = detection_scores(logits, config, "laughing")
    assert (scores.diff() > 0).all()  # float32's softmax is 1 from 17 up
    assert (scores > 0).all()
    assert (scores < 1).all()
    assert scores[1].item() == pytest.approx(math.exp(-30), rel=1e-12)
    assert 1 - scores[5].item() == pytest.approx(math.exp(-30), rel=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_scores_are_computed_alike_for_every_precision(make_config, dtype):
    logits = random_logits(4).to(dtype)
    scores = detection_scores(logits, make_config(SEVERAL), "laughing")
    torch.testing.assert_close(scores, logits.double().softmax(dim=-1)[:, 1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("threshold", [1e-12, 0.05, 0.5, 0.83, 0.999, 1 - 1e-9])
def test_clips_are_detected_where_the_probability_reaches_the_threshold(make_config, labels, threshold):
    logits = random_logits(len(labels), scale=12.0)
    is_detected = detected(logits, make_config(labels, laughing=threshold))
    expected = logits.double().softmax(dim=-1)[:, 1] >= threshold
    assert is_detected.dtype == torch.bool
    assert is_detected.tolist() == expected.tolist()
    assert 0 < is_detected.sum() < len(logits)


def test_score_at_the_threshold_is_detected(make_config):
    even = torch.zeros(1, 2)
    assert detected(even, make_config(BINARY, laughing=0.5)).item()
    assert not detected(even, make_config(BINARY, laughing=math.nextafter(0.5, 1))).item()


@pytest.mark.parametrize("threshold", [1e-12, 0.05, 0.5, 0.83, 0.999, 1 - 1e-9])
def test_adjusted_logits_decide_as_the_threshold(make_config, labels, threshold):
    config = make_config(labels, apply="laughing", laughing=threshold)
    # Logits at the threshold and a rounding error to each side of it are the hard ones.
    near = torch.zeros(3, len(labels), dtype=torch.float64)
    at = math.log(len(labels) - 1) + math.log(threshold) - math.log1p(-threshold)
    near[:, 1] = at + torch.tensor([-1e-6, 0.0, 1e-6], dtype=torch.float64)
    logits = torch.cat([random_logits(len(labels), scale=12.0), near.float()])
    adjusted = at_operating_point(logits, config)
    assert adjusted.dtype == torch.float32
    is_detected = detected(logits, config)
    probabilities = adjusted.softmax(dim=-1)
    assert (probabilities[:, 1] >= 0.5).tolist() == is_detected.tolist()
    assert (probabilities.argmax(dim=-1) == 1).tolist() == is_detected.tolist()
    assert 0 < is_detected.sum() < len(logits)


def test_adjusted_logits_keep_the_ratios_of_the_other_labels(make_config):
    logits = random_logits(4, scale=2.0)
    adjusted = at_operating_point(logits, make_config(SEVERAL, apply="laughing", laughing=0.7))
    others = [0, 2, 3]
    torch.testing.assert_close(adjusted[:, others].softmax(-1), logits[:, others].softmax(-1))


def test_adjusted_odds_are_divided_by_those_of_the_threshold(make_config):
    # Odds of 9 at a threshold of 0.75, whose odds are 3: odds of 3, which is a probability of 0.75.
    logits = torch.tensor([[0.0, math.log(9)]])
    adjusted = at_operating_point(logits, make_config(BINARY, apply="laughing", laughing=0.75))
    assert adjusted.softmax(-1)[0, 1].item() == pytest.approx(0.75)


def test_adjusted_logits_have_gradients(make_config):
    logits = random_logits(4, num_clips=5).requires_grad_()
    at_operating_point(logits, make_config(SEVERAL, apply="laughing", laughing=0.2)).square().sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


def test_label_is_the_one_named_then_the_applied_then_the_only_one(make_config):
    assert chosen_label(make_config(SEVERAL, laughing=0.4), None) == "laughing"
    both = make_config(SEVERAL, laughing=0.4, sighing=0.6)
    assert chosen_label(both, "sighing") == "sighing"
    with pytest.raises(ValueError, match=r"expected the name of one with an operating point \(laughing, sighing\)"):
        chosen_label(both, None)
    applied = make_config(SEVERAL, apply="sighing", laughing=0.4, sighing=0.6)
    assert chosen_label(applied, None) == "sighing"
    logits = random_logits(4)
    for label, index, threshold in (("sighing", 2, 0.6), ("laughing", 1, 0.4)):
        expected = logits.softmax(-1)[:, index] >= threshold
        assert detected(logits, applied, label).tolist() == expected.tolist()


def test_error_names_what_is_missing(make_config, tiny_backbone_config):
    logits = random_logits(4)
    with pytest.raises(ValueError, match=r"'yawning' has no operating point.*stores: laughing"):
        detected(logits, make_config(SEVERAL, laughing=0.4), "yawning")
    with pytest.raises(ValueError, match=r"operating point \(none\)"):
        detected(logits, make_config(SEVERAL))
    with pytest.raises(ValueError, match=r"expected one of coughing, laughing, sighing, yawning; found 'giggling'"):
        detection_scores(logits, make_config(SEVERAL), "giggling")
    with pytest.raises(ValueError, match=r"expected \(batch, 4\), found \(400, 3\)"):
        detection_scores(logits[:, :3], make_config(SEVERAL), "laughing")
    regression = NvvConfig(
        backbone_config=tiny_backbone_config("whisper"),
        max_seconds=3.0,
        tasks=[{"name": "targets", "kind": "regression", "outputs": ["Awe", "Fear"]}],
    )
    with pytest.raises(ValueError, match=r"of one classification.*targets \(regression\)"):
        detection_scores(logits[:, :2], regression, "Awe")
    broken = make_config(SEVERAL, laughing=0.4)
    broken.operating_points = {"laughing": {"threshold": 1}}
    with pytest.raises(ValueError, match=r"threshold between 0 and 1, found 1\."):
        operating_point_of(broken, "laughing")


def test_threshold_of_another_front_end_is_refused(make_config):
    stored = front_end_of(make_config(BINARY))
    assert stored == {"sampling_rate": 16_000, "max_seconds": 3.0, "padding": "mask", "normalize_cut_clips": False}
    logits = random_logits(2)
    config = make_config(BINARY, laughing=0.4, front_end={**stored, "precision": "fp32"})
    detected(logits, config)
    config = make_config(BINARY, apply="laughing", laughing=0.4, front_end={**stored, "max_seconds": 2.0})
    for decide in (detected, at_operating_point):
        with pytest.raises(ValueError, match=r"chosen with another front-end.*max_seconds 3\.0 instead of 2\.0"):
            decide(logits, config)
    config = make_config(BINARY, laughing=0.4, temperature=2.0)
    config.operating_points["laughing"]["temperature"] = 1.5
    with pytest.raises(ValueError, match=r"temperature 2\.0 instead of 1\.5"):
        detected(logits, config)


def test_front_end_names_the_silence_where_it_is_heard(make_config):
    config = make_config(BINARY)
    config.padding, config.padding_seconds, config.pool_padding = "silence", 3.0, True
    assert front_end_of(config)["padding_seconds"] == 3.0
    assert front_end_of(config)["pool_padding"] is True


def test_other_precision_than_the_thresholds_is_warned_of_once(make_config, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    config = make_config(BINARY, laughing=0.4, front_end={"max_seconds": 3.0, "precision": "fp32"})
    logits = random_logits(2)
    detected(logits, config)
    assert "precision" not in caplog.text
    for _ in range(2):
        detected(logits.bfloat16(), config)
    assert caplog.text.count("chosen on logits in fp32, these are in bf16") == 1
