import json
from pathlib import Path

import numpy as np
import pytest

from nvv.audio import encode_wav

LABELS = {4: "coughing", 11: "crying", 12: "laughing"}


@pytest.fixture
def raw_folder(tmp_path) -> Path:
    """The release's layout in small: twelve speakers, three classes, one clip of each, plus the metadata file."""
    root = tmp_path / "release"
    speakers = {}
    for number in range(12):
        speaker = f"AB{number:02d}"
        for code, label in LABELS.items():
            path = root / "dataset" / label / f"{speaker}_{code}_{number + 1}_{number % 2}_{20 + number}_1_0_1.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_wav(np.full(20 + number + code, 0.1)))
        speakers[speaker] = {"sex": ("Female", "Male")[number % 2], "age": 20 + number, "class": list(LABELS.values())}
    speakers["AB01"] |= {"sex": "Female", "age": 41}  # the release, too, disagrees with itself
    del speakers["AB02"]
    (root / "dataset" / "Nonverbal_Vocalization_metadata.json").write_text(json.dumps(speakers), encoding="utf-8")
    (root / "README.md").write_text("the release's own")
    return root
