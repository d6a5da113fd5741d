"""Uploads a finished run's folder to the Hub as a model repository, in one commit.

Nothing is sent unless the repository is as private as asked and holds nothing, or an earlier model of this package;
what that left and the folder no longer has (weights of another kind above all, which would be loaded instead) goes in
the same commit. Which files are uploaded is `run_folder`'s, the commit `commits`', trying again `retries`'. Own work.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError
from huggingface_hub.hf_api import DatasetInfo, ModelInfo, RepoFile
from huggingface_hub.utils import validate_repo_id

from ..configuration_nvv import NvvConfig
from .client_errors import CLIENT_FAILURES, describe_failure
from .commits import HUB_FILE, commit_files, remote_files, remote_text
from .model_card import CARD_FILE, CardFacts, write_model_card
from .repository import set_repository_id
from .results import Report
from .retries import retrying_requests
from .run_folder import files_to_push, is_own_file, names_clips, read_finished_run, why_clips_are_private

__all__ = [
    "PushError",
    "PushedRepository",
    "check_repository_id",
    "explaining",
    "open_branch",
    "push_repository",
    "require_own_model",
    "require_visibility",
]

# What a repository may hold before its first push: what the Hub, or whoever made it there, wrote into it.
_FIRST_FILES = frozenset({HUB_FILE, CARD_FILE, "LICENSE", "LICENSE.md", "LICENSE.txt", ".gitignore"})
_MESSAGE = "Upload classifier, results and card"

# ValueError: an answer that the client cannot use, or metadata that the Hub refuses.
_FAILURES = (*CLIENT_FAILURES, ValueError)


class PushError(RuntimeError):
    """The upload failed; the folder is complete, and the message says how to push it later."""


@dataclass(frozen=True, kw_only=True)
class PushedRepository:
    """What stands on the Hub.

    Attributes:
        repository_id: Owner and name.
        url: Its page.
        commit: The commit that holds the files.
        files: Their paths, sorted.
        private: Whether only its owners can read it.
        notices: What was left out and why, and what is there beside it, each in one or two sentences.
    """

    repository_id: str
    url: str
    commit: str
    files: tuple[str, ...]
    private: bool
    notices: tuple[str, ...] = ()


def check_repository_id(repository_id: str) -> str:
    """Return a repository's id if the Hub can have it.

    Args:
        repository_id: ``OWNER/NAME``, or ``NAME`` in the namespace of the token's user.

    Raises:
        ValueError: If it is none that the Hub allows.
    """
    validate_repo_id(repository_id)
    return repository_id


def push_repository(
    folder: str | os.PathLike[str],
    repository_id: str,
    *,
    private: bool | None = True,
    revision: str | None = None,
    token: str | None = None,
    dataset_id: str | None = None,
    message: str | None = None,
    reports: Mapping[str, Report] | None = None,
    endpoint: str | None = None,
) -> PushedRepository:
    """Upload a finished run's folder, without its checkpoints, in one commit.

    The card is written anew for the repository, and an adapter's folder names it from then on, also where the upload
    fails. Where everybody can read the repository, but the corpus may not be handed on in public, the files that name
    its clips (``predictions.csv``) stay behind.

    Args:
        folder: What ``recipes/train.py`` or ``recipes/probe.py`` left.
        repository_id: ``OWNER/NAME``, an organisation's too, or ``NAME`` in the namespace of the token's user; made if
            missing.
        private: Whether only its owners may read it; None: as the Hub has it, public for most. A repository that is
            there already has to be so.
        revision: Branch, made from main if missing; None: main.
        token: Access token with the right to write; None: ``HF_TOKEN`` or what ``hf auth login`` saved.
        dataset_id: The corpus's id on the Hub, for the card; None: the one that the run loaded it by, if it did.
        message: Of the commit.
        reports: Reports on the model, by where they go in the repository.
        endpoint: Address of the Hub; None: ``HF_ENDPOINT`` or the public one.

    Returns:
        What stands on the Hub.

    Raises:
        ValueError: If the folder holds no finished run (`RunFolderError`), its card cannot be made (`ModelCardError`),
            or ``repository_id`` is none that the Hub allows.
        PushError: If the Hub refuses or cannot be reached, or if the repository is not as private as asked, or holds
            something else; says how to push later.

    Example:
        >>> push_repository("runs/laughter", "lab/laughter").commit  # doctest: +SKIP
        '1f0c3a…'
    """
    folder = Path(folder).expanduser()
    metrics = read_finished_run(folder)
    check_repository_id(repository_id)
    facts = CardFacts.from_directory(folder, repository_id=repository_id, dataset_id=dataset_id)  # for its checks
    if "/" in repository_id:  # so that the folder is right too where it is uploaded later, by other means
        set_repository_id(folder, repository_id)
    api = HfApi(endpoint=endpoint, token=token)
    with (
        explaining(
            f"The upload of {folder} to {repository_id}",
            f"The run in {folder} is complete; push it later with: "
            f"{_later(folder, repository_id, private=private, revision=revision, dataset_id=dataset_id)}",
        ),
        retrying_requests(),
    ):
        repository = api.create_repo(repository_id, private=private, exist_ok=True).repo_id
        info = api.model_info(repository)
        require_visibility(info, private)
        parent, remote = open_branch(api, repository, repo_type="model", revision=revision, check=_require_own_or_empty)
        set_repository_id(folder, repository)
        if facts.repository_id != repository:
            facts = CardFacts.from_directory(folder, repository_id=repository, dataset_id=dataset_id)
        write_model_card(folder, facts)
        files, corpora = files_to_push(folder), [metrics["corpus"]]
        for place, report in (reports or {}).items():
            files |= {f"{place}/{path}": file for path, file in report.files.items()}
            corpora += report.corpora
        files, notices = _without_private_clips(files, corpora, is_public=not info.private)
        withholds_clips = bool(notices)  # an earlier push may have left some, when the repository was private
        removable = [path for path in remote if is_own_file(path) or (withholds_clips and names_clips(path))]
        stale = [path for path in removable if path not in files]
        notices += [*_on_old_reports(remote, files), *_on_local_backbone(folder)]
        commit = commit_files(
            api,
            repository,
            files,
            repo_type="model",
            parent=parent,
            message=message or _MESSAGE,
            revision=revision,
            stale=stale,
        )
    return PushedRepository(
        repository_id=repository,
        url=f"{api.endpoint}/{repository}",
        commit=commit,
        files=tuple(sorted(files)),
        private=bool(info.private),
        notices=tuple(notices),
    )


@contextmanager
def explaining(what: str, then: str) -> Iterator[None]:
    """Turn the client's failures into a `PushError` of one line that says how to go on.

    Args:
        what: What failed, the start of the sentence.
        then: What to do, a sentence.

    Raises:
        PushError: Instead of them.
    """
    try:
        yield
    except PushError as error:
        raise PushError(f"{what} failed: {error} {then}") from error
    except _FAILURES as error:
        raise PushError(f"{what} failed ({describe_failure(error)}). {then}") from error


def _later(
    folder: Path, repository_id: str, *, private: bool | None, revision: str | None, dataset_id: str | None
) -> str:
    """Return the command that pushes a folder as asked; never with a token."""
    words = ["nvv", "push", str(folder), repository_id]
    if private is False:
        words.append("--public")
    if revision is not None:
        words += ["--revision", revision]
    if dataset_id is not None:
        words += ["--dataset-id", dataset_id]
    return shlex.join(words)


def require_visibility(info: ModelInfo | DatasetInfo, private: bool | None) -> None:
    """Refuse a repository that more, or fewer, can read than was asked; also one that does not say.

    Args:
        info: What the Hub says of it.
        private: As asked; None: as it is.

    Raises:
        PushError: If it is otherwise.
    """
    if private is None or info.private == private:
        return
    if private:
        raise PushError(
            f"{info.id} is public, but private was asked for. Nothing was sent: name another repository, make this one "
            "private in its settings, or push with --public."
        )
    raise PushError(
        f"{info.id} is private, but public was asked for. Nothing was sent: make it public in its settings, or push "
        "with --private."
    )


def open_branch(
    api: HfApi,
    repository: str,
    *,
    repo_type: str,
    revision: str | None,
    check: Callable[[HfApi, str, str | None, Mapping[str, RepoFile]], None],
) -> tuple[str | None, dict[str, RepoFile]]:
    """Return the commit that a branch ends in and its files; make the branch if it is missing.

    Args:
        api: The client.
        repository: Owner and name.
        repo_type: ``model`` or ``dataset``.
        revision: The branch; None: main. A new one starts from main.
        check: Called with client, repository, commit and files before anything is made; raises to refuse them.

    Returns:
        The commit, and what the Hub says of each file, by path.
    """
    is_missing = False
    try:
        info = api.repo_info(repository, repo_type=repo_type, revision=revision)
    except RevisionNotFoundError:
        is_missing = True
        info = api.repo_info(repository, repo_type=repo_type)
    files = remote_files(api, repository, repo_type=repo_type, revision=info.sha)
    check(api, repository, info.sha, files)
    if is_missing:
        api.create_branch(repository, branch=revision, revision=info.sha, repo_type=repo_type, exist_ok=True)
    return info.sha, files


def _require_own_or_empty(api: HfApi, repository: str, commit: str | None, remote: Mapping[str, RepoFile]) -> None:
    """Refuse a repository that holds anything but a model of this package."""
    if any(path not in _FIRST_FILES for path in remote):
        require_own_model(api, repository, commit, remote)


def require_own_model(api: HfApi, repository: str, commit: str | None, remote: Mapping[str, RepoFile]) -> None:
    """Refuse a repository that does not hold a model of this package.

    Args:
        api: The client.
        repository: Owner and name.
        commit: Where to look.
        remote: Its files there.

    Raises:
        PushError: Naming a file.
    """
    found = None
    if "config.json" in remote:
        config = json.loads(remote_text(api, repository, "config.json", repo_type="model", revision=commit))
        found = config.get("model_type") if isinstance(config, dict) else None
    if found == NvvConfig.model_type:
        return
    example = "config.json" if "config.json" in remote else next(iter(sorted(set(remote) - {HUB_FILE})), "nothing")
    kind = f" of model type {found!r}" if found else ""
    raise PushError(
        f"{repository} holds {example!r}{kind}, which is no model of nvv. Nothing was sent: name another repository, "
        "or remove what is there."
    )


def _without_private_clips(
    files: Mapping[str, Path], corpora: Sequence[Mapping[str, object]], *, is_public: bool
) -> tuple[dict[str, Path], list[str]]:
    """Leave out what names clips that may not be public; say so."""
    reason = why_clips_are_private(corpora) if is_public else None
    withheld = [path for path in files if names_clips(path)]
    if reason is None or not withheld:
        return dict(files), []
    notice = (
        f"{', '.join(withheld)}: not uploaded, because the repository is public and names of clips are in there. "
        f"{reason}"
    )
    return {path: file for path, file in files.items() if path not in withheld}, [notice]


def _on_old_reports(remote: Mapping[str, RepoFile], files: Mapping[str, Path]) -> list[str]:
    """Say that reports on an earlier model stay."""
    old = sorted({"/".join(path.split("/")[:2]) for path in remote if path.startswith("evaluations/")})
    old = [place for place in old if not any(path.startswith(f"{place}/") for path in files)]
    if not old:
        return []
    return [f"Left as they are: {', '.join(old)}. If the model has changed, make these reports again."]


def _on_local_backbone(folder: Path) -> list[str]:
    """Say that an adapter or a head cannot be loaded elsewhere, because its backbone is a folder of this machine."""
    config = NvvConfig.from_pretrained(folder)
    is_adapter = (folder / "adapter_config.json").is_file()
    if not (is_adapter or config.saved_weights == "head") or config.random_init:
        return []
    backbone = config.backbone_id or ""
    if not (os.path.isabs(backbone) or Path(backbone).is_dir()):
        return []
    return [
        f"The backbone is the folder {backbone}, which nobody else has: this model loads on this machine only. Push "
        "the backbone, and train from its id on the Hub."
    ]
