"""What the README prints works as printed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_links_lead_to_files_in_the_project():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert [link for link in local if not (ROOT / link).is_file()] == []


def test_recipes_that_are_named_exist():
    named = set(re.findall(r"recipes/[\w/]+\.(?:py|yaml|md)", README))
    assert len(named) > 3
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.slow
def test_preparing_and_loading_the_synthetic_corpus_works_as_printed(tmp_path):
    lines = [line for block in code_blocks("bash") for line in block.splitlines()]
    start = lines.index("nvv prepare synthetic")
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "HF_HOME": str(tmp_path / "hf")}
    printed = []
    for line in lines[start : start + 2]:
        done = subprocess.run(
            shlex.split(line), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-2000:]
        printed.append(done.stdout)
    assert "480 clips in " in printed[0]
    # 8 classes of 60 clips, each cut 48 / 6 / 6
    assert re.findall(r"num_rows: (\d+)", printed[1]) == ["384", "48", "48"]


@pytest.mark.slow
def test_python_example_runs_with_random_weights():
    block = next(block for block in code_blocks("python") if "from_backbone" in block)
    assert "num_labels=6)  # or random_init=True" in block
    block = block.replace("num_labels=6)  # or", "num_labels=6, random_init=True)  # or")
    result: dict = {}
    exec(compile(block, "README.md", "exec"), result)
    assert result["logits"].shape == (1, 6)
