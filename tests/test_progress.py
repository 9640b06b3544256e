"""When a pace, and with it the time left, is told: not before it means something."""

import pytest

from paribus.running.progress import pace

# done, of, seconds, decoded at once, problems a second
TOLD = [
    (0, 100, 0.0, 50, None),
    (1, 100, 28.0, 50, None),  # said "46:12 left" of a test that took 2 minutes
    (49, 100, 60.0, 50, None),
    (50, 100, 60.0, 50, 50 / 60),
    (100, 100, 90.0, 50, 100 / 90),
    (9, 20, 5.0, 50, None),  # all at once: half of them
    (10, 20, 5.0, 50, 2.0),
    (1, 1, 4.0, 32, 0.25),
    (1, 1319, 2.0, 1, 0.5),  # one after the other
]


@pytest.mark.parametrize(("done", "of", "seconds", "at_once", "told"), TOLD)
def test_a_pace_is_told_once_as_many_are_done_as_are_decoded_at_once(
    done, of, seconds, at_once, told
):
    assert pace(done, of, seconds, at_once=at_once) == told
