import numpy as np
import pytest

from nvv.metrics import JointTask, joint_mean_interval, paired_joint_bootstrap, paired_regression_bootstrap


@pytest.fixture
def numbers():
    generator = np.random.default_rng(0)
    references = generator.normal(size=(60, 2))
    return references, references + generator.normal(size=(60, 2)), references + 2 * generator.normal(size=(60, 2))


@pytest.fixture
def classes():
    generator = np.random.default_rng(1)
    references = generator.integers(0, 3, 60)
    answers = [np.where(generator.uniform(size=60) < share, references, (references + 1) % 3) for share in (0.9, 0.5)]
    return references, *answers


def tasks_of(numbers, classes, side):
    return [
        JointTask(references=numbers[0], predictions=numbers[side]),
        JointTask(references=classes[0], predictions=classes[side], num_labels=3),
    ]


def test_single_regression_is_compared_as_by_the_paired_bootstrap_of_numbers(numbers):
    sides = [[JointTask(references=numbers[0], predictions=numbers[side])] for side in (1, 2)]
    expected = paired_regression_bootstrap(*numbers, num_resamples=300, seed=4)["ccc"]["mean"]
    assert paired_joint_bootstrap(*sides, num_resamples=300, seed=4) == pytest.approx(expected)


def test_means_are_those_of_each_system_alone(numbers, classes):
    sides = [tasks_of(numbers, classes, side) for side in (1, 2)]
    result = paired_joint_bootstrap(*sides, num_resamples=200)
    alone = [joint_mean_interval(side, num_resamples=10)["value"] for side in sides]
    assert (result["a"], result["b"]) == pytest.approx(alone)
    assert result["difference"] == pytest.approx(alone[0] - alone[1])
    assert result["low"] < result["difference"] < result["high"]


def test_interval_covers_the_spread_of_differences_on_drawn_clips(numbers, classes):
    # The same by hand: clips drawn with replacement, both systems scored on them.
    generator = np.random.default_rng(2)
    drawn = []
    for _ in range(600):
        rows = generator.integers(0, 60, 60)
        means = []
        for side in (1, 2):
            x, y = numbers[0][rows], numbers[side][rows]
            covariance = ((x - x.mean(0)) * (y - y.mean(0))).mean(0)
            ccc = (2 * covariance / (x.var(0) + y.var(0) + (x.mean(0) - y.mean(0)) ** 2)).mean()
            true, predicted = classes[0][rows], classes[side][rows]
            uar = np.mean([(predicted[true == label] == label).mean() for label in np.unique(true)])
            means.append((ccc + uar) / 2)
        drawn.append(means[0] - means[1])
    result = paired_joint_bootstrap(*(tasks_of(numbers, classes, side) for side in (1, 2)), num_resamples=4_000)
    assert (result["low"], result["high"]) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)


def test_groups_are_drawn_whole(numbers, classes):
    # One speaker is in every resample with all clips: nothing varies.
    sides = [tasks_of(numbers, classes, side) for side in (1, 2)]
    result = paired_joint_bootstrap(*sides, groups=["S"] * 60, num_resamples=50)
    assert result["low"] == pytest.approx(result["difference"]) == pytest.approx(result["high"])


def test_systems_on_other_clips_are_refused(numbers):
    whole = [JointTask(references=numbers[0], predictions=numbers[1])]
    part = [JointTask(references=numbers[0][:50], predictions=numbers[2][:50])]
    with pytest.raises(ValueError, match="tasks_b: expected answers on the 60 clips of tasks_a, found 50"):
        paired_joint_bootstrap(whole, part)
    with pytest.raises(ValueError, match="num_resamples"):
        paired_joint_bootstrap(whole, whole, num_resamples=0)
