from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from nvv.known_backbones_nvv import KNOWN_BACKBONES, known_backbone_config
from nvv.training.config_files import parse_arguments
from nvv.training.run import train

RECIPES = Path(__file__).parents[2] / "recipes"
FILES = sorted(path for path in RECIPES.rglob("*.yaml") if path.parent.name not in ("accelerate_configs", "grids"))
WHOLE_RUNS = sorted(path for path in (RECIPES / "nonverbal_vocalization").glob("*.yaml") if path.name != "base.yaml")


def _name(path):
    return str(path.relative_to(RECIPES))


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_every_recipe_is_read_and_says_what_it_is_for(file, tmp_path):
    parse_arguments([str(file), "--output_dir", str(tmp_path)])
    assert file.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_every_backbone_of_a_recipe_can_be_built_without_a_network(file):
    backbone = yaml.safe_load(file.read_text(encoding="utf-8")).get("backbone")
    assert backbone is None or backbone in KNOWN_BACKBONES


@pytest.mark.parametrize("file", WHOLE_RUNS, ids=_name)
def test_whole_runs_name_everything_and_their_source(file):
    text = file.read_text(encoding="utf-8")
    for heading in ("Purpose:", "Follows:", "Departs:", "Hardware:", "Result:"):
        assert f"# {heading}" in text
    assert {"backbone", "corpus", "split_protocol", "method"} <= yaml.safe_load(text).keys()


def test_every_family_has_a_recipe():
    backbones = " ".join(yaml.safe_load(file.read_text(encoding="utf-8"))["backbone"] for file in WHOLE_RUNS)
    for family in ("whisper", "wav2vec2", "hubert", "wavlm", "unispeech-large", "unispeech-sat"):
        assert family in backbones


@pytest.mark.parametrize("method", ["frozen", "full", "partial", "lora", "adapter", "prompt", "combined"])
def test_method_of_a_recipe_can_be_overridden(method, tmp_path):
    file = RECIPES / "nonverbal_vocalization" / "whisper_tiny_lora_012.yaml"
    run = parse_arguments([str(file), "--method", method, "--output_dir", str(tmp_path)])
    assert run.tuning.method == method


def test_grid_is_reached_by_layering(tmp_path):
    parts = ("base/whisper_small.yaml", "nonverbal_vocalization/base.yaml", "base/adapter.yaml")
    published = ("links_published.yaml", "links_published_adapter.yaml")
    files = [str(RECIPES / name) for name in (*parts, *published)]
    run = parse_arguments([*files, "--output_dir", str(tmp_path)])
    assert (run.model.backbone, run.data.corpus) == ("openai/whisper-small", "nonverbal_vocalization")
    assert run.tuning.adapter_adds_input
    # As published: 7 s of silence, heard and pooled over; 80/10/10 by label; no length grouping.
    assert (run.model.padding, run.model.padding_seconds, run.model.pool_padding) == ("silence", 7.0, True)
    assert run.data.split_protocol == "stratified"
    assert run.training.train_sampling_strategy == "random"


@pytest.mark.parametrize("file", sorted((RECIPES / "accelerate_configs").glob("*.yaml")), ids=_name)
def test_launcher_settings_are_read_by_accelerate(file):
    from accelerate.commands.config.config_args import load_config_from_file

    expected = int(re.search(r"_(\d)\.yaml", file.name)[1])
    assert load_config_from_file(str(file)).num_processes == expected


def test_readme_names_files_that_exist():
    text = (RECIPES / "README.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"recipes/([\w/]+\.(?:py|yaml))", text)):
        assert (RECIPES / name).is_file(), name
    for name in set(re.findall(r"`([\w/]+/?)`", text)):
        if name.endswith("/"):
            assert (RECIPES / name).is_dir(), name


@pytest.mark.parametrize(
    "layers",
    [
        ["nonverbal_vocalization/whisper_tiny_lora_012.yaml"],
        ["base/whisper_base.yaml", "base/prompt.yaml", "nonverbal_vocalization/base.yaml", "links_published.yaml"],
        ["nonverbal_vocalization/wav2vec2_base_lora.yaml"],
        ["nonverbal_vocalization/unispeech_sat_base_plus_frozen.yaml"],
    ],
    ids=lambda layers: layers[0],
)
def test_recipe_runs_two_steps_with_a_tiny_backbone(layers, tiny_backbone_config, corpus_folder, tmp_path):
    files = [str(RECIPES / name) for name in layers]
    backbone = parse_arguments([*files, "--output_dir", str(tmp_path)]).model.backbone
    tiny_backbone_config(known_backbone_config(backbone).model_type).save_pretrained(tmp_path / "tiny")
    small = {
        "backbone": str(tmp_path / "tiny"),
        "random_init": "true",
        "max_seconds": "2",
        "padding_seconds": "2.5",
        "corpus": str(corpus_folder),
        "split_protocol": "speaker",
        "data_cache_dir": str(tmp_path / "cache"),
        "num_train_epochs": "2",
        "gradient_accumulation_steps": "1",
        "per_device_train_batch_size": "24",
        "tuned_layers": "none",
        "num_bootstrap_resamples": "20",
        "bf16": "false",
        "disable_tqdm": "true",
    }
    options = [word for name, value in small.items() for word in (f"--{name}", value)]
    result = train(parse_arguments([*files, *options, "--output_dir", str(tmp_path / "run")]))
    assert (tmp_path / "run" / "README.md").is_file()
    assert result.metrics["training"]["best_step"] in (1, 2)
