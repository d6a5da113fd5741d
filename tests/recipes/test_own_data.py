from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from nvv.training.config_files import parse_arguments
from nvv.training.run import train

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def sources(make_split, tmp_path):
    """The same thirty tones as each recipe of `own_data` wants them: a table, class folders, a dataset."""
    split = make_split([0.1] * 30)
    names = split.features["label"].names
    rows = ["path,label,speaker"]
    for number, clip in enumerate(split):
        label = names[clip["label"]]
        file = tmp_path / "clips" / label / f"{number:02d}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(clip["audio"]["bytes"])
        rows.append(f"clips/{label}/{number:02d}.wav,{label},S{number % 10}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    for part, clips in (("train", split.select(range(24))), ("test", split.select(range(24, 30)))):
        (tmp_path / "dataset").mkdir(exist_ok=True)
        clips.to_parquet(tmp_path / "dataset" / f"{part}.parquet")
    return {"table": tmp_path / "clips.csv", "class_folders": tmp_path / "clips", "dataset": tmp_path / "dataset"}


@pytest.mark.parametrize(
    ("recipe", "protocol"), [("table", "speaker"), ("class_folders", "stratified"), ("dataset", "given")]
)
def test_recipe_trains_two_steps_on_data_of_ones_own(
    recipe, protocol, sources, tiny_backbone_config, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    tiny_backbone_config("whisper").save_pretrained(tmp_path / "tiny")
    files = ["base/whisper_tiny.yaml", "base/frozen.yaml", f"own_data/{recipe}.yaml"]
    options = {
        "backbone": str(tmp_path / "tiny"),
        "random_init": "true",
        "max_seconds": "2",
        "corpus": str(sources[recipe]),
        "max_steps": "2",
        "num_bootstrap_resamples": "20",
        "disable_tqdm": "true",
        "output_dir": str(tmp_path / "run"),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    result = train(parse_arguments([*(str(RECIPES / file) for file in files), *words]))
    assert result.metrics["corpus"]["config"] == protocol
    assert (tmp_path / "run" / "README.md").is_file()
