"""What `paribus run` does and says at a declared look.

look 1 of 3, at 4 seeds:
  full − baseline: shown, +12.3 points (p, corrected: 0.004)
  full − lora: open, −1.2 points; shown by 8 seeds with a chance of 34 %
  goes on to 6 seeds with full, lora; rank-4 stops
"""

from collections.abc import Sequence

from paribus.analysis.decisions import judge
from paribus.analysis.reading import read_experiment
from paribus.analysis.wording import join, p_value, points
from paribus.config.schema import ExperimentConfig
from paribus.errors import StoreError
from paribus.records import Settled
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import Decided, Look, append_look, read_looks


def refuse_another_plan(config: ExperimentConfig, looks: Sequence[Look]) -> None:
    """Raise StoreError if looks were taken that other ones were declared for.

    To change the looks, or drop them, once some were taken would leave no bound on false claims.
    """
    taken = next((look for look in looks if look.planned), None)
    if taken is None or list(taken.planned) == config.looks:
        return
    planned = ",".join(map(str, taken.planned))
    now = "none are" if config.looks is None else f"they are {config.looks}"
    raise StoreError(
        f"looks were declared as [{planned}], and one was taken at {taken.seeds} seeds; now {now}: "
        "looks that are changed afterwards no longer bound false claims",
        f"go on with budget={taken.planned[-1]} looks=[{planned}], or run under another name "
        "(name=…)",
    )


def look_at(folder: ExperimentFolder, seeds: int) -> Look:
    """Return the declared look at `seeds` seeds: as the ledger has it, or taken now and entered.

    What a look decided is never decided anew. Raises StoreError.
    """
    for look in read_looks(folder.ledger):
        if look.planned and look.seeds == seeds:
            return look
    look = judge(read_experiment(folder), seeds)
    append_look(folder.ledger, look)
    return look


def look_lines(look: Look) -> list[str]:
    """Return what a declared look decided, and who goes on, for the terminal."""
    number = look.planned.index(look.seeds) + 1
    lines = [f"look {number} of {len(look.planned)}, at {look.seeds} seeds:"]
    lines += [f"  {row.a} − {row.b}: {_standing(row, look)}" for row in look.decided]
    return [*lines, f"  {_what_next(look, number)}"]


def _standing(row: Decided, look: Look) -> str:
    found = f"{points(row.difference)} (p, corrected: {p_value(row.p_holm)})"
    chance = "hardly ever" if row.chance is None else f"with a chance of {100 * row.chance:.0f} %"
    by = f"shown by {look.planned[-1]} seeds {chance}"
    return {
        Settled.SHOWN: f"shown, {found}",
        Settled.OPEN: f"open, {found}; will be {by}",
        Settled.UNLIKELY: f"given up, {found}; would be {by}",
        Settled.NOT_SHOWN: f"not shown, {found}",
    }[row.state]


def _what_next(look: Look, number: int) -> str:
    if not look.goes_on:
        if number == len(look.planned):
            return "the budget is spent"
        return "stops here: nothing is left that more seeds are likely to decide"
    stopped = sorted(
        {arm for row in look.decided for arm in (row.a, row.b)}
        & {arm for arm, seeds in look.runs.items() if seeds == look.seeds} - set(look.goes_on)
    )
    rest = f"; {join(stopped)} {'stop' if stopped[1:] else 'stops'}" if stopped else ""
    return f"goes on to {look.planned[number]} seeds with {join(look.goes_on)}{rest}"
