"""Make the store of an experiment of many runs, without a model: what reports are measured on.

    python benchmarks/scale_store.py runs --runs 1000 --problems 1319               # 4 arms
    python benchmarks/scale_store.py runs --runs 1000 --problems 1319 --many-arms   # 40 arms

Every file is written by the package's own writers, so that `paribus verify` finds what it finds in
a store of real runs. The problems are generated ones of two to five steps, about as long as
GSM8K's. A text is the gold solution in other words; a wrong one has a wrong step, or no end.
"""

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from paribus.config.load import load
from paribus.config.spec import RunSpec
from paribus.data.problems import hash_of_tests
from paribus.data.wordproblems import generate_problems
from paribus.design.matrix import Design, expand
from paribus.evaluation.mistakes import annotated_steps
from paribus.files import json_line, write_text
from paribus.records import Generation, Likelihood, Problem, Stop
from paribus.running.describing import description
from paribus.seeds import derive
from paribus.store.experiments import write_description
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import TestRead, append_read
from paribus.store.results import LIKELIHOOD, RunResult
from paribus.store.runs import begin, finish, write_generations, write_heldout

NAME = "scale"
FEW_ARMS = """\
method: [full, lora]
data.variant: [main, socratic]"""
MANY_ARMS = """\
lora.r: [1, 2, 4, 8, 16, 32, 48, 64, 96, 128]
training.learning_rate: [5.0e-5, 1.0e-4, 2.0e-4, 4.0e-4]"""
STEPS = 467
"""Optimizer steps of a run: an epoch over GSM8K's 7,473 problems, 16 at a time."""
SOLVES = 0.25, 0.45
"""The shares of the problems that the worst and the best arm solve, in the mean over seeds."""
_OPENINGS = ("", "So ", "Now ", "Then ", "We see that ", "Therefore ", "First of all, ", "Next, ")
_ENVIRONMENT = {"torch": "2.13.0", "python": "3.11.9", "device": "cuda", "machine": "made up"}


def make_store(
    root: Path, *, runs: int, problems: int, many_arms: bool = False
) -> ExperimentFolder:
    """Write an experiment of `runs` runs, and its baseline's, into `root`.

    Args:
        root: a folder of runs; the experiment is `scale` in it.
        runs: rounded up to as many seeds as all arms have.
        problems: of the test split, 1 to 100,000.
        many_arms: 40 arms, all alike but for rank and learning rate, in place of 4.
    """
    arms = 40 if many_arms else 4
    design = _described(root, seeds=-(-runs // arms), many_arms=many_arms)
    folder = ExperimentFolder(root / NAME)
    _, tests = generate_problems(
        seed=0, train_size=1, test_size=problems, variant="main", steps=(2, 5), max_number=60
    )
    names = [arm.name for arm in design.arms]
    for spec in design.runs:
        _complete(folder, spec, tests, names.index(spec.arm) / len(names))
    return folder


def _described(root: Path, *, seeds: int, many_arms: bool) -> Design:
    """Write the experiment's description, and return its design."""
    matrix = (MANY_ARMS if many_arms else FEW_ARMS).replace("\n", "\n  ")
    method = "method: lora\n" if many_arms else ""
    text = (
        f"name: {NAME}\nquestion: Which arm is best?\nmodel: gemma-3-270m\ntask: gsm8k\n{method}"
        f"seeds: {seeds}\nbaseline:\n  protocol: one_shot\nmatrix:\n  {matrix}\n"
    )
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / f"{NAME}.yaml"
        file.write_text(text, encoding="utf-8")
        loaded = load(file)
        design = expand(loaded)
        write_description(ExperimentFolder(root / NAME), description(loaded, design))
    return design


def _complete(
    folder: ExperimentFolder, spec: RunSpec, tests: Sequence[Problem], rank: float
) -> None:
    """Store a complete run of `tests`; its arm solves the more of them the higher its `rank`."""
    run, protocol = folder.of(spec), f"{spec.config.evaluation.protocol}/raw"
    chance = random.Random(derive(spec.seed, spec.arm, spec.replicate))
    solves = SOLVES[0] + (SOLVES[1] - SOLVES[0]) * rank + chance.gauss(0, 0.01)
    tests_sha256 = hash_of_tests(tests)
    begin(run, _spec_record(spec, tests_sha256))
    for reading in (protocol, LIKELIHOOD):
        append_read(folder.ledger, _read(spec, reading, len(tests), tests_sha256))
    trains = spec.config.method != "none"
    if trains:
        write_text(run.events, "".join(map(json_line, _steps(chance))))
    texts = [_generation(problem, solves, chance) for problem in tests]
    write_generations(run, protocol, texts)
    write_heldout(
        run,
        [
            Likelihood(
                problem_id=each.id, nll=chance.uniform(20, 90), tokens=chance.randint(60, 180)
            )
            for each in tests
        ],
    )
    finish(run, _result(protocol, texts, trains=trains))


def _spec_record(spec: RunSpec, tests_sha256: str) -> dict[str, Any]:
    return {
        "format": 3,
        "fingerprint": spec.fingerprint,
        "arm": spec.arm,
        "replicate": spec.replicate,
        "identity": spec.identity(),
        "inputs": {"test_sha256": tests_sha256},
        "environment": _ENVIRONMENT,
    }


def _read(spec: RunSpec, protocol: str, problems: int, tests_sha256: str) -> TestRead:
    return TestRead(
        time="2026-01-31T12:00:00+00:00",
        arm=spec.arm,
        seed=spec.replicate,
        protocol=protocol,
        problems=problems,
        test_sha256=tests_sha256,
        fingerprint=spec.fingerprint,
    )


def _steps(chance: random.Random) -> Iterator[dict[str, Any]]:
    """The events of a training, as `training.train.event` has them."""
    for step in range(1, STEPS + 1):
        yield {
            "event": "step", "step": step, "num_steps": STEPS,
            "loss": 0.4 + 2 / step + chance.uniform(0, 0.1), "grad_norm": chance.uniform(0.5, 2),
            "learning_rate": 2e-4 * (1 - step / STEPS), "seconds": chance.uniform(0.2, 0.3),
            "examples": 16, "target_tokens": 2_000, "tokens": 3_500,
            "examples_per_second": 60.0, "tokens_per_second": 14_000.0,
            "peak_memory_bytes": 9_000_000_000,
        }  # fmt: skip


def _generation(problem: Problem, solves: float, chance: random.Random) -> Generation:
    """What a model wrote: the gold solution in other words, or something wrong."""
    lines = problem.solution.split("\n")
    body = [chance.choice(_OPENINGS) + line for line in lines[:-1]]
    text, stop = "\n".join([*body, lines[-1], ""]), Stop.STOP_TOKEN
    if chance.random() > solves:
        text, stop = _wrong(problem, body, chance)
    return Generation.of(
        problem, text=text, stop=stop, num_tokens=len(text) // 3, prompt_sha256=problem.id * 4
    )


def _wrong(problem: Problem, body: list[str], chance: random.Random) -> tuple[str, Stop]:
    """Return a wrong text and why it ended, of the kinds that small models write."""
    kind, slip = chance.random(), chance.randint(1, 9)
    step = chance.choice(annotated_steps(problem.solution))
    if kind < 0.04:
        return "\n".join([*body, *[body[-1]] * 20]), Stop.LENGTH
    if kind < 0.08:
        return "\n".join(body), Stop.STOP_TOKEN
    if kind < 0.3:  # stopped early
        return "\n".join([*body[:-1], f"#### {step.result}", ""]), Stop.STOP_TOKEN
    missed = str(int(step.result) + slip)
    text = "\n".join(body).replace(f"={step.result}>>{step.result}", f"={missed}>>{missed}")
    return f"{text}\n#### {int(problem.answer) + slip}\n", Stop.STOP_TOKEN


def _result(protocol: str, texts: Sequence[Generation], *, trains: bool) -> RunResult:
    tokens, n = sum(text.num_tokens for text in texts), len(texts)
    training = {
        "steps": STEPS, "examples": 7_473, "seconds": 124.5, "examples_per_second": 60.0,
        "tokens_per_second": 14_000.0, "target_tokens_per_second": 7_500.0,
        "target_tokens": 934_000, "first_loss": 2.4, "final_loss": 0.45,
        "peak_memory_bytes": 9_000_000_000, "trainable_parameters": 3_796_992,
        "total_parameters": 271_895_168, "train_examples": 7_473, "dropped_too_long": 0,
    }  # fmt: skip
    return RunResult.model_validate(
        {
            "training": training if trains else None,
            "evaluation": {
                "protocol": protocol, "problems": n, "seconds": 60.0, "problems_per_second": n / 60,
                "generated_tokens": tokens, "peak_memory_bytes": 9_000_000_000,
            },
            "heldout": {
                "variant": "main", "problems": n, "tokens": 120 * n, "undefined": 0,
                "nll_per_token": 0.45, "nll_per_problem": 55.0, "seconds": 5.0,
            },
            "data": {"train_problems": 7_473, "test_problems": n, "overlap": 0},
            "precision": {"compute": "bf16", "trainable": "fp32", "frozen": "none"},
            "weights_note": "",
            "environment": _ENVIRONMENT,
        }
    )  # fmt: skip


def main() -> int:
    """Make a store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="folder of runs")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--problems", type=int, default=1319)
    parser.add_argument("--many-arms", action="store_true", help="40 arms in place of 4")
    options = parser.parse_args()
    made = make_store(
        options.root, runs=options.runs, problems=options.problems, many_arms=options.many_arms
    )
    print(made.path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
