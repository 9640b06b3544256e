"""Findings as typed claims, and how the report tells them."""

import json
from dataclasses import replace

import pytest

from by_hand import run as by_hand_run
from by_hand import tables
from costed import GB, UNTUNED, cost, measured, pair
from paribus.analysis.findings import Analysis, conclude, payload
from paribus.records import problem_id
from paribus.report.figures import tradeoff
from paribus.report.findings import fairness, findings_table
from paribus.report.page import render

FEW = "few_shot/raw"


def of(analysis: Analysis, kind: str) -> list:
    return [each for each in analysis.findings if each.kind == kind]


def everything(tmp_path, seeds: int = 1) -> Analysis:
    """A 2 x 2 matrix and its untuned model, under two protocols, with labels: every kind."""
    factors = {
        f"{method}-{variant}": {"method": method, "data.variant": variant}
        for method in ("full", "lora")
        for variant in ("main", "socratic")
    }
    solved = {"full-main": "1" * 14, "lora-main": "1" * 7 + "0" * 7}
    rows = {"untuned": ["f" * 4 + "0" * 10]} | {
        name: [solved.get(name, "1" + "0" * 13)] * seeds for name in factors
    }
    pairs = [("full-main", "untuned"), ("full-main", "lora-main")]
    made = tables(rows, pairs, factors=factors)
    labels = tmp_path / "labels.jsonl"
    rows_of_labels = [{"question": f"Question {n}?", "answer": "7"} for n in range(14)]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows_of_labels))
    runs = [
        replace(
            each,
            generations=_by_question(each.generations),
            also={FEW: _by_question(by_hand_run(each.arm, each.seed, "0" * 14).generations)},
        )
        for each in made.runs
    ]
    made = replace(
        made,
        config={
            "name": "everything",
            "labels": str(labels),
            "matrix": {"method": ["full", "lora"], "data.variant": ["main", "socratic"]},
        },
        declared=(("full-main", "untuned", "tuning"), ("full-main", "lora-main", "method")),
        runs=tuple(runs),
    )
    costs = {name: cost(4, 1, 0.5) if "full" in name else cost(1, 2, 0.4) for name in factors}
    return conclude(measured(made, {"untuned": UNTUNED, **costs}))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Analysis:
    """`everything` once, for one seed."""
    return everything(tmp_path_factory.mktemp("whole"))


def _by_question(generations):
    """The same with the ids that a file of labels gives them."""
    return tuple(replace(one, problem_id=problem_id(one.question)) for one in generations)


COMMON = {"n", "difference", "interval", "p_holm", "detectable", "detectable_range"}
KEYS = {
    "tuning": {"a", "b", "factor", "seeds"} | COMMON,
    "effect": {"weights"} | COMMON,
    "loss": {"losses", "spreads", "kendall_tau", "against", "along", "equal"}
    | {"noise_unknown", "other_targets"},
    "memory": {"accuracy", "peak_memory_bytes", "examples_per_second", "pareto_frontier"},
    "skill": {"gain", "format_at_most", "skill_at_least", "skill_at_least_interval", "p_holm"}
    | {"skill_by_last_number", "skill_by_last_number_interval"},
    "scorer": {"tried", "changed", "differences", "same_within"},
}
KEYS |= {"contrast": KEYS["tuning"], "interaction": KEYS["effect"], "speed": KEYS["memory"]}
KEYS |= {"protocol": KEYS["scorer"], "labels": KEYS["scorer"]}


def test_every_kind_of_finding_and_its_evidence(whole):
    made = payload(whole)
    assert [each["kind"] for each in made["findings"]] == [
        *("tuning", "contrast"),
        *("effect", "effect", "interaction"),
        *("loss", "memory", "speed", "skill", "scorer", "protocol", "labels"),
    ]
    shape = {"kind", "claim", "verdict", "scope", "sentence", "evidence", "caveats"}
    for each in made["findings"]:
        assert each.keys() == shape
        assert each["evidence"].keys() == KEYS[each["kind"]]
        assert each["verdict"] in ("supported", "refuted", "not_shown")
        assert each["claim"]
        assert each["sentence"]
    scopes = {each["kind"]: each["scope"] for each in made["findings"]}
    unscoped = {kind for kind, scope in scopes.items() if scope is None}
    assert unscoped == {"loss", "scorer", "protocol", "labels"}


def test_the_verdicts_of_that_experiment(whole):
    found = {each.kind: each for each in whole.findings}
    assert (found["tuning"].claim, found["tuning"].verdict.value) == (
        "full-main solves more than its untuned model",
        "supported",
    )
    # Two contrasts and three effects share the level.
    assert 2 / 2**7 < found["contrast"].evidence["p_holm"] < 0.05
    assert found["interaction"].claim == "the effect of method depends on data.variant"
    assert found["interaction"].verdict.value == "supported"
    assert found["loss"].verdict.value == "not_shown"
    assert found["loss"].sentence.startswith(
        "Shown to solve more, with too few seeds to say how far losses scatter: full-main than "
        "lora-main (it takes 3 of both)."
    )
    assert found["skill"].verdict.value == "supported"
    assert found["skill"].sentence.startswith("Of +100 points over untuned, +71.4 points [")
    assert found["labels"].verdict.value == "not_shown"
    assert found["labels"].claim == "no conclusion changes with corrected labels"
    assert found["protocol"].verdict.value == "refuted"
    changed = found["protocol"].evidence["changed"]
    assert [
        {key: each[key] for key in ("under", "a", "b", "before", "after")} for each in changed
    ] == [
        {"under": FEW, "a": "full-main", "b": b, "before": "supported", "after": "not_shown"}
        for b in ("untuned", "lora-main")
    ]
    assert [each["change"] for each in changed] == [-1, -0.5]


@pytest.mark.parametrize(("cells", "sign"), [("1001", 1), ("0110", -1)])
def test_an_interaction_is_one_whichever_its_sign(cells, sign):
    factors = {f"{a}{b}": {"first": a, "second": b} for a in "xy" for b in "xy"}
    rows = {name: [mark * 12] for name, mark in zip(factors, cells, strict=True)}
    made = tables(rows, factors=factors, matrix={"first": ["x", "y"], "second": ["x", "y"]})
    (found,) = of(conclude(made), "interaction")
    assert (found.evidence["difference"] > 0) == (sign > 0)
    assert found.verdict.value == "supported"


@pytest.mark.parametrize(("seeds", "scope"), [(1, "models"), (3, "methods")])
def test_scope(whole, tmp_path, seeds, scope):
    found = payload(whole if seeds == 1 else everything(tmp_path, seeds))["findings"]
    assert {each["scope"] for each in found if each["scope"]} == {scope}
    words = {"models": "Of these two models,", "methods": "As methods, over 3 seeds:"}
    assert found[1]["sentence"].startswith(words[scope])


def test_findings_are_strict_json_and_the_same_bytes_every_time(whole, tmp_path):
    first, again = (
        json.dumps(payload(each), allow_nan=False) for each in (whole, everything(tmp_path))
    )
    assert first == again
    assert json.loads(first)["format"] == 2


ON, OFF, HALF = "1" * 12, "0" * 12, "1" * 6 + "0" * 6


@pytest.mark.parametrize(
    ("full", "lora", "verdict", "sentence"),
    [
        (OFF, ON, "supported", "lora needed 25 % of the memory and solves more."),
        (ON, OFF, "refuted", "lora needed 25 % of the memory and solves fewer."),
        (HALF, HALF, "not_shown", "lora needed 25 % of the memory; it may solve up to 24.2 points"),
    ],
)
def test_the_cheaper_arm(full, lora, verdict, sentence):
    (found,) = of(pair(full, lora, (4, 1, 0.5), (1, 1, 0.5)), "memory")
    assert found.claim == "lora is cheaper in memory than full and solves no fewer"
    assert found.verdict.value == verdict
    assert found.sentence.startswith(sentence)
    assert found.evidence["peak_memory_bytes"] == {"lora": 1 * GB, "full": 4 * GB}
    frontier = {"supported": ["lora"], "refuted": ["full", "lora"], "not_shown": ["lora"]}
    assert found.evidence["pareto_frontier"] == frontier[verdict]


EVEN = "10" * 150


@pytest.mark.parametrize(
    ("full", "lora", "verdict", "sentence"),
    [
        (EVEN, EVEN, "supported", "lora needed 25 % of the memory and solves less than 5 points f"),
        (
            "1" * 300,
            EVEN,
            "refuted",
            "lora needed 25 % of the memory; it solves fewer, by 5 points",
        ),
        (EVEN, EVEN[:-40] + "0" * 40, "not_shown", "lora needed 25 % of the memory; it may solve"),
    ],
)
def test_the_cheaper_arm_need_not_win_by_a_margin(full, lora, verdict, sentence):
    made = tables({"full": [full], "lora": [lora]}, [("full", "lora")])
    made = measured(made, {"full": cost(4, 1, 0.5), "lora": cost(1, 1, 0.5)})
    analysis = conclude(replace(made, margins={("full", "lora"): 0.05}))
    (found,) = of(analysis, "memory")
    assert found.claim == "lora is cheaper in memory than full and solves less than 5 points fewer"
    assert found.verdict.value == verdict
    assert found.sentence.startswith(sentence)


def test_the_faster_arm_may_be_the_first():
    analysis = pair(HALF, HALF, (4, 3, 0.5), (4, 2, 0.5))
    (found,) = of(analysis, "speed")
    assert found.claim == "full trains faster than lora and solves no fewer"
    low = analysis.contrasts[0].interval.low
    assert (
        found.sentence
        == f"full was 1.5 x as fast; it may solve up to {-100 * low:.1f} points fewer."
    )
    assert of(analysis, "memory") == []


@pytest.mark.parametrize(
    ("costs_a", "costs_b", "kinds"),
    [
        ((4, 1, 0.5), (4, 1, 0.5), []),
        ((4, 1, 0.5), (3.7, 1.05, 0.5), []),  # not cheaper by a tenth
        ((4, 1, 0.5), (3.5, 1.2, 0.5), ["memory", "speed"]),
        ((4, 1, 0.5), (1, 0.5, 0.5), ["memory", "speed"]),
    ],
)
def test_cheaper_by_a_tenth_at_least(costs_a, costs_b, kinds):
    found = pair(HALF, HALF, costs_a, costs_b).findings
    assert [each.kind for each in found if each.kind in ("memory", "speed")] == kinds


def test_points_lost_are_never_fewer_than_none():
    """Uncorrected the cheaper arm is ahead; corrected for three comparisons nothing is shown."""
    rows = {"full": ["0" * 6 + HALF], "lora": ["1" * 6 + HALF], "c": [None]}
    pairs = [("full", "lora"), ("full", "c"), ("lora", "c")]
    results = {"full": cost(4, 1, 0.5), "lora": cost(1, 1, 0.5)}
    analysis = conclude(measured(tables(rows, pairs), results))
    assert analysis.contrasts[0].interval.high < 0
    (found,) = of(analysis, "memory")
    assert (found.verdict.value, found.sentence) == (
        "not_shown",
        "lora needed 25 % of the memory; it may solve up to 0.0 points fewer.",
    )


@pytest.mark.parametrize(
    ("untuned", "full", "verdict"),
    [
        ("0" * 12, ON, "supported"),
        ("f" * 6 + "0" * 6, ON, "supported"),  # half of the gain is format
        ("f" * 12, ON, "not_shown"),  # all of it
        ("s" * 12, ON, "not_shown"),  # and where the answer is followed by another number
        # The format was learnt, the rest was lost: no more than format is shown of it.
        ("f" * 30, "1" * 10 + "0" * 20, "not_shown"),
        ("0" * 12, OFF, None),  # no gain to split
    ],
)
def test_skill_is_claimed_where_tuning_helps(untuned, full, verdict):
    made = tables({"untuned": [untuned], "full": [full]}, [("full", "untuned")])
    found = of(conclude(made), "skill")
    assert [each.verdict.value for each in found] == ([] if verdict is None else [verdict])
    for each in found:
        assert "a lower bound of what is more than format" in each.sentence
        assert ("is shown to be above 0" in each.sentence) == (verdict == "supported")


def test_a_caveat_stands_on_the_finding_that_rests_on_unlike_arms():
    analysis = pair(ON, OFF, torch="2.12.0")
    (found,) = of(analysis, "contrast")
    assert found.caveats == ("torch differs too (2.13.0 against 2.12.0)",)
    assert {each.kind for each in analysis.findings if each.caveats} == {"contrast"}


def test_caveats_on_the_gain_over_the_untuned_model():
    made = tables({"untuned": [OFF], "full": [ON]}, [])
    arms = tuple(
        replace(arm, identity=arm.identity | {"evaluation": {"protocol": protocol}})
        for arm, protocol in zip(made.arms, ("one_shot", "zero_shot"), strict=True)
    )
    made = replace(made, arms=arms, declared=(("full", "untuned", "tuning"),))
    made = measured(made, {"untuned": UNTUNED, "full": cost(4, 1, 0.5)})
    (found,) = of(conclude(made), "tuning")
    assert found.caveats == ("evaluation.protocol differs too (zero_shot against one_shot)",)


def test_the_table_of_findings():
    analysis = pair(ON, OFF, torch="2.12.0")
    shown = findings_table(analysis)
    assert shown.headings == ["claim", "verdict", "what was found"]
    low = 100 * analysis.contrasts[0].interval.low
    assert shown.rows[0] == [
        "full solves more than lora",
        "supported for these models",
        f"+100 points [+{low:.1f} to +100.0], p < 0.001. "
        "Not alone: torch differs too (2.13.0 against 2.12.0).",
    ]
    # One seed says nothing of losses, twelve problems little of another scorer.
    assert [row[1] for row in shown.rows[1:]] == ["not shown", "not shown"]
    # What is said of scorers is not a member of the family of all comparisons.
    scorers = findings_table(pair("1" * 400, "0" * 400)).rows[-1]
    assert scorers[:2] == [
        "no conclusion changes with the scorer",
        "supported, by its own test",
    ]
    same = findings_table(pair(HALF, HALF)).rows[0]
    assert same[1] == "not shown"
    assert same[2].startswith("Not shown: both solve the very same problems, so there is no test")


def test_two_seeds_give_no_size_but_the_reason():
    made = tables({"full": [ON, ON], "lora": [OFF, OFF]}, [("full", "lora")])
    (row, *_) = findings_table(conclude(made)).rows
    assert row[1] == "not shown"
    assert row[2].startswith("No verdict: 2 seeds are too few")


def test_pair_by_pair():
    (shown,) = fairness(pair(ON, OFF, torch="2.12.0"))
    assert (shown.title, shown.unlike) == ("full and lora, compared for method", 1)
    assert shown.table.headings == ["setting or figure", "full", "lora", "status"]
    assert ["torch", "2.13.0", "2.12.0", "differs"] in shown.table.rows
    assert ["machine", "2 cores", "2 cores", "same"] in shown.table.rows


def test_the_page_tells_findings_and_pairs():
    page = render(pair(ON, OFF, torch="<i>2.12.0</i>"))
    assert "<h2>Findings</h2>" in page
    assert (
        "<summary>full and lora, compared for method: 1 more that should not differ</summary>"
        in page
    )
    assert "Not alone: torch differs too (2.13.0 against &lt;i&gt;2.12.0&lt;/i&gt;)." in page
    assert "<i>2.12.0" not in page


def test_the_tradeoff_needs_two_measured_arms():
    analysis = pair(HALF, OFF, costs_b=(1, 2, 0.4))
    picture = tradeoff(analysis)
    assert "full 50 %, 4 GB, 1 examples per second; lora 0 %, 1 GB, 2 examples" in picture.svg
    assert picture.svg in render(analysis)
    alone = tables({"full": [HALF], "untuned": [OFF]}, [("full", "untuned")])
    one = conclude(measured(alone, {"full": cost(4, 1, 0.5), "untuned": UNTUNED}))
    assert tradeoff(one) is None
    assert "Accuracy against cost" not in render(one)
    assert tradeoff(pair(HALF, OFF, machine="an H100")) is None
    assert tradeoff(pair(HALF, OFF, processor="as many cores of another")) is None
