"""How arms and runs are named and drawn: the same name, colour and line in every figure and table.

colour(tables, "lora-main")     "#D55E00"
run_name(tables, run)           "lora-main, seed 1", or "lora-main" if there is one seed only
"""

from collections.abc import Sequence

from matplotlib.axes import Axes

from paribus.analysis.tables import Run, Tables
from paribus.report import svg


def several_seeds(tables: Tables) -> bool:
    """Return whether any arm is run more than once."""
    return len({run.seed for run in tables.runs}) > 1


def run_name(tables: Tables, run: Run) -> str:
    """Return the run's name in tables and sentences."""
    return f"{run.arm}, seed {run.seed}" if several_seeds(tables) else run.arm


def first_runs(tables: Tables) -> list[Run]:
    """Return the first complete run of each arm."""
    first: dict[str, Run] = {}
    for run in tables.complete:
        first.setdefault(run.arm, run)
    return list(first.values())


def further_runs(tables: Tables) -> dict[int, list[Run]]:
    """Return seed -> the complete runs that are not the first of their arm."""
    first = {(run.arm, run.seed) for run in first_runs(tables)}
    others = [run for run in tables.complete if (run.arm, run.seed) not in first]
    return {
        seed: [run for run in others if run.seed == seed]
        for seed in sorted({run.seed for run in others})
    }


def colour(tables: Tables, name: str) -> str:
    """Return the arm's colour: grey for an untuned one."""
    tuned = _tuned(tables)
    return svg.PALETTE[tuned.index(name) % len(svg.PALETTE)] if name in tuned else svg.UNTUNED


def dash(tables: Tables, name: str) -> str:
    """Return the arm's line style: it changes once the colours are used up."""
    tuned = _tuned(tables)
    if name not in tuned:
        return svg.DASHES[0]
    return svg.DASHES[tuned.index(name) // len(svg.PALETTE) % len(svg.DASHES)]


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a figure, first on top, one unit each."""
    axes.set_yticks(range(len(names)), labels=names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _tuned(tables: Tables) -> list[str]:
    return [arm.name for arm in tables.arms if not arm.untuned]
