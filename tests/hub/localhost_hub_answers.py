"""What the Hub on localhost answers to each request; `localhost_hub` carries both over HTTP. Own work."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlencode

import yaml
from localhost_hub_repository import Repository, StoredFile, describe_folder, folders_of, header_of

if TYPE_CHECKING:
    from localhost_hub import LocalhostHub

_LARGE_FILE_BYTES = 10 * 2**20
_LARGE_SUFFIXES = (".parquet", ".safetensors", ".bin", ".wav")
_KINDS = ("model", "dataset", "space")


class Refused(Exception):
    """An answer other than success."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.body = status, {"error": message, **body}
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}


@dataclass(frozen=True)
class Request:
    """A request that has arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def option(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    def has(self, name: str) -> bool:
        return self.option(name).lower() in ("true", "1")


_REPOSITORY = r"(?P<name>[\w.-]+/[\w.-]+)"
_API = rf"/api/(?P<kind>model|dataset|space)s/{_REPOSITORY}"
_PREFIXED = rf"/(?P<kind>datasets/|spaces/)?{_REPOSITORY}"
_REVISION = r"(?P<revision>[^/]+)"


class Answers:
    """Answers one request; each `_on_…` method is one entry of `_ROUTES`."""

    def __init__(self, hub: LocalhostHub, request: Request) -> None:
        self.hub, self.request = hub, request

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and content: bytes, or what becomes JSON."""
        self._account()  # a wrong token is refused everywhere, where none is needed too
        method = "GET" if self.request.method == "HEAD" else self.request.method
        for wanted, pattern, name in self._ROUTES:
            if wanted == method and (match := re.fullmatch(pattern, self.request.path)):
                content = getattr(self, name)(**{key: unquote(text or "") for key, text in match.groupdict().items()})
                return content if isinstance(content, tuple) else (200, {}, content)
        raise Refused(404, f"no route for {self.request.method} {self.request.path}")

    # Accounts and rights

    def _account(self) -> dict[str, Any] | None:
        given = self.request.headers.get("Authorization")
        if given is None:
            return None
        account = self.hub.accounts.get(given.removeprefix("Bearer "))
        if account is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return account

    def _require_account(self) -> dict[str, Any]:
        account = self._account()
        if account is None:
            raise Refused(401, "Invalid username or password.")
        return account

    def _owns(self, namespace: str) -> bool:
        account = self._account()
        return account is not None and namespace in (account["name"], *account["orgs"])

    def _may_write(self, namespace: str) -> bool:
        return self._owns(namespace) and self._account().get("role", "write") == "write"

    def _repository(self, kind: str, name: str, *, write: bool = False) -> Repository:
        kind = next((known for known in ("dataset", "space") if kind.startswith(known)), "model")
        repository = self.hub.repositories.get((kind, name))
        namespace = name.split("/")[0]
        if repository is None or (repository.private and not self._owns(namespace)):
            raise Refused(401 if self._account() is None else 404, "Repository not found", "RepoNotFound")
        if write and not self._may_write(namespace):
            raise Refused(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repository

    def _require_permission(self, repository: Repository) -> None:
        """Refuse the files of a gated repository to those who have no permission."""
        account = self._account()
        if not repository.gated or self._owns(repository.id.split("/")[0]):
            return
        if account is None:
            raise Refused(401, f"Access to {repository.id} is restricted. Please log in.", "GatedRepo")
        if account["name"] not in repository.granted:
            raise Refused(403, f"Access to {repository.id} is restricted: ask for permission.", "GatedRepo")

    def _commit_of(self, repository: Repository, revision: str) -> str:
        commit = repository.resolve(revision)
        if commit is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def _page(self, entries: list[Any], size: int | None = None) -> Any:
        """Return one page of a listing, with the address of the next one."""
        first = int(self.request.option("cursor", "0"))
        last = first + (size or self.hub.page_size)
        headers = {}
        if last < len(entries):
            query = urlencode({**self.request.query, "cursor": [str(last)]}, doseq=True)
            headers["Link"] = f'<{self.hub.url}{self.request.path}?{query}>; rel="next"'
        return 200, headers, entries[first:last]

    def _url(self, kind: str, name: str) -> str:
        return f"{self.hub.url}/{'' if kind in ('', 'model') else f'{kind}s/'}{name}"

    # Accounts

    def _on_whoami(self) -> Any:
        account = self._require_account()
        return {
            "type": "user",
            "name": account["name"],
            "orgs": [{"name": name} for name in account["orgs"]],
            "auth": {"type": "access_token", "accessToken": {"role": account.get("role", "write")}},
        }

    def _on_validate_yaml(self) -> Any:
        content = json.loads(self.request.body)["content"]
        try:
            header = header_of({"README.md": StoredFile(content.encode(), False)})
        except yaml.YAMLError as error:
            raise Refused(400, "Invalid YAML", errors=[{"message": f"YAML: {error}"}], warnings=[]) from error
        if header is not None and not isinstance(header, dict):
            raise Refused(400, "Invalid YAML", errors=[{"message": '"metadata" must be an object'}], warnings=[])
        warnings = [] if header else [{"message": "empty or missing yaml metadata in repo card"}]
        return {"errors": [], "warnings": warnings}

    # Repositories

    def _asked_repository(self) -> tuple[str, str, dict[str, Any]]:
        """Return kind and id of the repository that the body names, and the body."""
        asked, account = json.loads(self.request.body), self._require_account()
        return asked.get("type") or "model", f"{asked.get('organization') or account['name']}/{asked['name']}", asked

    def _on_create(self) -> Any:
        kind, name, asked = self._asked_repository()
        namespace, url = name.split("/")[0], self._url(kind, name)
        if not self._may_write(namespace):
            raise Refused(403, f'You don\'t have the rights to create a {kind} under the namespace "{namespace}"')
        if (kind, name) in self.hub.repositories:
            raise Refused(409, f"You already created this {kind} repo", url=url)
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.create(name, kind=kind, private=private and not self.hub.ignores_visibility, sdk=asked.get("sdk"))
        return {"url": url, "name": name}

    def _on_delete(self) -> Any:
        kind, name, _ = self._asked_repository()
        self._repository(kind, name, write=True)
        del self.hub.repositories[kind, name]
        return {}

    def _on_settings(self, kind: str, name: str) -> Any:
        repository, asked = self._repository(kind, name, write=True), json.loads(self.request.body)
        if "visibility" in asked:
            repository.private = asked["visibility"] == "private"
        repository.gated = asked.get("gated", repository.gated)
        return {}

    def _on_list(self, kind: str) -> Any:
        wanted, words = self.request.query.get("filter", []), self.request.option("search").lower()
        found = []
        for (its_kind, name), repository in sorted(self.hub.repositories.items()):
            entry = repository.describe(repository.resolve("main"))
            tags = {*entry["tags"], entry.get("pipeline_tag")}
            is_hidden = repository.private and not self._owns(entry["author"])
            if its_kind != kind or is_hidden or words not in name.lower():
                continue
            if self.request.option("author", entry["author"]) == entry["author"] and tags.issuperset(wanted):
                found.append(entry)
        if wanted_task := self.request.option("pipeline_tag"):
            found = [entry for entry in found if entry.get("pipeline_tag") == wanted_task]
        return self._page(found)

    def _on_info(self, kind: str, name: str, revision: str = "main") -> Any:
        repository = self._repository(kind, name)
        commit = self._commit_of(repository, revision)
        files = repository.commits[commit]
        has_blobs = self.request.has("blobs")
        siblings = [
            file.describe_sibling(path) if has_blobs else {"rfilename": path} for path, file in sorted(files.items())
        ]
        return {**repository.describe(commit), "cardData": header_of(files), "siblings": siblings}

    def _on_auth_check(self, kind: str, name: str, write: str) -> Any:
        self._require_permission(self._repository(kind, name, write=bool(write)))
        return {}

    # Branches, tags, history

    def _on_refs(self, kind: str, name: str) -> Any:
        repository = self._repository(kind, name)
        listed: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
        for branch, commits in repository.branches.items():
            is_request = branch.startswith("refs/pr/")
            ref = branch if is_request else f"refs/heads/{branch}"
            short = branch.removeprefix("refs/pr/") if is_request else branch
            listed["pullRequests" if is_request else "branches"].append(
                {"name": short, "ref": ref, "targetCommit": commits[-1]}
            )
        for tag, commit in repository.tags.items():
            listed["tags"].append({"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": commit})
        return listed

    def _on_branch(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=True)
        if revision in repository.branches:
            raise Refused(409, "Reference already exists")
        start = (json.loads(self.request.body or b"{}") or {}).get("startingPoint") or "main"
        repository.branches[revision] = repository.history(self._commit_of(repository, start))
        return {}

    def _on_delete_branch(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=True)
        if revision == "main":
            raise Refused(403, "The main branch cannot be deleted")
        if repository.branches.pop(revision, None) is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return {}

    def _on_tag(self, kind: str, name: str, revision: str) -> Any:
        repository, asked = self._repository(kind, name, write=True), json.loads(self.request.body)
        commit = self._commit_of(repository, revision)
        if asked["tag"] in repository.tags:
            raise Refused(409, "Tag reference exists already")
        repository.tags[asked["tag"]] = commit
        return {}

    def _on_delete_tag(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=True)
        if repository.tags.pop(revision, None) is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return {}

    def _on_commits(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name)
        return self._page(
            [
                {
                    "id": commit,
                    "title": repository.messages[commit],
                    "message": repository.details[commit]["description"],
                    "authors": [{"user": repository.details[commit]["author"]}],
                    "date": repository.details[commit]["date"],
                }
                for commit in reversed(repository.history(self._commit_of(repository, revision)))
            ]
        )

    # Listings of files

    def _describe(self, repository: Repository, commit: str, path: str, *, expand: bool) -> dict[str, Any]:
        file = repository.commits[commit].get(path)
        entry = describe_folder(path) if file is None else file.describe(path)
        if expand:
            last = repository.last_change(commit, path)
            date = repository.details[last]["date"]
            entry["lastCommit"] = {"id": last, "title": repository.messages[last], "date": date}
        return entry

    def _on_tree(self, kind: str, name: str, revision: str, folder: str = "") -> Any:
        repository = self._repository(kind, name)
        commit = self._commit_of(repository, revision)
        start = f"{folder.strip('/')}/" if folder.strip("/") else ""
        below = [path for path in repository.commits[commit] if path.startswith(start)]
        if start and not below:
            raise Refused(404, f"{folder} does not exist", "EntryNotFound", headers={"X-Repo-Commit": commit})
        names = sorted([*below, *folders_of(below, start)])
        if not self.request.has("recursive"):
            names = [path for path in names if "/" not in path[len(start) :]]
        expand = self.request.has("expand")
        return self._page([self._describe(repository, commit, path, expand=expand) for path in names])

    def _on_paths_info(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name)
        commit = self._commit_of(repository, revision)
        body = self.request.body
        is_json = "json" in self.request.headers.get("Content-Type", "")
        asked = json.loads(body) if is_json else parse_qs(body.decode())
        expand = str(asked.get("expand")).strip("[]'").lower() in ("true", "1")
        known = {*repository.commits[commit], *folders_of(repository.commits[commit])}
        return [self._describe(repository, commit, path, expand=expand) for path in asked["paths"] if path in known]

    # Uploads

    def _on_preupload(self, kind: str, name: str, revision: str) -> Any:
        repository = self._repository(kind, name, write=not self.request.has("create_pr"))
        files = repository.commits[self._commit_of(repository, revision)]
        answers = []
        for asked in json.loads(self.request.body)["files"]:
            path = asked["path"]
            is_large = path.endswith(_LARGE_SUFFIXES) or asked["size"] > _LARGE_FILE_BYTES
            mode, known = "lfs" if is_large else "regular", files[path].etag if path in files else None
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known})
        return {"files": answers}

    def _on_batch(self, kind: str, name: str) -> Any:
        self._repository(kind, name)
        self._require_account()
        answers = []
        for asked in json.loads(self.request.body)["objects"]:
            answer: dict[str, Any] = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.large_files:
                answer["actions"] = {
                    "upload": {"href": f"{self.hub.url}/large-files/{asked['oid']}"},
                    "verify": {"href": f"{self.hub.url}/large-files/{asked['oid']}/verify"},
                }
            answers.append(answer)
        return {"transfer": "basic", "objects": answers}

    def _on_put_large(self, oid: str) -> Any:
        if hashlib.sha256(self.request.body).hexdigest() != oid:
            raise Refused(400, "the content's SHA-256 is another")
        self.hub.large_files[oid] = self.request.body
        return b""

    def _on_verify_large(self, oid: str) -> Any:
        if oid not in self.hub.large_files:
            raise Refused(404, "not uploaded")
        return {}

    def _on_commit(self, kind: str, name: str, revision: str) -> Any:
        is_request = self.request.has("create_pr")
        repository = self._repository(kind, name, write=not is_request)
        account = self._require_account()
        if revision not in repository.branches:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        head = repository.branches[revision][-1]
        lines = [json.loads(line) for line in self.request.body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, head):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.commits[head])
        for line in lines:
            self._apply(files, line["key"], line["value"])
        answer = {"success": True, "hookOutput": ""}
        if is_request:
            number = 1 + sum(branch.startswith("refs/pr/") for branch in repository.branches)
            repository.branches[f"refs/pr/{number}"] = repository.history(head)
            revision, answer["pullRequestUrl"] = f"refs/pr/{number}", f"{self._url(kind, name)}/discussions/{number}"
        commit = repository.add_commit(
            revision, files, header["summary"], author=account["name"], description=header.get("description", "")
        )
        return {**answer, "commitOid": commit, "commitUrl": f"{self._url(kind, name)}/commit/{commit}"}

    def _apply(self, files: dict[str, StoredFile], key: str, value: dict[str, Any]) -> None:
        if key == "file":
            files[value["path"]] = StoredFile(base64.b64decode(value["content"]), False)
        elif key == "lfsFile":
            if value["oid"] not in self.hub.large_files:
                raise Refused(400, f"{value['path']}: its content was not uploaded")
            files[value["path"]] = StoredFile(self.hub.large_files[value["oid"]], True)
        elif key == "deletedFile":
            if files.pop(value["path"], None) is None:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
        elif key == "deletedFolder":
            for path in [path for path in files if path.startswith(f"{value['path'].rstrip('/')}/")]:
                del files[path]

    # Downloads

    def _on_resolve(self, kind: str, name: str, revision: str, path: str) -> Any:
        repository = self._repository(kind, name)
        self._require_permission(repository)
        commit = self._commit_of(repository, revision)
        file = repository.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if file is None:
            raise Refused(404, "Entry not found", "EntryNotFound", headers=headers)
        if not file.is_large:
            return self._content(file.content, {**headers, "ETag": f'"{file.etag}"'})
        # Content of large files comes from another host, by a signed address that needs no token.
        self.hub.large_files.setdefault(file.sha256, file.content)
        headers |= {
            "X-Linked-Etag": f'"{file.etag}"',
            "X-Linked-Size": str(len(file.content)),
            "Location": f"{self.hub.content_url}/large-files/{file.sha256}/{quote(path)}?key={self._key(file.sha256)}",
        }
        return 302, headers, b""

    def _key(self, oid: str) -> str:
        return hashlib.sha256(f"{self.hub.secret} {oid}".encode()).hexdigest()

    def _on_get_large(self, oid: str, path: str) -> Any:
        if self.request.option("key") != self._key(oid):
            raise Refused(403, f"{path}: the address is not signed")
        if oid not in self.hub.large_files:
            raise Refused(404, "not uploaded")
        return self._content(self.hub.large_files[oid], {"Accept-Ranges": "bytes", "ETag": f'"{oid}"'})

    def _content(self, content: bytes, headers: dict[str, str]) -> Any:
        """Answer with a file, or with the part asked for, or with nothing where the client has it."""
        headers = {**headers, "Content-Type": "application/octet-stream"}
        if headers["ETag"] in self.request.headers.get("If-None-Match", ""):
            return 304, headers, b""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.request.headers.get("Range", ""))
        if not match:
            return 200, headers, content
        first, last, size = match.group(1), match.group(2), len(content)
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last) + 1, size) if first and last else size
        if start >= size:
            raise Refused(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{size}"})
        return 206, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}, content[start:end]

    _ROUTES = (
        ("GET", r"/api/whoami-v2", "_on_whoami"),
        ("POST", r"/api/validate-yaml", "_on_validate_yaml"),
        ("POST", r"/api/repos/create", "_on_create"),
        ("DELETE", r"/api/repos/delete", "_on_delete"),
        ("GET", r"/api/(?P<kind>model|dataset|space)s", "_on_list"),
        ("GET", _API, "_on_info"),
        ("GET", rf"{_API}/revision/{_REVISION}", "_on_info"),
        ("GET", rf"{_API}/auth-check(?P<write>/write)?", "_on_auth_check"),
        ("PUT", rf"{_API}/settings", "_on_settings"),
        ("GET", rf"{_API}/refs", "_on_refs"),
        ("POST", rf"{_API}/branch/{_REVISION}", "_on_branch"),
        ("DELETE", rf"{_API}/branch/{_REVISION}", "_on_delete_branch"),
        ("POST", rf"{_API}/tag/{_REVISION}", "_on_tag"),
        ("DELETE", rf"{_API}/tag/{_REVISION}", "_on_delete_tag"),
        ("GET", rf"{_API}/commits/{_REVISION}", "_on_commits"),
        ("GET", rf"{_API}/tree/{_REVISION}(?P<folder>/.*)?", "_on_tree"),
        ("POST", rf"{_API}/paths-info/{_REVISION}", "_on_paths_info"),
        ("POST", rf"{_API}/preupload/{_REVISION}", "_on_preupload"),
        ("POST", rf"{_API}/commit/{_REVISION}", "_on_commit"),
        ("POST", rf"{_PREFIXED}\.git/info/lfs/objects/batch", "_on_batch"),
        ("PUT", r"/large-files/(?P<oid>[0-9a-f]{64})", "_on_put_large"),
        ("POST", r"/large-files/(?P<oid>[0-9a-f]{64})/verify", "_on_verify_large"),
        ("GET", r"/large-files/(?P<oid>[0-9a-f]{64})/(?P<path>.+)", "_on_get_large"),
        ("GET", rf"{_PREFIXED}/resolve/{_REVISION}/(?P<path>.+)", "_on_resolve"),
    )
