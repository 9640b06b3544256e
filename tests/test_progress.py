"""When a pace, and with it the time left, is told: not before it means something."""

import random
from collections.abc import Iterator

import pytest

from paribus.running.progress import Pace

# reports of problems done so far and seconds, of how many, decoded at once, problems a second
REPORTS = [
    ([(0, 0), (1, 24.2)], 1319, 32, None),  # said "8:51:29 left" of a test that took 3 minutes
    ([(0, 0), (1, 28), (49, 60)], 100, 50, None),
    ([(0, 0), (1, 28), (50, 60)], 100, 50, 49 / 32),  # half of all, and all that is known
    ([(0, 0), (1, 28), (50, 60), (80, 70)], 100, 50, 3.0),
    ([(0, 0), (1, 28), (50, 60), (100, 90)], 100, 50, 50 / 30),
    ([(0, 0), (1, 8), (9, 10)], 20, 50, None),  # all at once: half of them
    ([(0, 0), (1, 8), (10, 11)], 20, 50, 3.0),
    ([(0, 0), (1, 4)], 1, 32, None),
    ([(0, 0), (1, 30)], 1319, 1, None),  # one after the other: the first waits for compilers
    ([(0, 0), (1, 30), (2, 32)], 1319, 1, 0.5),
    ([(0, 0), (256, 40)], 1319, 256, None),  # vLLM tells of rounds
    ([(0, 0), (256, 40), (400, 52)], 1319, 256, 12.0),
    ([(0, 3)], 0, 32, None),
]


@pytest.mark.parametrize(("reports", "of", "at_once", "told"), REPORTS)
def test_a_pace_is_told_once_it_rests_on_problems_that_followed_the_first(
    reports, of, at_once, told
):
    assert rates(reports, of, at_once)[-1] == told


def rates(reports, of: int, at_once: int) -> list[float | None]:
    pace, before, told = Pace(at_once=at_once), (0, 0.0), []
    for done, seconds in reports:
        told.append(pace.rate(done - before[0], seconds - before[1], of - done))
        before = done, seconds
    return told


def decoded(of: int, at_once: int, warm_up: float, piece: int) -> Iterator[tuple[int, float]]:
    """Problems done and seconds, as the engine tells: places are filled as soon as they are free,
    and each piece of the problems runs empty. A step takes 0.1 seconds."""
    draw = random.Random(0)
    done, seconds = 0, warm_up
    for start in range(0, of, piece):
        waiting = [draw.randrange(40, 257) for _ in range(min(piece, of - start))]
        rows: list[int] = []
        yield done, seconds
        while waiting or rows:
            rows += [waiting.pop() for _ in range(min(len(waiting), at_once - len(rows)))]
            rows, stopped = [left - 1 for left in rows if left > 1], rows.count(1)
            seconds += 0.1
            done += stopped
            if stopped:
                yield done, seconds


@pytest.mark.parametrize("warm_up", [0.0, 24.0, 120.0])
@pytest.mark.parametrize(
    ("of", "at_once"), [(1319, 1), (1319, 8), (1319, 32), (1319, 128), (1319, 256), (500, 250)]
)
def test_no_time_left_that_is_told_is_far_from_the_truth(of, at_once, warm_up):
    reports = list(decoded(of, at_once, warm_up, 16 * at_once))
    end = reports[-1][1]
    told = [
        ((of - done) / rate, end - seconds)
        for (done, seconds), rate in zip(reports, rates(reports, of, at_once), strict=True)
        if rate
    ]
    assert len(told) > len(reports) / 3
    for said, true in told:
        assert true / 2 < said < true * 2 or abs(said - true) < 30
