"""Every grid that is shipped can be planned, says what it is, and has the runs that were published."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections import Counter
from pathlib import Path

import pytest

from nvv.sweep.grid import is_choice, read_grid
from nvv.sweep.plan import expand_grid
from nvv.sweep.recipe_groups import default_recipe
from nvv.sweep.settings import ReportSettings

GRIDS = Path(__file__).parents[2] / "recipes" / "grids"
NAMES = sorted(path.stem for path in GRIDS.glob("*.yaml"))
PUBLISHED = ("links_linear_probing", "links_peft", "links_layer_subsets")
OF_THE_STUDY = ("asvp_esd", "cnvve", "nonverbal_vocalization", "recanvo", "vivae")


@functools.cache
def runs_of(name):
    """All runs of a grid, checked by the dataclasses of their recipes."""
    return tuple(expand_grid(read_grid(GRIDS / f"{name}.yaml")))


def values_of(*names):
    return [run.values for name in names for run in runs_of(name)]


def unchecked_values_of(name):
    """What the grid says of each of its runs; defaults are left out."""
    grid = read_grid(GRIDS / f"{name}.yaml")
    return [
        {name: value for layer in (*grid.layers, *block.layers) for name, value in layer.values.items()} | own
        for block in grid.blocks
        for own in block.products()
    ]


def with_values(grid, change):
    """A grid in which each block is replaced by those that `change` makes of its values."""
    blocks = [dataclasses.replace(block, values=values) for block in grid.blocks for values in change(block.values)]
    return dataclasses.replace(grid, blocks=tuple(blocks))


def each_value_once(values):
    choices = {name: value if is_choice(name, value) else [value] for name, value in values.items()}
    for at in range(max(map(len, choices.values()))):
        yield {name: chosen[at % len(chosen)] for name, chosen in choices.items()}


def on_first_corpus(values):
    yield {**values, "corpus": values["corpus"][0] if isinstance(values["corpus"], list) else values["corpus"]}


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_grid_is_accepted_and_its_report_is_read(name):
    grid = read_grid(GRIDS / f"{name}.yaml")
    assert grid.name == name
    smaller = with_values(grid, each_value_once) if "corpus" in grid.blocks[0].values else grid
    assert expand_grid(smaller)
    ReportSettings.from_mapping(grid.content.get("report"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bench", "links_fair", "voc2vec_fair", "voc2vec_published"])
def test_large_grid_expands_on_one_corpus(name):
    grid = read_grid(GRIDS / f"{name}.yaml")
    num_corpora = len({values["corpus"] for values in unchecked_values_of(name)})
    assert len(expand_grid(with_values(grid, on_first_corpus))) * num_corpora == len(unchecked_values_of(name))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "smoke"])
def test_grid_says_what_it_is_for_and_that_it_was_not_run(name):
    text = (GRIDS / f"{name}.yaml").read_text(encoding="utf-8")
    for heading in ("Purpose:", "Hardware:", "Result: not yet run"):
        assert f"# {heading}" in text
    assert "Time unknown" in text or "hours" in text


def test_numbers_of_runs_are_those_in_the_readme():
    text = (GRIDS / "README.md").read_text(encoding="utf-8")
    listed = {name: int(number) for name, number in re.findall(r"^\| `(\w+)\.yaml` \| (\d+) \|", text, flags=re.M)}
    assert listed == {name: len(unchecked_values_of(name)) for name in NAMES}


def test_published_grids_have_the_studys_155_runs():
    runs = Counter(values["corpus"] for values in values_of(*PUBLISHED))
    assert runs == dict.fromkeys(OF_THE_STUDY, 30) | {"cnvve": 35}
    assert runs.total() == 155


def test_published_grids_have_the_studys_runs_of_each_kind():
    # The study's table of runs on one corpus, here VIVAE: what ran, and how often.
    kinds = Counter(
        (
            "whisper" if "whisper" in values["backbone"] else "other",
            values["method"],
            values["tuned_layers"] is not None,
        )
        for values in values_of(*PUBLISHED)
        if values["corpus"] == "vivae"
    )
    assert kinds == {
        ("whisper", "frozen", False): 3 + 2,  # tiny, base, small; medium, large
        ("whisper", "lora", False): 3,
        ("whisper", "adapter", False): 3,
        ("whisper", "prompt", False): 3,
        ("whisper", "lora", True): 6,
        ("other", "frozen", False): 3 + 3 + 1,  # base; large; UniSpeech-SAT base-plus
        ("other", "lora", False): 3,
    }


def test_published_runs_of_cnvve_have_five_more_of_unispeech_sat():
    more = Counter(
        (values["backbone"].removeprefix("microsoft/unispeech-sat-"), values["method"])
        for values in values_of(*PUBLISHED)
        if values["corpus"] == "cnvve" and "unispeech-sat" in values["backbone"]
    )
    assert more == {(size, method): 1 for size in ("base", "base-plus", "large") for method in ("frozen", "lora")}


def test_published_runs_have_the_studys_settings():
    for values in values_of(*PUBLISHED):
        assert (values["split_protocol"], values["seed"]) == ("stratified", 42)
        assert (values["padding"], values["pool_padding"]) == ("silence", True)
        assert values.get("adapter_adds_input", False) == (values["method"] == "adapter")
        assert values.get("num_train_epochs", 50) == 50


def test_published_layer_sets_are_clipped_to_layers_that_exist():
    layers = {
        (values["backbone"].removeprefix("openai/whisper-"), tuple(values["tuned_layers"]))
        for values in values_of("links_layer_subsets")
    }
    assert layers == {
        ("tiny", (0, 1, 2)),
        ("tiny", (3,)),
        ("base", (0, 1, 2)),
        ("base", (3, 4, 5)),
        ("small", (0, 1, 2, 3, 4, 5, 6)),
        ("small", (7, 8, 9, 10, 11)),
    }


def test_fair_grid_has_equal_halves_apart_speakers_and_three_seeds():
    runs = unchecked_values_of("links_fair")
    assert {values["split_protocol"] for values in runs} == {"speaker"}
    assert {values.get("padding", "mask") for values in runs} == {"mask"}
    assert not any(values.get("adapter_adds_input") for values in runs)
    for field in ("tuned_layers", "summed_layers"):
        halves = Counter((values["backbone"], len(values[field])) for values in runs if field in values)
        assert set(halves.values()) == {2 * 5 * 3}  # both halves are of one size; five corpora, three seeds
    seeds = Counter(tuple((name, str(value)) for name, value in values.items() if name != "seed") for values in runs)
    assert set(seeds.values()) == {3}


def test_fair_grid_tests_the_studys_four_claims():
    claims = ReportSettings.from_mapping(read_grid(GRIDS / "links_fair.yaml").content["report"]).claims
    assert len(claims) == 4
    assert {claim.split for claim in claims} == {"test"}


def test_voc2vec_grid_has_the_published_rule():
    runs = unchecked_values_of("voc2vec_published")
    assert len(runs) == 6 * 10 * 6  # corpora, folds, encoders
    assert {values["split_protocol"] for values in runs} == {f"voc2vec_fold_{fold}" for fold in range(10)}
    first = runs[0]
    assert first["method"] == "full"
    assert (first["gradient_accumulation_steps"], first["learning_rate"]) == (1, 1e-4)
    assert (first["warmup_steps"], first["early_stopping_patience"]) == (500, 5)
    assert (first["padding"], first["pool_padding"], first["class_balanced_loss"]) == ("silence", True, True)


def test_fair_voc2vec_grid_keeps_speakers_and_validation_apart():
    protocols = {values["split_protocol"] for values in unchecked_values_of("voc2vec_fair")}
    assert protocols == {f"fold_{fold}" for fold in range(10)}


SLABCNU = [f"slabcnu_table_{number}" for number in range(1, 6)]
LV60K, XLSR = "facebook/wav2vec2-large-lv60", "facebook/wav2vec2-large-xlsr-53"


@pytest.mark.parametrize("name", SLABCNU)
def test_slabcnu_grid_has_the_papers_system(name):
    for values in unchecked_values_of(name):
        # As the paper says: layer 12, batch 16, lr 1e-4, weight decay 0.0625; 2 x 512 is the LSTM's default here.
        assert (values["num_backbone_layers"], values["use_weighted_layer_sum"]) == (12, False)
        assert (values["head"], values["lstm_hidden_size"], values["lstm_bidirectional"]) == ("lstm", 512, False)
        assert values["per_device_train_batch_size"] * values["gradient_accumulation_steps"] == 16
        assert (values["learning_rate"], values["weight_decay"]) == (1e-4, 0.0625)
        assert values["num_train_epochs"] == (50 if name == "slabcnu_table_5" else 20)
        assert values["corpus"] == "hume_vb"


def test_slabcnu_grids_have_the_cells_of_the_papers_tables():
    cells = {
        name: Counter(
            tuple(values.get(field) for field in ("split_protocol", "backbone", "pooling", "loss", "lstm_layers"))
            for values in unchecked_values_of(name)
        )
        for name in SLABCNU
    }
    tasks = ("two", "high", "culture", "type")
    backbones = ("facebook/wav2vec2-base", "facebook/wav2vec2-large", LV60K, XLSR)
    expected = {
        "slabcnu_table_1": [(task, name, "last", None, 2) for task in tasks for name in backbones],
        "slabcnu_table_2": [
            ("high", name, pooling, None, 2) for name in (LV60K, XLSR) for pooling in ("first", "max", "mean", "last")
        ],
        "slabcnu_table_3": [("high", name, "last", loss, 2) for name in (LV60K, XLSR) for loss in ("mse", "ccc")],
        # The mean over frames is ours: without it, LSTM and pooling change together.
        "slabcnu_table_4": [
            (task, LV60K, pooling, None, layers) for task in tasks for pooling in ("last", "mean") for layers in (0, 2)
        ],
        "slabcnu_table_5": [
            (task, name, "last", None, 2) for task, name in zip(tasks, (XLSR, LV60K, LV60K, XLSR), strict=True)
        ],
    }
    assert cells == {name: dict.fromkeys(keys, 3) for name, keys in expected.items()}  # three seeds each


@pytest.mark.parametrize("name", SLABCNU)
def test_slabcnu_grid_is_planned_as_trainings_with_a_report_of_its_table(name):
    grid = read_grid(GRIDS / f"{name}.yaml")
    assert {run.recipe for run in runs_of(name)} == {"train"}
    report = ReportSettings.from_mapping(grid.content["report"])
    assert report.metric in ("ccc", "mean_score")
    assert "validation" in report.splits
    assert {claim.split for claim in report.claims} <= {"validation"}  # as published; test targets were withheld


def test_frozen_backbone_is_trained_live_where_a_probe_cannot_do_it():
    assert default_recipe({"method": "frozen"}) == "probe"
    assert default_recipe({"method": "lora"}) == "train"
    for values in ({"target_columns": ["Awe"]}, {"tasks": {}}, {"head": "lstm", "pooling": "mean"}):
        assert default_recipe({"method": "frozen", **values}) == "train"


def test_benchmark_has_every_corpus_each_system_and_marks_what_was_heard_before():
    runs = unchecked_values_of("bench")
    corpora = {values["corpus"] for values in runs}
    assert corpora == {*OF_THE_STUDY, "donateacry", "vocalsound"}
    assert {values["split_protocol"] for values in runs} == {"speaker"}
    systems = {
        (values.get("backbone", values.get("features")), values.get("method", values.get("classifier")))
        for values in runs
    }
    for corpus in corpora:
        assert systems == {
            (values.get("backbone", values.get("features")), values.get("method", values.get("classifier")))
            for values in runs
            if values["corpus"] == corpus
        }
    settings = ReportSettings.from_mapping(read_grid(GRIDS / "bench.yaml").content["report"])
    assert settings.score
    voc2vec = {values["backbone"] for values in runs if "voc2vec" in values.get("backbone", "")}
    assert len(voc2vec) == 4
    assert dict(settings.seen_in_pretraining) == {backbone: ["recanvo", "vocalsound"] for backbone in voc2vec}
