"""The report's tables as text: headings and cells, with units, for the page to lay out.

    arms(analysis).rows[0]        # ["full-main", "31 of 100", "31 % [22.8 to 40.6]", "0", "2"]

Nothing is computed here but the spelling of figures. What is not known is "–", never 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from paribus.analysis import wording
from paribus.analysis.findings import Analysis
from paribus.analysis.tables import MAIN_SCORER, Run, Score, Tables
from paribus.evaluation.score import SCORERS
from paribus.records import Outcome
from paribus.report.units import UNKNOWN, count, duration, gib, millions, rounded

MAY_BREAK = ".\u200b"
"""A dotted key may go over two lines after its dots."""

_Column = Callable[[Mapping[str, Any]], str]

_TRAINING: dict[str, _Column] = {
    "steps": lambda of: count(of.get("steps")),
    "examples seen": lambda of: count(of.get("examples")),
    "trained parameters": lambda of: (
        f"{millions(of.get('trainable_parameters'))} of {millions(of.get('total_parameters'))}"
    ),
    "time": lambda of: duration(of.get("seconds")),
    "examples/s": lambda of: rounded(of.get("examples_per_second")),
    "target tokens/s": lambda of: rounded(of.get("target_tokens_per_second")),
    "padding": lambda of: wording.percent(of.get("padding_share")),
    "peak memory, GiB": lambda of: gib(of.get("peak_memory_bytes")),
    "loss, first → last": lambda of: (
        f"{rounded(of.get('first_loss'))} → {rounded(of.get('final_loss'))}"
    ),
    "left out as too long": lambda of: count(of.get("dropped_too_long")),
}
"""Heading → how to spell it, from the `training` part of a result."""

_EVALUATION: dict[str, _Column] = {
    "prompt protocol": lambda of: str(of.get("protocol", UNKNOWN)),
    "problems": lambda of: count(of.get("problems")),
    "time": lambda of: duration(of.get("seconds")),
    "problems/s": lambda of: rounded(of.get("problems_per_second")),
    "tokens written": lambda of: count(of.get("generated_tokens")),
    "peak memory, GiB": lambda of: gib(of.get("peak_memory_bytes")),
}
"""The same for the `evaluation` part."""


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of text. The first cell of a row names it."""

    headings: list[str]
    rows: list[list[str]]


def arms(analysis: Analysis) -> Table:
    """What each run solved; runs without scores say why."""
    tables = analysis.tables
    faults = any(run.outcomes[Outcome.FAILED] for run in tables.complete)
    headings = ["arm", "solved", "accuracy [95 % interval]", "no answer", "trun\u00adcated"]
    return Table(headings + ["failed"] * faults, [_arm(tables, run, faults) for run in tables.runs])


def contrasts(analysis: Analysis) -> Table:
    """Each contrast: size, counts, test, and its verdict in words."""
    several = _several(analysis.tables)
    rows = []
    for each in analysis.contrasts:
        counts = (each.both, each.only_a, each.only_b, each.neither)
        rows.append(
            [
                f"{each.a} − {each.b}" + (f", seed {each.seed}" if several else ""),
                each.factor.replace(".", MAY_BREAK),
                f"{wording.signed(each.difference or 0.0)} [{wording.points_range(each.interval)}]"
                if each.n
                else UNKNOWN,
                " / ".join(map(str, counts)) if each.n else UNKNOWN,
                wording.p_value(each.p_value) if each.n else UNKNOWN,
                wording.verdict(each),
            ]
        )
    return Table(
        [
            "A − B",
            "factor",
            "points [95 % interval]",
            "both / only A / only B / neither",
            "p",
            "what it shows",
        ],
        rows,
    )


def means(analysis: Analysis) -> Table:
    """The mean difference over the seeds of each pair of arms; empty for one seed."""
    rows = [
        [
            f"{each.a} − {each.b}",
            each.factor.replace(".", MAY_BREAK),
            wording.signed(each.mean),
            f"{wording.signed(each.smallest)} to {wording.signed(each.largest)}",
            str(each.seeds),
        ]
        for each in analysis.means
    ]
    return Table(["A − B", "factor", "mean, points", "smallest to largest", "seeds"], rows)


def scorers(tables: Tables) -> Table:
    """The same generations under every scorer."""
    rows = [
        [_name(tables, run), *(_accuracy(run.scores[scorer]) for scorer in SCORERS)]
        for run in tables.complete
    ]
    return Table(["arm", *SCORERS], rows)


def training(tables: Tables) -> Table:
    """What training took and how it went, for each run that trained."""
    return _measured(tables, _TRAINING, "training")


def evaluation(tables: Tables) -> Table:
    """What testing took, for each run."""
    return _measured(tables, _EVALUATION, "evaluation")


def _measured(tables: Tables, columns: Mapping[str, _Column], part: str) -> Table:
    rows = [
        [_name(tables, run), *(spell(run.result[part]) for spell in columns.values())]
        for run in tables.complete
        if run.result.get(part)
    ]
    return Table(["arm", *columns], rows)


def _arm(tables: Tables, run: Run, faults: bool) -> list[str]:
    if not run.complete:
        return [_name(tables, run), UNKNOWN, str(run.state)] + [UNKNOWN] * (3 if faults else 2)
    score, outcomes = run.scores[MAIN_SCORER], run.outcomes
    shown = [Outcome.NO_ANSWER, Outcome.TRUNCATED] + [Outcome.FAILED] * faults
    return [
        _name(tables, run),
        f"{score.correct} of {score.n}",
        _accuracy(score),
        *(str(outcomes[outcome]) for outcome in shown),
    ]


def _several(tables: Tables) -> bool:
    return len({run.seed for run in tables.runs}) > 1


def _name(tables: Tables, run: Run) -> str:
    return f"{run.arm}, seed {run.seed}" if _several(tables) else run.arm


def _accuracy(score: Score) -> str:
    return f"{wording.percent(score.accuracy)} [{wording.percent_range(score.interval)}]"
