"""What the flips browser is given: paired, complete, stored once, and inert inside a script."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import generation, result
from paribus.analysis.tables import Arm, Run, Tables
from paribus.evaluation.mistakes import Signal
from paribus.records import Outcome, Stop
from paribus.report import mistakes
from paribus.report.mistakes import browser, flips_data, script_json
from paribus.store.runs import RunState

SCRIPT = (files("paribus.report") / "templates" / "flips.js").read_text(encoding="utf-8")
WORDS = {outcome: place for place, outcome in enumerate(mistakes.OUTCOMES)}
UNTUNED = {"baseline"}


def run(arm: str, *asked: tuple[str, str, Outcome], seed: int = 0, solution: str = "#### 7") -> Run:
    """A complete run that wrote `asked`: problem id, text, outcome."""
    generations = tuple(
        replace(
            generation(0, text, "stop_token", group="g" if identity == "p" else ""),
            problem_id=identity,
            question=f"Question {identity}?",
            solution=solution,
        )
        for identity, text, _ in asked
    )
    judged = tuple(outcome for *_, outcome in asked)
    return Run(
        arm=arm,
        seed=seed,
        state=RunState.COMPLETE,
        result=result(),
        generations=generations,
        judged=judged,
    )


def tables(*runs: Run, declared: tuple[tuple[str, str, str], ...] = ()) -> Tables:
    names = dict.fromkeys(run.arm for run in runs)
    arms = (
        Arm(name=name, factors={"method": "none" if name in UNTUNED else "full"}, identity={})
        for name in names
    )
    return Tables(config={}, origins={}, arms=tuple(arms), declared=declared, runs=runs)


RIGHT, WRONG = Outcome.CORRECT, Outcome.WRONG
MISSING = Run(arm="lora", seed=1, state=RunState.MISSING, note="not run.")


def test_the_whole_of_a_small_experiment():
    found = flips_data(
        tables(
            run("baseline", ("p", "I do not know", Outcome.NO_ANSWER), ("q", "#### 8", WRONG)),
            run("full", ("q", "#### 7", RIGHT), ("p", "#### 8", WRONG)),
        ),
        [("full", "baseline", "tuning")],
    )
    assert found == {
        "problems": [
            {"question": "Question p?", "group": "g", "golds": [["7", "#### 7"]]},
            {"question": "Question q?", "group": "", "golds": [["7", "#### 7"]]},
        ],
        "texts": ["I do not know", "#### 8", "#### 7"],
        "runs": [
            {
                "label": "baseline",
                "texts": [0, 1],
                "outcomes": [2, 1],
                "signals": [None, 1],
                "stops": [1, 1],
            },
            {
                "label": "full",
                "texts": [1, 2],
                "outcomes": [1, 0],
                "signals": [1, None],
                "stops": [1, 1],
            },
        ],
        "contrasts": [{"label": "full − baseline (tuning)", "a": 1, "b": 0}],
        "outcomes": list(mistakes.OUTCOMES.values()),
        "signals": list(mistakes.SIGNALS.values()),
        "stops": list(mistakes.STOPS.values()),
    }


def test_a_question_asked_twice_is_two_problems():
    found = flips_data(
        tables(
            run("full", ("p", "a", RIGHT), ("q", "b", RIGHT), ("p", "c", WRONG)),
            run("lora", ("p", "d", WRONG), ("p", "e", RIGHT)),
        ),
        [],
    )
    assert [problem["question"][-2] for problem in found["problems"]] == ["p", "q", "p"]
    assert [each["outcomes"] for each in found["runs"]] == [[0, 0, 1], [1, None, 0]]
    assert [found["texts"][place] for place in found["runs"][0]["texts"]] == ["a", "b", "c"]
    assert found["runs"][1]["texts"] == [3, None, 4]


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ((0,), [("full − lora (method)", 1, 2), ("full − baseline (tuning)", 1, 0)]),
        (
            (0, 1),
            [
                ("full − lora, seed 0 (method)", 1, 3),
                ("full − lora, seed 1 (method)", 2, 4),
                ("full − baseline, seed 0 (tuning)", 1, 0),
                ("full − baseline, seed 1 (tuning)", 2, 0),
            ],
        ),
    ],
)
def test_contrasts_name_runs_and_the_untuned_run_goes_with_every_seed(seeds, expected):
    asked = ("p", "#### 7", RIGHT)
    runs = [run("baseline", asked)]
    runs += [run(arm, asked, seed=seed) for arm in ("full", "lora") for seed in seeds]
    declared = [("full", "lora", "method"), ("full", "baseline", "tuning")]
    found = flips_data(tables(*runs), declared)
    assert [(each["label"], each["a"], each["b"]) for each in found["contrasts"]] == expected


def test_only_complete_runs_with_texts_are_offered():
    asked = ("p", "#### 7", RIGHT)
    made = tables(run("full", asked), run("full", asked, seed=1), run("lora", asked), MISSING)
    found = flips_data(made, [("full", "lora", "method"), ("full", "gone", "x")])
    assert [each["label"] for each in found["runs"]] == [
        "full, seed 0",
        "full, seed 1",
        "lora, seed 0",
    ]
    assert [each["label"] for each in found["contrasts"]] == ["full − lora, seed 0 (method)"]


def test_each_gold_that_a_run_was_judged_by_is_kept_once():
    asked = ("p", "#### 7", RIGHT)
    socratic = run("socratic", asked, solution="How many? ** 7\n#### 7")
    found = flips_data(tables(run("main", asked), socratic, run("other", asked)), [])
    assert found["problems"][0]["golds"] == [["7", "#### 7"], ["7", "How many? ** 7\n#### 7"]]


@pytest.mark.parametrize("runs", [(), (run("full", ("p", "", WRONG)),), (run("full"), run("lora"))])
def test_nothing_to_compare_is_no_browser(runs):
    assert browser(tables(*runs)) is None


def test_nobody_knows_why_a_text_made_elsewhere_ended():
    theirs = replace(run("full", ("p", "#### 7", RIGHT)), result=None)
    assert flips_data(tables(theirs), [])["runs"][0]["stops"] == [None]


def test_every_kind_has_words_and_solved_comes_first():
    assert set(mistakes.OUTCOMES) == set(Outcome)
    told_by_the_outcome = {Signal.FAILED, Signal.TRUNCATED, Signal.NO_ANSWER}
    assert set(mistakes.SIGNALS) | told_by_the_outcome == set(Signal)
    assert set(mistakes.STOPS) == set(Stop)
    assert WORDS[RIGHT] == int(re.search(r"SOLVED = (\d+)", SCRIPT)[1])


ANY_TEXT = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["</script>", "<!--<script>", "]]>", "\u2028\u2029", "\ud800", "\u202e", "\x00\x1b", "&lt;"]
)


@given(st.dictionaries(ANY_TEXT, st.lists(ANY_TEXT, max_size=3), max_size=3))
def test_json_in_a_script_keeps_every_text_and_holds_no_markup(value):
    made = script_json(value)
    assert json.loads(made) == value
    assert made.isascii()
    assert not set("<>&") & set(made)
    assert all(character >= " " for character in made)


def test_the_policy_names_the_script_as_it_stands_on_the_page():
    asked = ("p", "#### 7", RIGHT)
    found = browser(tables(run("full", asked), run("lora", asked)))
    digest = base64.b64encode(hashlib.sha256(str(found.script).encode()).digest()).decode()
    assert found.script_source == f"'sha256-{digest}'"
    assert json.loads(found.data)["texts"] == ["#### 7"]


def test_the_script_makes_no_markup_from_text_and_loads_nothing():
    assert SCRIPT.isascii()
    for forbidden in (
        "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval", "Function(",
        "setTimeout", "fetch", "XMLHttp", "import", "http", "</script", "<!--", "DOMParser",
    ):  # fmt: skip
        assert forbidden not in SCRIPT
