"""Tasks without a metric: only losses are measured, compared and reported; nothing is generated."""

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from inside import paribus
from paribus.analysis.answer import answer
from paribus.analysis.findings import conclude, payload
from paribus.analysis.reading import read_experiment
from paribus.analysis.tables import Tables
from paribus.analysis.wording import verdict_sentence
from paribus.cli.main import main
from paribus.config.task import stored_task
from paribus.config.task_file import read_task
from paribus.errors import ConfigError
from paribus.evaluation.scorers import scorers_of
from paribus.files import read_json
from paribus.planning.foresight import foresee
from paribus.records import Likelihood, Measure
from paribus.report.page import write_report
from paribus.report.terminal import summary_table
from paribus.store import runs
from paribus.store.layout import ExperimentFolder
from paribus.store.results import LIKELIHOOD, RunResult
from stores import describe, enter

TASK = {"task": "chats", "folder": ".", "metric_list": [{"metric": "likelihood"}]}
TOKENS = (4, 5, 8, 10, 4, 5, 8, 10, 20, 2, 4, 5)
FULL = (2.1, 1.4, 1.9, 0.8, 2.4, 1.1, 1.6, 0.9, 1.2, 3.0, 1.7, 1.3)
LORA = (2.0, 1.2, 1.5, 0.9, 2.0, 1.0, 1.3, 0.8, 1.0, 2.5, 1.7, 1.1)
"""Nats per token of twelve problems."""


Losses = Sequence[float | None]


def stored(folder: Path, arms: dict[str, Sequence[Losses]], **config: object) -> Tables:
    """Two tuned arms with the losses of each seed."""
    made = ExperimentFolder(folder / "chats")
    describe(made, {"full": "full", "lora": "lora"}, [("full", "lora", "method")],
             task=TASK, seeds=len(arms["full"]), **config)  # fmt: skip
    for arm, seeds in arms.items():
        for seed, losses in enumerate(seeds):
            enter(made, arm, LIKELIHOOD, seed)
            run = made.run(arm, seed)
            identity = {"method": arm, "replicate": seed, "task": {"task": "chats"}}
            spec = {"fingerprint": "f", "arm": arm, "replicate": seed, "identity": identity}
            runs.begin(run, spec)
            rows = [
                Likelihood(
                    problem_id=f"{number:016x}",
                    nll=None if loss is None else loss * TOKENS[number],
                    tokens=TOKENS[number],
                )
                for number, loss in enumerate(losses)
            ]
            runs.write_heldout(run, rows)
            evaluation = {"protocol": "zero_shot/raw", "problems": 0}
            heldout = {"variant": "main", "problems": len(rows)}
            runs.write_generations(run, "zero_shot/raw", [])
            result = {"evaluation": evaluation, "heldout": heldout}
            runs.finish(run, RunResult.model_validate(result))
    return read_experiment(made)


def test_stored_losses_are_compared_by_the_verb_too(tmp_path, capsys):
    stored(tmp_path, {"full": [FULL], "lora": [LORA]})
    arms = [str(tmp_path / "chats" / name) for name in ("full", "lora")]
    assert main(["compare", *arms, "--json"]) == 0
    (contrast,) = json.loads(capsys.readouterr().out)["contrasts"]
    assert (contrast["a"], contrast["measure"], contrast["n"]) == ("lora", "loss", 12)
    assert contrast["difference"] == pytest.approx(np.mean(LORA) - np.mean(FULL))
    assert contrast["only_a"] == 10


def test_losses_are_compared_as_scipy_does_and_less_is_better(tmp_path):
    tables = stored(tmp_path, {"full": [FULL], "lora": [LORA]})
    (of_pair,) = conclude(tables).contrasts
    a, b = np.array(FULL), np.array(LORA)
    assert (of_pair.measure, of_pair.n) == (Measure.LOSS, 12)
    assert (of_pair.only_a, of_pair.only_b) == (1, 10)  # lower with full, with lora
    assert of_pair.difference == pytest.approx(0.2)
    paired = stats.ttest_rel(a, b).confidence_interval()
    assert of_pair.interval.low == pytest.approx(paired.low)
    assert of_pair.interval.high == pytest.approx(paired.high)
    flips = stats.permutation_test(
        (a, b), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=10**6
    )
    assert of_pair.p_value == pytest.approx(flips.pvalue)
    assert of_pair.verdict == "refuted"
    assert verdict_sentence(of_pair) == (
        "Of these two models, lora has a 0.200 nats lower loss than full on these 12 problems."
    )


def test_answer_findings_and_terminal_speak_of_losses(tmp_path):
    tables = stored(tmp_path, {"full": [FULL], "lora": [LORA]})
    write_report(ExperimentFolder(tmp_path / "chats"))
    found = read_json(ExperimentFolder(tmp_path / "chats").findings)
    assert found["answer"] == (
        "Of these trained models, for method: lora has a lower loss than full on these 12 problems "
        "(−0.200 nats, −0.312 to −0.088)."
    )
    assert found["scorer"]["measure"] == "loss"
    assert found["arms"][0]["scores"]["likelihood"]["mean"] == pytest.approx(np.mean(FULL))
    (finding,) = found["findings"]
    assert finding["claim"] == "full has a lower loss than lora"
    console = Console(width=80, record=True, file=StringIO())
    console.print(summary_table(found))
    assert [line.rstrip() for line in console.export_text().splitlines()] == TERMINAL.split("\n")
    assert answer(tables, [], []) == ["No two arms could be compared."]


TERMINAL = """
 arm    mean loss, nats per token [95 % interval]
 ────────────────────────────────────────────────
 full   1.617 [1.205 to 2.028]
 lora   1.417 [1.080 to 1.754]


 A − B         nats [95 % interval]        p, Holm   could see
 ───────────────────────────────────────────────────────────────────────
 full − lora   +0.200 [+0.088 to +0.312]   0.005     0.155       B lower

could see: the difference that this pair would show 8 times in 10, by how
the losses found vary. Less is better: A is better where A − B is below
0."""


def test_over_seeds_losses_speak_of_the_methods(tmp_path):
    shifted = [tuple(loss + 0.01 * seed for loss in LORA) for seed in range(3)]
    full = [tuple(loss - 0.01 * seed for loss in FULL) for seed in range(3)]
    (of_pair,) = conclude(stored(tmp_path, {"full": full, "lora": shifted})).contrasts
    assert of_pair.scope == "methods"
    assert of_pair.by_seed == pytest.approx((0.2, 0.18, 0.16))
    assert verdict_sentence(of_pair).startswith("As methods, over 3 seeds: lora has a 0.180 nats ")


def test_a_loss_that_is_not_defined_is_no_result(tmp_path):
    tables = stored(tmp_path, {"full": [FULL], "lora": [(None, *LORA[1:])]})
    assert tables.missing == [
        "lora, seed 0: failed: for 1 of 12 problems the model gave no valid distribution"
    ]


def test_a_margin_is_not_asked_of_losses(tmp_path):
    found = conclude(stored(tmp_path, {"full": [FULL], "lora": [LORA]}, margin=2))
    assert found.contrasts[0].margin is None
    assert "A margin is in points: of losses, which are in nats, it is not asked." in found.limits


def test_plan_says_that_nothing_is_generated():
    given = {"n": 40, "seeds": 3, "comparisons": 1, "hypothesis": "Within 2 points."}
    found = foresee(**given, measure=Measure.LOSS)
    assert found.detectable is None
    assert found.warning == ""
    assert found.sentence.startswith("Nothing is generated in tests: with 40 test problems")


def test_the_metric_stands_alone(tmp_path):
    (tmp_path / "own.yaml").write_text(
        "train: train.csv\ndoc_to_text: a\ndoc_to_target: b\n"
        "metric_list: [{metric: likelihood}, {metric: f1}]\n"
    )
    with pytest.raises(ConfigError, match="own.yaml:4: metric likelihood: nothing is generated"):
        read_task(str(tmp_path / "own.yaml"))


def test_runs_without_texts_are_not_scored_by_another_metric():
    task = stored_task(TASK)
    with pytest.raises(ConfigError, match="nothing was generated for this task"):
        scorers_of(task).led_by("f1")
    assert task.identity()["metric_list"] == [{"metric": "likelihood"}]


def test_a_run_measures_losses_alone(tiny, tmp_path):
    rows = [{"text": f"Say {number}", "reply": f"It is {number}."} for number in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "chats.yaml").write_text(
        "train: rows.jsonl\ndoc_to_text: text\ndoc_to_target: reply\ngroup_by: reply\n"
        "metric_list: [{metric: likelihood}]\n"
    )
    values = (
        "task=chats.yaml", f"model={tiny}", "data.train_size=12", "data.test_size=12",
        "training.epochs=1", "training.precision=fp32", "name=chats", "arms.full.method=full",
    )  # fmt: skip
    (tmp_path / "small.yaml").write_text("question: Does it learn?\n")
    ran = paribus("run", "small.yaml", *values, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "testing" not in ran.stdout
    run = ExperimentFolder(tmp_path / "runs" / "chats").run("full", 0)
    assert run.generations("zero_shot/raw").read_text() == ""
    assert len(run.heldout.read_text().splitlines()) == 12
    verified = paribus("verify", cwd=tmp_path)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    found = payload(conclude(read_experiment(ExperimentFolder(tmp_path / "runs" / "chats"))))
    assert found["unrecorded"] == ""
    assert found["contrasts"][0]["measure"] == "loss"
