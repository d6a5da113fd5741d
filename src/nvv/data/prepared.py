"""What ``nvv prepare`` leaves in a folder, for all that reads, replaces or hands on such folders.

Writing them is ``nvv.hub.dataset_repository``'s.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from huggingface_hub import metadata_load

__all__ = ["CARD", "EXCLUDED_LIST", "SKIPPED_LIST", "is_prepared"]

CARD = "README.md"
SKIPPED_LIST = "skipped.csv"
EXCLUDED_LIST = "excluded.csv"


def is_prepared(folder: Path) -> bool:
    """Say by its card whether ``nvv prepare`` wrote a folder; then a file name means one clip in every config."""
    card = folder / CARD
    if not card.is_file():
        return False
    try:
        header = metadata_load(card) or {}
    except (ValueError, yaml.YAMLError):  # ValueError: not text, or a header that is no mapping
        return False
    return "nvv" in (header.get("tags") or [])
