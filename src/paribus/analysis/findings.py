"""The conclusions of an experiment, for the report and, as strict JSON, for programs.

    analysis = conclude(read_experiment(ExperimentFolder(Path("runs/gsm8k"))))
    analysis.answer                         # the sentences a colleague wants to hear
    payload(analysis)["contrasts"][0]       # {"a": "full-main", "b": "baseline", ...}

Undefined values are null. There is never a NaN, and never a zero that stands for "not run".
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from paribus.analysis import wording
from paribus.analysis.answer import answer, form_warnings, speaks_of
from paribus.analysis.caveats import Caveats, caveats
from paribus.analysis.claims import findings
from paribus.analysis.classes import ArmClasses, Classes, classes
from paribus.analysis.conditions import about_likeness, forked, limits
from paribus.analysis.contrasts import Contrast
from paribus.analysis.curves import Curve, curves
from paribus.analysis.effects import Effect, effect_sentence
from paribus.analysis.family import judged
from paribus.analysis.looks import look_warnings
from paribus.analysis.machines import Crossing, about_machines
from paribus.analysis.other_tasks import TaskResults, other_tasks
from paribus.analysis.reading import unrecorded_reads
from paribus.analysis.robustness import Shift, Variation, shifts, variations
from paribus.analysis.scaling import Scaling, scaling
from paribus.analysis.signals import bad_seeds, signal_table
from paribus.analysis.summary import ArmSummary, summaries
from paribus.analysis.tables import Run, Score, Tables
from paribus.analysis.wording import Finding, ends
from paribus.evaluation.scoring import VERSION
from paribus.records import Measure
from paribus.statistics.verdicts import Split, Verdict

FINDINGS_FORMAT = 2
"""Version of findings.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything the report tells: tables, contrasts, the answer and its limits.

    `caveats` has one entry for each of `contrasts`; `warnings` are to be read before any figure.
    """

    tables: Tables
    contrasts: list[Contrast]
    arms: list[ArmSummary]
    effects: list[Effect]
    variations: list[Variation]
    shifts: list[Shift]
    caveats: list[Caveats]
    warnings: list[str]
    findings: list[Finding]
    answer: list[str]
    limits: list[str]
    scaling: list[Scaling]
    curves: list[Curve]
    classes: Classes | None
    tasks: list[TaskResults]


def conclude(tables: Tables) -> Analysis:
    """Compare the arms of `tables`, wherever their generations come from."""
    family, varied, bad = judged(tables), variations(tables), bad_seeds(tables)
    contrasts = family.contrasts
    shifted = shifts(tables, contrasts, varied)
    alike = about_likeness(tables)
    tasks = other_tasks(tables)
    beside = [caveats(tables, contrast, shifted, bad, alike=bool(alike)) for contrast in contrasts]
    return Analysis(
        tables=tables,
        contrasts=contrasts,
        arms=summaries(tables),
        effects=family.effects,
        variations=varied,
        shifts=shifted,
        caveats=beside,
        warnings=[
            *form_warnings(tables, shifted, varied),
            *alike,
            *(bad_seed.sentence for bad_seed in bad),
            *(warning for task in tasks for warning in task.warnings),
        ],
        findings=[
            *findings(tables, contrasts, beside, family.effects, family.gains, shifted),
            *(finding for task in tasks for finding in task.findings),
        ],
        answer=[
            *answer(tables, contrasts, beside),
            *(task.answer for task in tasks if task.answer),
        ],
        limits=limits(tables, contrasts, len(family.effects)),
        scaling=scaling(tables),
        curves=curves(tables),
        classes=classes(tables),
        tasks=tasks,
    )


def payload(analysis: Analysis, *, signals: bool = True) -> dict[str, Any]:
    """Return `analysis` as the value of findings.json. Shares are 0..1, intervals [low, high].

    Where the main scorer is not binary, `mean`, 0..1, stands in the place of `accuracy`, and
    `measure` says what is compared.

    Without `signals`, what went wrong in each text is not looked for: it takes as long as scoring.
    """
    tables = analysis.tables
    return {
        "format": FINDINGS_FORMAT,
        "experiment": tables.config["name"],
        "question": tables.config.get("question", ""),
        "hypothesis": tables.config.get("hypothesis", ""),
        "strict": bool(tables.config.get("strict")),
        "scorer": _scorer(tables),
        "answer": " ".join(analysis.answer),
        "speaks_of": speaks_of(tables, analysis.contrasts),
        "warnings": analysis.warnings,
        "findings": [_finding(finding) for finding in analysis.findings],
        "arms": [
            _run(run) | {"signals": _signals(run) if signals and run.scorers.numbers else {}}
            for run in tables.runs
        ],
        "summaries": [_summary(arm, tables.measure) for arm in analysis.arms],
        "contrasts": [
            _contrast(contrast) | _beside(contrast, other)
            for contrast, other in zip(analysis.contrasts, analysis.caveats, strict=True)
        ],
        "effects": [_effect(effect) for effect in analysis.effects],
        "missing": tables.missing,
        "unrecorded": unrecorded_reads(tables),
        "looks": {
            "taken": [look.row() for look in tables.looks],
            "warnings": look_warnings(tables),
        },
        "limits": analysis.limits,
        **_scaling(analysis.scaling),
        **_curves(analysis.curves),
        **_classes(analysis.classes),
        **({"tasks": [_task(task) for task in analysis.tasks]} if analysis.tasks else {}),
    }


def _task(task: TaskResults) -> dict[str, Any]:
    """Return the results on a further task; `kept` is null where nothing is guarded."""
    measure = task.tables.measure
    return {
        "name": task.name,
        "protocol": task.protocol,
        "scorer": _scorer(task.tables),
        "margin": task.margin,
        "arms": [
            {
                **_summary(row.arm, measure),
                "against": row.against
                and {
                    "arm": row.against.b,
                    "caveats": list(about_machines(task.tables, (row.arm.name, row.against.b))),
                    "difference": row.against.difference,
                    "interval": ends(row.against.interval),
                },
                "kept": row.kept and row.kept.value,
            }
            for row in task.rows
        ],
        "contrasts": [
            {
                **_contrast(contrast),
                "caveats": list(about_machines(task.tables, (contrast.a, contrast.b))),
                "sentence": wording.verdict_sentence(contrast),
            }
            for contrast in task.contrasts
        ],
        "missing": task.tables.missing,
        "test_in_train": dict(zip(("whole", "sharing_13_words"), task.trained_on, strict=True)),
    }


def _curves(measured: list[Curve]) -> dict[str, Any]:
    """Return the arms while they trained; nothing where none was measured then."""
    rows = [
        {
            **asdict(curve),
            "points": [
                {
                    **asdict(point),
                    "interval": ends(point.interval),
                    "score_interval": ends(point.score_interval),
                }
                for point in curve.points
            ],
        }
        for curve in measured
    ]
    return {"curves": rows} if rows else {}


def _scaling(curves: list[Scaling]) -> dict[str, Any]:
    """Return the curves; nothing where the experiment varies no number of problems."""
    rows = [
        {
            **{key: value for key, value in asdict(curve).items() if key != "measure"},
            **_measure(curve.measure),
            "interval_per_doubling": ends(curve.interval_per_doubling),
            "interval": ends(curve.interval),
        }
        for curve in curves
    ]
    return {"scaling": rows} if rows else {}


def _classes(of_labels: Classes | None) -> dict[str, Any]:
    """Return what each arm makes of the labels; nothing where answers are no labels."""
    if of_labels is None:
        return {}
    rows = [_arm_classes(arm, of_labels.labels) for arm in of_labels.arms]
    contrasts = [
        {**asdict(contrast), "interval": ends(contrast.interval), "verdict": contrast.verdict.value}
        for contrast in of_labels.contrasts
    ]
    labels = list(of_labels.labels)
    return {"classes": {"labels": labels, "arms": rows, "macro_f1_contrasts": contrasts}}


def _arm_classes(arm: ArmClasses, labels: Sequence[str]) -> dict[str, Any]:
    """Gold labels are rows of `confusion`; its columns are the labels, then `other`."""
    return {
        "name": arm.name,
        "seed": arm.seed,
        "confusion": arm.confusion.tolist(),
        "recall": [
            {
                "label": label,
                "n": n,
                "recall": mean.value if n else None,
                "interval": ends(mean.interval),
            }
            for label, n, mean in zip(labels, arm.counts, arm.recalls, strict=True)
        ],
        "macro_f1": {
            "value": arm.macro_f1.value,
            "interval": ends(arm.macro_f1.interval),
            "reason": arm.macro_f1.reason,
        },
    }


def _scorer(tables: Tables) -> dict[str, Any]:
    """Return the main scorer; what it measures is named where that is not problems solved."""
    scorer = {"name": tables.scorers.main, "version": VERSION}
    return scorer | _measure(tables.measure)


def _measure(measure: Measure) -> dict[str, Any]:
    return {} if measure is Measure.SOLVED else {"measure": measure.value}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "claim": finding.claim,
        "verdict": finding.verdict.value,
        "scope": finding.scope.value if finding.scope else None,
        "sentence": finding.sentence,
        "evidence": finding.evidence,
        "caveats": list(finding.caveats),
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "name": run.arm,
        "seed": run.seed,
        "n": len(run.judged),
        "state": str(run.state),
        "note": run.note or (f"trained on from {came}" if (came := forked(run)) else ""),
        "scores": {scorer: _score(score) for scorer, score in run.scores.items()},
        "outcomes": run.outcomes if run.complete else {},
        "answers": run.styles if run.complete else {},
        "training": run.training.record() if run.training else None,
    }


def _signals(run: Run) -> dict[str, int]:
    if not run.scorers.numbers:
        return {}
    return {row.signal.value: row.count for row in signal_table(run).rows}


def _summary(arm: ArmSummary, measure: Measure) -> dict[str, Any]:
    return {
        "name": arm.name,
        "seeds": arm.seeds,
        "n": arm.n,
        "accuracy" if measure is Measure.SOLVED else "mean": arm.mean,
        "spread": arm.spread,
        "interval": ends(arm.interval),
        "reason": arm.reason,
        "split": _split(arm.split),
    }


def _score(score: Score) -> dict[str, Any]:
    if score.correct is None:
        return {"mean": score.accuracy, "n": score.n, "interval": ends(score.interval)}
    return {
        "correct": score.correct,
        "accuracy": score.accuracy,
        "interval": ends(score.interval),
    }


def _contrast(contrast: Contrast) -> dict[str, Any]:
    return {
        "a": contrast.a,
        "b": contrast.b,
        "factor": contrast.factor,
        **_measure(contrast.measure),
        "scope": contrast.scope.value,
        "seeds": list(contrast.seeds),
        "existing": list(contrast.existing),
        "n": contrast.n,
        "left_out": contrast.left_out,
        "only_a": contrast.only_a,
        "only_b": contrast.only_b,
        "both": contrast.both,
        "neither": contrast.neither,
        "difference": contrast.difference,
        "by_seed": list(contrast.by_seed),
        "interval": ends(contrast.interval),
        "p_value": contrast.p_value,
        "p_holm": contrast.p_holm,
        "paired": contrast.paired,
        "detectable": contrast.detectable,
        "detectable_range": contrast.detectable_range and list(contrast.detectable_range),
        "split": _split(contrast.split),
        "verdict": contrast.verdict.value,
        "equivalence": _equivalence(contrast),
        "reason": contrast.reason,
    }


def _beside(contrast: Contrast, caveats: Caveats) -> dict[str, Any]:
    answered, shown = caveats.answered, contrast.verdict is not Verdict.NOT_SHOWN
    return {
        "caveats": list(caveats.all),
        "unlike": list(caveats.unlike),
        "machines": _machines(caveats.machines),
        "sentence": wording.verdict_sentence(contrast, caveats.explains),
        "why_not": "" if shown else wording.why_not(contrast),
        "explained_by": caveats.explains or None,
        "answered": answered
        and {
            "n": answered.n,
            "difference": answered.difference,
            "interval": ends(answered.interval),
            "reason": answered.reason,
        },
    }


def _machines(crossed: Crossing | None) -> dict[str, Any] | None:
    """Which machines a contrast's runs come from; None if they are of one."""
    if crossed is None:
        return None
    return {
        "facts": list(crossed.facts),
        "apart": list(crossed.apart),
        "alike": crossed.alike,
        "places": [
            {**asdict(place), "seeds": {arm: list(ran) for arm, ran in place.seeds.items()}}
            for place in crossed.places
        ],
    }


def _equivalence(contrast: Contrast) -> dict[str, Any] | None:
    """What the margin of a contrast adds; None without one."""
    if contrast.margin is None:
        return None
    return {
        "margin": contrast.margin,
        "equivalent": contrast.equivalent,
        "not_worse": list(contrast.not_worse),
        "worse": list(contrast.worse),
        "p_not_worse": list(contrast.p_not_worse),
        "p_worse": list(contrast.p_worse),
    }


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "factors": list(effect.factors),
        "levels": [list(pair) for pair in effect.levels],
        "weights": effect.weights,
        **_measure(effect.measure),
        "scope": effect.scope.value,
        "n": effect.n,
        "difference": effect.difference,
        "interval": ends(effect.interval),
        "p_value": effect.p_value,
        "p_holm": effect.p_holm,
        "detectable": effect.detectable,
        "detectable_range": effect.detectable_range and list(effect.detectable_range),
        "split": _split(effect.split),
        "verdict": effect.verdict.value,
        "reason": effect.reason,
        "sentence": effect_sentence(effect),
    }


def _split(parts: Split | None) -> dict[str, dict[str, float]] | None:
    """Where uncertainty comes from: the standard error each source alone would leave, its share."""
    if parts is None:
        return None
    return {
        name: {"error": error, "share": share}
        for name, error, share in zip(Split.SOURCES, parts.errors, parts.shares, strict=True)
    }
