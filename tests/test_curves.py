"""The curves of a training: what a report draws from what was measured, and what it warns of."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paribus.analysis.curves import curves, remarks
from paribus.analysis.fairness import unexplained
from paribus.analysis.findings import conclude, payload
from paribus.analysis.reading import read_experiment
from paribus.report.curves import section
from paribus.report.page import write_report
from paribus.store.layout import ExperimentFolder
from stores import answers, describe, finish, training

FALLING = (0.9, 0.6, 0.5, 0.45)
TURNING = (0.7, 0.5, 0.55, 0.65)
"""The loss of one run at four moments."""


def moments(losses, *, shift: float = 0.0, scores=()) -> list[dict[str, Any]]:
    rows = []
    for place, loss in enumerate(losses, 1):
        figures = {"variant": "main", "problems": 200, "tokens": 9000, "undefined": 0}
        row = {
            "step": 100 * place,
            "examples": 1600 * place,
            "tokens": 300_000 * place,
            "target_tokens": 190_000 * place,
            "seconds": 240.0 * place,
            "heldout": {**figures, "nll_per_token": loss + shift, "seconds": 3.0},
        }
        if scores:
            row |= {"scorer": "canonical", "score": scores[place - 1],
                    "outcomes": {"correct": round(200 * scores[place - 1])}}  # fmt: skip
        rows.append(row)
    return rows


def store(path: Path, arms, *, seeds: int = 1, scores=(), chooses: bool = False):
    """An experiment of `arms`: name → losses; their seeds lie 0.02 apart."""
    folder = ExperimentFolder(path / "runs" / "x")
    describe(folder, dict.fromkeys(arms, "lora"), [], seeds=seeds)
    for arm, losses in arms.items():
        for seed in range(seeds):
            best = 100 * (1 + losses.index(min(losses)))
            finish(
                folder,
                arm,
                answers({0, 1, seed}),
                seed,
                training=training(0.4),
                validated=moments(losses, shift=0.02 * seed, scores=scores),
                **({"tested_step": best} if chooses else {}),
            )
    return folder


def analysed(folder):
    return conclude(read_experiment(folder))


def test_a_curve_is_the_mean_over_seeds_with_a_band(tmp_path):
    """Losses 0.9, 0.92, 0.94: Student's t with two degrees of freedom, 4.303 · 0.02 / √3."""
    folder = store(tmp_path, {"full": FALLING}, seeds=3)
    (curve,) = curves(read_experiment(folder))
    first = curve.points[0]
    assert (curve.seeds, curve.problems, len(curve.points)) == (3, 200, 4)
    assert first.loss == pytest.approx(0.92)
    assert first.interval is not None
    assert first.interval.high - first.loss == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4)
    assert (curve.lowest, curve.tested, curve.chooses) == ((3, 3, 3), (3, 3, 3), False)


@pytest.mark.parametrize(("seeds", "words"), [(1, "One seed, so"), (2, "Means over 2 seeds, too")])
def test_fewer_than_three_seeds_have_no_band(tmp_path, seeds, words):
    analysis = analysed(store(tmp_path, {"full": FALLING}, seeds=seeds))
    assert all(point.interval is None for point in analysis.curves[0].points)
    drawn = section(analysis)
    assert drawn is not None
    assert words in drawn.figures[0].caption


@pytest.mark.parametrize(
    ("losses", "chooses", "said"),
    [
        (FALLING, True, ["lowest at the last moment in all runs, and may fall further"]),
        (FALLING, False, []),
        ((0.5, 0.6, 0.7, 0.8), True, ["lowest at the first moment in all runs. The learning rate"]),
        (TURNING, True, []),
        (TURNING, False, ["lowest before the end in all runs, and the last weights were tested"]),
        ((0.5,), True, []),
    ],
)
def test_what_a_curve_warns_of(tmp_path, losses, chooses, said):
    folder = store(tmp_path, {"full": losses}, seeds=3, chooses=chooses)
    (curve,) = curves(read_experiment(folder))
    assert len(remarks(curve)) == len(said)
    for line, words in zip(remarks(curve), said, strict=True):
        assert words in line


def test_page_and_findings_have_them(tmp_path):
    folder = store(
        tmp_path,
        {"full": TURNING, "lora": FALLING},
        seeds=3,
        scores=(0.1, 0.2, 0.3, 0.25),
        chooses=True,
    )
    page = write_report(folder).read_text()
    assert "While they trained" in page
    assert "The weights of each run with the lowest loss here were tested" in page
    assert "drawn from the training pool" in page
    assert "Validation loss in training: full 0.720 to 0.670; lora 0.920 to 0.470." in page
    assert "Loss on the gold solutions of 200 validation problems" in page
    assert "by the scorer canonical" in page
    found = json.loads(folder.findings.read_text())["curves"]
    assert [(row["arm"], row["tested"]) for row in found] == [
        ("full", [1, 1, 1]), ("lora", [3, 3, 3])
    ]  # fmt: skip
    assert found[0]["points"][0]["score"] == pytest.approx(0.1)
    assert found[0]["points"][1]["interval"] == pytest.approx([0.4703, 0.5697], abs=1e-4)


def test_an_untuned_model_is_not_blamed_for_being_measured_only_at_its_end(tmp_path):
    """Its arm has no such settings: no more than it has a learning rate."""
    folder = ExperimentFolder(tmp_path / "runs" / "x")
    describe(folder, {"baseline": "none", "full": "full"}, [("full", "baseline", "tuning")])
    finish(folder, "full", answers({0}), training=training(0.4))
    finish(folder, "baseline", answers({1}))
    given = {"at": ["each_epoch"], "at_generates": True, "checkpoint": "best_loss"}
    plain = read_experiment(folder)
    tuned = replace(plain.arms[1], identity={**plain.arms[1].identity, "evaluation": given})
    tables = replace(plain, arms=(plain.arms[0], tuned))
    (contrast,) = conclude(tables).contrasts
    assert [row.name for row in unexplained(tables, contrast)] == []


def test_without_measurements_there_is_no_section(tmp_path):
    folder = ExperimentFolder(tmp_path / "runs" / "x")
    describe(folder, {"full": "full"}, [])
    finish(folder, "full", answers({0}), training=training(0.4))
    analysis = analysed(folder)
    assert section(analysis) is None
    assert "curves" not in payload(analysis)
    assert "While they trained" not in write_report(folder).read_text()
