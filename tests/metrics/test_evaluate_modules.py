import importlib
import pkgutil
import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import audmetric
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

import nvv.metrics
from nvv.metrics import METRIC_NAMES, load_metric, per_class_scores
from nvv.metrics.evaluate_modules import metric_file, metric_siblings

# A fresh process without nvv (transformers only costs evaluate time); prints each metric's name and scores.
LOAD_BY_PATH = """
import sys
sys.modules["nvv"] = sys.modules["transformers"] = None  # importing them is now an error
import evaluate
del sys.modules["transformers"]  # datasets asks whether it is there
for path in sys.argv[1:]:
    metric = evaluate.load(path)
    metric.add_batch(references=[0, 1], predictions=[0, 1])
    metric.add(reference=1, prediction=0)
    print(metric.name, sorted(metric.compute()))
"""


def label_cases():
    """Thirty random cases of many sizes, with classes that are missing on one side or both."""
    generator = np.random.default_rng(0)
    for case in range(30):
        num_labels, size = int(generator.integers(1, 17)), int(generator.integers(1, 80))
        references = generator.choice(generator.integers(0, num_labels, max(1, num_labels // 2)), size)
        guesses = generator.integers(0, num_labels, size)
        yield num_labels, references, np.where(generator.random(size) < case / 30, references, guesses)


EDGE_CASES = [
    (3, [1], [1]),  # one clip, right
    (3, [1], [2]),  # one clip, wrong
    (4, [0, 1, 1, 2], [3, 3, 3, 3]),  # constant, and a class that never occurs
    (4, [2, 2, 2], [2, 0, 2]),  # one class in the references
]
CASES = [*label_cases(), *EDGE_CASES]


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("accuracy", sklearn.metrics.accuracy_score),
        ("f1", sklearn.metrics.f1_score),
        ("precision", sklearn.metrics.precision_score),
        ("recall", sklearn.metrics.recall_score),
        ("uar", sklearn.metrics.balanced_accuracy_score),
    ],
)
def test_scores_equal_scikit_learn(metric_module, name, score):
    for num_labels, references, predictions in CASES:
        for options in ({}, {"num_labels": num_labels}):
            results = metric_module(name).compute(references=references, predictions=predictions, **options)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about classes that are only predicted, or absent
                if name in ("accuracy", "uar"):
                    expected = {name: score(references, predictions)}
                else:
                    expected = {
                        f"{average}_{name}": score(references, predictions, average=average, zero_division=0)
                        for average in ("macro", "weighted")
                    }
            assert results == pytest.approx(expected, abs=1e-9)
            assert all(0 <= value <= 1 and isinstance(value, float) for value in results.values())


@pytest.mark.parametrize(
    ("name", "macro", "score"),
    [
        ("f1", audmetric.unweighted_average_fscore, sklearn.metrics.f1_score),
        ("precision", audmetric.unweighted_average_precision, sklearn.metrics.precision_score),
        ("recall", audmetric.unweighted_average_recall, sklearn.metrics.recall_score),
        ("uar", audmetric.unweighted_average_recall, None),
    ],
)
def test_scores_over_named_labels_equal_audmetric_and_scikit_learn(metric_module, name, macro, score):
    for num_labels, references, predictions in CASES:
        labels = list(range(num_labels))
        results = metric_module(name).compute(references=references, predictions=predictions, labels=labels)
        expected = macro(list(references), list(predictions), labels=labels, zero_division=0)
        assert results["uar" if name == "uar" else f"macro_{name}"] == pytest.approx(expected, abs=1e-9)
        if score is None:
            continue
        for some in (labels, labels[::2]):  # all, and a part in which no reference may be
            results = metric_module(name).compute(references=references, predictions=predictions, labels=some)
            for average in ("macro", "weighted"):
                options = {"labels": some, "average": average, "zero_division": 0}
                expected = score(references, predictions, **options)
                assert results[f"{average}_{name}"] == pytest.approx(expected, abs=1e-9)


def test_absent_class_counts_only_when_it_is_named(metric_module):
    arguments = {"references": [0, 0, 1], "predictions": [0, 1, 1]}
    assert metric_module("uar").compute(**arguments) == {"uar": 0.75}
    assert metric_module("uar").compute(**arguments, num_labels=3) == {"uar": 0.75}
    assert metric_module("uar").compute(**arguments, labels=[2, 1, 0]) == {"uar": 0.5}


def test_confusion_matrix_equals_scikit_learn(metric_module):
    for num_labels, references, predictions in CASES:
        arguments = {"references": references, "predictions": predictions}
        results = metric_module("confusion_matrix").compute(**arguments)
        assert results["confusion_matrix"] == sklearn.metrics.confusion_matrix(references, predictions).tolist()
        assert results["labels"] == np.union1d(references, predictions).tolist()
        results = metric_module("confusion_matrix").compute(**arguments, num_labels=num_labels)
        expected = sklearn.metrics.confusion_matrix(references, predictions, labels=range(num_labels))
        assert results == {"confusion_matrix": expected.tolist(), "labels": list(range(num_labels))}
        labels = [int(references[0]), *(label for label in range(num_labels) if label % 2 and label != references[0])]
        results = metric_module("confusion_matrix").compute(**arguments, labels=labels)
        expected = sklearn.metrics.confusion_matrix(references, predictions, labels=labels)
        assert results == {"confusion_matrix": expected.tolist(), "labels": labels}


def test_table_by_class_equals_scikit_learn_where_it_is_defined(metric_module):
    for num_labels, references, predictions in CASES:
        names = [f"class {label}" for label in range(num_labels)]
        results = metric_module("per_class").compute(
            references=references, predictions=predictions, num_labels=num_labels, label_names=names
        )
        assert results["per_class"] == per_class_scores(references, predictions, label_names=names)
        columns = sklearn.metrics.precision_recall_fscore_support(
            references, predictions, labels=range(num_labels), zero_division=np.nan
        )
        for row, values in zip(results["per_class"], zip(*columns, strict=True), strict=True):
            found = [row[name] for name in ("precision", "recall", "f1", "num_references")]
            expected = [None if np.isnan(value) else pytest.approx(value, abs=1e-9) for value in values]
            assert found == expected


def number_cases():
    generator = np.random.default_rng(1)
    for case in range(40):
        size, targets = int(generator.integers(2, 60)), int(generator.integers(1, 5))
        scale = 10.0 ** generator.integers(-6, 7)
        level = scale * 10.0 ** generator.integers(-3, 4)  # at most a thousand times the spread
        references = generator.normal(size=(size, targets)) * scale + level
        predictions = references * generator.normal() + generator.normal(size=(size, targets)) * scale
        yield references, predictions if case % 2 else predictions + 5 * level


def test_number_scores_equal_scipy_audmetric_and_scikit_learn(metric_module):
    for references, predictions in number_cases():
        ccc, pearson, mae = (
            metric_module(name).compute(references=references, predictions=predictions)
            for name in ("ccc", "pearson", "mae")
        )
        columns = list(zip(references.T, predictions.T, strict=True))
        expected = [audmetric.concordance_cc(x, y) for x, y in columns]
        assert ccc["ccc_per_target"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert ccc["ccc"] == pytest.approx(np.mean(expected), abs=1e-9)
        expected = [scipy.stats.pearsonr(x, y).statistic for x, y in columns]
        assert pearson["pearson_per_target"] == pytest.approx(expected, abs=1e-9)
        assert pearson["pearson"] == pytest.approx(np.mean(expected), abs=1e-9)
        expected = sklearn.metrics.mean_absolute_error(references, predictions, multioutput="raw_values")
        assert mae["mae_per_target"] == pytest.approx(expected, rel=1e-9)
        assert mae["mae"] == pytest.approx(np.mean(expected), rel=1e-9)


def test_one_target_may_be_a_plain_list(metric_module):
    references, predictions = [0.1, 0.5, 0.9, 0.3], [0.2, 0.4, 0.7, 0.6]
    result = metric_module("ccc").compute(references=references, predictions=predictions)
    expected = pytest.approx(audmetric.concordance_cc(references, predictions), abs=1e-12)
    assert result == {"ccc": expected, "ccc_per_target": [expected]}


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_references_are_left_out_by_target(metric_module, missing):
    references = [[missing, 1.0], [2.0, 5.0], [4.0, missing], [3.0, 2.0]]
    predictions = [[9.0, 2.0], [3.0, 4.0], [4.0, 9.0], [1.0, 2.0]]
    for name, score in (("ccc", audmetric.concordance_cc), ("mae", audmetric.mean_absolute_error)):
        result = metric_module(name).compute(references=references, predictions=predictions)
        # clips 1, 2, 3 of the first target, and 0, 1, 3 of the second
        expected = [score([2.0, 4.0, 3.0], [3.0, 4.0, 1.0]), score([1.0, 5.0, 2.0], [2.0, 4.0, 2.0])]
        assert result[f"{name}_per_target"] == pytest.approx(expected, abs=1e-12)
    plain = metric_module("mae").compute(references=[missing, 1.0, 2.0], predictions=[9.0, 2.0, 4.0])
    assert plain == {"mae": 1.5, "mae_per_target": [1.5]}


def test_ccc_of_the_challenge_divides_variances_by_one_less(metric_module):
    references, predictions = np.random.default_rng(2).normal(size=(2, 12))
    x, y = references, predictions
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    expected = 2 * covariance / (np.var(x, ddof=1) + np.var(y, ddof=1) + (x.mean() - y.mean()) ** 2)
    result = metric_module("ccc").compute(references=references, predictions=predictions, ddof=1)
    assert result["ccc"] == pytest.approx(expected, abs=1e-12)
    assert result != metric_module("ccc").compute(references=references, predictions=predictions)


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_score_is_the_same_when_clips_come_in_batches_and_one_by_one(metric_module, name):
    references, predictions = [0, 2, 1, 2, 2, 0], [0, 1, 1, 2, 0, 0]
    metric = metric_module(name)
    whole = metric.compute(references=references, predictions=predictions)
    metric.add_batch(references=references[:4], predictions=predictions[:4])
    for reference, prediction in zip(references[4:], predictions[4:], strict=True):
        metric.add(reference=reference, prediction=prediction)
    assert metric.compute() == whole
    assert metric.name == name


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("uar", {"num_labels": 2}, "references: expected labels from 0 to 1 .* found 0 to 2"),
        ("f1", {"labels": [0, 0]}, r"labels: expected each class once, found \[0, 0\]"),
        ("recall", {"labels": []}, "labels: expected a vector with at least one label"),
        ("per_class", {"label_names": ["a"]}, "label_names: expected 3, one for each class, found 1"),
        ("ccc", {"ddof": 2}, r"ddof: expected 0 .* found 2"),
    ],
)
def test_options_are_refused_by_name(metric_module, name, arguments, message):
    with pytest.raises(ValueError, match=message):
        metric_module(name).compute(references=[0, 1, 2], predictions=[0, 1, 1], **arguments)


def test_example_in_each_module_holds(metric_module):
    for name in METRIC_NAMES:
        metric = metric_module(name)
        calls = re.findall(r">>> metric\.(compute\(.*\)\S*).*\n\s*(\{.*\})", metric.info.inputs_description)
        assert calls, name
        for call, result in calls:
            found, expected = eval(f"metric.{call}", {"metric": metric}), eval(result)  # our own text
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                assert found[key] == value or found[key] == pytest.approx(value), (name, key)


def test_load_metric_gives_the_module_of_that_name():
    metric = load_metric("uar", keep_in_memory=True)
    assert metric.compute(references=[0, 0, 1], predictions=[0, 1, 1]) == {"uar": 0.75}
    assert metric.info.features.keys() == {"references", "predictions"}
    with pytest.raises(ValueError, match=r"metric: expected one of accuracy, .*, uar, found 'war'"):
        load_metric("war")


def test_evaluations_stay_apart_when_their_ids_differ(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", tmp_path)
    first, second = (load_metric("accuracy", experiment_id=name) for name in ("one", "two"))
    first.add_batch(references=[0, 1], predictions=[0, 1])
    second.add_batch(references=[0, 1], predictions=[1, 1])
    files = {file.name for file in (tmp_path / "accuracy" / "default").glob("*.arrow")}
    assert files == {"one-1-0.arrow", "two-1-0.arrow"}
    assert first.compute() == {"accuracy": 1.0}
    assert second.compute() == {"accuracy": 0.5}


def test_clips_of_two_processes_are_scored_together(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", tmp_path)

    def work(process_id):
        metric = load_metric("accuracy", num_process=2, process_id=process_id, experiment_id="both")
        metric.add_batch(references=[0, 1], predictions=[0, process_id])
        return metric.compute()

    with ThreadPoolExecutor(2) as pool:  # each waits for the other
        assert list(pool.map(work, (0, 1))) == [{"accuracy": 0.75}, None]


def test_siblings_import_nothing_of_nvv():
    for name in METRIC_NAMES:
        siblings = metric_siblings(name)
        assert len(siblings) == 1
        for path in siblings:
            assert not re.search(r"^\s*(from|import)\s+(\.|nvv)", path.read_text(), re.MULTILINE), path


def test_public_names_are_unchanged_when_every_module_is_imported():
    before = {name: getattr(nvv.metrics, name) for name in nvv.metrics.__all__}
    folder = str(Path(nvv.metrics.__file__).parent)
    for found in pkgutil.iter_modules([folder]):
        importlib.import_module(f"nvv.metrics.{found.name}")
    assert before == {name: getattr(nvv.metrics, name) for name in nvv.metrics.__all__}


@pytest.mark.slow
def test_modules_load_by_path_when_nvv_is_not_there(tmp_path):
    numbers = ("ccc", "mae", "pearson")
    paths = [str(metric_file(name)) for name in METRIC_NAMES]
    done = subprocess.run([sys.executable, "-c", LOAD_BY_PATH, *paths], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(METRIC_NAMES)
    for name in numbers:
        assert f"{name} ['{name}', '{name}_per_target']" in lines


def test_scores_need_neither_torch_nor_evaluate():
    command = "import sys; sys.modules['torch'] = sys.modules['evaluate'] = None; "
    folder = Path(nvv.metrics.__file__).parent
    # nvv itself registers models, so its folder stands in for it
    command += f"import types; package = types.ModuleType('nvv'); package.__path__ = [{str(folder.parent)!r}]; "
    command += "sys.modules['nvv'] = package; import nvv.metrics; print(len(nvv.metrics.SCORE_NAMES))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.stdout == "7\n", done.stderr
