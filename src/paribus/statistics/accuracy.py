"""The interval of one arm's accuracy: of a model, over seeds, over groups of problems, or both.

mean_interval(components([[1, 0, 1, 1, ...]]))      # one run: that of a share
"""

import numpy as np

from paribus.statistics.crossed import Components, critical, estimate, too_uncertain
from paribus.statistics.groups import Groups, worth
from paribus.statistics.intervals import Interval, Z, share


def mean_interval(arm: Components, groups: Groups | None = None) -> Interval | None:
    """Return the 95 % interval of an arm's accuracy over seeds, groups of problems, or both.

    E. L. Korn and B. I. Graubard (1998), Survey Methodology 24: 193-201: as if so many problems
    had been tested as give the same standard error. None where `too_uncertain`.
    """
    n = len(arm.problems)
    if arm.seeds == 1 and groups is None:
        return share(round(arm.mean * n, 6), n)  # no whole number where models are averaged
    if too_uncertain([arm], groups):
        return None
    if arm.mean in (0.0, 1.0):
        alone = int(worth(n, groups))
        return share(arm.mean * alone, alone)
    found = estimate([(1.0, arm)], groups)
    effective = arm.mean * (1 - arm.mean) * (Z / critical(found.df) / found.error) ** 2
    return share(arm.mean * effective, effective)


def as_existing(arm: Components) -> Components:
    """Return an arm's runs as models that exist: their mean is asked, no seed is drawn anew."""
    n = len(arm.problems)
    return Components(problems=arm.problems, means=np.array([arm.mean]), cells=np.zeros((1, n)))
