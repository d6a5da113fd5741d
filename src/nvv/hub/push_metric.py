"""Uploads a metric to the Hub, as the Space that `evaluate.load("OWNER/NAME")` reads.

The Space holds the module under the repository's name, the siblings it imports, a metric card made of the module's own
texts, `requirements.txt`, and the app that `evaluate`'s Spaces show. Nothing in it needs `nvv`. Which metrics there are
and what belongs to each is `nvv.metrics`'s. Own work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import yaml
from huggingface_hub import HfApi
from huggingface_hub.hf_api import SpaceInfo
from huggingface_hub.utils import validate_repo_id

from ..metrics import load_metric
from ..metrics.evaluate_modules import metric_file, metric_siblings
from ..version import __version__
from .client_errors import CLIENT_FAILURES, describe_failure
from .commits import HUB_FILE, commit_files
from .retries import retrying_requests

if TYPE_CHECKING:
    import evaluate

__all__ = ["MetricPushError", "PushedMetric", "metric_space", "push_metric"]

_CARD = "README.md"
_APP = "app.py"
_REQUIREMENTS = "requirements.txt"
# launch_gradio_widget of `evaluate` uses gr.inputs and gr.outputs, which Gradio 4 no longer has.
_GRADIO_VERSION = "3.50.2"
_NEEDED = ("evaluate", "datasets", "numpy")

# ValueError: an answer that the client cannot use, or a repository's name that is none.
_FAILURES = (*CLIENT_FAILURES, ValueError)


class MetricPushError(RuntimeError):
    """The metric was not uploaded; the message says how to go on."""


@dataclass(frozen=True, kw_only=True)
class PushedMetric:
    """What stands on the Hub.

    Attributes:
        repository_id: Owner and name, which `evaluate.load` takes.
        url: The Space's page.
        commit: The commit that holds the files.
        files: Their names, sorted.
    """

    repository_id: str
    url: str
    commit: str
    files: tuple[str, ...]


def metric_space(name: str, repository_id: str) -> dict[str, str]:
    """Make the files of a metric's Space.

    Args:
        name: one of `nvv.metrics.METRIC_NAMES`.
        repository_id: the Space's `OWNER/NAME`; the module's file is called NAME.py, as `evaluate` expects.

    Returns:
        File name to content.

    Raises:
        ValueError: for another metric, for an id without an owner, and for a NAME that the Space needs for another
            file.
    """
    module_file = metric_file(name)
    siblings = metric_siblings(name)
    owner, _, repository_name = repository_id.partition("/")
    if not owner or not repository_name or "/" in repository_name:
        raise ValueError(f"repository_id: expected OWNER/NAME, found {repository_id!r}.")
    taken = {sibling.stem for sibling in siblings} | {_APP.removesuffix(".py")}
    if repository_name in taken:
        raise ValueError(
            f"repository_id: the Space has a file {repository_name}.py of its own; choose another name than "
            f"{', '.join(sorted(taken))}."
        )
    return {
        f"{repository_name}.py": module_file.read_text(encoding="utf-8"),
        **{sibling.name: sibling.read_text(encoding="utf-8") for sibling in siblings},
        _CARD: _metric_card(load_metric(name), name=name, repository_id=repository_id),
        _APP: _app(repository_id),
        _REQUIREMENTS: _requirements(),
    }


def _requirements() -> str:
    """Return what the module needs, in the versions that this package asks for."""
    lines = [line.split(";")[0].strip() for line in metadata.requires("nvv") or ()]
    return "".join(f"{line}\n" for line in lines if re.match(r"[\w-]+", line)[0] in _NEEDED)


def _app(repository_id: str) -> str:
    return (
        "import evaluate\n"
        "from evaluate.utils import launch_gradio_widget\n\n"
        f'launch_gradio_widget(evaluate.load("{repository_id}"))\n'
    )


def _metric_card(module: evaluate.EvaluationModule, *, name: str, repository_id: str) -> str:
    """Make the Space's README from what the module says about itself."""
    info = module.info
    summary = " ".join(info.description.split()).split(". ")[0].rstrip(".") + "."
    title = summary.split(": ")[0]
    arguments, example = info.inputs_description.strip().split("\n\nExample:\n")
    arguments, returned = arguments.removeprefix("Args:\n").split("\n\nReturns:\n")
    header = {
        "title": title,
        "tags": ["evaluate", "metric", _mark(name)],
        "description": summary,
        "sdk": "gradio",
        "sdk_version": _GRADIO_VERSION,
        "app_file": _APP,
        "pinned": False,
        "license": "mit",
    }
    citation = f"## Citation\n\n```bibtex\n{info.citation.strip()}\n```\n\n" if info.citation else ""
    return (
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1_000)}---\n\n"
        f"# Metric card: {title}\n\n"
        f"## Metric description\n\n{info.description.strip()}\n\n"
        f"## How to use\n\n```python\n{_code(example, repository_id=repository_id)}\n```\n\n"
        f"### Inputs\n\n{_bullets(arguments)}\n\n"
        f"### Output values\n\n{_bullets(returned)}\n\n"
        f"{citation}"
        "## Further references\n\n"
        + "".join(f"- <{url}>\n" for url in info.reference_urls)
        + f"\nUploaded by nvv {__version__}; the module loads without it.\n"
    )


def _mark(name: str) -> str:
    """Return the tag by which a later push knows the Space as its own."""
    return f"nvv-metric-{name}"


def _code(example: str, *, repository_id: str) -> str:
    """Turn a docstring's example into code: no prompts, results as comments, the Space's id for the file's name."""
    lines = [line.strip() for line in example.strip().splitlines()]
    code = [line.removeprefix(">>> ") if line.startswith(">>> ") else f"# {line}" for line in lines]
    return re.sub(r'"\w+\.py"', f'"{repository_id}"', "\n".join(code))


def _bullets(arguments: str) -> str:
    """Turn lines `    name (type): text` into a list."""
    joined = re.sub(r"\n {5,}", " ", arguments)
    return re.sub(r"(?m)^ *(\w+) \(([^)]*)\): ", r"- **\1** (*\2*): ", joined)


def push_metric(
    name: str,
    repository_id: str,
    *,
    private: bool = True,
    token: str | None = None,
    endpoint: str | None = None,
) -> PushedMetric:
    """Upload a metric as a Space, in one commit.

    A Space that is there already is updated if it holds this metric or nothing, and is as private or public as asked;
    otherwise nothing is sent.

    Args:
        name: one of `nvv.metrics.METRIC_NAMES`.
        repository_id: the Space's `OWNER/NAME`, such as `me/uar`.
        private: whether only its owners may read the Space; `evaluate.load` then needs their token.
        token: access token; by default HF_TOKEN or the one that was saved by logging in.
        endpoint: the Hub's address; by default the client's.

    Returns:
        Where it stands.

    Raises:
        ValueError: as `metric_space`.
        MetricPushError: if the Space holds something else or is not as private as asked, or if the Hub cannot be
            reached or refuses.

    Example:
        >>> push_metric("uar", "me/uar", private=False)  # doctest: +SKIP
        >>> evaluate.load("me/uar").compute(references=[0, 1], predictions=[0, 1])  # doctest: +SKIP
        {'uar': 1.0}
    """
    files = metric_space(name, repository_id)
    api = HfApi(endpoint=endpoint, token=token)
    try:
        validate_repo_id(repository_id)
        with retrying_requests():
            space = api.create_repo(
                repository_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True
            )
            info = api.space_info(repository_id)
            _require_own(info, files, name=name, private=private)
            commit = commit_files(
                api,
                repository_id,
                {path: content.encode() for path, content in files.items()},
                repo_type="space",
                parent=info.sha,
                message=f"Metric {name} of nvv {__version__}",
            )
    except MetricPushError:
        raise
    except _FAILURES as error:
        raise MetricPushError(
            f"The upload of {name} to {repository_id} failed ({describe_failure(error)}). Check the token and who may "
            "write there, then run it again."
        ) from error
    return PushedMetric(repository_id=repository_id, url=str(space), commit=commit, files=tuple(sorted(files)))


def _require_own(info: SpaceInfo, files: Mapping[str, str], *, name: str, private: bool) -> None:
    """Refuse a Space that holds anything but this metric, or that others may read who should not (or the reverse)."""
    found = {sibling.rfilename for sibling in info.siblings or ()} - {HUB_FILE}
    tags = (info.card_data.to_dict().get("tags") or []) if info.card_data is not None else []
    # The Hub writes a card of its own into a new Space.
    if not found <= {_CARD} and _mark(name) not in tags:
        example = sorted(found - set(files)) or sorted(found - {_CARD})
        raise MetricPushError(
            f"{info.id} holds another Space, with {example[0]}; name another repository, or remove what is there."
        )
    if info.private != private:
        asked, is_now = ("private", "public") if private else ("public", "private")
        raise MetricPushError(
            f"{info.id} is {is_now}, but {asked} was asked for; change it in its settings, or pass "
            f"private={not private}."
        )
