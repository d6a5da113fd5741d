"""Uploads a recipe's report to the Hub in one commit.

A report on one model goes below ``evaluations/`` in the model's own repository; any report may go into a dataset
repository of results instead, private unless asked otherwise, with a card and its table as Parquet. Where a report
names clips of a corpus that may not be handed on in public, it is not uploaded where everybody can read it. What is in
a report's folder is `results`' to know. Own work.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import DatasetInfo, ModelInfo, RepoFile

from .commits import HUB_FILE, commit_files, is_same_content, remote_text
from .model_card import CARD_FILE
from .push import (
    PushedRepository,
    PushError,
    check_repository_id,
    explaining,
    open_branch,
    push_repository,
    require_own_model,
    require_visibility,
)
from .push_arguments import ModelPushArguments, PushArgumentsError, ReportPushArguments, ResultsPushArguments
from .repository import repository_of_adapter
from .results import SCORES_FILE, Report, read_report
from .results_card import described, render_results_card, reports_of_card
from .retries import retrying_requests
from .run_folder import RunFolderError, names_clips, read_finished_run, why_clips_are_private

__all__ = [
    "EVALUATIONS_FOLDER",
    "check_destination",
    "check_model",
    "push_asked_model",
    "push_asked_report",
    "push_report",
]

EVALUATIONS_FOLDER = "evaluations"
"""Where reports stand in a model's repository."""


def check_destination(push: ReportPushArguments, model: str) -> ReportPushArguments:
    """Find the model's repository where none was named, before anything is computed.

    Args:
        push: What the recipe was told.
        model: The model that the report is on, as the recipe was told: a folder or a Hub id.

    Returns:
        The same with a destination, if anything is to be uploaded.

    Raises:
        PushArgumentsError: If nothing says which repository is meant.
    """
    if not push.push_to_hub or push.hub_dataset_id is not None or push.hub_model_id is not None:
        return push
    folder = Path(model).expanduser()
    name = repository_of_adapter(folder) if folder.is_dir() else model
    if name is None or "/" not in name:
        raise PushArgumentsError(
            f"hub_model_id: {model} does not say which repository it is; pass --hub_model_id OWNER/NAME, or "
            "--hub_dataset_id OWNER/NAME for a repository of results."
        )
    return type(push)(**{**vars(push), "hub_model_id": name})


def check_model(push: ModelPushArguments, model: str, *, is_stored: bool) -> None:
    """Refuse what cannot be uploaded afterwards, before anything is computed.

    Args:
        push: What the recipe was told.
        model: The model's folder, as the recipe was told.
        is_stored: Whether what the recipe finds is stored in it.

    Raises:
        PushArgumentsError: If it is not, or the folder holds no finished run.
    """
    if not push.push_to_hub:
        return
    if not is_stored:
        raise PushArgumentsError("push_to_hub: uploads the model with what is stored in it; leave store_in_model true.")
    try:
        read_finished_run(Path(model).expanduser())
    except RunFolderError as error:
        raise PushArgumentsError(f"push_to_hub: {error}") from error


def push_asked_model(folder: Path, push: ModelPushArguments, *, report: Path) -> PushedRepository | None:
    """Upload a model that a recipe changed, and the report on the change, in one commit, if that was asked for.

    Args:
        folder: The model's, a finished run's.
        push: What the recipe was told.
        report: The report's folder; it goes below ``evaluations/``.

    Returns:
        What stands on the Hub; None where nothing was asked for.

    Raises:
        ValueError: As `push_repository`.
        PushError: As `push_repository`.
    """
    if not push.push_to_hub:
        return None
    on_it = read_report(report)
    return push_repository(
        folder,
        push.hub_model_id or repository_of_adapter(folder) or folder.resolve().name,
        private=push.hub_private_repo,
        revision=push.hub_revision,
        token=push.hub_token,
        reports={f"{EVALUATIONS_FOLDER}/{on_it.name}": on_it},
    )


def push_asked_report(folder: Path, push: ResultsPushArguments, *, model: str | None = None) -> PushedRepository | None:
    """Upload a report where a recipe was told to, if it was.

    Args:
        folder: The report's.
        push: What the recipe was told, after `check_destination`.
        model: The evaluated model as the recipe was told.

    Returns:
        What stands on the Hub; None where nothing was asked for.

    Raises:
        PushError: As `push_report`.
    """
    if not push.push_to_hub:
        return None
    to_results = push.hub_dataset_id is not None
    return push_report(
        folder,
        push.hub_dataset_id or push.hub_model_id,
        to_results=to_results,
        private=(push.hub_private_repo is not False) if to_results else None,
        revision=push.hub_revision,
        token=push.hub_token,
        model=model,
    )


def push_report(
    folder: str | os.PathLike[str],
    repository_id: str,
    *,
    to_results: bool,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    message: str | None = None,
    model: str | None = None,
    endpoint: str | None = None,
) -> PushedRepository:
    """Upload a report, in one commit; the files of an earlier one of the same name are replaced.

    Args:
        folder: What recipes/evaluate.py, embeddings.py, detect.py, baselines.py or sweep.py left.
        repository_id: ``OWNER/NAME``, or ``NAME`` in the namespace of the token's user.
        to_results: Whether that is a dataset repository of results, made if missing; otherwise it is the repository of
            the model that the report is on, which has to be there.
        private: Whether only its owners may read the repository of results; None: true. A model's is as it is.
        revision: Branch, made if missing; None: main.
        token: Access token; None: ``HF_TOKEN`` or what ``hf auth login`` saved.
        message: Of the commit.
        model: The evaluated model's folder, whose weights have to be those in the repository; None, or a Hub id: not
            compared.
        endpoint: Address of the Hub; None: ``HF_ENDPOINT`` or the public one.

    Returns:
        What stands on the Hub.

    Raises:
        ValueError: If the folder holds no report (`ReportError`), for a report on several models that is to go to one
            model's repository, and for a repository's name that the Hub cannot have.
        PushError: If the Hub refuses or cannot be reached, if the report may not be public and the repository is, or
            if it holds something else; says how to push later.
    """
    folder = Path(folder).expanduser()
    report = read_report(folder)
    check_repository_id(repository_id)
    if not to_results and not report.is_on_one_model:
        raise ValueError(
            f"{folder}: a report on several systems belongs to no model's repository; name a repository of results "
            "(--hub_dataset_id, or nvv push … --results)."
        )
    if to_results:
        private = private is not False
        if not private:
            _require_public(report, repository_id)
    api = HfApi(endpoint=endpoint, token=token)
    later = ["nvv", "push", str(folder), repository_id]
    later += ["--results", *(["--public"] if private is False else [])] if to_results else []
    later += ["--revision", revision] if revision is not None else []
    push = _push_results if to_results else _push_to_model
    message = message or f"Upload {report.kind} {report.name}"
    asked = _Asked(private=private, revision=revision, message=message, model=model)
    with (
        explaining(
            f"The upload of {folder} to {repository_id}",
            f"The report in {folder} is complete; push it later with: {shlex.join(later)}",
        ),
        retrying_requests(),
    ):
        return push(api, report, repository_id, asked)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """How a report is uploaded; the fields are those of `push_report`."""

    private: bool | None
    revision: str | None
    message: str
    model: str | None


def _push_results(api: HfApi, report: Report, repository_id: str, asked: _Asked) -> PushedRepository:
    """Upload a report to a repository of results."""
    repository = api.create_repo(repository_id, repo_type="dataset", private=asked.private, exist_ok=True).repo_id
    info = api.dataset_info(repository)
    require_visibility(info, asked.private)
    parent, remote = open_branch(api, repository, repo_type="dataset", revision=asked.revision, check=_require_results)
    others = [one for one in _read_reports(api, repository, parent, remote) or [] if one["name"] != report.name]
    files: dict[str, Path | bytes] = {f"{report.name}/{path}": file for path, file in report.files.items()}
    files[f"{report.name}/{SCORES_FILE}"] = report.scores_as_parquet()
    files[CARD_FILE] = render_results_card(repository, [*others, described(report)]).encode()
    stale = [path for path in remote if path.startswith(f"{report.name}/") and path not in files]
    commit = commit_files(
        api,
        repository,
        files,
        repo_type="dataset",
        parent=parent,
        message=asked.message,
        revision=asked.revision,
        stale=stale,
    )
    return _pushed(info, files, commit=commit, url=f"{api.endpoint}/datasets/{repository}")


def _push_to_model(api: HfApi, report: Report, repository_id: str, asked: _Asked) -> PushedRepository:
    """Upload a report to the repository of its model."""
    repository = repository_id if "/" in repository_id else f"{api.whoami()['name']}/{repository_id}"
    try:
        info = api.model_info(repository)
    except RepositoryNotFoundError as error:
        raise PushError(
            f"there is no model {repository} that this token may read. Push the model first (nvv push FOLDER "
            f"{repository}), or the report to a repository of results."
        ) from error
    if not info.private:
        _require_public(report, repository)

    def check(api: HfApi, repository: str, commit: str | None, remote: Mapping[str, RepoFile]) -> None:
        require_own_model(api, repository, commit, remote)
        _require_same_weights(repository, remote, asked.model)

    parent, remote = open_branch(api, repository, repo_type="model", revision=asked.revision, check=check)
    place = f"{EVALUATIONS_FOLDER}/{report.name}"
    files = {f"{place}/{path}": file for path, file in report.files.items()}
    stale = [path for path in remote if path.startswith(f"{place}/") and path not in files]
    commit = commit_files(
        api,
        repository,
        files,
        repo_type="model",
        parent=parent,
        message=asked.message,
        revision=asked.revision,
        stale=stale,
    )
    return _pushed(
        info, files, commit=commit, url=f"{api.endpoint}/{repository}/tree/{asked.revision or 'main'}/{place}"
    )


def _pushed(
    info: ModelInfo | DatasetInfo, files: Mapping[str, Path | bytes], *, commit: str, url: str
) -> PushedRepository:
    return PushedRepository(
        repository_id=info.id, url=url, commit=commit, files=tuple(sorted(files)), private=bool(info.private)
    )


def _require_public(report: Report, repository: str) -> None:
    """Refuse to show everybody clips of a corpus that may not be handed on in public."""
    naming = [path for path in report.files if names_clips(path)]
    reason = why_clips_are_private(report.corpora) if naming else None
    if reason is not None:
        raise PushError(
            f"{naming[0]} names clips, and {repository} is, or would be, public. {reason} Nothing was sent: push the "
            "report to a private repository of results (--hub_dataset_id, or nvv push … --results)."
        )


def _require_same_weights(repository: str, remote: Mapping[str, RepoFile], model: str | None) -> None:
    """Require that the repository holds the weights of the evaluated folder."""
    folder = None if model is None else Path(model).expanduser()
    if folder is None or not folder.is_dir():
        return
    for path in sorted(folder.glob("*.safetensors")):
        if path.name not in remote or not is_same_content(remote[path.name], path):
            raise PushError(
                f"{repository} does not hold the weights that the report is on, {path}. Nothing was sent: push the "
                f"model first (nvv push {folder} {repository}), or the report to a repository of results."
            )


def _read_reports(
    api: HfApi, repository: str, commit: str | None, remote: Mapping[str, RepoFile]
) -> list[dict[str, object]] | None:
    """Read what a repository of results holds; None for a repository that is none."""
    if CARD_FILE not in remote:
        return None
    return reports_of_card(remote_text(api, repository, CARD_FILE, repo_type="dataset", revision=commit))


def _require_results(api: HfApi, repository: str, commit: str | None, remote: Mapping[str, RepoFile]) -> None:
    """Refuse a repository that holds anything but results."""
    foreign = sorted(path for path in remote if path not in (HUB_FILE, CARD_FILE))
    if foreign and _read_reports(api, repository, commit, remote) is None:
        raise PushError(
            f"{repository} holds {foreign[0]!r}, which is no report of nvv. Nothing was sent: name another repository, "
            "or remove what is there."
        )
