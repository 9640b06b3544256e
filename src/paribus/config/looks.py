"""A sequential design as a file declares it: the most seeds an arm may have, and when to look.

    budget: 8
    looks: [4, 6, 8]        # numbers of seeds; left out: at half the budget and at all of it

`seeds` is then the budget, wherever else it is asked for.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, TypeGuard

from paribus.config.read import Origin, find_origin

FIRST = 3
"""Fewer seeds give no verdict to look at (`statistics.crossed.MIN_SEEDS`, which is slow to
import)."""


def settle_looks(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    """Add, in place, what follows from a `budget` that is a number: `seeds`, and `looks`."""
    budget = values.get("budget")
    if not _is_count(budget) or look_problems(values, origins):
        return
    for key, value in (("seeds", budget), ("looks", usual_looks(budget))):
        if values.get(key) is None:
            values[key], origins[key] = value, find_origin("budget", origins)


def usual_looks(budget: int) -> list[int]:
    """Return the looks that a budget has where none are declared."""
    return sorted({max(FIRST, (budget + 1) // 2), budget})


def look_problems(values: Mapping[str, Any], origins: Mapping[str, Origin]) -> list[str]:
    """Return what is wrong with `budget`, `looks` and `seeds` together; each alone is checked."""
    budget, looks, seeds = (values.get(key) for key in ("budget", "looks", "seeds"))
    at = find_origin("looks", origins)
    if looks and budget is None:
        return [f"{at}: looks needs the most seeds an arm may have; set budget={_last(looks)}"]
    if not _is_count(budget):
        return []
    found = []
    if _is_count(seeds) and seeds != budget:
        found.append(
            f"{find_origin('seeds', origins)}: seeds={seeds} and budget={budget} both say how many "
            f"seeds an arm has; drop seeds, or set seeds={budget}"
        )
    if isinstance(looks, list) and all(map(_is_count, looks)) and not _is_plan(looks, budget):
        found.append(
            f"{at}: looks={looks} must be numbers of seeds, each more than the one before, from "
            f"{FIRST} to budget={budget}; set looks={usual_looks(max(budget, FIRST))}"
        )
    return found


def _is_plan(looks: list[int], budget: int) -> bool:
    ascending = all(low < high for low, high in pairwise(looks))
    return bool(looks) and ascending and looks[0] >= FIRST and looks[-1] == budget


def _last(looks: Any) -> Any:
    return looks[-1] if isinstance(looks, list) and _is_count(looks[-1]) else 8


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
