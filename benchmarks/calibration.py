"""Are the intervals and tests right? Simulated experiments with known truth, judged by paribus.

    python benchmarks/calibration.py                 # everything: about 30 minutes on 2 cores
    python benchmarks/calibration.py --experiments 200 --only models

Each setting is simulated at least 2,000 times: four arms in a 2 x 2 matrix and an untuned one,
their correctness correlated over problems by a shared latent difficulty, each seed's accuracy
drawn from a beta distribution around the arm's. The very functions of `paribus.analysis` then
judge. Measured per setting: how often the interval of an arm, of a contrast, of an effect holds
the truth; how often a family of true nulls claims anything; how often a difference is shown that
`power` promised to show 8 times in 10. Written to `benchmarks/results/calibration.json`.
"""

import argparse
import gc
import json
import math
import multiprocessing
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from paribus.seeds import derive
from paribus.statistics.crossed import components, estimate, mean_interval, too_uncertain
from paribus.statistics.intervals import Interval
from paribus.statistics.power import ALPHA, Design, detectable, power
from paribus.statistics.verdicts import compare, holm

RESULTS = Path(__file__).parent / "results" / "calibration.json"
LOW, HIGH, MANY = 0.93, 0.97, 10
"""Coverage wanted: at least LOW; at most HIGH where at least MANY are solved and unsolved."""
WEIGHTS = {
    "main effect": (0.5, 0.5, -0.5, -0.5),
    "interaction": (1.0, -1.0, -1.0, 1.0),
}
PAIRS = ((0, 2), (1, 3), (0, 1), (2, 3), (0, 4), (1, 4), (2, 4), (3, 4))
"""The declared family: the single-factor contrasts of a 2 x 2 matrix, each arm and the untuned."""
RESAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A truth to simulate.

    Attributes:
        kind: models (one seed), methods (several), groups, power.
        accuracy: of every arm, as a share; in `power` the first arm has `difference` more.
        n: problems. seeds: of each tuned arm.
        spread: standard deviation of an arm's true accuracy among its seeds.
        across: correlation of the latent scores of two arms; within: of two seeds of an arm.
        group: problems in a group; together: correlation of the latent scores within a group.
        uneven: two of the four arms scatter among their seeds a sixth as much.
        bootstrap: also measure the crossed percentile bootstrap, which paribus does not use.
    """

    kind: str
    accuracy: float
    n: int
    seeds: int = 1
    spread: float = 0.0
    across: float = 0.3
    within: float = 0.5
    group: int = 1
    together: float = 0.0
    difference: float = 0.0
    bootstrap: bool = False
    uneven: bool = False


def settings() -> Iterator[Setting]:
    """Yield every setting, the cheap ones first."""
    accuracies, sizes = (0.02, 0.05, 0.1, 0.31, 0.6, 0.95), (50, 200, 1319)
    for accuracy, n, across in product(accuracies, sizes, (0.0, 0.3, 0.6)):
        yield Setting(kind="models", accuracy=accuracy, n=n, across=across, within=0.8)
    for accuracy, n, seeds, spread, (across, within) in product(
        accuracies, sizes, (2, 3, 5), (0.0, 0.005, 0.01, 0.03), ((0.3, 0.5), (0.6, 0.8))
    ):
        if seeds == 2 and accuracy != 0.31 or across == 0.6 and n != 1319:
            continue  # two seeds are refused; one accuracy shows it
        # No arm at 2 % scatters by 3 points: accuracies stay a few spreads away from 0 and 1.
        if spread <= min(accuracy, 1 - accuracy) / 3:
            yield Setting(
                kind="methods", accuracy=accuracy, n=n, seeds=seeds, spread=spread,
                across=across, within=within,
                bootstrap=accuracy == 0.31 and seeds > 2 and across == 0.3,
            )  # fmt: skip
    for accuracy, n, seeds, spread in product((0.1, 0.31, 0.6), (200, 1319), (3, 5), (0.01, 0.03)):
        yield Setting(
            kind="methods", accuracy=accuracy, n=n, seeds=seeds, spread=spread, uneven=True
        )
    for accuracy, (n, group), seeds in product(
        (0.1, 0.31, 0.8), ((200, 10), (1320, 8), (1320, 20)), (1, 3)
    ):
        yield Setting(
            kind="groups", accuracy=accuracy, n=n, seeds=seeds, spread=0.01 * (seeds > 1),
            group=group, together=0.4,
        )  # fmt: skip
    for accuracy, n, seeds, spread in product(
        (0.05, 0.31, 0.6), (200, 1319), (1, 3, 5), (0.0, 0.005, 0.01, 0.03)
    ):
        if (spread == 0.0 or seeds > 1) and spread <= accuracy / 3:
            yield Setting(kind="power", accuracy=accuracy, n=n, seeds=seeds, spread=spread)


def simulate(setting: Setting, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Return [R, n] of the four tuned arms and [1, n] of the untuned one."""
    difficulty = rng.standard_normal(setting.n)
    if setting.group > 1:
        shared = np.repeat(rng.standard_normal(setting.n // setting.group), setting.group)
        difficulty = math.sqrt(1 - setting.together) * difficulty
        difficulty += math.sqrt(setting.together) * shared
    arms = []
    for arm in range(5):
        tuned = arm < 4
        seeds = setting.seeds if tuned else 1
        accuracy = setting.accuracy + (setting.difference if arm == 0 else 0.0)
        if setting.spread and tuned and setting.seeds > 1:
            size = accuracy * (1 - accuracy) / setting.spread**2 - 1
            if setting.uneven and arm % 3:
                size = 36 * (size + 1) - 1
            accuracies = rng.beta(accuracy * size, (1 - accuracy) * size, seeds)
        else:
            accuracies = np.full(seeds, accuracy)
        latent = math.sqrt(setting.across) * difficulty
        latent = latent + math.sqrt(setting.within - setting.across) * rng.standard_normal(
            setting.n
        )
        chance = math.sqrt(1 - setting.within) * rng.standard_normal((seeds, setting.n))
        arms.append(latent + chance < norm.ppf(accuracies)[:, None])
    return arms


class Tally:
    """Counts how often something held, and how often there was nothing to judge."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.refused: dict[str, int] = {}

    def interval(self, name: str, found: Interval | None, truth: float) -> None:
        """Count whether `found` holds `truth`."""
        if found is None:
            self.refused[name] = self.refused.get(name, 0) + 1
        else:
            self.event(name, found.low - 1e-12 <= truth <= found.high + 1e-12)

    def event(self, name: str, happened: bool) -> None:
        """Count one event."""
        self.held[name] = self.held.get(name, 0) + happened
        self.asked[name] = self.asked.get(name, 0) + 1

    def shares(self) -> dict[str, float]:
        """Return how often each held."""
        return {name: self.held[name] / self.asked[name] for name in self.asked}


def experiment(setting: Setting, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate one experiment and count what paribus says of it."""
    arms = simulate(setting, rng)
    groups = None
    if setting.group > 1:
        groups = np.repeat(np.arange(setting.n // setting.group), setting.group)
    if setting.kind == "power":
        tested = compare(arms[0], arms[1])
        shown = tested.p_value is not None and tested.p_value < ALPHA
        tally.event("shown", shown and arms[0].mean() > arms[1].mean())
        tally.interval("contrast", tested.interval, setting.difference)
        return
    parts = [components(solved) for solved in arms]
    for part in parts[:4]:
        tally.interval("arm", mean_interval(part, groups), setting.accuracy)
    family = [compare(arms[a], arms[b], groups) for a, b in PAIRS]
    for (_, other), tested in zip(PAIRS, family, strict=True):
        tally.interval("against untuned" if other == 4 else "contrast", tested.interval, 0.0)
    corrected = holm([tested.p_value for tested in family])
    tally.event("family claims", any(p is not None and p < ALPHA for p in corrected))
    for name, weights in WEIGHTS.items():
        refused = too_uncertain(parts[:4], groups)
        found = estimate(list(zip(weights, parts[:4], strict=True)), groups)
        tally.interval(name, None if refused else found.interval, 0.0)
    if setting.bootstrap:
        tally.interval("crossed bootstrap", bootstrap(arms[0], arms[2], rng), 0.0)


def bootstrap(a: NDArray[np.bool_], b: NDArray[np.bool_], rng: np.random.Generator) -> Interval:
    """Return the percentile interval of mean(a) - mean(b), seeds and problems drawn anew."""
    n = a.shape[1]
    problems = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).T / n
    differences = np.zeros(RESAMPLES)
    for sign, table in ((1, a), (-1, b)):
        seeds = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=RESAMPLES).T
        differences += sign * ((table @ problems) * seeds / len(table)).sum(axis=0)
    low, high = np.quantile(differences, [0.025, 0.975])
    return Interval(float(low), float(high))


def measure(job: tuple[Setting, int]) -> dict[str, Any]:
    """Simulate one setting and return what came of it."""
    setting, experiments = job
    promised = None
    if setting.kind == "power":
        design = design_of(setting)
        size = detectable(design, setting.accuracy)
        if size is None:
            return {"setting": asdict(setting), "experiments": 0, "promised": None, "shares": {}}
        setting = replace(setting, difference=size)
        promised = power(design, setting.accuracy, size)
    rng = np.random.default_rng(derive(0, "calibration", json.dumps(asdict(setting))))
    tally = Tally()
    for _ in range(experiments):
        experiment(setting, rng, tally)
    return {
        "setting": asdict(setting),
        "experiments": experiments,
        "promised": promised,
        "shares": {name: round(share, 4) for name, share in tally.shares().items()},
        "refused": tally.refused,
    }


def design_of(setting: Setting) -> Design:
    """Return the design that `power` is asked about: correlations of correctness, not latent."""
    a = setting.accuracy
    return Design(
        n=setting.n,
        seeds=setting.seeds,
        correlation=of_outcomes(a, setting.across),
        same_arm=of_outcomes(a, setting.within),
        spread=setting.spread,
    )


def of_outcomes(accuracy: float, latent: float) -> float:
    """Return the correlation of two outcomes whose normal scores correlate by `latent`."""
    from scipy.stats import multivariate_normal

    cut = norm.ppf(accuracy)
    both = multivariate_normal.cdf([cut, cut], cov=[[1, latent], [latent, 1]])
    return float((both - accuracy**2) / (accuracy * (1 - accuracy)))


def faults(row: dict[str, Any]) -> list[str]:
    """Return what in a measured setting is outside what is wanted, beyond chance or not."""
    setting = row["setting"]
    solved = setting["n"] * min(setting["accuracy"], 1 - setting["accuracy"])
    found = []
    for name, share in row["shares"].items():
        if name == "family claims":
            bad = share > ALPHA
        elif name == "shown":
            bad = abs(share - row["promised"]) > 0.03
        elif name == "crossed bootstrap":
            continue
        else:
            bad = share < LOW or (share > HIGH and solved >= MANY)
        if bad:
            found.append(f"{name} {share:.3f}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the settings asked for, print what is off and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--experiments", type=int, default=2000, help="per setting")
    parser.add_argument("--only", help="models, methods, groups or power")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    jobs = [(each, options.experiments) for each in settings() if options.only in (None, each.kind)]
    rows = []
    # Correcting p-values collects garbage each time (statsmodels): leave it little to look at.
    with multiprocessing.Pool(initializer=gc.freeze) as pool:
        for row in pool.imap(measure, jobs):
            rows.append(row)
            off = faults(row)
            print(f"{len(rows)}/{len(jobs)}", row["setting"], row["shares"], *off, flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    made_by = {
        "experiments": options.experiments,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy", "statsmodels")},
    }
    options.out.write_text(json.dumps({**made_by, "settings": rows}, indent=1) + "\n")
    print(
        f"{sum(bool(faults(row)) for row in rows)} of {len(rows)} settings are outside the limits"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
