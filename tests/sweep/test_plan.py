import json

import pytest
import yaml

from nvv.sweep.arguments import SweepArguments
from nvv.sweep.grid import GridError, read_grid
from nvv.sweep.plan import arguments_of, expand_grid, group_runs, write_plan


@pytest.fixture
def expand(write_grid):
    """Write, read and expand a grid."""

    def make(*blocks, options=None, **content):
        arguments = None if options is None else SweepArguments(output_dir="unused", **options)
        content = content | ({"blocks": list(blocks)} if blocks else {})
        return expand_grid(read_grid(write_grid(**content)), arguments)

    return make


def test_recipe_is_the_probe_where_features_can_be_computed_once(expand):
    runs = expand({"method": ["frozen", "lora"]}, {"method": "frozen", "pooling": "max"})
    assert [run.recipe for run in runs] == ["probe", "train", "train"]


def test_inner_values_override_outer_ones(expand, tmp_path):
    (tmp_path / "outer.yaml").write_text("num_train_epochs: 1\nlora_rank: 1\nlora_alpha: 2\nlearning_rate: 1e-3\n")
    (tmp_path / "inner.yaml").write_text("lora_alpha: 4\nlearning_rate: 1e-2\n")
    block = {"files": ["inner.yaml"], "learning_rate": "3e-5", "method": "lora"}
    (run,) = expand(block, files=["outer.yaml"], common={"lora_rank": 3, "lora_alpha": 3})
    expected = {"num_train_epochs": 1.0, "lora_rank": 3, "lora_alpha": 4, "learning_rate": 3e-5}
    assert {name: run.values[name] for name in expected} == expected


def test_common_options_reach_the_runs_that_take_them(expand):
    common = {"lora_rank": 3, "num_seeds": 2, "num_train_epochs": 7}
    guess = {"recipe": "baseline", "classifier": "majority"}
    runs = expand({"method": ["frozen", "lora", "prompt"]}, guess, common=common)
    has = [[name for name in common if name in run.values] for run in runs]
    assert has == [["num_seeds", "num_train_epochs"], ["lora_rank", "num_train_epochs"], ["num_train_epochs"], []]


def test_values_tell_what_tables_need_and_nothing_of_the_machine(expand, corpus_folder, backbone_folder):
    block = {"corpus": str(corpus_folder), "backbone": str(backbone_folder), "max_seconds": 2}
    (run,) = expand(block, options={"cpu_threads": 3})
    assert run.values == {
        "backbone": "tiny_whisper",
        "random_init": False,
        "num_backbone_layers": None,
        "summed_layers": None,
        "max_seconds": 2.0,
        "corpus": "tones",
        "split_protocol": None,
        "method": "lora",
        "tuned_layers": None,
        "seed": 42,
    }
    model, data, _, training = arguments_of(run, options=("--output_dir", "somewhere"))
    assert (model.backbone, data.corpus) == (str(backbone_folder), str(corpus_folder))
    assert (training.output_dir, training.cpu_threads, training.disable_tqdm) == ("somewhere", 3, True)


def test_run_id_follows_from_what_changes_results(expand):
    (default,) = expand({"method": "lora"})
    same = [
        expand({"method": "lora", "lora_rank": 8})[0],  # the default
        expand({"cpu_threads": 2, "per_device_eval_batch_size": 4, "dataloader_num_workers": 1})[0],
        expand({"method": "lora"}, options={"cpu_threads": 7, "data_cache_dir": "x"})[0],
    ]
    assert [run.run_id for run in same] == [default.run_id] * 3
    assert default.run_id.startswith("synthetic-default-whisper-tiny-lora-seed42-")
    other = [*expand({"seed": 1}), *expand({"learning_rate": "2e-4"}), *expand({"tuned_layers": [0]})]
    assert len({default.run_id, *(run.run_id for run in other)}) == 4


def test_run_id_names_layers_and_baselines(expand):
    layers, baseline, guess = expand(
        {"tuned_layers": [0, 1, 3], "summed_layers": [3, 4]},
        {"recipe": "baseline", "features": "mfcc", "classifier": "linear_svm", "corpus": "vivae"},
        {"recipe": "baseline", "classifier": "majority", "split_protocol": "stratified", "seed": 3},
    )
    assert layers.run_id.startswith("synthetic-default-whisper-tiny-lora-t0-1_3-h3-4-seed42-")
    assert baseline.run_id.startswith("vivae-default-mfcc-linear_svm-seed42-")
    assert guess.run_id.startswith("synthetic-stratified-none-majority-seed3-")
    assert guess.values["features"] == "none"


def test_arguments_of_a_baseline_are_lists_of_one(expand):
    (run,) = expand({"recipe": "baseline", "features": "egemaps", "classifier": "logistic_regression", "seed": 3})
    data, baseline = arguments_of(run)
    assert (data.corpus, baseline.pairs, baseline.seed) == ("synthetic", [("egemaps", "logistic_regression")], 3)


def test_probes_of_one_backbone_share_a_task_over_splits_layers_and_seeds(expand):
    block = {
        "method": "frozen",
        "backbone": ["openai/whisper-tiny", "openai/whisper-base"],
        "split_protocol": ["speaker", "stratified"],
        "summed_layers": [[0, 1], [2, 3]],
        "seed": [1, 2],
    }
    tasks = group_runs(expand(block, {"method": "lora", "seed": [1, 2]}))
    assert [len(task.runs) for task in tasks] == [8, 8, 1, 1]
    assert {run.values["backbone"] for run in tasks[0].runs} == {"openai/whisper-tiny"}


@pytest.mark.parametrize(
    ("field", "values"),
    [("max_seconds", [1.0, 2.0]), ("corpus", ["synthetic", "vivae"]), ("pooling", ["mean", "first"])],
)
def test_other_features_make_another_task(expand, field, values):
    assert len(group_runs(expand({"method": "frozen", field: values}))) == 2


def test_seed_of_a_random_backbone_makes_another_task(expand):
    assert len(group_runs(expand({"method": "frozen", "random_init": True, "seed": [1, 2]}))) == 2


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([{"lora_rank": "many"}], r"block 1 \(lora_rank: many\): block 1: lora_rank: .*'many'"),
        ([{"seed": 1}, {"pooling": ["mean", "median"]}], r"block 2 \(pooling: median\): pooling: expected one of"),
        ([{"method": "frozen", "lora_rank": 4}], "lora_rank=4 has no effect with method 'frozen'"),
        ([{"tuned_layers": [[3], [4]]}], r"block 1 \(tuned_layers: \[4\]\): tuned_layers: .* there is no layer 4"),
        ([{"tuned_layers": [3], "summed_layers": [2]}], "there is no layer 3; the encoder's 2 layers are 0 to 1"),
        ([{"summed_layers": [5]}], r"\[5\] are not hidden states of this backbone, 0 to 4"),
        ([{"num_backbone_layers": 5}], "this backbone has layers 1 to 4"),
        ([{"backbone": "who/what", "random_init": True}], "architecture of 'who/what' is not known"),
        ([{"split_protocol": ["fold_9", "fold_10"]}], "split_protocol: expected one of .*, found 'fold_10'"),
        ([{"recipe": "probe", "method": "lora"}], "method: a probe leaves the backbone frozen"),
        ([{"recipe": "probe", "weight_decay": 0.5}], "weight_decay: has no effect on a probe"),
        ([{"recipe": "baseline", "features": "mfcc", "classifier": "majority"}], "features: mfcc would have no ef"),
        ([{"recipe": "baseline", "classifier": "linear_svm"}], "expected one of each for a baseline run"),
        ([{"recipe": "baseline", "features": "mel", "classifier": "linear_svm"}], r"features: .*found \['mel'\]"),
        (
            [{"method": "lora", "num_seeds": 3}],
            r"block 1: num_seeds: has no effect; none of its runs \(train\)",
        ),
        (
            [{"recipe": "baseline", "classifier": "random", "method": "lora"}],
            "method: has no effect; none",
        ),
        ([{"seed": [1, 2, 1]}], "block 1 has twice the run synthetic-default-whisper-tiny-lora-seed1-"),
        ([{"lora_rank": 8}, {"seed": 42}], "block 1 and block 2 both have the run"),
    ],
)
def test_grid_is_refused_before_anything_runs(expand, blocks, message):
    with pytest.raises(GridError, match=message):
        expand(*blocks)


def test_common_field_that_no_run_takes_is_refused(expand):
    with pytest.raises(GridError, match="common: num_prompts: has no effect"):
        expand({"method": ["lora", "frozen"]}, common={"num_prompts": 3})


def test_folders_come_from_the_grid_and_the_command_line_goes_first(expand):
    runs = expand(
        {"corpus": ["vivae", "recanvo", "synthetic"]},
        data_dirs={"vivae": "a", "recanvo": "b"},
        options={"data_dirs": ["recanvo=c"], "data_cache_dir": "cache"},
    )
    assert [run.place.get("data_dir") for run in runs] == ["a", "c", None]
    assert {run.place["data_cache_dir"] for run in runs} == {"cache"}
    assert not any("data_dir" in run.values for run in runs)


def test_features_of_probes_and_baselines_are_kept_apart(expand):
    runs = expand(
        {"method": ["frozen", "lora"]},
        {"recipe": "baseline", "classifier": "random"},
        options={"features_cache_dir": "kept"},
    )
    assert [run.place.get("features_cache_dir") for run in runs] == ["kept", None, "kept/baselines"]


def test_corpora_can_be_chosen(expand):
    runs = expand({"corpus": ["vivae", "recanvo", "synthetic"]}, options={"corpora": ["recanvo"]})
    assert [run.values["corpus"] for run in runs] == ["recanvo"]


@pytest.mark.parametrize("options", [{"corpora": ["vivea"]}, {"data_dirs": ["vivea=x"]}])
def test_corpus_that_the_grid_does_not_have_is_refused(expand, options):
    with pytest.raises(GridError, match=r"the grid has no corpus 'vivea'; it has synthetic"):
        expand({"seed": 1}, options=options)


def test_plan_is_written_as_the_report_reads_it(write_grid, tmp_path):
    grid = read_grid(write_grid(data_dirs={"vivae": "/secret"}, blocks=[{"corpus": "vivae"}], report={"score": True}))
    runs = expand_grid(grid)
    write_plan(tmp_path / "sweep", grid, runs)
    plan = json.loads((tmp_path / "sweep" / "plan.json").read_text())
    assert plan["name"] == "tones"
    assert plan["runs"] == [{"run_id": runs[0].run_id, "recipe": "train", "values": dict(runs[0].values)}]
    text = (tmp_path / "sweep" / "grid.yaml").read_text()
    assert yaml.safe_load(text)["report"] == {"score": True}
    assert "secret" not in text
