"""What looking at declared times costs and saves: simulated experiments with known truth.

    python benchmarks/sequential.py                      # everything: about 25 minutes on 2 cores
    python benchmarks/sequential.py --experiments 200 --only mixed

Experiments as in `calibration.py`: four tuned arms of a 2 x 2 matrix and an untuned one, eight
contrasts in one family. Each is judged three times by the functions of `paribus.statistics`: with
all seeds at once (fixed); at the declared looks, with arms stopping as `paribus run` stops them
(sequential); and by someone who adds a seed and looks again until something shows (again).
Measured: how often a family claims something false, how often a true difference is shown, and the
runs that took. Written to `benchmarks/results/sequential.json`.
"""

import argparse
import gc
import json
import math
import multiprocessing
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from paribus.records import Settled
from paribus.seeds import derive
from paribus.statistics.crossed import Components, Estimate, components, estimate
from paribus.statistics.power import ALPHA
from paribus.statistics.sequential import decide, over_looks, shares
from paribus.statistics.verdicts import holm

RESULTS = Path(__file__).parent / "results" / "sequential.json"
PAIRS = ((0, 2), (1, 3), (0, 1), (2, 3), (0, 4), (1, 4), (2, 4), (3, 4))
"""Contrasts of one factor, of the other, and of each arm with the untuned one."""
FIRST = 3
"""Seeds at which whoever looks again and again begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A truth to simulate.

    Attributes:
        mix: its name in the tables.
        accuracy: of the four tuned arms and the untuned one, as shares.
        n: problems.
        spread: standard deviation of an arm's true accuracy among its seeds.
        looks: numbers of seeds; the last is the budget, and the fixed design's seeds.
        across: correlation of the latent scores of two arms; within: of two seeds of an arm.
    """

    mix: str
    accuracy: tuple[float, ...]
    n: int
    spread: float
    looks: tuple[int, ...]
    across: float = 0.3
    within: float = 0.5


def simulate(setting: Setting, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Return [R, n] of the four tuned arms and [1, n] of the untuned one."""
    difficulty = math.sqrt(setting.across) * rng.standard_normal(setting.n)
    arms = []
    for arm, accuracy in enumerate(setting.accuracy):
        seeds = setting.looks[-1] if arm < 4 else 1
        accuracies = np.full(seeds, accuracy)
        if setting.spread and arm < 4:
            size = accuracy * (1 - accuracy) / setting.spread**2 - 1
            accuracies = rng.beta(accuracy * size, (1 - accuracy) * size, seeds)
        own = math.sqrt(setting.within - setting.across) * rng.standard_normal(setting.n)
        chance = math.sqrt(1 - setting.within) * rng.standard_normal((seeds, setting.n))
        arms.append(difficulty + own + chance < norm.ppf(accuracies)[:, None])
    return arms


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """For each contrast whether it was shown and in which direction (1, -1, 0), and the runs."""

    shown: list[int]
    runs: int


class Arms:
    """The five arms of one experiment, looked at with so many seeds."""

    def __init__(self, solved: Sequence[NDArray[np.bool_]]) -> None:
        self.solved = solved
        self.found: dict[int, list[Components]] = {}

    def estimates(self, seeds: int) -> list[Estimate]:
        """Return the estimate of each of `PAIRS` by the first `seeds` seeds."""
        if seeds not in self.found:
            self.found[seeds] = [components(each[:seeds]) for each in self.solved]
        parts = self.found[seeds]
        return [estimate([(1.0, parts[a]), (-1.0, parts[b])]) for a, b in PAIRS]


def fixed(arms: Arms, seeds: int) -> Result:
    """Judge all arms with their first `seeds` seeds."""
    found = arms.estimates(seeds)
    corrected = holm([each.p_value for each in found])
    shown = [_direction(p, each.value) for p, each in zip(corrected, found, strict=True)]
    return Result(shown=shown, runs=4 * seeds + 1)


def sequential(arms: Arms, looks: Sequence[int]) -> Result:
    """Judge at declared looks; arms of which nothing is open stop, as in `paribus run`."""
    parts = shares(looks)
    p_values: list[list[float | None]] = [[] for _ in PAIRS]
    values: list[list[float | None]] = [[] for _ in PAIRS]
    together: list[float | None] = [None] * len(PAIRS)
    given_up, going, had = [False] * len(PAIRS), {0, 1, 2, 3}, [0] * 4
    for taken, seeds in enumerate(looks, 1):
        for arm in going:
            had[arm] = seeds
        now = arms.estimates(seeds)
        found = [
            each if set(pair) - {4} <= going else None
            for pair, each in zip(PAIRS, now, strict=True)
        ]
        for at, each in enumerate(found):
            if each is not None:
                p_values[at].append(each.p_value)
                values[at].append(each.value)
                together[at] = over_looks(p_values[at], values[at], parts[:taken])
        corrected = holm(together)
        decisions = decide(corrected, found, given_up, looks=looks, taken=taken)
        given_up = [each.state is Settled.UNLIKELY for each in decisions]
        still = [each.state is Settled.OPEN for each in decisions]
        going = {arm for pair, is_open in zip(PAIRS, still, strict=True) if is_open for arm in pair}
        going -= {4}
        if not going:
            break
    shown = [_direction(p, past[-1]) for p, past in zip(corrected, values, strict=True)]
    return Result(shown=shown, runs=sum(had) + 1)


def again(arms: Arms, most: int) -> Result:
    """Judge at every number of seeds from `FIRST` on, as if each were the only look."""
    for seeds in range(FIRST, most + 1):
        result = fixed(arms, seeds)
        if any(result.shown):
            break
    return result


def _direction(p: float | None, value: float | None) -> int:
    return 0 if p is None or p >= ALPHA or not value else 1 if value > 0 else -1


def measure(job: tuple[Setting, int]) -> dict[str, Any]:
    """Simulate one setting and return what came of it."""
    setting, experiments = job
    rng = np.random.default_rng(derive(0, "sequential", json.dumps(asdict(setting))))
    truth = [_sign(setting.accuracy[a] - setting.accuracy[b]) for a, b in PAIRS]
    real = [at for at, sign in enumerate(truth) if sign and 4 not in PAIRS[at]]
    found: dict[str, list[Result]] = {"fixed": [], "sequential": [], "again": []}
    for _ in range(experiments):
        arms = Arms(simulate(setting, rng))
        found["fixed"].append(fixed(arms, setting.looks[-1]))
        found["sequential"].append(sequential(arms, setting.looks))
        if not any(truth):  # claims that looking again adds are all false
            found["again"].append(again(arms, setting.looks[-1]))
    whole = 4 * setting.looks[-1] + 1
    made: dict[str, Any] = {"setting": asdict(setting), "experiments": experiments}
    for name, results in found.items():
        if results:
            made[name] = {
                "false": _mean(
                    any(s and s != t for s, t in zip(each.shown, truth, strict=True))
                    for each in results
                ),
                "power": _mean(each.shown[at] == truth[at] for each in results for at in real)
                if real
                else None,
                "runs": _mean(each.runs / whole for each in results),
            }
    return made


def _sign(difference: float) -> int:
    return round(math.copysign(1, difference)) if abs(difference) > 1e-9 else 0


def _mean(values: Any) -> float:
    return round(float(np.mean(list(values))), 4)


def settings() -> Iterator[Setting]:
    """Yield every setting: nothing differs, some arms do, all do, by much or little."""
    mixes = {
        "nothing differs": lambda size: (0.31, 0.31, 0.31, 0.31, 0.31),
        "tuning alone": lambda size: (0.31, 0.31, 0.31, 0.31, 0.1),
        "tuning, and one arm": lambda size: (0.31 + size, 0.31, 0.31, 0.31, 0.1),
        "tuning, and a factor": lambda size: (0.31 + size, 0.31 + size, 0.31, 0.31, 0.1),
        "all by much": lambda size: (0.31 + 5 * size, 0.31 + 2 * size, 0.31 + 3 * size, 0.31, 0.1),
    }
    sizes = {(200, 0.01): 0.085, (1319, 0.01): 0.036}
    plans = ((4, 7, 10),)
    for looks, ((n, spread), size), (mix, arms) in product(plans, sizes.items(), mixes.items()):
        yield Setting(mix=mix, accuracy=arms(size), n=n, spread=spread, looks=looks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the settings asked for, print what came of them and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--experiments", type=int, default=2000, help="per setting")
    parser.add_argument("--only", help="part of a mix's name")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    chosen = [each for each in settings() if options.only is None or options.only in each.mix]
    jobs = [(each, options.experiments) for each in chosen]
    rows = []
    with multiprocessing.Pool(initializer=gc.freeze) as pool:
        for row in pool.imap(measure, jobs):
            rows.append(row)
            said = {name: row[name] for name in ("fixed", "sequential", "again") if name in row}
            print(f"{len(rows)}/{len(jobs)}", row["setting"], said, flush=True)
    made_by = {
        "experiments": options.experiments,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy")},
    }
    options.out.write_text(json.dumps({**made_by, "settings": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
