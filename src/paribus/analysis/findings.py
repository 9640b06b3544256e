"""The conclusions of an experiment, for the report and, as strict JSON, for programs.

    analysis = analyse(ExperimentFolder(Path("runs/gsm8k")))
    analysis.answer                         # the sentences a colleague wants to hear
    payload(analysis)["contrasts"][0]       # {"a": "full-main", "b": "baseline", ...}

Undefined values are null. There is never a NaN, and never a zero that stands for "not run".
"""

from dataclasses import asdict, dataclass
from typing import Any

from paribus.analysis import wording
from paribus.analysis.conditions import limits
from paribus.analysis.contrasts import Contrast, MeanDifference, contrasts, mean_differences
from paribus.analysis.intervals import Interval
from paribus.analysis.tables import Run, Score, Tables, load
from paribus.store.layout import ExperimentFolder

FORMAT = 1
"""Version of findings.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything the report tells: tables, contrasts, the answer and its limits."""

    tables: Tables
    contrasts: list[Contrast]
    means: list[MeanDifference]
    answer: list[str]
    limits: list[str]


def analyse(folder: ExperimentFolder) -> Analysis:
    """Read the experiment in `folder` and compare its arms. Raises StoreError as `load` does."""
    tables = load(folder)
    found = contrasts(tables)
    return Analysis(
        tables=tables,
        contrasts=found,
        means=mean_differences(found),
        answer=wording.answer(tables, found),
        limits=limits(tables, found),
    )


def payload(analysis: Analysis) -> dict[str, Any]:
    """Return `analysis` as the value of findings.json. Shares are 0..1, intervals [low, high]."""
    tables = analysis.tables
    return {
        "format": FORMAT,
        "experiment": tables.config["name"],
        "question": tables.config.get("question", ""),
        "hypothesis": tables.config.get("hypothesis", ""),
        "answer": " ".join(analysis.answer),
        "arms": [_run(run) for run in tables.runs],
        "contrasts": [_contrast(each) for each in analysis.contrasts],
        "means": [asdict(each) for each in analysis.means],
        "missing": tables.missing,
        "limits": analysis.limits,
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "name": run.arm,
        "seed": run.seed,
        "n": len(run.generations),
        "state": str(run.state),
        "scores": {scorer: _score(score) for scorer, score in run.scores.items()},
        "outcomes": run.outcomes if run.complete else {},
        "training": run.training,
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "correct": score.correct,
        "accuracy": score.accuracy,
        "interval": _pair(score.interval),
    }


def _contrast(contrast: Contrast) -> dict[str, Any]:
    return {
        "a": contrast.a,
        "b": contrast.b,
        "factor": contrast.factor,
        "seed": contrast.seed,
        "n": contrast.n,
        "left_out": contrast.left_out,
        "only_a": contrast.only_a,
        "only_b": contrast.only_b,
        "both": contrast.both,
        "neither": contrast.neither,
        "difference": contrast.difference,
        "interval": _pair(contrast.interval),
        "p_value": contrast.p_value,
        "verdict": contrast.verdict.value,
        "sentence": wording.verdict(contrast),
    }


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
