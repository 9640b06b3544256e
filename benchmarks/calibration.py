"""Are the intervals and tests right? Simulated experiments with known truth, judged by paribus.

    python benchmarks/calibration.py                 # everything: about an hour on 2 cores
    python benchmarks/calibration.py --experiments 200 --only models

Each setting is simulated at least 2,000 times: four arms in a 2 x 2 matrix and an untuned one,
their correctness correlated over problems by a shared latent difficulty, each seed's accuracy
drawn from a beta distribution around the arm's. The very functions of `paribus.analysis` then
judge. Measured per setting: how often the interval of an arm, of a contrast, of an effect holds
the truth; how often a family of true nulls claims anything; how often a difference is shown that
`power` promised to show 8 times in 10.

Written to `benchmarks/results/calibration.json`, setting by setting: stopped, it goes on where it
was. Settings that were measured with another version of this or of `paribus.statistics`, or less
often, are measured anew; until then they stay, and `docs/calibration.md` says how many they are.
"""

import argparse
import gc
import json
import multiprocessing
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from calibration_settings import Setting, groups_of, settings, simulate, truth_of
from numpy.typing import NDArray
from scipy.stats import norm

from paribus import statistics
from paribus.files import sha256_of_json, write_text
from paribus.seeds import derive
from paribus.statistics.accuracy import mean_interval
from paribus.statistics.crossed import components, estimate, too_uncertain
from paribus.statistics.intervals import Interval
from paribus.statistics.power import ALPHA, Design, detectable, power
from paribus.statistics.verdicts import compare, holm

RESULTS = Path(__file__).parent / "results" / "calibration.json"
LOW, HIGH, MANY = 0.93, 0.97, 10
"""Coverage wanted: at least LOW; at most HIGH where at least MANY are solved and unsolved."""
HOPELESS = ("undeclared", "diverged")
"""Kinds in which no interval can be right; they are measured to say by how much."""
WEIGHTS = {
    "main effect": (0.5, 0.5, -0.5, -0.5),
    "interaction": (1.0, -1.0, -1.0, 1.0),
}
PAIRS = ((0, 2), (1, 3), (0, 1), (2, 3), (0, 4), (1, 4), (2, 4), (3, 4))
"""The declared family: the single-factor contrasts of a 2 x 2 matrix, each arm and the untuned."""
RESAMPLES = 400


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
    groups = None if setting.kind == "undeclared" else groups_of(setting)
    paired = setting.kind == "paired"
    truths = [truth_of(setting, arm) for arm in range(5)]
    if setting.kind == "power":
        tested = compare(arms[0], arms[1])
        shown = tested.p_value is not None and tested.p_value < ALPHA
        tally.event("shown", shown and arms[0].mean() > arms[1].mean())
        tally.interval("contrast", tested.interval, setting.difference)
        return
    parts = [components(solved) for solved in arms]
    for part, truth in zip(parts[:4], truths, strict=False):
        tally.interval("arm", mean_interval(part, groups), truth)
    family = [compare(arms[a], arms[b], groups, paired=paired and b != 4) for a, b in PAIRS]
    for (a, b), tested in zip(PAIRS, family, strict=True):
        name = "against untuned" if b == 4 else "contrast"
        tally.interval(name, tested.interval, truths[a] - truths[b])
    corrected = zip(PAIRS, holm([tested.p_value for tested in family]), strict=True)
    claims = [(a, b) for (a, b), p in corrected if p is not None and p < ALPHA]
    tally.event("family claims", any(truths[a] == truths[b] for a, b in claims))
    for name, weights in WEIGHTS.items():
        refused = too_uncertain(parts[:4], groups)
        found = estimate(list(zip(weights, parts[:4], strict=True)), groups, paired=paired)
        truth = sum(weight * each for weight, each in zip(weights, truths, strict=False))
        tally.interval(name, None if refused else found.interval, truth)
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
    asked, experiments = job
    setting, promised = asked, None
    if asked.kind == "power":
        design = design_of(asked)
        size = detectable(design, asked.accuracy)
        if size is None:
            return {"setting": asdict(asked), "experiments": 0, "promised": None, "shares": {}}
        setting = replace(asked, difference=size)
        promised = power(design, asked.accuracy, size)
    rng = np.random.default_rng(derive(0, "calibration", json.dumps(asdict(setting))))
    tally = Tally()
    for _ in range(experiments):
        experiment(setting, rng, tally)
    return {
        "setting": asdict(asked),
        "experiments": experiments,
        "difference": setting.difference,
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
    if setting["kind"] in HOPELESS:
        return []
    solved = setting["n"] * min(setting["accuracy"], 1 - setting["accuracy"])
    if setting["kind"] == "agreeing":
        solved = 0.0  # however many are solved, few tell the arms apart
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
    parser.add_argument("--only", nargs="*", help="kinds of settings; see `Setting`")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--processes", type=int, help="at once (default: a core each)")
    options = parser.parse_args(arguments)
    code, rows = code_of_statistics(), found_in(options.out)
    jobs = [
        (each, options.experiments)
        for each in settings()
        if (not options.only or each.kind in options.only)
        and not is_done(rows.get(name_of(asdict(each)), {}), options.experiments, code)
    ]
    for number, row in enumerate(measured(jobs, options.processes), 1):
        rows[name_of(row["setting"])] = {**row, "code": code}
        write(options.out, rows, code)
        off = faults(row)
        print(f"{number}/{len(jobs)}", row["setting"], row["shares"], *off, flush=True)
    outside = [row for row in rows.values() if faults(row)]
    print(f"{len(outside)} of {len(rows)} settings are outside the limits")
    return 0


def measured(
    jobs: Sequence[tuple[Setting, int]], processes: int | None
) -> Iterator[dict[str, Any]]:
    """Yield what came of each job, in their order."""
    if processes == 1:
        gc.freeze()
        yield from map(measure, jobs)
        return
    with multiprocessing.Pool(processes, initializer=gc.freeze) as pool:
        yield from pool.imap(measure, jobs)


def name_of(setting: dict[str, Any]) -> str:
    """Return a setting as one text: values in the order of their names."""
    return json.dumps(setting, sort_keys=True)


def code_of_statistics() -> str:
    """Return the hash of what simulates and judges: these sources and `paribus.statistics`."""
    sources = sorted(Path(__file__).parent.glob("calibration*.py"))
    sources += sorted(Path(statistics.__path__[0]).glob("*.py"))
    return sha256_of_json([source.read_text(encoding="utf-8") for source in sources])


def found_in(out: Path) -> dict[str, dict[str, Any]]:
    """Return the settings that were measured before, by name; those of other versions have gone."""
    if not out.exists():
        return {}
    # A value that a setting did not have yet is the usual one.
    rows = [
        {**row, "setting": asdict(Setting(**row["setting"]))}
        for row in json.loads(out.read_text(encoding="utf-8"))["settings"]
    ]
    named = {name_of(row["setting"]): row for row in rows}
    return {name: named[name] for name in map(name_of, map(asdict, settings())) if name in named}


def is_done(row: dict[str, Any], experiments: int, code: str) -> bool:
    """Return whether this code has measured a setting as often; nothing is promised in some."""
    return row.get("code") == code and (row["experiments"] >= experiments or not row["shares"])


def write(out: Path, rows: dict[str, dict[str, Any]], code: str) -> None:
    """Write the measured settings, in the order of `settings`, all or nothing."""
    order = {name_of(asdict(each)): place for place, each in enumerate(settings())}
    made = {
        "code": code,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy")},
        "settings": [rows[name] for name in sorted(rows, key=order.__getitem__)],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
