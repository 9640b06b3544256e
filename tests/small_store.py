"""A store of three arms on ten problems, whose runs wrote what a test wants.

describe(folder)                              # arms baseline, full, lora
finish(folder, "full", answers({0, 1}))       # solves the first two of ten
"""

from typing import Any

from by_hand import generation
from paribus.records import Generation
from paribus.store import runs
from paribus.store.experiments import write_description
from paribus.store.layout import ExperimentFolder

ARMS = {"baseline": "none", "full": "full", "lora": "lora"}


def answers(solved: set[int], problems: range = range(10)) -> list[Generation]:
    return [generation(n, f"So.\n#### {7 if n in solved else 8}\n") for n in problems]


def describe(folder: ExperimentFolder, *, seeds: int = 1) -> None:
    """Arms `baseline`, `full`, `lora`; each tuned one against the baseline, then one another."""
    description: dict[str, Any] = {
        "format": 1,
        "config": {"name": "small", "question": "Which?", "hypothesis": "", "seeds": seeds},
        "origins": {"name": "x.yaml:1"},
        "arms": [
            {
                "name": name,
                "factors": {} if method == "none" else {"method": method},
                "identity": {"method": method, "model": "tiny", "seed": 0},
            }
            for name, method in ARMS.items()
        ],
        "contrasts": [
            {"a": "full", "b": "baseline", "factor": "tuning"},
            {"a": "lora", "b": "baseline", "factor": "tuning"},
            {"a": "full", "b": "lora", "factor": "method"},
        ],
    }
    write_description(folder, description)


def finish(
    folder: ExperimentFolder, arm: str, generations: list[Generation], seed: int = 0, **result: Any
) -> None:
    """Complete a run with these generations; `result` adds to its result.json."""
    run = folder.run(arm, seed)
    runs.begin(run, {"fingerprint": "f"})
    runs.write_generations(run, "zero_shot", generations)
    runs.finish(
        run,
        {
            "training": None,
            "evaluation": {"protocol": "zero_shot", "problems": len(generations)},
            "data": {"overlap": 0},
            "environment": {"torch": "2.13.0"},
            **result,
        },
    )
