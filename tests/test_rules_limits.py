"""Rules about memory and disk: each with facts that fire it and a near miss."""

from dataclasses import replace

import pytest

from facts import ESTIMATE, GPU, facts
from paribus.planning.cost.memory import Parts
from paribus.planning.rules.environment import LIMITS, broken_by_peak

GB = 10**9


def needs(gigabytes: float):
    """An estimate whose peak is this."""
    return replace(ESTIMATE, training=Parts(weights=round(gigabytes * GB)), evaluation=Parts())


DEVICE = replace(GPU, memory_bytes=24 * GB)
CASES = {  # id: (fires, near miss, what is said)
    "PB060": (
        facts(device=DEVICE, estimate=needs(26.5)),
        facts(device=DEVICE, estimate=needs(26.3)),
        "needs 26.5 GB at its peak; NVIDIA H100 80GB HBM3 has 24.0 GB",
    ),
    "PB061": (
        facts(device=DEVICE, estimate=needs(21.7)),
        facts(device=DEVICE, estimate=needs(21.5)),
        "needs 21.7 GB at its peak; NVIDIA H100 80GB HBM3 has 24.0 GB",
    ),
    "PB062": (
        facts(disk_bytes=51 * GB, machine={"free_disk_bytes": 50 * GB}),
        facts(disk_bytes=49 * GB, machine={"free_disk_bytes": 50 * GB}),
        "weights and checkpoints still to come take 51.0 GB; 50.0 GB are free",
    ),
    "PB063": (
        facts(shape=None, estimate=None),
        facts(),
        "the shape of google/gemma-2b is not known",
    ),
}


@pytest.mark.parametrize("rule", [rule for rule in LIMITS if rule.check], ids=lambda rule: rule.id)
def test_each_fires_and_has_a_near_miss(rule):
    fires, near, said = CASES[rule.id]
    assert rule.check(fires) == said
    assert rule.check(near) is None


def test_what_surely_does_not_fit_is_not_only_a_warning():
    over, near = LIMITS[:2]
    far = facts(device=DEVICE, estimate=needs(100))
    assert over.check(far)
    assert near.check(far) is None


def test_without_a_machine_its_disk_is_not_judged():
    assert LIMITS[2].check(facts(disk_bytes=51 * GB, machine=None)) is None


def test_an_arm_that_trains_nothing_needs_no_disk():
    full = {"disk_bytes": 51 * GB, "machine": {"free_disk_bytes": 50 * GB}}
    assert LIMITS[2].check(facts(**full))
    assert LIMITS[2].check(facts({"method": "none"}, **full)) is None


def test_small_sizes_are_in_megabytes():
    said = LIMITS[2].check(facts(disk_bytes=7_900_000, machine={"free_disk_bytes": 200_000}))
    assert said == "weights and checkpoints still to come take 7.9 MB; 0.2 MB are free"


@pytest.mark.parametrize(
    ("peak", "id", "said"),
    [
        (21_500_000_000, None, None),
        (21_700_000_000, "PB061", "needs 21.7 GB at its peak, as measured; "),
        (24_100_000_000, "PB060", "needs 24.1 GB at its peak, as measured; "),
        (None, "PB060", "its probe ran out of memory; "),
    ],
)
def test_a_measured_peak_may_not_be_wrong_by_a_tenth(peak, id, said):
    found = broken_by_peak(peak, DEVICE)
    if id is None:
        assert found is None
    else:
        assert (found[0].id, found[1]) == (id, said + "NVIDIA H100 80GB HBM3 has 24.0 GB")
