"""Uploads a finished run to the Hub in one commit. What is uploaded is written by others. Own work."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi

from ..hub.client_errors import CLIENT_FAILURES, describe_failure
from ..hub.model_card import CardFacts, write_model_card
from ..hub.repository import set_repository_id
from .arguments import NvvTrainingArguments

NOT_UPLOADED = ("checkpoint-*", "checkpoint-*/**", ".partial-*", ".partial-*/**", ".cache/**", "runs/**", "*.tmp")


class PushError(RuntimeError):
    """The upload failed; the run's folder is complete."""


def push_run(output_dir: Path, *, training: NvvTrainingArguments, dataset_id: str | None = None) -> str:
    """Upload a run's folder, without its checkpoints.

    Args:
        output_dir: the run's folder.
        training: gives `hub_model_id` (default: the folder's name in the user's own namespace), `hub_token`,
            `hub_private_repo` and `hub_revision`.
        dataset_id: the corpus's id on the Hub, for the card's metadata.

    Returns:
        The repository's id.

    Raises:
        PushError: if the Hub cannot be reached or refuses; says how to upload later.
    """
    name = training.hub_model_id or output_dir.resolve().name
    api = HfApi(token=training.hub_token)
    if "/" in name:  # so that the folder is right too where it is uploaded later, by hand
        set_repository_id(output_dir, name)
    try:
        repository_id = api.create_repo(name, private=training.hub_private_repo, exist_ok=True).repo_id
        set_repository_id(output_dir, repository_id)
        write_model_card(
            output_dir, CardFacts.from_directory(output_dir, repository_id=repository_id, dataset_id=dataset_id)
        )
        api.upload_folder(
            repo_id=repository_id,
            folder_path=output_dir,
            revision=training.hub_revision,
            ignore_patterns=list(NOT_UPLOADED),
            commit_message="Upload classifier, results and card",
        )
    except CLIENT_FAILURES as error:
        excluded = " ".join(f"--exclude '{pattern}'" for pattern in NOT_UPLOADED)
        raise PushError(
            f"push_to_hub: the upload to {name} failed ({describe_failure(error)}). The run in {output_dir} is "
            f"complete; upload it later with: hf upload {name} {output_dir} . {excluded}"
        ) from error
    return repository_id
