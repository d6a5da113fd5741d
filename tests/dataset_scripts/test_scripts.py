"""What holds for every loading script and its card."""

import ast
import importlib.resources
import sys

import pytest
from huggingface_hub import DatasetCard

from nvv.data import corpus_builder, list_corpora

SCRIPTS = importlib.resources.files("nvv.dataset_scripts")


@pytest.mark.parametrize("name", list_corpora())
def test_script_imports_only_datasets_nvv_and_the_standard_library(name):
    tree = ast.parse((SCRIPTS / name / f"{name}.py").read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.partition(".")[0])
    assert imported - set(sys.stdlib_module_names) <= {"datasets", "nvv"}


@pytest.mark.parametrize("name", list_corpora())
def test_card_agrees_with_the_script(name):
    builder_class = corpus_builder(name)
    facts = builder_class.FACTS
    card = DatasetCard.load(SCRIPTS / name / "README.md")
    card_data = card.data.to_dict()
    assert card_data["license"] == facts.licence
    assert card_data["pretty_name"] == facts.pretty_name
    assert card_data["task_categories"] == ["audio-classification"]
    assert ("synthetic" in card_data["tags"]) is facts.is_synthetic
    assert ("no evidence" in card.text) is facts.is_synthetic
    for label in builder_class.LABELS or ():
        assert label in card.text
    for column in ("audio", "label", "file", "speaker_id", *builder_class.METADATA):
        assert f"`{column}`" in card.text


@pytest.mark.parametrize("name", list_corpora())
def test_script_has_every_protocol_and_a_default_that_leaks_no_speaker(name):
    builder_class = corpus_builder(name)
    configs = {config.name: config.protocol for config in builder_class.BUILDER_CONFIGS}
    if "speaker" not in configs:  # tasks of a challenge, all with the official split
        assert builder_class.DEFAULT_CONFIG_NAME in configs
        return
    # The authors' own split wins where there is one; no model should meet its test clips by default.
    assert ("official" if "official" in configs else "speaker") == builder_class.DEFAULT_CONFIG_NAME
    assert {"speaker", "stratified", "fold_0", "fold_1", "fold_2"} <= set(configs)
    assert all(name == protocol for name, protocol in configs.items())


def test_list_of_corpora_is_complete():
    assert list_corpora() == [
        "asvp_esd",
        "asvp_esd_babies",
        "cnvve",
        "donateacry",
        "hume_vb",
        "nonverbal_vocalization",
        "recanvo",
        "synthetic",
        "vivae",
        "vocalsound",
    ]


def test_script_loads_the_classic_way(raw_folder, load_classically):
    loaded = load_classically("nonverbal_vocalization", raw_folder)
    assert sum(loaded.num_rows.values()) == 36
