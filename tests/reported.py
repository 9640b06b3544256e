"""Stores whose runs wrote what a test wants, with their report.

    reported(folder, {"full": "full"}, 2, lambda arm, number: number == 1, lambda *_: "So:")

makes a run that writes "So:" for problem 0 and "So:\\n#### 7", which is right, for problem 1.
"""

from pathlib import Path

from by_hand import enter
from paribus.records import Generation, Stop
from paribus.report.page import write_report
from paribus.store import runs
from paribus.store.experiments import Description, write_description
from paribus.store.layout import ExperimentFolder
from paribus.store.results import DataCounts, EvaluationCost, RunResult

EVIL = "</script><!--<script><img src=x onerror=\"document.title='owned'\"><svg/onload=alert(2)>"


def reported(folder: ExperimentFolder, arms: dict[str, str], n: int, solved, written) -> Path:
    """Store a run of each of `arms` (name to method) on `n` problems; return its report's path."""
    contrasts = [{"a": "full", "b": arm, "factor": "method"} for arm in arms if arm != "full"]
    write_description(
        folder,
        Description.model_validate(
            {
                "format": 1,
                "config": {"name": "flips", "question": "Which?", "seeds": 1, "training": {}},
                "origins": {},
                "arms": [
                    {"name": name, "factors": {"method": method}, "identity": {"method": method}}
                    for name, method in arms.items()
                ],
                "contrasts": contrasts,
            }
        ),
    )
    for arm in arms:
        run = folder.run(arm, 0)
        runs.begin(run, {"fingerprint": "f", "arm": arm, "replicate": 0})
        generations = [
            Generation(
                problem_id=f"{number:016x}",
                question=f"Question {number}: how many? {EVIL if number == 2 else ''}",
                answer="7",
                solution=f"7*1=<<7*1=7>>7\n#### 7 {EVIL if number == 2 else ''}",
                group="pens",
                prompt_sha256="0" * 64,
                text=written(arm, number) + ("\n#### 7" if solved(arm, number) else ""),
                num_tokens=5,
                stop=Stop.ANSWER if solved(arm, number) else Stop.STOP_TOKEN,
            )
            for number in range(n)
        ]
        enter(folder, arm, "one_shot")
        runs.write_generations(run, "one_shot", generations)
        evaluation = EvaluationCost(protocol="one_shot", problems=n, seconds=1.0)
        runs.finish(run, RunResult(training=None, evaluation=evaluation, data=DataCounts()))
    return write_report(folder)
