from __future__ import annotations

import math

import numpy as np
import pytest
import yaml

from nvv.inference.label_map import OTHER, LabelMapError, make_label_map, read_label_map

MODEL = ["giggle", "guffaw", "cough", "sigh"]
CORPUS = ["laugh", "sigh", "sob"]
MAPPING = {"giggle": "laugh", "guffaw": "laugh", "cough": None, "sigh": "sigh"}
# Logits whose softmax is 0.1, 0.2, 0.4, 0.3.
LOGITS = np.log([[1.0, 2.0, 4.0, 3.0]])


def _map(**options):
    return make_label_map(MODEL, CORPUS, mapping=MAPPING, **options)


def test_columns_follow_the_corpus_when_labels_are_the_same():
    label_map = make_label_map(["b", "c", "a"], ["a", "b", "c"])
    assert label_map.is_identity
    assert label_map.answers == ["a", "b", "c"]
    # softmax of log 5, log 3, log 2 is 0.5, 0.3, 0.2 for b, c, a
    probabilities = label_map.probabilities(np.log([[5.0, 3.0, 2.0]]))
    np.testing.assert_allclose(probabilities, [[0.2, 0.5, 0.3]], atol=1e-12)
    assert label_map.is_evaluated([0, 1, 2]).all()
    assert label_map.references([2, 0]).tolist() == [2, 0]
    assert label_map.describe()["targets"] is None


def test_probabilities_add_up_and_the_rest_is_an_answer_that_is_wrong():
    label_map = _map()
    assert label_map.answers == ["laugh", "sigh", OTHER]
    # laugh = giggle + guffaw = 0.1 + 0.2; sigh 0.3; cough, which the corpus does not have, 0.4
    np.testing.assert_allclose(label_map.probabilities(LOGITS), [[0.3, 0.3, 0.4]], atol=1e-12)


def test_rest_does_not_win_by_numbers():
    mapping = {**MAPPING, "guffaw": None}
    # laugh = giggle 0.1, sigh 0.3, and the higher of guffaw 0.2 and cough 0.4; divided by 0.8
    probabilities = make_label_map(MODEL, CORPUS, mapping=mapping).probabilities(LOGITS)
    np.testing.assert_allclose(probabilities, [[0.125, 0.375, 0.5]], atol=1e-12)
    # 500 labels at 1 / 1000 each beside one at 0.5
    labels = ["laugh", "sigh", *(f"sound {at}" for at in range(500))]
    label_map = make_label_map(labels, CORPUS, mapping={"laugh": "laugh", "sigh": "sigh", "*": None})
    logits = np.log([[0.5, 1e-9, *[1e-3] * 500]])
    assert label_map.answers[label_map.probabilities(logits).argmax()] == "laugh"


def test_rest_is_divided_among_the_classes_when_renormalised():
    label_map = _map(unmapped_answers="renormalise")
    assert label_map.answers == ["laugh", "sigh"]
    # without cough 0.6 is left: 0.3 / 0.6 and 0.3 / 0.6
    np.testing.assert_allclose(label_map.probabilities(LOGITS), [[0.5, 0.5]], atol=1e-12)


def test_renormalising_is_exact_where_the_rest_had_all():
    logits = [[0.0, 0.0, 2_000.0, math.log(6.0)]]  # cough leaves nothing that a float could hold
    # giggle : guffaw : sigh = 1 : 1 : 6
    np.testing.assert_allclose(_map(unmapped_answers="renormalise").probabilities(logits), [[0.25, 0.75]], atol=1e-12)


def test_multi_label_scores_are_not_added_up():
    # sigmoids: giggle 0.5, guffaw 0.8, cough 0.2, sigh 0.5; laugh is the higher of the first two
    logits = [[0.0, math.log(4.0), -math.log(4.0), 0.0]]
    probabilities = _map().probabilities(logits, is_multi_label=True)
    np.testing.assert_allclose(probabilities, [[0.8 / 1.5, 0.5 / 1.5, 0.2 / 1.5]], atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "classes", "kept", "references"),
    [
        ("drop", ["laugh", "sigh"], [True, False, True], [0, 1]),
        ("wrong", ["laugh", "sigh", "sob"], [True, True, True], [0, 2, 1]),
    ],
)
def test_clips_of_a_class_that_cannot_be_answered(rule, classes, kept, references):
    label_map = _map(unmapped_clips=rule)
    assert label_map.classes == classes
    true = np.array([0, 2, 1])  # laugh, sob, sigh
    assert label_map.is_evaluated(true).tolist() == kept
    assert label_map.references(true[kept]).tolist() == references
    assert label_map.unmapped_corpus_labels == ["sob"]
    if rule == "wrong":
        np.testing.assert_allclose(label_map.probabilities(LOGITS), [[0.3, 0.3, 0.0, 0.4]], atol=1e-12)


def test_clips_that_cannot_be_answered_stop_the_evaluation_when_told_so():
    with pytest.raises(LabelMapError, match="no label of the model stands for sob"):
        _map(unmapped_clips="error")


def test_every_row_sums_to_one():
    logits = np.random.default_rng(0).normal(scale=9, size=(50, 4))
    for unmapped_answers in ("wrong", "renormalise"):
        for is_multi_label in (False, True):
            rows = _map(unmapped_answers=unmapped_answers, unmapped_clips="wrong").probabilities(
                logits, is_multi_label=is_multi_label
            )
            np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-12)


def test_missing_map_is_shown_as_it_can_be_written(tmp_path):
    with pytest.raises(LabelMapError) as raised:
        make_label_map(["Laugh", "SIGH", "no", "cough"], ["laugh", "sigh", "sob"])
    message = str(raised.value)
    assert "model:  Laugh, SIGH, no, cough" in message
    assert "corpus: laugh, sigh, sob" in message
    file = tmp_path / "map.yaml"
    file.write_text(message.split("\n\n", 1)[1])
    mapping = read_label_map(file)
    assert mapping == {"Laugh": "laugh", "SIGH": "sigh", "no": None, "cough": None}
    assert make_label_map(list(mapping), ["laugh", "sigh", "sob"], mapping=mapping).answers == ["laugh", "sigh", OTHER]


def test_missing_map_of_many_labels_is_shown_short(tmp_path):
    labels = [*(f"sound {at}" for at in range(527)), "Laugh", "Sigh"]
    with pytest.raises(LabelMapError) as raised:
        make_label_map(labels, ["laugh", "sigh"])
    file = tmp_path / "map.yaml"
    file.write_text(str(raised.value).split("\n\n", 1)[1])
    assert read_label_map(file) == {"Laugh": "laugh", "Sigh": "sigh", "*": None}
    label_map = make_label_map(labels, ["laugh", "sigh"], mapping=read_label_map(file))
    assert len(label_map.unmapped_model_labels) == 527


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"giggle": "laugh", "sigh": "sigh"}, r"2 labels of the model are not in it: guffaw, cough\. .*`\"\*\": null`"),
        ({**MAPPING, "gigle": "laugh"}, "the model has no label 'gigle'.*Did you mean 'giggle'"),
        ({**MAPPING, "cough": "laughs"}, "the corpus has no label 'laughs'.*Did you mean 'laugh'"),
        ({"giggle": "laugh", "*": None}, "at least two classes .* found laugh"),
        ({"*": None}, "at least two classes .* found none"),
    ],
)
def test_map_that_does_not_fit_is_refused(mapping, message):
    with pytest.raises(LabelMapError, match=message):
        make_label_map(MODEL, CORPUS, mapping=mapping)


def test_corpus_with_a_class_of_that_name_is_refused_when_the_rest_needs_it():
    mapping = {"a": "a", "b": "b", "c": None}
    with pytest.raises(LabelMapError, match=r"a class '\(other\)' of its own"):
        make_label_map(["a", "b", "c"], ["a", "b", OTHER], mapping=mapping)
    assert make_label_map(["a", "b", "c"], ["a", "b", OTHER], mapping=mapping, unmapped_answers="renormalise")


def test_model_with_one_name_for_two_labels_is_refused():
    with pytest.raises(LabelMapError, match="1 labels more than once, 'a'"):
        make_label_map(["a", "a", "b"], ["a", "b"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("laugh: no\n", r"found False \(bool\) in `laugh: False`.*quotation marks"),
        ("1: laugh\n", r"found 1 \(int\)"),
        ("laugh: [a, b]\n", r"found \['a', 'b'\] \(list\)"),
        ("- laugh\n", "found list"),
        ("", "found NoneType"),
        ("laugh: a\nsigh: b\nlaugh: b\n", "'laugh' is mapped twice, again in line 3"),
        ("laugh: 'a\n", "not readable as YAML"),
    ],
)
def test_file_that_is_no_map_is_refused_by_name(tmp_path, text, message):
    file = tmp_path / "map.yaml"
    file.write_text(text)
    with pytest.raises(LabelMapError, match=rf"map\.yaml: .*{message}"):
        read_label_map(file)


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"label_map: .*absent\.yaml"):
        read_label_map(tmp_path / "absent.yaml")


def test_map_can_be_given_inline(tmp_path):
    file = tmp_path / "map.yaml"
    file.write_text(yaml.safe_dump(MAPPING))
    assert read_label_map(MAPPING) == read_label_map(file) == MAPPING


def test_rule_that_does_not_exist_is_refused():
    with pytest.raises(LabelMapError, match="unmapped_answers: expected one of wrong, renormalise; found 'right'"):
        _map(unmapped_answers="right")
