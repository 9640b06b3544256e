"""Filters and metrics give what lm-evaluation-harness's own code gives, over texts of all kinds.

It needs the package lm-eval (extra `lm-eval`), which is not among the packages of the tests.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from by_hand import written
from paribus.evaluation.filters import filtered, pipelines_of
from paribus.evaluation.metrics import metrics_of

pytest.importorskip("lm_eval", reason="lm-eval is not installed: paribus[lm-eval]")
pytestmark = pytest.mark.engine

WORDS = ["refund", "Refund", "buy", "A", "(B)", "B", ":", "\n", " ", "####", "#### 1,000.", "-2",
         "$", ".", "the", "a", "İ", "\0", "é", "answer is", "[invalid]", "，", "…"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map("".join) | st.lists(
    st.sampled_from(WORDS), max_size=8
).map(" ".join)
PLAIN = TEXTS.filter(lambda text: "[invalid]" not in text.lower())
"""lm-eval's word for a text without an answer, which paribus counts as none, is no one's gold."""
GOLDS = PLAIN.filter(str.strip)
CHOICES = ["buy", "refund", "refund it", "Guilty of: all"]

FILTERS: list[list[dict[str, Any]]] = [
    [{"function": "regex"}],
    [{"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"}],
    [{"function": "regex", "regex_pattern": "answer is(.*)", "fallback": " none "}],
    [{"function": "regex", "regex_pattern": "(x)?(y)?", "fallback": " none "}],
    [{"function": "lowercase"}],
    [{"function": "uppercase"}, {"function": "remove_whitespace"}],
    [{"function": "remove_whitespace"}, {"function": "map", "mapping_dict": {"A": "buy"},
                                         "default_value": "other"}],
    [{"function": "majority_vote"}],
]  # fmt: skip

MULTIPLE_CHOICE: list[list[dict[str, Any]]] = [
    [{"function": "multi_choice_regex", "regex_pattern": "(\\([A-Z]\\))"}],
    [{"function": "multi_choice_regex", "regex_pattern": "((x)|(\\([A-Z]\\)))", "ignore_case": True,
      "ignore_punctuation": True, "regexes_to_ignore": ["the ", "a"], "group_select": -1}],
]  # fmt: skip

OPTIONS: list[dict[str, Any]] = [
    {},
    {"ignore_case": True},
    {"ignore_punctuation": True},
    {"ignore_numbers": True, "ignore_case": True},
    {"regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"], "ignore_case": True,
     "ignore_punctuation": False},
    {"regexes_to_ignore": ["\\s", "(?i)a"], "ignore_numbers": True, "ignore_punctuation": True},
]  # fmt: skip


def by_lm_eval(text: str, golds: Sequence[str], steps: list[dict[str, Any]], options: Any) -> float:
    """Return what lm-eval's own filters and `exact_match` say, as its tasks call them."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.metrics import exact_match_fn
    from lm_eval.filters import build_filter_ensemble

    instance = Instance("generate_until", {"choices": CHOICES}, ("", {}), 0)
    instance.resps = [text]
    named = [
        (step["function"], {key: value for key, value in step.items() if key != "function"})
        for step in [*steps, {"function": "take_first"}]
    ]
    build_filter_ensemble("ours", named).apply([instance])
    result = instance.filtered_resps["ours"]
    matches = exact_match_fn(references=list(golds), predictions=[result] * len(golds), **options)
    return float(matches["exact_match"] > 0)


def by_ours(text: str, golds: Sequence[str], steps: list[dict[str, Any]], options: Any) -> float:
    (metric,) = metrics_of(
        [{"metric": "exact_match"} | options],
        [{"name": "ours", "filter": [*steps, {"function": "take_first"}]}],
        folder=Path(),
    )
    return metric.score(written(text, *golds, choices=tuple(CHOICES))) or 0.0


@pytest.mark.parametrize("steps", FILTERS, ids=lambda steps: steps[-1]["function"])
@settings(max_examples=300, deadline=None)
@given(text=TEXTS, gold=GOLDS)
def test_filters_are_lm_evals(steps, text, gold):
    for wanted in (gold, given_by(steps, text) or gold):
        assert by_ours(text, [wanted], steps, {}) == by_lm_eval(text, [wanted], steps, {})


@pytest.mark.parametrize("steps", MULTIPLE_CHOICE, ids=["plain", "options"])
@settings(max_examples=60, deadline=None)  # lm-eval's takes 0.2 s for each text
@given(text=TEXTS, gold=GOLDS)
def test_filters_of_multiple_choice_are_lm_evals(steps, text, gold):
    wanted = given_by(steps, text) or gold
    assert by_ours(text, [wanted], steps, {}) == by_lm_eval(text, [wanted], steps, {})


def given_by(steps: list[dict[str, Any]], text: str) -> str | None:
    """What our filters make of the text: as gold, it must be what lm-eval's make of it."""
    ((_, filters),) = pipelines_of([{"name": "ours", "filter": steps}])
    return filtered(text, filters, CHOICES)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@settings(max_examples=300, deadline=None)
@given(text=PLAIN, golds=st.lists(GOLDS, min_size=1, max_size=3))
@example(text="İ", golds=["i"])
@example(text="a\0", golds=["a"])
@example(text="İİ", golds=["i̇", "i̇i̇"])
def test_exact_match_is_lm_evals(options, text, golds):
    for answers in (golds, [*golds, text] if text.strip() else golds):
        assert by_ours(text, answers, [], options) == by_lm_eval(text, answers, [], options)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, gold=GOLDS)
def test_f1_is_that_of_lm_evals_questions_and_answers(text, gold):
    utils = importlib.import_module("lm_eval.tasks.afrobench.afriqa.prompt_1.utils")
    # Gold without a word is SQuAD 2's "no answer", which these tasks do not have.
    assume(utils.normalize_answer(gold))
    (metric,) = metrics_of([{"metric": "f1"}], None, folder=Path())
    assert (metric.score(written(text, gold)) or 0) == utils.f1([(gold, text)])


@given(
    nlls=st.lists(st.floats(0.01, 1e3) | st.just(1.0), min_size=4, max_size=4),
    gold=st.sampled_from(CHOICES),
)
@settings(max_examples=300, deadline=None)
def test_likelihoods_are_judged_as_by_lm_eval(nlls, gold):
    from lm_eval.api.task import ConfigurableTask

    class OfChoices(ConfigurableTask):
        """One of multiple choice, without its data."""

        OUTPUT_TYPE = "multiple_choice"
        multiple_input = multiple_target = 0

        def __init__(self) -> None:
            self._metric_fn_list = dict.fromkeys(["acc", "acc_norm", "acc_bytes"])
            self._config = type("Config", (), {"process_results": None})()

        def doc_to_choice(self, doc, *_):
            return doc["choices"]

        def doc_to_target(self, doc, *_):
            return doc["gold"]

    document = {"choices": CHOICES, "gold": gold}
    wanted = OfChoices().process_results(document, [(-nll, False) for nll in nlls])
    text = written("", gold, choices=tuple(CHOICES), choice_nlls=tuple(nlls))
    metrics = metrics_of([{"metric": name} for name in wanted], None, folder=Path())
    assert {each.name: each.score(text) for each in metrics} == wanted
