"""Check intervals, tests and power on simulated experiments whose true accuracies are known.

    python benchmarks/calibration.py                 # all settings: more than an hour on 2 cores
    python benchmarks/calibration.py --experiments 200 --only models

Each experiment has four tuned arms in a 2 x 2 matrix and an untuned arm. A latent difficulty that
all arms share correlates their outcomes over problems, and each seed's accuracy is drawn from a
distribution around the arm's. `paribus.statistics` then analyzes the outcomes as it does for a
report. For each setting the benchmark measures

- coverage: how often the interval of an arm, a contrast or an effect contains the true value;
- the family-wise error rate: how often a family of comparisons makes at least one false claim;
- power: how often a difference is shown that `power` predicts to be shown 8 times in 10.

Results go to `benchmarks/results/calibration.json` after each setting, so an interrupted run
resumes. A setting is measured again if it was measured by other code (`code_of_statistics`) or with
fewer experiments. Until then its old result stays, and `docs/calibration.md` counts such settings.
"""

import argparse
import ast
import gc
import json
import multiprocessing
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from calibration_settings import Setting, groups_of, settings, simulate, truth_of
from numpy.typing import NDArray
from scipy.stats import norm

from paribus import statistics
from paribus.files import sha256_of_json, write_text
from paribus.seeds import derive
from paribus.statistics.crossed import components, estimate, too_uncertain
from paribus.statistics.intervals import Interval
from paribus.statistics.power import ALPHA, Design, detectable, power
from paribus.statistics.verdicts import compare, holm, mean_interval

RESULTS = Path(__file__).parent / "results" / "calibration.json"
LOW, HIGH, MANY = 0.93, 0.97, 10
"""Limits of coverage. HIGH applies if at least MANY problems are solved and MANY are not."""
HOPELESS = ("undeclared", "diverged")
"""Kinds that violate an assumption. They are measured to show by how much coverage drops."""
WEIGHTS = {
    "main effect": (0.5, 0.5, -0.5, -0.5),
    "interaction": (1.0, -1.0, -1.0, 1.0),
}
PAIRS = ((0, 2), (1, 3), (0, 1), (2, 3), (0, 4), (1, 4), (2, 4), (3, 4))
"""The family of contrasts: the single-factor ones of the 2 x 2 matrix, then each arm against the
untuned arm, which is number 4."""
RESAMPLES = 400
"""Resamples of each bootstrap interval."""


class Tally:
    """Count how often events happened, by name.

    Attributes:
        happened: how often each event happened.
        trials: how often each event could have happened.
        refused: how often each interval was not computed, because of too little data.
    """

    def __init__(self) -> None:
        self.happened: dict[str, int] = {}
        self.trials: dict[str, int] = {}
        self.refused: dict[str, int] = {}

    def interval(self, name: str, interval: Interval | None, truth: float) -> None:
        """Count whether `interval` contains `truth`."""
        if interval is None:
            self.refused[name] = self.refused.get(name, 0) + 1
        else:
            self.event(name, interval.low - 1e-12 <= truth <= interval.high + 1e-12)

    def event(self, name: str, happened: bool) -> None:
        """Count one trial."""
        self.happened[name] = self.happened.get(name, 0) + happened
        self.trials[name] = self.trials.get(name, 0) + 1

    def shares(self) -> dict[str, float]:
        """Return the share of trials in which each event happened."""
        return {name: self.happened[name] / self.trials[name] for name in self.trials}


def experiment(setting: Setting, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate one experiment, analyze it and add the outcomes to `tally`."""
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
        effect = estimate(list(zip(weights, parts[:4], strict=True)), groups, paired=paired)
        truth = sum(weight * accuracy for weight, accuracy in zip(weights, truths, strict=False))
        tally.interval(name, None if refused else effect.interval, truth)
    if setting.bootstrap:
        tally.interval("crossed bootstrap", bootstrap(arms[0], arms[2], rng), 0.0)


def bootstrap(a: NDArray[np.bool_], b: NDArray[np.bool_], rng: np.random.Generator) -> Interval:
    """Return the percentile interval of mean(a) - mean(b), resampling seeds and problems.

    `a` and `b` are [seeds, problems].
    """
    n = a.shape[1]
    problems = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).T / n
    differences = np.zeros(RESAMPLES)
    for sign, table in ((1, a), (-1, b)):
        seeds = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=RESAMPLES).T
        differences += sign * ((table @ problems) * seeds / len(table)).sum(axis=0)
    low, high = np.quantile(differences, [0.025, 0.975])
    return Interval(float(low), float(high))


def measure(job: tuple[Setting, int]) -> dict[str, Any]:
    """Simulate a setting so many times and return its row of the results.

    A setting of kind `power` gets the smallest detectable difference of its design. If there is
    none, nothing is simulated.
    """
    declared, experiments = job
    setting, promised = declared, None
    if declared.kind == "power":
        design = design_of(declared)
        difference = detectable(design, declared.accuracy)
        if difference is None:
            return {"setting": asdict(declared), "experiments": 0, "promised": None, "shares": {}}
        setting = replace(declared, difference=difference)
        promised = power(design, declared.accuracy, difference)
    rng = np.random.default_rng(derive(0, "calibration", json.dumps(asdict(setting))))
    tally = Tally()
    for _ in range(experiments):
        experiment(setting, rng, tally)
    return {
        "setting": asdict(declared),
        "experiments": experiments,
        "difference": setting.difference,
        "promised": promised,
        "shares": {name: round(share, 4) for name, share in tally.shares().items()},
        "refused": tally.refused,
    }


def design_of(setting: Setting) -> Design:
    """Return the `Design` of a setting: its correlations are of outcomes, not of latent scores."""
    a = setting.accuracy
    return Design(
        n=setting.n,
        seeds=setting.seeds,
        correlation=of_outcomes(a, setting.across),
        same_arm=of_outcomes(a, setting.within),
        spread=setting.spread,
    )


def of_outcomes(accuracy: float, latent: float) -> float:
    """Return the correlation of two outcomes whose latent normal scores correlate by `latent`.

    Both outcomes are true with probability `accuracy`.
    """
    from scipy.stats import multivariate_normal

    cut = norm.ppf(accuracy)
    both = multivariate_normal.cdf([cut, cut], cov=[[1, latent], [latent, 1]])
    return float((both - accuracy**2) / (accuracy * (1 - accuracy)))


def faults(row: dict[str, Any]) -> list[str]:
    """Return the names and shares that are outside the limits, whether by chance or not."""
    setting = row["setting"]
    if setting["kind"] in HOPELESS:
        return []
    solved = setting["n"] * min(setting["accuracy"], 1 - setting["accuracy"])
    if setting["kind"] == "agreeing":
        solved = 0.0  # HIGH does not apply: few problems are discordant
    outside = []
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
            outside.append(f"{name} {share:.3f}")
    return outside


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the settings, print those outside the limits and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--experiments", type=int, default=2000, help="per setting")
    parser.add_argument("--only", nargs="*", help="kinds of settings; see `Setting`")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--processes", type=int, help="parallel processes (default: one per core)")
    options = parser.parse_args(arguments)
    code, rows = code_of_statistics(), stored_rows(options.out)
    jobs = [
        (setting, options.experiments)
        for setting in settings()
        if (not options.only or setting.kind in options.only)
        and not is_done(rows.get(name_of(asdict(setting)), {}), options.experiments, code)
    ]
    for number, row in enumerate(measured(jobs, options.processes), 1):
        rows[name_of(row["setting"])] = {**row, "code": code}
        write(options.out, rows, code)
        print(f"{number}/{len(jobs)}", row["setting"], row["shares"], *faults(row), flush=True)
    outside = [row for row in rows.values() if faults(row)]
    print(f"{len(outside)} of {len(rows)} settings are outside the limits")
    return 0


def measured(
    jobs: Sequence[tuple[Setting, int]], processes: int | None
) -> Iterator[dict[str, Any]]:
    """Yield the row of each job, in the order of `jobs`."""
    if processes == 1:
        gc.freeze()
        yield from map(measure, jobs)
        return
    with multiprocessing.Pool(processes, initializer=gc.freeze) as pool:
        yield from pool.imap(measure, jobs)


def name_of(setting: dict[str, Any]) -> str:
    """Return a setting as JSON with sorted keys, which identifies it."""
    return json.dumps(setting, sort_keys=True)


def code_of_statistics() -> str:
    """Return the hash of the code that simulates and analyzes: this one and `paribus.statistics`.

    Only definitions count, see `definitions`: a result stays valid if prose changes.
    """
    sources = [*Path(__file__).parent.glob("calibration*.py")]
    sources += Path(statistics.__path__[0]).glob("*.py")
    texts = [source.read_text(encoding="utf-8") for source in sources]
    return sha256_of_json(sorted(chain.from_iterable(map(definitions, texts))))


def definitions(source: str) -> Iterator[str]:
    """Yield the top-level statements of a module without comments, docstrings and imports.

    Without imports, because they only say in which module a name is defined.
    """
    for statement in WithoutDocstrings().visit(ast.parse(source)).body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            yield ast.unparse(statement)


class WithoutDocstrings(ast.NodeTransformer):
    """Remove texts that stand alone, as docstrings do."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Return the expression, or None if it is only a text."""
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node


def stored_rows(out: Path) -> dict[str, dict[str, Any]]:
    """Return the results in `out` by `name_of` their setting; removed settings are left out."""
    if not out.exists():
        return {}
    # A field that was added since then gets its default.
    stored = [
        {**row, "setting": asdict(Setting(**row["setting"]))}
        for row in json.loads(out.read_text(encoding="utf-8"))["settings"]
    ]
    rows = {name_of(row["setting"]): row for row in stored}
    return {name: rows[name] for name in map(name_of, map(asdict, settings())) if name in rows}


def is_done(row: dict[str, Any], experiments: int, code: str) -> bool:
    """Return whether `code` measured the row with enough experiments, or had none to simulate."""
    return row.get("code") == code and (row["experiments"] >= experiments or not row["shares"])


def write(out: Path, rows: dict[str, dict[str, Any]], code: str) -> None:
    """Write the results in the order of `settings`, atomically."""
    order = {name_of(asdict(setting)): number for number, setting in enumerate(settings())}
    results = {
        "code": code,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy")},
        "settings": [rows[name] for name in sorted(rows, key=order.__getitem__)],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
