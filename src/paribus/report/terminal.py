"""The findings as a table for the terminal, at most 80 columns wide.

    rich.print(summary_table(files.read_json(folder.findings)))
    remarks(...)        # what the table cannot hold: why there is no verdict, what else differed

It takes the value of findings.json, so that a finished experiment can be summed up at once.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from paribus.analysis.measures import terms
from paribus.analysis.wording import could_see, p_value
from paribus.records import Measure
from paribus.report.units import mean_cell, mean_heading, points_cell, style_words
from paribus.statistics.intervals import Interval

WIDTH = 80
"""Columns."""

MAX_NAMED_COMPARISONS = 3
"""A remark that holds for several comparisons names at most this many and counts the others."""

_VERDICTS = {"supported": "A better", "refuted": "B better", "not_shown": "not shown"}


def summary_table(findings: dict[str, Any]) -> Table:
    """Return the arms and, below, the contrasts of `findings`. Text from files is not markup.

    Where arms have several seeds a row is an arm over its seeds, else a run.
    """
    both = Table.grid()
    both.width = WIDTH
    several = len({run["seed"] for run in findings["arms"]}) > 1
    both.add_row(_over_seeds(findings) if several else _runs(findings))
    if findings["contrasts"]:
        both.add_row(_contrasts(findings))
    for task in findings.get("tasks", ()):
        both.add_row(_other_task(task))
    return both


def remarks(findings: dict[str, Any]) -> list[Text]:
    """Return what the table cannot hold, a line each: the scope of its verdicts; for each
    comparison why it has none, and its caveats; what to know before any figure.

    What holds for several comparisons is said once.
    """
    named: dict[str, list[str]] = {}
    for contrast in findings["contrasts"]:
        for text in _notes(contrast):
            named.setdefault(text, []).append(f"{contrast['a']} − {contrast['b']}")
    for task in findings.get("tasks", ()):
        for arm in (arm for arm in task["arms"] if arm["against"]):
            for text in arm["against"]["caveats"]:
                pair = f"{arm['name']} − {arm['against']['arm']} on {task['name']}"
                named.setdefault(text, []).append(pair)
    lines = [findings["speaks_of"]] if findings["speaks_of"] else []
    lines += [f"{_first_pairs(pairs)}: {text}" for text, pairs in named.items()]
    warnings = [
        Text.assemble(("warning:", "yellow"), f" {warning}") for warning in findings["warnings"]
    ]
    return [*map(Text, [*lines, *_styles(findings["arms"])]), *warnings]


def _tested(contrast: dict[str, Any]) -> bool:
    """Whether the pair has a verdict: on its difference, or by a margin."""
    return contrast["p_value"] is not None or _alike(contrast)


def _alike(contrast: dict[str, Any]) -> bool:
    """Whether a margin shows the arms, or one of them, to be no worse."""
    return bool(contrast["equivalence"] and contrast["equivalence"]["not_worse"])


def _styles(arms: Sequence[dict[str, Any]]) -> list[str]:
    """Say how answers are given, where any is not marked `#### N`."""
    seen: dict[str, Counter[str]] = {}
    for arm in arms:
        seen.setdefault(arm["name"], Counter()).update(arm["answers"])
    if not any(counts.keys() - {"marked", "none"} for counts in seen.values()):
        return []
    parts = [f"{name} {style_words(counts)}" for name, counts in seen.items() if counts]
    return [f"Final answers, as they are given: {'; '.join(parts)}."]


def _notes(contrast: dict[str, Any]) -> Iterator[str]:
    """Why there is no test or no verdict that the interval would suggest, then the caveats."""
    why = "no test of a difference: " if contrast["interval"] else "no verdict: "
    untested = contrast["n"] and contrast["reason"]
    if contrast["why_not"]:
        yield (why if untested else "") + contrast["why_not"]
    yield from contrast["caveats"]


def _first_pairs(pairs: Sequence[str]) -> str:
    others = len(pairs) - MAX_NAMED_COMPARISONS
    return ", ".join(pairs[:MAX_NAMED_COMPARISONS]) + (f" and {others} more" if others > 0 else "")


def _runs(findings: dict[str, Any]) -> Table:
    measure = _measure(findings["scorer"])
    counted = ["solved"] if measure is Measure.SOLVED else []
    silent = [] if measure is Measure.LOSS else ["no_answer", "truncated"]
    table = _table("arm", *counted, mean_heading(measure), *["no answer", "cut"][: len(silent)])
    for arm in findings["arms"]:
        score = arm["scores"].get(findings["scorer"]["name"])
        if score is None:
            cells = ["–"] * len(counted) + [arm["state"]] + ["–"] * len(silent)
        else:
            cells = [
                *(f"{score['correct']} of {arm['n']}" for _ in counted),
                _mean_cell(score, measure),
                *(str(arm["outcomes"][outcome]) for outcome in silent),
            ]
        table.add_row(*(Text(cell) for cell in (arm["name"], *cells)))
    return table


def _measure(scorer: dict[str, Any]) -> Measure:
    """Return what is measured; it is named where that is not problems solved."""
    return Measure(scorer.get("measure", Measure.SOLVED))


def _mean_cell(score: dict[str, Any], measure: Measure) -> str:
    mean = score["accuracy" if measure is Measure.SOLVED else "mean"]
    return mean_cell(mean, _interval(score["interval"]), measure)


def _over_seeds(findings: dict[str, Any]) -> Table:
    measure = _measure(findings["scorer"])
    table = _table("arm", "seeds", mean_heading(measure), "spread")
    planned = Counter(run["name"] for run in findings["arms"])
    for arm in findings["summaries"]:
        seeds, spread = arm["seeds"], arm["spread"]
        cells = [
            arm["name"],
            str(seeds) if seeds == planned[arm["name"]] else f"{seeds} of {planned[arm['name']]}",
            _mean_cell(arm, measure),
            "–" if spread is None else could_see(spread, None, measure),
        ]
        table.add_row(*map(Text, cells))
    return table


_KEPT = {"kept": "yes", "lost": "no", "not_shown": "not shown", None: "–"}


def _other_task(task: dict[str, Any]) -> Table:
    """Return what each arm scores on a further task, beside its untuned model."""
    measure = _measure(task["scorer"])
    guarded = task["margin"] is not None
    unit = terms(measure).unit
    headings = [f"on {task['name']}", mean_heading(measure), f"{unit}, against untuned"]
    headings += [f"loses less than {100 * task['margin']:g}"] if guarded else []
    table = _table(*headings)
    for arm in task["arms"]:
        against = arm["against"]
        cells = [
            arm["name"],
            _mean_cell(arm, measure),
            "–"
            if against is None
            else points_cell(against["difference"], _interval(against["interval"]), measure),
            *([_KEPT[arm["kept"]]] if guarded else []),
        ]
        table.add_row(*map(Text, cells))
    return table


_WITHIN = " Equivalent, not worse: by the margin of {points:g} points."
_NORMAL = " Verdicts over seeds assume that these scatter normally."
_COULD_SEE = {
    Measure.SOLVED: "could see: the difference that this pair would show 8 times in 10, by the "
    "accuracies and the agreement found; `paribus plan` assumed them.",
    Measure.SCORE: "could see: the difference that this pair would show 8 times in 10, by how the "
    "scores found vary; `paribus plan` assumed scores of 0 or 1.",
    Measure.LOSS: "could see: the difference that this pair would show 8 times in 10, by how the "
    "losses found vary. Less is better: A is better where A − B is below 0.",
}
_MAY_BE = " In brackets its 95 % interval: few seeds give a poor estimate of their spread."


def _contrasts(findings: dict[str, Any]) -> Table:
    measure = _measure(findings["scorer"])
    unit = terms(measure).unit
    table = _table("A − B", f"{unit} [95 % interval]", "p, Holm", "could see", "")
    for contrast in findings["contrasts"]:
        if contrast["n"]:
            seen = could_see(contrast["detectable"], contrast["detectable_range"], measure)
            cells = [
                points_cell(contrast["difference"], _interval(contrast["interval"]), measure),
                p_value(contrast["p_holm"]),
                seen.replace(" ", "\n", 1),
                _verdict(contrast),
            ]
        else:
            cells = ["–", "–", "–", "not compared"]
        table.add_row(*(Text(cell) for cell in (f"{contrast['a']} − {contrast['b']}", *cells)))
    ranged = any(contrast["detectable_range"] for contrast in findings["contrasts"])
    text = _COULD_SEE[measure] + _MAY_BE * ranged + _margins_and_seeds(findings)
    table.caption, table.caption_justify = text, "left"
    return table


def _verdict(contrast: dict[str, Any]) -> str:
    """The verdict, with a star if a caveat follows below.

    An arm whose lead a caveat may explain alone is higher, not better; by scores too.
    """
    if contrast["interval"] is None:
        return "no verdict"
    text = _shown(contrast)
    if _measure(contrast) is Measure.LOSS:
        text = text.replace("better", "lower")
    elif contrast["explained_by"] or _measure(contrast) is Measure.SCORE:
        text = text.replace("better", "higher")
    return f"{text} *" if contrast["caveats"] and text != _VERDICTS["not_shown"] else text


def _shown(contrast: dict[str, Any]) -> str:
    """`A better`, `equivalent`, `A not worse`: what is shown, or that nothing is."""
    shown = _VERDICTS[contrast["verdict"]]
    within = contrast["equivalence"]
    if within is None or not within["not_worse"]:
        return shown
    if within["equivalent"]:
        equivalent = "equivalent"
        return equivalent if contrast["verdict"] == "not_shown" else f"{shown}, {equivalent}"
    if contrast["verdict"] != "not_shown":
        return shown
    return f"{'A' if within['not_worse'] == [contrast['a']] else 'B'} not worse"


def _margins_and_seeds(findings: dict[str, Any]) -> str:
    """What else the verdicts rest on: margins, and how seeds scatter."""
    margins = {
        contrast["equivalence"]["margin"]
        for contrast in findings["contrasts"]
        if contrast["equivalence"]
    }
    text = "".join(_WITHIN.format(points=100 * margin) for margin in sorted(margins))
    over_seeds = any(
        contrast["scope"] == "methods" and _tested(contrast) for contrast in findings["contrasts"]
    )
    return text + _NORMAL * over_seeds


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(Text(heading), overflow="fold", ratio=None if number else 1)
    return table


def _interval(ends: list[float] | None) -> Interval | None:
    return None if ends is None else Interval(*ends)
