import pytest

from nvv.sweep.settings import ReportError
from nvv.sweep.systems import selected, with_systems
from nvv.sweep.table import collect_results

ROWS, COLUMNS = ("backbone", "layers", "hidden_states"), ("method",)


def systems_of(folder, rows=ROWS, columns=COLUMNS):
    return with_systems(collect_results(folder), rows=rows, columns=columns)


def test_folds_of_a_family_belong_together(made_up_sweep):
    protocols = ["fold_0", "fold_11", "voc2vec_fold_3", "speaker"]
    table = systems_of(made_up_sweep(*({"split_protocol": name} for name in protocols)))
    assert table["protocol"].tolist() == ["fold", "fold", "voc2vec_fold", "speaker"]
    assert table["fold"].tolist() == [0, 11, 3, -1]
    assert table["system"].nunique() == 1


def test_rows_and_columns_read_well(made_up_sweep):
    table = systems_of(
        made_up_sweep(
            {"method": "lora", "tuned_layers": [0, 1]},
            {"method": "lora"},
            {"summed_layers": [3, 4]},
            {"backbone": "mfcc", "method": "logistic_regression", "recipe": "baseline"},
            {"backbone": "none", "method": "majority", "recipe": "baseline"},
        )
    )
    assert table["row"].tolist() == [
        "whisper-tiny, layers 0-1",
        "whisper-tiny",
        "whisper-tiny, states 3-4",
        "mfcc",
        "no features",
    ]
    assert table["column"].tolist() == ["lora", "lora", "frozen", "logistic regression", "most frequent class"]
    assert table["system"].tolist()[-2:] == ["mfcc, logistic regression", "most frequent class"]


def test_layers_can_be_columns(made_up_sweep):
    folder = made_up_sweep({"method": "lora", "tuned_layers": [0]}, {"method": "lora"}, {"method": "frozen"})
    assert systems_of(folder, rows=("backbone",), columns=("layers",))["column"].tolist() == ["layer 0", "all", "none"]


def test_owners_stay_where_names_would_be_equal(made_up_sweep):
    table = systems_of(made_up_sweep({"backbone": "a/encoder"}, {"backbone": "b/encoder"}, {"backbone": "c/other"}))
    assert table["row"].tolist() == ["a/encoder", "b/encoder", "other"]


def test_runs_of_one_cell_that_differ_otherwise_are_told_apart(made_up_sweep):
    table = systems_of(
        made_up_sweep({"learning_rate": 1e-3}, {"learning_rate": 1e-4}, {"learning_rate": 1e-4, "seed": 2})
    )
    assert table["row"].tolist() == [
        "whisper-tiny, learning_rate 0.001",
        "whisper-tiny, learning_rate 0.0001",
        "whisper-tiny, learning_rate 0.0001",
    ]


def test_what_differs_between_corpora_only_tells_no_systems_apart(made_up_sweep):
    table = systems_of(made_up_sweep({"max_seconds": 5.0}, {"corpus": "recanvo", "max_seconds": 7.0}))
    assert table["row"].tolist() == ["whisper-tiny", "whisper-tiny"]


def test_runs_are_selected_by_value_or_list(made_up_sweep):
    table = systems_of(
        made_up_sweep({"method": "lora", "tuned_layers": [3]}, {"method": "lora"}, {"seed": 2, "random_init": True})
    )
    assert selected(table, {"layers": 3}, where="x")["run_id"].tolist() == ["run0"]
    assert selected(table, {"layers": ["", "all"]}, where="x")["run_id"].tolist() == ["run1", "run2"]
    assert selected(table, {"method": "lora", "layers": "all"}, where="x")["run_id"].tolist() == ["run1"]
    assert selected(table, {"seed": 2}, where="x")["run_id"].tolist() == ["run2"]
    assert selected(table, {"random_init": True}, where="x")["run_id"].tolist() == ["run2"]


def test_unknown_columns_are_refused(made_up_sweep):
    folder = made_up_sweep({})
    with pytest.raises(ReportError, match="found 'layer'"):
        systems_of(folder, columns=("layer",))
    with pytest.raises(ReportError, match="claim x: expected a column of the results table, found 'modell'"):
        selected(systems_of(folder), {"modell": 1}, where="claim x")


def test_fields_of_the_recipe_name_rows_also_where_they_have_their_default(made_up_sweep):
    # pooling: mean and lstm_layers: 2 are defaults, which a plan leaves out.
    runs = [{"pooling": "last", "lstm_layers": 0}, {"lstm_layers": 0}, {"pooling": "last"}, {}]
    table = systems_of(made_up_sweep(*runs), rows=("lstm_layers",), columns=("pooling",))
    assert table["row"].tolist() == ["lstm_layers 0", "lstm_layers 0", "lstm_layers 2", "lstm_layers 2"]
    assert table["column"].tolist() == ["last", "mean", "last", "mean"]
    assert systems_of(made_up_sweep({}, name="b"), rows=("pooling",), columns=("head",))["system"][0] == "mean, linear"


def test_baselines_have_no_defaults_of_the_training_recipe(made_up_sweep):
    runs = [{}, {"backbone": "mfcc", "method": "linear_svm", "recipe": "baseline"}]
    assert systems_of(made_up_sweep(*runs), columns=("pooling",))["column"].tolist() == ["mean", "all"]
