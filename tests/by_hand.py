"""Experiments written as strings: a row is a run, a character is a problem.

    tables({"untuned": ["0100"], "full": ["1100", None, "1110"]}, [("full", "untuned")])

`1` solved, `0` wrong, `f` right but not in the answer's form (the flexible scorer takes it), `s`
the same with another number behind it (no scorer takes it), `n` without an answer, `c` cut by the
token limit, `.` not tested, `x` failed (the model gave no valid distribution). A row of None is a
run that was interrupted. The arm called `untuned` trains nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paribus.analysis.tables import Arm, Run, Tables, with_generations
from paribus.records import Generation, Stop
from paribus.store.results import RunResult
from paribus.store.runs import RunState

TEXTS = {
    "1": "#### 7",
    "f": "I got 7 there",
    "s": "I got 7 apples there, which took 2 steps",
    "n": "I cannot say",
    "c": "First we add",
}
STOPS = {"x": "failed", "c": "length"}
INTERRUPTED = "unfinished: it is still running, or was stopped."


def solved(*rows: str) -> NDArray[np.bool_]:
    """`solved("101", "110")` is the table [2, 3] of two seeds on three problems."""
    return np.array([[each == "1" for each in row] for row in rows])


def without_subquestions(solution: str) -> str:
    """A socratic solution as its main variant: each line's text behind the first ` ** `."""
    return "\n".join(line.split(" ** ", 1)[-1] for line in solution.split("\n"))


def generation(number: int, text: str, stop: str = "answer", group: str = "") -> Generation:
    """What a model wrote for problem `number`, whose answer is 7."""
    return Generation(
        problem_id=f"{number:016x}",
        question=f"Question {number}?",
        answer="7",
        prompt_sha256="0" * 64,
        text=text,
        num_tokens=5,
        stop=Stop(stop),
        group=group,
    )


def written(text: str, *golds: str, stop: Stop = Stop.STOP_TOKEN, **parts: Any) -> Generation:
    """What a model wrote for a problem of any task; `golds` are equally good."""
    return Generation(
        **{"problem_id": "1", "question": "", "prompt_sha256": "", "num_tokens": 1} | parts,
        answer=golds[0],
        answers=golds[1:],
        text=text,
        stop=stop,
    )


def run(arm: str, seed: int, row: str | None, groups: str = "") -> Run:
    """One run; `groups` has a letter for each problem: "aab"."""
    if row is None:
        return Run(arm=arm, seed=seed, state=RunState.UNFINISHED, note=INTERRUPTED)
    made = [
        generation(
            number,
            TEXTS.get(mark, "#### 8"),
            STOPS.get(mark, "answer"),
            groups[number] if groups else "",
        )
        for number, mark in enumerate(row)
        if mark != "."
    ]
    return with_generations(Run(arm=arm, seed=seed, state=RunState.COMPLETE), made)


def tables(
    rows: dict[str, Sequence[str | None]],
    declared: Sequence[tuple[str, str]] = (),
    *,
    groups: str = "",
    factors: dict[str, dict[str, Any]] | None = None,
    matrix: dict[str, list[Any]] | None = None,
) -> Tables:
    """An experiment with these runs, arm by arm, seed by seed."""
    return Tables(
        config={"name": "by hand", "matrix": matrix or {}},
        origins={},
        arms=tuple(
            Arm(
                name=name,
                factors=(factors or {}).get(name, {}),
                identity={"method": "none" if name == "untuned" else "full"},
            )
            for name in rows
        ),
        declared=tuple((a, b, "method") for a, b in declared),
        runs=tuple(
            run(name, seed, row, groups)
            for name, of_arm in rows.items()
            for seed, row in enumerate(of_arm)
        ),
    )


def result(protocol: str = "zero_shot/raw", problems: int = 10, **parts: Any) -> RunResult:
    """What a run measured that was tested on `problems`; `parts` as result.json has them."""
    evaluation = {"protocol": protocol, "problems": problems}
    return RunResult.model_validate({"training": None, "evaluation": evaluation, **parts})
