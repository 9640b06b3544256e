"""The findings as a table for the terminal, at most 80 columns wide.

    rich.print(summary_table(files.read_json(folder.findings)))

It takes the value of findings.json, so that a finished experiment can be summed up at once.
"""

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from paribus.analysis.intervals import Interval
from paribus.analysis.tables import MAIN_SCORER
from paribus.analysis.wording import p_value, percent, percent_range, points_range, signed

WIDTH = 80
"""Columns."""

_VERDICTS = {"supported": "A better", "refuted": "B better", "not_shown": "not shown"}


def summary_table(findings: dict[str, Any]) -> Table:
    """Return the arms and, below, the contrasts of `findings`. Text from files is not markup."""
    both = Table.grid()
    both.width = WIDTH
    both.add_row(_arms(findings))
    if findings["contrasts"]:
        both.add_row(_contrasts(findings))
    return both


def _arms(findings: dict[str, Any]) -> Table:
    several = _several(findings)
    table = _table("arm", "solved", "accuracy [95 % interval]", "no answer", "cut")
    for arm in findings["arms"]:
        score = arm["scores"].get(MAIN_SCORER)
        if score is None:
            cells = ["–", arm["state"], "–", "–"]
        else:
            cells = [
                f"{score['correct']} of {arm['n']}",
                f"{percent(score['accuracy'])} [{percent_range(_interval(score['interval']))}]",
                str(arm["outcomes"]["no_answer"]),
                str(arm["outcomes"]["truncated"]),
            ]
        name = f"{arm['name']}\u00a0· {arm['seed']}" if several else arm["name"]
        table.add_row(*(Text(cell) for cell in (name, *cells)))
    return table


def _contrasts(findings: dict[str, Any]) -> Table:
    several = _several(findings)
    table = _table("A − B", "points [95 % interval]", "p", "")
    for each in findings["contrasts"]:
        name = f"{each['a']} − {each['b']}" + (f"\u00a0· {each['seed']}" if several else "")
        if each["n"]:
            size = f"{signed(each['difference'])} [{points_range(_interval(each['interval']))}]"
            cells = [size, p_value(each["p_value"]), _VERDICTS[each["verdict"]]]
        else:
            cells = ["–", "–", "not compared"]
        table.add_row(*(Text(cell) for cell in (name, *cells)))
    return table


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(Text(heading), overflow="fold", ratio=None if number else 1)
    return table


def _several(findings: dict[str, Any]) -> bool:
    return len({arm["seed"] for arm in findings["arms"]}) > 1


def _interval(ends: list[float] | None) -> Interval | None:
    return None if ends is None else Interval(*ends)
