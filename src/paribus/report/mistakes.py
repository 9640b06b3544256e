"""What went wrong: error signals by arm, accuracy by number of steps, and the flips browser.

    section(tables).signals.rows[3]   # ["fewer steps than gold", "12: 12 %\n[7.0 to 19.8]", ...]

Arms are columns. The first run of each arm stands for it; the others have their own tables.

    flips_data(tables, tables.declared)["contrasts"]    # [{"label": "full − lora", "a": 0, "b": 1}]

The flips browser shows which problems one run solved and another did not, with both texts. The page
holds every text once, as JSON in a `<script>` that no browser executes, and one script of ours,
`templates/flips.js`, that shows them. It is the only script that the page's policy allows:
`browser` names it by its hash. The JSON holds untrusted text: it is escaped here, and the script
inserts it as text, never as markup.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from paribus.analysis import wording
from paribus.analysis.pairing import Key, keys_of
from paribus.analysis.signals import (
    SignalTable,
    StepsRow,
    by_gold_steps,
    mean_step_accuracy,
    signal_table,
)
from paribus.analysis.tables import Run, Tables
from paribus.evaluation.mistakes import Signal
from paribus.records import Measure
from paribus.report import drawing
from paribus.report.drawing import Picture, colour, dash, first_runs, further_runs, run_name
from paribus.report.rows import Table
from paribus.report.units import (
    OUTCOMES,
    SIGNALS,
    STOPS,
    UNKNOWN,
    accuracy_cell,
    count,
    signal_words,
)
from paribus.statistics.intervals import Interval

MAX_CHARACTERS = 20_000_000
"""Of the texts that the page holds: a browser opens it in seconds, on a phone too."""
MAX_LINES = 7
"""More arms than this in one figure cannot be told apart; the table has them all."""
_APART = 0.06
"""Steps between the intervals of two arms at the same number of gold steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatWentWrong:
    """The section. Tables without rows and a figure that is None have nothing to show."""

    signals: Table
    other_seeds: list[tuple[str, Table]]
    steps_figure: Picture | None
    steps: Table
    step_accuracy: Table


def section(tables: Tables) -> WhatWentWrong | None:
    """Return the section, None if nothing was generated, or if answers are not numbers."""
    runs = [run for run in first_runs(tables) if run.generations]
    if not runs or not tables.scorers.numbers:
        return None
    steps = {run.arm: _known(by_gold_steps(run)) for run in runs}
    return WhatWentWrong(
        signals=_signals(runs),
        other_seeds=[
            (f"Seed {seed}", _signals(others)) for seed, others in further_runs(tables).items()
        ],
        steps_figure=_steps_figure(tables, steps),
        steps=_steps(runs, steps),
        step_accuracy=_step_accuracy(runs),
    )


def _signals(runs: Sequence[Run]) -> Table:
    """A row for each signal that any of `runs` shows, led by what was solved."""
    signal_tables = [signal_table(run) for run in runs]
    solved = ["solved", *(_solved(run) for run in runs)]
    rows = [
        [signal_words(signal), *(_share(table, signal) for table in signal_tables)]
        for signal in Signal
        if any(row.count for table in signal_tables for row in table.rows if row.signal is signal)
    ]
    return Table(["", *(run.arm for run in runs)], [solved, *rows])


def _solved(run: Run) -> str:
    score = run.score
    return _counted(f"{score.correct} of {score.n}", score.accuracy, score.interval)


def _share(table: SignalTable, signal: Signal) -> str:
    row = next(row for row in table.rows if row.signal is signal)
    return _counted(str(row.count), row.share, row.interval)


def _counted(number: str, share: float | None, interval: Interval | None) -> str:
    """`12: 12 %`, its interval on its own line."""
    ends = "" if interval is None else f"\n[{wording.percent_range(interval)}]"
    return f"{number}: {wording.percent(share)}{ends}"


def _steps(runs: Sequence[Run], steps: dict[str, list[StepsRow]]) -> Table:
    """Accuracy by number of gold steps, a row for each number; no rows if it is not known."""
    labels = {row.gold_steps: row.label for rows in steps.values() for row in rows}
    by_arm = {arm: {row.gold_steps: row for row in rows} for arm, rows in steps.items()}
    return Table(
        ["steps of gold", *(run.arm for run in runs)],
        [
            [labels[label], *(_solved_of(by_arm[run.arm].get(label)) for run in runs)]
            for label in sorted(labels, key=lambda number: number or 0)
        ],
    )


def _solved_of(row: StepsRow | None) -> str:
    if row is None:
        return UNKNOWN
    return _counted(f"{row.solved} of {row.n}", row.accuracy, row.interval)


def _step_accuracy(runs: Sequence[Run]) -> Table:
    """Step accuracy of each run; no rows if no gold solution is annotated."""
    accuracies = [(run, mean_step_accuracy(run)) for run in runs]
    return Table(
        ["arm", "steps right [95 % interval]", "problems"],
        [
            [
                run.arm,
                accuracy_cell(step_accuracy.mean, step_accuracy.interval),
                count(step_accuracy.n),
            ]
            for run, step_accuracy in accuracies
            if step_accuracy.n
        ],
    )


def _known(rows: Sequence[StepsRow]) -> list[StepsRow]:
    return [row for row in rows if row.gold_steps is not None]


def _steps_figure(tables: Tables, steps: dict[str, list[StepsRow]]) -> Picture | None:
    """Accuracy over the number of gold steps, a line for each arm."""
    numbers = sorted({row.gold_steps or 0 for rows in steps.values() for row in rows})
    if len(numbers) < 2 or len(steps) > MAX_LINES:
        return None
    labels = {row.gold_steps or 0: row.label for rows in steps.values() for row in rows}
    with drawing.style("steps"):
        figure = Figure(figsize=(drawing.FIGURE_WIDTH, 3.0))
        axes = figure.add_subplot()
        ends = []
        for place, (arm, rows) in enumerate(steps.items()):
            aside = _APART * (place - (len(steps) - 1) / 2)
            across = [numbers.index(row.gold_steps or 0) + aside for row in rows]
            shares = [100 * row.accuracy for row in rows]
            errors = [
                [max(0.0, 100 * (row.accuracy - row.interval.low)) for row in rows],
                [max(0.0, 100 * (row.interval.high - row.accuracy)) for row in rows],
            ]
            paint = colour(tables, arm)
            axes.errorbar(
                across,
                shares,
                yerr=errors,
                color=paint,
                fmt="o",
                linestyle=dash(tables, arm),
                markersize=4,
                lw=1.2,
                elinewidth=0.7,
            )
            ends.append((across[-1], shares[-1], arm, paint))
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(len(numbers)), labels=[labels[number] for number in numbers])
        axes.set_xlabel("steps of the gold solution")
        axes.set_ylabel("problems solved, %")
        axes.grid(axis="y")
        drawing.label_at_right(axes, ends)
        drawn = drawing.to_svg(
            figure, "steps", f"Accuracy by steps of gold: {_steps_words(steps)}."
        )
    return Picture(
        "steps",
        drawn,
        "Share solved of the problems whose gold solution takes so many steps, with its 95 % "
        "interval. Where few problems have so many steps it is wide.",
    )


def _steps_words(steps: dict[str, list[StepsRow]]) -> str:
    return "; ".join(
        f"{arm} {', '.join(f'{row.label}: {wording.percent(row.accuracy)}' for row in rows)}"
        for arm, rows in steps.items()
    )


_PLACES: list[dict[Any, int]] = [
    {word: place for place, word in enumerate(words)} for words in (OUTCOMES, SIGNALS, STOPS)
]
_OUTCOME, _SIGNAL, _STOP = _PLACES
"""Where the words of each stand in their column."""
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """What the page inlines: JSON, the script's exact source, and its `script-src` for the CSP.

    `tabs` has the script's name of each group of problems, and its words.
    """

    data: Markup
    script: Markup
    script_source: str
    about: str
    tabs: list[tuple[str, str]]


def browser(tables: Tables) -> Browser | None:
    """Return the flips browser of `tables`, or None with fewer than two runs to compare."""
    data = flips_data(tables, tables.declared)
    if len(data["runs"]) < 2:
        return None
    shown, written = len(data["runs"]), sum(bool(run.generations) for run in tables.complete)
    left_out = _LEFT_OUT.format(shown=shown, written=written) if shown < written else ""
    script = (files("paribus.report") / "templates" / "flips.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Browser(
        data=Markup(script_json(data)),  # noqa: S704 - script_json leaves no markup
        script=Markup(script),  # noqa: S704 - our own file
        script_source=f"'sha256-{digest}'",
        about=_ABOUT[tables.measure] + left_out,
        tabs=list(zip(_GROUPS, _TABS[tables.measure], strict=True)),
    )


_ABOUT = {
    Measure.SOLVED: "Which problems one run solved and another did not, and what both wrote.",
    Measure.SCORE: "On which problems one run scored higher than another, and what both wrote.",
}
_LEFT_OUT = (
    " To keep the page small it holds the texts of {shown:,} of {written:,} runs, those with the "
    "lowest seeds; the others are in the folders of their runs."
)
_GROUPS = ("only_a", "only_b", "both", "neither")
_TABS = {
    Measure.SOLVED: ("only A solved", "only B solved", "both", "neither"),
    Measure.SCORE: ("A higher", "B higher", "equal, above 0", "both 0"),
}


def flips_data(tables: Tables, contrasts: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """Return the runs that the page holds, column by column, and the `contrasts` (a, b, factor).

    The columns of a run are parallel to `problems`; null: nothing to say, or not tested on it.

    | key          | value                                                                     |
    |--------------|---------------------------------------------------------------------------|
    | `problems`   | question, group, golds: each [answer, solution] some run was judged by     |
    | `texts`      | every text written, once                                                   |
    | `runs`       | label; columns texts, outcomes, signals, stops: indices into these         |
    |              | scores: from 0 to 1, only where they are not outcomes                      |
    | `contrasts`  | label; a, b: indices into `runs`; one for each seed                        |
    | `outcomes`, `signals`, `stops` | plain words                                             |
    """
    runs = _inlined(tables)
    problems: dict[Key, dict[str, Any]] = {}
    for run in runs:
        for key, generation in zip(keys_of(run), run.generations, strict=True):
            first = {"question": generation.question, "group": generation.group, "golds": []}
            golds = problems.setdefault(key, first)["golds"]
            gold = [generation.answer, generation.solution]
            if gold not in golds:
                golds.append(gold)
    texts: dict[str, int] = {}
    columns = [
        {"label": run_name(tables, run), **_columns(run, list(problems), texts)} for run in runs
    ]
    return {
        "problems": list(problems.values()),
        "texts": list(texts),
        "runs": columns,
        "contrasts": list(_contrasts(tables, contrasts, runs)),
        "outcomes": list(OUTCOMES.values()),
        "signals": list(SIGNALS.values()),
        "stops": list(STOPS.values()),
    }


def _inlined(tables: Tables) -> list[Run]:
    """Return the runs whose texts the page holds: seed by seed while they fit, two at least."""
    written = [run for run in tables.complete if run.generations]
    chosen: list[Run] = []
    size = 0
    for run in sorted(written, key=lambda run: run.seed):
        size += sum(len(generation.text) for generation in run.generations)
        if size > MAX_CHARACTERS and len(chosen) >= 2:
            break
        chosen.append(run)
    if len(chosen) == len(written):
        return written
    places = {(run.arm, run.seed) for run in chosen}
    return [run for run in written if (run.arm, run.seed) in places]


def script_json(value: Any) -> str:
    """Return `value` as ASCII JSON that cannot end, or open anything in, a script element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _columns(run: Run, keys: Sequence[Key], texts: dict[str, int]) -> dict[str, list[Any]]:
    """Return the run's columns in the order of `keys`; texts new to `texts` are added to it."""
    signals = run.signals or [None] * len(run.generations)
    by_problem = {
        key: {
            "texts": texts.setdefault(generation.text, len(texts)),
            "outcomes": _OUTCOME.get(outcome),
            "signals": _SIGNAL.get(signal),
            # Generations made elsewhere have no result, and nobody knows why they ended.
            "stops": _STOP.get(generation.stop) if run.result else None,
        }
        for key, generation, outcome, signal in zip(
            keys_of(run), run.generations, run.judged, signals, strict=True
        )
    }
    names = ("texts", "outcomes", "signals", "stops")
    columns: dict[str, list[Any]] = {
        name: [by_problem.get(key, {}).get(name) for key in keys] for name in names
    }
    if run.judged_values is not None:
        scores = dict(zip(keys_of(run), run.judged_values, strict=True))
        columns["scores"] = [scores.get(key) for key in keys]
    return columns


def _contrasts(
    tables: Tables, contrasts: Sequence[tuple[str, str, str]], runs: Sequence[Run]
) -> Iterator[dict[str, Any]]:
    """Each contrast with each seed that both arms have; an untuned arm's run goes with all."""
    places = {(run.arm, run.seed): place for place, run in enumerate(runs)}
    untuned = {arm.name for arm in tables.arms if arm.untuned}
    for a, b, factor in contrasts:
        seeds = sorted({run.seed for run in tables.runs if run.arm in (a, b)})
        for seed in seeds:
            place_a, place_b = (places.get((arm, 0 if arm in untuned else seed)) for arm in (a, b))
            if place_a is not None and place_b is not None:
                label = f"{a} − {b}" + (f", seed {seed}" if len(seeds) > 1 else "")
                yield {"label": f"{label} ({factor})", "a": place_a, "b": place_b}
