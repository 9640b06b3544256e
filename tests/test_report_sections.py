"""The report's sections: the ledger, overlap, words; each section absent without data."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from in_memory import ARMS, GOLD, run, tables, trial
from paribus.analysis.conditions import circumstances, limits
from paribus.analysis.reads import RunReads, reads_by_run
from paribus.evaluation.signals import Signal
from paribus.files import read_json, write_json
from paribus.report import ledger
from paribus.report.page import write_report
from paribus.report.words import protocol_words, signal_words
from paribus.store import runs
from paribus.store.experiments import write_tuning
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import LIKELIHOOD, TestRead, append_read
from paribus.store.manifest import write_manifest
from reported import EVIL, reported


def read(arm: str, protocol: str, seed: int = 0) -> TestRead:
    return TestRead(
        time="2026-01-31T12:00:00+00:00",
        arm=arm,
        seed=seed,
        protocol=protocol,
        problems=10,
        test_sha256="a",
        fingerprint="f",
    )


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
            "The ledger has no line for lora.",
        ),
        ([], [], ""),
    ],
)
def test_readings_of_the_test_problems(reads, counts, said):
    asked = tables(run("full", GOLD), run("lora", GOLD), reads=reads)
    assert reads_by_run(asked) == [RunReads(arm=a, seed=0, counts=c) for a, c in counts]
    found = ledger.section(asked)
    assert (found is None) == (not reads)
    if found:
        assert " ".join([found.sentence, *found.warnings]).strip().startswith(said)
        assert [row[0] for row in found.table.rows] == [arm for arm, _ in counts]


def test_overlap_in_words():
    overlaps = {
        "overlap_exact": {"test_in_train": 0, "shots_in_train": 0, "shots_in_test": 0},
        "overlap_13gram": {"test_in_train": 4, "shots_in_train": 2, "shots_in_test": 0},
    }
    asked = tables(
        replace(run("full", GOLD), result={"data": overlaps, "training": {"dropped_too_long": 0}}),
        replace(run("lora", GOLD), result={"data": overlaps, "training": {"dropped_too_long": 7}}),
    )
    assert circumstances(asked) == {
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
    asked = tables(replace(run("full", GOLD), result={"forked_from": origin}), run("lora", GOLD))
    assert limits(asked, [])[:-1] == [
        "full seed 0 was not trained by its own settings alone: it went on from step 40 of "
        "another run (lora.alpha: 32.0 → 16.0)."
    ]


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
            append_read(folder.ledger, read(arm, name))
        runs.write_heldout(
            stored,
            [
                {"problem_id": each.problem_id, "nll": 3 + number % 5 + len(arm) / (number + 1),
                 "tokens": 9}
                for number, each in enumerate(main)
            ],
        )  # fmt: skip
        write_json(stored.result, {**result, "heldout": {"variant": "main"}})
        write_manifest(stored)
    row = {"chosen": 1e-3, "edge": "high", "trials": [trial(1e-4, None, EVIL), trial(1e-3, 1.1)]}
    write_tuning(folder, {"full": row})
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
    assert shown == ["What went wrong"]
