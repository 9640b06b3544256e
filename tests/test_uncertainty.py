"""Where an estimate's uncertainty comes from: known truths are found again."""

import numpy as np
import pytest

from by_hand import solved
from paribus.statistics.crossed import components, estimate
from paribus.statistics.verdicts import split


def drawn(rng, *, problems, seeds, cells, n=2000, runs=8):
    """A table whose cells are solved more likely by problem, by seed, and by nothing else."""
    score = (
        problems * rng.standard_normal(n)
        + seeds * rng.standard_normal((runs, 1))
        + cells * rng.standard_normal((runs, n))
    )
    return score < 0


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [
        ({"problems": 1.0, "seeds": 0.0, "cells": 0.2}, "problems"),
        ({"problems": 0.2, "seeds": 0.5, "cells": 1.0}, "seeds"),
        ({"problems": 0.0, "seeds": 0.0, "cells": 1.0}, "cells"),
    ],
)
def test_the_largest_source_is_found(sizes, largest):
    rng = np.random.default_rng(1)
    found = split(estimate([(1.0, components(drawn(rng, **sizes)))]))
    assert found
    assert dict(zip(found.SOURCES, found.shares, strict=True))[largest] > 0.6
    assert sum(found.shares) == pytest.approx(1)


def test_a_difference_by_hand():
    """What `test_crossed` has of these tables: shared, seeds and the chance in their cells."""
    a, b = components(solved("1011", "1001", "1111")), components(solved("0011", "0101"))
    made = estimate([(1.0, a), (-1.0, b)])
    found = split(made)
    assert found
    chance = (2 / 9 + 2 * 44 / 144) / 2 / 3 / 4**2
    assert found.problems == made.shared[0]
    # The seeds of a scatter more than by chance; those of b, which solve two each, not at all.
    assert found.cells == pytest.approx(min(chance, 0.0625 / 3))
    assert found.seeds == pytest.approx(max(0.0, 0.0625 / 3 - chance))
    whole = made.shared[0] + sum(variance for variance, _ in made.seeds)
    assert sum(error**2 for error in found.errors) == pytest.approx(whole)


def test_one_seed_is_not_split():
    one = components(solved("1011"))
    assert split(estimate([(1.0, one)])) is None
    assert split(estimate([(1.0, one), (-1.0, one)])) is None
