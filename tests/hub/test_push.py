import hashlib
import json
import math
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi, ModelCard

from nvv.hub.push import PushError, push_repository
from nvv.hub.results import read_report
from nvv.hub.run_folder import RunFolderError

# Requests that carry content or announce it.
UPLOADS = r"preupload|info/lfs|large-files|/commit/"
LEFT_BEHIND = ("checkpoint-", ".cache", "runs/", ".incomplete")


def contents(folder):
    """What of a folder is to be on the Hub."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {path: content for path, content in files.items() if not path.startswith(LEFT_BEHIND)}


def on_the_hub(repository, revision="main"):
    return {path: content for path, content in repository.files(revision).items() if path != ".gitattributes"}


def commits(repository, branch="main"):
    return len(repository.branches[branch])


@pytest.mark.parametrize("method", ["full", "lora", "frozen"])
def test_run_is_one_commit_with_the_folders_files(method, make_run, hub):
    folder = make_run(method)
    pushed = push_repository(folder, "ada/laughs", message="First laughs")
    repository = hub.model("ada/laughs")
    assert repository.private
    assert pushed.private
    assert commits(repository) == 2  # the Hub's own and ours
    assert list(repository.messages.values())[-1] == "First laughs"
    assert pushed.commit == repository.resolve("main")
    assert pushed.url == f"{hub.url}/ada/laughs"
    assert on_the_hub(repository) == contents(folder)
    assert list(pushed.files) == sorted(contents(folder))
    card = ModelCard(repository.files()["README.md"].decode())
    assert '"ada/laughs"' in card.text
    card.validate()


def test_adapter_names_its_repository_on_the_hub_and_in_the_folder(make_run, hub):
    folder = make_run()
    push_repository(folder, "laughs")  # in ada's own namespace
    there = hub.model("ada/laughs").files()["adapter_config.json"]
    assert json.loads(there)["base_model_name_or_path"] == "ada/laughs"
    assert (folder / "adapter_config.json").read_bytes() == there


def test_organisation_and_new_branch(make_run, hub):
    folder = make_run()
    pushed = push_repository(folder, "lab/laughs", revision="v1")
    repository = hub.model("lab/laughs")
    assert on_the_hub(repository, "v1") == contents(folder)
    assert on_the_hub(repository) == {}
    assert pushed.commit == repository.resolve("v1")
    push_repository(make_run("full", name="second"), "lab/laughs", revision="v1")
    assert commits(repository, "v1") == 3
    assert "adapter_config.json" not in repository.files("v1")


@pytest.mark.parametrize(("private", "is_private"), [(True, True), (False, False), (None, False)])
def test_visibility_is_as_asked_and_by_default_of_the_hub_where_none_was(private, is_private, make_run, hub):
    pushed = push_repository(make_run(), "ada/laughs", private=private)
    assert hub.model("ada/laughs").private is is_private is pushed.private


@pytest.mark.parametrize(
    ("is_private", "asked", "message"),
    [
        (False, True, "ada/laughs is public, but private was asked for. Nothing was sent"),
        (True, False, "ada/laughs is private, but public was asked for. Nothing was sent"),
    ],
)
def test_nothing_is_sent_when_the_repository_is_otherwise_than_asked(is_private, asked, message, make_run, hub):
    hub.create("ada/laughs", kind="model", private=is_private)
    with pytest.raises(PushError, match=message):
        push_repository(make_run(), "ada/laughs", private=asked)
    assert hub.requests(pattern=UPLOADS) == []
    pushed = push_repository(make_run(name="other"), "ada/laughs", private=None)
    assert pushed.private is is_private


def test_nothing_is_sent_when_the_new_repository_turns_out_public(make_run, hub):
    hub.ignores_visibility = True
    with pytest.raises(PushError, match="is public, but private was asked for"):
        push_repository(make_run(), "ada/laughs")
    assert hub.requests(pattern=UPLOADS) == []


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ("full", "lora", {"model.safetensors"}),
        ("lora", "full", {"adapter_model.safetensors", "adapter_config.json"}),
        ("lora", "frozen", {"adapter_model.safetensors", "adapter_config.json"}),
    ],
)
def test_weights_of_another_kind_go_in_the_same_commit(before, after, gone, make_run, hub):
    first = make_run(before, name="first")
    (first / "predictions_high.csv").write_text("of a task that the second run does not have")
    push_repository(first, "ada/laughs")
    repository = hub.model("ada/laughs")
    assert gone <= set(repository.files())
    # Not ours to remove: what somebody put there.
    HfApi().upload_file(path_or_fileobj=b"me", path_in_repo="docs/authors.txt", repo_id="ada/laughs")
    second = make_run(after, name="second")
    push_repository(second, "ada/laughs")
    assert on_the_hub(repository) == {**contents(second), "docs/authors.txt": b"me"}
    assert commits(repository) == 4


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.txt": b"mine"}, "ada/laughs holds 'notes.txt', which is no model of nvv"),
        ({"config.json": b'{"model_type": "whisper"}', "a.txt": b""}, "holds 'config.json' of model type 'whisper'"),
        ({"config.json": b"[]"}, "holds 'config.json', which is no model of nvv"),
    ],
)
def test_repository_of_something_else_is_left_alone(files, message, make_run, hub):
    hub.create("ada/laughs", kind="model", private=True, files=files)
    with pytest.raises(PushError, match=message):
        push_repository(make_run(), "ada/laughs", revision="new")
    assert hub.requests(pattern=UPLOADS) == []
    assert list(hub.model("ada/laughs").branches) == ["main"]


def test_repository_with_only_a_card_is_empty_enough(make_run, hub):
    hub.create("ada/laughs", kind="model", private=True, files={"README.md": b"# Soon", "LICENSE": b"MIT"})
    folder = make_run()
    push_repository(folder, "ada/laughs")
    assert on_the_hub(hub.model("ada/laughs")) == {**contents(folder), "LICENSE": b"MIT"}


def test_second_push_of_the_same_makes_no_commit_and_sends_no_weights(make_run, hub):
    folder = make_run()
    first = push_repository(folder, "ada/laughs")
    sent = len(hub.requests("PUT"))
    assert push_repository(folder, "ada/laughs") == first
    assert len(hub.requests("PUT")) == sent == 1
    assert commits(hub.model("ada/laughs")) == 2


# Every kind of request of a push, by method and path.
REQUESTS = {
    "make": ("POST", "/api/repos/create"),
    "ask": ("GET", "/api/models/ada/laughs"),
    "list": ("GET", "/tree/"),
    "branch": ("POST", "/branch/"),
    "card": ("POST", "/api/validate-yaml"),
    "announce": ("POST", "/preupload/"),
    "batch": ("POST", "objects/batch"),
    "upload": ("PUT", "/large-files/"),
    "commit": ("POST", "/commit/"),
}


@pytest.mark.parametrize("request_name", REQUESTS)
def test_request_that_fails_for_the_moment_is_sent_again(request_name, make_run, hub):
    folder = make_run()
    for failure in (429, 500, None, 503):  # None: the connection is cut
        hub.fail_next(*REQUESTS[request_name], status=failure)
    push_repository(folder, "ada/laughs", revision="v1")
    assert on_the_hub(hub.model("ada/laughs"), "v1") == contents(folder)
    assert commits(hub.model("ada/laughs"), "v1") == 2


def test_rate_limits_are_waited_for_as_long_as_the_hub_says(make_run, hub, monkeypatch):
    slept = []
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", slept.append)
    hub.fail_next("POST", "/commit/", status=429, headers={"Retry-After": "17"})
    push_repository(make_run(), "ada/laughs")
    assert len(slept) == 1
    assert slept[0] >= 17


@pytest.mark.parametrize("revision", [None, "v1"])
def test_commit_whose_answer_was_lost_is_not_made_twice(revision, make_run, hub):
    folder = make_run()
    hub.cut_next("/commit/", method="POST")
    pushed = push_repository(folder, "ada/laughs", revision=revision)
    repository = hub.model("ada/laughs")
    assert commits(repository, revision or "main") == 2
    assert pushed.commit == repository.resolve(revision or "main")
    assert on_the_hub(repository, revision or "main") == contents(folder)
    assert [request.status for request in hub.requests("POST", "/commit/")][-1] == 412


def test_repository_whose_making_was_answered_too_late_is_taken(make_run, hub):
    hub.cut_next("/api/repos/create", method="POST")
    push_repository(make_run(), "ada/laughs")
    assert commits(hub.model("ada/laughs")) == 2


def test_somebody_elses_commit_meanwhile_is_an_error(make_run, hub, monkeypatch):
    create_commit = HfApi.create_commit

    def commit_after_another(api, *args, **options):
        files = {**hub.model("ada/laughs").commits[hub.model("ada/laughs").resolve("main")]}
        hub.model("ada/laughs").add_commit("main", files, "somebody else")
        return create_commit(api, *args, **options)

    monkeypatch.setattr(HfApi, "create_commit", commit_after_another)
    with pytest.raises(PushError, match="somebody else committed to ada/laughs meanwhile; run the same command again"):
        push_repository(make_run(), "ada/laughs")


@pytest.mark.parametrize("failure", [403, None])
def test_failed_push_leaves_the_folder_complete_and_goes_on_later(failure, make_run, hub):
    folder = make_run()
    before = set(contents(folder))
    weights = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    hub.fail_next("POST", "/commit/", times=math.inf, status=failure)
    with pytest.raises(PushError) as caught:
        push_repository(folder, "ada/laughs", revision="v 1/x", private=False, token="hf_ada")
    message = str(caught.value)
    assert "\n" not in message
    assert "hf_ada" not in message
    assert message.endswith(
        f"The run in {folder} is complete; push it later with: nvv push {folder} ada/laughs --public --revision 'v 1/x'"
    )
    assert set(contents(folder)) == before
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "ada/laughs"
    hub.clear_failures()
    push_repository(folder, "ada/laughs", revision="v 1/x", private=False)
    assert on_the_hub(hub.model("ada/laughs"), "v 1/x") == contents(folder)
    assert len(hub.requests("PUT", weights)) == 1  # what has arrived is not sent twice


@pytest.mark.parametrize(
    ("repository", "token", "message"),
    [
        ("ada/laughs", "hf_wrong", "Invalid|401"),
        ("elsewhere/laughs", None, "403"),
    ],
)
def test_refusal_is_told_without_the_token(repository, token, message, make_run, hub):
    with pytest.raises(PushError, match=message) as caught:
        push_repository(make_run(), repository, token=token)
    assert "hf_wrong" not in str(caught.value)
    assert "hf_ada" not in str(caught.value)
    assert hub.repositories == {}


def test_names_of_clips_stay_behind_where_they_may_not_be_public(make_run, hub):
    folder = make_run(corpus="cnvve")
    pushed = push_repository(folder, "ada/laughs", private=False)
    assert "predictions.csv" not in hub.model("ada/laughs").files()
    (notice,) = pushed.notices
    assert notice.startswith("predictions.csv: not uploaded, because the repository is public")
    assert "may not be made public" in notice
    # They are in private ones, and in public ones where the licence allows copies; and go when the repository opened.
    assert push_repository(folder, "ada/hidden").notices == ()
    assert "predictions.csv" in hub.model("ada/hidden").files()
    assert "predictions.csv" in push_repository(make_run(name="vivae"), "ada/open", private=False).files
    hub.model("ada/hidden").private = False
    push_repository(folder, "ada/hidden", private=None)
    assert "predictions.csv" not in hub.model("ada/hidden").files()


@pytest.fixture
def report_on(tmp_path):
    """The function that makes a report on an operating point, as far as an upload reads it."""

    def make(corpus):
        folder = tmp_path / "laugh"
        folder.mkdir(exist_ok=True)
        row = {"threshold": 0.7, "f1": 0.5}
        content = {
            "model": {"id": "run", "random_init": True},
            "corpus": {"name": corpus, "config": "speaker", "is_synthetic": False},
            "label": "laugh",
            "threshold": 0.7,
            "splits": {"test": {"operating_point": row, "table": [row]}},
        }
        (folder / "operating_point.json").write_text(json.dumps(content))
        for file in ("detections.csv", "operating_point.md"):
            (folder / file).write_text("test,S1/a.wav")
        return {"evaluations/laugh": read_report(folder)}

    return make


def test_reports_lose_names_of_clips_too_when_the_repository_is_opened(make_run, hub, report_on):
    folder = make_run(corpus="cnvve")
    push_repository(folder, "ada/laughs", reports=report_on("cnvve"))
    repository = hub.model("ada/laughs")
    assert "evaluations/laugh/detections.csv" in repository.files()
    repository.private = False
    push_repository(folder, "ada/laughs", private=None)
    assert "evaluations/laugh/detections.csv" not in repository.files()
    assert "evaluations/laugh/operating_point.md" in repository.files()


def test_clips_of_another_corpus_in_a_report_are_not_shown_either(make_run, hub, report_on):
    pushed = push_repository(make_run(corpus="vivae"), "ada/laughs", private=False, reports=report_on("cnvve"))
    assert not [path for path in hub.model("ada/laughs").files() if path.endswith(".csv")]
    assert "CNVVE" in pushed.notices[0]


def test_reports_go_into_the_same_commit(make_run, hub, report_on):
    folder = make_run()
    push_repository(folder, "ada/laughs", reports=report_on("vivae"))
    repository = hub.model("ada/laughs")
    assert repository.files()["evaluations/laugh/operating_point.md"] == b"test,S1/a.wav"
    assert commits(repository) == 2
    # A later push of the run leaves them, and says so.
    assert push_repository(folder, "ada/laughs").notices == (
        "Left as they are: evaluations/laugh. If the model has changed, make these reports again.",
    )
    assert "evaluations/laugh/operating_point.md" in repository.files()


def test_card_names_the_corpus_by_its_id_on_the_hub(make_run, hub):
    folder = make_run()
    push_repository(folder, "ada/laughs", dataset_id="lab/vivae")
    data = ModelCard(hub.model("ada/laughs").files()["README.md"].decode()).data
    assert data.datasets == ["lab/vivae"]
    assert data.eval_results[0].dataset_type == "lab/vivae"


@pytest.mark.parametrize("name", ["a/b/c", "ada/-x", "ada/a..b", ""])
def test_name_that_the_hub_cannot_have_is_an_error(name, make_run, hub):
    with pytest.raises(ValueError, match="epo"):
        push_repository(make_run(), name)
    assert hub.log == []


def test_folder_that_is_no_finished_run_is_an_error_that_says_what_it_is(make_run, hub, tmp_path):
    folder = make_run()
    (folder / "checkpoint-20" / "trainer_state.json").write_text("{}")
    cases = {
        tmp_path / "none": "no such folder",
        folder / "checkpoint-20": f"a checkpoint of a run. Push the run's folder, {folder}",
    }
    for name, files, message in (
        ("empty", (), "no finished run, for it has no config.json. Expected what recipes/train.py"),
        ("killed", ("checkpoint-3/x",), "It has checkpoints: go on with the run"),
        ("corpus", ("data/a.parquet",), "nvv push-dataset uploads it"),
        ("report", ("metrics.json",), "It holds a report: the recipe that wrote it uploads it"),
    ):
        for file in files:
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text("{}")
        (tmp_path / name).mkdir(exist_ok=True)
        cases[tmp_path / name] = message
    for path, message in cases.items():
        with pytest.raises(RunFolderError, match=message):
            push_repository(path, "ada/laughs")
    for file, content, message in (
        ("metrics.json", None, "has no metrics.json"),
        ("adapter_model.safetensors", None, "no weights"),
        ("config.json", '{"model_type": "whisper"}', "model_type: expected 'nvv', found 'whisper'"),
        ("config.json", "{", "not readable as JSON"),
    ):
        broken = make_run(name=f"broken {message}"[:12] + file)
        (broken / file).unlink()
        if content is not None:
            Path(broken / file).write_text(content)
        with pytest.raises(RunFolderError, match=message):
            push_repository(broken, "ada/laughs")
    assert hub.log == []


@pytest.mark.parametrize(
    ("method", "random_init", "told"), [("lora", False, 1), ("frozen", False, 1), ("full", False, 0), ("lora", True, 0)]
)
def test_local_backbone_is_told_where_the_repository_needs_it(method, random_init, told, make_run, hub, tmp_path):
    folder = make_run(method)
    config = json.loads((folder / "config.json").read_text())
    config["random_init_seed"] = 0 if random_init else None
    (folder / "config.json").write_text(json.dumps(config))
    notices = push_repository(folder, "ada/laughs").notices
    assert [str(tmp_path / "tiny_whisper") in notice for notice in notices] == [True] * told
