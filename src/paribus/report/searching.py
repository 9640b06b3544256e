"""How values in a space were found: the expected best loss by budget, and what fresh seeds confirm.

section(tables).warnings     # ["lora: lora.r=16 is at the high end of its range: ..."]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paribus.analysis.conditions import text
from paribus.analysis.searches import Confirmed, Search, searches
from paribus.analysis.tables import Tables
from paribus.analysis.wording import join
from paribus.report import drawing
from paribus.report.drawing import Picture
from paribus.report.rows import Table
from paribus.report.tuning import first_line
from paribus.report.units import UNKNOWN, duration, nats, rate
from paribus.store.experiments import Tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Searching:
    """The section. `curve` is None if no trial has a loss."""

    how: str
    warnings: list[str]
    curve: Picture | None
    chosen: Table
    confirmed: str
    trials: Table
    failed: list[str]


def section(tables: Tables) -> Searching | None:
    """Return the section, None if no space was searched."""
    made = searches(tables)
    if not made:
        return None
    return Searching(
        how=_how(made),
        warnings=[line for search in made for line in _warnings(search)],
        curve=_curve(tables, made),
        chosen=_chosen(made),
        confirmed=_confirmed_words(made),
        trials=_trials(made),
        failed=[
            f"{search.arm}, trial {number}: {first_line(trial)}"
            for search in made
            for number, trial in enumerate(search.tuning.trials, 1)
            if trial.error
        ],
    )


def setting(value: Any) -> str:
    """Return a tuned value as people write it: 2.1e-4, 0.05, 16, cosine."""
    if not isinstance(value, float):
        return text(value)
    return rate(value) if 0 < abs(value) < 0.001 else f"{value:.3g}"


def _how(made: Sequence[Search]) -> str:
    """Say what the arms had in common: the budget and the sampler."""
    asked = made[0].how.asked
    each = f"{asked['trials']} trials"
    if made[0].by_operations:
        each = f"as many trials as train with {rate(asked['flops'])} operations at most"
    sampler = {"tpe": "Optuna's TPE", "random": "chance"}[asked["sampler"]]
    return f"Each of these arms had {each}, with values proposed by {sampler}"


def _warnings(search: Search) -> list[str]:
    best = search.tuning.best
    if best is None or best.values is None:
        return [f"Nothing could be chosen for {search.arm}: none of its trials has a loss."]
    lines = [
        f"{search.arm}: {key}={setting(best.values[key])} is at the {end} end of what was "
        f"searched: the range should go further {'up' if end == 'high' else 'down'}."
        for key, end in search.how.edges.items()
    ]
    if search.confirmed and search.confirmed.is_worse:
        lines.append(
            f"{search.arm}: with fresh seeds the loss is worse than its best trial said, by "
            f"{_difference(search.confirmed)}: the trial was lucky, or the test problems harder."
        )
    return lines


def _difference(confirmed: Confirmed) -> str:
    known = confirmed.interval
    between = f" [{known.low:+.3f} to {known.high:+.3f}]" if known else ""
    return f"{confirmed.difference:+.3f}{between}".replace("-", "−")


def _keys(made: Sequence[Search]) -> list[str]:
    return list(dict.fromkeys(key for search in made for key in search.keys))


def _chosen(made: Sequence[Search]) -> Table:
    keys = _keys(made)
    rows = []
    for search in made:
        best, confirmed = search.tuning.best, search.confirmed
        values = best.values or {} if best else {}
        rows.append(
            [
                search.arm,
                *(setting(values[key]) if key in values else UNKNOWN for key in keys),
                nats(best.nll_per_token if best else None),
                nats(confirmed.loss if confirmed else None),
                _difference(confirmed) if confirmed else UNKNOWN,
                str(len(search.tuning.trials)),
                _total(search),
            ]
        )
    headings = ["arm", *keys, "loss of its trial", "with fresh seeds", "difference", "trials"]
    return Table([*headings, "operations"], rows)


def _total(search: Search) -> str:
    if search.operations is None:
        return UNKNOWN
    return rate(search.operations * len(search.tuning.trials))


def _confirmed_words(made: Sequence[Search]) -> str:
    few = [search.arm for search in made if search.confirmed and not search.confirmed.interval]
    line = (
        "The runs of an arm have random streams that no trial had: what was chosen is confirmed by "
        "fresh seeds, on the test problems. The lowest loss of many trials is low by luck too. "
        "Each arm was tuned once: a verdict is about the arms with the values that were found."
    )
    return f"{line} Too few seeds or problems for an interval: {join(few)}." if few else line


def _trials(made: Sequence[Search]) -> Table:
    keys = _keys(made)
    rows = [
        [
            search.arm,
            str(number),
            *(setting((trial.values or {}).get(key, UNKNOWN)) for key in keys),
            nats(trial.nll_per_token),
            UNKNOWN if trial.solved is None else f"{trial.solved} of {trial.n}",
            UNKNOWN if trial.flops is None else rate(trial.flops),
            duration(trial.seconds),
            _outcome(search, number, trial),
        ]
        for search in made
        for number, trial in enumerate(search.tuning.trials, 1)
    ]
    headings = ["arm", "trial", *keys, "held-out loss, nats per token", "solved", "operations"]
    return Table([*headings, "time", ""], rows)


def _outcome(search: Search, number: int, trial: Tried) -> str:
    if search.how.best == number - 1:
        return "chosen"
    return "failed" if trial.error else ""


def _curve(tables: Tables, made: Sequence[Search]) -> Picture | None:
    """One line an arm: the expected best loss by trials, or by operations if these were equal."""
    points = {search.arm: _points(search) for search in made}
    points = {arm: line for arm, line in points.items() if line}
    if not points:
        return None
    by_tpe = made[0].how.asked["sampler"] == "tpe"
    unit = "operations" if made[0].by_operations else "trials"
    with drawing.style("search"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 2.7))
        axes = figure.add_subplot()
        ends = []
        for arm, line in points.items():
            paint = drawing.colour(tables, arm)
            style = drawing.dash(tables, arm)
            axes.plot(*zip(*line, strict=True), "o", linestyle=style, color=paint, markersize=3)
            ends.append((*line[-1], arm, paint))
        axes.set_xlabel(f"{unit} of each arm")
        axes.set_ylabel("expected best loss, nats per token")
        if unit == "trials":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        drawing.label_at_right(axes, ends)
        words = "; ".join(
            f"{arm} " + ", ".join(f"{rate(x) if x > 999 else round(x)}: {nats(y)}" for x, y in line)
            for arm, line in points.items()
        )
        drawn = drawing.to_svg(figure, "search", f"Expected best held-out loss by {unit}: {words}.")
    return Picture(
        "search",
        drawn,
        f"What a smaller budget of {unit} would have found: the lowest loss on the validation "
        "problems, on average over which of an arm's trials were drawn. Lines that cross say that "
        "the better arm hangs on the budget; a line that still falls, that more trials may pay. "
        "There is no interval" + (": trials of TPE learn from each other." if by_tpe else "."),
    )


def _points(search: Search) -> list[tuple[float, float]]:
    """Budget and expected best loss, from where not all that it buys may have failed."""
    per_trial = 1.0
    if search.by_operations:
        per_trial = search.operations or 1.0
    return [
        (per_trial * count, loss) for count, loss in enumerate(search.expected, 1) if isfinite(loss)
    ]
