"""The folder of a Space: complete, replaced with care, and its page runs on its own copy of the package."""

import ast
import sys
from pathlib import Path

import gradio
import gradio_client
import pytest
import yaml
from gradio_client import handle_file
from huggingface_hub import HfApi
from packaging.requirements import Requirement

import nvv
from nvv.demo.answers import answer_recording
from nvv.demo.models import DemoError
from nvv.demo.space import write_space
from nvv.inference.load import load_classifier


def card_of(space):
    return yaml.safe_load((space / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def test_space_holds_page_code_models_and_requirements(make_model_folder, tmp_path):
    folder = make_model_folder("lora")
    (folder / "checkpoint-3").mkdir()
    (folder / ".cache").mkdir()
    space = write_space([str(folder)], tmp_path / "space", dtype="bfloat16")
    assert {path.name for path in space.iterdir()} == {"README.md", "app.py", "requirements.txt", "nvv", "models"}
    card = card_of(space)
    assert card["sdk"] == "gradio"
    assert card["sdk_version"] == gradio.__version__
    assert card["python_version"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (space / card["app_file"]).is_file()
    assert len(card["short_description"]) <= 60  # what the Hub allows
    assert "models" not in card
    code = (space / "app.py").read_text()
    ast.parse(code)
    assert "'models/lora'" in code
    assert "dtype='bfloat16'" in code
    copied = {path.name for path in (space / "models" / "lora").iterdir()}
    assert {"config.json", "adapter_model.safetensors", "preprocessor_config.json"} <= copied
    assert not copied & {"checkpoint-3", ".cache"}
    source = Path(nvv.__file__).parent
    for name in ("demo/page.py", "dataset_scripts/vivae/vivae.py", "model_cards/model_card_template.md"):
        assert (space / "nvv" / name).read_bytes() == (source / name).read_bytes()
    assert not list((space / "nvv").rglob("__pycache__"))


def test_requirements_are_the_packages_own_without_itself_and_other_extras(make_model_folder, tmp_path):
    space = write_space([str(make_model_folder("lora"))], tmp_path / "space")
    names = [Requirement(line).name for line in (space / "requirements.txt").read_text().splitlines()]
    assert {"torch", "transformers", "peft", "soundfile", "gradio"} <= set(names)
    assert not {"nvv", "pytest", "opensmile", "submitit"} & set(names)


def test_models_on_the_hub_are_named_and_not_copied(hub, make_model_folder, tmp_path):
    folder = make_model_folder("lora")
    client = HfApi(endpoint=hub.url)
    client.create_repo("ada/lora")
    commit = client.upload_folder(repo_id="ada/lora", folder_path=folder).oid
    space = write_space(["ada/lora", f"ada/lora@{commit}"], tmp_path / "space", allow_any=True)
    assert card_of(space)["models"] == ["ada/lora"]
    code = (space / "app.py").read_text()
    assert f"'ada/lora@{commit}'" in code
    assert "allow_any=True" in code
    assert not (space / "models").exists()


def test_earlier_space_is_replaced_and_anything_else_refused(make_model_folder, tmp_path):
    folder = str(make_model_folder("lora"))
    space = write_space([folder], tmp_path / "space")
    (space / "app.py").write_text("old")
    write_space([folder], space)
    assert "serve_page" in (space / "app.py").read_text()
    (space / "notes.txt").write_text("mine")
    with pytest.raises(DemoError, match=r"space holds notes\.txt"):
        write_space([folder], space)
    assert (space / "notes.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("---\ntags: [nvv]\n---\n")
    with pytest.raises(DemoError, match="was not written by nvv demo"):
        write_space([folder], other)
    assert not list(tmp_path.glob(".incomplete-*"))


def test_model_is_refused_when_its_encoder_lies_in_a_folder_here(make_model_folder, tmp_path):
    folder = make_model_folder("lora", has_encoder_weights=True)
    with pytest.raises(DemoError, match=r"takes its encoder from the folder .*trained_whisper"):
        write_space([str(folder)], tmp_path / "space")
    assert not (tmp_path / "space").exists()


@pytest.mark.slow
def test_space_runs_on_its_own_copy_of_the_package(
    make_model_folder, write_recording, serving, offline_environment, tmp_path
):
    folder, path = make_model_folder("lora"), write_recording(1.5)
    expected = answer_recording(load_classifier(str(folder)), path).as_json()
    space = write_space([str(folder)], tmp_path / "space")
    for name in ("lora", "tiny_whisper"):
        (tmp_path / name).rename(tmp_path / f"{name}_elsewhere")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    # Wherever an installed nvv would be found, it is not; the script's own folder comes into the path later.
    (hidden / "sitecustomize.py").write_text(
        "import pathlib, sys\n"
        "sys.path[:] = [entry for entry in sys.path if not (pathlib.Path(entry) / 'nvv' / '__init__.py').exists()]\n"
    )
    environment = {**offline_environment, "PYTHONPATH": str(hidden)}
    with serving(lambda port: [sys.executable, space / "app.py"], environment=environment, folder=tmp_path) as page:
        client = gradio_client.Client(page[0], verbose=False, analytics_enabled=False)
        answer = client.predict("models/lora", handle_file(path), api_name="/classify")
    assert answer["answers"][0]["values"] == pytest.approx(expected["answers"][0]["values"], abs=1e-5)


def test_whole_model_is_copied_though_its_encoder_came_from_a_folder(make_model_folder, tmp_path):
    folder = make_model_folder("whole", method="full", has_encoder_weights=True)
    space = write_space([str(folder)], tmp_path / "space")
    assert (space / "models" / "whole" / "model.safetensors").is_file()
