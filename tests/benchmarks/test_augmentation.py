import importlib
import json
import sys
from pathlib import Path

import pytest

from nvv.data.augmentation import TRANSFORMS


@pytest.mark.slow
def test_script_measures_every_transform_when_tried_out(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for name in ("_side_by_side", "augmentation"):
        sys.modules.pop(name, None)
    importlib.import_module("augmentation").main(["--quick", "--json", str(tmp_path / "figures.json")])
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert set(TRANSFORMS) - {"coded"} | {"the recipe", "frozen", "lora"} <= set(figures)
    assert all(0 < figures[method]["share"] < 1 for method in ("frozen", "lora"))
    printed = capsys.readouterr().out
    assert "| reverberation |" in printed
    assert "the figures mean nothing" in printed
    for name in ("_side_by_side", "augmentation"):
        sys.modules.pop(name, None)
