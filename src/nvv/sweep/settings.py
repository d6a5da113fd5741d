"""What a grid's `report:` section can say: the tables wanted, the claims to test, the benchmark's number.

Only read and checked here; tables are built in `score_tables`, claims tested in `claims`. Own work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .score_names import REPORT_SCORES

TAKES = ("each", "best_by_validation")


class ReportError(ValueError):
    """A `report:` section that cannot be used."""


def _fields_of(kind: type, content: Any, *, where: str) -> dict[str, Any]:
    """Return `content` as arguments of a dataclass, or say what is wrong with it."""
    if not isinstance(content, Mapping):
        raise ReportError(f"{where}: expected `field: value` lines, found {content!r}.")
    known = [item.name for item in dataclasses.fields(kind)]
    unknown = [name for name in content if name not in known]
    if unknown:
        raise ReportError(f"{where}: no field is called {unknown[0]!r}; expected some of {', '.join(known)}.")
    missing = [
        item.name
        for item in dataclasses.fields(kind)
        if item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
        and item.name not in content
    ]
    if missing:
        raise ReportError(f"{where}: {', '.join(missing)} missing.")
    return dict(content)


def _names(value: Any, *, where: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ReportError(f"{where}: expected a list of names, found {value!r}.")
    return tuple(str(name) for name in value)


def _check_metric(metric: str, *, where: str) -> None:
    if metric not in REPORT_SCORES:
        raise ReportError(f"{where}: expected one of {', '.join(REPORT_SCORES)}, found {metric!r}.")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim: systems of one kind score better than systems of another.

    Args:
        name: short name.
        statement: the claim in one sentence.
        source: who made it.
        better: which systems should win: column of the results table to value, or list of values.
        than: which systems should lose, in the same way.
        matched_by: columns in which two compared systems must agree, such as `backbone`; corpus and split protocol
            always do.
        take: `each`: every such pair is compared; `best_by_validation`: on each side the system with the best mean
            validation score, so that test takes no part in the choice.
        metric: the score; empty: the report's.
        split: the split that decides.
    """

    name: str
    statement: str
    source: str
    better: Mapping[str, Any]
    than: Mapping[str, Any]
    matched_by: tuple[str, ...] = ()
    take: str = "each"
    metric: str = ""
    split: str = "test"

    @classmethod
    def from_mapping(cls, content: Any, *, where: str, metric: str) -> Claim:
        """Read a claim of a grid.

        Args:
            content: its YAML content.
            where: how an error calls it.
            metric: the report's score.

        Returns:
            The claim.

        Raises:
            ReportError: naming the field that is wrong.
        """
        values = _fields_of(cls, content, where=where)
        where = f"{where} ({values['name']})"
        for side in ("better", "than"):
            if not isinstance(values[side], Mapping) or not values[side]:
                raise ReportError(f"{where}: {side}: expected columns and values, found {values[side]!r}.")
        if values.get("take", "each") not in TAKES:
            raise ReportError(f"{where}: take: expected one of {', '.join(TAKES)}, found {values['take']!r}.")
        values["metric"] = values.get("metric") or metric
        _check_metric(values["metric"], where=f"{where}: metric")
        values["matched_by"] = _names(values.get("matched_by", ()), where=f"{where}: matched_by")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The `report:` section of a grid.

    Args:
        metric: the score in tables, ranks and claims, one of `score_names.REPORT_SCORES`; `mean_score` is CCC where
            numbers are predicted, UAR where classes are, and the mean of these over several tasks.
        splits: the splits that get tables; the first one is ranked and drawn.
        rows: columns of the results table that name a table's row.
        columns: those that name a table's column.
        reference: which system the marks compare with, as column to value; None: each table's best.
        num_resamples: of each paired bootstrap. The smallest p-value it can give is about 2 / num_resamples, which
            Holm's correction multiplies by the number of comparisons.
        score: whether the benchmark's one number is computed, which is of runs that predict classes.
        seen_in_pretraining: backbone id to the corpora that its pretraining contained.
        notes: sentences printed with the tables.
        claims: claims to test.
    """

    metric: str = "uar"
    splits: tuple[str, ...] = ("test",)
    rows: tuple[str, ...] = ("backbone", "layers", "hidden_states")
    columns: tuple[str, ...] = ("method",)
    reference: Mapping[str, Any] | None = None
    num_resamples: int = 10_000
    score: bool = False
    seen_in_pretraining: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    @classmethod
    def from_mapping(cls, content: Any) -> ReportSettings:
        """Read the `report:` section of a grid.

        Args:
            content: its YAML content; None for a grid without one.

        Returns:
            The settings.

        Raises:
            ReportError: naming the field that is wrong.
        """
        values = _fields_of(cls, {} if content is None else content, where="report")
        for name in ("splits", "rows", "columns", "notes"):
            if name in values:
                values[name] = _names(values[name], where=f"report: {name}")
        for name in ("splits", "rows", "columns"):
            if name in values and not values[name]:
                raise ReportError(f"report: {name}: expected at least one name, found none.")
        metric = values.get("metric", "uar")
        _check_metric(metric, where="report: metric")
        if values.get("num_resamples", 1) < 1:
            raise ReportError(f"report: num_resamples: expected at least 1, found {values['num_resamples']}.")
        if not isinstance(values.get("seen_in_pretraining", {}), Mapping):
            raise ReportError("report: seen_in_pretraining: expected `backbone: [corpora]` lines.")
        claims = values.get("claims", ())
        if isinstance(claims, (str, Mapping)) or not isinstance(claims, Sequence):
            raise ReportError(f"report: claims: expected a list, found {claims!r}.")
        values["claims"] = tuple(
            Claim.from_mapping(claim, where=f"report: claim {number}", metric=metric)
            for number, claim in enumerate(claims, start=1)
        )
        return cls(**values)
