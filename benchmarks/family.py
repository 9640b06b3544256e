"""Does one family claim anything false in at most 1 of 20 simulated experiments?

    python benchmarks/family.py                 # everything: about an hour on 2 cores
    python benchmarks/family.py --experiments 200

Each setting has a truth in which some claims are false: all arms alike; tuned arms that gained
nothing but answer format; one factor of a matrix that matters; differences of nought, half a margin
and a margin. Counted is how often anything false is called shown, by a contrast, an effect, a skill
or a margin; and how often each true equivalence is shown beside what `power` promised. Written to
`benchmarks/results/family.json`.
"""

import argparse
import json
import math
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from paribus.seeds import derive
from paribus.statistics.crossed import components, estimate
from paribus.statistics.equivalence import not_worse, opposite
from paribus.statistics.family import Asked, corrected
from paribus.statistics.power import ALPHA
from paribus.statistics.verdicts import compare

RESULTS = Path(__file__).parent / "results" / "family.json"
FORMAT = 0.2
"""Share of the problems that the untuned model solves in another form, in `format`."""
EFFECTS = ((0.5, 0.5, -0.5, -0.5), (0.5, -0.5, 0.5, -0.5), (1.0, -1.0, -1.0, 1.0))

Table = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A truth.

    Attributes:
        kind: null (all alike), format (a gain that is form alone), factor (one of a 2 x 2 matters),
            margin (the first tuned arm is `ahead` of the others).
        arms: tuned ones, beside an untuned one; 4 are a full 2 x 2 matrix.
        n: problems. seeds: of each tuned arm. spread: of their true accuracies.
        margin: as a share; 0: none. ahead: by which the first arm is truly better.
    """

    kind: str
    arms: int
    n: int
    seeds: int
    spread: float = 0.01
    margin: float = 0.0
    ahead: float = 0.0


def settings() -> Iterator[Setting]:
    """Yield every setting."""
    for arms, n, seeds in product((1, 4, 8, 15), (200, 1319), (1, 3)):
        yield Setting(kind="null", arms=arms, n=n, seeds=seeds)
        yield Setting(kind="format", arms=arms, n=n, seeds=seeds)
    for n, seeds in product((200, 1319), (1, 3)):
        yield Setting(kind="factor", arms=4, n=n, seeds=seeds, ahead=0.1)
    for arms, n, seeds, ahead in product((1, 2, 4), (400, 5000), (1, 3), (0.0, 0.015, 0.03)):
        yield Setting(kind="margin", arms=arms, n=n, seeds=seeds, margin=0.03, ahead=ahead)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One experiment: tables [R, n] of tuned arms, of the untuned one, and of its other form."""

    tuned: list[Table]
    untuned: Table
    loosely: Table
    truths: list[float]
    base: float
    base_loosely: float


def draw(setting: Setting, rng: np.random.Generator) -> Drawn:
    """Return one experiment with the setting's truth."""
    accuracy = 0.4
    difficulty = math.sqrt(0.3) * rng.standard_normal(setting.n)

    def arm(truth: float, seeds: int) -> Table:
        own = math.sqrt(0.3) * rng.standard_normal(setting.n)
        chance = math.sqrt(0.4) * rng.standard_normal((seeds, setting.n))
        drawn = np.full(seeds, truth)
        if seeds > 1:
            drawn = np.clip(rng.normal(truth, setting.spread, seeds), 0.001, 0.999)
        return np.asarray(difficulty + own + chance < norm.ppf(drawn)[:, None])

    ahead = {"factor": setting.arms // 2, "margin": 1}.get(setting.kind, 0)
    truths = [accuracy + setting.ahead * (at < ahead) for at in range(setting.arms)]
    loosely = arm(accuracy, 1)
    untuned, base = loosely, accuracy
    if setting.kind == "format":
        base = accuracy - FORMAT
        untuned = loosely & (rng.random(setting.n) < base / accuracy)
    tuned = [arm(truth, setting.seeds) for truth in truths]
    return Drawn(tuned, untuned, loosely, truths, base, accuracy)


def asked(setting: Setting, drawn: Drawn) -> tuple[list[Asked], list[tuple[float, float]]]:
    """Return what is asked of each comparison, and beside it what is true of it.

    That is the difference, and the difference from the untuned model in its other form.
    """
    tables = [*drawn.tuned, drawn.untuned]
    truths = [*drawn.truths, drawn.base]
    last = len(tables) - 1
    family, true = [], []
    for a, b in [(a, last) for a in range(last)] + list(combinations(range(last), 2))[:6]:
        tested = compare(tables[a], tables[b])
        skill = compare(drawn.tuned[a], drawn.loosely).p_value if b == last else None
        gained = tables[a].mean() > tables[b].mean()
        within: tuple[float | None, float | None] = (None, None)
        if setting.margin:
            within = not_worse(tested, tables[a], tables[b], setting.margin)
        family.append(
            Asked(
                differ=tested.p_value,
                within=within,
                beyond=opposite(within),
                asks_margin=setting.margin > 0,
                then=skill if gained else None,
                asks_then=b == last,
            )
        )
        true.append((truths[a] - truths[b], truths[a] - drawn.base_loosely))
    if setting.arms == 4:
        parts = [components(table) for table in drawn.tuned]
        for weights in EFFECTS:
            found = estimate(list(zip(weights, parts, strict=True)))
            family.append(Asked(differ=found.p_value))
            true.append((float(np.dot(weights, drawn.truths)), 1.0))
    return family, true


def false_claims(setting: Setting, told: Asked, true: tuple[float, float]) -> bool:
    """Whether anything false is claimed of one comparison."""
    difference, skill = (0.0 if abs(each) < 1e-12 else each for each in true)
    margin = setting.margin
    claims = [
        (told.differ, difference == 0),
        (told.then, skill == 0),
        *zip(
            told.within, (difference <= -margin + 1e-12, difference >= margin - 1e-12), strict=True
        ),
        *zip(told.beyond, (difference > -margin + 1e-12, difference < margin - 1e-12), strict=True),
    ]
    return any(p is not None and p < ALPHA and false for p, false in claims)


def measure(job: tuple[Setting, int]) -> dict[str, Any]:
    """Simulate one setting and return what came of it."""
    setting, experiments = job
    rng = np.random.default_rng(derive(0, "family", json.dumps(asdict(setting))))
    false = shown = equal = 0
    for _ in range(experiments):
        family, true = asked(setting, draw(setting, rng))
        told = corrected(family)
        false += any(false_claims(setting, *each) for each in zip(told, true, strict=True))
        alike = [each for each, (difference, _) in zip(told, true, strict=True)
                 if each.asks_margin and abs(difference) < 1e-12]  # fmt: skip
        equal += len(alike)
        shown += sum(all(p is not None and p < ALPHA for p in each.within) for each in alike)
    return {
        "setting": asdict(setting),
        "experiments": experiments,
        "false": false / experiments,
        "equivalent": shown / equal if equal else None,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every setting, print it and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--experiments", type=int, default=2000, help="per setting")
    parser.add_argument("--only", help="null, format, factor or margin")
    parser.add_argument("--processes", type=int, help="at once (default: one a core)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    rows = []
    jobs = [(each, options.experiments) for each in settings() if options.only in (None, each.kind)]
    with multiprocessing.Pool(options.processes) as pool:
        for row in pool.imap(measure, jobs):
            rows.append(row)
            print(row["setting"], row["false"], row["equivalent"], flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"highest: {max(row['false'] for row in rows):.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
