"""Uploads a dataset repository to the Hub, public only where licence and agreement allow it.

`check_dataset` decides without any request; `push_dataset` uploads what it passed. What licences allow is
``nvv.hub.licences``'s, whether the folder is whole ``nvv.hub.dataset_folder``'s, what a corpus states about itself its
loading script's: for the corpora of this package the card is never the authority. This is no legal advice. Own work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.hf_api import DatasetInfo
from huggingface_hub.utils import validate_repo_id

from ..data import CorpusError, CorpusFacts, corpus_facts
from ..data.prepared import CARD, EXCLUDED_LIST, SKIPPED_LIST
from ..files import write_text
from .client_errors import CLIENT_FAILURES, describe_failure
from .commits import HUB_FILE, commit_files, remote_files
from .dataset_folder import DatasetFolder, read_dataset_folder
from .licences import CopyTerms, copy_terms, find_licence
from .retries import retrying_requests

__all__ = ["CheckedDataset", "DatasetPushError", "PushedDataset", "check_dataset", "push_dataset"]

# What a push may replace or remove on the Hub, and its own file there.
_OWN_FILES = re.compile("|".join([*map(re.escape, (CARD, SKIPPED_LIST, EXCLUDED_LIST)), r"data/[^/]+\.parquet"]))
_ATTRIBUTION = re.compile(r"^#+ .*(citation|cite|attribution|author|credit|source)", re.MULTILINE | re.IGNORECASE)

# ValueError: an answer that the client cannot use.
_FAILURES = (*CLIENT_FAILURES, ValueError)


class DatasetPushError(RuntimeError):
    """The dataset was not uploaded, or not as it should be; the message says how to go on."""


@dataclass(frozen=True, kw_only=True)
class CheckedDataset:
    """A folder that may be uploaded as asked.

    Attributes:
        folder: As read.
        facts: What is known of the corpus.
        public: Whether everybody will be able to read it.
        notices: What whoever uploads it takes on, and what was assumed, each in one or two sentences.
    """

    folder: DatasetFolder
    facts: CorpusFacts
    public: bool
    notices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PushedDataset:
    """What stands on the Hub.

    Attributes:
        repository_id: Owner and name.
        url: Its page.
        commit: The commit that holds the files.
        num_files: Files of the dataset in it.
        num_bytes: Their size.
    """

    repository_id: str
    url: str
    commit: str
    num_files: int
    num_bytes: int


def check_dataset(folder: str | os.PathLike[str], *, public: bool = False) -> CheckedDataset:
    """Decide whether a folder may be uploaded, without asking the Hub.

    A corpus of this package may be public where its licence allows public copies (`copy_terms`) and its facts do not
    forbid them (`CorpusFacts.no_public_copies`); both come from its loading script, and a card that says otherwise is
    an error. Any other dataset may be public where its card names a licence of the table that allows it.

    Args:
        folder: What ``nvv prepare`` wrote, or another folder of README.md and Parquet files.
        public: Whether everybody is to read it.

    Returns:
        What `push_dataset` takes.

    Raises:
        CorpusError: If the folder is not whole, its card lacks licence, citation or the mark of a synthetic corpus, or
            if it may not be public; the message says what is allowed instead.
    """
    read = read_dataset_folder(Path(folder).expanduser().resolve())
    facts = corpus_facts(read.corpus) if read.corpus else _facts_of_card(read)
    terms = copy_terms(facts.licence)
    if read.corpus:
        _check_card(read, facts)
    if public:
        _require_public(read, facts, terms)
    return CheckedDataset(
        folder=read,
        facts=facts,
        public=public,
        notices=_public_notices(facts, terms) if public else _private_notices(facts, terms),
    )


def _facts_of_card(read: DatasetFolder) -> CorpusFacts:
    licences = read.header.get("license")
    if isinstance(licences, list) and len(licences) > 1:
        # One may forbid what the other allows, and nothing says which holds for which clip.
        raise CorpusError(f"{read.path / 'README.md'}: license: {licences}: name the one that holds for all of it.")
    licence = licences[0] if isinstance(licences, list) and licences else licences
    return CorpusFacts(
        name=read.path.name,
        pretty_name=read.header.get("pretty_name") or read.path.name,
        licence=str(licence or "unknown"),
    )


def _check_card(read: DatasetFolder, facts: CorpusFacts) -> None:
    """Require that the card says what the loading script says."""
    readme, again = read.path / "README.md", "write the folder again with nvv prepare."
    licence = read.header.get("license")
    if licence != facts.licence:
        raise CorpusError(f"{readme}: license: {licence!r}, but {facts.name} is under {facts.licence!r}; {again}")
    if facts.is_synthetic != ("synthetic" in (read.header.get("tags") or [])):
        kind = "synthetic, but is not tagged so" if facts.is_synthetic else "not synthetic, but is tagged so"
        raise CorpusError(f"{readme}: {facts.name} is {kind}; {again}")
    if " ".join(facts.citation.split()) not in " ".join(read.text.split()):
        raise CorpusError(f"{readme}: the citation of {facts.name} is missing; {again}")


def _require_public(read: DatasetFolder, facts: CorpusFacts, terms: CopyTerms) -> None:
    readme = read.path / "README.md"
    if facts.no_public_copies or not terms.may_be_public:
        reason = facts.no_public_copies or terms.reason
        instead = "Allowed instead: a private repository for those who have the right to the recordings (--private)"
        other = (
            ", and pointing others to where they can get them."
            if read.corpus
            else f"; if you have the right to publish it, name its licence in {readme} (license)."
        )
        raise CorpusError(f"{facts.pretty_name} may not be made public: {reason} {instead}{other}")
    if not read.corpus and find_licence(facts.licence).attribution and not _ATTRIBUTION.search(read.text):
        raise CorpusError(
            f"{readme}: {find_licence(facts.licence).title} asks that copies name the authors, but the card has no "
            "section on it; add one, such as '## Citation'."
        )


def _public_notices(facts: CorpusFacts, terms: CopyTerms) -> tuple[str, ...]:
    notices = [f"{facts.pretty_name} becomes public. {terms.reason}", *terms.conditions, *_given(facts.terms)]
    if facts.homepage:
        notices.append(f"Releases change: compare this licence with the one at {facts.homepage} before you publish.")
    return tuple(notices)


def _private_notices(facts: CorpusFacts, terms: CopyTerms) -> tuple[str, ...]:
    licence = find_licence(facts.licence)
    known = f"under {licence.title}" if licence.is_known else f"under {licence.title}: ask its owners what you may do"
    notices = [f"{facts.pretty_name} is {known}.", *_given(facts.terms)]
    if not facts.is_synthetic:
        notices.append(
            "Storing the recordings on the Hub hands a copy to a third party, the Hub's operator. Make sure that you "
            "may do so, and that all who can read the repository may have them: in an organization's, every member can."
        )
    if facts.no_public_copies or not terms.may_be_public:
        notices.append(f"Do not make the repository public. {facts.no_public_copies or terms.reason}")
    return tuple(notices)


def _given(sentence: str) -> tuple[str, ...]:
    return (sentence,) if sentence else ()


def push_dataset(
    dataset: CheckedDataset,
    repository_id: str,
    *,
    token: str | None = None,
    revision: str | None = None,
    endpoint: str | None = None,
) -> PushedDataset:
    """Upload a checked folder and verify what arrived.

    Nothing is sent unless the Hub says that the repository is as private or public as asked, whether it was there
    before (it is left as it is) or was just made; afterwards it is asked once more. Its own files of an earlier push
    are replaced, files of anything else are an error. The card's ``load_dataset`` line names the repository afterwards,
    in the folder too.

    Everything arrives in one commit, or nothing does; large files are sent before it, and a second call sends only
    those that have not arrived.

    Args:
        dataset: From `check_dataset`.
        repository_id: ``OWNER/NAME``, or ``NAME`` in the namespace of the token's user.
        token: Access token with the right to write; by default ``HF_TOKEN`` or what ``hf auth login`` saved.
        revision: Branch, made if missing; by default ``main``.
        endpoint: Address of the Hub; by default ``HF_ENDPOINT`` or the public one.

    Returns:
        What stands on the Hub.

    Raises:
        DatasetPushError: If the Hub refuses or cannot be reached, if the repository is not as private or public as
            asked, or holds something else, or if what arrived differs from the folder.
        ValueError: If ``repository_id`` is none that the Hub allows.
    """
    validate_repo_id(repository_id)
    api = HfApi(endpoint=endpoint, token=token)
    with _explaining(repository_id, dataset.folder.path), retrying_requests():
        user = api.whoami()["name"]
        repository = repository_id if "/" in repository_id else f"{user}/{repository_id}"
        api.create_repo(repository, repo_type="dataset", private=not dataset.public, exist_ok=True)
        _require_visibility(api.dataset_info(repository), dataset)  # of an old one, and that of a new one is as asked
        if revision is not None:
            api.create_branch(repository, branch=revision, repo_type="dataset", exist_ok=True)
        parent = api.dataset_info(repository, revision=revision).sha
        stale = _stale_files(api, repository, parent, dataset)
        sizes = _name_repository(dataset.folder, repository)
        commit = commit_files(
            api,
            repository,
            {file: dataset.folder.path / file for file in sizes},
            repo_type="dataset",
            parent=parent,
            message=f"Upload {dataset.facts.pretty_name}",
            revision=revision,
            stale=stale,
        )
        _require_visibility(api.dataset_info(repository), dataset)
    return PushedDataset(
        repository_id=repository,
        url=f"{api.endpoint}/datasets/{repository}",
        commit=commit,
        num_files=len(sizes),
        num_bytes=sum(sizes.values()),
    )


@contextmanager
def _explaining(repository_id: str, folder: Path) -> Iterator[None]:
    """Turn the client's failures into one line that says how to go on."""
    try:
        yield
    except DatasetPushError:
        raise
    except _FAILURES as error:
        raise DatasetPushError(
            f"The upload of {folder} to {repository_id} failed ({describe_failure(error)}). The folder is unharmed; "
            "run the same command again to go on, and what has arrived is not sent twice."
        ) from error


def _require_visibility(info: DatasetInfo, dataset: CheckedDataset) -> None:
    """Refuse a repository that more, or fewer, can read than was asked; also one that does not say."""
    if info.private == (not dataset.public):
        return
    name = dataset.facts.pretty_name
    if dataset.public:
        raise DatasetPushError(
            f"{info.id} is private, but --public was asked; make it public in its settings, or push with --private."
        )
    allowed = not dataset.facts.no_public_copies and copy_terms(dataset.facts.licence).may_be_public
    way = f"{name} may be public: push with --public, or" if allowed else f"{name} may not be made public:"
    raise DatasetPushError(
        f"{info.id} is public, but --private was asked. {way} name another repository, or make this one private in its "
        "settings."
    )


def _stale_files(api: HfApi, repository: str, revision: str | None, dataset: CheckedDataset) -> list[str]:
    """Return what an earlier push left that is no longer part of the dataset; refuse a repository of something else."""
    corpus, found = dataset.folder.corpus, _remote_sizes(api, repository, revision)
    extra = [file for file in found if file not in dataset.folder.sizes and file != HUB_FILE]
    foreign = [file for file in extra if corpus is None or not _OWN_FILES.fullmatch(file)]
    if foreign:
        raise DatasetPushError(
            f"{repository} holds {foreign[0]!r}, which is no part of this dataset; name another repository, or remove "
            "the file there."
        )
    if any(file.endswith(".parquet") for file in found):  # not where only a card was written when it was made
        card = api.dataset_info(repository, revision=revision).card_data
        other = None if card is None else card.get("nvv_corpus")
        if other != corpus:
            raise DatasetPushError(
                f"{repository} holds {other or 'another dataset'}, not {corpus or dataset.facts.pretty_name}; name "
                "another repository."
            )
    return extra


def _name_repository(folder: DatasetFolder, repository: str) -> dict[str, int]:
    """Write the repository's id into the card's ``load_dataset`` line; return the files' sizes.

    Only in cards that ``nvv prepare`` wrote, where the line is known to mean this dataset.
    """
    sizes = dict(folder.sizes)
    if folder.corpus:
        readme = folder.path / "README.md"
        text = re.sub(r'(?<=load_dataset\(")[^"]+(?=")', repository, readme.read_text(encoding="utf-8"))
        sizes["README.md"] = write_text(readme, text).stat().st_size
    return sizes


def _remote_sizes(api: HfApi, repository: str, revision: str | None) -> dict[str, int]:
    found = remote_files(api, repository, repo_type="dataset", revision=revision)
    return {path: file.size for path, file in found.items()}
