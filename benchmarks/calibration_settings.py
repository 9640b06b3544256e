"""The settings that `calibration.py` simulates: experiments whose true accuracies are known.

    setting = Setting(kind="methods", accuracy=0.31, n=200, seeds=3, spread=0.01)
    simulate(setting, np.random.default_rng(0))         # [R, n] of each of four arms, [1, n]

An experiment has four tuned arms in a 2 x 2 matrix and an untuned arm. A run solves a problem if a
latent normal score is below the quantile of the run's accuracy. Part of the score is shared by all
arms, part by the seeds of an arm.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The true parameters of a simulated experiment.

    Attributes:
        kind: models (one seed), methods (several), groups, power, agreeing (arms that solve the
            same problems but for a few), unequal (groups of unequal size) or paired (seeds). Two
            kinds violate an assumption of every method: undeclared (groups that the analysis does
            not know) and diverged (seeds).
        accuracy: of every arm, as a share.
        n: number of problems.
        seeds: number of seeds of each tuned arm.
        spread: standard deviation of an arm's true accuracy among its seeds, as a share.
        across: correlation of the latent scores of two arms.
        within: correlation of the latent scores of two seeds of an arm.
        group: mean number of problems in a group; 1 means no groups.
        together: correlation of the latent scores of two problems of a group.
        sizes: standard deviation of the logarithm of the groups' sizes.
        alike: correlation of the effects of seeds of the same number in two arms, if paired.
        diverging: probability that a seed solves only a tenth of what it would solve otherwise.
        difference: how much higher the accuracy of the first arm is, as a share.
        bootstrap: whether to measure also the crossed percentile bootstrap, which paribus does
            not use.
        uneven: whether the spread of two of the four arms is about a sixth of the others'.
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
    sizes: float = 0.0
    alike: float = 0.0
    diverging: float = 0.0
    difference: float = 0.0
    bootstrap: bool = False
    uneven: bool = False


def settings() -> Iterator[Setting]:
    """Yield every setting, roughly from common to rare."""
    accuracies, sizes = (0.02, 0.05, 0.1, 0.31, 0.6, 0.95), (50, 200, 1319)
    for accuracy, n, across in product(accuracies, sizes, (0.0, 0.3, 0.6)):
        yield Setting(kind="models", accuracy=accuracy, n=n, across=across, within=0.8)
    for accuracy, n, seeds, spread, (across, within) in product(
        accuracies, sizes, (2, 3, 5), (0.0, 0.005, 0.01, 0.03), ((0.3, 0.5), (0.6, 0.8))
    ):
        if seeds == 2 and accuracy != 0.31 or across == 0.6 and n != 1319:
            continue  # two seeds get no interval; one accuracy is enough to show it
        # Accuracies stay three spreads away from 0 and 1: no arm at 2 % varies by 3 points.
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
    yield from rarer_settings()


def rarer_settings() -> Iterator[Setting]:
    """Yield rarer settings: high agreement, unequal groups, paired seeds, violated assumptions."""
    # The first arm solves 1, 3 or 6 problems more than the others; seeds agree almost always.
    for accuracy, n, more, seeds, within in product(
        (0.03, 0.5, 0.96), (30, 100, 1319), (1, 3, 6), (3, 5), (0.999, 0.97)
    ):
        if accuracy + more / n < 0.999:
            yield Setting(
                kind="agreeing", accuracy=accuracy, n=n, seeds=seeds, across=within - 0.0005,
                within=within, difference=more / n,
            )  # fmt: skip
    for accuracy, (n, group, sizes), together, seeds in product(
        (0.1, 0.31, 0.8), ((300, 5, 1.0), (1319, 13, 1.0), (1319, 22, 0.7)), (0.1, 0.5), (1, 3)
    ):
        yield Setting(
            kind="unequal", accuracy=accuracy, n=n, seeds=seeds, spread=0.01 * (seeds > 1),
            group=group, together=together, sizes=sizes,
        )  # fmt: skip
    for alike, n, seeds, spread in product((0.0, 0.5, 0.9), (200, 1319), (3, 5), (0.01, 0.03)):
        yield Setting(kind="paired", accuracy=0.31, n=n, seeds=seeds, spread=spread, alike=alike)
    for n, (group, together), seeds in product((200, 1320), ((2, 0.99), (4, 0.6)), (1, 3)):
        yield Setting(
            kind="undeclared", accuracy=0.31, n=n, seeds=seeds, spread=0.01 * (seeds > 1),
            group=group, together=together,
        )  # fmt: skip
    for accuracy, n, diverging in product((0.31, 0.6), (200, 1319), (0.1, 1 / 3)):
        yield Setting(
            kind="diverged", accuracy=accuracy, n=n, seeds=3, spread=0.01, diverging=diverging
        )


def simulate(setting: Setting, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Return outcomes: [seeds, n] of each of the four tuned arms, then [1, n] of the untuned."""
    groups = groups_of(setting)
    difficulty = _scores(setting, groups, rng)
    arms = []
    of_seeds = rng.standard_normal(setting.seeds)
    for arm in range(5):
        accuracies = accuracies_of(setting, arm, of_seeds, rng)
        seeds = len(accuracies)
        latent = math.sqrt(setting.across) * difficulty
        own = _scores(setting, groups, rng)
        latent = latent + math.sqrt(setting.within - setting.across) * own
        chance = math.sqrt(1 - setting.within) * rng.standard_normal((seeds, setting.n))
        arms.append(latent + chance < norm.ppf(accuracies)[:, None])
    return arms


def _scores(
    setting: Setting, groups: NDArray[np.intp] | None, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return [n] standard normal scores, correlated within groups by `setting.together`."""
    scores: NDArray[np.float64] = rng.standard_normal(setting.n)
    if groups is not None:
        shared = rng.standard_normal(groups.max() + 1)[groups]
        scores = math.sqrt(1 - setting.together) * scores + math.sqrt(setting.together) * shared
    return scores


def groups_of(setting: Setting) -> NDArray[np.intp] | None:
    """Return [n] group numbers, or None without groups."""
    if setting.group == 1:
        return None
    count = setting.n // setting.group
    wanted = np.exp(setting.sizes * norm.ppf((np.arange(count) + 0.5) / count))
    ends = np.round(np.cumsum(wanted) / wanted.sum() * setting.n)
    return np.searchsorted(ends, np.arange(setting.n), side="right")


def accuracies_of(
    setting: Setting, arm: int, of_seeds: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return [seeds] true accuracies of an arm's seeds; [1] for arm 4, which is untuned.

    `of_seeds` [seeds] holds what the seeds of all arms have in common, in kind `paired`.
    """
    if arm == 4:
        return np.full(1, truth_of(setting, arm))
    accuracy = setting.accuracy + (setting.difference if arm == 0 else 0.0)
    if setting.kind == "paired":
        own = rng.standard_normal(setting.seeds)
        scatter = math.sqrt(setting.alike) * of_seeds + math.sqrt(1 - setting.alike) * own
        return accuracy + setting.spread * scatter
    accuracies = np.full(setting.seeds, accuracy)
    if setting.spread and setting.seeds > 1:
        size = accuracy * (1 - accuracy) / setting.spread**2 - 1
        if setting.uneven and arm % 3:
            size = 36 * (size + 1) - 1
        accuracies = rng.beta(accuracy * size, (1 - accuracy) * size, setting.seeds)
    lost = rng.random(setting.seeds) < setting.diverging
    return np.where(lost, accuracies / 10, accuracies)


def truth_of(setting: Setting, arm: int) -> float:
    """Return the true accuracy of an arm, averaged over seeds."""
    accuracy = setting.accuracy + (setting.difference if arm == 0 else 0.0)
    return accuracy * (1 - 0.9 * setting.diverging)
