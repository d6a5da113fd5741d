import json
import math

import pandas as pd
import pytest
from huggingface_hub import DatasetCard, HfApi

from nvv.hub.push import PushError, push_repository
from nvv.hub.push_arguments import PushArgumentsError, ReportPushArguments, ResultsPushArguments
from nvv.hub.push_report import check_destination, push_asked_report, push_report
from nvv.hub.results import ReportError, read_report

UPLOADS = r"preupload|info/lfs|large-files|/commit/"


@pytest.fixture
def make_report(tmp_path):
    """The function that writes an evaluation's folder, as recipes/evaluate.py leaves it, as far as an upload reads."""

    def make(name="evaluate_run_vivae", *, corpus="vivae", is_random=False, value=0.5):
        score = {"value": value, "low": 0.4, "high": 0.6}
        metrics = {
            "evaluation": {"model": {"id": "run", "revision": None}},
            "corpus": {"name": corpus, "config": "speaker", "is_synthetic": False, "licence": "unknown"},
            "backbone": {"random_init": is_random},
            "splits": {"test": {"num_clips": 6, "scores": {"uar": score, "macro_f1": score}}},
        }
        folder = tmp_path / "reports" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in {
            "metrics.json": json.dumps(metrics),
            "predictions.csv": "split,file\ntest,S1/a.wav\n",
            "robustness.md": "as it is",
            ".unfinished_robustness/a": "x",
        }.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(content)
        return folder

    return make


@pytest.fixture
def make_sweep(tmp_path):
    """The function that writes a sweep's folder."""

    def make():
        folder = tmp_path / "reports" / "sweep_x"
        (folder / "runs" / "a").mkdir(parents=True)
        rows = {
            "status": ["done", "failed"],
            "backbone": ["openai/whisper-tiny", "b"],
            "method": ["lora", "lora"],
            "corpus": ["cnvve", "cnvve"],
            "split_protocol": ["speaker", None],
            "random_init": [True, None],
            "is_synthetic": [False, None],
        }
        pd.DataFrame(rows).to_parquet(folder / "results.parquet")
        for file in ("report.md", "plan.json", "grid.yaml", "runs/a/predictions.csv"):
            (folder / file).write_text("{}")
        return folder

    return make


def commits(repository):
    return len(repository.branches["main"]) - 1


def test_results_are_private_one_commit_and_say_what_they_are(make_report, make_sweep, hub):
    folder = make_report(is_random=True)
    pushed = push_report(folder, "results", to_results=True)  # in ada's own namespace
    repository = hub.dataset("ada/results")
    assert repository.private
    assert pushed.private
    assert commits(repository) == 1
    assert pushed.commit == repository.resolve("main")
    assert pushed.url == f"{hub.url}/datasets/ada/results"
    assert sorted(repository.files()) == [
        ".gitattributes",
        "README.md",
        "evaluate_run_vivae/metrics.json",
        "evaluate_run_vivae/predictions.csv",
        "evaluate_run_vivae/robustness.md",
        "evaluate_run_vivae/scores.parquet",
    ]
    push_report(make_sweep(), "ada/results", to_results=True)
    card = DatasetCard(repository.files()["README.md"].decode())
    card.validate()
    assert card.data.to_dict()["configs"] == [
        {
            "config_name": "evaluate_run_vivae",
            "data_files": [{"split": "results", "path": "evaluate_run_vivae/scores.parquet"}],
            "default": True,
        },
        {"config_name": "sweep_x", "data_files": [{"split": "results", "path": "sweep_x/scores.parquet"}]},
    ]
    assert "random-weights" in card.data.tags
    assert "synthetic-data" not in card.data.tags
    assert "| [sweep_x](./sweep_x) | sweep | openai/whisper-tiny, lora | cnvve | speaker | random weights" in card.text
    assert "they are no result" in card.text
    assert 'load_dataset("ada/results", "evaluate_run_vivae", split="results")' in card.text
    assert "sweep_x/report.md" in repository.files()
    assert not {"sweep_x/plan.json", "sweep_x/grid.yaml", "sweep_x/runs/a/predictions.csv"} & set(repository.files())


def test_report_replaces_its_earlier_self_and_leaves_others(make_report, hub):
    push_report(make_report("first"), "ada/results", to_results=True)
    folder = make_report("second")
    push_report(folder, "ada/results", to_results=True)
    (folder / "robustness.md").unlink()
    make_report("second", value=0.75)
    (folder / "robustness.md").unlink()
    pushed = push_report(folder, "ada/results", to_results=True, message="Again")
    repository = hub.dataset("ada/results")
    assert commits(repository) == 3
    assert repository.messages[pushed.commit] == "Again"
    assert "second/robustness.md" not in repository.files()
    assert "first/robustness.md" in repository.files()
    assert json.loads(repository.files()["second/metrics.json"])["splits"]["test"]["scores"]["uar"]["value"] == 0.75
    assert push_report(folder, "ada/results", to_results=True).commit == pushed.commit  # nothing to commit


def test_scores_are_rows_that_say_whether_they_are_a_result(make_report):
    report = read_report(make_report(is_random=True))
    assert report.scores.to_dict("records") == [
        {
            "model": "run",
            "model_revision": None,
            "corpus": "vivae",
            "split_protocol": "speaker",
            "random_init": True,
            "is_synthetic": False,
            "split": "test",
            "num_clips": 6,
            "score": score,
            "value": 0.5,
            "low": 0.4,
            "high": 0.6,
        }
        for score in ("uar", "macro_f1")
    ]


@pytest.mark.parametrize("corpus", ["cnvve", "my_own"])
def test_public_results_are_refused_where_clips_are_named_that_may_not_be_public(corpus, make_report, hub):
    with pytest.raises(PushError, match=r"predictions\.csv names clips.*may not be made public.*Nothing was sent"):
        push_report(make_report(corpus=corpus), "ada/results", to_results=True, private=False)
    assert hub.log == []


def test_public_results_are_pushed_where_the_licence_allows_or_no_clip_is_named(make_report, make_sweep, hub):
    push_report(make_report(corpus="vivae"), "ada/results", to_results=True, private=False)
    push_report(make_sweep(), "ada/results", to_results=True, private=False)  # of CNVVE, but scores only
    assert not hub.dataset("ada/results").private
    with pytest.raises(PushError, match="ada/results is public, but private was asked for"):
        push_report(make_report("other"), "ada/results", to_results=True)


def test_repository_of_something_else_is_left_alone(make_report, hub):
    hub.create("ada/sounds", private=True, files={"data/a.parquet": b"x", "README.md": b"---\ntags: [nvv]\n---\n"})
    with pytest.raises(PushError, match=r"ada/sounds holds 'data/a\.parquet', which is no report of nvv"):
        push_report(make_report(), "ada/sounds", to_results=True)
    assert hub.requests(pattern=UPLOADS) == []


def test_report_goes_below_evaluations_in_the_models_repository(make_run, make_report, hub):
    run, folder = make_run(), make_report()
    push_repository(run, "lab/laughs")
    pushed = push_report(folder, "lab/laughs", to_results=False, model=str(run), revision="v2")
    repository = hub.model("lab/laughs")
    assert pushed.url == f"{hub.url}/lab/laughs/tree/v2/evaluations/evaluate_run_vivae"
    assert {path for path in repository.files("v2") if path not in repository.files()} == {
        f"evaluations/evaluate_run_vivae/{name}" for name in ("metrics.json", "predictions.csv", "robustness.md")
    }
    assert len(repository.branches["v2"]) == len(repository.branches["main"]) + 1
    # What was evaluated must be what is there.
    push_report(folder, "lab/laughs", to_results=False, model=str(run))
    with pytest.raises(PushError, match="lab/laughs does not hold the weights that the report is on"):
        push_report(folder, "lab/laughs", to_results=False, model=str(make_run(name="trained again")))
    push_repository(make_run("full", name="other"), "ada/other")
    with pytest.raises(PushError, match=r"ada/other does not hold the weights .*adapter_model\.safetensors"):
        push_report(folder, "ada/other", to_results=False, model=str(run))


def test_report_is_not_shown_to_everybody_in_a_public_models_repository(make_run, make_report, hub):
    push_repository(make_run(corpus="cnvve"), "ada/laughs", private=False)
    with pytest.raises(PushError, match=r"names clips, and ada/laughs is, or would be, public"):
        push_report(make_report(corpus="cnvve"), "ada/laughs", to_results=False)
    push_report(make_report(corpus="vivae"), "ada/laughs", to_results=False)


def test_models_repository_must_be_one(make_report, make_sweep, hub):
    with pytest.raises(PushError, match=r"there is no model ada/none .*first \(nvv push FOLDER ada/none"):
        push_report(make_report(), "none", to_results=False)
    hub.create("ada/whisper", kind="model", files={"config.json": b'{"model_type": "whisper"}'})
    with pytest.raises(PushError, match=r"ada/whisper holds 'config.json' of model type 'whisper', which is no model"):
        push_report(make_report(), "ada/whisper", to_results=False)
    with pytest.raises(ValueError, match="belongs to no model's repository; name a repository of results"):
        push_report(make_sweep(), "ada/whisper", to_results=False)
    assert hub.requests(pattern=UPLOADS) == []


def test_failed_push_says_how_to_go_on_and_goes_on(make_report, hub):
    folder = make_report()
    hub.fail_next("POST", "/commit/", times=math.inf, status=503)
    with pytest.raises(PushError) as caught:
        push_report(folder, "ada/results", to_results=True, token="hf_ada", revision="v1")
    assert str(caught.value).endswith(
        f"The report in {folder} is complete; push it later with: nvv push {folder} ada/results --results --revision v1"
    )
    assert "hf_ada" not in str(caught.value)
    hub.clear_failures()
    hub.cut_next("/commit/", method="POST")  # and the answer is lost
    push_report(folder, "ada/results", to_results=True, revision="v1")
    assert len(hub.dataset("ada/results").branches["v1"]) == 2


@pytest.mark.parametrize("request_path", ["/api/datasets/ada/results", "/resolve/"])
def test_request_that_fails_for_the_moment_is_sent_again(request_path, make_report, hub):
    push_report(make_report("first"), "ada/results", to_results=True)
    for failure in (503, 429):
        hub.fail_next("GET", request_path, status=failure)
    push_report(make_report("second"), "ada/results", to_results=True)
    assert "second/metrics.json" in hub.dataset("ada/results").files()


def test_folder_without_a_report_is_an_error(make_run, tmp_path):
    for folder, message in (
        (tmp_path / "none", "no such folder"),
        (make_run(), "no report"),  # a run's metrics.json is none
        (tmp_path, "no report"),
    ):
        with pytest.raises(ReportError, match=message):
            read_report(folder)
    (tmp_path / "embedding_scores.json").write_text("{}")
    (tmp_path / "embedding_scores.csv").write_text("a\n1\n")
    with pytest.raises(ReportError, match=r"embedding_scores\.json: not readable as a report"):
        read_report(tmp_path)


def test_destination_is_the_models_id_or_the_one_that_its_folder_names(make_run, tmp_path):
    asked = ReportPushArguments(push_to_hub=True)
    assert check_destination(asked, "lab/laughs").hub_model_id == "lab/laughs"
    adapter = make_run()
    with pytest.raises(PushArgumentsError, match="does not say which repository it is; pass --hub_model_id"):
        check_destination(asked, str(adapter))
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "me/mine"}))
    assert check_destination(asked, str(adapter)).hub_model_id == "me/mine"
    with pytest.raises(PushArgumentsError):
        check_destination(asked, str(make_run("full", name="full")))
    for told in (
        ReportPushArguments(),
        ReportPushArguments(push_to_hub=True, hub_dataset_id="a/b"),
        ReportPushArguments(push_to_hub=True, hub_model_id="a/b"),
    ):
        assert check_destination(told, str(adapter)) is told


def test_nothing_is_pushed_unless_asked_for(make_report, hub):
    assert push_asked_report(make_report(), ResultsPushArguments()) is None
    assert hub.log == []
    push_asked_report(
        make_report(), ResultsPushArguments(push_to_hub=True, hub_dataset_id="lab/x", hub_private_repo=False)
    )
    assert not hub.dataset("lab/x").private
    assert HfApi(token="hf_bob").dataset_info("lab/x").id == "lab/x"
