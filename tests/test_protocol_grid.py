"""Arms under several protocols: the grid, the calculator's gain, the heat map."""

import pytest

from by_hand import generation, result
from paribus.analysis.summary import calculator_gains, grid, texts, under
from paribus.analysis.tables import Arm, Run, Tables, with_generations
from paribus.records import Generation, Outcome
from paribus.report import protocols
from paribus.statistics.verdicts import Verdict
from paribus.store.runs import RunState

ZERO, ONE, FEW = "zero_shot/raw", "one_shot/raw", "few_shot/chat"
AIDED = "zero_shot/raw+calculator"


def written(solved: str) -> tuple[Generation, ...]:
    """`"#.#"`: problems 0 and 2 solved, problem 1 not."""
    return tuple(
        generation(number, "#### 7" if mark == "#" else "#### 8")
        for number, mark in enumerate(solved)
    )


def run(arm: str, main: str, solved: dict[str, str], seed: int = 0) -> Run:
    made = Run(
        arm=arm,
        seed=seed,
        state=RunState.COMPLETE,
        result=result(main),
        also={name: written(marks) for name, marks in solved.items() if name != main},
    )
    return with_generations(made, written(solved[main]))


def tables(*runs: Run) -> Tables:
    names = dict.fromkeys(run.arm for run in runs)
    arms = (Arm(name=name, factors={}, identity={"method": "full"}) for name in names)
    return Tables(config={}, origins={}, arms=tuple(arms), declared=(), runs=runs)


def test_the_grid():
    found = grid(
        tables(
            run("base", ONE, {ONE: "#...", FEW: "##.."}),
            run("full", ZERO, {ZERO: "###.", ONE: "####", AIDED: "##.."}),
            run("full", ZERO, {ZERO: "#...", ONE: "###."}, seed=1),
        )
    )
    assert found is not None
    assert found.protocols == (ZERO, AIDED, ONE, FEW)
    assert found.main == {"base": ONE, "full": ZERO}
    assert {
        (arm, name): (cell.mean, cell.seeds)
        for arm, row in found.cells.items()
        for name, cell in row.items()
    } == {
        ("base", ONE): (0.25, 1),
        ("base", FEW): (0.5, 1),
        ("full", ZERO): (0.5, 2),
        ("full", ONE): (0.875, 2),
        ("full", AIDED): (0.5, 1),
    }


def test_no_grid_without_a_second_protocol():
    assert grid(tables(run("base", ONE, {ONE: "#"}), run("full", ZERO, {ZERO: "#"}))) is None
    elsewhere = with_generations(Run(arm="x", seed=0, state=RunState.COMPLETE), written("#"))
    assert texts(elsewhere) == {}
    assert grid(tables(elsewhere)) is None
    assert protocols.section(tables(elsewhere)) is None


def test_texts_under_a_protocol_are_judged_anew():
    made = under(run("full", ZERO, {ZERO: "##", ONE: ".#"}), ONE)
    assert made.judged == (Outcome.WRONG, Outcome.CORRECT)


@pytest.mark.parametrize(
    ("without", "aided", "difference", "p", "verdict"),
    [
        ("." * 20, "#" * 8 + "." * 12, 0.4, 2 / 2**8, Verdict.SUPPORTED),
        ("#" * 8 + "." * 12, "." * 20, -0.4, 2 / 2**8, Verdict.REFUTED),
        ("#" + "." * 19, "##" + "." * 18, 0.05, 1.0, Verdict.NOT_SHOWN),
        ("#" * 20, "#" * 20, 0.0, None, Verdict.NOT_SHOWN),
    ],
)
def test_what_a_calculator_gains(without, aided, difference, p, verdict):
    """p: exact McNemar, 8 tosses of 8 and 1 of 1."""
    (found,) = calculator_gains(tables(run("full", ZERO, {ZERO: without, AIDED: aided})))
    assert (found.arm, found.protocol, found.seeds, found.n) == ("full", ZERO, 1, 20)
    assert found.difference == pytest.approx(difference)
    assert found.p_value == found.p_holm == (None if p is None else pytest.approx(p))
    assert found.verdict is verdict
    assert found.interval.low <= difference <= found.interval.high


def test_gains_are_one_family_and_need_both_sides():
    solved = {ZERO: "." * 20, AIDED: "#" * 8 + "." * 12}
    found = calculator_gains(
        tables(
            run("full", ZERO, solved),
            run("lora", ONE, {ONE: "." * 20, **solved}),
            run("none", ONE, {ONE: "." * 20, AIDED: "#" * 20}),
        )
    )
    assert [(each.arm, each.protocol) for each in found] == [("full", ZERO), ("lora", ZERO)]
    assert [each.p_holm for each in found] == pytest.approx([4 / 2**8, 4 / 2**8])


def test_the_section():
    solved = {ZERO: "##" + "." * 18, AIDED: "#" * 12 + "." * 8, ONE: "." * 20}
    found = protocols.section(tables(run("full", ZERO, solved), run("<b>", ONE, {ONE: "#" * 20})))
    assert found is not None
    assert [row[:2] for row in found.table.rows] == [
        ["full", "zero-shot, raw (main)"],
        ["full", "zero-shot, raw, calculator"],
        ["full", "one-shot, raw"],
        ["<b>", "one-shot, raw (main)"],
    ]
    assert found.table.rows[1][2] == "60 % [36.1 to 80.9]"  # Clopper and Pearson, 12 of 20
    (row,) = found.calculator.rows
    assert row[:4] == ["full", "zero-shot, raw", "10 %", "60 %"]
    assert row[4].startswith("+50 [+")
    assert row[5:] == ["0.002", "0.002"]  # McNemar: 10 tosses of 10, 2 / 2^10
    assert found.sentence.startswith("A calculator that completes each “<<…=” while the model")
    assert "full by +50 [" in found.sentence
    drawn = found.heat_map.svg
    assert drawn.count(">–<") == 2  # <b> was tested under one of three protocols
    for text in (">10<", ">60<", ">0.0<", ">100<", ">calculator<", "&lt;b&gt;"):
        assert text in drawn
    assert "<b>" not in drawn
    assert not found.heat_map.wide


@pytest.mark.parametrize(
    ("aided", "said"),
    [
        ("##" + "." * 18, "is not shown to matter: +5 points."),
        ("#" + "." * 19, "there is no test: both solve the very same problems."),
    ],
)
def test_a_calculator_that_does_not_matter(aided, said):
    found = protocols.section(tables(run("full", ZERO, {ZERO: "#" + "." * 19, AIDED: aided})))
    assert found is not None
    assert found.sentence.endswith(said)


def test_many_protocols_make_a_wide_map():
    names = [f"{shots}/{format}" for shots in ("zero_shot", "one_shot", "few_shot")
             for format in ("raw", "chat")]  # fmt: skip
    found = protocols.section(tables(run("full", ZERO, dict.fromkeys(names, "#."))))
    assert found is not None
    assert found.heat_map.wide
    assert found.sentence == ""
    assert found.calculator.rows == []
    assert protocols.section(tables(run("full", ZERO, dict.fromkeys(names, "#.")))) == found
