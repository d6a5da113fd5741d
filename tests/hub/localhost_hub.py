"""A Hub on localhost: repositories, accounts and large files over real HTTP, for the real client.

It speaks what `huggingface_hub` and `datasets` ask of the Hub when Xet is switched off (`HF_HUB_DISABLE_XET=1`): who am
I, create, inspect and list a repository, the plain large-file protocol, commits, branches, and downloads with ETag and
commit. Models, datasets and Spaces alike. Everything is kept in memory; every request is in `log`; `fail_next` makes
requests fail. What the answers look like is taken from the client's source, which reads them.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

FIRST_FILES = {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}
_LARGE_FILE_BYTES = 10 * 2**20
_LARGE_SUFFIXES = (".parquet", ".safetensors", ".bin", ".wav")


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
        size = len(self.content)
        large = {"lfs": {"oid": self.sha256, "size": size, "pointerSize": 134}} if self.is_large else {}
        return {"type": "file", "path": path, "size": size, "oid": self.blob_id, **large}


def _describe_folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}


@dataclass
class Repository:
    """One repository with its whole history: commit to path to file, and branch to commits, the newest last."""

    id: str
    kind: str  # "model", "dataset", "space"
    private: bool
    commits: dict[str, dict[str, StoredFile]] = field(default_factory=dict)
    branches: dict[str, list[str]] = field(default_factory=lambda: {"main": []})
    messages: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> str | None:
        """Return the commit that a branch or a commit's id names."""
        if revision in self.branches:
            return self.branches[revision][-1]
        return revision if revision in self.commits else None

    def add_commit(self, branch: str, files: dict[str, StoredFile], message: str) -> str:
        parent = self.branches[branch][-1:] or [""]
        listing = sorted((path, file.blob_id) for path, file in files.items())
        commit = hashlib.sha1(f"{self.id} {parent} {message} {listing} {len(self.commits)}".encode()).hexdigest()
        self.commits[commit] = files
        self.messages[commit] = message
        self.branches[branch].append(commit)
        return commit

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Return path to content at a revision."""
        return {path: file.content for path, file in self.commits[self.resolve(revision)].items()}


@dataclass(frozen=True)
class LoggedRequest:
    """A request as it came, with the status of the answer; None where the connection was cut."""

    method: str
    path: str
    status: int | None


@dataclass
class _Failure:
    method: str
    pattern: re.Pattern[str]
    times: float
    status: int | None


@dataclass
class LocalhostHub:
    """State of the Hub and its address.

    Attributes:
        url: Where it listens.
        accounts: Token to account: `name`, and `orgs` that it may write to.
        repositories: By kind and id.
        large_files: SHA-256 to content.
        log: All requests, in order of their ends.
        ignores_visibility: Whether new repositories are public whatever was asked.
    """

    url: str = ""
    accounts: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"hf_ada": {"name": "ada", "orgs": ["lab"]}, "hf_bob": {"name": "bob", "orgs": []}}
    )
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)
    log: list[LoggedRequest] = field(default_factory=list)
    ignores_visibility: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)
    _failures: list[_Failure] = field(default_factory=list)

    def create(
        self, repository_id: str, *, kind: str = "dataset", private: bool = False, files: dict[str, bytes] | None = None
    ) -> Repository:
        """Make a repository as its owner would on the web page."""
        repository = Repository(repository_id, kind, private)
        stored = {path: StoredFile(content, False) for path, content in {**FIRST_FILES, **(files or {})}.items()}
        repository.add_commit("main", stored, "initial commit")
        self.repositories[kind, repository_id] = repository
        return repository

    def dataset(self, repository_id: str) -> Repository:
        return self.repositories["dataset", repository_id]

    def space(self, repository_id: str) -> Repository:
        return self.repositories["space", repository_id]

    def requests(self, method: str = ".*", pattern: str = "") -> list[LoggedRequest]:
        """Return the logged requests with this method whose path holds the pattern."""
        with self.lock:
            return [
                entry for entry in self.log if re.fullmatch(method, entry.method) and re.search(pattern, entry.path)
            ]

    def fail_next(self, method: str, pattern: str, *, times: float = 1, status: int | None = None) -> None:
        """Make the next requests fail whose path holds the pattern.

        Args:
            method: Such as `"PUT"`.
            pattern: Regular expression.
            times: How often; `math.inf` for until `clear_failures`.
            status: Answer with it; None cuts the connection after half of what was sent was read.
        """
        with self.lock:
            self._failures.append(_Failure(method, re.compile(pattern), times, status))

    def clear_failures(self) -> None:
        with self.lock:
            self._failures.clear()

    def take_failure(self, method: str, path: str) -> _Failure | None:
        with self.lock:
            for failure in self._failures:
                if failure.times > 0 and failure.method == method and failure.pattern.search(path):
                    failure.times -= 1
                    return failure
        return None


@contextmanager
def serving_hub() -> Iterator[LocalhostHub]:
    """Serve a Hub on a free port of localhost until the block ends."""
    hub = LocalhostHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, code: str | None = None, **body: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.body = status, code, {"error": message, **body}


_REPOSITORY = r"(?P<name>[\w.-]+/[\w.-]+)"
_API = rf"/api/(?P<kind>model|dataset|space)s/{_REPOSITORY}"
_PREFIXED = rf"/(?P<kind>datasets/|spaces/)?{_REPOSITORY}"


class _Handler(BaseHTTPRequestHandler):
    """Answers requests; each `_on_…` method is one entry of `_ROUTES`."""

    protocol_version = "HTTP/1.1"
    hub: LocalhostHub

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Stay quiet; `LocalhostHub.log` has it all."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        address = urlsplit(self.path)
        path, self.query = address.path, parse_qs(address.query)
        size = int(self.headers.get("Content-Length") or 0)
        failure = self.hub.take_failure(self.command, path)
        if failure is not None and failure.status is None:
            self.rfile.read(size // 2)
            self._note(path, None)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.body = self.rfile.read(size) if size else self._read_chunks()
        try:
            if failure is not None:
                raise _Refused(failure.status, "failure on demand")
            with self.hub.lock:
                status, headers, content = 200, {}, self._route(path)
                if isinstance(content, tuple):
                    status, headers, content = content
        except _Refused as refused:
            status, content = refused.status, refused.body
            headers = {"X-Error-Code": refused.code} if refused.code else {}
            headers["X-Error-Message"] = refused.body["error"]
        if not isinstance(content, bytes):
            headers["Content-Type"] = "application/json"
            content = json.dumps(content).encode()
        self._note(path, status)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _read_chunks(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return b""
        chunks = []
        while number := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(number))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _note(self, path: str, status: int | None) -> None:
        with self.hub.lock:
            self.hub.log.append(LoggedRequest(self.command, path, status))

    def _route(self, path: str) -> Any:
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, answer in self._ROUTES:
            if wanted == method and (match := re.fullmatch(pattern, path)):
                return getattr(self, answer)(**{name: unquote(text or "") for name, text in match.groupdict().items()})
        raise _Refused(404, f"no route for {self.command} {path}")

    # Accounts and rights

    def _account(self) -> dict[str, Any] | None:
        given = self.headers.get("Authorization")
        if given is None:
            return None
        account = self.hub.accounts.get(given.removeprefix("Bearer "))
        if account is None:
            raise _Refused(401, "Invalid credentials in Authorization header")
        return account

    def _may_write(self, namespace: str) -> bool:
        account = self._account()
        return account is not None and namespace in (account["name"], *account["orgs"])

    def _repository(self, kind: str, name: str, *, write: bool = False) -> Repository:
        kind = next((known for known in ("dataset", "space") if kind.startswith(known)), "model")
        repository = self.hub.repositories.get((kind, name))
        may_write = self._may_write(name.split("/")[0])
        if repository is None or (repository.private and not may_write):
            raise _Refused(401 if self._account() is None else 404, "Repository not found", "RepoNotFound")
        if write and not may_write:
            raise _Refused(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repository

    def _commit_of(self, repository: Repository, revision: str) -> str:
        commit = repository.resolve(revision)
        if commit is None:
            raise _Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # Answers

    def _on_whoami(self) -> Any:
        account = self._account()
        if account is None:
            raise _Refused(401, "Invalid username or password.")
        return {"type": "user", "name": account["name"], "orgs": [{"name": name} for name in account["orgs"]]}

    def _on_validate_yaml(self) -> Any:
        return {"errors": [], "warnings": []}

    def _on_create(self) -> Any:
        asked = json.loads(self.body)
        account = self._account()
        if account is None:
            raise _Refused(401, "Invalid username or password.")
        namespace, kind = asked.get("organization") or account["name"], asked.get("type") or "model"
        name = f"{namespace}/{asked['name']}"
        url = f"{self.hub.url}/{'' if kind == 'model' else f'{kind}s/'}{name}"
        if not self._may_write(namespace):
            raise _Refused(403, f'You don\'t have the rights to create a {kind} under the namespace "{namespace}"')
        if (kind, name) in self.hub.repositories:
            raise _Refused(409, f"You already created this {kind} repo", url=url)
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.create(name, kind=kind, private=private and not self.hub.ignores_visibility)
        return {"url": url, "name": name}

    def _on_info(self, kind: str, name: str, revision: str = "main") -> Any:
        repository = self._repository(kind, name)
        commit = self._commit_of(repository, revision or "main")
        files = repository.commits[commit]
        card = files["README.md"].content.decode() if "README.md" in files else ""
        header = re.match(r"---\n(.*?)\n---\n", card, flags=re.DOTALL)
        return {
            "_id": "0",
            "id": repository.id,
            "author": repository.id.split("/")[0],
            "sha": commit,
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "tags": [],
            "cardData": yaml.safe_load(header.group(1)) if header else None,
            "siblings": [{"rfilename": path} for path in sorted(files)],
        }

    def _on_tree(self, kind: str, name: str, revision: str, folder: str = "") -> Any:
        repository = self._repository(kind, name)
        files = repository.commits[self._commit_of(repository, revision)]
        start = f"{folder.strip('/')}/" if folder.strip("/") else ""
        below = {path: file for path, file in files.items() if path.startswith(start)}
        if start and not below:
            raise _Refused(404, f"{folder} does not exist", "EntryNotFound")
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = [file.describe(path) for path, file in below.items() if recursive or "/" not in path[len(start) :]]
        entries += [
            _describe_folder(parent)
            for parent in _folders(below, start)
            if recursive or "/" not in parent[len(start) :]
        ]
        return sorted(entries, key=lambda entry: entry["path"])

    def _on_paths_info(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name)
        files = repository.commits[self._commit_of(repository, revision)]
        is_json = "json" in self.headers.get("Content-Type", "")
        paths = json.loads(self.body)["paths"] if is_json else parse_qs(self.body.decode())["paths"]
        folders = _folders(files, "")
        return [
            files[path].describe(path) if path in files else _describe_folder(path)
            for path in paths
            if path in files or path in folders
        ]

    def _on_branch(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=True)
        if revision in repository.branches:
            raise _Refused(409, "Reference already exists")
        start = (json.loads(self.body or b"{}") or {}).get("startingPoint") or "main"
        repository.branches[revision] = [self._commit_of(repository, start)]
        return {}

    def _on_preupload(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=True)
        files = repository.commits[self._commit_of(repository, revision)]
        answers = []
        for asked in json.loads(self.body)["files"]:
            path = asked["path"]
            is_large = path.endswith(_LARGE_SUFFIXES) or asked["size"] > _LARGE_FILE_BYTES
            mode, known = "lfs" if is_large else "regular", files[path].etag if path in files else None
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known})
        return {"files": answers}

    def _on_batch(self, kind: str, name: str) -> Any:
        self._repository(kind or "model", name, write=True)
        answers = []
        for asked in json.loads(self.body)["objects"]:
            answer: dict[str, Any] = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.large_files:
                answer["actions"] = {
                    "upload": {"href": f"{self.hub.url}/large-files/{asked['oid']}"},
                    "verify": {"href": f"{self.hub.url}/large-files/{asked['oid']}/verify"},
                }
            answers.append(answer)
        return {"transfer": "basic", "objects": answers}

    def _on_put_large(self, oid: str) -> Any:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Refused(400, "the content's SHA-256 is another")
        self.hub.large_files[oid] = self.body
        return b""

    def _on_verify_large(self, oid: str) -> Any:
        if oid not in self.hub.large_files:
            raise _Refused(404, "not uploaded")
        return {}

    def _on_commit(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=True)
        if revision not in repository.branches:
            raise _Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, repository.branches[revision][-1]):
            raise _Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.commits[repository.branches[revision][-1]])
        for line in lines:
            self._apply(files, line["key"], line["value"])
        commit = repository.add_commit(revision, files, header["summary"])
        url = f"{self.hub.url}/{'' if kind == 'model' else f'{kind}s/'}{name}/commit/{commit}"
        return {"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""}

    def _apply(self, files: dict[str, StoredFile], key: str, value: dict[str, Any]) -> None:
        if key == "file":
            files[value["path"]] = StoredFile(base64.b64decode(value["content"]), False)
        elif key == "lfsFile":
            if value["oid"] not in self.hub.large_files:
                raise _Refused(400, f"{value['path']}: its content was not uploaded")
            files[value["path"]] = StoredFile(self.hub.large_files[value["oid"]], True)
        elif key == "deletedFile":
            if files.pop(value["path"], None) is None:
                raise _Refused(404, "A file with this name doesn't exist", "EntryNotFound")
        elif key == "deletedFolder":
            for path in [path for path in files if path.startswith(f"{value['path'].rstrip('/')}/")]:
                del files[path]

    def _on_resolve(self, kind: str, name: str, revision: str, path: str) -> Any:
        repository = self._repository(kind or "model", name)
        commit = self._commit_of(repository, revision)
        file = repository.commits[commit].get(path)
        if file is None:
            raise _Refused(404, "Entry not found", "EntryNotFound")
        headers = {
            "ETag": f'"{file.etag}"',
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(len(file.content)),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(match.group(1)), min(int(match.group(2) or len(file.content)), len(file.content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(file.content)}"
            return 206, headers, file.content[first : last + 1]
        return 200, headers, file.content

    _ROUTES = (
        ("GET", r"/api/whoami-v2", "_on_whoami"),
        ("POST", r"/api/validate-yaml", "_on_validate_yaml"),
        ("POST", r"/api/repos/create", "_on_create"),
        ("GET", _API, "_on_info"),
        ("GET", rf"{_API}/revision/(?P<revision>[^/]+)", "_on_info"),
        ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(?P<folder>/.*)?", "_on_tree"),
        ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", "_on_paths_info"),
        ("POST", rf"{_API}/branch/(?P<revision>[^/]+)", "_on_branch"),
        ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)", "_on_preupload"),
        ("POST", rf"{_API}/commit/(?P<revision>[^/]+)", "_on_commit"),
        ("POST", rf"{_PREFIXED}\.git/info/lfs/objects/batch", "_on_batch"),
        ("PUT", r"/large-files/(?P<oid>[0-9a-f]{64})", "_on_put_large"),
        ("POST", r"/large-files/(?P<oid>[0-9a-f]{64})/verify", "_on_verify_large"),
        ("GET", rf"{_PREFIXED}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "_on_resolve"),
    )


def _folders(paths: dict[str, StoredFile], start: str) -> list[str]:
    """Name every folder that holds one of the paths, below a start."""
    parents = {
        parent
        for path in paths
        for parent in itertools.accumulate(path.split("/")[:-1], lambda above, name: f"{above}/{name}")
    }
    return sorted(parent for parent in parents if parent.startswith(start))
