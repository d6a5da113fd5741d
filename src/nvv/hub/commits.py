"""Uploads files to a repository on the Hub in one commit, and verifies what arrived.

``HfApi.upload_folder`` may split a push into several commits, and one that fails half-way leaves a repository that was
never meant; `create_commit` is one commit or none. Large files are uploaded before it, and what has arrived is not sent
twice when a push is repeated. What may be uploaded where is decided by the callers. Own work.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    build_hf_headers,
    disable_progress_bars,
    enable_progress_bars,
    get_session,
    hf_raise_for_status,
)
from huggingface_hub.utils.sha import git_hash, sha_fileobj

__all__ = ["HUB_FILE", "CommitError", "commit_files", "is_same_content", "remote_files", "remote_text"]

HUB_FILE = ".gitattributes"
"""The file that the Hub writes into every repository."""

_PRECONDITION_FAILED = 412


class CommitError(RuntimeError):
    """The repository does not hold what was sent."""


def remote_files(api: HfApi, repository_id: str, *, repo_type: str, revision: str | None = None) -> dict[str, RepoFile]:
    """List a repository's files.

    Args:
        api: the client.
        repository_id: owner and name.
        repo_type: `model`, `dataset` or `space`.
        revision: branch or commit; None: main.

    Returns:
        What the Hub says of each file, by path.
    """
    entries = api.list_repo_tree(repository_id, repo_type=repo_type, recursive=True, revision=revision)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def remote_text(api: HfApi, repository_id: str, path: str, *, repo_type: str, revision: str | None = None) -> str:
    """Read a small file of a repository; other than by the client's download, within `retrying_requests` it is retried.

    Args:
        api: the client.
        repository_id: owner and name.
        path: the file.
        repo_type: `model`, `dataset` or `space`.
        revision: branch or commit; None: main.

    Returns:
        Its content, as UTF-8.
    """
    url = hf_hub_url(repository_id, path, repo_type=repo_type, revision=revision, endpoint=api.endpoint)
    response = get_session().get(url, headers=build_hf_headers(token=api.token))
    hf_raise_for_status(response)
    return response.content.decode("utf-8", errors="replace")


def commit_files(
    api: HfApi,
    repository_id: str,
    files: Mapping[str, Path | bytes],
    *,
    repo_type: str,
    parent: str | None,
    message: str,
    revision: str | None = None,
    stale: Collection[str] = (),
) -> str:
    """Upload files and remove others, in one commit; nothing where the repository is as wanted already.

    Within `retrying_requests` a commit whose answer was lost is sent again, and refused, because the branch no longer
    ends in its parent. So the branch is looked at: if it holds what was sent, the commit had arrived.

    Args:
        api: the client.
        repository_id: owner and name.
        files: content, or the local file, by path in the repository.
        repo_type: `model`, `dataset` or `space`.
        parent: the commit that the branch ends in, as the caller saw it when it decided what to send.
        message: of the commit, one line.
        revision: the branch; None: main.
        stale: paths that are there and are removed.

    Returns:
        The commit that holds the files.

    Raises:
        CommitError: if somebody else committed meanwhile, or if what arrived differs from what was sent.
    """
    operations = [
        *(CommitOperationDelete(path_in_repo=path) for path in sorted(stale)),
        *(CommitOperationAdd(path_in_repo=path, path_or_fileobj=content) for path, content in sorted(files.items())),
    ]
    try:
        with warnings.catch_warnings(), _bars_on_terminals_only():
            # Tables of a report may stand in a model's repository.
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            commit = api.create_commit(
                repository_id,
                operations,
                repo_type=repo_type,
                revision=revision,
                commit_message=message,
                parent_commit=parent,
            ).oid
    except HfHubHTTPError as error:
        if getattr(error.response, "status_code", None) != _PRECONDITION_FAILED:
            raise
        commit = api.repo_info(repository_id, repo_type=repo_type, revision=revision).sha
        if not _holds(remote_files(api, repository_id, repo_type=repo_type, revision=commit), files, stale=stale):
            raise CommitError(
                f"somebody else committed to {repository_id} meanwhile; run the same command again"
            ) from error
        return commit
    _verify(remote_files(api, repository_id, repo_type=repo_type, revision=commit), files, stale=stale)
    return commit


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    """Switch the client's progress bars off where nobody sees them move; it would write them to a log, too."""
    if sys.stderr.isatty() or constants.HF_HUB_DISABLE_PROGRESS_BARS is not None or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _verify(remote: Mapping[str, RepoFile], files: Mapping[str, Path | bytes], *, stale: Collection[str]) -> None:
    """Require that a commit has the files, by their sizes, and none of the others."""
    sizes = {
        path: len(content) if isinstance(content, bytes) else content.stat().st_size for path, content in files.items()
    }
    wrong = sorted(path for path, size in sizes.items() if path not in remote or remote[path].size != size)
    if wrong:
        found = remote[wrong[0]].size if wrong[0] in remote else "no"
        raise CommitError(
            f"{len(wrong)} files differ from what was sent, the first: {wrong[0]} ({sizes[wrong[0]]} bytes here, "
            f"{found} there); a .gitignore in the repository may leave files out"
        )
    left = sorted(path for path in stale if path in remote)
    if left:
        raise CommitError(f"{left[0]} is still there")


def _holds(remote: Mapping[str, RepoFile], files: Mapping[str, Path | bytes], *, stale: Collection[str]) -> bool:
    """Say whether a repository has exactly the contents that were sent, by their digests."""
    if any(path in remote for path in stale) or any(path not in remote for path in files):
        return False
    return all(is_same_content(remote[path], content) for path, content in files.items())


def is_same_content(remote: RepoFile, content: Path | bytes) -> bool:
    """Say whether a file on the Hub has this content, by the digest that the Hub gives of it."""
    if remote.lfs is None:
        return remote.blob_id == git_hash(content if isinstance(content, bytes) else content.read_bytes())
    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        return remote.lfs.sha256 == sha_fileobj(stream).hex()
