"""A small experiment in a store, whose runs are finished by hand.

describe(folder, seeds=2)
finish(folder, "full-main", 8, seed=1)     # solves 8 of 10 problems
"""

from by_hand import enter
from paribus.records import Generation, Stop
from paribus.store import runs
from paribus.store.experiments import Description, write_description
from paribus.store.layout import ExperimentFolder
from paribus.store.results import RunResult

ARMS = {"baseline": "none", "full-main": "full", "lora-main": "lora"}


def training(loss: float) -> dict[str, object]:
    return {
        "steps": 16,
        "examples": 128,
        "target_tokens": 9_000,
        "seconds": 61.0,
        "examples_per_second": 2.1,
        "target_tokens_per_second": 150.2,
        "peak_memory_bytes": 4 * 10**9,
        "first_loss": 2.3,
        "final_loss": loss,
        "trainable_parameters": 3_796_992,
        "total_parameters": 271_895_168,
        "dropped_too_long": 0,
    }


def describe(folder: ExperimentFolder, *, seeds: int = 1, question: str = "Full or LoRA?") -> None:
    write_description(
        folder,
        Description.model_validate(
            {
                "format": 1,
                "config": {
                    "name": "small",
                    "question": question,
                    "hypothesis": "Full wins.",
                    "seeds": seeds,
                    "training": {"learning_rate": 1e-5, "epochs": 1.0},
                },
                "origins": {"name": "x.yaml:1", "training": "configs/base.yaml:12"},
                "arms": [
                    {"name": name, "factors": {"method": method}, "identity": {"method": method}}
                    for name, method in ARMS.items()
                ],
                "contrasts": [
                    {"a": "full-main", "b": "baseline", "factor": "tuning"},
                    {"a": "full-main", "b": "lora-main", "factor": "method"},
                ],
            }
        ),
    )


def finish(
    folder: ExperimentFolder, arm: str, solved: int, *, n: int = 10, seed: int = 0, text: str = ""
) -> None:
    """Complete a run that solves the first `solved` of `n` problems; the others write `text`."""
    run, trained = folder.run(arm, seed), arm != "baseline"
    runs.begin(run, {"fingerprint": "f", "arm": arm, "replicate": seed})
    enter(folder, arm, "one_shot", seed)
    for step in range(1, 17) if trained else ():
        event = {"event": "step", "step": step, "loss": 2 / step, "target_tokens": 10}
        runs.append_event(run, event)
    generations = [
        Generation(
            problem_id=f"{number:016x}",
            question=f"How many? {text}",
            answer="7",
            prompt_sha256="0" * 64,
            text="#### 7\n" if number < solved else text or "#### 8\n",
            num_tokens=5,
            stop=Stop.STOP_TOKEN,
        )
        for number in range(n)
    ]
    runs.write_generations(run, "one_shot", generations)
    result = {
        "training": training(0.4) if trained else None,
        "evaluation": {"protocol": "one_shot", "problems": n, "seconds": 24.0},
        "data": {"train_problems": 128, "test_problems": n, "overlap": 0},
        "precision": {"compute": "bf16", "trainable": "fp32"},
        "weights_note": "dequantised from q4_k_m: not Google's original weights",
        "environment": {"torch": "2.13.0", "machine": "2 cores"},
    }
    runs.finish(run, RunResult.model_validate(result))


def complete(folder: ExperimentFolder) -> ExperimentFolder:
    finish(folder, "baseline", 1)
    finish(folder, "full-main", 8)
    finish(folder, "lora-main", 6)
    return folder
