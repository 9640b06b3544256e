"""Stores on disk, made through paribus's own writers: the helper that tests share.

describe(folder)                              # arms baseline, full, lora
finish(folder, "full", answers({0, 1}))       # solves the first two of ten
complete_run(folder.run("full", 1))           # no texts, and not in the ledger
failed(folder.run("lora", 1), "out of memory")
stopped(folder.run("lora", 0))                # resumes from step 2 of 4

trained(folder)                               # three complete runs with losses and costs
reported(folder, {"full": "full"}, 2, lambda arm, number: number == 1, lambda *_: "So:")
real(folder, tiny)                            # a tuned experiment, and a run that was killed
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from by_hand import generation
from inside import paribus
from interrupted import run_until, spec_of
from paribus.config.load import load
from paribus.design.matrix import Design, expand
from paribus.records import Generation
from paribus.report.page import write_report
from paribus.running.describing import description
from paribus.store import runs
from paribus.store.checkpoints import Pieces, make_room, publish
from paribus.store.experiments import Description, write_description
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import TestRead, append_read
from paribus.store.results import RunResult

ARMS = {"baseline": "none", "full": "full", "lora": "lora"}
TRAINED = {"baseline": "none", "full-main": "full", "lora-main": "lora"}
EVIL = "</script><!--<script><img src=x onerror=\"document.title='owned'\"><svg/onload=alert(2)>"
SPEC = {
    "fingerprint": "f", "identity": {"evaluation": {"also": ["one_shot/raw"]}}, "inputs": {},
    "environment": {},
}  # fmt: skip
"""Of a run that is not complete."""


def describe(
    folder: ExperimentFolder,
    arms: Mapping[str, str] = ARMS,
    contrasts: Sequence[tuple[str, str, str]] | None = None,
    *,
    origins: Mapping[str, str] = {"name": "x.yaml:1"},  # noqa: B006
    identity: Mapping[str, Any] = {},  # noqa: B006
    task: Mapping[str, Any] | None = None,
    **config: Any,
) -> None:
    """Describe an experiment of `arms`, name to method; `identity` adds to that of each.

    `task` is the record of the arms' own task.

    Without `contrasts` each tuned arm is compared with `baseline`, then the two with each other.
    """
    if contrasts is None:
        contrasts = [
            ("full", "baseline", "tuning"),
            ("lora", "baseline", "tuning"),
            ("full", "lora", "method"),
        ]
    content: dict[str, Any] = {
        "format": 1,
        "config": {"name": "small", "question": "Which?", "hypothesis": "", "seeds": 1, **config},
        "origins": dict(origins),
        "arms": [
            {
                "name": name,
                "factors": {} if method == "none" else {"method": method},
                "identity": {"method": method, "model": "tiny", "seed": 0, **identity},
                **({"task": dict(task)} if task else {}),
            }
            for name, method in arms.items()
        ],
        "contrasts": [{"a": a, "b": b, "factor": factor} for a, b, factor in contrasts],
    }
    write_description(folder, Description.model_validate(content))


def describe_file(path: Path, values: Sequence[str] = ()) -> Design:
    """Describe the experiment of a file, as `paribus run` does, in runs/small."""
    loaded = load(path, values)
    design = expand(loaded)
    write_description(ExperimentFolder(Path("runs/small")), description(loaded, design))
    return design


def complete_run(
    run: RunFolder,
    generations: Sequence[Generation] = (),
    protocol: str = "zero_shot",
    *,
    spec: dict[str, Any] | None = None,
    losses: Sequence[float] = (),
    **result: Any,
) -> RunFolder:
    """Complete a run that is not in the ledger; `result` adds to its result.json. Return `run`."""
    runs.begin(run, spec or {"fingerprint": "f", "arm": run.arm, "replicate": run.replicate})
    for step, loss in enumerate(losses, 1):
        event = {"event": "step", "step": step, "loss": loss, "target_tokens": 10}
        runs.append_event(run, event)
    runs.write_generations(run, protocol, generations)
    parts: dict[str, Any] = {
        "training": None,
        "evaluation": {"protocol": protocol, "problems": len(generations)},
        "data": {"overlap": 0},
        "environment": {"torch": "2.13.0"},
    }
    runs.finish(run, RunResult.model_validate({**parts, **result}))
    return run


def finish(
    folder: ExperimentFolder,
    arm: str,
    generations: Sequence[Generation],
    seed: int = 0,
    *,
    protocol: str = "zero_shot",
    losses: Sequence[float] = (),
    **result: Any,
) -> None:
    """Complete a run with these generations, on record; `result` adds to its result.json."""
    enter(folder, arm, protocol, seed)
    complete_run(folder.run(arm, seed), generations, protocol, losses=losses, **result)


def read(arm: str, protocol: str, seed: int = 0) -> TestRead:
    """A reading of ten test problems."""
    return TestRead(
        time="2026-01-31T12:00:00+00:00",
        arm=arm,
        seed=seed,
        protocol=protocol,
        problems=10,
        test_sha256="a",
        fingerprint="f",
    )


def enter(folder: ExperimentFolder, arm: str, protocol: str, seed: int = 0) -> None:
    """Write into the ledger that a run read the test split."""
    append_read(folder.ledger, read(arm, protocol, seed))


def answers(solved: set[int], problems: range = range(10)) -> list[Generation]:
    return [generation(n, f"So.\n#### {7 if n in solved else 8}\n") for n in problems]


def failed(run: RunFolder, error: str, traceback: str = "Traceback …") -> None:
    """A run that failed."""
    runs.begin(run, SPEC)
    runs.fail(run, error, traceback)


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


def describe_trained(
    folder: ExperimentFolder, *, seeds: int = 1, question: str = "Full or LoRA?"
) -> None:
    """Arms `TRAINED`, of which `finish_trained` completes runs."""
    describe(
        folder,
        TRAINED,
        [("full-main", "baseline", "tuning"), ("full-main", "lora-main", "method")],
        origins={"name": "x.yaml:1", "training": "configs/base.yaml:12"},
        question=question,
        hypothesis="Full wins.",
        seeds=seeds,
        training={"learning_rate": 1e-5, "epochs": 1.0},
    )


def finish_trained(
    folder: ExperimentFolder, arm: str, solved: int, *, n: int = 10, seed: int = 0, text: str = ""
) -> None:
    """Complete a run that solves the first `solved` of `n` problems; the others write `text`."""
    texts = ["#### 7\n"] * solved + [text or "#### 8\n"] * (n - solved)
    generations = [
        replace(generation(number, each, "stop_token"), question=f"How many? {text}")
        for number, each in enumerate(texts[:n])
    ]
    trains = arm != "baseline"
    finish(
        folder,
        arm,
        generations,
        seed,
        protocol="one_shot",
        losses=[2 / step for step in range(1, 17)] if trains else (),
        training=training(0.4) if trains else None,
        evaluation={"protocol": "one_shot", "problems": n, "seconds": 24.0},
        data={"train_problems": 128, "test_problems": n, "overlap": 0},
        precision={"compute": "bf16", "trainable": "fp32"},
        weights_note="dequantised from q4_k_m: not Google's original weights",
        environment={"torch": "2.13.0", "machine": "2 cores"},
    )


def training(loss: float) -> dict[str, object]:
    """What a training of 16 steps measured."""
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


def complete(folder: ExperimentFolder) -> ExperimentFolder:
    """Complete one run of each of `TRAINED`."""
    for arm, solved in {"baseline": 1, "full-main": 8, "lora-main": 6}.items():
        finish_trained(folder, arm, solved)
    return folder


def reported(
    folder: ExperimentFolder,
    arms: dict[str, str],
    n: int,
    solved: Callable[[str, int], bool],
    written: Callable[[str, int], str],
) -> Path:
    """Store a run of each of `arms` on `n` problems; return its report's path.

    Each writes `written`, and the right answer behind it where it has `solved` the problem.
    """
    contrasts = [("full", arm, "method") for arm in arms if arm != "full"]
    describe(folder, arms, contrasts, origins={}, name="flips", training={})
    for arm in arms:
        generations = [
            replace(
                generation(number, written(arm, number) + end, stop, "pens"),
                question=f"Question {number}: how many? {EVIL if number == 2 else ''}",
                solution=f"7*1=<<7*1=7>>7\n#### 7 {EVIL if number == 2 else ''}",
            )
            for number in range(n)
            for end, stop in [("\n#### 7", "answer") if solved(arm, number) else ("", "stop_token")]
        ]
        evaluation = {"protocol": "one_shot", "problems": n, "seconds": 1.0}
        finish(folder, arm, generations, protocol="one_shot", evaluation=evaluation)
    return write_report(folder)


EXPERIMENT = {
    "question": "Which?",
    "data": {"train_size": 8, "test_size": 4, "validation_size": 3,
             "max_steps": 1},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 3, "also": ["one_shot/raw"]},
    "matrix": {"method": ["lora"]},
    "tune": {"learning_rates": {"lora": [1e-3, 1e-2]}},
}  # fmt: skip
MOMENT = 8 + 1 + 18
"""Report of progress: loading, probing, six steps; then of 20 problems 18 are tested."""


def real(folder: Path, tiny: Path) -> None:
    """Run a tuned experiment, runs/tuned, to its end; and kill the run of another, runs/tiny."""
    text = yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}, sort_keys=False)
    (folder / "tuned.yaml").write_text(text)
    done = paribus("run", "tuned.yaml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    describe(killed(folder).experiment)
    run_until(spec_of(tiny, folder, {}), killed(folder), MOMENT)


def killed(folder: Path) -> RunFolder:
    """The run that `real` killed."""
    return ExperimentFolder(folder / "runs" / "tiny").run("full", 0)


@contextmanager
def instead(path: Path, content: bytes | None) -> Iterator[None]:
    """`path` with other content, or gone, while the context lasts; its times stay."""
    before, times = path.read_bytes(), path.stat()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flipped(content: bytes, at: int) -> bytes:
    """`content` with one bit of the byte `at` turned."""
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
