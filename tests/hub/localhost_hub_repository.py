"""Repositories of the Hub on localhost: files, commits, branches, tags, and what a card's header says of them.

Over HTTP they are served by `localhost_hub_answers`. Own work.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import yaml

_SHORTEST_PREFIX = 7


@dataclass(frozen=True)
class StoredFile:
    """A file of a commit; `is_large` where its content came through the large-file protocol."""

    content: bytes
    is_large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def blob_id(self) -> str:
        content = self.content
        if self.is_large:  # git holds a pointer
            content = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_large else self.blob_id

    def describe(self, path: str) -> dict[str, Any]:
        """Return the file's entry of a listing."""
        size = len(self.content)
        large = {"lfs": {"oid": self.sha256, "size": size, "pointerSize": 134}} if self.is_large else {}
        return {"type": "file", "path": path, "size": size, "oid": self.blob_id, **large}

    def describe_sibling(self, path: str) -> dict[str, Any]:
        """Return the file's entry of a repository's information."""
        size = len(self.content)
        large = {"lfs": {"sha256": self.sha256, "size": size, "pointerSize": 134}} if self.is_large else {}
        return {"rfilename": path, "size": size, "blobId": self.blob_id, **large}


def describe_folder(path: str) -> dict[str, Any]:
    """Return a folder's entry of a listing."""
    return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}


def folders_of(paths: Iterable[str], start: str = "") -> list[str]:
    """Name every folder that holds one of the paths, below a start."""
    parents = {
        parent
        for path in paths
        for parent in itertools.accumulate(path.split("/")[:-1], lambda above, name: f"{above}/{name}")
    }
    return sorted(parent for parent in parents if parent.startswith(start))


@dataclass
class Repository:
    """One repository with its whole history.

    Attributes:
        id: Owner and name.
        kind: "model", "dataset" or "space".
        private: Whether only its owners see it.
        gated: "auto" or "manual" where reading its files needs a permission, else False.
        granted: Accounts that have it, beside the owners.
        sdk: A Space's.
        commits: Commit to path to file.
        branches: Branch to its commits, the newest last; pull requests are the branches refs/pr/1, refs/pr/2 …
        tags: Tag to commit.
        messages: Commit to its title.
        details: Commit to author, date and description.
    """

    id: str
    kind: str
    private: bool
    gated: str | bool = False
    granted: set[str] = field(default_factory=set)
    sdk: str | None = None
    commits: dict[str, dict[str, StoredFile]] = field(default_factory=dict)
    branches: dict[str, list[str]] = field(default_factory=lambda: {"main": []})
    tags: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    details: dict[str, dict[str, str]] = field(default_factory=dict)

    def resolve(self, revision: str) -> str | None:
        """Return the commit that a branch, a tag, a commit's id or the beginning of one names."""
        name = re.sub(r"^refs/(heads|tags)/", "", revision)
        if name in self.branches:
            return self.branches[name][-1]
        if name in self.tags:
            return self.tags[name]
        found = [commit for commit in self.commits if commit.startswith(name)] if len(name) >= _SHORTEST_PREFIX else []
        return found[0] if len(found) == 1 else None

    def history(self, commit: str) -> list[str]:
        """Return a commit and those before it, the newest last."""
        line = next((line for line in self.branches.values() if commit in line), [commit])
        return line[: line.index(commit) + 1]

    def add_commit(
        self, branch: str, files: dict[str, StoredFile], message: str, *, author: str = "system", description: str = ""
    ) -> str:
        """Add a commit to a branch, and return its id."""
        parent = self.branches[branch][-1:] or [""]
        listing = sorted((path, file.blob_id) for path, file in files.items())
        commit = hashlib.sha1(f"{self.id} {parent} {message} {listing} {len(self.commits)}".encode()).hexdigest()
        self.commits[commit] = files
        self.messages[commit] = message
        date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.details[commit] = {"author": author, "date": date, "description": description}
        self.branches[branch].append(commit)
        return commit

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Return path to content at a revision."""
        return {path: file.content for path, file in self.commits[self.resolve(revision)].items()}

    def last_change(self, commit: str, path: str) -> str:
        """Return the commit, up to this one, that gave a file or folder what it holds."""
        line = self.history(commit)
        states = [
            {name: file for name, file in self.commits[at].items() if name == path or name.startswith(f"{path}/")}
            for at in line
        ]
        at = len(line) - 1
        while at and states[at - 1] == states[at]:
            at -= 1
        return line[at]

    def describe(self, commit: str) -> dict[str, Any]:
        """Return what the Hub's listings say of the repository."""
        header = header_of(self.commits[commit])
        known = {
            "_id": hashlib.sha1(self.id.encode()).hexdigest()[:24],
            "id": self.id,
            "author": self.id.split("/")[0],
            "sha": commit,
            "lastModified": self.details[commit]["date"],
            "createdAt": self.details[self.branches["main"][0]]["date"],
            "private": self.private,
            "gated": self.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": tags_of(header or {}),
        }
        if self.kind == "model":
            known |= {key: header[key] for key in ("library_name", "pipeline_tag") if header and key in header}
        return known | ({"sdk": self.sdk} if self.kind == "space" else {})


def header_of(files: Mapping[str, StoredFile]) -> dict[str, Any] | None:
    """Return the YAML header of the card; None where there is none."""
    card = files["README.md"].content.decode() if "README.md" in files else ""
    header = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", card, flags=re.DOTALL)
    return yaml.safe_load(header.group(1)) if header else None


# Fields of a card's header that become tags, and with what before them.
_TAG_FIELDS = {
    "library_name": "",
    "pipeline_tag": "",
    "tags": "",
    "task_categories": "task_categories:",
    "language": "language:",
    "size_categories": "size_categories:",
    "datasets": "dataset:",
    "base_model": "base_model:",
    "license": "license:",
}


def tags_of(header: Mapping[str, Any]) -> list[str]:
    """Return the tags that the Hub makes of a card's header; those it makes of weights and configs are left out."""
    tags = [f"{start}{value}" for name, start in _TAG_FIELDS.items() for value in _listed(header.get(name))]
    relation = header.get("base_model_relation")
    tags += [f"base_model:{relation}:{value}" for value in _listed(header.get("base_model")) if relation]
    return list(dict.fromkeys(tags))


def _listed(value: Any) -> list[str]:
    return [] if value is None else [str(one) for one in value] if isinstance(value, list) else [str(value)]
