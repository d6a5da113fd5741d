from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

from nvv.inference.embedding_scores import CLASSIFIERS, EmbeddedSplit, class_centroids, score_embeddings
from nvv.training.arguments import ArgumentsError
from nvv.training.predictions import ResultsError

LABELS = ["laugh", "sigh", "cough"]


def _split(name, num_clips, *, seed, spread=0.9, unit=True, missing=()):
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=num_clips)
    labels[:3] = range(3)
    values = 2 * np.eye(3, 8)[labels] + spread * generator.standard_normal((num_clips, 8))
    labels[list(missing)] = -100
    return EmbeddedSplit(
        split=name,
        files=[f"{name}/{at}.wav" for at in range(num_clips)],
        embeddings=(normalize(values) if unit else 50 + values * np.arange(1, 9)).astype(np.float32),
        labels=labels,
        speaker_ids=[f"S{at % 5}" for at in range(num_clips)],
    )


def _splits(**options):
    sizes = {"train": 90, "validation": 50, "test": 60}
    return {name: _split(name, size, seed=at, **options) for at, (name, size) in enumerate(sizes.items())}


def _scores(splits, **options):
    return score_embeddings(splits, label_names=LABELS, **{"standardise": False, "num_resamples": 20, **options})


def _value(scores, split, classifier, name="macro_f1"):
    return scores["splits"][split][classifier]["scores"][name]["value"]


def test_nearest_centroid_scores_as_the_nearest_by_angle():
    splits = _splits(spread=1.5)
    scores = _scores(splits)
    centroids = np.stack([splits["train"].embeddings[splits["train"].labels == at].mean(axis=0) for at in range(3)])
    # The nearest vector of length 1 is that at the smallest angle.
    reference = KNeighborsClassifier(1).fit(normalize(centroids), [0, 1, 2])
    for split in ("validation", "test"):
        predicted = reference.predict(splits[split].embeddings)
        expected = f1_score(splits[split].labels, predicted, average="macro")
        assert 0.4 < expected < 1
        assert _value(scores, split, "nearest_centroid") == pytest.approx(expected)


def test_neighbours_are_as_many_as_validation_likes_best():
    splits = _splits(spread=1.5)
    scores = _scores(splits, numbers_of_neighbours=(1, 5, 21, 500))
    train, validation, test = (splits[name] for name in ("train", "validation", "test"))
    found = {}
    for number in (1, 5, 21):
        model = KNeighborsClassifier(number, metric="cosine").fit(train.embeddings, train.labels)
        found[number] = f1_score(validation.labels, model.predict(validation.embeddings), average="macro")
    best = max(found, key=lambda number: (found[number], number))
    chosen = scores["classifiers"]["nearest_neighbours"]
    assert chosen["chosen"] == {"neighbours": best}
    assert {one["neighbours"]: one["score"] for one in chosen["validation_scores"]} == pytest.approx(found)
    model = KNeighborsClassifier(best, metric="cosine").fit(train.embeddings, train.labels)
    expected = balanced_accuracy_score(test.labels, model.predict(test.embeddings))
    assert _value(scores, "test", "nearest_neighbours", "uar") == pytest.approx(expected)


def test_linear_probe_is_as_regularized_as_validation_likes_best():
    splits = _splits(spread=1.5)
    scores = _scores(splits, c_values=(0.001, 0.1, 10.0))
    train, validation, test = (splits[name] for name in ("train", "validation", "test"))
    scaler = StandardScaler().fit(train.embeddings)
    found = {}
    for c_value in (0.001, 0.1, 10.0):
        model = LogisticRegression(C=c_value, max_iter=5000).fit(scaler.transform(train.embeddings), train.labels)
        answers = [model.predict(scaler.transform(split.embeddings)) for split in (validation, test)]
        found[c_value] = [
            f1_score(split.labels, answer, average="macro")
            for split, answer in zip((validation, test), answers, strict=True)
        ]
    best = max(found, key=lambda value: (found[value][0], -value))
    assert scores["classifiers"]["linear_probe"]["chosen"] == {"c_value": best}
    assert _value(scores, "test", "linear_probe") == pytest.approx(found[best][1])


def test_results_have_intervals_over_clips_and_speakers_and_chance():
    result = _scores(_splits())["splits"]["test"]["linear_probe"]
    assert result["num_clips"] == 60
    assert result["num_speakers"] == 5
    assert {"value", "low", "high", "speaker_low", "speaker_high"} == result["scores"]["macro_f1"].keys()
    assert result["chance"]["majority"]["uar"] == pytest.approx(1 / 3)


def test_standardising_finds_classes_that_offset_and_scales_hide():
    splits = _splits(unit=False, spread=0.5)
    raw, standardised = _scores(splits), _scores(splits, standardise=True)
    for classifier in ("nearest_centroid", "nearest_neighbours"):
        assert _value(standardised, "test", classifier) > _value(raw, "test", classifier) + 0.05
    assert standardised["standardised"]
    assert standardised["size"] == 8


def test_clips_without_a_label_are_neither_fitted_nor_scored():
    splits = _splits(missing=(4, 9, 11))
    scores = _scores(splits)
    assert scores["splits"]["test"]["linear_probe"]["num_references"] == 57
    moved = dict(splits)
    embeddings = splits["train"].embeddings.copy()
    embeddings[[4, 9, 11]] *= -1
    moved["train"] = EmbeddedSplit(
        split="train", files=splits["train"].files, embeddings=embeddings, labels=splits["train"].labels
    )
    assert _scores(moved)["splits"] == scores["splits"]


def test_test_split_without_any_label_has_no_scores():
    splits = _splits()
    test = _split("test", 6, seed=8, missing=range(6))
    scores = _scores({**splits, "test": test})
    assert [scores["splits"]["test"][name]["scores"] for name in CLASSIFIERS] == [{}, {}, {}]


def test_class_without_a_training_clip_is_never_answered():
    splits = _splits()
    train = splits["train"]
    splits["train"] = EmbeddedSplit(
        split="train",
        files=train.files,
        embeddings=train.embeddings,
        labels=np.where(train.labels == 2, 1, train.labels),
    )
    scores = _scores(splits)
    for classifier in CLASSIFIERS:
        assert np.asarray(scores["splits"]["test"][classifier]["confusion_matrix"])[:, 2].sum() == 0


def test_few_clips_have_as_many_neighbours_as_there_are():
    splits = {name: _split(name, 4, seed=at) for at, name in enumerate(("train", "validation", "test"))}
    scores = _scores(splits)
    assert [one["neighbours"] for one in scores["classifiers"]["nearest_neighbours"]["validation_scores"]] == [1, 3]


def test_centroids_are_mean_directions_and_zero_for_a_class_without_clips():
    embeddings = np.array([[10.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
    centroids = class_centroids(embeddings, np.array([0, 0, 1]), num_labels=3)
    np.testing.assert_allclose(centroids, [[0.5**0.5, 0.5**0.5], [-1, 0], [0, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": np.full((4, 2), np.nan, np.float32)}, r"the first 'a\.wav', are not finite"),
        ({"labels": np.zeros(3, np.int64)}, "4 embeddings, but 3 labels"),
        ({"speaker_ids": ["S"]}, "but 1 speaker_ids"),
        ({"embeddings": np.zeros((0, 2), np.float32)}, "at least one clip"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(changes, message):
    fields = {
        "split": "test",
        "files": ["a.wav", "b.wav", "c.wav", "d.wav"],
        "embeddings": np.zeros((4, 2), np.float32),
        "labels": np.zeros(4, np.int64),
    }
    with pytest.raises(ResultsError, match=message):
        EmbeddedSplit(**{**fields, **changes})


def test_splits_that_cannot_be_fitted_are_refused():
    splits = _splits()
    with pytest.raises(ResultsError, match="validation: expected clips with a label"):
        _scores({**splits, "validation": _split("validation", 5, seed=0, missing=range(5))})
    with pytest.raises(ResultsError, match="expected labels from 0 to 1, found 2"):
        score_embeddings(splits, label_names=["laugh", "sigh"], standardise=False)
    one_class = EmbeddedSplit(
        split="train",
        files=splits["train"].files,
        embeddings=splits["train"].embeddings,
        labels=np.zeros(90, np.int64),
    )
    with pytest.raises(ArgumentsError, match="at least two classes"):
        _scores({**splits, "train": one_class})
