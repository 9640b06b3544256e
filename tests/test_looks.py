"""Looks at growing data: what is entered in the ledger, when, and what a report says of it."""

import json
from dataclasses import asdict, replace

import pytest

from by_hand import tables
from inside import paribus
from paribus.analysis.family import judge, judged
from paribus.analysis.looks import about_looks, at_looks, new_look, reached, upto
from paribus.errors import DamagedError
from paribus.records import Settled
from paribus.report.page import entered, write_report
from paribus.statistics.sequential import shares
from paribus.statistics.verdicts import Verdict
from paribus.store.layout import ExperimentFolder
from paribus.store.ledger import (
    Decided,
    Look,
    append_look,
    missing_look,
    read_ledger,
    read_looks,
    stopped_at,
)
from stores import describe_trained, enter, finish_trained

PAIRS = [("full", "lora")]
TWENTY = {
    "full": ["1" * 16 + "0" * 4, "1" * 15 + "0" * 5, "1" * 17 + "0" * 3, "1" * 16 + "0" * 4],
    "lora": ["1" * 3 + "0" * 17, "1" * 4 + "0" * 16, "1" * 2 + "0" * 18, "1" * 3 + "0" * 17],
}
"""Four seeds each on twenty problems; seeds and arms far apart."""


def look(number: int = 1, *, runs=None, problems: int = 20, **declared) -> Look:
    return Look(
        time="2026-01-31T12:00:00+00:00",
        look=number,
        runs=runs or {"full": 1, "lora": 1},
        problems=problems,
        **declared,
    )


def decided(state: Settled) -> Decided:
    return Decided(
        a="full", b="lora", difference=0.1, p_value=0.2, p_holm=0.3, chance=None, state=state
    )


def seen(rows, *looks: Look, planned=None):
    found = tables(rows, PAIRS)
    return replace(found, looks=looks, config={**found.config, "looks": planned})


# --- which report is a look --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "looks", "expected"),
    [
        ({"full": ["10"], "lora": ["01"]}, [], 1),
        ({"full": ["10"], "lora": [None]}, [], None),  # nothing to compare
        ({"full": ["10"], "lora": ["01"]}, [look(problems=2)], None),  # the same again
        ({"full": ["10"] * 2, "lora": ["01"]}, [look(problems=2)], 2),
        ({"full": ["101"], "lora": ["010"]}, [look(problems=2)], 2),
        ({"full": ["10"], "lora": ["01"], "new": ["11"]}, [look(problems=2)], 2),
        # A run was deleted, or fewer problems are asked of: that was seen before.
        ({"full": ["10"], "lora": ["01"]}, [look(runs={"full": 2, "lora": 1}, problems=3)], None),
        # Deleted and made again beside another: each arm counts, and the most ever seen of it.
        (
            {"full": ["10"], "lora": ["01"] * 2},
            [look(runs={"full": 2, "lora": 1}, problems=2), look(2, problems=2)],
            3,
        ),
    ],
)
def test_more_runs_or_problems_are_a_look_and_the_same_again_is_none(rows, looks, expected):
    found = new_look(seen(rows, *looks))
    assert (found.look if found else None) == expected


def test_between_declared_looks_nothing_is_tested_anew():
    assert new_look(seen(TWENTY, planned=[3, 5])) is None


def test_the_first_look_is_nothing_to_warn_of():
    assert about_looks(seen(TWENTY, look())) == []
    (line,) = about_looks(seen(TWENTY, look(), look(2, runs={"full": 4, "lora": 4})))
    assert line.startswith("This is look 2 at growing data (look 1: 2 runs, 1 seed, 20 problems; ")
    assert "look 2: 8 runs, 4 seeds, 20 problems" in line
    assert "from 2.7 to 11.9 %" in line


def test_declared_looks_are_said_and_so_is_what_was_seen_beside_them():
    plan = look(2, runs={"full": 3, "lora": 3}, planned=(3, 4), goes_on=("full", "lora"))
    lines = about_looks(seen(TWENTY, look(), plan, planned=[3, 4]))
    assert "declared at 3, 4 seeds, and 1 of them" in lines[0]
    assert "(10 %, 90 %)" in lines[0]
    assert "seen apart from the declared looks (look 1:" in lines[1]
    assert about_looks(seen(TWENTY, plan, planned=[3, 4])) == lines[:1]


# --- the ledger --------------------------------------------------------------------------------


def test_looks_and_readings_stand_in_one_ledger(tmp_path):
    folder = ExperimentFolder(tmp_path / "x")
    row = decided(Settled.OPEN)
    declared = look(2, planned=(3, 5), decided=(row,), goes_on=("full", "lora"))
    enter(folder, "full", "zero_shot")
    append_look(folder.ledger, look())
    enter(folder, "lora", "zero_shot")
    append_look(folder.ledger, declared)
    assert read_looks(folder.ledger) == [look(), declared]
    assert [read.arm for read in read_ledger(folder.ledger)] == ["full", "lora"]
    lines = [json.loads(line) for line in folder.ledger.read_text().splitlines()]
    assert lines[1].keys() == {"time", "look", "runs", "problems", "sha256"}
    assert lines[3]["decided"] == [{**asdict(row), "state": "open"}]


def test_a_look_that_is_not_as_it_was_written_is_an_error(tmp_path):
    path = tmp_path / "ledger.jsonl"
    append_look(path, look(runs={"full": 3}))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"full": 3', b'"full": 2'))
    with pytest.raises(DamagedError, match="line 1, is not what was written"):
        read_looks(path)
    with pytest.raises(DamagedError, match="line 1, is not what was written"):
        read_ledger(path)


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ([], None),
        ([1, 2], None),
        ([1, 3], 2),
        ([2], 1),
        ([10**15], 1),
        ([1, 1, 2, 3], None),
        ([1, 1, 4], 3),
    ],
)
def test_a_look_that_was_taken_out_leaves_a_gap(tmp_path, numbers, missing):
    path = tmp_path / "ledger.jsonl"
    for number in numbers:
        append_look(path, look(number))
    assert missing_look(path) == missing


def test_arms_have_stopped_where_a_declared_look_does_not_go_on_with_them():
    runs = {"baseline": 1, "full": 4, "lora": 4, "rank": 4}
    first = look(runs=runs, planned=(4, 7), goes_on=("full", "lora"))
    second = look(2, runs={**runs, "full": 7, "lora": 7}, planned=(4, 7))
    assert stopped_at([look(runs=runs)]) == {}
    assert stopped_at([first]) == {"baseline": 4, "rank": 4}
    assert stopped_at([first, second]) == {"baseline": 4, "rank": 4, "full": 7, "lora": 7}


# --- reports -----------------------------------------------------------------------------------


def limits(folder: ExperimentFolder) -> str:
    return " ".join(json.loads(folder.findings.read_text())["limits"])


def test_each_report_of_more_runs_is_a_look_and_says_which(tmp_path):
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    describe_trained(folder, seeds=3)
    finish_trained(folder, "baseline", 1)
    finish_trained(folder, "full-main", 8)
    write_report(folder)
    first = folder.report.read_bytes()
    assert "at growing data" not in limits(folder)
    write_report(folder)
    assert folder.report.read_bytes() == first
    for number, seed in ((2, 1), (3, 2)):
        finish_trained(folder, "full-main", 7, seed=seed)
        write_report(folder)
        again = folder.report.read_bytes()
        write_report(folder)
        assert folder.report.read_bytes() == again
        assert f"This is look {number} at growing data" in limits(folder)
    assert [each.runs["full-main"] for each in read_looks(folder.ledger)] == [1, 2, 3]
    text = folder.report.read_text(encoding="utf-8")
    assert "looks at the verdicts" in text


def test_a_store_that_was_looked_at_verifies_and_one_whose_look_was_taken_out_does_not(real_store):
    assert paribus("verify", "runs/tuned", cwd=real_store).returncode == 0
    folder = ExperimentFolder(real_store / "runs" / "tuned")
    assert [each.look for each in read_looks(folder.ledger)] == [1]
    whole = folder.ledger.read_bytes()
    try:
        append_look(folder.ledger, look(3))
        told = paribus("verify", "runs/tuned", cwd=real_store)
    finally:
        folder.ledger.write_bytes(whole)
    assert told.returncode == 1
    assert "has no line for look 2, and one for a later look" in told.stdout


def test_where_the_ledger_cannot_be_written_the_look_is_said(tmp_path):
    folder = ExperimentFolder(tmp_path / "small")
    folder.path.write_text("a file where the folder should be")
    found = entered(seen(TWENTY), folder)
    assert [each.look for each in found.looks] == [1]
    (line,) = about_looks(found)
    assert line.startswith("This look is not in the ledger: cannot write ")


# --- declared looks ----------------------------------------------------------------------------


def test_only_looks_that_both_arms_have_reached_count():
    rows = {"untuned": ["0" * 20], "full": TWENTY["full"], "lora": [*TWENTY["lora"][:3], None]}
    found = seen(rows, planned=[3, 4])
    assert [reached(found, arms) for arms in (["untuned"], ["full"], ["full", "lora"])] == [2, 2, 1]
    (pair,) = judged(found).contrasts
    assert pair.seeds == (3, 3)
    (alone,) = judged(seen({name: row[:3] for name, row in rows.items()})).contrasts
    assert pair.difference == alone.difference
    assert pair.p_value == pytest.approx(min(1, alone.p_value / 0.1))


def test_a_comparison_counts_each_look_by_its_share_and_shows_the_last():
    (last,) = judged(seen(TWENTY, planned=[3, 4])).contrasts
    at = [judged(upto(seen(TWENTY), seeds)).contrasts[0] for seeds in (3, 4)]
    parts = shares((3, 4))
    assert last.seeds == (4, 4)
    assert last.interval == at[1].interval
    expected = min(each.p_value / part for each, part in zip(at, parts, strict=True))
    assert last.p_value == pytest.approx(expected)
    assert last.verdict is Verdict.SUPPORTED


def test_before_the_first_look_there_is_no_verdict():
    rows = {name: of_arm[:2] for name, of_arm in TWENTY.items()}
    (pair,) = judged(seen(rows, planned=[3, 4])).contrasts
    assert (pair.n, pair.p_value, pair.verdict) == (0, None, Verdict.NOT_SHOWN)
    assert pair.reason == "the first look is declared at 3 seeds"


def test_effects_count_looks_too():
    factors = {f"{m}-{v}": {"method": m, "variant": v} for m in ("full", "lora") for v in "ab"}
    rows = {name: TWENTY[name.split("-")[0]] for name in factors}
    matrix = {"method": ["full", "lora"], "variant": ["a", "b"]}
    found = tables(rows, factors=factors, matrix=matrix)
    planned = replace(found, config={**found.config, "looks": [3, 4]})
    method, once = judged(planned).effects[0], judged(found).effects[0]
    assert once.p_value <= method.p_value
    at = [judged(upto(found, seeds)).effects[0].p_value for seeds in (3, 4)]
    assert method.p_value == pytest.approx(min(at[0] / 0.1, at[1] / 0.9))


def test_without_declared_looks_everything_is_judged_once():
    calls = []
    found = seen(TWENTY)

    def judge_all(all_of, among):
        calls.append((len(all_of.runs), among))
        return len(all_of.complete)

    (seen_once,) = at_looks(found, ("full", "lora"), judge_all, 2)
    assert (seen_once.of, seen_once.share) == (8, 1.0)
    assert calls == [(8, 2)]


def test_what_could_be_seen_is_computed_at_the_last_look_taken_alone():
    """That costs more than the test. It counts the share of the level that the look may spend."""
    rows = {name: [f"{row}{'10' * 10}" for row in of] for name, of in TWENTY.items()}
    found = seen(rows, planned=[3, 4])
    asked = []
    at_looks(found, ("full", "lora"), lambda _, among: asked.append(among), 3)
    assert asked == [None, pytest.approx(3 / 0.9)]
    (pair,) = judged(found).contrasts
    (plain,) = judged(seen(rows)).contrasts
    assert plain.detectable < pair.detectable < 1.05 * plain.detectable
    (unseen,) = judged(found, seeing=False).contrasts
    assert unseen == replace(pair, detectable=None, detectable_range=None)


# --- what a look decides -----------------------------------------------------------------------

ALIKE = ["1100110011" * 2, "1010101010" * 2, "0110011001" * 2, "1001100110" * 2]
"""Four seeds that solve half each."""


def test_a_look_shows_gives_up_and_goes_on_with_the_rest():
    rows = {
        "untuned": ["0" * 20],
        "full": TWENTY["full"][:3],
        "lora": ALIKE[:3],
        "rank": ALIKE[1:4],
    }
    found = tables(rows, [("full", "untuned"), ("lora", "rank"), ("full", "lora")])
    found = replace(found, config={**found.config, "looks": [3, 4, 8]})
    made = judge(found, 3)
    assert (made.look, made.seeds, made.planned) == (1, 3, (3, 4, 8))
    assert [(row.a, row.b) for row in made.decided] == [(a, b) for a, b, _ in found.declared]
    assert made.decided[1].state is Settled.UNLIKELY
    going = {arm for row in made.decided if row.state is Settled.OPEN for arm in (row.a, row.b)}
    assert made.goes_on == tuple(arm for arm in ("full", "lora", "rank") if arm in going)
    assert "rank" not in made.goes_on
    for row, contrast in zip(made.decided, judged(found).contrasts, strict=True):
        assert (row.p_value, row.p_holm) == (contrast.p_value, contrast.p_holm)


def test_what_was_given_up_stays_so_and_the_last_look_decides_the_rest():
    rows = {"full": ALIKE, "lora": ALIKE[::-1]}
    gone = decided(Settled.UNLIKELY)
    before = look(runs={"full": 3, "lora": 3}, planned=(3, 4), decided=(gone,))
    assert judge(seen(rows, before, planned=[3, 4]), 4).decided[0].state is Settled.UNLIKELY
    last = judge(seen(rows, planned=[3, 4]), 4)
    assert (last.decided[0].state, last.goes_on) == (Settled.NOT_SHOWN, ())


def test_runs_beyond_a_look_do_not_move_it():
    early = judge(seen({name: row[:3] for name, row in TWENTY.items()}, planned=[3, 4]), 3)
    late = judge(seen(TWENTY, planned=[3, 4]), 3)
    assert replace(early, time="") == replace(late, time="")
