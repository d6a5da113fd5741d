"""A Hub on localhost: repositories, accounts and large files over real HTTP, for the real clients.

It speaks what `huggingface_hub`, `transformers`, `datasets`, `peft` and `evaluate` ask of the Hub when Xet is switched
off (`HF_HUB_DISABLE_XET=1`), for models, datasets and Spaces alike. Everything is kept in memory; every request is in
`log`; `fail_next`, `cut_next` and `delay_next` make requests fail; `stop` takes the Hub off the net. What the answers
look like is taken from the clients' sources, which read them; what they are is in `localhost_hub_answers`.

Of what others maintain nothing serves this: olah, the one package on the registry that clients can be pointed at, is a
cache in front of the public Hub and takes no uploads; KohakuHub, which does, is no package but a set of services
(database, object storage, LakeFS) to be run in containers; neither fails on demand. Own work.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from localhost_hub_answers import Answers, Refused, Request
from localhost_hub_repository import Repository, StoredFile

FIRST_FILES = {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}


@dataclass(frozen=True)
class LoggedRequest:
    """A request as it came, without any token.

    Attributes:
        method: Such as "GET".
        path: Without the query.
        status: Of the answer; None where the connection was cut.
        account: Name of the account whose token came with it.
        range: The part of a file asked for, such as "bytes=10-".
    """

    method: str
    path: str
    status: int | None
    account: str | None = None
    range: str = ""


@dataclass
class _Failure:
    method: str
    pattern: re.Pattern[str]
    times: float
    status: int | None = None
    cut: str = ""  # "request" or "answer"
    delay_s: float = 0.0
    refusal: dict[str, Any] = field(default_factory=dict)


@dataclass
class LocalhostHub:
    """State of the Hub and its address.

    Attributes:
        url: Where it listens.
        accounts: Token to account: `name`, `orgs` that it may write to, and `role`, "read" where it may only read.
        repositories: By kind and id.
        large_files: SHA-256 to content.
        log: All requests, in order of their ends.
        ignores_visibility: Whether new repositories are public whatever was asked.
        page_size: Entries of a listing in one answer.
        secret: What signs the addresses of large files.
        defects: Tracebacks of errors in the Hub's own code.
    """

    url: str = ""
    accounts: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "hf_ada": {"name": "ada", "orgs": ["lab"]},
            "hf_ada_reads": {"name": "ada", "orgs": ["lab"], "role": "read"},
            "hf_bob": {"name": "bob", "orgs": []},
        }
    )
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)
    log: list[LoggedRequest] = field(default_factory=list)
    ignores_visibility: bool = False
    page_size: int = 1000
    secret: str = field(default_factory=secrets.token_hex)
    defects: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _failures: list[_Failure] = field(default_factory=list)
    _server: _Server | None = None

    # The net

    def start(self) -> None:
        """Listen on a free port, or on the same one as before `stop`."""
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", urlsplit(self.url).port or 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Stop listening and cut the connections that clients keep open."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.cut_connections()
            self._server = None

    @property
    def content_url(self) -> str:
        """Address that the content of large files comes from: for clients another host."""
        return self.url.replace("127.0.0.1", "localhost")

    # Repositories

    def create(
        self,
        repository_id: str,
        *,
        kind: str = "dataset",
        private: bool = False,
        files: dict[str, bytes] | None = None,
        gated: str | bool = False,
        sdk: str | None = None,
    ) -> Repository:
        """Make a repository as its owner would on the web page."""
        repository = Repository(repository_id, kind, private, gated=gated, sdk=sdk)
        stored = {path: StoredFile(content, False) for path, content in {**FIRST_FILES, **(files or {})}.items()}
        repository.add_commit("main", stored, "initial commit")
        self.repositories[kind, repository_id] = repository
        return repository

    def model(self, repository_id: str) -> Repository:
        return self.repositories["model", repository_id]

    def dataset(self, repository_id: str) -> Repository:
        return self.repositories["dataset", repository_id]

    def space(self, repository_id: str) -> Repository:
        return self.repositories["space", repository_id]

    # Requests

    def requests(self, method: str = ".*", pattern: str = "") -> list[LoggedRequest]:
        """Return the logged requests with this method whose path holds the pattern."""
        with self.lock:
            return [
                entry for entry in self.log if re.fullmatch(method, entry.method) and re.search(pattern, entry.path)
            ]

    def fail_next(
        self,
        method: str,
        pattern: str,
        *,
        times: float = 1,
        status: int | None = None,
        code: str | None = None,
        message: str = "failure on demand",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make the next requests fail whose path holds the pattern.

        Args:
            method: Such as `"PUT"`.
            pattern: Regular expression.
            times: How often; `math.inf` for until `clear_failures`.
            status: Answer with it; None cuts the connection after half of what was sent was read.
            code: The Hub's own error code, such as `"GatedRepo"`.
            message: The Hub's explanation.
            headers: Further headers, such as `{"Retry-After": "2"}`.
        """
        refusal = {"message": message, "code": code, "headers": headers}
        self._add(_Failure(method, re.compile(pattern), times, status, "" if status else "request", refusal=refusal))

    def cut_next(self, pattern: str, *, times: float = 1, method: str = "GET") -> None:
        """Cut the connection after half of the content of the next answers, which announce all of it."""
        self._add(_Failure(method, re.compile(pattern), times, cut="answer"))

    def delay_next(self, method: str, pattern: str, seconds: float, *, times: float = 1) -> None:
        """Let the next requests wait for their answer."""
        self._add(_Failure(method, re.compile(pattern), times, delay_s=seconds))

    def _add(self, failure: _Failure) -> None:
        with self.lock:
            self._failures.append(failure)

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
    """Serve a Hub on a free port of localhost until the block ends, or until its `stop`.

    Raises:
        RuntimeError: If the Hub's own code failed meanwhile; clients only see a status of 500.
    """
    hub = LocalhostHub()
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()
    if hub.defects:
        raise RuntimeError("The Hub on localhost failed:\n" + "\n".join(hub.defects))


class _Server(ThreadingHTTPServer):
    """A thread a connection, none of which outlives `LocalhostHub.stop`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: set[socket.socket] = set()

    def cut_connections(self) -> None:
        for connection in list(self.connections):
            with suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away; `_Handler` keeps what is the Hub's own fault."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, fails where that was asked for, and writes the answer."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and content leave together
    disable_nagle_algorithm = True
    hub: LocalhostHub
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Stay quiet; `LocalhostHub.log` has it all."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        address = urlsplit(self.path)
        path, size = address.path, int(self.headers.get("Content-Length") or 0)
        failure = self.hub.take_failure(self.command, path)
        if failure is not None and failure.cut == "request":
            self.rfile.read(size // 2)
            self._note(path, None)
            self._cut()
            return
        body = self.rfile.read(size) if size else self._read_chunks()
        if failure is not None and failure.delay_s:
            time.sleep(failure.delay_s)
        request = Request(self.command, path, parse_qs(address.query), self.headers, body)
        try:
            if failure is not None and failure.status is not None:
                raise Refused(failure.status, **failure.refusal)
            with self.hub.lock:
                status, headers, content = Answers(self.hub, request).answer()
        except Refused as refused:
            status, headers, content = refused.status, refused.headers, refused.body
        except Exception:  # a defect here must not look like a dropped connection to the test
            self.hub.defects.append(traceback.format_exc())
            status, headers, content = 500, {}, {"error": "the Hub on localhost has a defect"}
        if not isinstance(content, bytes):
            headers = {**headers, "Content-Type": "application/json"}
            content = json.dumps(content).encode()
        is_cut = failure is not None and failure.cut == "answer"
        self._note(path, None if is_cut else status)
        self._send(status, headers, content, is_cut=is_cut)

    def _send(self, status: int, headers: Mapping[str, str], content: bytes, *, is_cut: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        if is_cut:
            self.wfile.flush()
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

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
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        account = self.hub.accounts.get(token, {}).get("name")
        with self.hub.lock:
            self.hub.log.append(
                LoggedRequest(self.command, path, status, account, range=self.headers.get("Range") or "")
            )
