"""What texts score, metric by metric, and what a task file may not state."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import written
from paribus.errors import ConfigError, DataError, NotHere
from paribus.evaluation.metrics import METRICS, Metric, metrics_of
from paribus.records import Stop

REFUND = ("buy", "refund", "return the order")
COLOURS = ("red", "dark red", "C", "blue")

EXACT: list[tuple[dict[str, Any], str, tuple[str, ...], float | None]] = [
    ({}, "refund", ("refund",), 1.0),
    ({}, " refund\n", ("refund",), 1.0),
    ({}, "refund", (" refund ",), 1.0),
    ({}, "Refund", ("refund",), 0.0),
    ({}, "refund.", ("refund",), 0.0),
    ({}, "", ("refund",), None),
    ({}, "", ("",), 1.0),
    ({}, "two", ("one", "two"), 1.0),
    ({}, "three", ("one", "two"), 0.0),
    ({"ignore_case": True}, "ReFund", ("refund",), 1.0),
    ({"ignore_punctuation": True}, "re-fund!", ("refund",), 1.0),
    ({"ignore_punctuation": True}, "refund…", ("refund",), 0.0),
    ({"ignore_numbers": True}, "refund 12", ("refund 7",), 1.0),
    ({"regexes_to_ignore": [",", r"\$"]}, "$1,000", ("1000",), 1.0),
    ({"regexes_to_ignore": ["(?s).*#### "]}, "2+2\n#### 4", ("4",), 1.0),
    ({"regexes_to_ignore": ["T"], "ignore_case": True}, "Tea", ("ea",), 1.0),
    ({"regexes_to_ignore": ["T"], "ignore_case": True}, "tea", ("ea",), 0.0),
]

CHOSEN: list[tuple[str, float | None]] = [
    ("B", 1.0),
    ("b", 1.0),
    ("(B)", 1.0),
    ("B.", 1.0),
    ("**B**", 1.0),
    ("refund", 1.0),
    ("  Refund.\n", 1.0),
    ("The answer is B", 1.0),
    ("The answer is (B).", 1.0),
    ("The correct option is **B** because A costs more", 1.0),
    ("answer: refund", 1.0),
    ("Label = Refund", 1.0),
    (r"So it is \boxed{B}", 1.0),
    ("<answer>B</answer>", 1.0),
    ("B. The customer wants money.", 1.0),
    ("B) buy was ruled out", 1.0),
    ("B\nbecause of (A)", 1.0),
    ("I would say refund, as it broke.", 1.0),
    ("I would go for (B).", 1.0),
    ("(B) refund", 1.0),
    ("A", 0.0),
    ("answer: C", 0.0),
    ("return the  order", 0.0),
    ("The answer is buy. Not a refund.", 0.0),
    ("A or B", None),
    ("buy, or a refund", None),
    ("Option A is wrong, so option B", None),
    ("refunded", None),
    ("a refundable thing", None),
    ("The answer is a good one", None),
    ("D", None),
    ("", None),
]

NUMBERS: list[tuple[str, str, str, float | None]] = [
    ("auto", "9*2\n#### 18", "18", 1.0),
    ("auto", "The answer is 18.00", "18", 1.0),
    ("auto", r"\boxed{17}", "18", 0.0),
    ("auto", "eighteen eggs in 3 days", "18", None),
    ("boxed", "#### 18", "18", None),
    ("boxed", r"\boxed{18}", "18", 1.0),
]

WORDS: list[tuple[str, tuple[str, ...], float | None]] = [
    ("The Eiffel Tower!", ("eiffel tower",), 1.0),
    ("in Paris", ("Paris",), 2 / 3),
    ("Rome", ("Paris",), 0.0),
    ("a b b", ("b b c",), 2 * (2 / 2) * (2 / 3) / (2 / 2 + 2 / 3)),
    ("Rome", ("Paris", "Rome, Italy"), 2 / 3),
    ("the", ("an",), 1.0),
    ("the", ("Paris",), 0.0),
    ("", ("Paris",), None),
    ("", ("",), 1.0),
]

GOLD_JSON = '{"name": "Ann", "tags": ["x", "y"], "age": 3}'
JSON: list[tuple[str, float | None]] = [
    (GOLD_JSON, 1.0),
    ('{"age": 3.0, "tags": ["x", "y"], "name": "Ann"}', 1.0),
    (f"Here it is:\n```json\n{GOLD_JSON}\n```", 1.0),
    (f"As in [1]: {GOLD_JSON}", 1.0),
    ('{"name": "Ann", "tags": ["x", "z"], "age": 3}', 0.75),
    ('{"name": "Ann", "tags": ["x"], "age": 3}', 0.75),
    ('{"name": "Ann", "tags": ["x", "y"], "age": 3, "city": "Rome"}', 0.8),
    ('{"name": "Ann", "tags": ["x", "y"], "age": "3"}', 0.75),
    ('{"name": "Ann", "tags": ["x", "y"], "age": true}', 0.75),
    ("{}", 0.0),
    ("[1]", 0.0),
    ('{"name": NaN}', None),
    ('{"name": "An', None),
    ("no JSON", None),
    ("[" * 5000, None),
]


def metric(name: str, **options: Any) -> Metric:
    return metrics_of([{"metric": name} | options], None, folder=Path())[0]


def score(of: Metric, text: str, *answers: str, choices: tuple[str, ...] = ()) -> float | None:
    return of.score(written(text, *answers, choices=choices))


@pytest.mark.parametrize(("options", "text", "gold", "expected"), EXACT)
def test_exact_match(options, text, gold, expected):
    assert score(metric("exact_match", **options), text, *gold) == expected


@pytest.mark.parametrize(("text", "expected"), CHOSEN)
def test_the_choice_that_a_text_names(text, expected):
    assert score(metric("choice"), text, "refund", choices=REFUND) == expected
    assert score(metric("choice"), text, "B", choices=REFUND) == expected


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("dark red", "dark red", 1.0),
        ("It is dark red, I think", "dark red", 1.0),
        ("It is red or dark red", "red", None),
        ("C", "C", 1.0),
        ("D", "blue", None),  # a choice is a letter, so that letters are no places
        ("answer: c", "C", 1.0),
        ("darK red it is", "dark red", 1.0),
    ],
)
def test_choices_within_each_other_and_letters(text, gold, expected):
    assert score(metric("choice"), text, gold, choices=COLOURS) == expected


@pytest.mark.parametrize(
    "text", ["mi\u017f\u017fing, I think", "v\u0131s\u0131ble, I think", "\u212aelvin, then"]
)
def test_letters_that_only_patterns_take_for_others_name_no_choice(text):
    assert score(metric("choice"), text, "missing", choices=("missing", "visible")) is None


@pytest.mark.parametrize(("style", "text", "gold", "expected"), NUMBERS)
def test_number_is_the_canonical_scorer(style, text, gold, expected):
    assert score(metric("number", style=style), text, gold) == expected


def test_a_number_at_the_token_limit_is_not_complete():
    number = metric("number")
    assert number.score(written("#### 18", "18", stop=Stop.LENGTH)) is None
    assert number.score(written("#### 18", "18")) == 1.0


@pytest.mark.parametrize(("text", "gold", "expected"), WORDS)
def test_f1(text, gold, expected):
    assert score(metric("f1"), text, *gold) == expected


@pytest.mark.parametrize(("text", "expected"), JSON)
def test_json_match(text, expected):
    assert score(metric("json_match"), text, GOLD_JSON) == expected
    whole = expected and float(expected == 1)
    assert score(metric("json_match", all=True), text, GOLD_JSON) == whole


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({"pattern": "Answer: (.*)"}, "Answer: x \nAnswer: y", 1.0),
        ({"pattern": "Answer: (.*)", "group_select": -1}, "Answer: x\nAnswer: y", 0.0),
        ({"pattern": "Answer: (.*)", "group_select": 2}, "Answer: x\nAnswer: y", None),
        ({"pattern": "Answer: (?P<it>.*)", "group": "it"}, "Answer: x", 1.0),
        ({"pattern": "[xyz]", "group": 0}, "a b x", 1.0),
        ({"pattern": "[xyz]", "group": 0}, "a b c", None),
    ],
)
def test_regex(options, text, expected):
    assert score(metric("regex", **options), text, "x") == expected


@pytest.mark.parametrize(
    ("name", "gold", "expected"),
    [("acc", "b", 1.0), ("acc", "long one", 0.0), ("acc_norm", "long one", 1.0),
     ("acc_bytes", "éééééé", 0.0), ("acc_bytes", "long one", 1.0), ("acc_norm", "éééééé", 0.0)],
)  # fmt: skip
def test_the_likeliest_choice(name, gold, expected):
    choices = ("long one", "b", "éééééé")
    text = written("", gold, choices=choices, choice_nlls=(4.0, 3.0, 6.0))
    assert metric(name).score(text) == expected
    assert metric(name).score(written("b", gold, choices=choices)) is None  # not measured


PIPELINES: list[tuple[list[dict[str, Any]], str, float | None]] = [
    ([{"function": "regex", "regex_pattern": "is (\\w+)"}], "it is refund", 1.0),
    ([{"function": "regex", "regex_pattern": "is (\\w+)"}], "none", None),
    ([{"function": "regex", "regex_pattern": "(x)|(refund)"}], "a refund", 1.0),
    ([{"function": "regex", "regex_pattern": "\\w+", "group_select": -1}], "a refund", 1.0),
    ([{"function": "regex", "regex_pattern": "\\d", "fallback": "refund"}], "none", 1.0),
    ([{"function": "lowercase"}, {"function": "take_first"}], "REFUND", 1.0),
    ([{"function": "uppercase"}], "refund", 0.0),
    ([{"function": "remove_whitespace"}], " refund\n", 1.0),
    ([{"function": "take_first"}], " refund", 0.0),
    ([{"function": "map", "mapping_dict": {"1": "refund"}}], "1", 1.0),
    ([{"function": "map", "mapping_dict": {"1": "refund"}}], "2", None),
    ([{"function": "map", "mapping_dict": {}, "default_value": "buy"}], "2", 0.0),
    ([{"function": "multi_choice_regex"}, {"function": "map", "mapping_dict": {"(B)": "refund"}}],
     "I want a refund", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "text", "expected"), PIPELINES)
def test_filters(steps, text, expected):
    (of,) = metrics_of([{"metric": "exact_match"}], [{"name": "a", "filter": steps}], folder=Path())
    assert score(of, text, "refund", choices=REFUND) == expected


def test_each_filter_gives_each_metric_and_the_first_is_the_main_one():
    pipelines = [
        {"name": "strict-match", "filter": [{"function": "regex"}, {"function": "take_first"}]},
        {"name": "flexible", "filter": [{"function": "take_first"}]},
    ]
    items = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True},
             {"metric": "f1"}]  # fmt: skip
    metrics = metrics_of(items, pipelines, folder=Path())
    assert [(each.name, each.binary) for each in metrics] == [
        ("strict-match/exact_match", True),
        ("strict-match/f1", False),
        ("flexible/exact_match", True),
        ("flexible/f1", False),
    ]


def test_a_text_counts_up_to_what_ends_it():
    (of,) = metrics_of([{"metric": "exact_match"}], None, until=["\n", "</s>", ""], folder=Path())
    assert score(of, "refund</s>\nQuestion:", "refund") == 1.0


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"metric": "bleu"}, "metric 'bleu' is not supported"),
        ({"metric": "f1", "aggregation": "f1"}, "metric f1: aggregation='f1' is not supported"),
        ({"metric": "f1", "higher_is_better": False}, "higher_is_better=False is not supported"),
        ({"metric": "f1", "average": "macro"}, "the option 'average' is not supported"),
        ({"metric": "exact_match", "ignore_case": "yes"}, "ignore_case='yes' is not allowed"),
        ({"metric": "exact_match", "regexes_to_ignore": ","}, "should be a valid list"),
        ({"metric": "exact_match", "regexes_to_ignore": ["("]}, "valid regular expression"),
        ({"metric": "number", "style": "bold"}, "style='bold' is not allowed"),
        ({"metric": "regex"}, "metric regex lacks the option pattern"),
        ({"metric": "regex", "pattern": "a"}, "the pattern has no group 1"),
        ({"metric": "python: nowhere.py:f"}, "does not name a function in a file"),
        ({"metric": "python: nowhere.py"}, "does not name a function in a file"),
        ({"metrics": "f1"}, "is not an item"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(item, message):
    with pytest.raises(ConfigError) as error:
        metrics_of([item], None, folder=Path())
    assert message in error.value.message
    assert error.value.remedy


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "a", "filter": [{"function": "nope"}]}, "filter 'nope'"),
        ({"name": "a", "filter": [{"function": "regex", "k": 1}]}, "the option 'k' is not"),
        ({"name": "a", "filter": [{"function": "regex", "regex_pattern": "["}]}, "valid regular"),
        ({"name": "a", "filter": [{"function": "take_first"}, {"function": "lowercase"}]},
         "a filter behind take_first"),
        ({"filter": []}, "is not an entry"),
    ],
)  # fmt: skip
def test_filters_that_are_not_supported_are_refused_by_name(entry, message):
    with pytest.raises(ConfigError, match=message.replace("'", ".")):
        metrics_of([{"metric": "f1"}], [entry], folder=Path())


def test_a_metric_is_stated_once():
    with pytest.raises(ConfigError, match="f1 is stated 2 times"):
        metrics_of([{"metric": "f1"}, {"metric": "f1"}], None, folder=Path())


@pytest.mark.parametrize(
    ("name", "gold", "choices", "message"),
    [
        ("number", "a few", (), "gold is no number: 'a few'"),
        ("json_match", "{", (), "gold is not JSON: '{'"),
        ("choice", "x", (), "needs choices, and the problem has none: 'Which?'"),
        ("choice", "x", REFUND, "'x' is not in buy, refund, return"),
        ("acc", "x", REFUND, "'x' is not in buy, refund, return"),
    ],
)
def test_gold_that_no_text_could_equal_is_an_error(name, gold, choices, message):
    with pytest.raises(DataError) as error:
        metric(name).score(written("buy", gold, choices=choices, question="Which?"))
    assert message in error.value.message


PURE = [name for name in METRICS if name not in ("math", "boxed", "rougeL", "regex")]
LINES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                      max_leaves=8)  # fmt: skip


@given(st.sampled_from(PURE), st.text(), st.sets(LINES, min_size=1, max_size=6), st.data())
def test_any_text_scores_between_0_and_1(name, text, choices, data):
    gold = data.draw(st.sampled_from(sorted(choices)))
    gold = {"number": "18", "json_match": "[1]"}.get(name, gold)
    nlls = data.draw(st.lists(st.floats(0, 1e6), min_size=len(choices), max_size=len(choices)))
    value = metric(name).score(written(text, gold, choices=tuple(choices), choice_nlls=tuple(nlls)))
    assert value is None or 0 <= value <= 1
    assert not metric(name).binary or value in (None, 0, 1)


@given(st.sampled_from(["exact_match", "f1", "choice"]), st.lists(LINES, min_size=1, unique=True))
def test_gold_scores_1_under_its_own_metric(name, choices):
    choices = list({choice.lower(): choice for choice in choices}.values())
    assert score(metric(name), choices[-1], choices[-1], choices=tuple(choices)) == 1


@given(VALUES)
def test_json_scores_1_against_itself(value):
    assert score(metric("json_match"), json.dumps(value, indent=1), json.dumps(value)) == 1


@given(st.integers())
def test_a_number_scores_1_against_itself(number):
    assert score(metric("number"), f"#### {number}", str(number)) == 1


@pytest.mark.parametrize("name", ["math", "boxed", "rougeL"])
def test_a_package_that_is_not_installed_is_named_with_its_remedy(name, monkeypatch):
    monkeypatch.setattr(f"paribus.evaluation.{MODULE[name]}.find_spec", lambda _: None)
    with pytest.raises(NotHere) as error:
        metric(name)
    assert "which is not installed" in error.value.message
    assert f"paribus[{'rouge' if name == 'rougeL' else 'math'}]" in error.value.remedy


MODULE = {"math": "metrics", "boxed": "metrics", "rougeL": "text_metrics"}


@pytest.mark.parametrize(
    ("name", "text", "gold", "expected"),
    [
        ("math", "so it is $\\frac{2}{4}$", "0.5", 1.0),
        ("math", "the answer is 1/3", "\\frac{1}{3}", 1.0),
        ("math", "$x = 4$", "5", 0.0),
        ("math", "I do not know", "5", None),
        ("math", "$9^{9^{9^{9}}}$", "5", 0.0),
        ("boxed", "first \\boxed{1}, then \\boxed{\\frac{1}{2}}", "$\\frac{1}{2}$", 1.0),
        ("boxed", "\\boxed{7} but \\boxed{8", "7", 1.0),
        ("boxed", "it is $7$", "7", None),
        ("boxed", "\\boxed{(1, 2]}", "(1,2]", 1.0),
    ],
)
@pytest.mark.engine
def test_expressions_are_compared_by_math_verify(name, text, gold, expected):
    pytest.importorskip("math_verify", reason="math-verify is not installed: paribus[math]")
    assert score(metric(name), text, gold) == expected


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [("the cat sat", "the cat sat", 1.0), ("the cat", "the cat sat", 0.8), ("dog", "cat", 0.0)],
)
def test_rouge_l(text, gold, expected):
    pytest.importorskip("rouge_score", reason="rouge-score is not installed: paribus[rouge]")
    assert score(metric("rougeL"), text, gold) == pytest.approx(expected)
