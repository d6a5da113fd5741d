"""The kinds of runs that a sweep has, and the dataclasses that say which fields each takes.

Reading a grid and planning its runs is left to `grid` and `plan`; what the fields mean, to the dataclasses. Own work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from ..baselines.arguments import BaselineArguments
from ..heads_nvv import POOLINGS_THAT_COMMUTE
from ..training.arguments import TASK_FIELDS, DataArguments
from ..training.config_files import GROUPS
from ..training.probe_arguments import ProbeArguments

RECIPES = ("probe", "train", "baseline")

_HEADS_BY_FRAME = ("lstm", "embedding")  # a probe on pooled features cannot have them

SINGULAR = {"features": "features", "classifier": "classifiers"}
"""What a grid calls the one value that a baseline run has, and the field that takes several."""


@cache
def groups_of(recipe: str) -> tuple[type, ...]:
    """Return the dataclasses whose fields a recipe takes; field names are unique over them.

    Args:
        recipe: one of `RECIPES`.
    """
    groups = {"train": GROUPS, "probe": (*GROUPS, ProbeArguments), "baseline": (DataArguments, BaselineArguments)}
    return groups[recipe]


@cache
def fields_of(recipe: str) -> frozenset[str]:
    """Return the names that a grid may give to a run of this recipe."""
    names = {item.name for group in groups_of(recipe) for item in dataclasses.fields(group) if item.init}
    return frozenset(names - set(SINGULAR.values()) | set(SINGULAR) if recipe == "baseline" else names)


@cache
def all_fields() -> frozenset[str]:
    """Return the names of the fields that any recipe takes."""
    return frozenset().union(*(fields_of(recipe) for recipe in RECIPES))


@cache
def takes_a_list(name: str) -> bool:
    """Say whether a field's value is itself a list, so that a grid lists its values as a list of lists."""
    if name in SINGULAR:
        return False
    for recipe in RECIPES:
        for group in groups_of(recipe):
            hint = get_type_hints(group).get(name)
            if hint is not None:
                kinds = (hint, *get_args(hint))
                return any((get_origin(kind) or kind) is list for kind in kinds)
    return False


def default_recipe(values: Mapping[str, Any]) -> str:
    """Choose how a run without `recipe` is done.

    Args:
        values: the run's fields as far as they were given.

    Returns:
        `probe`, from features computed once, for a frozen backbone under a head that is linear up to its pooling and
        predicts classes; `train` for everything else.
    """

    def value(name: str) -> Any:
        return values.get(name, field_default(name))

    is_plain = value("head") not in _HEADS_BY_FRAME and all(value(name) is None for name in TASK_FIELDS)
    return (
        "probe" if value("method") == "frozen" and value("pooling") in POOLINGS_THAT_COMMUTE and is_plain else "train"
    )


@cache
def field_default(name: str) -> Any:
    """Return the default of a field of the training recipe.

    Args:
        name: the field.

    Returns:
        Its default; None for a field without one, and for a name that is no field.
    """
    items = [item for group in groups_of("train") for item in dataclasses.fields(group) if item.name == name]
    return None if not items or items[0].default is dataclasses.MISSING else items[0].default
