"""Values that files state themselves: lm-eval's metrics for each problem, or a column of one's own.

    way = ByColumn(key="acc_norm")
    way = ByColumn(key="exact_match", filter="strict-match")    # lm-eval's, behind one filter
    way = ByColumn(key="nll", loss=True)                        # less is better

No text is scored, and none is needed. Problems are told apart by lm-eval's `doc`, or by `question`,
or by `id`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.analysis.elsewhere.gold import Gold, gold_of
from paribus.analysis.elsewhere.samples import (
    KINDS,
    Sample,
    asked_in,
    is_of_harness,
    label_of,
    read_first,
    read_objects,
    stop_of,
)
from paribus.analysis.elsewhere.ways import Way
from paribus.data.rows import MEND
from paribus.errors import DataError
from paribus.evaluation.metrics import Metric
from paribus.evaluation.scorers import Scorers
from paribus.evaluation.text_metrics import Scorer
from paribus.records import Generation, Problem

_VALUE = "value"
"""Key of `Generation.document` under which the value of a text is kept."""


class Stated(Scorer):
    """The value that the file of a text states."""

    binary: bool

    def is_binary(self) -> bool:  # noqa: D102
        return self.binary

    def score(self, text: str, generation: Generation) -> float | None:  # noqa: D102
        return float((generation.document or {})[_VALUE])


@dataclass(frozen=True, slots=True, kw_only=True)
class ByColumn(Way):
    """Values under a key of the rows.

    Attributes:
        key: the rows' key.
        filter: of lm-eval, whose rows count; "" if there is one.
        loss: whether less is better; else values lie between 0 and 1.
    """

    key: str
    filter: str = ""
    loss: bool = False

    @property
    def values(self) -> bool:  # noqa: D102
        return True

    def options(self) -> dict[str, Any]:  # noqa: D102
        return {"loss" if self.loss else "metric": self.name}

    @property
    def name(self) -> str:
        """As it is asked for: `KEY`, or `FILTER/KEY`."""
        return f"{self.filter}/{self.key}" if self.filter else self.key

    @property
    def of_runs(self) -> Scorers:  # noqa: D102
        raise DataError(
            f"a run of paribus states no {self.key!r}",
            "compare runs by --task FILE or --metric NAME, or by `paribus report`",
        )

    def read(self, path: Path) -> list[Sample]:  # noqa: D102
        rows, _ = read_first(path)
        filters = {str(row.get("filter", "")): None for _, row in rows}
        if self.filter and self.filter not in filters:
            raise DataError(
                f"{path}: no row is of the filter {self.filter!r}",
                f"name one of: {', '.join(filters)}",
            )
        if not self.filter and len(filters) > 1:
            names = [f"{name}/{self.key}" for name in filters]
            raise DataError(
                f"{path}: {self.key!r} is there for {len(filters)} filters: {', '.join(filters)}",
                f"say which: --metric {' or --metric '.join(names)}",
            )
        return [
            self._sample(row, where)
            for where, row in rows
            if self.filter in ("", row.get("filter"))
        ]

    def gold(self, path: Path | None, samples: Sequence[Sample]) -> Gold | None:  # noqa: D102
        if path is None:
            return None
        rows = list(read_objects(path))
        return gold_of(path, rows, [self._problem(row, where) for where, row in rows])

    def scorers(self, samples: Sequence[Sample]) -> Scorers:  # noqa: D102
        if self.loss:
            return Scorers(loss=True)
        binary = all(sample.value in (0, 1) for sample in samples)
        return Scorers(metrics=(Metric(name=self.name, scorer=Stated(binary=binary)),))

    def _sample(self, row: dict[str, Any], where: str) -> Sample:
        asked = isinstance(row.get("question"), str)
        text = row.get("completion", row.get("text"))
        if is_of_harness(row):
            match row["resps"]:
                case [[str() as text]]:
                    pass
        return Sample(
            where=where,
            id=label_of(row, "id", where) if "id" in row and not asked else None,
            question=row["question"] if asked else None,
            text=text if isinstance(text, str) else "",
            stop=stop_of(row),
            value=self._value(row, where),
            stated=row,
            problem=self._problem(row, where),
        )

    def _problem(self, row: Mapping[str, Any], where: str) -> Problem:
        group = "" if self.group_by is None else label_of(dict(row), self.group_by, where)
        if is_of_harness(row):
            key = json.dumps(row["doc"], sort_keys=True, default=str)
            asked, gold = asked_in(row), str(row.get("target", ""))
        elif isinstance(row.get("question"), str):
            key, asked, gold = "", row["question"], str(row.get("answer", ""))
        elif "id" in row:
            key, asked, gold = "", label_of(dict(row), "id", where), ""
        else:
            raise DataError(
                f"{where}: has neither 'id' nor 'question'",
                "give the line the id or the question of its problem",
            )
        return Problem(question=asked, key=key, solution="", answer=gold, group=group, where=where)

    def _value(self, row: Mapping[str, Any], where: str) -> float:
        stated = row.get(self.key)
        try:
            value = float(stated if isinstance(stated, str) else _number(stated))
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            there = "there is no" if self.key not in row else f"{_called(stated)} under"
            raise DataError(f"{where}: {there} {self.key!r}, which should hold a number", MEND)
        if not self.loss and not 0 <= value <= 1:
            raise DataError(
                f"{where}: {self.key!r} is {value:g}, and scores lie between 0 and 1",
                "divide percentages by 100; of a loss, where less is better, give --loss "
                f"{self.key}",
            )
        return value


def of_value(sample: Sample) -> dict[str, Any]:
    """Return the `Generation.document` from which `Stated` reads the value of a sample."""
    return {_VALUE: sample.value}


def column_of(path: Path, name: str) -> tuple[str, str] | None:
    """Return (filter, key) if the first row of `path` has `name`, `KEY` or `FILTER/KEY`; or None.

    A function of the user's is no key. Raises DataError if the file cannot be read.
    """
    if path.is_dir():
        return None
    (first, *_), _ = read_first(path, 1)
    if name in first[1]:
        return "", name
    named, _, key = name.rpartition("/")
    return (named, key) if named and key in first[1] and "filter" in first[1] else None


def _number(value: Any) -> float:
    if not isinstance(value, bool | int | float):
        raise TypeError
    return float(value)


def _called(value: Any) -> str:
    return KINDS.get(type(value), repr(value)[:40] if isinstance(value, str) else "no number")
