"""Problems: one draw for every arm, nothing lost silently, and every way the data can be wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from by_hand import without_subquestions
from paribus.config.schema import DataConfig
from paribus.config.task import Task
from paribus.config.task_file import read_task
from paribus.data.problems import FEW_SHOTS, load_problems, read_split
from paribus.errors import DataError, NotHere
from paribus.records import Problem

REAL = Path(__file__).parents[2] / "shared" / "gsm8k"
TRAIN, TEST = 16, 14
FILES = {
    "train.jsonl": TRAIN,
    "test.jsonl": TEST,
    "train_socratic.jsonl": TRAIN,
    "test_socratic.jsonl": TEST,
}
SOURCES = ["gsm8k", "gsm8k_swapped", "wordproblems"]


def row(side: str, number: int, *, socratic: bool = False) -> dict[str, str]:
    ask, total = "How many pens? ** " if socratic else "", number + 1
    return {
        "question": f"{side}: Tom has {number} pens and buys 1. How many?",
        "answer": f"{ask}{number}+1=<<{number}+1={total}>>{total} pens\n#### {total}",
    }


def rows(side: str, first: int, last: int, **style: bool) -> list[dict[str, str]]:
    return [row(side, number, **style) for number in range(first, last)]


def write(file: Path, rows: list[Any]) -> None:
    file.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, size in FILES.items():
        side, socratic = name.removesuffix(".jsonl").split("_")[0], "socratic" in name
        write(tmp_path / name, rows(side, 0, size, socratic=socratic))
    return tmp_path


def draw(task: str | Task = "gsm8k", path: Path | None = None, seed: int = 0, **changes: Any):
    sizes = {"train_size": 6, "test_size": 4} if task == "wordproblems" else {}
    config = DataConfig(path=path and str(path), **{**sizes, **changes})
    return load_problems(read_task(task) if isinstance(task, str) else task, config, seed)


def asked(problems) -> list[str]:
    return [problem.question for problem in problems]


@pytest.mark.parametrize("source", SOURCES)
def test_both_variants_draw_the_same_problems(folder, source):
    main = draw(source, folder, train_size=6, test_size=4)
    socratic = draw(source, folder, train_size=6, test_size=4, variant="socratic")
    assert asked(main.train) == asked(socratic.train)
    assert main.shot.question == socratic.shot.question
    assert asked(main.test) == asked(socratic.test)
    assert main.hashes()["test_sha256"] == socratic.hashes()["test_sha256"]
    assert main.hashes()["train_sha256"] != socratic.hashes()["train_sha256"]
    for plain, stepped in zip(main.train, socratic.train, strict=True):
        assert " ** " in stepped.solution
        assert without_subquestions(stepped.solution) == plain.solution


@pytest.mark.parametrize("source", SOURCES)
def test_train_test_and_shot_are_disjoint(folder, source):
    problems = draw(source, folder, train_size=5, test_size=4)
    everything = [*asked(problems.train), *asked(problems.test), problems.shot.question]
    assert len(everything) == len(set(everything)) == 5 + 4 + 1


@pytest.mark.parametrize("source", SOURCES)
def test_a_smaller_draw_is_part_of_a_larger_one(folder, source):
    """Sizes can then be compared: the shot is the same, and the smaller set is a beginning."""
    draws = [draw(source, folder, train_size=n, test_size=n) for n in (2, 4, 8)]
    for small, large in zip(draws, draws[1:], strict=False):
        assert small.train == large.train[: len(small.train)]
        assert small.test == large.test[: len(small.test)]
        assert small.shot == large.shot


@pytest.mark.parametrize("source", SOURCES)
def test_the_seed_decides_the_draw(folder, source):
    draws = [draw(source, folder, seed, train_size=5, test_size=4) for seed in range(6)]
    assert len({tuple(asked(d.train)) for d in draws}) > 4
    assert len({d.shot.question for d in draws}) > 2
    assert draw(source, folder, 3, train_size=5, test_size=4) == draws[3]


def test_the_order_in_the_file_does_not_matter(folder):
    before = draw("gsm8k", folder, train_size=5, test_size=4)
    for name in FILES:
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(reversed(lines)))
    assert draw("gsm8k", folder, train_size=5, test_size=4) == before


def test_sides_come_from_their_files(folder):
    plain, swapped = draw("gsm8k", folder), draw("gsm8k_swapped", folder)
    assert {q[:5] for q in asked([*plain.train, plain.shot])} == {"train"}
    assert {q[:4] for q in asked(plain.test)} == {"test"}
    assert (len(plain.train), len(plain.test)) == (TRAIN - FEW_SHOTS, TEST)
    assert {q[:4] for q in asked([*swapped.train, swapped.shot])} == {"test"}
    assert {q[:5] for q in asked(swapped.test)} == {"train"}
    assert (len(swapped.train), len(swapped.test)) == (TEST - FEW_SHOTS, TRAIN)


def test_duplicates_and_overlap_are_left_out_and_counted(folder):
    """Questions equal but for blanks are one question."""
    blanks = {**row("train", 1), "question": row("train", 1)["question"].replace(" ", "  ")}
    twice = [row("train", 0), row("train", 0), row("train", 1), blanks, *rows("train", 2, TRAIN)]
    write(folder / "train.jsonl", [*twice, row("test", 3), row("test", 5)])
    problems = draw("gsm8k", folder)
    assert (problems.train_duplicates, problems.overlap) == (2, 2)
    assert len(problems.train) == TRAIN - FEW_SHOTS
    assert {q[:5] for q in asked([*problems.train, problems.shot])} == {"train"}
    assert len(problems.test) == TEST


@pytest.mark.parametrize(
    ("key", "size", "message"),
    [
        ("train_size", 12, "data.train_size: 17 distinct .* .12 to train on, 5 as .*16 are there"),
        ("validation_size", 11, "train_size: 17 .*, 11 for data.validation_size. and 16 are there"),
        ("test_size", 15, "data.test_size: 15 distinct problems are needed and 14 are there"),
    ],
)
def test_sizes_too_large_are_refused_with_both_numbers(folder, key, size, message):
    with pytest.raises(DataError, match=message) as caught:
        draw("gsm8k", folder, **{key: size})
    assert f"data.{key}" in caught.value.remedy


def test_generated_problems_need_numbers():
    with pytest.raises(DataError, match=r"data.train_size and data.test_size are 'all'"):
        draw("wordproblems", train_size="all")


def test_one_problem_is_not_enough(folder):
    write(folder / "train.jsonl", [row("train", 1)])
    with pytest.raises(DataError, match="6 distinct .*, 5 as solved examples, .* and 1 are"):
        draw("gsm8k", folder)


GOOD = json.dumps(row("train", 1)).encode()
BROKEN = {  # what the third line of train.jsonl holds: what is said of it
    b'{"question": "Q", ': r"train\.jsonl:3: not JSON: Expecting property name",
    b'{"question": "Caf\xe9?", "answer": "#### 1"}': r":3: not in UTF-8: byte 0xe9",
    b'["Q", "#### 1"]': r"train\.jsonl:3: not an object",
    b'{"question": "Q"}': r":3: there is no column 'answer'",
    b'{"question": " ", "answer": "#### 1"}': r":3: question gives ' ', which is blank",
    b'{"question": "Q", "answer": {"n": 5}}': r":3: doc_to_target gives {'n': 5}, which is not",
    b'{"question": "Q", "answer": "It is 5."}': r":3: the solution does not end in '#### N' "
    r"on its own line but in 'It is 5\.'",
    b'{"question": "Q", "answer": "#### 5\\nis it"}': r":3: the solution does not end .* 'is it'",
    b'{"question": "Q", "answer": "It is #### 5"}': r":3: the solution does not end in",
    b'{"question": "Q", "answer": "#### five"}': r":3: the solution does not end .*'#### five'",
}


@pytest.mark.parametrize(("line", "message"), BROKEN.items(), ids=[str(k) for k in range(10)])
def test_a_broken_line_is_named(folder, line, message):
    """A blank line counts, as it does in an editor."""
    (folder / "train.jsonl").write_bytes(b"\n".join([GOOD, b"", line, GOOD, b""]))
    with pytest.raises(DataError, match=message) as caught:
        draw("gsm8k", folder)
    remedy = "save the whole" if b"\xe9" in line else "fix or remove the line"
    remedy = "write '####', one blank" if "'It is #### 5'" in str(caught.value) else remedy
    remedy = "write '####', one blank" if "'#### five'" in str(caught.value) else remedy
    assert caught.value.remedy.startswith(remedy)


def test_what_a_line_may_hold(folder):
    """A byte order mark, Windows line ends and Unicode line separators are no line ends."""
    odd = {
        "question": "Ana\u2028said\u0085:\u2029how\x0cmany?",
        "answer": "x\u2028y\n#### 1,000 \n",
    }
    text = json.dumps(odd, ensure_ascii=False) + "\r\n\r\n" + GOOD.decode()
    (folder / "train.jsonl").write_text("\ufeff" + text, encoding="utf-8", newline="")
    first, second = read_split(read_task("gsm8k").base, DataConfig(path=str(folder)), "train")[0]
    assert first == Problem(
        question=odd["question"], solution="x\u2028y\n#### 1,000", answer="1000"
    )
    assert second.answer == "2"


def test_missing_and_empty_files(folder):
    (folder / "train_socratic.jsonl").unlink()
    with pytest.raises(DataError, match=r"there is no file .*/train_socratic\.jsonl") as caught:
        draw("gsm8k", folder, variant="socratic")
    assert "task=gsm8k_swapped trains on the test files" in caught.value.remedy
    assert len(draw("gsm8k_swapped", folder, variant="socratic").train) == TEST - FEW_SHOTS
    (folder / "test.jsonl").unlink()
    with pytest.raises(DataError, match=r"there is no file .*/test\.jsonl") as caught:
        draw("gsm8k", folder)
    assert "data.path=null for the Hub" in caught.value.remedy
    assert "gsm8k_swapped" not in caught.value.remedy
    (folder / "test.jsonl").write_text("\n \n")
    with pytest.raises(DataError, match=r"test\.jsonl is empty"):
        draw("gsm8k", folder)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"THE REAL GSM8K IS NOT TESTED: there is no {REAL}")
def test_the_real_files():
    main, socratic = (draw("gsm8k_swapped", REAL, variant=v) for v in ("main", "socratic"))
    assert (len(main.train), len(main.test)) == (1319 - FEW_SHOTS, 7473)
    assert (main.train_duplicates, main.overlap) == (0, 0)
    assert asked(main.train) == asked(socratic.train)
    stripped = [without_subquestions(p.solution) for p in (*socratic.train, socratic.shot)]
    assert stripped == [p.solution for p in (*main.train, main.shot)]
    assert [p.answer for p in main.train] == [p.answer for p in socratic.train]
    plain = draw("gsm8k", REAL)
    assert (len(plain.train), len(plain.test)) == (7473 - FEW_SHOTS, 1319)
    with pytest.raises(DataError, match=r"there is no file .*/train_socratic\.jsonl"):
        draw("gsm8k", REAL, variant="socratic")


def test_the_hub_path_reads_the_layout_of_openai_gsm8k(folder, tmp_path, monkeypatch):
    """`datasets` itself reads a repository laid out as the Hub's, with a configuration each."""
    import datasets
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    card = ["---", "configs:"]
    for variant, mark in (("main", ""), ("socratic", "_socratic")):
        card += [f"- config_name: {variant}", "  data_files:"]
        for split in ("train", "test"):
            card += [f"  - split: {split}", f"    path: {variant}/{split}-*"]
            lines = (folder / f"{split}{mark}.jsonl").read_text().splitlines()
            file = tmp_path / "repository" / variant / f"{split}-00000-of-00001.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(
                pyarrow.Table.from_pylist([json.loads(line) for line in lines]), file
            )
    (tmp_path / "repository" / "README.md").write_text("\n".join([*card, "---", ""]))
    for variant in ("main", "socratic"):
        for source in ("gsm8k", "gsm8k_swapped"):
            on_hub = replace(read_task(source), dataset_path=str(tmp_path / "repository"))
            found = draw(on_hub, variant=variant)
            assert found == draw(source, folder, variant=variant)


def test_without_a_network_the_hub_path_says_what_to_do(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    message = r"openai/gsm8k socratic train is not in the local cache and the Hub is out of reach"
    with pytest.raises(NotHere, match=message) as caught:
        draw("gsm8k", variant="socratic")
    assert "a folder with its JSON lines as data.path" in caught.value.remedy
