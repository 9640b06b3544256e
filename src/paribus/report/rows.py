"""The report's tables as text, with headings and units, for the page to lay out.

    scorers(tables).rows[0]       # ["full-main", "31 % [22.8 to 40.6]", "31 % [22.8 to 40.6]", ...]
    config(tables).rows[0]        # ["name", "quickstart", "experiments/quickstart.yaml"]

Figures are formatted, never computed. What is not known is "–", never 0.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from paribus.analysis import wording
from paribus.analysis.conditions import circumstances, differing_settings, shared_settings, text
from paribus.analysis.contrasts import Contrast
from paribus.analysis.effects import effect_name, effect_sentence
from paribus.analysis.findings import Analysis
from paribus.analysis.machines import about_machines
from paribus.analysis.measures import terms
from paribus.analysis.tables import Score, Tables
from paribus.config.nested import flatten
from paribus.records import Measure
from paribus.report import units
from paribus.report.drawing import run_name
from paribus.report.units import (
    UNKNOWN,
    count,
    duration,
    gb,
    mean_cell,
    millions,
    points_cell,
    rounded,
)
from paribus.store.results import EvaluationCost, RunResult, TrainingCost

MAY_BREAK = ".\u200b"
"""A dotted key may go over two lines after its dots."""

_TRAINING: dict[str, Callable[[TrainingCost], str]] = {
    "steps": lambda of: count(of.steps),
    "examples seen": lambda of: count(of.examples),
    "trained parameters": lambda of: (
        f"{millions(of.trainable_parameters)} of {millions(of.total_parameters)}"
    ),
    "time": lambda of: duration(of.seconds),
    "examples/s": lambda of: rounded(of.examples_per_second),
    "target tokens/s": lambda of: rounded(of.target_tokens_per_second),
    "peak memory, GB": lambda of: gb(of.peak_memory_bytes),
    "loss, first → last": lambda of: f"{rounded(of.first_loss)} → {rounded(of.final_loss)}",
    "left out as too long": lambda of: count(of.dropped_too_long),
}
"""Heading → how to spell it."""

_EVALUATION: dict[str, Callable[[EvaluationCost], str]] = {
    "prompt protocol": lambda of: of.protocol or UNKNOWN,
    "problems": lambda of: count(of.problems),
    "time": lambda of: duration(of.seconds),
    "problems/s": lambda of: rounded(of.problems_per_second),
    "tokens written": lambda of: count(of.generated_tokens),
    "peak memory, GB": lambda of: gb(of.peak_memory_bytes),
}
"""The same of testing."""


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of text. The first cell of a row names it."""

    headings: list[str]
    rows: list[list[str]]


def contrasts(analysis: Analysis) -> Table:
    """Each contrast: size, counts, test, what could be seen, and its verdict in words."""
    rows, unit = [], terms(analysis.tables.measure).unit
    for contrast, caveats in zip(analysis.contrasts, analysis.caveats, strict=True):
        counts = _counts(contrast)
        rows.append(
            [
                f"{contrast.a} − {contrast.b}",
                contrast.factor.replace(".", MAY_BREAK),
                points_cell(contrast.difference, contrast.interval, contrast.measure),
                " / ".join(map(str, counts)) if contrast.n else UNKNOWN,
                wording.p_value(contrast.p_value) if contrast.n else UNKNOWN,
                wording.p_value(contrast.p_holm) if contrast.n else UNKNOWN,
                wording.could_see(contrast.detectable, contrast.detectable_range, contrast.measure),
                wording.verdict_sentence(contrast, caveats.explains) + but(caveats.all),
            ]
        )
    return Table(
        [
            "A − B",
            "factor",
            f"{unit} [95 % interval]",
            COUNTED[analysis.tables.measure],
            "p",
            "p, Holm",
            f"could see, {unit}",
            "what it shows",
        ],
        rows,
    )


COUNTED = {
    Measure.SOLVED: "both / only A / only B / neither",
    Measure.SCORE: "A higher / B higher / equal",
    Measure.LOSS: "A lower / B lower / equal",
}
"""Heading of the counts of problems."""


def _counts(contrast: Contrast) -> tuple[int, ...]:
    """Count the problems of a contrast, as `COUNTED` has it."""
    only_a, only_b = contrast.only_a, contrast.only_b
    if contrast.both is None or contrast.neither is None:
        return only_a, only_b, contrast.n - only_a - only_b
    return contrast.both, only_a, only_b, contrast.neither


def but(caveats: Iterable[str]) -> str:
    """Return what is to be said beside a figure, led by a blank; "" if that is nothing."""
    said = "; ".join(filter(None, caveats))
    return f" But: {said}." if said else ""


_OF_ONE_SEED = {
    Measure.SOLVED: "exact McNemar test of the problems that only one solved",
    Measure.SCORE: "permutation test, in which each problem's difference may as well have the "
    "other sign",
}
_OF_ONE_SEED[Measure.LOSS] = _OF_ONE_SEED[Measure.SCORE]


def test_note(analysis: Analysis) -> str:
    """Which tests made the p-values."""
    several = {
        max(contrast.seeds) > 1 for contrast in analysis.contrasts if contrast.p_value is not None
    }
    crossed = (
        "Behrens-Fisher test of the crossed table of seeds and problems, which takes seeds to "
        "scatter normally"
    )
    exact = _OF_ONE_SEED[analysis.tables.measure]
    if any(contrast.paired for contrast in analysis.contrasts):
        crossed += ", paired seed by seed as declared"
    if several == {True, False}:
        return f"{exact}; over seeds the {crossed}"
    return crossed if several == {True} else exact


def by_seed(analysis: Analysis) -> Table:
    """The difference of each pair of arms with each seed; empty for one seed."""
    rows = [
        [
            f"{contrast.a} − {contrast.b}",
            ", ".join(wording.signed(each, contrast.measure) for each in contrast.by_seed),
        ]
        for contrast in analysis.contrasts
        if len(contrast.by_seed) > 1
    ]
    return Table(["A − B", f"{terms(analysis.tables.measure).unit}, seed by seed"], rows)


def uncertainty(analysis: Analysis) -> Table:
    """Where the uncertainty of each arm and each pair over seeds comes from; empty for one seed."""
    measure = analysis.tables.measure
    splits = [(arm.name, arm.split) for arm in analysis.arms]
    splits += [(f"{contrast.a} − {contrast.b}", contrast.split) for contrast in analysis.contrasts]
    return Table(
        [f"{terms(measure).unit} of standard error", "problems", "seeds", "single cells"],
        [
            [
                name,
                *(
                    f"{wording.could_see(error, None, measure)} ({100 * share:.0f} %)"
                    for error, share in zip(parts.errors, parts.shares, strict=True)
                ),
            ]
            for name, parts in splits
            if parts
        ],
    )


def effects(analysis: Analysis) -> Table:
    """What each factor of a full matrix does on average, and the interactions."""
    rows = [
        [
            effect_name(effect).replace(".", MAY_BREAK),
            points_cell(effect.difference, effect.interval, effect.measure),
            wording.p_value(effect.p_value) if effect.n else UNKNOWN,
            wording.p_value(effect.p_holm) if effect.n else UNKNOWN,
            wording.could_see(effect.detectable, effect.detectable_range, effect.measure),
            effect_sentence(effect) + but(about_machines(analysis.tables, effect.weights)),
        ]
        for effect in analysis.effects
    ]
    unit = terms(analysis.tables.measure).unit
    seen = f"could see, {unit}"
    return Table(["effect", f"{unit} [95 % interval]", "p", "p, Holm", seen, "what it shows"], rows)


def scorers(tables: Tables) -> Table:
    """The same generations under every scorer; empty where nothing was generated."""
    if tables.scorers.loss:
        return Table([], [])
    rows = [
        [
            run_name(tables, run),
            *(_accuracy(run.scores[scorer]) for scorer in tables.scorers.names),
            *([units.style_words(run.styles)] if tables.scorers.numbers else []),
        ]
        for run in tables.complete
    ]
    seen = ["final answers seen"] if tables.scorers.numbers else []
    names = [
        name if tables.scorers.measure(name) is Measure.SOLVED else f"{name}, points"
        for name in tables.scorers.names
    ]
    return Table(["arm", *names, *seen], rows)


def training(tables: Tables) -> Table:
    """What training took and how it went, for each run that trained."""
    rows, held = [], []
    for run in tables.complete:
        if run.training:
            cells = (spell(run.training) for spell in _TRAINING.values())
            rows.append([run_name(tables, run), *cells])
            held.append(_held(run.training, run.result))
    return _with_held(Table(["arm", *_TRAINING], rows), held)


def evaluation(tables: Tables) -> Table:
    """What generating took, for each run; empty where nothing was."""
    rows, held = [], []
    for run in tables.complete:
        if run.result and not run.scorers.loss:
            cells = (spell(run.result.evaluation) for spell in _EVALUATION.values())
            rows.append([run_name(tables, run), *cells])
            held.append(_held(run.result.evaluation, run.result))
    return _with_held(Table(["arm", *_EVALUATION], rows), held)


def _held(cost: TrainingCost | EvaluationCost, result: RunResult | None) -> int | None:
    """Return what a GPU had to hold at the peak, in bytes; None if there was none."""
    reserved = cost.peak_reserved_bytes
    return reserved and reserved + ((result and result.context_bytes) or 0)


def _with_held(table: Table, held: Sequence[int | None]) -> Table:
    """Return `table` with what a GPU held in each row, where there was one."""
    if not any(held):
        return table
    rows = [[*row, gb(each)] for row, each in zip(table.rows, held, strict=True)]
    return Table([*table.headings, "held by the GPU, GB"], rows)


def _accuracy(score: Score) -> str:
    measure = Measure.SCORE if score.correct is None else Measure.SOLVED
    return mean_cell(score.accuracy, score.interval, measure)


DEFAULT = "default"
"""Origin of a value that no file and no command line set."""

_DESIGN = ("name", "question", "hypothesis", "matrix", "arms")


def differing_table(tables: Tables) -> Table:
    """The settings in which the arms differ: an arm's value of each."""
    rows = [[key, *values.values()] for key, values in differing_settings(tables).items()]
    return Table(["setting", *(arm.name for arm in tables.arms)], rows)


def shared(tables: Tables) -> Table:
    """The settings that are equal in all arms that read them."""
    return Table(["setting", "value"], [list(row) for row in shared_settings(tables).items()])


def equal(tables: Tables) -> Table:
    """The circumstances of the runs; one that was not the same in all names its arms."""
    # Generations made elsewhere have no result, and nobody knows how they were decoded.
    ours = all(run.result for run in tables.complete) and not tables.scorers.loss
    rows = [["decoding", "greedy: the most likely token, no sampling"]] if ours else []
    for fact, values in circumstances(tables).items():
        if len(values) == 1:
            rows.append([fact, next(iter(values))])
        else:
            listed = [f"{value} ({', '.join(names)})" for value, names in values.items()]
            rows.append([fact, "not the same in all runs: " + "; ".join(listed)])
    return Table(["circumstance", "value"], rows)


def config(tables: Tables) -> Table:
    """Every value of the configuration, with where it was set."""
    rows = []
    for key, value in flatten(tables.config).items():
        if key.split(".")[0] in _DESIGN and value in ({}, "", None):
            continue
        rows.append([key, text(value), _origin(tables.origins, key)])
    return Table(["key", "value", "set in"], rows)


def _origin(origins: Mapping[str, str], key: str) -> str:
    """The origin of a key, or of the section that was set as a whole."""
    while key:
        if key in origins:
            return origins[key]
        key = key.rpartition(".")[0]
    return DEFAULT
