"""Generations made elsewhere: every layout is read, counted and judged as our own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from external_rows import (
    FIRST,
    GOLD,
    RIGHT,
    SECOND,
    asked,
    generations,
    harness,
    own,
    plain,
    strict_json,
    write,
)
from paribus.analysis.elsewhere.asked import way_of
from paribus.analysis.elsewhere.external import collect
from paribus.analysis.summary import main_protocol
from paribus.cli.main import main
from paribus.errors import DataError
from paribus.store import runs
from paribus.store.layout import ExperimentFolder
from stores import complete_run

# Written by lm-eval 0.4.13 itself (gsm8k.yaml with 12 questions of ours, a model with canned
# texts): its own exact_match of each text under both filters stands in each row.
HARNESS = Path(__file__).parent / "golden" / "samples_gsm8k_local.jsonl"


@pytest.fixture
def gold(tmp_path) -> Path:
    return write(tmp_path / "gold.jsonl", GOLD)


def json_of(capsys, *arguments: Any) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json"]) == 0
    return strict_json(capsys.readouterr().out)


# What the three scorers say of the harness's file, counted by hand.
COUNTED = {"strict": 5, "flexible": 7, "canonical": 8}


def test_it_is_told_how_answers_are_given(tmp_path, capsys, gold):
    """In words, in boxes and behind marks they score alike; one style alone can count."""
    words = ["The answer is {}.", "\\boxed{{{}}}", "#### {}"]
    texts = {n: words[n % 3].format(n + 1) for n in range(12)}
    files = [
        write(tmp_path / "mixed.jsonl", plain(texts)),
        write(tmp_path / "r.jsonl", plain(RIGHT)),
    ]
    assert main(["compare", *map(str, files), "--gold", str(gold)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    told = "mixed The answer is N: 4, \\boxed{N}: 4, #### N: 4; r #### N: 12."
    assert f"Final answers, as they are given: {told}" in said
    assert main(["score", str(files[1]), "--gold", str(gold)]) == 0
    assert "Final answers" not in capsys.readouterr().out
    boxed = json_of(capsys, "score", files[0], "--gold", gold, "--answer", "boxed")["arms"][0]
    assert boxed["answers"] == {"none": 8, "boxed": 4}
    assert boxed["scores"]["canonical"]["correct"] == 4


def test_texts_that_hold_their_prompts_are_told_and_read(tmp_path, capsys, gold):
    texts = {n: f"Question: {row['question']}\nAnswer: #### {n + 1}" for n, row in enumerate(GOLD)}
    file = write(tmp_path / "x.jsonl", plain(texts))
    assert main(["score", str(file), "--gold", str(gold)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "x: 12 of 12 texts hold the question they answer" in said
    assert "12 of 12 100 %" in said


def test_score_prints_the_contract(capsys):
    found = json_of(capsys, "score", HARNESS)
    (arm,) = found["arms"]
    assert set(arm) == {"name", "n", "scores", "outcomes", "answers", "signals"}
    assert (arm["name"], arm["n"]) == ("golden", 12)
    assert {name: each["correct"] for name, each in arm["scores"].items()} == COUNTED
    assert arm["scores"]["canonical"]["accuracy"] == pytest.approx(8 / 12)
    # Clopper and Pearson's of 8 of 12: quantiles of Beta(8, 5) and Beta(9, 4).
    assert arm["scores"]["canonical"]["interval"] == pytest.approx([0.3489, 0.9008], abs=1e-4)
    assert arm["outcomes"] == {
        "correct": 8,
        "wrong": 1,
        "no_answer": 3,
        "truncated": 0,
        "failed": 0,
    }
    shown = {name: count for name, count in arm["signals"].items() if count}
    assert shown == {"arithmetic_slip": 1, "no_answer": 3}
    assert found["contrasts"] == []
    assert "left_out" not in found


def test_compare_prints_the_contract(tmp_path, gold, capsys):
    """Counted by hand: the second solves 3, 4, 5 and 6 alone, the first solves 0 alone."""
    first = write(tmp_path / "first.jsonl", plain(FIRST))
    second = write(tmp_path / "out" / "model" / "samples_gsm8k_x.jsonl", harness(SECOND))
    third = write(tmp_path / "third.jsonl", own(FIRST))
    found = json_of(capsys, "compare", first, second, f"same={third}", "--gold", gold)
    assert [arm["name"] for arm in found["arms"]] == ["first", "model", "same"]
    assert [arm["scores"]["canonical"]["correct"] for arm in found["arms"]] == [8, 11, 8]
    contrast, none, _ = found["contrasts"]
    assert set(contrast) == {
        *("a", "b", "seeds", "scope", "n", "only_a", "only_b", "difference", "interval"),
        *("p_value", "p_holm", "detectable", "detectable_range", "split", "verdict"),
        *("equivalence", "reason", "sentence", "explained_by"),
        *("caveats", "machines", "answered"),
    }
    assert found["speaks_of"] == "Verdicts are of these models (one seed)."
    assert found["answer"].startswith("Of these models, a difference between model and first (")
    assert (contrast["seeds"], contrast["scope"], contrast["equivalence"]) == (
        [1, 1],
        "models",
        None,
    )
    assert contrast["sentence"].startswith("Not shown: the difference may be")
    assert none["reason"] == "both solve the very same problems"
    assert (contrast["a"], contrast["b"], contrast["n"]) == ("model", "first", 12)
    assert (contrast["only_a"], contrast["only_b"]) == (4, 1)
    assert contrast["difference"] == pytest.approx(3 / 12)
    assert contrast["p_value"] == pytest.approx(0.375)  # 2 (C(5,0) + C(5,1)) / 2^5
    assert contrast["verdict"] == "not_shown"
    assert (none["a"], none["b"], none["p_value"]) == ("same", "first", None)


def test_common_compares_what_all_files_answer_and_counts_the_rest(tmp_path, gold, capsys):
    first = write(tmp_path / "a.jsonl", [*plain(FIRST)[:10], *plain(FIRST)[:2]])
    second = write(tmp_path / "b.jsonl", [*plain(SECOND)[3:], {"id": "zz", "completion": ""}])
    assert main(["compare", str(first), str(second), "--gold", str(gold)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "a: 10 problems, 2 missing, 0 unknown, 2 repeated" in said
    assert "b: 9 problems, 3 missing, 1 unknown, 0 repeated" in said
    assert "give --common to use the 7 problems that all of them answer" in said
    found = json_of(capsys, "compare", first, second, "--gold", gold, "--common")
    assert [arm["n"] for arm in found["arms"]] == [7, 7]
    assert (found["contrasts"][0]["only_a"], found["contrasts"][0]["only_b"]) == (4, 0)
    counts = ("problems", "missing", "unknown", "repeated")
    assert [[each[key] for key in counts] for each in found["left_out"]] == [
        [10, 2, 0, 2],
        [9, 3, 1, 0],
    ]


def test_files_that_state_their_problems_are_held_against_each_other(tmp_path):
    first = write(tmp_path / "a.jsonl", asked(RIGHT))
    second = write(tmp_path / "b.jsonl", harness({n: RIGHT[n] for n in range(9)}))
    with pytest.raises(DataError, match="a: 12 problems, 0 missing.*b: 9 problems, 3 missing"):
        collect([str(first), str(second)])
    found = collect([str(first), str(second)], common=True)
    assert [len(run.generations) for run in found.tables.runs] == [9, 9]


def test_a_line_said_twice_counts_once_and_is_reported(tmp_path, gold, capsys):
    file = write(tmp_path / "a.jsonl", [*plain(RIGHT), *plain(RIGHT)[:2]])
    found = json_of(capsys, "score", file, "--gold", gold)
    assert found["arms"][0]["n"] == 12
    assert found["left_out"][0]["repeated"] == 2


def make_run(folder: ExperimentFolder, arm: str, seed: int, texts: dict[int, str]) -> Path:
    method = "none" if arm == "baseline" else "full"
    identity = {"method": method, "lora": {"r": 8}, "replicate": seed}
    spec = {"fingerprint": "f", "arm": arm, "replicate": seed, "identity": identity}
    return complete_run(folder.run(arm, seed), generations(texts), "one_shot", spec=spec).path


def test_one_name_for_several_files_makes_them_runs_of_one_arm(tmp_path, gold, capsys):
    texts = {"a1": FIRST, "a2": SECOND, "b1": RIGHT, "b2": {**RIGHT, 0: "So: #### 1"}}
    files = [f"{name[0]}={write(tmp_path / name, plain(texts[name]))}" for name in texts]
    found = json_of(capsys, "compare", *files, "--gold", gold)
    assert [(arm["name"], arm["seed"]) for arm in found["arms"]] == [
        *(("a", 0), ("a", 1)),
        *(("b", 0), ("b", 1)),
    ]
    (contrast,) = found["contrasts"]
    assert contrast["difference"] == pytest.approx((12 + 12 - 8 - 11) / 24)


def test_runs_and_arms_of_paribus(tmp_path, gold):
    """A run is one model; an arm's folder brings its seeds, and says which are not there."""
    folder = ExperimentFolder(tmp_path / "small")
    base = make_run(folder, "baseline", 0, FIRST)
    for seed in (0, 2):
        make_run(folder, "full", seed, SECOND)
    runs.begin(folder.run("full", 1), {"fingerprint": "f"})
    found = collect([str(base), str(folder.path / "full")])
    tables = found.tables
    assert [(run.arm, run.seed) for run in tables.complete] == [
        ("baseline", 0),
        ("full", 0),
        ("full", 2),
    ]
    assert tables.missing == ["full, seed 1: unfinished: it is still running, or was stopped."]
    assert [arm.untuned for arm in tables.arms] == [True, False]
    assert main_protocol(tables.complete[1]) == "one_shot"
    # Beside a file nothing can be said to be equal, so nothing is.
    file = write(tmp_path / "x.jsonl", plain(FIRST))
    mixed = collect([str(file), str(folder.run("full", 2).path)], gold=gold).tables
    assert [(run.arm, run.seed, run.result) for run in mixed.runs] == [
        ("x", 0, None),
        ("full", 0, None),
    ]
    assert [arm.identity for arm in mixed.arms] == [{}, {}]
    with pytest.raises(DataError, match="seed-1 holds no complete run: unfinished"):
        collect([str(folder.run("full", 1).path)])


def test_no_torch_and_a_whole_report(tmp_path, gold):
    files = [
        write(tmp_path / "first.jsonl", plain(FIRST)),
        write(tmp_path / "second.jsonl", asked(SECOND)),
    ]
    page = tmp_path / "report" / "index.html"
    code = (
        "import sys; from paribus.cli.main import main; assert main(sys.argv[1:]) == 0; "
        "heavy = {'torch', 'transformers', 'peft', 'datasets', 'accelerate'}; "
        "heavy |= {'scipy.stats', 'pandas'}; "
        "loaded = heavy & set(sys.modules); "
        "assert not loaded, loaded"
    )
    arguments = ["compare", *map(str, files), "--gold", str(gold), "--report", str(page)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    for expected in ("8 of 12", "11 of 12", "second − first", "not shown", f"report: {page}"):
        assert expected in done.stdout
    text = page.read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "second" in text
    assert "How these texts were made is not known here" in text
    for unknown in ("greedy", "No setting differs", "(0 tokens)"):
        assert unknown not in text


def test_one_file_is_nothing_to_compare(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "x.jsonl"])
    assert stopped.value.code == 2


def test_runs_of_a_task_file_are_not_taken_for_numbers(tmp_path):
    run = ExperimentFolder(tmp_path / "runs" / "x").run("a", 0)
    identity = {"method": "full", "task": {"task": "intent"}, "replicate": 0}
    spec = {"fingerprint": "f", "arm": "a", "replicate": 0, "identity": identity}
    complete_run(run, generations({0: "refund"}), "one_shot", spec=spec)
    with pytest.raises(DataError, match="is of the task intent, a task file's") as caught:
        collect([str(run.path)])
    assert "--task FILE" in caught.value.remedy
    assert "paribus report" in caught.value.remedy
    found = collect([str(run.path)], way=way_of([], metric="exact_match"))
    assert found.tables.scorers.main == "exact_match"
