"""How often two identical arms are called different after each was tuned: simulated tunings.

    python benchmarks/tuning.py                     # everything: 20 minutes on one core
    python benchmarks/tuning.py --only tpe-12       # one kind; the others' results stay

Two arms that do not differ are tuned over a learning rate and a share of warm-up that does nothing.
Trials are proposed by paribus's own search (Optuna), or are its usual grid; the lowest of their
noisy losses is chosen. The chosen values then run with fresh seeds, and paribus's own contrast over
seeds and problems compares the two. Between the arms trials share as much as `sharing` says:

    streams   the same values are proposed, and the same noise measured: so it is in paribus
    values    the same values are proposed (while random), each arm has noise of its own
    nothing   each arm has proposals and noise of its own, as with one tool after the other

Both losses and accuracy fall with the square of the distance, in decades, from the best rate. With
a steep accuracy a chosen rate that is off by luck makes a true difference between runs: then the
verdict is right about the values, and wrong about the arms. Written to `results/tuning.json`.
"""

import argparse
import json
import math
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from paribus.config.load import load
from paribus.design.matrix import expand
from paribus.design.spaces import Search
from paribus.files import write_text
from paribus.planning.search import Study
from paribus.seeds import derive
from paribus.statistics.crossed import components, estimate
from paribus.statistics.intervals import share
from paribus.statistics.power import ALPHA

RESULTS = Path(__file__).parent / "results" / "tuning.json"
EXPERIMENT = """
data: {train_size: 9, test_size: 9, validation_size: 9}
matrix: {method: [lora]}
baseline: null
tune:
  space:
    training.learning_rate: {low: 1e-6, high: 1e-3, log: true}
    training.warmup: {low: 0, high: 0.1}
"""
GRID = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4)
BEST = (-5.0, -4.0)
"""Decades between which the best rate lies; another in each experiment."""
LOSS, ACCURACY = 0.5, 0.5
LOSS_STEEP = 0.1
"""Nats per token that a rate off by one decade adds."""
SEED_SPREAD = 0.015
"""Standard deviation of an arm's accuracy among seeds."""
WITHIN = 0.5
"""Correlation of the latent scores of two runs on one problem, of one arm or of both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The truth, and how it is searched.

    Attributes:
        sampler: tpe, random, or grid.
        trials: of each arm.
        sharing: what the trials of the two arms share; see above.
        noise: standard deviation of a trial's loss, in nats per token.
        steep: points of accuracy that a rate off by one decade costs.
        n: test problems.
        seeds: of each arm.
    """

    sampler: str
    trials: int
    sharing: str
    noise: float
    steep: float
    n: int
    seeds: int

    @property
    def kind(self) -> str:
        """What `--only` takes: `tpe-12-streams`, or the beginning of it."""
        return f"{self.sampler}-{self.trials}-{self.sharing}"


def settings() -> Iterator[Setting]:
    """Yield every setting."""
    samplers = (("tpe", 12), ("tpe", 24), ("random", 12), ("grid", 5))
    tests = ((200, 3), (1319, 3), (1319, 5))
    for (sampler, trials), sharing, steep in product(
        samplers, ("streams", "values", "nothing"), (2.0, 20.0)
    ):
        if (sampler, sharing) == ("grid", "nothing"):
            continue  # a grid proposes the same to all
        for n, seeds in tests:
            yield Setting(
                sampler=sampler, trials=trials, sharing=sharing, noise=0.01, steep=steep,
                n=n, seeds=seeds,
            )  # fmt: skip


def tuned(search: Search, setting: Setting, best: float, rng: np.random.Generator) -> float:
    """Return the rate that is chosen, in decades, for one arm whose best rate is `best`."""
    noise = setting.noise * rng.standard_normal(setting.trials)

    def loss(rate: float, number: int) -> float:
        return LOSS + LOSS_STEEP * (math.log10(rate) - best) ** 2 + float(noise[number])

    tried: list[tuple[float, float]] = []
    study = None if setting.sampler == "grid" else Study(search)
    for number in range(setting.trials):
        if study is None:
            tried.append((loss(GRID[number], number), GRID[number]))
        else:
            rate = study.propose().config.training.peak_rate
            tried.append((loss(rate, number), rate))
            study.tell(tried[-1][0])
    return math.log10(min(tried)[1])


def chosen(setting: Setting, search: Search, tunings: int) -> NDArray[np.float64]:
    """Return how far the chosen rates of both arms are from the best one, in decades: [tunings, 2].

    It hangs on the search and the noise alone, so settings of other tests can share it.
    """
    search = replace(search, trials=setting.trials, sampler=setting.sampler)
    far = np.empty((tunings, 2))
    for number in range(tunings):
        best = float(np.random.default_rng(derive(number, "best")).uniform(*BEST))
        for arm in (0, 1):
            noisy = 0 if setting.sharing == "streams" else arm
            drawn = arm if setting.sharing == "nothing" else 0
            template = replace(search.template, seed=derive(number, "search", drawn) % 2**32)
            rng = np.random.default_rng(derive(number, "noise", noisy))
            far[number, arm] = tuned(replace(search, template=template), setting, best, rng) - best
    return far


def solved(
    setting: Setting, far: float, difficulty: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which problems the runs of an arm solve: [seeds, n]."""
    mean = ACCURACY - setting.steep / 100 * far**2
    accuracy = np.clip(mean + SEED_SPREAD * rng.standard_normal(setting.seeds), 0.01, 0.99)
    chance = math.sqrt(1 - WITHIN) * rng.standard_normal((setting.seeds, setting.n))
    return np.asarray(difficulty + chance < norm.ppf(accuracy)[:, None])


def count(setting: Setting, far: NDArray[np.float64]) -> dict[str, Any]:
    """Return how many pairs of arms are called different, and how far apart what was chosen is."""
    different = 0
    for number, distances in enumerate(far):
        rng = np.random.default_rng(derive(number, "runs", setting.n, setting.seeds))
        difficulty = math.sqrt(WITHIN) * rng.standard_normal(setting.n)
        a, b = (solved(setting, float(each), difficulty, rng) for each in distances)
        p_value = estimate([(1.0, components(a)), (-1.0, components(b))]).p_value
        different += p_value is not None and p_value <= ALPHA
    within = share(different, len(far))
    points = setting.steep * np.abs(far[:, 0] ** 2 - far[:, 1] ** 2)
    return {
        **asdict(setting),
        "tunings": len(far),
        "different": different,
        "share": different / len(far),
        "low": within.low,
        "high": within.high,
        "points_apart": float(points.mean()),
    }


def simulate(tunings: int, only: str = "") -> list[dict[str, Any]]:
    """Return a row for each setting of the kinds that begin with `only`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tuned.yaml"
        file.write_text(EXPERIMENT)
        search = expand(load(file)).searches["lora"]
    rows, found = [], dict[tuple[str, int, str, float], NDArray[np.float64]]()
    for setting in (each for each in settings() if each.kind.startswith(only)):
        key = (setting.sampler, setting.trials, setting.sharing, setting.noise)
        if key not in found:
            found[key] = chosen(setting, search, tunings)
        rows.append(count(setting, found[key]))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Simulate all settings and write what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tunings", type=int, default=2000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    rows = {_setting_of(row): row for row in simulate(options.tunings, options.only)}
    known = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    rows = {_setting_of(row): row for row in known} | rows
    content = {
        "versions": {name: version(name) for name in ("numpy", "optuna", "scipy")},
        "python": platform.python_version(),
        "rows": [rows[setting] for setting in settings() if setting in rows],
    }
    write_text(RESULTS, json.dumps(content, indent=1) + "\n")


def _setting_of(row: dict[str, Any]) -> Setting:
    return Setting(**{field.name: row[field.name] for field in fields(Setting)})


if __name__ == "__main__":
    main()
