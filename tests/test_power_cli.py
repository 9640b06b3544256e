"""`paribus power` as a person calls it: the answer, strict JSON, every mistake with a way out."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from inside import paribus
from paribus.cli.main import main
from paribus.statistics.equivalence import problems_for_equivalence
from paribus.statistics.power import Design, detectable, problems_needed
from paribus.statistics.real.power import Spread
from paribus.statistics.real.power import problems_needed as needed_by_scores

ISSUE = ["--baseline", "0.31", "--difference", "0.05"]


def parsed(capsys, *words: str):
    assert main(["power", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_the_command_of_the_issue(tmp_path):
    made = paribus("power", *ISSUE, "--seeds", "3", "--correlation", "0.4", cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    needed = {seeds: problems_needed(Design(n=0, seeds=seeds), 0.31, 0.05) for seeds in (1, 3)}
    assert made.stdout.startswith(
        "To show +5.0 points over 31.0 % between two methods, 8 times in 10 at the 5 % level:\n"
    )
    rows = [line.split() for line in made.stdout.splitlines()]
    assert ["1", f"{needed[1]:,}", "the", "trained", "models"] in rows
    assert ["3", f"{needed[3]:,}", "the", "methods"] in rows
    assert "correlation 0.4 between arms over problems" in made.stdout


def test_a_mistake_ends_with_two_and_no_traceback(tmp_path):
    made = paribus("power", "--baseline", "31", "--difference", "0.05", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (2, "")
    assert made.stderr.splitlines() == [
        "error: baseline is 31; an accuracy must lie between 0 and 1, both excluded",
        "  → write 31 % as 0.31 and 5 points as 0.05",
    ]


def test_json(capsys):
    found = parsed(capsys, *ISSUE, "--seeds", "3", "--correlation", "0.4")
    assert {key: found[key] for key in ("baseline", "difference", "seeds", "correlation")} == {
        "baseline": 0.31,
        "difference": 0.05,
        "seeds": 3,
        "correlation": 0.4,
    }
    assert (found["alpha"], found["power"], found["comparisons"]) == (0.05, 0.8, 1)
    assert (found["seed_spread"], found["seed_correlation"]) == (0.01, 0.6)
    design = Design(n=0, seeds=3)
    assert found["problems"] == problems_needed(design, 0.31, 0.05)
    by_seeds = {row["seeds"]: row["problems"] for row in found["by_seeds"]}
    assert by_seeds[3] == found["problems"]
    assert by_seeds[1] == 878
    by_size = {row["problems"]: row["difference"] for row in found["detectable"]}
    assert by_size[1319] == detectable(Design(n=1319, seeds=3), 0.31)


def test_how_far_seeds_may_scatter(capsys):
    """Nobody knows it before the runs, so four answers are given; one seed is answered for 3."""
    rows = parsed(capsys, *ISSUE, "--seeds", "1")["by_spread"]
    assert [row["seed_spread"] for row in rows] == [0.005, 0.01, 0.02, 0.03]
    assert {row["seeds"] for row in rows} == {3}
    needed = [row["problems"] for row in rows]
    assert needed[1] == problems_needed(Design(n=0, seeds=3), 0.31, 0.05)
    assert needed[0] < needed[1]
    assert needed[2:] == [None, None]
    assert rows[3]["difference"] == detectable(Design(n=1319, seeds=3, spread=0.03), 0.31)


def test_how_far_seeds_may_scatter_is_a_table(capsys):
    assert main(["power", *ISSUE, "--seeds", "5"]) == 0
    shown = capsys.readouterr().out
    assert "By how far seeds scatter, with 5 of each arm:" in shown
    assert [row.split()[0] for row in shown.splitlines()[-4:]] == ["0.5", "1", "2", "3"]


def test_what_no_number_of_problems_can_show_is_null(capsys):
    found = parsed(capsys, *ISSUE, "--seeds", "3", "--seed-spread", "0.45")
    assert found["problems"] is None
    assert {row["difference"] for row in found["detectable"]} == {None}
    assert main(["power", *ISSUE, "--seeds", "3", "--seed-spread", "0.45"]) == 0
    assert "over 1,000,000" in capsys.readouterr().out


TWO = "2 seeds are too few to say how much the seed matters: use 1, or 3 and more"
FAR = "even 1,000,000 problems are too few where seeds scatter by 45 points: take more seeds"
ASKED = {
    "two seeds": ([*ISSUE, "--seeds", "2"], TWO),
    "two seeds, a margin": ([*ISSUE[:2], "--margin", "3", "--seeds", "2"], TWO),
    "seeds that scatter": ([*ISSUE, "--seeds", "3", "--seed-spread", "0.45"], FAR),
    "tiny": ([*ISSUE[:2], "--difference", "0.0001"], "even 1,000,000 problems are too few"),
    "an answer": ([*ISSUE, "--seeds", "3"], None),
}


@pytest.mark.parametrize("case", ASKED)
def test_where_a_figure_is_null_its_reason_stands_beside_it(capsys, case):
    words, reason = ASKED[case]
    found = parsed(capsys, *words)
    assert found["reason"] == reason
    for row in [
        found,
        *found["by_seeds"],
        *found.get("detectable", []),
        *found.get("by_spread", []),
    ]:
        figures = [row[key] for key in row if key.startswith(("problems", "difference"))]
        assert (None in figures) == bool(row["reason"])
    rows = {row["seeds"]: row["reason"] for row in found["by_seeds"]}
    assert rows.get(2) in (None, TWO)
    assert main(["power", *words]) == 0
    shown = capsys.readouterr().out
    assert (f"No number of problems is enough: {reason}." in shown) == bool(reason)


def test_a_family_needs_more(capsys):
    alone = parsed(capsys, *ISSUE)["problems"]
    family = parsed(capsys, *ISSUE, "--comparisons", "8")["problems"]
    assert family > 1.3 * alone


def test_the_problems_that_show_arms_equivalent(capsys):
    """Asked of a margin in points: a row for each number of seeds, of the very functions."""
    found = parsed(capsys, *ISSUE[:2], "--margin", "3", "--seeds", "3")
    assert (found["margin"], found["baseline"], found["power"]) == (0.03, 0.31, 0.8)
    rows = {row["seeds"]: row for row in found["by_seeds"]}
    expected = problems_for_equivalence(Design(n=0, seeds=3), 0.31, 0.03)
    assert (rows[3]["problems"], rows[3]["problems_not_worse"]) == expected
    assert found["problems"] == expected[0]
    assert main(["power", *ISSUE[:2], "--margin", "3", "--comparisons", "4"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "To show that two trained models which both solve 31.0 % differ by less than 3 points, 8 "
        "times in 10 at the 5 % level divided among 4 comparisons:\n"
    )
    assert "correlation 0.4 between arms over problems" in shown


@pytest.mark.parametrize("baseline", ["0.005", "0.97"])
def test_a_baseline_near_the_ends_has_an_answer(capsys, baseline):
    """Arms far apart cannot correlate by 0.4: the table of differences allows for it."""
    found = parsed(capsys, "--baseline", baseline, "--difference", "0.01")
    assert found["problems"] > 500
    assert 0 < found["detectable"][-1]["difference"] < 0.03


A, B = ISSUE[:2], ISSUE[2:]


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        (["--baseline", "31", *B], "baseline is 31", "write 31 % as 0.31"),
        (["--baseline", "nan", *B], "baseline is nan", "write 31 % as 0.31"),
        (["--baseline", "0", *B], "baseline is 0", "write 31 % as 0.31"),
        (["--baseline", "1", *B], "baseline is 1", "write 31 % as 0.31"),
        (["--baseline", "-0.1", *B], "baseline is -0.1", "write 31 % as 0.31"),
        (
            [*A, "--difference", "inf"],
            "the difference is inf, which is not a number",
            "5 points as 0.05",
        ),
        (
            [*A, "--difference", "nan"],
            "the difference is nan, which is not a number",
            "5 points as 0.05",
        ),
        ([*A, "--difference", "5"], "baseline + difference is 5.31", "5 points as 0.05"),
        ([*A, "--difference", "-0.31"], "baseline + difference is 0", "5 points as 0.05"),
        ([*A, "--difference", "0"], "a difference of 0 cannot be shown", "smallest that matters"),
        ([*A, "--margin", "0.02"], "a margin of 0.02 points is outside", "write 2 for two points"),
        ([*A, "--margin", "nan"], "a margin of nan points is outside", "write 2 for two points"),
        ([*ISSUE, "--seeds", "0"], "seeds is 0, outside 1 to 1000", "choose "),
        ([*ISSUE, "--seeds", "-3"], "seeds is -3, outside 1 to 1000", "choose "),
        ([*ISSUE, "--comparisons", "0"], "comparisons is 0, outside 1 to", "choose "),
        ([*ISSUE, "--correlation", "nan"], "correlation is nan, outside 0 to", "choose "),
        ([*ISSUE, "--correlation", "-0.2"], "correlation is -0.2, outside 0 to", "choose "),
        ([*ISSUE, "--correlation", "0.95"], "0.95 is impossible", "correlation of 0.89 or less"),
        ([*ISSUE, "--seed-spread", "nan"], "seed spread is nan", "choose "),
        ([*ISSUE, "--seed-spread", "1"], "seed spread is 1, outside 0 to 0.5", "choose "),
        ([*ISSUE, "--seed-correlation", "0.2"], "less than two arms do", "--seed-correlation"),
    ],
)
def test_a_mistake_is_told_with_a_way_out(capsys, words, said, remedy):
    assert main(["power", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    first, second = printed.err.splitlines()
    assert first.startswith("error: ")
    assert said in first
    assert second.startswith("  → ")
    assert remedy in second


@pytest.mark.parametrize(
    ("seeds", "verdict", "spread"),
    [
        (1, True, "with 3 of each arm; fewer than 3 cannot tell how they scatter:"),
        (2, False, "with 3 of each arm; fewer than 3 cannot tell how they scatter:"),
        (3, True, "with 3 of each arm:"),
    ],
)
def test_two_seeds_are_told_to_give_no_verdict(capsys, seeds, verdict, spread):
    assert main(["power", *A, "--difference", "0.05", "--seeds", str(seeds)]) == 0
    said = capsys.readouterr().out
    assert ("No number of problems is enough: 2 seeds are too few" in said) != verdict
    assert bool(re.search(r"^ +2 +– +no verdict *$", said, re.MULTILINE)) != verdict
    assert ("Smallest difference seen" in said) == verdict
    assert spread in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*A, "--difference", "five"], "argument --difference: invalid float value: 'five'"),
        ([*ISSUE, "--seeds", "2.5"], "argument --seeds: invalid int value: '2.5'"),
        (A, "one of the arguments --difference --margin is required"),
        ([*ISSUE, "--margin", "2"], "argument --margin: not allowed with argument --difference"),
    ],
)
def test_text_where_a_number_belongs_is_refused_with_the_usage(capsys, words, said):
    with pytest.raises(SystemExit) as stopped:
        main(["power", *words])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("usage: paribus power")
    assert said in printed


def test_power_does_without_torch():
    code = (
        "import sys; from paribus.cli.main import main; "
        f"code = main(['power', *{ISSUE!r}, '--json']); "
        "sys.exit(code or any(name in sys.modules for name in ('torch', 'transformers', 'peft')))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr


def pilot(folder, runs=1):
    """Two arms whose scores differ by 0.1, with a standard deviation of their difference of 0.2."""
    rng = np.random.default_rng(3)
    scores = {"a": 0.6 + 0.1 * rng.standard_normal((runs, 100)),
              "b": 0.5 + 0.173 * rng.standard_normal((runs, 100))}  # fmt: skip
    files = []
    for arm, table in scores.items():
        for seed, row in enumerate(table.clip(0, 1)):
            path = folder / f"{arm}{seed}.jsonl"
            path.write_text(
                "".join(json.dumps({"id": n, "s": float(s)}) + "\n" for n, s in enumerate(row))
            )
            files.append(f"{arm}={path}")
    return files


def test_a_pilot_says_how_much_scores_vary(tmp_path, capsys):
    words = ["--pilot", *pilot(tmp_path), "--metric", "s", "--difference", "0.05"]
    record = parsed(capsys, *words)
    spread = record["pilot"]["spread"]["problems"]
    assert spread == pytest.approx(0.2, abs=0.03)
    assert record["problems"] == needed_by_scores(Spread(problems=spread), 0.05)
    assert [row["problems"] for row in record["by_seeds"][1:]] == [None, None, None]
    assert "how far seeds scatter is not known" in record["by_seeds"][1]["reason"]
    assert main(["power", *words]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Pilot: a − b is +")
    assert "To show +5 points, 8 times in 10 at the 5 % level:" in shown


def test_a_pilot_of_several_runs_answers_for_methods(tmp_path, capsys):
    words = ["--pilot", *pilot(tmp_path, runs=4), "--metric", "s", "--difference", "0.05"]
    record = parsed(capsys, *words, "--seeds", "3")
    assert record["pilot"]["runs"] == [4, 4]
    spread = Spread(**record["pilot"]["spread"])
    assert record["problems"] == needed_by_scores(spread, 0.05, seeds=3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--difference", "0"], "a difference of 0 cannot be shown"),
        (["--margin", "2"], "--margin is answered by --baseline alone"),
        (["--difference", "0.1", "--correlation", "0.4"], "--correlation is what the pilot shows"),
        (["--difference", "0.1", "--seeds", "0"], "choose 1 to 1,000 seeds"),
    ],
)
def test_a_pilot_does_not_take_everything(tmp_path, capsys, words, said):
    assert main(["power", "--pilot", *pilot(tmp_path), "--metric", "s", *words]) == 2
    assert said in capsys.readouterr().err


def test_one_arm_is_no_pilot(tmp_path, capsys):
    first, _ = pilot(tmp_path)
    assert main(["power", "--pilot", first, "--metric", "s", "--difference", "0.1"]) == 2
    assert "a pilot is two arms, and the files are 1: a" in capsys.readouterr().err
    assert main(["power", *ISSUE, "--metric", "s"]) == 2
    assert "--metric says how a pilot is read" in capsys.readouterr().err
