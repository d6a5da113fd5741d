import audmetric
import numpy as np
import pytest
import sklearn.metrics

from nvv.metrics import JointTask, bootstrap_intervals, joint_mean_interval, regression_scores_with_intervals


@pytest.fixture
def tasks():
    """Two targets and three classes on the same 60 clips, some references missing."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(60, 2))
    classes = generator.integers(0, 3, 60)
    answers = np.where(generator.random(60) < 0.6, classes, generator.integers(0, 3, 60))
    regression = JointTask(references=values, predictions=values + generator.normal(size=(60, 2)))
    return [regression, JointTask(references=classes, predictions=answers, num_labels=3)]


def test_mean_is_that_of_the_tasks_scores_by_other_libraries(tasks):
    regression, classification = tasks
    regression.references[:7, 1] = np.nan
    classification.references[3:9] = -1
    is_there = classification.references >= 0
    ccc = [
        audmetric.concordance_cc(regression.references[:, 0], regression.predictions[:, 0]),
        audmetric.concordance_cc(regression.references[7:, 1], regression.predictions[7:, 1]),
    ]
    uar = sklearn.metrics.balanced_accuracy_score(
        classification.references[is_there], classification.predictions[is_there]
    )
    found = joint_mean_interval(tasks, num_resamples=50)
    assert found["value"] == pytest.approx((np.mean(ccc) + uar) / 2, abs=1e-6)
    assert found["low"] < found["value"] < found["high"]


def test_single_regression_has_the_interval_of_its_own_bootstrap(tasks):
    for groups in (None, [f"S{index // 6}" for index in range(60)]):
        joint = joint_mean_interval(tasks[:1], groups=groups, num_resamples=300, seed=4)
        alone = regression_scores_with_intervals(
            tasks[0].references, tasks[0].predictions, groups=groups, num_resamples=300, seed=4
        )
        assert joint == pytest.approx(alone["ccc"]["mean"])


def test_single_classification_has_about_the_interval_of_its_own_bootstrap(tasks):
    # Other draws of the same distribution: equal up to the chance of 4,000 resamples.
    joint = joint_mean_interval(tasks[1:], num_resamples=4_000)
    alone = bootstrap_intervals(tasks[1].references, tasks[1].predictions, num_labels=3, num_resamples=4_000)
    assert (joint["low"], joint["high"]) == pytest.approx(alone["uar"], abs=0.015)


def test_interval_follows_from_resamples_that_all_tasks_share():
    # One task is right exactly where the other is wrong: on every resample their accuracies add up to 1. All clips are
    # of one class, so UAR is accuracy. Resampled apart, the mean would vary.
    right = np.arange(40) % 2
    tasks = [
        JointTask(references=np.zeros(40, dtype=int), predictions=answers, num_labels=2)
        for answers in (right, 1 - right)
    ]
    assert joint_mean_interval(tasks, num_resamples=200) == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_resample_without_a_reference_of_a_task_is_scored_by_the_others():
    # Only the first of 30 clips has a class: a third of the resamples hold none. The other task is always right.
    classes = np.full(30, -1)
    classes[0] = 0
    targets = np.arange(30.0)
    tasks = [
        JointTask(references=classes, predictions=np.zeros(30, dtype=int), num_labels=2),
        JointTask(references=targets, predictions=targets),
    ]
    assert joint_mean_interval(tasks, num_resamples=100) == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0})


def test_interval_has_no_width_when_no_resample_holds_a_reference():
    classes = np.full(50, -1)
    classes[0] = 0
    task = JointTask(references=classes, predictions=np.zeros(50, dtype=int), num_labels=2)
    seed = next(seed for seed in range(50) if np.random.default_rng(seed).multinomial(50, [1 / 50] * 50)[0] == 0)
    assert joint_mean_interval([task], num_resamples=1, seed=seed) == {"value": 1.0, "low": 1.0, "high": 1.0}


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "tasks: expected at least one, found none"),
        (
            [
                JointTask(references=[0, 1], predictions=[0, 1], num_labels=2),
                JointTask(references=[0.5], predictions=[1.0]),
            ],
            r"expected answers on the same clips, found \[1, 2\] clips",
        ),
        ([JointTask(references=[-1, -1], predictions=[0, 1], num_labels=2)], "at least one that is not missing"),
        ([JointTask(references=[0, 2], predictions=[0, 1], num_labels=2)], "labels: expected 0 to 1, found 0 to 2"),
        ([JointTask(references=[0, 1], predictions=[0, -1], num_labels=2)], "labels: expected 0 to 1, found -1 to 1"),
        ([JointTask(references=[0, 1], predictions=[0], num_labels=2)], "predictions: expected one for each"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(tasks, message):
    with pytest.raises(ValueError, match=message):
        joint_mean_interval(tasks, num_resamples=10)
