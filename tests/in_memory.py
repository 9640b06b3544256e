"""Runs and tables in memory: what each arm wrote, for one problem asked again and again.

tables(run("full", GOLD, "#### 3"))     # solves the first, not the second
"""

from dataclasses import replace

import by_hand
from paribus.analysis.tables import Arm, Run, Tables, with_generations
from paribus.records import Generation
from paribus.store.experiments import Tried
from paribus.store.runs import RunState

ARMS = {"baseline": "none", "full": "full", "lora": "lora"}
GOLD = "2*3=<<2*3=6>>6\n6+1=<<6+1=7>>7\n#### 7"
ONE_STEP = "6+1=<<6+1=7>>7\n#### 7"


def generation(number: int, text: str, *, solution: str = GOLD) -> Generation:
    question = "2 boxes of 3 pens and 1 more. How many?"
    return replace(
        by_hand.generation(number, text, "stop_token"), question=question, solution=solution
    )


def run(arm: str, *texts: str, seed: int = 0, solution: str = GOLD) -> Run:
    made = Run(arm=arm, seed=seed, state=RunState.COMPLETE)
    return with_generations(
        made, [generation(n, text, solution=solution) for n, text in enumerate(texts)]
    )


def tables(*runs: Run, reads=(), tried=None) -> Tables:
    names = dict.fromkeys(run.arm for run in runs)
    return Tables(
        config={},
        origins={},
        arms=tuple(Arm(name=name, factors={"method": ARMS[name]}, identity={}) for name in names),
        declared=(),
        runs=runs,
        reads=tuple(reads),
        tuning=tried or {},
    )


def trial(learning_rate: float, loss: float | None, error: str | None = None) -> Tried:
    """A trial of a learning rate; failed without a loss."""
    solved = (None, None) if loss is None else (int(100 * (2 - loss)), 200)
    return Tried(
        learning_rate=learning_rate,
        state="complete" if loss else "failed",
        fingerprint="f",
        nll_per_token=loss,
        solved=solved[0],
        n=solved[1],
        seconds=None if loss is None else 61.2,
        error=error,
    )
