"""A store of three arms on ten problems, whose runs wrote what a test wants.

describe(folder)                              # arms baseline, full, lora
finish(folder, "full", answers({0, 1}))       # solves the first two of ten
stopped(folder.run("lora", 0))                # resumes from step 2 of 4
"""

from typing import Any

from by_hand import enter, generation
from paribus.records import Generation
from paribus.store import runs
from paribus.store.checkpoints import Pieces, make_room, publish
from paribus.store.experiments import Description, write_description
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.results import RunResult

ARMS = {"baseline": "none", "full": "full", "lora": "lora"}
SPEC = {
    "fingerprint": "f", "identity": {"evaluation": {"also": ["one_shot/raw"]}}, "inputs": {},
    "environment": {},
}  # fmt: skip
"""Of a run that is not complete."""


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
    write_description(folder, Description.model_validate(description))


def finish(
    folder: ExperimentFolder, arm: str, generations: list[Generation], seed: int = 0, **result: Any
) -> None:
    """Complete a run with these generations; `result` adds to its result.json."""
    run = folder.run(arm, seed)
    runs.begin(run, {"fingerprint": "f", "arm": arm, "replicate": seed})
    enter(folder, arm, "zero_shot", seed)
    runs.write_generations(run, "zero_shot", generations)
    runs.finish(
        run,
        RunResult.model_validate(
            {
                "training": None,
                "evaluation": {"protocol": "zero_shot", "problems": len(generations)},
                "data": {"overlap": 0},
                "environment": {"torch": "2.13.0"},
                **result,
            }
        ),
    )


def stopped(run: RunFolder) -> None:
    """A run that was killed after step 3 of 4, with all that may lie about then, and two texts."""
    runs.begin(run, SPEC)
    for step in (1, 2, 3):
        runs.append_event(run, {"event": "step", "step": step, "num_steps": 4})
    new = make_room(run.checkpoints, 2)
    (new / "weights.safetensors").write_bytes(b"w" * 2_000_000)
    publish(new, 2, SPEC, None)
    make_room(run.checkpoints, 3)
    (run.checkpoints / ".damaged-step-000001-x").mkdir()
    pieces = Pieces(folder=run, run=SPEC, on_damaged=print)
    pieces.write("zero_shot-entered", {"problems": 10, "protocol": "zero_shot"})
    pieces.write("zero_shot-000000", {"generations": [1, 2]})
    (run.pieces / "likelihood.damaged").write_text("{")
