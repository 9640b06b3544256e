"""What differs between the two arms of a contrast, and whether it should.

    setting or figure     A            B           status
    method                full         lora        declared    the contrast's factor
    learning rate         2e-05        0.0002      comes with  set together with the factor
    trained parameters    268 M        3.8 M       follows     of something above
    target tokens         20,100       20,100      same
    prompts               a93f6b1c     77c01d2e    differs     nothing declared explains it

*Ceteris paribus* is a claim about pairs of arms, checked here on what was set and on what was
measured. Whatever `differs` is said on every finding that rests on the contrast.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from paribus.analysis.conditions import NOT_SETTINGS, forked, text
from paribus.analysis.contrasts import Contrast
from paribus.analysis.machines import by_value
from paribus.analysis.tables import Arm, Run, Tables
from paribus.config.nested import flatten
from paribus.config.spec import RATE_KEYS, WHILE_TRAINING, differing
from paribus.store.results import PrecisionUsed, RunResult, TrainingCost

ABSENT = "–"
"""Shown where an arm has no such setting or figure."""

TUNING = "tuning"
"""The factor of an arm against its own untuned model: all that training brings."""

_NO_INFLUENCE = frozenset({*NOT_SETTINGS, "evaluation.also"})
"""Parts of an identity that cannot change how the main protocol comes out."""

_TRAINED = (
    *("training.", "lora.", "data.variant", "data.train_size", "data.validation_size"),
    *WHILE_TRAINING,
)
"""What an untuned model does not read, save for solved examples: the prompts' hash tells of those.
"""


class Status(StrEnum):
    """Whether a difference is what the contrast is about."""

    SAME = "same"
    DECLARED = "declared"
    COMES_WITH = "comes with"
    FOLLOWS = "follows"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessRow:
    """One setting or figure of both arms, as text; a `circumstance` is of machine and versions."""

    name: str
    a: str
    b: str
    status: Status
    circumstance: bool = False


@dataclass(frozen=True, slots=True)
class _Figure:
    """Something measured: how to read it off the runs of an arm, and what it may follow from."""

    name: str
    read: Callable[[Sequence[Run]], str]
    causes: tuple[str, ...]


def table(tables: Tables, contrast: Contrast) -> list[FairnessRow]:
    """Return what was set and what was measured, for the runs that `contrast` compares."""
    a, b = tables.arm(contrast.a), tables.arm(contrast.b)
    if a is None or b is None or not a.identity or not b.identity:
        return []
    changed = [key for key in differing(a.identity, b.identity) if key not in _NO_INFLUENCE]
    declared = _declared(tables, contrast.factor)
    # Against an untuned arm every training setting is new: `method` says it in one row.
    parts = [key for key in changed if contrast.factor != TUNING or not key.startswith(_TRAINED)]
    settings = [_setting(key, a, b, contrast.factor, declared) for key in parts]
    runs = [tables.complete_of(arm.name) for arm in (a, b)]
    if not all(runs):
        return settings
    causes = [*parts, contrast.factor]
    figures = [_measured(figure, runs[0], runs[1], causes) for figure in _FIGURES]
    return settings + figures + _circumstances(runs[0], runs[1])


def unexplained(tables: Tables, contrast: Contrast) -> list[FairnessRow]:
    """Return the rows that differ and should not, but for machines: `machines` says those."""
    rows = [row for row in table(tables, contrast) if not row.circumstance]
    return [row for row in rows if row.status is Status.DIFFERS]


def _circumstances(a: Sequence[Run], b: Sequence[Run]) -> list[FairnessRow]:
    """Return a row for each fact of machine and versions that a run recorded."""
    recorded = [name for run in (*a, *b) if run.result for name in run.result.environment]
    rows = []
    for name in dict.fromkeys([*_CIRCUMSTANCES, *recorded]):
        values = [by_value(runs, name, ABSENT) for runs in (a, b)]
        status = Status.SAME if values[0] == values[1] else Status.DIFFERS
        rows.append(
            FairnessRow(name=name, a=values[0], b=values[1], status=status, circumstance=True)
        )
    return rows


def _declared(tables: Tables, factor: str) -> frozenset[str]:
    """Return the keys that a factor's values bring with them, by the experiment's matrix."""
    matrix: Mapping[str, Any] = tables.config.get("matrix") or {}
    tuned = [key for row in tables.tuning.values() for key in row.values or ()]
    keys = {*tuned, *RATE_KEYS} if tables.tuning else set()
    for part in factor.split(" + "):
        choices = matrix.get(part)
        for bundle in choices.values() if isinstance(choices, Mapping) else ():
            keys |= set(flatten(bundle or {}))
    return frozenset(keys)


def _setting(key: str, a: Arm, b: Arm, factor: str, declared: frozenset[str]) -> FairnessRow:
    of_a, of_b = flatten(a.identity), flatten(b.identity)
    factors = factor.split(" + ")
    if [key] == factors or (factor == TUNING and key == "method"):
        status = Status.DECLARED
    elif key in declared or ("method" in factors[:1] and _of_method(key, factors)):
        status = Status.COMES_WITH
    else:
        status = Status.DIFFERS
    shown = [text(flat[key]) if key in flat else ABSENT for flat in (of_a, of_b)]
    return FairnessRow(name=key, a=shown[0], b=shown[1], status=status)


def _of_method(key: str, factors: Sequence[str]) -> bool:
    """Return whether a method brings `key` with it; a rate that does not is a factor itself."""
    return key.startswith("lora.") or (key in RATE_KEYS and key not in factors)


def _measured(
    figure: _Figure, runs_a: Sequence[Run], runs_b: Sequence[Run], changed: Sequence[str]
) -> FairnessRow:
    a, b = figure.read(runs_a), figure.read(runs_b)
    if a == b:
        status = Status.SAME
    elif any(key.startswith(figure.causes) for key in changed) and figure.causes:
        status = Status.FOLLOWS
    else:
        status = Status.DIFFERS
    return FairnessRow(name=figure.name, a=a, b=b, status=status)


def _each(fact: Callable[[RunResult], int | str | None]) -> Callable[[Sequence[Run]], str]:
    """Return a reader of one fact of a result, all its values over an arm's runs."""

    def read(runs: Sequence[Run]) -> str:
        values = [fact(run.result) if run.result else None for run in runs]
        return ", ".join(dict.fromkeys(map(_shown, values)))

    return read


def _shown(value: int | str | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:,}" if isinstance(value, int) else value


def _trained(fact: Callable[[TrainingCost], int | None]) -> Callable[[Sequence[Run]], str]:
    return _each(lambda result: fact(result.training) if result.training else None)


def _precision(fact: Callable[[PrecisionUsed], str | None]) -> Callable[[Sequence[Run]], str]:
    return _each(lambda result: fact(result.precision) if result.precision else None)


def _problems(runs: Sequence[Run]) -> str:
    return _hash(sorted(generation.problem_id for generation in runs[0].generations))


def _prompts(runs: Sequence[Run]) -> str:
    """Return the hash of all prompts in any order; ABSENT if they are not known."""
    prompts = sorted(
        (generation.problem_id, generation.prompt_sha256) for generation in runs[0].generations
    )
    return _hash(prompts) if all(sha for _, sha in prompts) else ABSENT


def _hash(values: Sequence[object]) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:8]


def _replicates(runs: Sequence[Run]) -> str:
    return str(len(runs))


def _begun(runs: Sequence[Run]) -> str:
    """Name the forks: runs that began at a checkpoint of another are not comparable."""
    forks = [forked(run) for run in runs]
    return "; ".join(text for text in forks if text) or "its own first step"


_TRAINING = (
    *(TUNING, "model", "data.", "prompt."),
    *("training.epochs", "training.max_steps", "training.batch_size", "training.target_tokens"),
)
_FIGURES = (
    _Figure("test problems (hash)", _problems, ()),
    _Figure(
        "prompts (hash)",
        _prompts,
        (
            *("evaluation.protocol", "data.variant"),
            *("prompt.format", "prompt.template", "prompt.system"),
        ),
    ),
    _Figure("training examples seen", _trained(lambda of: of.examples), _TRAINING),
    _Figure("target tokens trained on", _trained(lambda of: of.target_tokens), _TRAINING),
    _Figure("optimizer steps", _trained(lambda of: of.steps), _TRAINING),
    _Figure("examples left out as too long", _trained(lambda of: of.dropped_too_long), _TRAINING),
    _Figure(
        "trained parameters",
        _trained(lambda of: of.trainable_parameters),
        ("method", "lora.", "model"),
    ),
    _Figure("precision of computing", _precision(lambda of: of.compute), ("training.precision",)),
    _Figure(
        "precision of trained weights",
        _precision(lambda of: of.trainable),
        ("method", "training.precision"),
    ),
    _Figure("where training began", _begun, ()),
    _Figure("complete seeds", _replicates, (TUNING,)),
)
"""What is compared beside the settings. An untuned arm has no training: that follows."""
_CIRCUMSTANCES = ("paribus", "torch", "transformers", "peft", "machine", "processor")
"""Rows that are always there; further facts have one where a run recorded them."""
