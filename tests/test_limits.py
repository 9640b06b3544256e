"""Rules about memory and disk: each with facts that fire it and a near miss."""

from dataclasses import replace

import pytest

from facts import ESTIMATE, GPU, facts
from paribus.planning.memory import Parts
from paribus.planning.rules.limits import RULES

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
        "the experiment's weights take 51.0 GB; 50.0 GB of disk are free",
    ),
    "PB063": (
        facts(shape=None, estimate=None),
        facts(),
        "the shape of google/gemma-2b is not known",
    ),
}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.check], ids=lambda rule: rule.id)
def test_each_fires_and_has_a_near_miss(rule):
    fires, near, said = CASES[rule.id]
    assert rule.check(fires) == said
    assert rule.check(near) is None


def test_what_surely_does_not_fit_is_not_only_a_warning():
    over, near = RULES[:2]
    far = facts(device=DEVICE, estimate=needs(100))
    assert over.check(far)
    assert near.check(far) is None


def test_without_a_machine_its_disk_is_not_judged():
    assert RULES[2].check(facts(disk_bytes=51 * GB, machine=None)) is None
