"""The confidence interval of one arm's accuracy, over problems, groups of problems and seeds.

mean_interval(components([[1, 0, 1, 1, ...]]))      # one run: the interval of a share
"""

import numpy as np

from paribus.statistics.crossed import Components, critical, estimate, too_uncertain
from paribus.statistics.groups import Groups, worth
from paribus.statistics.intervals import Interval, Z, share


def mean_interval(arm: Components, groups: Groups | None = None) -> Interval | None:
    """Return the 95 % interval of an arm's accuracy, or None if `crossed.too_uncertain`.

    With several seeds or with groups it is the interval of a share for an effective number of
    problems, which gives the same standard error: E. L. Korn and B. I. Graubard (1998), Survey
    Methodology 24: 193-201.
    """
    n = len(arm.problems)
    if arm.seeds == 1 and groups is None:
        return share(round(arm.mean * n, 6), n)  # not whole if models were averaged
    if too_uncertain([arm], groups):
        return None
    if arm.mean in (0.0, 1.0):
        independent = int(worth(n, groups))
        return share(arm.mean * independent, independent)
    mean = estimate([(1.0, arm)], groups)
    effective = arm.mean * (1 - arm.mean) * (Z / critical(mean.df) / mean.error) ** 2
    return share(arm.mean * effective, effective)


def as_existing(arm: Components) -> Components:
    """Return the mean of an arm's runs as that of one model: these runs, not a sample of seeds."""
    n = len(arm.problems)
    return Components(problems=arm.problems, means=np.array([arm.mean]), cells=np.zeros((1, n)))
