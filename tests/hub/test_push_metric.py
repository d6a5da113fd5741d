import ast
import subprocess
import sys

import pytest
import yaml

from nvv.hub.push_metric import MetricPushError, metric_space, push_metric
from nvv.metrics import METRIC_NAMES

# A fresh process with an empty cache that has evaluate, the Hub and no nvv; transformers only costs evaluate time.
LOAD_BY_ID = """
import os, sys
sys.modules["nvv"] = sys.modules["transformers"] = None  # importing them is now an error
import evaluate
del sys.modules["transformers"]  # datasets asks whether it is there
os.environ["HF_TOKEN"] = "hf_bob"
try:
    evaluate.load("lab/recall-of-all")
except FileNotFoundError:
    print("not for bob")
os.environ["HF_TOKEN"] = "hf_ada"
metric = evaluate.load("lab/recall-of-all")
metric.add_batch(references=[0, 0, 1], predictions=[0, 1, 1])
print(metric.compute(labels=[0, 1, 2]))
"""


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_space_holds_module_siblings_card_requirements_and_app(name):
    files = metric_space(name, f"ada/my-{name}")
    sibling = "regression.py" if name in ("ccc", "mae", "pearson") else "classification.py"
    assert set(files) == {f"my-{name}.py", sibling, "README.md", "requirements.txt", "app.py"}
    _, header, text = files["README.md"].split("---\n", 2)
    card = yaml.safe_load(header)
    assert card["sdk"] == "gradio"
    assert card["app_file"] == "app.py"
    assert {"evaluate", "metric"} <= set(card["tags"])
    assert 2 <= len(card["title"]) < 60
    assert f"# Metric card: {card['title']}\n" in text
    assert f'evaluate.load("ada/my-{name}")' in text
    assert f'evaluate.load("ada/my-{name}")' in files["app.py"]
    assert "- **references** (*list of " in text
    ast.parse(files["app.py"])
    ast.parse(text.split("```python\n")[1].split("```")[0])
    requirements = [line.split(">=")[0] for line in files["requirements.txt"].splitlines()]
    assert sorted(requirements) == ["datasets", "evaluate", "numpy"]


def test_card_of_ccc_cites_its_paper():
    text = metric_space("ccc", "ada/ccc")["README.md"]
    assert "## Citation\n\n```bibtex\n@article{lin1989concordance," in text
    assert "## Citation" not in metric_space("uar", "ada/uar")["README.md"]


def test_public_metric_arrives_in_one_commit(hub):
    pushed = push_metric("uar", "ada/recall-of-all", private=False)
    space = hub.space("ada/recall-of-all")
    assert not space.private
    assert pushed.url == f"{hub.url}/spaces/ada/recall-of-all"
    assert pushed.commit == space.resolve("main")
    expected = {name: text.encode() for name, text in metric_space("uar", "ada/recall-of-all").items()}
    assert {name: content for name, content in space.files().items() if name != ".gitattributes"} == expected
    assert sorted(expected) == list(pushed.files)
    assert len(space.branches["main"]) == 2  # the Hub's first, and one commit for all files


@pytest.mark.slow
def test_private_metric_loads_by_id_without_nvv_for_its_owners_only(hub, hub_environment):
    push_metric("uar", "lab/recall-of-all")
    assert hub.space("lab/recall-of-all").private
    environment = {**hub_environment, "HF_UPDATE_DOWNLOAD_COUNTS": "0"}
    done = subprocess.run([sys.executable, "-c", LOAD_BY_ID], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "not for bob\n{'uar': 0.5}\n"  # (1/2 + 1 + 0) / 3


def test_second_push_updates_the_space(hub):
    push_metric("mae", "ada/mae")
    space = hub.space("ada/mae")
    old = {**space.commits[space.resolve("main")]}
    old["regression.py"] = old.pop("requirements.txt")
    space.add_commit("main", old, "an older version")
    pushed = push_metric("mae", "ada/mae")
    assert space.resolve("main") == pushed.commit
    assert {*space.files()} == {".gitattributes", *pushed.files}
    assert space.files()["regression.py"].decode() == metric_space("mae", "ada/mae")["regression.py"]


@pytest.mark.parametrize("other", ["ada/someone", "ada/metric"])
def test_space_of_something_else_is_left_alone(hub, other):
    if other == "ada/metric":
        push_metric("f1", other)
    else:
        hub.create(other, kind="space", private=True, files={"README.md": b"# Demo\n", "app.py": b"print()\n"})
    before = hub.space(other).resolve("main")
    with pytest.raises(MetricPushError, match=rf"{other} holds another Space, with \w+.py; name another repository"):
        push_metric("uar", other)
    assert hub.space(other).resolve("main") == before


def test_new_space_with_the_hubs_own_card_is_filled(hub):
    hub.create("ada/uar", kind="space", private=True, files={"README.md": b"---\ntitle: Uar\nsdk: gradio\n---\n"})
    push_metric("uar", "ada/uar")
    assert b"# Metric card" in hub.space("ada/uar").files()["README.md"]


def test_visibility_other_than_asked_is_an_error(hub):
    push_metric("uar", "ada/uar", private=False)
    before = hub.space("ada/uar").resolve("main")
    with pytest.raises(MetricPushError, match="ada/uar is public, but private was asked for"):
        push_metric("uar", "ada/uar")
    assert hub.space("ada/uar").resolve("main") == before


@pytest.mark.parametrize(
    ("name", "repository_id", "message"),
    [
        ("war", "ada/war", "metric: expected one of accuracy, .*, uar, found 'war'"),
        ("uar", "uar", "repository_id: expected OWNER/NAME, found 'uar'"),
        ("uar", "ada/b/uar", "repository_id: expected OWNER/NAME"),
        ("uar", "ada/classification", "the Space has a file classification.py of its own; choose another name"),
        ("uar", "ada/app", "choose another name than app, classification"),
    ],
)
def test_names_are_refused_before_the_hub_is_asked(hub, name, repository_id, message):
    with pytest.raises(ValueError, match=message):
        push_metric(name, repository_id)
    assert hub.log == []


def test_refused_upload_is_one_line(hub):
    with pytest.raises(MetricPushError, match=r"The upload of uar to bob/uar failed .*Check the token") as caught:
        push_metric("uar", "bob/uar")
    assert "\n" not in str(caught.value)
    hub.fail_next("POST", "/commit/", status=500, times=99)
    with pytest.raises(MetricPushError, match="The upload of uar to ada/uar failed"):
        push_metric("uar", "ada/uar")
