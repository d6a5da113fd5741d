"""What recipes can be told about uploading: their results, a report on a model, or the model itself.

The fields have the names and meanings of `transformers.TrainingArguments`, where it has them. Own work.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from huggingface_hub.utils import validate_repo_id

__all__ = ["ModelPushArguments", "PushArgumentsError", "ReportPushArguments", "ResultsPushArguments"]

_IDS = ("hub_dataset_id", "hub_model_id")


class PushArgumentsError(ValueError):
    """What a recipe was told about uploading contradicts itself, or what it does."""


@dataclass
class _PushArguments:
    """Where an upload goes, and who may read it.

    Raises:
        PushArgumentsError: For a field without effect, and a repository that the Hub cannot have.
    """

    push_to_hub: bool = field(default=False, metadata={"help": "Upload it to the Hub when it is written."})
    hub_revision: str | None = field(default=None, metadata={"help": "Branch, made if missing; none: main."})
    hub_token: str | None = field(
        default=None, metadata={"help": "Access token; none: HF_TOKEN or what hf auth login saved. Never written."}
    )

    def __post_init__(self) -> None:
        """Check every field."""
        if not self.push_to_hub:
            # A token is no setting that would have an effect: it may stand in a file of one's own.
            without = [one.name for one in fields(self) if one.name != "hub_token"]
            for name in without:
                if getattr(self, name) not in (None, False):
                    raise PushArgumentsError(
                        f"{name}: {getattr(self, name)!r} has no effect without --push_to_hub true; leave it out."
                    )
            if getattr(self, "hub_private_repo", None) is False:
                raise PushArgumentsError("hub_private_repo: has no effect without --push_to_hub true; leave it out.")
        for name in _IDS:
            if getattr(self, name, None) is not None:
                try:
                    validate_repo_id(getattr(self, name))
                except ValueError as error:
                    raise PushArgumentsError(f"{name}: {error}") from error


@dataclass
class ModelPushArguments(_PushArguments):
    """Where a model goes that a recipe changed."""

    hub_model_id: str | None = field(
        default=None,
        metadata={
            "help": "The model's repository on the Hub, OWNER/NAME; none: the one that an adapter's folder names, else "
            "the folder's name in your own namespace."
        },
    )
    hub_private_repo: bool | None = field(
        default=None,
        metadata={"help": "Whether only its owners may read the repository; none: as the Hub has it, public for most."},
    )


@dataclass
class ResultsPushArguments(_PushArguments):
    """Where results go: into a dataset repository, each report in a folder and a config of its own."""

    hub_dataset_id: str | None = field(
        default=None,
        metadata={
            "help": "Dataset repository for results, OWNER/NAME, or NAME in your own namespace: made if missing, with "
            "a card, and the table as Parquet, so that load_dataset(ID, REPORT) shows it."
        },
    )
    hub_private_repo: bool | None = field(
        default=None,
        metadata={
            "help": "Whether only its owners may read that repository; none: true. Public is refused where clips are "
            "named of a corpus that may not be handed on in public."
        },
    )

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        self._check_destination()

    def _check_destination(self) -> None:
        if self.push_to_hub and self.hub_dataset_id is None:
            raise PushArgumentsError(
                "hub_dataset_id: expected a dataset repository for the results, found none. Pass --hub_dataset_id "
                "OWNER/NAME."
            )


@dataclass
class ReportPushArguments(ResultsPushArguments):
    """Where a report on a model goes: below `evaluations/` in the model's own repository, or among other results."""

    hub_model_id: str | None = field(
        default=None,
        metadata={
            "help": "The model's own repository, where the report goes below evaluations/; none: the model's id on the "
            "Hub. For somebody else's model, name a repository for results (hub_dataset_id)."
        },
    )

    def _check_destination(self) -> None:
        if self.hub_dataset_id is not None and self.hub_model_id is not None:
            raise PushArgumentsError("hub_model_id, hub_dataset_id: expected one of the two; found both.")
        if self.push_to_hub and self.hub_dataset_id is None and self.hub_private_repo is not None:
            raise PushArgumentsError(
                "hub_private_repo: has no effect on the model's own repository, which is as it is; leave it out, or "
                "name a repository for results (--hub_dataset_id OWNER/NAME)."
            )
