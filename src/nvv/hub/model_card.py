"""The model card: a repository's README, made from what its run recorded.

`CardFacts` gathers the facts from the files of a run; `render_model_card` fills the template in `model_cards/` with
them through `huggingface_hub`'s card classes. Nothing is typed in by hand, and what was not recorded is left out. How
the parts of the text are worded is in `card_text`, what the header says in `card_metadata`, which licence follows from
which in `licences`. Own work.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import ModelCard

from ..files import write_text
from ..tasks_nvv import output_names
from . import card_text
from .card_metadata import card_data
from .licences import ModelLicence, backbone_licence, combine_licences

CARD_FILE = "README.md"
TEMPLATE_FILE = "model_card_template.md"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DATASET_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class ModelCardError(ValueError):
    """A card that cannot be made from what was recorded."""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card is made from.

    Args:
        metrics: the content of `metrics.json`.
        model_config: the content of the repository's `config.json`.
        adapter_only: whether the repository holds an adapter instead of all weights.
        model_name: the card's title; None for backbone, corpus and method in one name.
        repository_id: the repository's id on the Hub, used in the code to paste; None: the folder itself.
        dataset_id: the corpus's id on the Hub, if it has one there; None: the one that the run recorded, if it did.
        plots: the file names of those plots that stand beside the card.

    Raises:
        ModelCardError: if metrics and model do not have the same labels in the same order.
    """

    metrics: Mapping[str, Any]
    model_config: Mapping[str, Any] = field(default_factory=dict)
    adapter_only: bool = False
    model_name: str | None = None
    repository_id: str | None = None
    dataset_id: str | None = None
    plots: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = self.model_config.get("id2label")
        if named is None:
            return
        in_config = [named[key] for key in sorted(named, key=int)]
        in_metrics = list(self.metrics["labels"]) if self.tasks is None else output_names(self.tasks)
        if in_config != in_metrics:
            raise ModelCardError(
                f"labels: config.json has {in_config}, metrics.json has {in_metrics}. "
                "They are of different runs: write both again."
            )

    @classmethod
    def from_directory(
        cls,
        directory: str | os.PathLike[str],
        *,
        model_name: str | None = None,
        repository_id: str | None = None,
        dataset_id: str | None = None,
    ) -> CardFacts:
        """Read the facts from a saved repository.

        Args:
            directory: the folder with `metrics.json`, `config.json` and the plots; `adapter_config.json` in it means
                that it holds an adapter.
            model_name: as in the class.
            repository_id: as in the class.
            dataset_id: as in the class.

        Returns:
            The facts.

        Raises:
            ModelCardError: if a file is missing, or labels differ.
        """
        folder = Path(directory)
        contents = {}
        for name in ("metrics.json", "config.json"):
            if not (folder / name).is_file():
                raise ModelCardError(f"{folder}: expected {name}, found none. Save model and results there first.")
            contents[name] = json.loads((folder / name).read_text(encoding="utf-8"))
        return cls(
            metrics=contents["metrics.json"],
            model_config=contents["config.json"],
            adapter_only=(folder / "adapter_config.json").is_file(),
            model_name=model_name,
            repository_id=repository_id,
            dataset_id=dataset_id,
            plots=(
                *(name for name in card_text.PLOTS if (folder / name).is_file()),
                *sorted(path.name for pattern in card_text.TASK_PLOTS for path in folder.glob(pattern)),
            ),
        )

    @property
    def tasks(self) -> list[Mapping[str, Any]] | None:
        """The tasks of a regression or of a model with several tasks; None for a classifier."""
        return None if self.metrics["labels"] else self.metrics.get("tasks")

    @property
    def head_only(self) -> bool:
        """Whether the repository holds only the head of a model whose backbone was frozen."""
        return self.model_config.get("saved_weights") == "head"

    @property
    def title(self) -> str:
        """The model's name."""
        if self.model_name:
            return self.model_name
        backbone = Path(self.metrics["backbone"]["id"]).name
        corpus = Path(self.metrics["corpus"]["name"]).name
        return f"{backbone}-{corpus}-{self.metrics['tuning']['method']}".lower().replace("_", "-")

    @property
    def dataset_name(self) -> str | None:
        """The corpus as metadata can name it: its Hub id, else its short name; None for data that is on no Hub."""
        if self.metrics["corpus"].get("is_local"):
            return None
        name = self.dataset_id or self.metrics["corpus"].get("dataset_id") or self.metrics["corpus"]["name"]
        return name if _DATASET_NAME.fullmatch(name) and not Path(name).exists() else None

    @property
    def base_model(self) -> str | None:
        """The Hub id of the weights the model derives from; None for random weights and for a local folder."""
        backbone = self.metrics["backbone"]
        is_id = _HUB_ID.fullmatch(backbone["id"]) is not None and not Path(backbone["id"]).exists()
        return backbone["id"] if is_id and not backbone["random_init"] else None

    @property
    def licence(self) -> ModelLicence:
        """The model's licence, from backbone and corpus."""
        backbone = self.metrics["backbone"]
        return combine_licences(
            None if backbone["random_init"] else backbone_licence(backbone["id"]),
            self.metrics["corpus"].get("licence"),
        )


def load_template() -> str:
    """Read the template that travels with the package.

    Returns:
        The template's text.
    """
    return resources.files("nvv.model_cards").joinpath(TEMPLATE_FILE).read_text(encoding="utf-8")


def render_model_card(facts: CardFacts) -> ModelCard:
    """Render the card.

    Args:
        facts: what the card is made from.

    Returns:
        The card; `str(card)` is the README's text.

    Raises:
        ModelCardError: if `metrics` lacks what every run records, or the template asks for what no card has.
    """
    # The template is rendered here and not by `ModelCard.from_template`, whose environment is fixed: it keeps the line
    # ends of block tags, which breaks tables and leaves blank lines, and replaces an undefined name by nothing.
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown, not HTML
        keep_trailing_newline=True,
    )
    data = card_data(facts)
    try:
        content = environment.from_string(load_template()).render(
            card_data=data.to_yaml(), model_name=facts.title, **card_text.sections(facts)
        )
    except KeyError as error:
        raise ModelCardError(f"metrics.json: has no field {error}. Write it with nvv.training.results.") from error
    except jinja2.UndefinedError as error:
        raise ModelCardError(f"the template: {error}. nvv.hub.card_text.sections gives what it may use.") from error
    return ModelCard(re.sub(r"\n{3,}", "\n\n", content))


def write_model_card(directory: str | os.PathLike[str], facts: CardFacts | None = None) -> Path:
    """Write the card as a repository's README.

    Args:
        directory: the repository's folder.
        facts: what the card is made from; None reads them from the folder.

    Returns:
        The README's path.

    Raises:
        ModelCardError: as `CardFacts.from_directory` and `render_model_card`.

    Example:
        >>> write_model_card("runs/lora", CardFacts.from_directory("runs/lora"))  # doctest: +SKIP
    """
    card = render_model_card(facts if facts is not None else CardFacts.from_directory(directory))
    return write_text(Path(directory) / CARD_FILE, str(card))
