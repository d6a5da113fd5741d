"""The Hub on localhost as `huggingface_hub` sees it; the other clients are in test_localhost_hub_clients.py."""

import hashlib
import math
import os
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi, HfFileSystem, hf_hub_download
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session
from huggingface_hub.utils.sha import git_hash

KINDS = ["model", "dataset", "space"]
CARD = "---\nlicense: cc0-1.0\ntags: [nvv, lora]\n---\n# Sounds\n"
LARGE = bytes(range(256)) * 400  # 102,400 bytes
NAME = "model.safetensors"  # a large file by its suffix


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url)


@pytest.fixture
def anonymous(hub):
    return HfApi(endpoint=hub.url, token=False)


@pytest.fixture
def make_repository(api):
    """The function that makes a model repository with a card, a nested file and a large one."""

    def make(name="ada/sounds", **options):
        api.create_repo(name, **options)
        operations = [
            CommitOperationAdd("README.md", CARD.encode()),
            CommitOperationAdd("notes/first/a.txt", b"one"),
            CommitOperationAdd(NAME, LARGE),
        ]
        return api.create_commit(name, operations, commit_message="Sounds", commit_description="All of them").oid

    return make


def whole_files(cache):
    """Size of each file of a download cache that looks whole."""
    return sorted(path.stat().st_size for path in cache.glob("*/blobs/*") if not path.name.endswith(".incomplete"))


@pytest.fixture
def cache(hub):
    return Path(huggingface_hub.constants.HF_HUB_CACHE)


# Repositories and files


@pytest.mark.parametrize("kind", KINDS)
def test_files_come_back_whole_in_every_kind_of_repository(kind, api, hub, tmp_path):
    folder = tmp_path / "folder"
    contents = {"README.md": CARD.encode(), "data/b/a.txt": b"", "data/x.parquet": LARGE, "app.py": b"print()\n" * 2000}
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    url = api.create_repo("lab/all", repo_type=kind, private=True, space_sdk="gradio" if kind == "space" else None)
    prefix = "" if kind == "model" else f"{kind}s/"
    assert str(url) == f"{hub.url}/{prefix}lab/all"
    commit = api.upload_folder(repo_id="lab/all", repo_type=kind, folder_path=folder, commit_message="All")
    assert commit.commit_url == f"{hub.url}/{prefix}lab/all/commit/{commit.oid}"

    info = api.repo_info("lab/all", repo_type=kind, files_metadata=True)
    assert (info.id, info.sha, info.private, info.gated, info.card_data.license) == (
        "lab/all",
        commit.oid,
        True,
        False,
        "cc0-1.0",
    )
    assert {file.rfilename: file.size for file in info.siblings if file.rfilename != ".gitattributes"} == {
        path: len(content) for path, content in contents.items()
    }
    assert sorted(api.list_repo_files("lab/all", repo_type=kind)) == sorted([*contents, ".gitattributes"])
    for path, content in contents.items():
        found = hf_hub_download("lab/all", path, repo_type=kind)
        with open(found, "rb") as file:
            assert file.read() == content
        # The cache names a file by its ETag: git's hash, or SHA-256 where the file is large.
        expected = hashlib.sha256(content).hexdigest() if path.endswith("parquet") else git_hash(content)
        assert os.path.basename(os.path.realpath(found)) == expected
    elsewhere = huggingface_hub.snapshot_download("lab/all", repo_type=kind, cache_dir=tmp_path / "elsewhere")
    assert {path: (tmp_path / elsewhere / path).read_bytes() for path in contents} == contents
    if kind == "space":
        assert info.sdk == "gradio"


def test_folders_are_listed_with_what_changed_them_last(api, make_repository):
    first = make_repository()
    second = api.upload_file(path_or_fileobj=b"two", path_in_repo="notes/b.txt", repo_id="ada/sounds").oid
    entries = {entry.path: entry for entry in api.list_repo_tree("ada/sounds", "notes", recursive=True, expand=True)}
    assert {path: entry.last_commit.oid for path, entry in entries.items()} == {
        "notes/first": first,
        "notes/first/a.txt": first,
        "notes/b.txt": second,
    }
    assert [entry.path for entry in api.list_repo_tree("ada/sounds", "notes")] == ["notes/b.txt", "notes/first"]
    (large,) = api.get_paths_info("ada/sounds", [NAME, "none.txt"])
    assert (large.size, large.lfs.sha256) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())


def test_listings_come_in_pages(api, hub, make_repository):
    make_repository()
    hub.page_size = 2
    assert len(list(api.list_repo_tree("ada/sounds", recursive=True))) == 6  # 4 files, 2 folders
    assert len(hub.requests("GET", "/tree/")) == 3
    assert [commit.title for commit in api.list_repo_commits("ada/sounds")] == ["Sounds", "initial commit"]


def test_files_are_copied_and_deleted(api, make_repository):
    make_repository()
    api.create_commit(
        "ada/sounds",
        [CommitOperationCopy(NAME, "copy.safetensors"), CommitOperationCopy("README.md", "CARD.md")],
        commit_message="Copy",
    )
    api.delete_folder("notes", "ada/sounds")
    api.delete_file(NAME, "ada/sounds")
    found = sorted(api.list_repo_files("ada/sounds"))
    assert found == [".gitattributes", "CARD.md", "README.md", "copy.safetensors"]
    with open(hf_hub_download("ada/sounds", "copy.safetensors"), "rb") as file:
        assert file.read() == LARGE
    with pytest.raises(EntryNotFoundError, match="differentiate file and folder"):
        api.delete_file("notes", "ada/sounds")


def test_large_file_is_sent_once_and_fetched_from_another_host_without_the_token(api, hub, make_repository):
    make_repository()
    api.create_repo("ada/again")
    api.upload_file(path_or_fileobj=LARGE, path_in_repo=NAME, repo_id="ada/again")
    assert len(hub.requests("PUT", "large-files")) == 1
    hf_hub_download("ada/again", NAME)
    (head,) = hub.requests("HEAD", "/resolve/")
    assert (head.status, head.account) == (302, "ada")
    (fetched,) = hub.requests("GET", "large-files")
    assert (fetched.status, fetched.account) == (200, None)
    unsigned = get_session().get(f"{hub.content_url}{fetched.path}")
    assert unsigned.status_code == 403


def test_header_that_is_no_yaml_is_refused_before_anything_is_sent(api, hub, make_repository):
    make_repository()
    before = len(hub.requests("POST", "preupload"))
    for header, message in [("a: [1", "YAML"), ("- a", "must be an object")]:
        card = f"---\n{header}\n---\n# Card\n".encode()
        with pytest.raises(ValueError, match=f"Invalid metadata in README.md.\n- .*{message}"):
            api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="ada/sounds")
    assert len(hub.requests("POST", "preupload")) == before


# Revisions


def test_each_revision_gives_its_own_files(api, make_repository):
    first = make_repository()
    api.create_tag("ada/sounds", tag="v1", tag_message="First")
    api.create_branch("ada/sounds", branch="trial/b", revision=first)
    for revision, text in [("main", b"main"), ("trial/b", b"trial")]:
        api.upload_file(path_or_fileobj=text, path_in_repo="a.txt", repo_id="ada/sounds", revision=revision)
    second = api.repo_info("ada/sounds").sha
    for revision, expected in [(None, b"main"), ("trial/b", b"trial"), (second, b"main"), (second[:8], b"main")]:
        with open(hf_hub_download("ada/sounds", "a.txt", revision=revision), "rb") as file:
            assert file.read() == expected
    for revision in ("v1", first, first[:7]):
        with pytest.raises(EntryNotFoundError):
            hf_hub_download("ada/sounds", "a.txt", revision=revision)
        assert api.repo_info("ada/sounds", revision=revision).sha == first
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("ada/sounds", "a.txt", revision="v2")


def test_branches_and_tags_are_made_listed_and_deleted(api, make_repository):
    commit = make_repository()
    api.create_branch("ada/sounds", branch="trial")
    api.create_branch("ada/sounds", branch="trial", exist_ok=True)
    api.create_tag("ada/sounds", tag="v1", revision="trial")
    refs = api.list_repo_refs("ada/sounds")
    assert [(ref.name, ref.ref, ref.target_commit) for ref in (*refs.branches, *refs.tags)] == [
        ("main", "refs/heads/main", commit),
        ("trial", "refs/heads/trial", commit),
        ("v1", "refs/tags/v1", commit),
    ]
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_branch("ada/sounds", branch="trial")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag("ada/sounds", tag="v1")
    api.delete_branch("ada/sounds", branch="trial")
    api.delete_tag("ada/sounds", tag="v1")
    refs = api.list_repo_refs("ada/sounds")
    assert ([ref.name for ref in refs.branches], refs.tags) == (["main"], [])
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag("ada/sounds", tag="v1")
    with pytest.raises(HfHubHTTPError, match="403"):
        api.delete_branch("ada/sounds", branch="main")


def test_history_of_a_branch_holds_what_it_started_from(api, make_repository):
    commit = make_repository()
    api.create_branch("ada/sounds", branch="trial", revision=commit)
    api.delete_file(NAME, "ada/sounds", revision="trial", commit_message="No weights")
    newest, middle, oldest = api.list_repo_commits("ada/sounds", revision="trial")
    assert (newest.title, newest.authors) == ("No weights", ["ada"])
    assert (middle.commit_id, middle.message) == (commit, "All of them")
    assert oldest.title == "initial commit"
    assert newest.created_at >= middle.created_at >= oldest.created_at


def test_pull_request_leaves_the_branch_alone(api, hub, make_repository):
    commit = make_repository()
    reader = HfApi(endpoint=hub.url, token="hf_bob")
    made = reader.create_commit(
        "ada/sounds", [CommitOperationAdd("b.txt", b"from bob")], commit_message="Add", create_pr=True
    )
    assert made.pr_url == f"{hub.url}/ada/sounds/discussions/1"
    assert made.pr_revision == "refs/pr/1"
    assert api.repo_info("ada/sounds").sha == commit
    with open(hf_hub_download("ada/sounds", "b.txt", revision="refs/pr/1"), "rb") as file:
        assert file.read() == b"from bob"
    (request,) = api.list_repo_refs("ada/sounds", include_pull_requests=True).pull_requests
    assert request.target_commit == made.oid


# Settings and listings


def test_repository_is_seen_by_its_owners_only_while_it_is_private(api, anonymous, make_repository):
    make_repository(private=True)
    assert not anonymous.repo_exists("ada/sounds")
    api.update_repo_settings("ada/sounds", private=False)
    assert anonymous.repo_info("ada/sounds").private is False
    api.update_repo_settings("ada/sounds", visibility="private")
    with pytest.raises(RepositoryNotFoundError):
        anonymous.repo_info("ada/sounds")


def test_deleted_repository_is_gone(api, make_repository):
    make_repository()
    api.delete_repo("ada/sounds")
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("ada/sounds")
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("ada/sounds")
    api.delete_repo("ada/sounds", missing_ok=True)


def test_listings_are_filtered_by_what_the_cards_say(api, anonymous, hub):
    cards = {
        "ada/lora": "library_name: peft\npipeline_tag: audio-classification\ntags: [nvv, lora]\nlicense: mit\n"
        "base_model: openai/whisper-tiny\nbase_model_relation: adapter\ndatasets: [ada/vivae]",
        "ada/full": "library_name: transformers\npipeline_tag: audio-classification\ntags: [nvv]",
        "lab/other": "tags: [vision]",
    }
    for name, header in cards.items():
        hub.create(name, kind="model", files={"README.md": f"---\n{header}\n---\n".encode()})
    hub.create("ada/secret", kind="model", private=True)
    hub.create("ada/vivae", kind="dataset", files={"README.md": b"---\ntask_categories: [audio-classification]\n---\n"})
    hub.page_size = 1

    def names(**options):
        return [model.id for model in anonymous.list_models(**options)]

    assert names() == ["ada/full", "ada/lora", "lab/other"]
    assert names(author="ada") == ["ada/full", "ada/lora"]
    assert names(filter=["nvv", "lora"]) == ["ada/lora"]
    assert names(filter="base_model:adapter:openai/whisper-tiny") == ["ada/lora"]
    assert names(filter=["license:mit", "peft"]) == ["ada/lora"]
    assert names(trained_dataset="ada/vivae") == ["ada/lora"]
    assert names(pipeline_tag="audio-classification", search="FULL") == ["ada/full"]
    assert [model.id for model in api.list_models(author="ada", limit=3)] == ["ada/full", "ada/lora", "ada/secret"]
    assert [data.id for data in api.list_datasets(filter="task_categories:audio-classification")] == ["ada/vivae"]
    found = anonymous.model_info("ada/lora")
    assert (found.library_name, found.pipeline_tag) == ("peft", "audio-classification")


# Parts of files


def test_file_system_finds_and_reads_parts_of_files(api, hub):
    api.create_repo("ada/table", repo_type="dataset")
    for path in ("data/train-0.parquet", "data/train-1.parquet", "data/test-0.parquet", "data/deep/x.txt"):
        api.upload_file(path_or_fileobj=LARGE, path_in_repo=path, repo_id="ada/table", repo_type="dataset")
    system = HfFileSystem(endpoint=hub.url, skip_instance_cache=True)
    found = system.glob("datasets/ada/table/data/train-*.parquet")
    assert found == ["datasets/ada/table/data/train-0.parquet", "datasets/ada/table/data/train-1.parquet"]
    assert system.glob("datasets/ada/table/**/*.txt") == ["datasets/ada/table/data/deep/x.txt"]
    with system.open(found[0], "rb", block_size=1000) as file:
        file.seek(50_000)
        assert file.read(10) == LARGE[50_000:50_010]
    read = [entry for entry in hub.requests("GET", "large-files") if entry.status == 206]
    assert read
    assert all(entry.range.startswith("bytes=50000-") for entry in read)
    with pytest.raises(FileNotFoundError):
        system.info("datasets/ada/table/none.txt")


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=10-19", 206, LARGE[10:20]),
        ("bytes=102390-", 206, LARGE[-10:]),
        ("bytes=-5", 206, LARGE[-5:]),
        ("bytes=102390-999999", 206, LARGE[-10:]),
        ("bytes=102400-", 416, None),
        ("", 200, LARGE),
    ],
)
def test_part_that_is_asked_for_is_sent(asked, status, expected, hub, make_repository):
    make_repository()
    url = huggingface_hub.hf_hub_url("ada/sounds", NAME, endpoint=hub.url)
    answer = get_session().get(url, headers={"Range": asked} if asked else {})
    assert answer.status_code == status
    if expected is not None:
        assert answer.content == expected


def test_file_that_the_client_has_is_not_sent_again(hub, make_repository):
    commit = make_repository()
    url = huggingface_hub.hf_hub_url("ada/sounds", "README.md", endpoint=hub.url)
    metadata = huggingface_hub.get_hf_file_metadata(url)
    assert (metadata.etag, metadata.size, metadata.commit_hash) == (git_hash(CARD.encode()), len(CARD), commit)
    answer = get_session().get(url, headers={"If-None-Match": f'"{metadata.etag}"'})
    assert (answer.status_code, answer.content) == (304, b"")
    assert get_session().get(url, headers={"If-None-Match": '"other"'}).status_code == 200
    head = get_session().head(url)
    assert (head.content, head.headers["Content-Length"]) == (b"", str(len(CARD)))


# Refusals


def test_missing_and_hidden_repositories_look_alike(hub, anonymous, make_repository):
    make_repository(private=True)
    for client in (anonymous, HfApi(endpoint=hub.url, token="hf_bob")):
        messages = []
        for name in ("ada/sounds", "ada/nothing"):
            with pytest.raises(RepositoryNotFoundError) as caught:
                client.model_info(name)
            messages.append(str(caught.value).replace(name, "").split("(Request")[0])
            with pytest.raises(RepositoryNotFoundError):
                client.hf_hub_download(name, "README.md")
        assert messages[0] == messages[1]


def test_gated_repository_is_opened_by_permission(api, anonymous, hub, make_repository):
    make_repository()
    api.update_repo_settings("ada/sounds", gated="manual")
    bob = HfApi(endpoint=hub.url, token="hf_bob")
    assert bob.model_info("ada/sounds").gated == "manual"  # that it exists may be known
    for client, status in ((bob, 403), (anonymous, 401)):
        with pytest.raises(GatedRepoError) as caught:
            client.hf_hub_download("ada/sounds", "README.md")
        assert caught.value.response.status_code == status
        with pytest.raises(GatedRepoError):
            client.auth_check("ada/sounds")
    hub.model("ada/sounds").granted.add("bob")
    bob.auth_check("ada/sounds")
    assert bob.hf_hub_download("ada/sounds", "README.md")


def test_missing_file_is_remembered_in_the_cache(api, hub, make_repository, cache):
    commit = make_repository()
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("ada/sounds", "none.json")
    assert (cache / "models--ada--sounds" / ".no_exist" / commit / "none.json").exists()


def test_wrong_token_is_refused_everywhere(hub, make_repository):
    make_repository()
    stranger = HfApi(endpoint=hub.url, token="hf_wrong")
    for call in (
        stranger.whoami,
        lambda: stranger.model_info("ada/sounds"),
        lambda: stranger.hf_hub_download("ada/sounds", "README.md"),
        lambda: stranger.create_repo("ada/more"),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            call()
        assert caught.value.response.status_code == 401
    assert list(hub.repositories) == [("model", "ada/sounds")]


@pytest.mark.parametrize("token", ["hf_ada_reads", "hf_bob"])
def test_token_without_the_right_to_write_changes_nothing(token, hub, make_repository):
    commit = make_repository()
    other = HfApi(endpoint=hub.url, token=token)
    for call in (
        lambda: other.create_repo("ada/more"),
        lambda: other.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="ada/sounds"),
        lambda: other.create_branch("ada/sounds", branch="trial"),
        lambda: other.create_tag("ada/sounds", tag="v1"),
        lambda: other.update_repo_settings("ada/sounds", private=True),
        lambda: other.delete_repo("ada/sounds"),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            call()
        assert caught.value.response.status_code == 403
    assert list(hub.repositories) == [("model", "ada/sounds")]
    repository = hub.model("ada/sounds")
    assert (repository.resolve("main"), list(repository.branches), repository.tags) == (commit, ["main"], {})
    assert not repository.private


def test_repository_that_is_there_is_a_conflict(api, make_repository):
    make_repository()
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("ada/sounds")
    assert api.create_repo("ada/sounds", exist_ok=True).repo_id == "ada/sounds"


def test_commit_on_an_old_parent_is_refused(api, make_repository):
    parent = make_repository()
    api.delete_file(NAME, "ada/sounds")
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(
            "ada/sounds",
            [CommitOperationAdd("x.txt", b"x")],
            commit_message="Late",
            parent_commit=parent,
        )


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ({"status": 403, "message": "Access to this resource is disabled."}, DisabledRepoError),
        ({"status": 403, "code": "GatedRepo"}, GatedRepoError),
        ({"status": 404, "code": "RepoNotFound"}, RepositoryNotFoundError),
        ({"status": 404, "code": "RevisionNotFound"}, RevisionNotFoundError),
        ({"status": 404, "code": "EntryNotFound"}, EntryNotFoundError),
        ({"status": 402}, HfHubHTTPError),
    ],
)
def test_refusal_on_demand_is_the_clients_own_error(failure, error, api, hub, make_repository):
    make_repository()
    hub.fail_next("GET", "/api/models/ada/sounds", **failure)
    with pytest.raises(error):
        api.model_info("ada/sounds")
    assert api.model_info("ada/sounds").id == "ada/sounds"


# Passing trouble


@pytest.fixture
def waits(monkeypatch):
    """The seconds that the client waits between attempts."""
    seconds = []
    monkeypatch.setattr(huggingface_hub.utils._http, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


def test_client_waits_as_long_as_the_hub_asks(api, hub, make_repository, waits):
    make_repository()
    hub.fail_next("GET", "/tree/", status=429, headers={"Retry-After": "7"})
    hub.fail_next("GET", "/tree/", status=429, headers={"RateLimit": '"api";r=0;t=40'})
    assert len(api.list_repo_files("ada/sounds")) == 4
    assert [entry.status for entry in hub.requests("GET", "/tree/")] == [429, 429, 200]
    assert waits == [8.0, 41.0]  # the client adds a second


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_client_tries_again_and_then_gives_up(status, api, hub, make_repository, waits):
    make_repository()
    hub.fail_next("GET", "/tree/", times=2, status=status)
    assert len(api.list_repo_files("ada/sounds")) == 4
    assert waits == [1, 2]
    hub.fail_next("POST", "/preupload/", times=math.inf, status=status)
    with pytest.raises(HfHubHTTPError) as caught:
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="ada/sounds")
    assert caught.value.response.status_code == status
    assert [entry.status for entry in hub.requests("POST", "/preupload/")][-6:] == [status] * 6


def test_dropped_upload_is_sent_again(api, hub, make_repository):
    hub.fail_next("PUT", "large-files", times=2)
    make_repository()
    assert [entry.status for entry in hub.requests("PUT")] == [None, None, 200]
    assert hub.model("ada/sounds").files()[NAME] == LARGE


def test_upload_that_keeps_dropping_leaves_no_commit(api, hub, make_repository):
    hub.fail_next("PUT", "large-files", times=math.inf)
    with pytest.raises(RuntimeError, match=f"Error while uploading '{NAME}'"):
        make_repository()
    assert list(hub.model("ada/sounds").files()) == [".gitattributes"]
    assert hub.large_files == {}
    hub.clear_failures()
    make_repository(exist_ok=True)
    assert hub.model("ada/sounds").files()[NAME] == LARGE


def test_dropped_download_goes_on_where_it_stopped(hub, make_repository, monkeypatch):
    make_repository()
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cut_next(NAME)
    with open(hf_hub_download("ada/sounds", NAME), "rb") as file:
        assert file.read() == LARGE
    first, second = hub.requests("GET", NAME)
    assert (first.status, first.range) == (None, "")
    # Half of 102,400 bytes were sent, and 51 of the client's pieces of 1,000 bytes were whole.
    assert (second.status, second.range) == (206, "bytes=51000-")


@pytest.mark.parametrize("name", [NAME, "README.md"])
def test_download_that_keeps_dropping_leaves_nothing_that_looks_whole(name, hub, make_repository, cache):
    make_repository()
    hub.cut_next(name, times=math.inf)
    with pytest.raises(Exception, match="peer closed connection") as caught:
        hf_hub_download("ada/sounds", name)
    assert type(caught.value).__name__ == "RemoteProtocolError"
    assert len(hub.requests("GET", name)) == 6
    assert whole_files(cache) == []
    assert not list(cache.glob("*/snapshots/*/*"))
    hub.clear_failures()
    expected = LARGE if name == NAME else CARD.encode()
    with open(hf_hub_download("ada/sounds", name), "rb") as file:
        assert file.read() == expected
    assert whole_files(cache) == [len(expected)]


@pytest.mark.parametrize("status", [500, 503])
def test_file_comes_from_the_cache_when_the_hub_has_trouble(status, hub, make_repository):
    make_repository()
    hub.fail_next("HEAD", "/resolve/", times=math.inf, status=status)
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("ada/sounds", NAME)
    hub.clear_failures()
    hub.fail_next("HEAD", "/resolve/", times=2, status=status)
    found = hf_hub_download("ada/sounds", NAME)  # tried again, as there is nothing in the cache
    before = len(hub.requests("HEAD"))
    hub.fail_next("HEAD", "/resolve/", status=status)
    assert hf_hub_download("ada/sounds", NAME) == found
    assert len(hub.requests("HEAD")) == before + 1


def test_slow_answer_is_not_waited_for_when_the_file_is_cached(hub, make_repository):
    make_repository()
    found = hf_hub_download("ada/sounds", NAME)
    hub.delay_next("HEAD", "/resolve/", 0.4, times=math.inf)
    before = time.monotonic()
    assert hf_hub_download("ada/sounds", NAME, etag_timeout=0.1) == found
    assert time.monotonic() - before < 0.35
    assert hf_hub_download("ada/sounds", "README.md", etag_timeout=0.1)  # waited for, as the cache has none
    assert time.monotonic() - before > 0.4


def test_cached_files_load_when_the_hub_is_gone_and_others_when_it_is_back(api, hub, make_repository):
    commit = make_repository()
    found = hf_hub_download("ada/sounds", NAME)
    hub.stop()
    for revision in (None, "main", commit):
        assert hf_hub_download("ada/sounds", NAME, revision=revision) == found
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("ada/sounds", "README.md")
    with pytest.raises(Exception, match="refused") as caught:
        api.model_info("ada/sounds")
    assert type(caught.value).__name__ == "ConnectError"
    hub.start()
    assert hf_hub_download("ada/sounds", "README.md")
    assert api.model_info("ada/sounds").sha == commit


def test_defect_of_the_hub_is_told_apart_from_a_failure_on_demand(api, hub, make_repository):
    make_repository()
    hub.repositories["model", "ada/sounds"].branches = None
    with pytest.raises(HfHubHTTPError, match="500"):
        api.model_info("ada/sounds")
    (defect,) = hub.defects
    assert "TypeError" in defect
    hub.defects.clear()  # else the fixture would raise
