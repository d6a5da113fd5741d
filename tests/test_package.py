import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nvv

ROOT = Path(__file__).parents[1]


def test_importing_is_quiet_and_leaves_datasets_alone():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, nvv; assert 'datasets' not in sys.modules; nvv.load_corpus"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_works_beside_a_folder_of_prepared_corpora(tmp_path):
    # `nvv prepare` writes to nvv/<corpus> by default; Python takes such a folder for a namespace package.
    (tmp_path / "nvv" / "synthetic").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", "import nvv; print(nvv.list_corpora())"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "synthetic" in done.stdout


def test_public_names_exist():
    assert all(hasattr(nvv, name) for name in nvv.__all__)
    with pytest.raises(AttributeError, match="'nvv' has no attribute 'laod_corpus'"):
        nvv.laod_corpus  # noqa: B018


def test_version_has_one_value():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == nvv.__version__
    assert f"## {nvv.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_imports_of_the_remote_code_bundle_stay_inside_it():
    allowed = {"torch", "transformers", "peft", "safetensors"} | set(sys.stdlib_module_names)
    bundle = sorted((ROOT / "src" / "nvv").glob("*_nvv.py"))
    assert len(bundle) > 5
    for path in bundle:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, path.name
            elif isinstance(node, ast.ImportFrom) and node.level:
                assert (node.level, node.module[-4:]) == (1, "_nvv"), f"{path.name}: {node.module}"
            elif isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in allowed, f"{path.name}: {node.module}"


def test_every_package_and_corpus_is_in_the_wheels_list():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(setup["options"]["packages"].split())
    modules = {path.parent.relative_to(ROOT / "src") for path in (ROOT / "src").glob("nvv/**/*.py")}
    expected = {".".join(folder.parts) for folder in modules} | {"nvv.dataset_scripts", "nvv.model_cards"}
    expected |= {f"nvv.dataset_scripts.{path.parent.name}" for path in (ROOT / "dataset_scripts").glob("*/*.py")}
    assert listed == expected
