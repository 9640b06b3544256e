"""How likely the models find the gold solutions: each run, and arm against arm.

    likelihoods(tables)[1].per_token        # Mean(value=0.612, interval=0.571 to 0.653), nats
    comparisons(tables)[0].mean             # -3.1 nats per problem: A finds them likelier than B

Negative log-likelihood, natural logarithm, of the solution and its stop token after the prompt of
the main protocol: less is better. It is a figure for every problem, also for those that nobody
solves, so it still tells arms apart where accuracy is near the floor.

Every mean here is a ratio of sums over problems, sum(y) / sum(x): nats over tokens, or over
problems (x = 1). Its variance is the jackknife's of the residuals y - ratio x, over problems or
groups of them (`groups.squares`): W. G. Cochran (1977), Sampling Techniques, 3rd ed., sections 6.4
and 11.8. The interval is t with one degree of freedom less than problems, or groups as many as
these are worth; for x = 1 and no groups that is the paired t test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from scipy.special import stdtr

from paribus.analysis.machines import crossing
from paribus.analysis.pairing import Key, keys
from paribus.analysis.tables import Run, Tables
from paribus.records import Likelihood
from paribus.statistics.crossed import critical, too_few
from paribus.statistics.groups import Groups, numbered, squares, worth
from paribus.statistics.intervals import Interval
from paribus.statistics.verdicts import Verdict, decide, holm


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean in nats over `n` problems. Where it or its interval is None `reason` says why."""

    n: int
    value: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLikelihood:
    """What one run makes of the gold solutions, written in `variant`."""

    run: Run
    variant: str
    per_token: Mean
    per_problem: Mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Arm a against arm b of a declared contrast: the two trained models with seed 0.

    Attributes:
        mean: nats per problem, a minus b, over the problems both have. n is 0 where there is
            nothing to compare.
        p_holm: corrected for all declared contrasts.
        unlike: arms that were trained on solutions of another variant than those judged here.
        machines: that the two ran on different ones; "" if they did not.
    """

    a: str
    b: str
    factor: str
    mean: Mean
    p_holm: float | None = None
    unlike: tuple[str, ...] = ()
    machines: str = ""

    @property
    def verdict(self) -> Verdict:
        """Supported: a finds the gold solutions likelier. Refuted: b does."""
        value = self.mean.value
        return decide(self.p_holm, None if value is None else -value)  # fewer nats are better


def likelihoods(tables: Tables) -> list[RunLikelihood]:
    """Return the likelihoods of each run that has any."""
    measured = []
    for run in tables.complete:
        if run.heldout:
            rows, groups = _by_key(run), _groups(run)
            tokens = [row.tokens for row in rows.values()]
            nats = [row.nll for row in rows.values()]
            measured.append(
                RunLikelihood(
                    run=run,
                    variant=_variant(run),
                    per_token=ratio(nats, tokens, groups),
                    per_problem=ratio(nats, [1] * len(nats), groups),
                )
            )
    return measured


def comparisons(tables: Tables) -> list[Comparison]:
    """Return every declared contrast, corrected as one family; [] if no run has likelihoods."""
    if not any(run.heldout for run in tables.complete):
        return []
    compared = [_compare(tables, a, b, factor) for a, b, factor in tables.declared]
    corrected = holm([comparison.mean.p_value for comparison in compared])
    return [
        replace(comparison, p_holm=p) for comparison, p in zip(compared, corrected, strict=True)
    ]


def ratio(
    values: Sequence[float | None], sizes: Sequence[int], groups: Groups | None = None
) -> Mean:
    """Return sum(values) / sum(sizes) with its interval, and p-value that it is zero.

    `values` and `sizes` [n], n > 0, sizes above 0; `groups` as in `crossed`. Undefined if one
    value is: to leave it out would flatter the model.
    """
    n = len(values)
    known = [value for value in values if value is not None]
    if len(known) < n:
        reason = f"for {n - len(known)} of {n} problems the model gave no valid distribution"
        return Mean(n=n, reason=reason)
    y, x = np.array(known), np.array(sizes)
    value = float(y.sum() / x.sum())
    residuals = y - value * x
    if reason := too_few(n, groups):
        return Mean(n=n, value=value, reason=reason)
    df = int(worth(n, groups)) - 1
    alone = np.arange(n) if groups is None else groups
    error = sqrt(squares(residuals, alone, x)) / float(x.sum())
    if error == 0:
        return Mean(n=n, value=value, reason="the figure is the same for every problem")
    half = critical(df) * error
    p_value = float(2 * stdtr(df, -abs(value) / error))
    return Mean(n=n, value=value, interval=Interval(value - half, value + half), p_value=p_value)


def _compare(tables: Tables, a: str, b: str, factor: str) -> Comparison:
    runs = [tables.run(name, 0) for name in (a, b)]
    run_a, run_b = (run if run and run.heldout else None for run in runs)
    if run_a is None or run_b is None:
        reason = "not both were measured with seed 0"
        return Comparison(a=a, b=b, factor=factor, mean=Mean(n=0, reason=reason))
    variants = _variant(run_a), _variant(run_b)
    if variants[0] != variants[1]:
        reason = f"the gold solutions are written differently, {variants[0]} and {variants[1]}"
        return Comparison(a=a, b=b, factor=factor, mean=Mean(n=0, reason=reason))
    rows_a, rows_b = _by_key(run_a), _by_key(run_b)
    shared = [key for key in rows_a if key in rows_b]
    if not shared:
        reason = "the arms were tested on different problems"
        return Comparison(a=a, b=b, factor=factor, mean=Mean(n=0, reason=reason))
    crossed = crossing(tables, {a: [run_a], b: [run_b]})
    differences = [_difference(rows_a[key], rows_b[key]) for key in shared]
    return Comparison(
        a=a,
        b=b,
        factor=factor,
        mean=ratio(differences, [1] * len(shared), _groups(run_a, shared)),
        unlike=tuple(name for name in (a, b) if _trained_on(tables, name) not in ("", variants[0])),
        machines=crossed.sentence if crossed else "",
    )


def _difference(a: Likelihood, b: Likelihood) -> float | None:
    return None if a.nll is None or b.nll is None else a.nll - b.nll


def _by_key(run: Run) -> dict[Key, Likelihood]:
    return dict(zip(keys([row.problem_id for row in run.heldout]), run.heldout, strict=True))


def _groups(run: Run, shared: Sequence[Key] | None = None) -> Groups | None:
    """The groups of the run's problems, or of those `shared`; a likelihood itself has no group."""
    named = {generation.problem_id: generation.group for generation in run.generations}
    return numbered([named.get(id, "") for id, _ in shared or _by_key(run)])


def _variant(run: Run) -> str:
    """How the gold solutions that the run was judged by are written."""
    return run.result.heldout.variant if run.result and run.result.heldout else ""


def _trained_on(tables: Tables, name: str) -> str:
    """The variant of the solutions an arm was trained on; "" for an untuned arm."""
    arm = tables.arm(name)
    if arm is None or arm.untuned:
        return ""
    return str((arm.identity.get("data") or {}).get("variant", ""))
