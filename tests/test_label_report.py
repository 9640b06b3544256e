"""Experiments whose answers are labels: confusion, recall and macro-F1, from texts to the page."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from by_hand import generation
from paribus.analysis.classes import Classes, classes
from paribus.analysis.findings import conclude, payload
from paribus.analysis.reading import read_experiment
from paribus.analysis.tables import Tables
from paribus.records import Generation
from paribus.report.page import write_report
from paribus.statistics.real.comparison import SAME
from paribus.statistics.verdicts import Verdict
from paribus.store.layout import ExperimentFolder
from stores import EVIL, describe, finish

LABELS = ("refund", "shipping", "cancel")
GOLD = "rrrrrrrrrrssssssssssssccc"
"""25 problems by the first letter of their label."""
FULL = "rrrrrrrrrsssssssssssrrccs"
LORA = "rrrrrsssssssssssssss?scc?"
"""What each arm writes: a label, or something else."""
WRITTEN = {"r": "Refund", "s": "shipping ", "c": "cancel", "?": "I do not know"}
METRICS = [{"metric": "exact_match", "ignore_case": True}]


def written(answers: str, choices: Sequence[str] = LABELS) -> list[Generation]:
    golds = {label[0]: label for label in LABELS}
    return [
        replace(
            generation(number, WRITTEN[answer], "stop_token"),
            answer=golds[gold],
            choices=tuple(choices),
        )
        for number, (gold, answer) in enumerate(zip(GOLD, answers, strict=True))
    ]


def stored(folder: Path, arms: dict[str, Sequence[list[Generation]]], **task: object) -> Tables:
    """Two tuned arms of as many seeds as they have lists of texts."""
    made = ExperimentFolder(folder / "labels")
    record = {"task": "intent", "folder": ".", "doc_to_text": "{{q}}", "metric_list": METRICS}
    methods = {"full": "full", "lora": "lora"}
    pair = [("full", "lora", "method")]
    describe(made, methods, pair, task=record | task, seeds=len(arms["full"]))
    for arm, runs in arms.items():
        for seed, texts in enumerate(runs):
            finish(made, arm, texts, seed)
    return read_experiment(made)


def of(tables: Tables) -> Classes:
    made = classes(tables)
    assert made is not None
    return made


def test_confusion_recall_and_macro_f1_by_hand(tmp_path):
    found = of(stored(tmp_path, {"full": [written(FULL)], "lora": [written(LORA)]}))
    full, lora = found.arms
    assert found.labels == LABELS
    assert full.confusion.tolist() == [[9, 1, 0, 0], [2, 10, 0, 0], [0, 1, 2, 0]]
    assert lora.confusion.tolist() == [[5, 5, 0, 0], [0, 11, 0, 1], [0, 0, 2, 1]]
    assert full.counts == (10, 12, 3)
    exact = stats.binomtest(9, 10).proportion_ci()
    assert full.recalls[0].value == 0.9
    assert (full.recalls[0].interval.low, full.recalls[0].interval.high) == pytest.approx(
        (exact.low, exact.high)
    )
    f1 = [2 * 9 / (10 + 11), 2 * 10 / (12 + 12), 2 * 2 / (3 + 2)]
    assert full.macro_f1.value == pytest.approx(np.mean(f1))
    assert full.macro_f1.interval.low < full.macro_f1.value < full.macro_f1.interval.high


def test_arms_are_compared_by_macro_f1(tmp_path):
    tables = stored(tmp_path, {"full": [written(FULL)], "lora": [written(LORA)]})
    (contrast,) = of(tables).contrasts
    full, lora = of(tables).arms
    assert contrast.difference == pytest.approx(full.macro_f1.value - lora.macro_f1.value)
    assert contrast.interval.low < contrast.difference < contrast.interval.high
    assert contrast.p_holm == contrast.p_value > 0.05
    assert contrast.verdict is Verdict.NOT_SHOWN
    (row,) = payload(conclude(tables))["classes"]["macro_f1_contrasts"]
    assert (row["a"], row["b"], row["verdict"]) == ("full", "lora", "not_shown")
    page = write_report(ExperimentFolder(tmp_path / "labels")).read_text()
    assert "Macro-F1, arm against arm" in page


def test_the_same_texts_have_no_test_of_macro_f1(tmp_path):
    (contrast,) = of(stored(tmp_path, {"full": [written(FULL)], "lora": [written(FULL)]})).contrasts
    assert contrast.difference == 0
    assert contrast.reason == SAME
    assert contrast.p_value is None


def test_over_seeds_recall_and_macro_f1_are_means(tmp_path):
    runs = [written(FULL), written(LORA), written(FULL)]
    found = of(stored(tmp_path, {"full": runs, "lora": [written(LORA)] * 3}))
    full = found.arms[0]
    assert full.confusion.tolist()[0] == [9, 1, 0, 0]  # of the first seed
    assert full.recalls[0].value == pytest.approx((0.9 + 0.5 + 0.9) / 3)
    assert full.recalls[0].interval is not None


def test_labels_are_those_seen_where_a_task_names_none(tmp_path):
    texts = {"full": [written(FULL, ())], "lora": [written(LORA, ())]}
    found = of(stored(tmp_path, texts))
    assert found.labels == tuple(sorted(LABELS))


@pytest.mark.parametrize(
    "change",
    [
        {"metric_list": [{"metric": "f1"}]},
        {"metric_list": [{"metric": "regex", "pattern": "(.*)"}]},
        {"metric_list": [{"metric": "number"}]},
    ],
)
def test_other_metrics_have_no_labels(tmp_path, change):
    texts = {"full": [written(FULL)], "lora": [written(LORA)]}
    assert classes(stored(tmp_path, texts, **change)) is None


def test_answers_of_their_own_are_no_labels(tmp_path):
    texts = [
        replace(generation(number, "yes", "stop_token"), answer=f"answer {number % 8}")
        for number in range(12)
    ]
    assert classes(stored(tmp_path, {"full": [texts], "lora": [texts]})) is None


def test_findings_and_page_have_the_labels(tmp_path):
    tables = stored(tmp_path, {"full": [written(FULL)], "lora": [written(LORA)]})
    found = payload(conclude(tables))["classes"]
    assert found["labels"] == list(LABELS)
    assert found["arms"][1]["confusion"][0] == [5, 5, 0, 0]
    assert found["arms"][0]["recall"][2] == {
        "label": "cancel",
        "n": 3,
        "recall": pytest.approx(2 / 3),
        "interval": [pytest.approx(0.0943, abs=1e-4), pytest.approx(0.9916, abs=1e-4)],
    }
    page = write_report(ExperimentFolder(tmp_path / "labels")).read_text()
    assert "Label by label" in page
    assert "Confusion of full: refund right 90 % of 10" in page


def test_names_of_labels_are_no_markup(tmp_path):
    texts = [replace(text, answer=f"{text.answer} {EVIL}", choices=()) for text in written(FULL)]
    tables = stored(tmp_path, {"full": [texts], "lora": [texts]})
    assert of(tables).arms[0].macro_f1.value == 0
    page = write_report(ExperimentFolder(tmp_path / "labels")).read_text()
    assert EVIL not in page


def test_a_label_without_a_problem_has_no_recall(tmp_path):
    texts = written(FULL, (*LABELS, "thanks"))
    found = payload(conclude(stored(tmp_path, {"full": [texts], "lora": [texts]})))["classes"]
    assert found["arms"][0]["recall"][3] == {
        "label": "thanks",
        "n": 0,
        "recall": None,
        "interval": None,
    }
