"""Held out of the train pool: validation and shots; and what occurs in more than one set."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.config.schema import DataConfig
from paribus.config.task_file import read_task
from paribus.data.alike import contained_13gram, contained_exactly, overlaps, words
from paribus.data.problems import FEW_SHOTS, ProblemSet, load_problems
from paribus.errors import DataError
from paribus.records import Problem

REAL = Path(__file__).parents[2] / "shared" / "gsm8k"
TRAIN, TEST = 30, 6


def row(side: str, number: int, *, socratic: bool = False) -> dict[str, Any]:
    ask = "How many pens? ** " if socratic else ""
    return {
        "question": f"{side}: Tom has {number} pens and buys 1. How many?",
        "answer": f"{ask}{number}+1=<<{number}+1={number + 1}>>{number + 1}\n#### {number + 1}",
        "template": f"t{number % 3}",
        "seed": number // 2,
    }


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))


@pytest.fixture
def folder(tmp_path) -> Path:
    for side, size in {"train": TRAIN, "test": TEST}.items():
        write(tmp_path / f"{side}.jsonl", [row(side, n) for n in range(size)])
        write(
            tmp_path / f"{side}_socratic.jsonl", [row(side, n, socratic=True) for n in range(size)]
        )
    return tmp_path


def draw(folder: Path | None, seed: int = 0, **changes: Any) -> ProblemSet:
    if folder is None:
        data = DataConfig(**{"test_size": 4, **changes})
        return load_problems(read_task("wordproblems"), data, seed)
    return load_problems(read_task("gsm8k"), DataConfig(path=str(folder), **changes), seed)


def asked(problems) -> list[str]:
    return [problem.question for problem in problems]


@pytest.mark.parametrize("generated", [False, True])
@pytest.mark.parametrize("variant", ["main", "socratic"])
def test_nothing_is_in_two_sets(folder, generated, variant):
    where = None if generated else folder
    made = draw(where, train_size=10, validation_size=7, variant=variant)
    sets = [made.train, made.validation, made.shots, made.test]
    assert [len(each) for each in sets[:3]] == [10, 7, FEW_SHOTS]
    everything = [question for each in sets for question in asked(each)]
    assert len(everything) == len(set(everything))
    assert all((" ** " in p.solution) == (variant == "socratic") for p in made.validation)


@pytest.mark.parametrize("generated", [False, True])
def test_both_variants_hold_out_the_same_questions(folder, generated):
    where = None if generated else folder
    main, socratic = (
        draw(where, train_size=9, validation_size=6, variant=variant)
        for variant in ("main", "socratic")
    )
    assert asked(main.validation) == asked(socratic.validation)
    assert asked(main.shots) == asked(socratic.shots)
    left, right = main.hashes(validation=True), socratic.hashes(validation=True)
    assert left["validation_sha256"] == right["validation_sha256"]
    assert "test_sha256" not in left


@pytest.mark.parametrize("generated", [False, True])
def test_validation_moves_no_training_problem_and_no_shot(folder, generated):
    where = None if generated else folder
    without, some, more = (draw(where, train_size=8, validation_size=n) for n in (0, 3, 9))
    assert without.train == some.train == more.train
    assert without.shots == some.shots == more.shots
    assert without.hashes() == more.hashes()
    assert set(some.validation) < set(more.validation)


def test_from_a_file_shots_and_validation_are_the_same_for_every_train_size(folder):
    made = [draw(folder, train_size=n, validation_size=4) for n in (2, 9, "all")]
    assert len({(each.shots, each.validation) for each in made}) == 1
    assert made[2].train[:9] == made[1].train
    assert len(made[2].train) == TRAIN - FEW_SHOTS - 4


def test_tests_have_solutions_in_the_arms_variant_where_there_are_any(folder):
    main, socratic = draw(folder, variant="main"), draw(folder, variant="socratic")
    assert (main.test_variant, socratic.test_variant) == ("main", "socratic")
    assert asked(main.test) == asked(socratic.test)
    assert all(" ** " in p.solution for p in socratic.test)
    assert draw(None, train_size=3, variant="socratic").test_variant == "socratic"
    (folder / "test_socratic.jsonl").unlink()
    without = draw(folder, variant="socratic")
    assert (without.test, without.test_variant) == (main.test, "main")


def test_a_variant_that_lacks_test_questions_is_refused(folder):
    write(folder / "test_socratic.jsonl", [row("test", n, socratic=True) for n in range(4)])
    with pytest.raises(DataError, match="2 of 6 test questions have no socratic solution"):
        draw(folder, variant="socratic")


def test_groups_come_from_the_named_key_of_the_test_file(folder):
    groups = {p.question: p.group for p in draw(folder, group_by="template").test}
    assert groups[row("test", 4)["question"]] == "t1"
    assert set(groups.values()) == {"t0", "t1", "t2"}
    socratic = draw(folder, group_by="seed", variant="socratic")
    assert {p.group for p in socratic.test} == {"0", "1", "2"}
    assert {p.group for p in (*socratic.train, *draw(folder).test)} == {""}


@pytest.mark.parametrize("value", [None, "", True, 1.5, ["a"], "missing"])
def test_a_line_without_its_group_is_named(folder, value):
    bad = {**row("test", 1), "template": value}
    if value == "missing":
        del bad["template"]
    write(folder / "test.jsonl", [row("test", 0), bad])
    with pytest.raises(DataError, match=r"test\.jsonl:2: has no text .* 'template'") as caught:
        draw(folder, group_by="template")
    assert "question, answer" in caught.value.remedy


def test_duplicate_tests_are_counted(folder):
    write(folder / "test.jsonl", [row("test", n) for n in (0, 1, 1, 2, 0)])
    made = draw(folder)
    assert (len(made.test), made.test_duplicates) == (3, 2)


NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
WORDS = re.findall(r"\w+", NUMBERS)


def problem(question: str) -> Problem:
    return Problem(question=question, solution="#### 1", answer="1")


@pytest.mark.parametrize(
    ("test", "train", "exactly", "by_13gram"),
    [
        (" ".join(WORDS), " ".join(WORDS), 1, 1),
        (" ".join(WORDS), "  ".join(WORDS), 1, 1),
        (" ".join(WORDS[:13]), "zero " + " ".join(WORDS), 0, 1),
        (", ".join(WORDS[:13]).upper() + "?", " ".join(WORDS), 0, 1),
        (" ".join(WORDS[:12]), " ".join(WORDS), 0, 0),
        (" ".join(WORDS[:12]), " ".join(WORDS[:12]), 1, 0),
        (" ".join(WORDS[::-1]), " ".join(WORDS), 0, 0),
        (" ".join([*WORDS[:6], "x", *WORDS[6:]]), " ".join(WORDS), 0, 0),
        ("", "", 1, 0),
    ],
)
def test_overlap_of_two_questions(test, train, exactly, by_13gram):
    sets = [problem(test)], [problem(train), problem("other")]
    assert contained_exactly(*sets) == exactly
    assert contained_13gram(*sets) == by_13gram


@given(st.text(st.characters(codec="ascii")) | st.text(), st.text(max_size=3))
def test_words_are_what_a_regular_expression_finds(text, more):
    assert words(text + more) == re.findall(r"\w+", (text + more).lower())


def test_overlap_counts_problems_of_the_first_set():
    these = [problem(f"{' '.join(WORDS)} {n}") for n in range(3)]
    counts = overlaps(these, [problem(" ".join(WORDS))], [problem("shot")], contained_13gram)
    assert counts == {"test_in_train": 3, "shots_in_train": 0, "shots_in_test": 0}


@pytest.mark.skipif(not REAL.is_dir(), reason=f"THE REAL GSM8K IS NOT TESTED: there is no {REAL}")
def test_the_real_files_are_compared_in_seconds():
    made = draw(REAL, validation_size=500)
    started = time.process_time()
    counts = overlaps(made.test, made.train, made.shots, contained_13gram)
    assert time.process_time() - started < 10  # 0.4 s where nothing else runs
    assert counts == {"test_in_train": 3, "shots_in_train": 0, "shots_in_test": 0}
    assert overlaps(made.test, made.train, made.shots, contained_exactly)["test_in_train"] == 0
