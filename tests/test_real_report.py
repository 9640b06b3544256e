"""Experiments whose metric is a real number: from stored texts to findings, terminal and page.

Gold is `a b c d e f g h`, and the article-like `a` does not count as a word to F1: seven words are
left. A text of k of them and of 7 - k others has an F1 of k / 7.
"""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from by_hand import generation
from paribus.analysis.effects import effect_sentence
from paribus.analysis.findings import Analysis, conclude, payload
from paribus.analysis.headroom import judge_headroom, read_scores
from paribus.analysis.reading import read_experiment
from paribus.analysis.signals import pick
from paribus.analysis.tables import Tables
from paribus.analysis.wording import verdict_sentence
from paribus.config.task import stored_task
from paribus.evaluation.scorers import scorers_of
from paribus.files import read_json
from paribus.records import Generation, Measure, Outcome
from paribus.report.mistakes import browser, flips_data
from paribus.report.page import write_report
from paribus.report.terminal import remarks, summary_table
from paribus.statistics.power import Design
from paribus.statistics.real.comparison import compare
from paribus.store.experiments import read_description, write_description
from paribus.store.layout import ExperimentFolder
from stores import describe, finish

GOLD = "a b c d e f g h"
WORDS = GOLD.split()[1:]
TASK = {
    "task": "words",
    "folder": ".",
    "doc_to_text": "{{q}}",
    "metric_list": [{"metric": "f1"}, {"metric": "exact_match"}],
}
FULL = (7, 6, 7, 5, 4, 7, 3, 6, 2, 7, 5, 1)
LORA = (5, 6, 4, 5, 3, 6, 3, 4, 1, 6, 2, 3)
UNTUNED = (1, 0, 2, 1, 0, 1, 3, 0, 0, 2, 1, 0)
"""Words of gold in the text of each of twelve problems."""


def written(counts: Sequence[int | None]) -> list[Generation]:
    """A text for each problem with so many words of gold; None: it is empty."""
    words = [
        [] if count is None else ["a"] * (count == 7) + WORDS[:count] + ["z"] * (7 - count)
        for count in counts
    ]
    return [
        replace(generation(number, " ".join(text), "stop_token"), answer=GOLD)
        for number, text in enumerate(words)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    """An untuned arm and two tuned ones, one seed each."""
    made = ExperimentFolder(tmp_path / "words")
    describe(made, task=TASK)
    for arm, counts in {"baseline": UNTUNED, "full": FULL, "lora": LORA}.items():
        finish(made, arm, written(counts))
    return made


def analysis_of(folder: ExperimentFolder) -> Analysis:
    return conclude(read_experiment(folder))


def points(counts: Sequence[int]) -> np.ndarray:
    return np.array(counts) / 7


def test_scorers_say_what_a_text_scores():
    scorers = scorers_of(stored_task(TASK))
    five, whole, none = written([5, 7, None])
    assert not scorers.binary
    assert scorers.measure("exact_match") is Measure.SOLVED
    assert scorers.value(five) == pytest.approx(5 / 7)
    assert scorers.outcome(whole) is Outcome.SCORED  # a score of 1 is not "solved"
    assert (scorers.outcome(whole, "exact_match"), scorers.value(whole, "exact_match")) == (
        Outcome.CORRECT,
        1.0,
    )
    assert (scorers.outcome(none), scorers.value(none)) == (Outcome.NO_ANSWER, 0.0)


def test_comparison_of_one_seed_is_that_of_scipy(folder):
    of_pair = analysis_of(folder).contrasts[2]
    a, b = points(FULL), points(LORA)
    assert (of_pair.measure, of_pair.n) == (Measure.SCORE, 12)
    assert (of_pair.only_a, of_pair.only_b, of_pair.both, of_pair.neither) == (8, 1, None, None)
    assert of_pair.difference == pytest.approx((a - b).mean())
    paired = stats.ttest_rel(a, b).confidence_interval()
    assert of_pair.interval.low == pytest.approx(paired.low)
    assert of_pair.interval.high == pytest.approx(paired.high)
    flips = stats.permutation_test(
        (a, b), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=10**6
    )
    assert of_pair.p_value == pytest.approx(flips.pvalue)
    assert of_pair.p_value == pytest.approx(0.0546875)


def test_findings_have_mean_scores_and_no_accuracy(folder):
    found = payload(analysis_of(folder))
    assert found["scorer"]["measure"] == "score"
    full = next(run for run in found["arms"] if run["name"] == "full")
    assert full["scores"]["f1"] == {
        "mean": pytest.approx(60 / 84),
        "n": 12,
        "interval": [pytest.approx(0.4832, abs=1e-4), pytest.approx(0.8846, abs=1e-4)],
    }
    assert full["scores"]["exact_match"]["correct"] == 4
    assert full["outcomes"] == {"scored": 12, "no_answer": 0, "truncated": 0, "failed": 0}
    of_full = next(arm for arm in found["summaries"] if arm["name"] == "full")
    assert "accuracy" not in of_full
    assert of_full["mean"] == full["scores"]["f1"]["mean"]
    claims = [finding["claim"] for finding in found["findings"]]
    assert claims[:3] == [
        "full scores higher than its untuned model",
        "lora scores higher than its untuned model",
        "full scores higher than lora",
    ]
    assert "solve" not in found["answer"] + " ".join(claims)


def test_terminal_shows_mean_scores_in_points(folder):
    write_report(folder)
    found = read_json(folder.findings)
    console = Console(width=80, record=True, file=StringIO())
    console.print(summary_table(found))
    assert [line.rstrip() for line in console.export_text().splitlines()] == TERMINAL.split("\n")
    assert [line.plain for line in remarks(found)] == [
        "Verdicts are of these models (one seed).",
        "full − lora: the interval leaves out 0, the test, which is harder to pass, does not",
    ]


TERMINAL = """
 arm        mean score, points [95 % interval]   no answer   cut
 ───────────────────────────────────────────────────────────────
 baseline   13.1 [5.4 to 25.1]                   0           0
 full       71.4 [48.3 to 88.5]                  0           0
 lora       57.1 [42.2 to 70.9]                  0           0


 A − B             points [95 % interval]   p, Holm   could see
 ──────────────────────────────────────────────────────────────────────────
 full − baseline   +58.3 [+39.6 to +77.1]   0.003     31.2        A higher
 lora − baseline   +44 [+27.9 to +60.2]     0.003     26.9        A higher
 full − lora       +14.3 [+1.4 to +27.1]    0.055     21.4        not shown

could see: the difference that this pair would show 8 times in 10, by how
the scores found vary; `paribus plan` assumed scores of 0 or 1."""


def test_the_flips_browser_compares_scores(folder):
    tables = read_experiment(folder)
    full = flips_data(tables, tables.declared)["runs"][1]
    assert full["scores"] == pytest.approx(list(points(FULL)))
    made = browser(tables)
    assert made is not None
    assert made.tabs[0] == ("only_a", "A higher")


def test_examples_are_the_lowest_and_the_highest_score(folder):
    run = read_experiment(folder).run("full", 0)
    assert run is not None
    assert [(example.title, example.generation.text) for example in pick(run)] == [
        ("Lowest score, 14.3 points", "b z z z z z z"),
        ("Highest score, 100 points", GOLD),
    ]


def test_an_untuned_model_scores_points(folder):
    (best,) = read_scores(folder.run("baseline", 0), scorers_of(stored_task(TASK)))
    assert (best.solved, best.n, best.accuracy) == (None, 12, pytest.approx(11 / 84))
    judged = judge_headroom([best], Design(n=200), 0.1)
    assert judged.reason.startswith("scores 13.1 points [5.4 to 25.1] on 12 problems under ")


def test_over_seeds_the_interval_is_the_crossed_one(tmp_path):
    tables = over_seeds(tmp_path)
    (of_pair,) = conclude(tables).contrasts
    a, b = (np.array([points(counts) for counts in arm]) for arm in SEEDS.values())
    assert (of_pair.scope, of_pair.seeds) == ("methods", (3, 3))
    assert of_pair.difference == pytest.approx(a.mean() - b.mean())
    crossed = compare(a, b, bounded=True)
    assert (of_pair.interval, of_pair.p_value) == (crossed.interval, crossed.p_value)
    assert of_pair.p_value == pytest.approx(0.0110, abs=1e-4)


def test_a_margin_is_in_points_of_the_score(tmp_path):
    (of_pair,) = conclude(over_seeds(tmp_path, margin=5)).contrasts
    assert of_pair.margin == 0.05
    assert of_pair.worse == ("lora",)
    assert "lora is worse by 5 points or more." in verdict_sentence(of_pair)


def test_factors_have_effects_on_scores(tmp_path):
    made = ExperimentFolder(tmp_path / "matrix")
    matrix = {"method": ["full", "lora"], "data": ["main", "other"]}
    arms = {"full-main": "full", "full-other": "full", "lora-main": "lora", "lora-other": "lora"}
    describe(made, arms, [], task=TASK, matrix=matrix)
    description = read_description(made)
    crossed = [
        arm.model_copy(update={"factors": {"method": method, "data": data}})
        for arm in description.arms
        for method, data in [arm.name.split("-")]
    ]
    write_description(made, description.model_copy(update={"arms": crossed}))
    runs = {"full-main": FULL, "full-other": SEEDS["full"][1],
            "lora-main": LORA, "lora-other": SEEDS["lora"][1]}  # fmt: skip
    for arm, counts in runs.items():
        finish(made, arm, written(counts))
    of_method, of_data, interaction = analysis_of(made).effects
    full, other, lora, last = map(points, runs.values())
    by_problem = (full + other - lora - last) / 2
    assert of_method.difference == pytest.approx(by_problem.mean())
    interval = stats.ttest_1samp(by_problem, 0).confidence_interval()
    assert (of_method.interval.low, of_method.interval.high) == pytest.approx(
        (interval.low, interval.high)
    )
    assert effect_sentence(of_method).startswith("Of these models, those with full score ")


SEEDS = {
    "full": [FULL, (6, 6, 7, 6, 4, 7, 4, 6, 3, 7, 5, 2), (7, 5, 7, 5, 5, 6, 3, 6, 2, 7, 6, 1)],
    "lora": [LORA, (5, 5, 4, 4, 3, 6, 2, 4, 1, 5, 2, 3), (4, 6, 4, 5, 2, 6, 3, 3, 1, 6, 2, 2)],
}


def over_seeds(tmp_path: Path, **config: object) -> Tables:
    """Two tuned arms of three seeds."""
    made = ExperimentFolder(tmp_path / "seeds")
    arms = {"full": "full", "lora": "lora"}
    describe(made, arms, [("full", "lora", "method")], task=TASK, seeds=3, **config)
    for arm, runs in SEEDS.items():
        for seed, counts in enumerate(runs):
            finish(made, arm, written(counts), seed)
    return read_experiment(made)
