"""Check intervals, tests and power of real-valued scores on experiments whose truth is known.

    python benchmarks/real_scores.py                       # all settings: 10 minutes on one core
    python benchmarks/real_scores.py --only models power   # some kinds; the others' results stay

Each experiment has two arms that truly score alike, and is analyzed by `paribus.statistics.real`
as for a report. Counted are the intervals that hold the true value and the tests that reject it.

A latent normal value of each run and problem is the sum of a part that all arms share, one that
the seeds of an arm share, one of the run (its seed), and chance. Scores are a function of it:
zeros and ones, skewed, mostly 0, or losses with heavy tails. Two arms `unlike` each other have
different distributions with the same mean.
"""

import argparse
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from calibration import Tally
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import beta

from paribus.files import write_text
from paribus.seeds import derive
from paribus.statistics.intervals import Interval
from paribus.statistics.power import ALPHA
from paribus.statistics.real.classes import (
    Codes,
    compare_f1,
    confusion,
    f1_of,
    linear_f1,
    macro_f1,
)
from paribus.statistics.real.comparison import compare, flip_p
from paribus.statistics.real.means import Scores, mean_of
from paribus.statistics.real.power import detectable, power, spread_of

RESULTS = Path(__file__).parent / "results" / "real_scores.json"
LEVELS = (ALPHA, ALPHA / 10)
"""Levels of the tests: of one comparison, and of one among ten."""
RESAMPLES = 400
"""Resamples of the bootstrap of macro-F1, which paribus does not use."""
COMMON = 0.7
"""Share of the problems on which a run of `classes` predicts what all runs draw together."""

WORSE = 0.1
"""How much lower the recall of each class is in the second arm of kind `better`."""

Latent = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The truth of a simulated experiment.

    Attributes:
        kind: models (one seed), seeds, groups, power, classes, or better (classes of
            arms that differ).
        scores: the distribution of the scores, in `DISTRIBUTIONS`; of b, too, unless `unlike`.
        n: number of problems.
        seeds: number of seeds of each arm.
        unlike: the distribution of b's scores, "" for that of a's.
        across: correlation of the latent values of two arms.
        within: correlation of two seeds of an arm, without the seeds' own part.
        spread: standard deviation of the latent values among seeds.
        group: number of problems in a group; 1 means no groups.
        together: correlation of the latent values of two problems of a group.
        labels: number of classes; each has `rarer` times the problems of the one before.
        accuracy: recall of each class.
        rarer: see `labels`.
    """

    kind: str
    scores: str = ""
    n: int
    seeds: int = 1
    unlike: str = ""
    across: float = 0.4
    within: float = 0.6
    spread: float = 0.0
    group: int = 1
    together: float = 0.4
    labels: int = 0
    accuracy: float = 0.0
    rarer: float = 1.0


def settings() -> Iterator[Setting]:
    """Yield every setting."""
    for scores, n in product(DISTRIBUTIONS, (30, 200)):
        if scores not in TWINS.values():
            yield Setting(kind="models", scores=scores, n=n)
    for scores in ("0 or 1", "skewed", "97 in 100 are 0", "log-normal loss"):
        yield Setting(kind="models", scores=scores, n=1319)
    yield Setting(kind="models", scores="log-normal loss", n=200, across=0.95, within=0.96)
    for (scores, unlike), n in product(TWINS.items(), (30, 200, 1319)):
        yield Setting(kind="models", scores=scores, unlike=unlike, n=n)
    some = ("0 or 1", "skewed", "9 in 10 are 0", "log-normal loss")
    for scores, (n, seeds) in product(some, ((30, 3), (200, 3), (1319, 3), (200, 5))):
        yield Setting(kind="seeds", scores=scores, n=n, seeds=seeds, spread=0.05)
    for scores, (n, group), seeds in product(some[1:], ((200, 10), (1320, 10)), (1, 3)):
        yield Setting(
            kind="groups", scores=scores, n=n, seeds=seeds, group=group, spread=0.05 * (seeds > 1)
        )
    for scores, seeds in product(("skewed", "log-normal loss"), (1, 3)):
        yield Setting(kind="power", scores=scores, n=200, seeds=seeds, spread=0.05 * (seeds > 1))
    for labels, n, accuracy, rarer in (
        (2, 30, 0.8, 1.0), (6, 60, 0.9, 0.7), (6, 200, 0.5, 0.7), (6, 200, 0.8, 0.7),
        (3, 200, 0.97, 0.5), (3, 1319, 0.6, 0.3), (20, 1319, 0.7, 0.85),
    ):  # fmt: skip
        yield Setting(kind="classes", n=n, labels=labels, accuracy=accuracy, rarer=rarer)
    for n, accuracy in ((60, 0.9), (200, 0.8)):
        yield Setting(kind="classes", n=n, seeds=3, labels=6, accuracy=accuracy, rarer=0.7)
        yield Setting(kind="better", n=n, labels=6, accuracy=accuracy, rarer=0.7)


def _beta(a: float, b: float) -> Callable[[Latent], Latent]:
    """Return the function that makes beta-distributed scores of normal values, by a table."""
    places = np.linspace(-5.0, 5.0, 4001)
    table = beta.ppf(ndtr(places), a, b)
    return lambda latent: np.interp(latent, places, table)


def _mostly_0(share: float) -> Callable[[Latent], Latent]:
    """Return the function that makes scores of which `share` are 0 and the others beta(2, 2)."""
    places = np.linspace(0.0, 1.0, 4001)
    table = beta.ppf(places, 2, 2)

    def scores(latent: Latent) -> Latent:
        above = (ndtr(latent) - share) / (1 - share)
        return np.where(above > 0, np.interp(above, places, table), 0.0)

    return scores


DISTRIBUTIONS: dict[str, Callable[[Latent], Latent]] = {
    "0 or 1": lambda latent: (ndtr(latent) > 0.69).astype(float),
    "skewed": _beta(0.5, 3.0),
    "9 in 10 are 0": _mostly_0(0.9),
    "97 in 100 are 0": _mostly_0(0.97),
    "log-normal loss": lambda latent: np.exp(1.5 * latent),
    "Pareto loss": lambda latent: ndtr(-latent) ** (-1 / 2.2),
    "narrow about 0.14": _beta(20 / 7, 120 / 7),
    "narrow about 0.05": _beta(1.0, 19.0),
}
TWINS = {"skewed": "narrow about 0.14", "9 in 10 are 0": "narrow about 0.05"}
"""Distributions with the same mean."""


@cache
def mean_score(scores: str) -> float:
    """Return the true mean of a distribution."""
    places = np.linspace(-9.0, 12.0, 400_001)
    weights = np.exp(-(places**2) / 2)
    return float(DISTRIBUTIONS[scores](places) @ weights / weights.sum())


def simulate(setting: Setting, rng: np.random.Generator) -> list[Scores]:
    """Return the scores [seeds, n] of two arms."""
    shared = _by_problem(setting, rng)
    arms = []
    for scores in (setting.scores, setting.unlike or setting.scores):
        own, size = _by_problem(setting, rng), (setting.seeds, setting.n)
        latent = sqrt(setting.across) * shared + sqrt(setting.within - setting.across) * own
        chance = sqrt(1 - setting.within - setting.spread**2) * rng.standard_normal(size)
        of_seeds = setting.spread * rng.standard_normal((setting.seeds, 1))
        arms.append(DISTRIBUTIONS[scores](latent + of_seeds + chance))
    return arms


def _by_problem(setting: Setting, rng: np.random.Generator) -> Latent:
    """Return [n] standard normal values, correlated within groups."""
    values = rng.standard_normal(setting.n)
    groups = groups_of(setting)
    if groups is None:
        return values
    of_groups = rng.standard_normal(groups.max() + 1)[groups]
    return np.asarray(sqrt(1 - setting.together) * values + sqrt(setting.together) * of_groups)


def groups_of(setting: Setting) -> NDArray[np.intp] | None:
    """Return [n] group numbers, or None without groups."""
    return None if setting.group == 1 else np.arange(setting.n) // setting.group


def of_scores(setting: Setting, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate one experiment with scores or losses and count what its analysis says."""
    a, b = simulate(setting, rng)
    bounded, groups = "loss" not in setting.scores, groups_of(setting)
    tested = compare(a, b, groups, bounded=bounded)
    truths = [mean_score(scores) for scores in (setting.scores, setting.unlike or setting.scores)]
    tally.interval("arm", mean_of(a, groups, bounded=bounded).interval, truths[0])
    tally.interval("contrast", tested.interval, truths[0] - truths[1])
    if setting.seeds > 1:
        rejections(tally, "Behrens-Fisher", tested.p_value)
    else:
        rejections(tally, "flips", tested.p_value)
        rejections(tally, "t", tested.crossed.p_value if tested.crossed else None)


def rejections(tally: Tally, test: str, p_value: float | None) -> None:
    """Count whether a test rejects at each of `LEVELS`."""
    for level in LEVELS:
        tally.event(f"{test} at {level:g}", p_value is not None and p_value < level)


def of_power(setting: Setting, rng: np.random.Generator, tally: Tally, difference: float) -> None:
    """Simulate one experiment whose arms truly differ and count whether that is shown."""
    a, b = simulate(setting, rng)
    tested = compare(a + difference, b)
    shown = tested.p_value is not None and tested.p_value < ALPHA
    tally.event("shown", shown and bool(a.mean() + difference > b.mean()))


def promise(setting: Setting, rng: np.random.Generator) -> tuple[float, float]:
    """Return the smallest detectable difference of a setting, and its power."""
    many = Setting(**{**asdict(setting), "n": 20_000, "seeds": 60})
    spread = spread_of(*simulate(many, rng))
    difference = detectable(spread, n=setting.n, seeds=setting.seeds)
    assert difference is not None
    return difference, power(spread, difference, n=setting.n, seeds=setting.seeds)


def chances(setting: Setting, accuracy: float) -> NDArray[np.float64]:
    """Return the probability of each pair of gold and predicted label, [labels, labels + 1]."""
    rng = np.random.default_rng(derive(0, "chances", setting.labels))
    labels = setting.labels
    shares = setting.rarer ** np.arange(labels, dtype=float)
    wrong = rng.dirichlet(np.ones(labels), size=labels)
    cells = np.array([np.insert(row, at, 0.0) for at, row in enumerate(wrong)])
    cells *= 1 - accuracy
    cells[np.diag_indices(labels)] = accuracy
    return np.asarray(cells * (shares / shares.sum())[:, None])


def predictions(
    cells: NDArray[np.float64],
    gold: Codes,
    together: NDArray[np.float64],
    seeds: int,
    rng: np.random.Generator,
) -> Codes:
    """Return the labels [seeds, n] that the runs of an arm predict."""
    up_to = np.cumsum(cells / cells.sum(axis=1, keepdims=True), axis=1)[gold][:, :-1]
    size = (seeds, len(gold))
    drawn = np.where(rng.random(size) < COMMON, together, rng.random(size))
    return np.asarray((up_to < drawn[..., None]).sum(axis=2))


def of_classes(setting: Setting, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate one experiment with labels and count what its analysis says."""
    labels, worse = setting.labels, WORSE if setting.kind == "better" else 0.0
    cells = [chances(setting, setting.accuracy - lower) for lower in (0.0, worse)]
    gold = rng.choice(labels, size=setting.n, p=cells[0].sum(axis=1)).astype(np.intp)
    together = rng.random(setting.n)
    a, b = (predictions(of_arm, gold, together, setting.seeds, rng) for of_arm in cells)
    truth = f1_of(cells[0])
    tally.interval("arm", macro_f1(gold, a, labels=labels).interval, truth)
    if setting.seeds == 1:
        tally.interval("bootstrap", bootstrap(gold, a[0], labels, rng), truth)
    tested = compare_f1(gold, a, b, labels=labels)
    tally.interval("contrast", tested.interval, truth - f1_of(cells[1]))
    if worse:
        return
    if setting.seeds > 1:
        rejections(tally, "Behrens-Fisher", tested.p_value)
        return
    rejections(tally, "exchanges", tested.p_value)
    rejections(tally, "t", tested.crossed.p_value if tested.crossed else None)
    linear = linear_f1(gold, np.vstack([a, b]), labels=labels)
    rejections(tally, "flips", flip_p(linear[0] - linear[1]))


def bootstrap(gold: Codes, run: Codes, labels: int, rng: np.random.Generator) -> Interval:
    """Return the percentile interval of macro-F1, resampling problems."""
    cells = confusion(gold, run, labels=labels)
    drawn = rng.multinomial(len(gold), cells.ravel() / len(gold), size=RESAMPLES)
    drawn = drawn.reshape(RESAMPLES, *cells.shape)
    right = np.diagonal(drawn, axis1=1, axis2=2)
    either = drawn.sum(axis=2) + drawn[:, :, :-1].sum(axis=1)
    found = (2 * right / np.maximum(1, either)).sum(axis=1) / (either > 0).sum(axis=1)
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(float(low), float(high))


def measure(setting: Setting, experiments: int) -> dict[str, Any]:
    """Simulate a setting so many times and return its row of the results."""
    rng = np.random.default_rng(derive(0, "real scores", json.dumps(asdict(setting))))
    tally, promised = Tally(), None
    if setting.kind == "power":
        difference, promised = promise(setting, rng)
    for _ in range(experiments):
        if setting.kind == "power":
            of_power(setting, rng, tally, difference)
        elif setting.labels:
            of_classes(setting, rng, tally)
        else:
            of_scores(setting, rng, tally)
    return {
        "setting": asdict(setting),
        "experiments": experiments,
        "promised": promised,
        "shares": {name: round(share, 4) for name, share in tally.shares().items()},
        "refused": tally.refused,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the settings and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--experiments", type=int, default=2000, help="per setting")
    parser.add_argument("--only", nargs="*", help="kinds of settings; see `Setting`")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    rows = stored_rows(options.out)
    for setting in settings():
        if options.only and setting.kind not in options.only:
            continue
        row = measure(setting, options.experiments)
        rows[json.dumps(asdict(setting))] = row
        print(row["setting"], row["promised"], row["shares"], row["refused"], flush=True)
        write(options.out, rows)
    return 0


def stored_rows(out: Path) -> dict[str, dict[str, Any]]:
    """Return the results in `out` by their setting, as JSON."""
    stored = json.loads(out.read_text(encoding="utf-8"))["settings"] if out.exists() else []
    return {json.dumps(row["setting"]): row for row in stored}


def write(out: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Write the rows of `settings` in their order, atomically."""
    names = [json.dumps(asdict(setting)) for setting in settings()]
    results = {
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy")},
        "settings": [rows[name] for name in names if name in rows],
    }
    write_text(out, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
