"""What each arm solves, the first screen's figure and tables; likelihoods of gold solutions.

over_seeds(analysis).rows[1]    # ["full-main", "3", "31 % [27.4 to 34.8]", "1.2"]
runs(analysis).rows[1]          # ["full-main, seed 0", "31 of 100", "31 % [22.8 to 40.6]", ...]
section(tables).runs.rows[0]    # ["full-main", "0.612 [0.571 to 0.653]", "61.2 [57.0 to 65.4]"]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paribus.analysis import heldout, wording
from paribus.analysis.findings import Analysis
from paribus.analysis.heldout import Comparison, Mean, RunLikelihood
from paribus.analysis.measures import terms
from paribus.analysis.summary import ArmSummary
from paribus.analysis.tables import Run, Tables
from paribus.records import Measure, Outcome
from paribus.report.drawing import (
    FIGURE_WIDTH,
    Picture,
    colour,
    first_runs,
    name_rows,
    run_name,
    several_seeds,
    short,
    style,
    to_svg,
)
from paribus.report.rows import MAY_BREAK, Table, but
from paribus.report.units import UNKNOWN, count, mean_cell, mean_heading, nats, signed_nats
from paribus.statistics.verdicts import Verdict

_SEED_BELOW = 0.27
"""Rows between an arm's mean and its seeds."""


def runs(analysis: Analysis) -> Table:
    """What each run solved; runs without scores say why."""
    tables = analysis.tables
    faults = any(run.outcomes[Outcome.FAILED] for run in tables.complete)
    counted = ["solved"] if tables.measure is Measure.SOLVED else []
    silent = [] if tables.measure is Measure.LOSS else ["no answer", "trun\u00adcated"]
    headings = ["arm", *counted, mean_heading(tables.measure), *silent]
    return Table(headings + ["failed"] * faults, [_run(tables, run, faults) for run in tables.runs])


def over_seeds(analysis: Analysis) -> Table:
    """What each arm solves over its seeds; empty if every arm has one seed only."""
    tables = analysis.tables
    if not several_seeds(tables):
        return Table([], [])
    return Table(
        ["arm", "seeds", mean_heading(tables.measure), f"spread, {terms(tables.measure).unit}"],
        [
            [
                arm.name,
                _seeds_of(tables, arm),
                mean_cell(arm.mean, arm.interval, tables.measure),
                UNKNOWN
                if arm.spread is None
                else wording.could_see(arm.spread, None, tables.measure),
            ]
            for arm in analysis.arms
        ],
    )


def without_interval(analysis: Analysis) -> list[str]:
    """Say which arms have no interval, and why: a sentence for each reason."""
    by_reason: dict[str, list[str]] = {}
    for arm in analysis.arms:
        if arm.reason:
            by_reason.setdefault(arm.reason, []).append(arm.name)
    return [
        f"No interval for {wording.join(names)}: {reason}." for reason, names in by_reason.items()
    ]


def figure(analysis: Analysis) -> Picture | None:
    """Accuracy of each arm as a dot with its 95 % interval, its seeds as small hollow dots."""
    arms = [arm for arm in analysis.arms if arm.mean is not None]
    if not arms:
        return None
    tables = analysis.tables
    several = several_seeds(tables)
    with style("accuracy"):
        drawing = Figure(figsize=(FIGURE_WIDTH, 0.75 + (0.46 if several else 0.36) * len(arms)))
        axes = drawing.add_subplot()
        for y, arm in enumerate(arms):
            text = wording.mean(arm.mean, tables.measure)
            _draw(axes, y, arm, text, _seeds(tables, arm), tables)
        name_rows(axes, [short(arm.name) for arm in arms])
        if tables.measure is not Measure.LOSS:
            axes.set_xlim(left=0)
            # Labels need room to the right of 100 %, where the axis has no meaning.
            axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= 100])
        axes.set_xlabel(terms(tables.measure).axis)
        axes.grid(axis="x")
        text = "; ".join(f"{arm.name} {_mean_of(arm, tables.measure)}" for arm in arms)
        what = terms(tables.measure).mean.capitalize()
        drawn = to_svg(drawing, "accuracy", f"{what} with 95 % interval: {text}.")
    caption = (_OVER_SEEDS if several else _ONE_SEED)[tables.measure]
    return Picture("accuracy", drawn, f"{caption} {_SHARPER}")


_SHARPER = (
    "Arms are compared problem by problem below, which is sharper than looking at whether bars "
    "overlap."
)
_ONE_SEED = {
    Measure.SOLVED: "Share of the test problems that each arm solves. The bar is the 95 % interval "
    "of that share.",
    Measure.SCORE: "Mean score of each arm over the test problems, in points: 100 is the highest. "
    "The bar is the 95 % interval of that mean.",
    Measure.LOSS: "Mean loss of the test problems' gold solutions, in nats per token: less is "
    "better. The bar is the 95 % interval of that mean.",
}
_BAR = (
    "averaged over its seeds, which are the hollow dots. The bar is the 95 % interval for other "
    "seeds and other problems; for an arm with one run, for other problems."
)
_OVER_SEEDS = {
    Measure.SOLVED: f"Share of the test problems that each arm solves, {_BAR}",
    Measure.SCORE: "Mean score of each arm over the test problems, in points (100 is the highest), "
    + _BAR,
    Measure.LOSS: "Mean loss of the test problems' gold solutions, in nats per token (less is "
    f"better), {_BAR}",
}


def _draw(
    axes: Axes, y: int, arm: ArmSummary, text: str, seeds: list[float], tables: Tables
) -> None:
    scale, paint = terms(tables.measure).scale, colour(tables, arm.name)
    mean, ends = scale * (arm.mean or 0.0), [scale * (arm.mean or 0.0)]
    axes.plot(mean, y, marker="o", color=paint, markersize=6)
    if arm.interval is not None:
        low, high = scale * arm.interval.low, scale * arm.interval.high
        # An interval may end at the share itself: never a distance below zero.
        errors = [[max(0.0, mean - low)], [max(0.0, high - mean)]]
        axes.errorbar(mean, y, xerr=errors, fmt="none", color=paint, capsize=3, lw=1.5)
        ends.append(high)
    if len(seeds) > 1:
        places = [y + _SEED_BELOW] * len(seeds)
        axes.plot(seeds, places, "o", color=paint, markersize=4, markerfacecolor="none", lw=0)
    axes.annotate(
        text,
        (max(ends), y),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
    )
    axes.margins(x=0.16)


def _seeds(tables: Tables, arm: ArmSummary) -> list[float]:
    scores = [run.score for run in tables.complete if run.arm == arm.name]
    scale = terms(tables.measure).scale
    return [scale * score.accuracy for score in scores if score.accuracy is not None]


def _seeds_of(tables: Tables, arm: ArmSummary) -> str:
    """The seeds that are complete, and of how many if some are not."""
    planned = sum(run.arm == arm.name for run in tables.runs)
    return str(planned) if arm.seeds == planned else f"{arm.seeds} of {planned}"


def _run(tables: Tables, run: Run, faults: bool) -> list[str]:
    counted = tables.measure is Measure.SOLVED
    if not run.complete:
        unknown = 0 if tables.measure is Measure.LOSS else 3 if faults else 2
        cells = [UNKNOWN] * counted + [str(run.state)] + [UNKNOWN] * unknown
        return [run_name(tables, run), *cells]
    score, outcomes = run.score, run.outcomes
    shown = [Outcome.NO_ANSWER, Outcome.TRUNCATED] + [Outcome.FAILED] * faults
    if tables.measure is Measure.LOSS:
        shown = []
    return [
        run_name(tables, run),
        *([f"{score.correct} of {score.n}"] if counted else []),
        mean_cell(score.accuracy, score.interval, tables.measure),
        *(str(outcomes[outcome]) for outcome in shown),
    ]


def _mean_of(arm: ArmSummary, measure: Measure) -> str:
    return f"{wording.mean(arm.mean, measure)} ({wording.mean_range(arm.interval, measure)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """The section. `comparisons` has no rows where none could be made."""

    written: str
    runs: Table
    other_seeds: Table
    comparisons: Table
    notes: list[str]


def section(tables: Tables) -> Heldout | None:
    """Return the section, None if no likelihood was measured."""
    likelihoods = heldout.likelihoods(tables)
    # A file's own losses are of one token each: there is nothing to add to what stands above.
    if all(row.tokens == 1 for of_run in likelihoods for row in of_run.run.heldout):
        return None
    first = first_runs(tables)
    # Where losses are what conclusions are drawn from, they are compared above.
    compared = [] if tables.measure is Measure.LOSS else heldout.comparisons(tables)
    comparisons = [comparison for comparison in compared if comparison.mean.n]
    return Heldout(
        written=wording.join(
            list(dict.fromkeys(row.variant for row in likelihoods if row.variant))
        ),
        runs=_runs(tables, [row for row in likelihoods if row.run in first]),
        other_seeds=_runs(tables, [row for row in likelihoods if row.run not in first]),
        comparisons=_comparisons(compared if comparisons else []),
        notes=_notes(likelihoods, comparisons),
    )


def _runs(tables: Tables, likelihoods: Sequence[RunLikelihood]) -> Table:
    rows = [
        [
            run_name(tables, likelihood.run),
            _mean(likelihood.per_token, nats),
            _mean(likelihood.per_problem, nats),
            count(likelihood.per_problem.n),
        ]
        for likelihood in likelihoods
    ]
    headings = ["arm", "nats per token [95 %]", "nats per problem [95 %]", "problems"]
    return Table(headings, rows)


def _comparisons(compared: Sequence[Comparison]) -> Table:
    rows = [
        [
            f"{comparison.a} − {comparison.b}",
            comparison.factor.replace(".", MAY_BREAK),
            _mean(comparison.mean, signed_nats),
            wording.p_value(comparison.mean.p_value) if comparison.mean.n else UNKNOWN,
            wording.p_value(comparison.p_holm) if comparison.mean.n else UNKNOWN,
            _shown(comparison) + but([comparison.machines]),
        ]
        for comparison in compared
    ]
    headings = ["A − B", "factor", "nats per problem [95 %]", "p", "p, Holm", "what it shows"]
    return Table(headings, rows)


def _shown(row: Comparison) -> str:
    if not row.mean.n:
        return f"Not compared: {row.mean.reason}."
    if row.mean.interval is None:
        return f"No verdict: {row.mean.reason}."
    if row.verdict is Verdict.NOT_SHOWN:
        return "Not shown."
    better, worse = (row.a, row.b) if row.verdict is Verdict.SUPPORTED else (row.b, row.a)
    return f"Of these two models, {better} finds the gold solutions likelier than {worse}."


def _notes(likelihoods: Sequence[RunLikelihood], comparisons: Sequence[Comparison]) -> list[str]:
    """Return what keeps these figures from being read as the ones on accuracy are."""
    notes = []
    if unlike := list(dict.fromkeys(name for row in comparisons for name in row.unlike)):
        notes.append(
            f"{wording.join(unlike)} learned to write solutions of another variant than those "
            "judged here: part of a difference is style."
        )
    undefined = [row for row in likelihoods if row.per_problem.value is None]
    notes += [f"{row.run.arm}, seed {row.run.seed}: {row.per_problem.reason}." for row in undefined]
    return notes


def _mean(mean: Mean, spell: Callable[[float], str]) -> str:
    """`0.612 [0.571 to 0.653]`."""
    if mean.value is None:
        return UNKNOWN
    value, interval = spell(mean.value), mean.interval
    return (
        value if interval is None else f"{value} [{spell(interval.low)} to {spell(interval.high)}]"
    )
