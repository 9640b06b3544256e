"""`paribus replay`: what a smaller experiment would have concluded."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hypergeom

from inside import paribus
from paribus.analysis.reading import read_experiment
from paribus.analysis.replay import replay
from paribus.errors import UserError
from paribus.statistics.intervals import mcnemar
from paribus.store.layout import ExperimentFolder
from stores import answers, describe_trained, finish

N = 60
SOLVED = {
    ("baseline", 0): set(range(6)),
    ("full-main", 0): set(range(30)),
    ("full-main", 1): set(range(34)),
    ("lora-main", 0): set(range(10, 34)),
    ("lora-main", 1): set(range(10, 42)),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("replay")
    folder = ExperimentFolder(root / "runs/small")
    describe_trained(folder, seeds=2)
    for (arm, seed), solved in SOLVED.items():
        finish(folder, arm, answers(solved, range(N)), seed)
    return root


def replayed(store: Path, *words: str):
    made = paribus("replay", "runs/small", *words, "--json", cwd=store)
    assert (made.returncode, made.stderr) == (0, "")
    return json.loads(made.stdout, parse_constant=pytest.fail)


def tables(store: Path):
    return read_experiment(ExperimentFolder(store / "runs/small"))


def test_with_all_problems_only_seeds_are_drawn(store):
    (found,), _ = replay(tables(store), [("full-main", "lora-main")], problems=N, times=4000)
    differences, counts = np.unique(np.round(found.differences * N), return_counts=True)
    # 30 or 34 problems against 24 or 32, each pair of seeds a quarter of the time.
    assert dict(zip(differences, counts / 4000, strict=True)) == pytest.approx(
        {-2: 0.25, 2: 0.25, 6: 0.25, 10: 0.25}, abs=0.03
    )
    assert found.whole == pytest.approx((32 - 28) / N)
    assert found.behind() == counts[0] / 4000
    assert found.ahead(10 / N) == counts[-1] / 4000
    assert found.ahead(10.5 / N) == 0


def test_problems_are_drawn_without_replacement(store):
    _, arms = replay(tables(store), [("baseline", "lora-main")], problems=20, times=20_000)
    counts = np.rint(arms[0].replays * 20)
    exact = hypergeom(N, 6, 20)
    shares = [np.mean(counts == k) for k in range(7)]
    assert shares == pytest.approx(exact.pmf(range(7)), abs=0.012)
    assert arms[0].whole == 0.1


def test_each_replay_is_tested_as_a_small_experiment_would_be(store):
    (found,), _ = replay(tables(store), [("full-main", "baseline")], problems=N, times=50)
    # The baseline solves only what full-main solves too: 24 or 28 problems more.
    expected = [mcnemar(only_a=round(each * N), only_b=0) for each in found.differences]
    assert list(found.p_values) == expected
    assert found.shown == (1.0, 0.0)
    (same,), _ = replay(tables(store), [("baseline", "baseline")], problems=N, times=3)
    assert (list(same.p_values), same.shown, same.ahead(), same.behind()) == (
        [1.0] * 3,
        (0.0, 0.0),
        0.0,
        0.0,
    )


def test_the_same_seed_gives_the_same_replays_and_all_arms_the_same_problems(store):
    words = ["--problems", "20", "--times", "700"]
    assert replayed(store, *words) == replayed(store, *words)
    pairs = [("full-main", "baseline"), ("baseline", "full-main")]
    (forth, back), _ = replay(tables(store), pairs, problems=20, times=700)
    assert np.array_equal(forth.differences, -back.differences)
    assert np.array_equal(forth.p_values, back.p_values)


def test_claims_are_counted_one_by_one_and_together(store):
    claims = ["--claim", "full-main:lora-main:0", "--claim", "lora-main:full-main:0"]
    found = replayed(store, "--problems", "60", "--times", "2000", *claims)
    forth, back = (claim["replays"] for claim in found["claims"])
    assert forth + back == pytest.approx(1.0)
    assert found["all_claims"] == 0.0
    assert replayed(store, "--problems", "60")["all_claims"] is None


def test_claims_come_first_and_the_figure_is_drawn(store):
    made = paribus(
        "replay", "runs/small", "--problems", "20", "--claim", "full-main:lora-main:11",
        "--figure", "replays.svg", cwd=store,
    )  # fmt: skip
    assert (made.returncode, made.stderr) == (0, "")
    lines = made.stdout.splitlines()
    assert lines[0].startswith("full-main ahead of lora-main by 11 points or more in ")
    assert lines[2].startswith("10,000 replays of small with 20 problems and one seed of each arm")
    drawn = (store / "replays.svg").read_text()
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert "full-main minus lora-main: +6.7 points over all" in drawn


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--problems", "61"], "a replay of 61 problems cannot be drawn from the 60"),
        (["--problems", "0"], "a replay of 0 problems"),
        (["--problems", "9", "--times", "0"], "--times is 0, outside 1 to 1,000,000"),
        (["--problems", "9", "--claim", "full-main:lora:1"], "an arm named 'lora' is complete"),
        (["--problems", "9", "--claim", "full-main:lora-main"], "says not by how much"),
        (["--problems", "9", "--claim", "full-main:lora-main:nan"], "says not by how much"),
        (["--problems", "9", "--claim", "full-main"], "says not by how much"),
    ],
)
def test_a_mistake_ends_with_two(store, words, said):
    made = paribus("replay", "runs/small", *words, cwd=store)
    assert made.returncode == 2
    assert said in made.stderr


def test_losses_have_no_replays(store):
    from dataclasses import replace

    found = tables(store)
    scored = [replace(run, judged_values=(0.5,) * N) for run in found.runs]
    with pytest.raises(UserError, match="replays count problems solved"):
        replay(replace(found, runs=scored), [("full-main", "lora-main")], problems=9, times=1)
