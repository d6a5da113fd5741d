import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from nvv.metrics.calibration import (
    TEMPERATURE_RANGE,
    CalibrationError,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability_bins,
)


@pytest.fixture
def overconfident():
    """Labels drawn from the softmax of logits, and the logits times 2.5: what is right is the temperature 2.5."""
    generator = np.random.default_rng(2)
    honest = generator.normal(0, 1.5, (20_000, 4))
    labels = np.array([generator.choice(4, p=row) for row in softmax(honest, axis=1)])
    return 2.5 * honest, labels


@pytest.fixture
def said():
    generator = np.random.default_rng(5)
    probabilities = generator.beta(2, 5, 1000)
    return probabilities, generator.random(1000) < probabilities**2


def test_temperature_is_the_one_that_labels_were_drawn_with(overconfident):
    fit = fit_temperature(*overconfident)
    assert fit.temperature == pytest.approx(2.5, rel=0.03)
    assert fit.nll_after < fit.nll_before
    assert not fit.is_at_limit


def test_temperature_is_that_of_torchs_own_minimisation(overconfident):
    logits, labels = (torch.from_numpy(values[:500]) for values in overconfident)
    log_temperature = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits / log_temperature.exp(), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    fit = fit_temperature(logits.numpy(), labels.numpy())
    assert fit.temperature == pytest.approx(log_temperature.exp().item(), rel=1e-5)
    assert fit.nll_after == pytest.approx(closure().item(), abs=1e-10)


def test_likelihood_is_that_of_scikit_learn(overconfident):
    logits, labels = (values[:50] for values in overconfident)
    for temperature in (1.0, 2.0):
        expected = log_loss(labels, softmax(logits / temperature, axis=1), labels=range(4))
        assert negative_log_likelihood(logits, labels, temperature=temperature) == pytest.approx(expected)


@pytest.mark.parametrize(("labels", "limit"), [([0, 1], 0), ([1, 0], 1)], ids=["all_right", "all_wrong"])
def test_temperature_stays_within_its_range_when_clips_are_too_easy_or_too_hard(labels, limit):
    fit = fit_temperature([[1.0, 0.0], [0.0, 1.0]], labels)
    assert fit.temperature == TEMPERATURE_RANGE[limit]
    assert fit.is_at_limit
    assert math.isfinite(fit.nll_after)


def test_large_logits_do_not_overflow():
    fit = fit_temperature([[900.0, 0.0], [900.0, 0.0], [0.0, 900.0], [900.0, 0.0]], [0, 0, 1, 1])
    assert fit.temperature == TEMPERATURE_RANGE[1]  # 900 / ln 3 would be right
    assert math.isfinite(fit.nll_before)


def test_error_falls_with_the_right_temperature(overconfident):
    logits, labels = overconfident
    errors = []
    for temperature in (1.0, fit_temperature(logits, labels).temperature):
        probabilities = softmax(logits / temperature, axis=1)
        is_right = probabilities.argmax(axis=1) == labels
        errors.append(expected_calibration_error(probabilities.max(axis=1), is_right))
    assert errors[0] > 0.1
    assert errors[1] < 0.02


def test_error_is_that_of_hand_arithmetic():
    # Two bins: (0, .5] holds .2 and .4 (mean .3, one of two true), (.5, 1] holds .6, .9, .9 (mean .8, one of three):
    # 2/5 · |.3 - .5| + 3/5 · |.8 - 1/3| = .08 + .28 = .36.
    probabilities, came_true = [0.9, 0.2, 0.6, 0.4, 0.9], [True, True, False, False, False]
    assert expected_calibration_error(probabilities, came_true, num_bins=2) == pytest.approx(0.36)


def test_bins_are_those_of_scikit_learn(said):
    probabilities, came_true = said
    shares, means = calibration_curve(came_true, probabilities, n_bins=15)
    bins = reliability_bins(probabilities, came_true)
    assert len(bins) == 15
    filled = [part for part in bins if part.num_clips]
    assert [part.share for part in filled] == pytest.approx(shares)
    assert [part.mean_probability for part in filled] == pytest.approx(means)
    assert all(part.share is None for part in bins if not part.num_clips)
    assert sum(part.num_clips for part in bins) == 1000
    weighted = sum(part.num_clips * abs(part.share - part.mean_probability) for part in filled) / 1000
    assert expected_calibration_error(probabilities, came_true) == pytest.approx(weighted)


def test_edge_belongs_to_the_bin_below():
    # k/15 in binary is not k fifteenths: the edges are computed as the scores of such clips would be.
    probabilities = np.arange(16) / 15
    bins = reliability_bins(probabilities, np.ones(16, dtype=bool))
    assert [part.num_clips for part in bins] == [2] + [1] * 14


def test_bins_of_equal_mass_hold_equally_many(said):
    probabilities, came_true = said
    bins = reliability_bins(probabilities, came_true, num_bins=10, binning="equal_mass")
    assert [part.num_clips for part in bins] == [100] * 10
    ordered = np.sort(probabilities)
    assert [part.mean_probability for part in bins] == pytest.approx(ordered.reshape(10, 100).mean(axis=1))


def test_equal_probabilities_share_a_bin():
    probabilities = [0.1] * 6 + [0.5, 0.6, 0.7, 0.8]
    for order in (slice(None), slice(None, None, -1)):
        bins = reliability_bins(
            probabilities[order], ([True] * 5 + [False] * 5)[order], num_bins=5, binning="equal_mass"
        )
        assert [part.num_clips for part in bins] == [6, 2, 2]
        assert bins[0].share == pytest.approx(5 / 6)
    assert len(reliability_bins([0.3, 0.3], [True, False], binning="equal_mass")) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_temperature([[1.0], [2.0]], [0, 0]), "at least two labels"),
        (lambda: fit_temperature([[np.nan, 1.0]], [0]), "not finite"),
        (lambda: fit_temperature([[0.0, 1.0]], [2]), "expected 0 to 1, found 2 to 2"),
        (lambda: fit_temperature([[0.0, 1.0]], [0.5]), "expected 1 integers"),
        (lambda: reliability_bins([0.5, 1.2], [True, False]), r"numbers in \[0, 1\]"),
        (lambda: reliability_bins([0.5], [1]), "expected 1 booleans"),
        (lambda: reliability_bins([], []), "expected a vector of numbers"),
        (lambda: reliability_bins([0.5], [True], num_bins=0), "num_bins: expected at least 1"),
        (lambda: reliability_bins([0.5], [True], binning="quantile"), "expected one of equal_width, equal_mass"),
    ],
)
def test_calibration_refuses_what_nothing_can_be_said_on(call, message):
    with pytest.raises(CalibrationError, match=message):
        call()
