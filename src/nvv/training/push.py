"""Uploads a run's folder where its training arguments say; the upload itself is `nvv.hub.push`'s. Own work."""

from __future__ import annotations

from pathlib import Path

from transformers.utils import logging

from ..hub.push import PushError, push_repository
from .arguments import NvvTrainingArguments

__all__ = ["PushError", "push_run"]

logger = logging.get_logger(__name__)


def push_run(output_dir: Path, *, training: NvvTrainingArguments, dataset_id: str | None = None) -> str:
    """Upload a run's folder, without its checkpoints, in one commit.

    Args:
        output_dir: the run's folder.
        training: gives `hub_model_id` (default: the folder's name in the user's own namespace), `hub_token`,
            `hub_private_repo` (None: as the Hub has it) and `hub_revision`.
        dataset_id: the corpus's id on the Hub, for the card's metadata.

    Returns:
        The repository's id.

    Raises:
        PushError: if the Hub cannot be reached or refuses; says how to push later.
    """
    pushed = push_repository(
        output_dir,
        training.hub_model_id or output_dir.resolve().name,
        private=training.hub_private_repo,
        revision=training.hub_revision,
        token=training.hub_token,
        dataset_id=dataset_id,
    )
    for notice in pushed.notices:
        logger.warning(notice)
    return pushed.repository_id
