"""Experiments of `by_hand` whose runs cost something: memory, time, loss.

pair("1100", "1000", (4, 1, 0.5), (1, 2, 0.4))     # GB, examples/s, loss of `full` and `lora`
"""

from dataclasses import replace
from typing import Any

from by_hand import result, tables
from paribus.analysis.findings import Analysis, conclude
from paribus.analysis.tables import Tables

GB = 10**9


def cost(gb: float, speed: float, loss: float, **environment: str) -> dict[str, Any]:
    """What a tuned run cost and lost."""
    return {
        "training": {
            "steps": 2,
            "final_loss": loss,
            "target_tokens": 1000,
            "examples": 10,
            "examples_per_second": speed,
            "peak_memory_bytes": round(gb * GB),
        },
        "environment": {"torch": "2.13.0", "machine": "2 cores"} | environment,
    }


UNTUNED = {"training": None, "environment": {"torch": "2.13.0", "machine": "2 cores"}}


def measured(made: Tables, results: dict[str, dict[str, Any]]) -> Tables:
    """`made` with these results, arm by arm; methods and protocols as in a store."""
    runs = tuple(
        replace(each, result=result(**results[each.arm])) if each.complete else each
        for each in made.runs
    )
    return replace(made, runs=runs)


def pair(a: str, b: str, costs_a=(4, 1, 0.5), costs_b=(4, 1, 0.4), **environment: str) -> Analysis:
    """Two tuned arms, solved as in `a` and `b`; costs are GB, examples/s and loss."""
    made = tables({"full": [a], "lora": [b]}, [("full", "lora")])
    results = {"full": cost(*costs_a), "lora": cost(*costs_b, **environment)}
    return conclude(measured(made, results))
