from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import f1_score

from nvv.audio import AudioError
from nvv.baselines import features, run_baseline, run_baselines
from nvv.data import manifest_digest, random_folds
from nvv.training.arguments import ArgumentsError, DataArguments
from nvv.training.checkpoints import OutputFolderError
from nvv.training.results import comparable_metrics, read_metrics, read_predictions

FILES = {"baseline.json", "confusion_matrix.png", "metrics.json", "predictions.csv"}


def value(result, split="test", name="macro_f1"):
    return result.metrics["splits"][split]["scores"][name]["value"]


def test_baselines_leave_what_training_leaves(data, options, tmp_path):
    results = run_baselines(data, options())
    names = {"mfcc_logistic_regression", "mfcc_linear_svm", "majority", "random"}
    assert set(results) == names
    folder = tmp_path / "baselines"
    assert {entry.name for entry in folder.iterdir()} == {
        *names, "baselines.md", "baselines.csv", "config_resolved.yaml",
    }  # fmt: skip
    for name, result in results.items():
        assert {file.name for file in (folder / name).iterdir()} == FILES
        assert read_metrics(folder / name / "metrics.json") == result.metrics
        splits, labels = read_predictions(folder / name / "predictions.csv")
        assert labels == ["laugh", "sigh", "cough"]
        assert [split.split for split in splits] == ["validation", "test"]
        for split in splits:
            expected = f1_score(split.references, split.predictions, average="macro", zero_division=0)
            assert value(result, split.split) == pytest.approx(expected, abs=1e-9)
            assert split.speaker_ids is not None
    # Tones of three frequencies are easy to tell apart, and guessing is not.
    assert min(value(results[name]) for name in names - {"majority", "random"}) > 0.9
    assert max(value(results[name]) for name in ("majority", "random")) < 0.7


def test_metrics_say_what_was_run(data, options, tmp_path):
    metrics = run_baselines(data, options())["mfcc_linear_svm"].metrics
    assert metrics["backbone"] == {"id": "mfcc", "revision": None, "random_init": False}
    assert metrics["tuning"]["method"] == "linear_svm"
    assert metrics["tuning"]["total_parameters"] == 3 * (420 + 1)
    assert metrics["corpus"]["config"] == "speaker"
    assert (
        metrics["training"]["best_validation_score"] == metrics["splits"]["validation"]["scores"]["macro_f1"]["value"]
    )
    assert metrics["provenance"]["config"]["baseline"]["features"] == ["mfcc"]
    baseline = json.loads((tmp_path / "baselines" / "mfcc_linear_svm" / "baseline.json").read_text())
    assert baseline["features"]["num_features"] == 420
    [fit] = baseline["fits"]
    assert [entry["c_value"] for entry in fit["validation_scores"]] == [0.01, 1.0]
    assert fit["c_value"] in (0.01, 1.0)
    assert fit["converged"]
    assert "tmp" not in yaml.safe_load((tmp_path / "baselines" / "config_resolved.yaml").read_text())["corpus"]


def test_guess_has_no_features(data, options):
    metrics = run_baselines(data, options(features=None, classifiers=["majority"]))["majority"].metrics
    assert metrics["backbone"]["id"] is None
    assert metrics["tuning"] == {
        "method": "majority", "layers": None, "total_parameters": 0, "trainable_parameters": 0,
    }  # fmt: skip


def test_features_are_computed_once_for_all_classifiers(data, options, monkeypatch):
    seen = []
    original = features._describe
    monkeypatch.setattr(
        features,
        "_describe",
        lambda places, extractor, **kept: seen.append(extractor.name) or original(places, extractor, **kept),
    )
    first = run_baselines(data, options(features=["mfcc", "duration"]))
    assert sorted(seen) == ["duration", "mfcc"]
    again = run_baselines(data, options(features=["mfcc", "duration"], overwrite_output_dir=True))
    assert len(seen) == 2
    assert {name: comparable_metrics(result.metrics) for name, result in again.items()} == {
        name: comparable_metrics(result.metrics) for name, result in first.items()
    }


def test_one_baseline_is_the_same_alone(data, options, tmp_path):
    settings = options()
    together = run_baselines(data, settings)
    for classifier, chosen in (("linear_svm", "mfcc"), ("random", None), ("random", "none")):
        name = "random" if classifier == "random" else f"mfcc_{classifier}"
        alone = run_baseline(
            data, features=chosen, classifier=classifier, output_dir=tmp_path / "alone", seed=42, settings=settings
        )
        assert comparable_metrics(alone.metrics) == comparable_metrics(together[name].metrics)
        assert {file.name for file in (tmp_path / "alone").iterdir()} == FILES
    other = run_baseline(
        data, features=None, classifier="random", output_dir=tmp_path / "alone", seed=7, settings=settings
    )
    assert (
        other.metrics["splits"]["test"]["confusion_matrix"]
        != (together["random"].metrics["splits"]["test"]["confusion_matrix"])
    )


@pytest.mark.parametrize(("chosen", "classifier"), [("mfcc", "random"), (None, "linear_svm"), ("mfcc", "forest")])
def test_one_baseline_is_refused_when_features_and_classifier_do_not_fit(data, tmp_path, chosen, classifier):
    with pytest.raises(ArgumentsError, match="features, classifier: expected none with majority or random"):
        run_baseline(data, features=chosen, classifier=classifier, output_dir=tmp_path / "alone")
    assert not (tmp_path / "alone").exists()


def test_options_change_the_outcome(data, options, tmp_path):
    def probabilities(**changes):
        run_baselines(data, options(classifiers=["logistic_regression"], overwrite_output_dir=True, **changes))
        table = pd.read_csv(tmp_path / "baselines" / "mfcc_logistic_regression" / "predictions.csv")
        return table.filter(like="probability").to_numpy()

    usual = probabilities()
    assert (probabilities(max_seconds=0.1) != usual).any()
    assert (probabilities(c_values=[1e-4]) != usual).any()
    # The tones' classes are equally frequent, so that balancing them changes nothing.
    np.testing.assert_array_equal(probabilities(class_balanced_loss=True), usual)
    assert len(probabilities()) == 18
    data.max_evaluation_clips, data.max_train_clips = 3, 9
    assert len(probabilities()) == 6


def test_finished_baselines_are_not_replaced_unasked(data, options, tmp_path):
    run_baselines(data, options())
    with pytest.raises(OutputFolderError, match="holds finished baselines"):
        run_baselines(data, options())
    (tmp_path / "baselines" / "majority" / "note.txt").write_text("mine")
    (tmp_path / "baselines" / "note.txt").write_text("mine")
    run_baselines(data, options(classifiers=["linear_svm"], overwrite_output_dir=True))
    left = {path.relative_to(tmp_path / "baselines").as_posix() for path in (tmp_path / "baselines").rglob("*.*")}
    assert left == {
        *(f"mfcc_linear_svm/{name}" for name in FILES),
        *("majority/note.txt", "note.txt", "baselines.md", "baselines.csv", "config_resolved.yaml"),
    }


def test_killed_run_is_begun_again(data, options, tmp_path):
    run_baselines(data, options(classifiers=["majority"], features=None))
    for name in ("baselines.md", "baselines.csv"):
        (tmp_path / "baselines" / name).unlink()
    assert set(run_baselines(data, options(classifiers=["linear_svm"]))) == {"mfcc_linear_svm"}
    assert not (tmp_path / "baselines" / "majority").exists()


def test_folder_is_named_after_corpus_and_protocol(data, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = run_baselines(data, options(output_dir=None, features=None, classifiers=["majority"]))
    assert results["majority"].output_dir.as_posix() == "runs/baselines_tones_speaker/majority"


def test_damaged_clip_stops_the_run_before_anything_is_written(options, own_tones, tmp_path):
    table = pd.read_parquet(own_tones)
    table.loc[17, "audio"]["bytes"] = table.loc[17, "audio"]["bytes"][:300]
    table.to_parquet(own_tones)
    with pytest.raises(AudioError, match=r"^017\.wav: "):
        run_baselines(DataArguments(corpus=str(own_tones)), options())
    assert not (tmp_path / "baselines").exists()


def test_corpus_that_is_not_there_is_one_line(options):
    with pytest.raises(ArgumentsError, match="corpus"):
        run_baselines(DataArguments(corpus="somebody/nothing"), options())


# ----------------------------------------------------------------------------------------------------------------------
# Folds together
# ----------------------------------------------------------------------------------------------------------------------


def test_pooled_folds_test_each_clip_once(options, own_tones, tmp_path):
    data = DataArguments(corpus=str(own_tones))
    results = run_baselines(data, options(pool_folds=True, classifiers=["logistic_regression", "random"]))
    metrics = results["mfcc_logistic_regression"].metrics
    files = [f"{at:03d}.wav" for at in range(60)]
    part_of = {file: f"fold_{part}" for file, part in random_folds(files).items()}
    assert metrics["corpus"]["config"] == "pooled_folds"
    assert metrics["corpus"]["manifest_digest"] == manifest_digest(part_of)
    assert metrics["corpus"]["protocol_note"].startswith("10 models, one for each of the protocols fold_0 to fold_9")
    splits, _ = read_predictions(tmp_path / "baselines" / "mfcc_logistic_regression" / "predictions.csv")
    for split in splits:
        assert sorted(split.files) == files
    fits = json.loads((tmp_path / "baselines" / "mfcc_logistic_regression" / "baseline.json").read_text())["fits"]
    assert len(fits) == 10
    assert metrics["training"]["best_validation_score"] is None
    third = run_baselines(
        DataArguments(corpus=str(own_tones), split_protocol="fold_3"),
        options(classifiers=["logistic_regression"], output_dir=str(tmp_path / "third")),
    )
    assert third["mfcc_logistic_regression"].metrics["splits"]["test"]["num_clips"] == 6
    [alone] = [
        split
        for split in read_predictions(tmp_path / "third" / "mfcc_logistic_regression" / "predictions.csv")[0]
        if split.split == "test"
    ]
    pooled = dict(zip(splits[1].files, splits[1].probabilities.tolist(), strict=True))
    assert [pooled[file] for file in alone.files] == alone.probabilities.tolist()


def test_pooled_folds_and_a_protocol_exclude_each_other(options, own_tones):
    with pytest.raises(ArgumentsError, match="split_protocol: expected none with pool_folds"):
        run_baselines(DataArguments(corpus=str(own_tones), split_protocol="fold_1"), options(pool_folds=True))


def test_pooled_folds_need_folds(data, options):
    with pytest.raises(ArgumentsError, match=r"has no folds; its protocols are speaker"):
        run_baselines(data, options(pool_folds=True))
