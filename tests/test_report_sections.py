"""The report's sections: the ledger, overlap, words; each section absent without data."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import stores
from by_hand import result
from in_memory import ARMS, GOLD, run, tables, trial
from paribus.analysis.conditions import circumstances, limits
from paribus.analysis.family import judged
from paribus.analysis.findings import conclude
from paribus.analysis.reading import RunReads, reads_by_run
from paribus.cli.main import main
from paribus.evaluation.mistakes import Signal
from paribus.files import read_json, write_json
from paribus.records import Likelihood
from paribus.report import findings
from paribus.report.page import write_report
from paribus.report.units import protocol_words, signal_words
from paribus.store import runs
from paribus.store.experiments import ArmTuning, write_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.manifest import write_manifest
from paribus.store.results import LIKELIHOOD, DataCounts
from paribus.store.verify import Checked, verify
from stores import EVIL, enter, read, reported

ZERO = "zero_shot/raw"


@pytest.mark.parametrize(
    ("reads", "counts", "said"),
    [
        (
            [read("full", ZERO), read("full", LIKELIHOOD), read("lora", ZERO)],
            [("full", {ZERO: 1, LIKELIHOOD: 1}), ("lora", {ZERO: 1})],
            "Each run read the test problems once per protocol.",
        ),
        (
            [read("lora", ZERO), read("full", ZERO), read("full", ZERO)],
            [("full", {ZERO: 2}), ("lora", {ZERO: 1})],
            "full read the test problems more than once under one protocol.",
        ),
        (
            [read("full", ZERO), read("gone", ZERO)],
            [("full", {ZERO: 1}), ("lora", {}), ("gone", {ZERO: 1})],
            "The ledger has no line for lora seed 0, which was tested: how often",
        ),
        ([], [], ""),
    ],
)
def test_readings_of_the_test_problems(reads, counts, said):
    asked = tables(run("full", GOLD), run("lora", GOLD), reads=reads)
    assert reads_by_run(asked) == [RunReads(arm=a, seed=0, counts=c) for a, c in counts]
    found = findings.section(asked)
    assert (found is None) == (not reads)
    if found:
        assert " ".join([found.sentence, *found.warnings]).strip().startswith(said)
        assert [row[0] for row in found.table.rows] == [arm for arm, _ in counts]


def test_overlap_in_words():
    overlaps = DataCounts(
        overlap_exact={"test_in_train": 0, "shots_in_train": 0, "shots_in_test": 0},
        overlap_13gram={"test_in_train": 4, "shots_in_train": 2, "shots_in_test": 0},
    )
    asked = tables(
        *(
            replace(run(arm, GOLD), data=overlaps, result=result(training={"dropped_too_long": n}))
            for arm, n in (("full", 0), ("lora", 7))
        )
    )
    assert circumstances(asked) == {
        "prompt protocol": {"zero_shot/raw": ["full", "lora"]},
        "test questions among the training questions": {
            "0 whole, 4 sharing 13 words in a row": ["full", "lora"]
        },
        "solved examples among the training questions": {
            "0 whole, 2 sharing 13 words in a row": ["full", "lora"]
        },
        "solved examples among the test questions": {
            "0 whole, 0 sharing 13 words in a row": ["full", "lora"]
        },
        "training examples left out as too long": {"0": ["full"], "7": ["lora"]},
    }
    assert limits(asked, [])[:-1] == [
        "There are test questions among the training questions: "
        "0 whole, 4 sharing 13 words in a row."
    ]


def test_a_fork_is_said():
    origin = {"step": 40, "differences": ["lora.alpha: 32.0 → 16.0"]}
    asked = tables(replace(run("full", GOLD), result=result(forked_from=origin)), run("lora", GOLD))
    assert limits(asked, [])[:-1] == [
        "full seed 0 was not trained by its own settings alone: it resumed from step 40 of "
        "another run (lora.alpha: 32.0 → 16.0)."
    ]


@pytest.mark.parametrize(
    ("methods", "precision", "said"),
    [
        (("full", "lora"), "bf16", True),
        (("lora", "full"), "bf16", True),
        (("full", "lora"), "fp32", False),
        (("full", "full"), "bf16", False),
        (("lora", "none"), "bf16", False),
    ],
)
def test_methods_compared_in_bf16_are_not_trained_alike(methods, precision, said):
    made = tables(run("full", GOLD), run("lora", GOLD))
    arms = tuple(
        replace(arm, identity={"method": method, "training": {"precision": precision}})
        for arm, method in zip(made.arms, methods, strict=True)
    )
    asked = replace(made, arms=arms, declared=(("full", "lora", "method"),))
    found = [each for each in limits(asked, judged(asked).contrasts) if "bf16" in each]
    assert [
        each.startswith("Training in bf16 is not the same to both methods") for each in found
    ] == [True] * said
    (beside,) = conclude(asked).caveats
    assert any("trained in bf16" in each for each in beside.all) is said
    assert not beside.unlike  # the setting is the same: nothing that `strict` refuses


def test_words():
    assert {signal_words(each) for each in Signal} >= {"cut before a final answer", "stopped early"}
    assert [
        protocol_words(each) for each in ("few_shot/chat+calculator", "one_shot", LIKELIHOOD)
    ] == [
        "few-shot, chat, calculator",
        "one-shot",
        "gold solutions, for their likelihood",
    ]


@pytest.fixture
def whole(tmp_path: Path) -> ExperimentFolder:
    """A store with all that a report can show; names and errors are hostile."""
    folder = ExperimentFolder(tmp_path / "whole")
    reported(
        folder,
        ARMS,
        24,
        lambda arm, number: number < {"baseline": 2, "full": 15, "lora": 12}[arm],
        lambda arm, number: EVIL if number == 23 else "7*1=<<7*1=7>>7",
    )
    for arm in ARMS:
        stored = folder.run(arm, 0)
        main = runs.read_generations(stored.generations("one_shot"))
        result = read_json(stored.result)
        for name in ("zero_shot/raw", "zero_shot/raw+calculator"):
            runs.write_generations(stored, name, main[::-1])
            result.setdefault("also", {})[name] = {"protocol": name, "problems": 24}
            enter(folder, arm, name)
        enter(folder, arm, LIKELIHOOD)
        runs.write_heldout(
            stored,
            [
                Likelihood(problem_id=each.problem_id, tokens=9,
                           nll=3 + number % 5 + len(arm) / (number + 1))
                for number, each in enumerate(main)
            ],
        )  # fmt: skip
        write_json(stored.result, {**result, "heldout": {"variant": "main", "problems": 24}})
        write_manifest(stored)
    trials = [trial(1e-4, None, EVIL), trial(1e-3, 1.1)]
    write_tuning(folder, {"full": ArmTuning(chosen=1e-3, edge="high", trials=trials)})
    return folder


SECTIONS = [
    "What went wrong",
    "How likely the models find the gold solutions",
    "Asked in other ways",
    "Learning rates",
    "How often the test problems were read",
]


def test_the_page_with_everything(whole):
    raw = write_report(whole).read_text(encoding="utf-8")
    for heading in SECTIONS:
        assert f">{heading}</h" in raw
    assert "<img" not in raw
    assert "full at 1e-4: &lt;/script&gt;&lt;!--&lt;script&gt;" in raw
    without_scripts = re.sub(r"<script.*?</script>", "", raw, flags=re.DOTALL)
    assert not re.search(r"\b(nan|None|inf)\b", without_scripts)
    assert "Each run read the test problems once per protocol." in raw
    assert "The best rate of full is the highest tried (1e-3)" in raw
    ids = re.findall(r'\bid="([^"]+)"', raw)
    assert len(ids) == len(set(ids))
    assert write_report(whole).read_text(encoding="utf-8") == raw


def test_sections_without_data_are_absent(whole):
    for arm in ARMS:
        stored = whole.run(arm, 0)
        stored.heldout.unlink()
        write_json(stored.result, {**read_json(stored.result), "also": {}})
        write_manifest(stored)
    whole.ledger.unlink()
    whole.tuning.unlink()
    raw = write_report(whole).read_text(encoding="utf-8")
    shown = [heading for heading in SECTIONS if f">{heading}</h" in raw]
    assert shown == ["What went wrong", "How often the test problems were read"]
    assert "The ledger has no line for baseline seed 0, full seed 0 and lora seed 0" in raw


LOST = {  # what is left of the ledger's lines, what is said of the others
    "all there": (lambda lines: lines, ""),
    "one protocol": (
        lambda lines: [each for each in lines if '"lora"' not in each or "one_shot" in each],
        "lora seed 0 (zero_shot/raw, zero_shot/raw+calculator, likelihood), which was tested",
    ),
    "one run": (
        lambda lines: [each for each in lines if '"full"' not in each],
        "full seed 0, which was tested",
    ),
    "all but one": (
        lambda lines: lines[:1],
        "baseline seed 0 (zero_shot/raw, zero_shot/raw+calculator, likelihood), full seed 0 and "
        "lora seed 0, which were tested",
    ),
    "emptied": (lambda lines: [], "baseline seed 0, full seed 0 and lora seed 0, which were"),
    "gone": (None, "baseline seed 0, full seed 0 and lora seed 0, which were tested"),
}


@pytest.mark.parametrize(("left", "said"), LOST.values(), ids=LOST)
def test_what_a_ledger_has_lost_is_said_everywhere(whole, capsys, left, said):
    lines = whole.ledger.read_text().splitlines(keepends=True)
    if left is None:
        whole.ledger.unlink()
    else:
        whole.ledger.write_text("".join(left(lines)))
    assert main(["report", str(whole.path)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    sentence = read_json(whole.findings)["unrecorded"]
    page = whole.report.read_text(encoding="utf-8")
    if not said:
        assert (sentence, "warning: The ledger" in told) == ("", False)
        assert "Each run read the test problems once per protocol." in page
        return
    assert sentence.startswith(f"The ledger has no line for {said}")
    assert f"warning: {sentence}" in told
    assert sentence in page
    assert "Each run read the test problems once per protocol." not in page
    lost = {each for each in found_in(whole.path) if each.startswith("has no line for ")}
    assert lost


def found_in(path) -> list[str]:
    checked = Checked()
    verify(path, checked, lambda _: None)
    return [each.what for each in checked.differences]


def test_a_run_that_was_stopped_in_its_tests_needs_its_line(tmp_path, capsys):
    folder = ExperimentFolder(tmp_path / "small")
    stores.describe(folder)
    stores.finish(folder, "full", stores.answers({0}))
    stores.stopped(folder.run("lora", 0))
    assert main(["report", str(folder.path)]) == 0
    assert "The ledger has no line for lora seed 0" in " ".join(capsys.readouterr().out.split())
    enter(folder, "lora", "zero_shot")
    assert main(["report", str(folder.path)]) == 0
    assert "The ledger" not in capsys.readouterr().out


def test_generations_of_others_need_no_ledger(tmp_path, capsys):
    """Nor do runs of paribus that are compared beside them."""
    folder = ExperimentFolder(tmp_path / "small")
    stores.describe(folder)
    stores.finish(folder, "full", stores.answers({0}))
    folder.ledger.unlink()
    run = folder.run("full", 0)
    write_json(run.spec, {**read_json(run.spec), "identity": {"method": "full"}})
    write_manifest(run)
    page = tmp_path / "page.html"
    assert main(["score", str(folder.path / "full"), "--report", str(page)]) == 0
    assert "ledger" not in capsys.readouterr().out
    assert "How often the test problems were read" not in page.read_text(encoding="utf-8")
