import hashlib
import http.server
import io
import json
import logging
import re
import shutil
import socket
import threading
import time
import urllib.parse
import zipfile
from collections import namedtuple

import datasets
import pytest

from nvv.data.archives import open_raw
from nvv.data.downloads import Download, ZenodoRecord, content_digest, fetch
from nvv.data.facts import CorpusFacts
from nvv.data.rawfiles import CorpusError, list_files

FACTS = CorpusFacts(
    name="vivae",
    pretty_name="VIVAE",
    licence="cc-by-nc-4.0",
    obtain="Get VIVAE.zip from its Zenodo page.",
    terms="Use it for research only.",
)
BY_HAND = "By hand: Get VIVAE.zip from its Zenodo page. Use it for research only. Then give it as data_dir."
FILES = {"VIVAE/full_set/S01_a.wav": b"one" * 1000, "VIVAE/full_set/S02_b.WAV": b"two", "VIVAE/notes.csv": b"x"}


def zip_bytes(contents, top=""):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in contents.items():
            opened.writestr(top + name, content)
    return buffer.getvalue()


def md5(content):
    return f"md5:{hashlib.md5(content).hexdigest()}"


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Server(http.server.ThreadingHTTPServer):
    """A host of files on this machine: path to content, and what goes wrong at the first GET requests of a path."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {}
        self.troubles = {}  # path to a list of "cut", "close", "slow", "hang" or HTTP statuses, one for each GET
        self.requests = []
        self.etag = None

    def add_record(self, record_id, contents, *, licence="cc-by-nc-4.0", checksums=None):
        """Publish files as Zenodo does: a description in JSON, and each file below it."""
        path = f"/api/records/{record_id}"
        entries = []
        for name, content in contents.items():
            address = f"{path}/files/{urllib.parse.quote(name)}/content"
            self.files[address] = content
            entries.append(
                {
                    "id": "0",
                    "key": name,
                    "size": len(content),
                    "checksum": (checksums or {}).get(name, md5(content)),
                    "links": {"self": f"{self.url}{address}"},
                }
            )
        metadata = {"title": "x", "access_right": "open", **({"license": {"id": licence}} if licence else {})}
        self.files[path] = json.dumps({"id": record_id, "metadata": metadata, "files": entries}).encode()

    def gets(self):
        return [path for method, path in self.requests if method == "GET"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.server.requests.append(("HEAD", self.path))
        self.answer(b"", len(self.server.files.get(self.path, b"")))

    def do_GET(self):
        self.server.requests.append(("GET", self.path))
        content = self.server.files.get(self.path, b"")
        troubles = self.server.troubles.get(self.path, [])
        trouble = troubles.pop(0) if troubles else None
        if isinstance(trouble, int):
            self.send_error(trouble)
        elif trouble == "close":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif trouble == "hang":
            time.sleep(1.5)
            self.close_connection = True
        elif trouble == "cut":
            self.answer(content[: len(content) // 2], len(content))
            self.close_connection = True
        else:
            if trouble == "slow":
                time.sleep(0.3)
            self.answer(content, len(content))

    def answer(self, content, length):
        if self.path not in self.server.files:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", self.server.etag or f'"{hashlib.md5(self.server.files[self.path]).hexdigest()}"')
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """This machine's own server is asked although the tests are offline."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def get(tmp_path):
    def get(*downloads, facts=FACTS, **options):
        options = {"pause": 0.01, "timeout": 10.0, **options}
        return fetch(downloads, facts=facts, cache_dir=tmp_path / "cache", **options)

    return get


@pytest.fixture
def cached(tmp_path):
    """Files that the caches hold beside locks."""

    def cached(folder="downloads"):
        return [path for path in (tmp_path / "cache" / folder).rglob("*") if path.suffix != ".lock"]

    return cached


@pytest.fixture
def record(server):
    server.add_record(4066235, {"VIVAE.zip": zip_bytes(FILES), "paper.pdf": b"%PDF"})
    return ZenodoRecord(record_id=4066235, include=("*.zip",), api=f"{server.url}/api")


def read(folder):
    return {name: (folder / name).read_bytes() for name in list_files(folder)}


def test_record_is_downloaded_checked_and_unpacked(server, record, get, cached, tmp_path):
    folder = get(record)
    assert read(folder) == FILES
    root = open_raw(folder, markers=("full_set/*.wav",), expected="x", cache_dir=tmp_path / "cache")
    assert root == folder / "VIVAE"
    assert not any("paper.pdf" in path for path in server.gets())
    assert cached() == []


def test_what_was_fetched_is_found_again_without_any_request(server, record, get, monkeypatch):
    folder = get(record)
    server.requests.clear()
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert get(record) == folder
    assert server.requests == []


def test_files_beside_archives_are_kept_with_them(server, get):
    labels = b"Filename,Participant,Label\r\n"
    server.add_record(5786860, {"wav files.zip": zip_bytes({"1.wav": b"1", "2.wav": b"2"}), "labels.csv": labels})
    folder = get(ZenodoRecord(record_id=5786860, api=f"{server.url}/api"))
    assert read(folder) == {"labels.csv": labels, "wav files/1.wav": b"1", "wav files/2.wav": b"2"}


def test_plain_download_is_checked_by_each_kind_of_checksum(server, get):
    content = zip_bytes(FILES)
    server.files["/VIVAE.zip"] = content
    for kind in ("md5", "sha256", "sha512"):
        checksum = f"{kind}:{hashlib.new(kind, content).hexdigest()}"
        assert read(get(Download(url=f"{server.url}/VIVAE.zip", checksum=checksum))) == FILES


def test_wrong_file_is_refused_and_downloaded_anew_next_time(server, get, cached):
    right = zip_bytes(FILES)
    wrong = right.replace(b"one", b"ONE")
    server.files["/VIVAE.zip"] = wrong
    download = Download(url=f"{server.url}/VIVAE.zip", checksum=sha256(right))
    with pytest.raises(CorpusError) as caught:
        get(download)
    assert str(caught.value) == (
        f"vivae: {server.url}/VIVAE.zip has {sha256(wrong)}, expected {sha256(right)}; it was removed, so that the "
        f"next run downloads it anew. {BY_HAND}"
    )
    assert cached() == cached("downloaded") == []
    server.files["/VIVAE.zip"] = right
    assert read(get(download)) == FILES


def test_record_whose_file_differs_from_its_checksum_is_refused(server, get, cached):
    server.add_record(1, {"VIVAE.zip": zip_bytes(FILES)}, checksums={"VIVAE.zip": md5(b"another")})
    with pytest.raises(CorpusError, match=rf"VIVAE.zip/content has md5:.*, expected {md5(b'another')}"):
        get(ZenodoRecord(record_id=1, api=f"{server.url}/api"))
    assert cached() == cached("downloaded") == []


@pytest.mark.parametrize("trouble", ["cut", "close", 503, 429])
def test_file_is_asked_for_again_when_the_server_fails(server, record, get, trouble, caplog):
    path = "/api/records/4066235/files/VIVAE.zip/content"
    server.troubles[path] = [trouble, trouble]
    with caplog.at_level(logging.WARNING):
        assert read(get(record)) == FILES
    assert server.gets().count(path) == 3
    assert "attempt 2 of 4" in caplog.text  # the HTTP client itself asks again once where a connection is closed


def test_slow_file_arrives(server, record, get):
    server.troubles["/api/records/4066235/files/VIVAE.zip/content"] = ["slow"]
    assert read(get(record)) == FILES


def test_cut_file_is_refused_when_every_attempt_fails(server, record, get, cached):
    path = "/api/records/4066235/files/VIVAE.zip/content"
    server.troubles[path] = ["cut"] * 9
    message = re.escape(
        f"cannot download {server.url}{path} (the connection broke before the end of the file). {BY_HAND}"
    )
    with pytest.raises(CorpusError, match=message):
        get(record, attempts=3)
    assert server.gets().count(path) == 3
    assert cached("downloaded") == []
    assert [path for path in cached() if path.suffix != ".incomplete"] == []
    server.troubles.clear()
    assert read(get(record)) == FILES


def test_server_that_does_not_answer_is_named(server, record, get):
    server.troubles["/api/records/4066235/files/VIVAE.zip/content"] = ["hang"]
    with pytest.raises(CorpusError, match="the server does not answer"):
        get(record, timeout=0.3, attempts=1)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_missing_file_is_not_asked_for_again(server, get, status):
    server.files["/VIVAE.zip"] = b"x"
    server.troubles["/VIVAE.zip"] = [status] * 9
    with pytest.raises(
        CorpusError, match=rf"^vivae: cannot download {server.url}/VIVAE.zip \(HTTP status {status}\). By"
    ):
        get(Download(url=f"{server.url}/VIVAE.zip", checksum=sha256(b"")))
    assert len(server.gets()) == 1


def test_missing_record_is_named(server, get):
    with pytest.raises(CorpusError, match=rf"cannot download {server.url}/api/records/7 \(HTTP status 404\)"):
        get(ZenodoRecord(record_id=7, api=f"{server.url}/api"))


def test_unreachable_host_is_named_at_once(get):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/VIVAE.zip"
    start = time.monotonic()
    with pytest.raises(CorpusError) as caught:
        get(Download(url=url, checksum=sha256(b"")), pause=30.0)
    assert str(caught.value).startswith(f"vivae: cannot download {url} (no connection to 127.0.0.1: ")
    assert str(caught.value).endswith(BY_HAND)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 20


def test_offline_mode_says_where_to_get_the_files(server, record, get, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(CorpusError) as caught:
        get(record)
    assert str(caught.value) == (
        f"vivae: cannot download {record.url} (offline mode: HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set). {BY_HAND}"
    )
    assert server.requests == []


def test_home_page_is_named_where_nothing_else_is_known(get, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    facts = CorpusFacts(name="x", pretty_name="X", licence="mit", homepage="https://example.org/x")
    with pytest.raises(CorpusError, match=r"By hand: See https://example.org/x. Then give it as data_dir\.$"):
        get(ZenodoRecord(record_id=1), facts=facts)


@pytest.mark.parametrize(("stated", "shown"), [("cc-by-nc-nd-4.0", "'cc-by-nc-nd-4.0'"), ("", "'none'")])
def test_record_with_another_licence_is_refused(server, get, stated, shown):
    server.add_record(1, {"VIVAE.zip": zip_bytes(FILES)}, licence=stated)
    with pytest.raises(CorpusError) as caught:
        get(ZenodoRecord(record_id=1, api=f"{server.url}/api"))
    assert f"states the licence {shown}, but cards would state 'cc-by-nc-4.0'; nothing was downloaded" in str(
        caught.value
    )
    assert str(caught.value).endswith(BY_HAND)
    assert server.gets() == ["/api/records/1"]


@pytest.mark.parametrize(
    ("stated", "ours"),
    [("cc-by-nc-4.0", "CC-BY-NC-4.0"), ("CC-BY-NC-4.0", "cc-by-nc-4.0"), ("x", "unknown"), ("x", "other")],
)
def test_licence_is_compared_without_case_and_only_where_known(server, get, stated, ours, caplog):
    server.add_record(1, {"VIVAE.zip": zip_bytes(FILES)}, licence=stated)
    facts = CorpusFacts(name="vivae", pretty_name="VIVAE", licence=ours, terms="Be kind.")
    assert read(get(ZenodoRecord(record_id=1, api=f"{server.url}/api"), facts=facts)) == FILES
    # Where ours is not known, whoever downloads is told what the record says.
    told = f"vivae: {server.url}/api/records/1 states the licence x. Be kind." in caplog.text
    assert told is (stated == "x")


def test_changed_record_is_read_anew_after_an_error(server, get):
    """The host may correct a licence or a checksum; an ETag that stays the same must not hide it."""
    record = ZenodoRecord(record_id=1, api=f"{server.url}/api")
    server.etag = '"always"'
    server.add_record(1, {"VIVAE.zip": zip_bytes(FILES)}, licence="mit")
    with pytest.raises(CorpusError, match="states the licence 'mit'"):
        get(record)
    server.add_record(1, {"VIVAE.zip": zip_bytes(FILES)})
    assert read(get(record)) == FILES


def test_record_without_the_file_is_refused(server, get):
    server.add_record(1, {"readme.txt": b"x", "VIVAE.rar": b"x"})
    with pytest.raises(CorpusError, match=r"has readme.txt, VIVAE.rar, none of them \*.zip or \*.tar.gz"):
        get(ZenodoRecord(record_id=1, include=("*.zip", "*.tar.gz"), api=f"{server.url}/api"))


@pytest.mark.parametrize(
    "content",
    [
        b"<html>We are working on it</html>",
        b"[]",
        b'{"metadata": {}}',
        b'{"metadata": {}, "files": [{"key": "a.zip", "size": 1, "links": {"self": "http://x/"}}]}',
        b'{"metadata": {}, "files": [{"key": "a.zip", "size": 1, "checksum": "", "links": {"self": "http://x/"}}]}',
        b'{"metadata": {}, "files": [{"key": "..", "size": 1, "checksum": "md5:0", "links": {"self": "http://x/"}}]}',
    ],
)
def test_description_in_another_form_is_refused(server, get, cached, content):
    server.files["/api/records/1"] = content
    with pytest.raises(CorpusError, match=rf"{server.url}/api/records/1 does not describe a record in the form known"):
        get(ZenodoRecord(record_id=1, api=f"{server.url}/api"))
    assert cached() == []


def test_files_larger_than_the_disk_are_refused_before_any_is_downloaded(server, record, get, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 100))
    with pytest.raises(CorpusError, match=r"vivae: its files have 0.0 GB, but .* has 0.0 GB free; make room"):
        get(record)
    assert server.gets() == ["/api/records/4066235"]


def test_damaged_archive_of_the_right_checksum_is_named(server, get, cached):
    content = zip_bytes(FILES)[:200]
    server.files["/VIVAE.zip"] = content
    with pytest.raises(CorpusError, match=r"^VIVAE.zip: damaged"):
        get(Download(url=f"{server.url}/VIVAE.zip", checksum=sha256(content)))
    assert cached("downloaded") == []


# printf '%s\t%s\n' S01_a.wav "$(sha256 of the file)" … | sha256sum, by hand for the two WAV files.
LINES = [
    f"{name}\t{hashlib.sha256(FILES[f'VIVAE/full_set/{name}']).hexdigest()}\n" for name in ("S01_a.wav", "S02_b.WAV")
]
DIGEST = hashlib.sha256("".join(LINES).encode()).hexdigest()


def test_content_digest_describes_the_audio_whatever_lies_around_it(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "somewhere" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    files = sorted(tmp_path.rglob("*.*"))
    assert content_digest(files) == content_digest(files[::-1]) == DIGEST
    assert content_digest([]) == hashlib.sha256(b"").hexdigest()
    files[0].write_bytes(b"changed")
    assert content_digest(files) != DIGEST


@pytest.mark.parametrize("top", ["", "corpus-HEAD/", "corpus-5c223a0/data/"])
def test_archive_packed_anew_is_checked_by_its_content(server, get, top):
    server.files["/archive/HEAD.zip"] = zip_bytes(FILES, top)
    folder = get(Download(url=f"{server.url}/archive/HEAD.zip", content_digest=DIGEST))
    assert read(folder) == {top + name: content for name, content in FILES.items()}


def test_archive_of_other_content_is_refused_and_downloaded_anew(server, get, cached):
    server.files["/HEAD.zip"] = zip_bytes({**FILES, "VIVAE/full_set/S02_b.WAV": b"TWO"})
    download = Download(url=f"{server.url}/HEAD.zip", content_digest=DIGEST)
    with pytest.raises(
        CorpusError, match=rf"the WAV files in {server.url}/HEAD.zip have .*, expected {DIGEST}; they were"
    ):
        get(download)
    assert cached() == cached("downloaded") == []
    server.files["/HEAD.zip"] = zip_bytes(FILES)
    assert read(get(download)) == FILES


def test_archive_checked_by_content_only_does_not_stay_when_it_is_damaged(server, get, cached):
    server.files["/HEAD.zip"] = zip_bytes(FILES)[:200]
    with pytest.raises(CorpusError, match=r"HEAD.zip: damaged"):
        get(Download(url=f"{server.url}/HEAD.zip", content_digest=DIGEST))
    assert cached() == []


URL = "https://example.org/a/VIVAE.zip?download=1"


def test_download_is_called_after_its_address():
    assert Download(url=URL, checksum=sha256(b"")).filename == "VIVAE.zip"
    assert Download(url=URL, checksum=sha256(b""), filename="b.zip").filename == "b.zip"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither checksum nor content_digest"),
        ({"checksum": "d41d8cd98f00b204e9800998ecf8427e"}, "expected md5:, sha256: or sha512:"),
        ({"checksum": "md5:d41d8cd9"}, "expected md5:"),
        ({"checksum": "crc32:d41d8cd9"}, "expected md5:"),
        ({"checksum": "md5:" + "Z" * 32}, "expected md5:"),
        ({"content_digest": "abc"}, "64 lower-case"),
        ({"content_digest": "0" * 64, "filename": "labels.csv"}, "'labels.csv' is none"),
        ({"checksum": sha256(b""), "filename": "../a.zip"}, "'../a.zip' is no file name"),
    ],
)
def test_download_that_could_not_be_checked_cannot_be_stated(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Download(url=URL, **options)


def test_attempts_must_be_at_least_one(record, get):
    with pytest.raises(ValueError, match="attempts must be at least 1, got 0"):
        get(record, attempts=0)


def test_record_is_asked_for_at_zenodo_unless_told_otherwise():
    assert ZenodoRecord(record_id=4066235).url == "https://zenodo.org/api/records/4066235"


@pytest.mark.realdata
def test_content_digest_of_the_real_sample_is_as_published(real_data):
    files = list((real_data / "nonverbal_vocalization").rglob("*"))
    # find . -name '*.wav', sorted, with sha256sum of each, piped to sha256sum, in the folder `dataset`
    assert content_digest(files) == "9f3c8e97934001b2035bc98ce0e3049219f111ffd019a75d10b57f045c46278c"
