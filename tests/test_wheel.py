"""The wheel carries the folders that stand outside `src/`, and a card can be made from it alone."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RENDER = """
import json, sys
import nvv
from nvv.hub.model_card import load_template
from nvv.training.results import RunFacts, SplitPredictions, build_metrics, write_metrics
from nvv.hub.model_card import write_model_card

folder = sys.argv[1]
split = SplitPredictions(split="test", files=["a", "b"], references=[0, 1], probabilities=[[0.9, 0.1], [0.6, 0.4]])
facts = RunFacts(
    corpus={"name": "tiny", "licence": "mit"}, corpus_config="speaker", backbone_id="openai/whisper-tiny",
    random_init=True, method="frozen", total_parameters=10, trainable_parameters=1, seed=0, device="cpu",
)
write_metrics(folder + "/metrics.json", build_metrics([split], facts, label_names=["cough", "laugh"], num_resamples=10))
with open(folder + "/config.json", "w") as handle:
    json.dump({"id2label": {"0": "cough", "1": "laugh"}}, handle)
write_model_card(folder)
print(nvv.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: building in place would leave build/ in the checkout, or pack what an older build left there.
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("src", "dataset_scripts", "model_cards"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    # The build itself is isolated: pip fetches setuptools for it, so this is the one test that needs a package index.
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--quiet", "--wheel-dir", str(folder)],
        check=True,
        timeout=300,
    )
    (built,) = folder.glob("nvv-*.whl")
    unpacked = folder / "unpacked"
    with zipfile.ZipFile(built) as archive:
        archive.extractall(unpacked)
    return unpacked


@pytest.mark.slow
def test_wheel_holds_every_package_and_file_of_the_checkout(wheel):
    expected = {path.relative_to(ROOT / "src" / "nvv") for path in (ROOT / "src" / "nvv").rglob("*.py")}
    expected |= {Path("model_cards") / path.name for path in (ROOT / "model_cards").glob("*.md")}
    for pattern in ("*/*.py", "*/README.md"):
        expected |= {path.relative_to(ROOT) for path in (ROOT / "dataset_scripts").glob(pattern)}
    packed = {path.relative_to(wheel / "nvv") for path in (wheel / "nvv").rglob("*") if path.is_file()}
    assert expected <= packed, sorted(map(str, expected - packed))
    assert Path("model_cards/model_card_template.md") in packed
    assert any(path.parts[0] == "dataset_scripts" and path.name != "__init__.py" for path in packed)


@pytest.mark.slow
def test_card_is_rendered_from_the_wheels_template(wheel, tmp_path):
    # A mark in the wheel's copy shows that this one was read and not the checkout's.
    template = wheel / "nvv" / "model_cards" / "model_card_template.md"
    template.write_text(template.read_text(encoding="utf-8") + "\nfrom the wheel\n", encoding="utf-8")
    # sys.path is set inside: an editable install's finder would otherwise come before PYTHONPATH.
    program = "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
    program += f"sys.path.insert(0, {str(wheel)!r})\n{RENDER}"
    completed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.strip() == str(wheel / "nvv" / "__init__.py")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.rstrip().endswith("from the wheel")
    assert "**No evidence.**" in card
