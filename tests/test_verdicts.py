"""From p-values to verdicts, and from verdicts to sentences."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from by_hand import result, tables
from paribus.analysis import effects, wording
from paribus.analysis.answer import answer
from paribus.analysis.caveats import caveats
from paribus.analysis.contrasts import Contrast
from paribus.analysis.effects import Effect
from paribus.analysis.family import judged
from paribus.analysis.findings import conclude, payload
from paribus.analysis.tables import Arm
from paribus.statistics.intervals import Interval
from paribus.statistics.verdicts import Scope, Verdict, holm

P_VALUES = st.none() | st.floats(0, 1)


# --- Holm ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([None], [None]),
        ([0.02], [0.02]),
        ([0.01, 0.02, 0.03], [0.03, 0.04, 0.04]),
        # A comparison without a test counts: 4 * 0.01, 3 * 0.02, and 2 * 0.03 is no larger.
        ([0.01, 0.02, 0.03, None], [0.04, 0.06, 0.06, None]),
        ([None, 0.03, 0.01, 0.02], [None, 0.06, 0.04, 0.06]),
        ([0.6, 0.6], [1.0, 1.0]),
        ([0.04, 0.001], [0.04, 0.002]),
    ],
)
def test_holm_by_hand(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)


@settings(max_examples=15)
@given(st.lists(P_VALUES, max_size=12))
def test_holm_never_lowers_and_keeps_the_order(p_values):
    found = holm(p_values)
    pairs = [
        (p, q) for p, q in zip(p_values, found, strict=True) if p is not None and q is not None
    ]
    assert [p is None for p in p_values] == [q is None for q in found]
    assert all(p <= q <= 1 for p, q in pairs)
    ordered = [q for _, q in sorted(pairs)]
    assert ordered == sorted(ordered)


def test_a_comparison_that_could_not_be_made_counts_in_the_family():
    rows = {"full": ["1" * 10], "lora": ["1" + "0" * 9], "untuned": [None]}
    made = tables(rows, [("full", "lora"), ("full", "untuned"), ("lora", "untuned")])
    found = judged(made).contrasts
    assert found[0].p_value == pytest.approx(2 / 2**9)
    assert [each.p_holm for each in found] == [pytest.approx(3 * 2 / 2**9), None, None]


# --- verdicts --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Contrast, Effect])
@pytest.mark.parametrize(
    ("difference", "p_value", "p_holm", "verdict"),
    [
        (0.1, 0.01, 0.04, Verdict.SUPPORTED),
        (-0.1, 0.01, 0.04, Verdict.REFUTED),
        (0.1, 0.0126, 0.0504, Verdict.NOT_SHOWN),  # one of four: significant only by itself
        (0.1, 0.05, 0.05, Verdict.NOT_SHOWN),
        (-0.1, 0.4, 1.0, Verdict.NOT_SHOWN),
        (0.1, None, None, Verdict.NOT_SHOWN),
        (0.0, 1.0, 1.0, Verdict.NOT_SHOWN),
        (None, None, None, Verdict.NOT_SHOWN),
    ],
)
def test_the_verdict_is_read_off_the_corrected_p(kind, difference, p_value, p_holm, verdict):
    given_by = (
        {"a": "full", "b": "lora", "factor": "method"}
        if kind is Contrast
        else {"factors": ("method",), "levels": (("full", "lora"),), "weights": {}}
    )
    found = kind(**given_by, difference=difference, p_value=p_value, p_holm=p_holm)
    assert found.verdict is verdict


# --- sentences -------------------------------------------------------------------------------


def compared(**more) -> Contrast:
    values = {
        "n": 100,
        "seeds": (1, 1),
        "only_a": 12,
        "only_b": 2,
        "difference": 0.1,
        "interval": Interval(0.024, 0.186),
        "p_value": 0.013,
        "p_holm": 0.013,
        "detectable": 0.104,
    }
    return Contrast(a="full", b="lora", factor="method", **(values | more))


METHODS = {"scope": Scope.METHODS, "seeds": (3, 3)}


@pytest.mark.parametrize(
    ("contrast", "sentence"),
    [
        (
            compared(),
            "Of these two models, full is better than lora on these 100 problems: it solves 10 "
            "more.",
        ),
        (
            compared(difference=-0.1, only_a=2, only_b=12),
            "Of these two models, lora is better than full on these 100 problems: it solves 10 "
            "more.",
        ),
        (
            compared(**METHODS),
            "As methods, over 3 seeds: full solves 10 points more than lora on average.",
        ),
        (
            compared(scope=Scope.METHODS, seeds=(3, 2), difference=-0.01),
            "As methods, over 3 and 2 seeds: lora solves 1 point more than full on average.",
        ),
        (
            compared(p_holm=0.052),
            "Not shown: the difference may be +2.4 to +18.6 points. The interval leaves out 0, the "
            "test, corrected for all comparisons, does not. 10.4 points or more would be seen 8 "
            "times in 10.",
        ),
        (  # alone in its family: over seeds the test is harder to pass than its interval
            compared(**METHODS, p_value=0.06, p_holm=0.06),
            "Not shown: the difference may be +2.4 to +18.6 points. The interval leaves out 0, the "
            "test, which is harder to pass, does not. 10.4 points or more would be seen 8 times "
            "in 10.",
        ),
        (
            compared(p_value=None, p_holm=None, interval=Interval(-0.04, 0.04), reason="why"),
            "Not shown: why, so there is no test; the difference may be −4.0 to +4.0 points.",
        ),
        (
            compared(**METHODS, interval=None, p_holm=None, reason="2 seeds are too few"),
            "No verdict: 2 seeds are too few.",
        ),
        (Contrast(a="full", b="lora", factor="method", reason="why"), "Not compared: why."),
        (
            compared(left_out=7),
            "Of these two models, full is better than lora on these 100 problems: it solves 10 "
            "more. The arms were tested on different problems: compared on the 100 they share, 7 "
            "left out.",
        ),
    ],
)
def test_what_a_contrast_says(contrast, sentence):
    assert wording.verdict_sentence(contrast) == sentence


@pytest.mark.parametrize("difference", [0.2, -0.2])
@pytest.mark.parametrize(
    ("scope", "seeds", "said", "never"),
    [
        (Scope.MODELS, (1, 1), "these two models", ("methods", "seeds", "average")),
        (Scope.METHODS, (3, 3), "As methods, over 3 seeds", ("these two models", "these 100")),
        (Scope.METHODS, (3, 1), "As methods, over 3 seeds", ("these two models", "these 100")),
    ],
)
def test_models_and_methods_are_never_confused(scope, seeds, difference, said, never):
    sentence = wording.verdict_sentence(compared(scope=scope, seeds=seeds, difference=difference))
    assert said in sentence
    assert not [word for word in never if word in sentence]


def effect(*levels: tuple[str, str], **more) -> Effect:
    values = {"n": 100, "difference": 0.07, "interval": Interval(0.01, 0.13), "p_holm": 0.02}
    names = ("method", "data.variant")[: len(levels)]
    return Effect(factors=names, levels=levels, weights={}, **(values | more))


METHOD, DATA = ("full", "lora"), ("main", "socratic")


@pytest.mark.parametrize(
    ("effect", "sentence"),
    [
        (
            effect(METHOD),
            "Of these models, those with full solve 7 points more on average than those with lora.",
        ),
        (
            effect(METHOD, scope=Scope.METHODS, difference=-0.07),
            "As methods, those with lora solve 7 points more on average than those with full.",
        ),
        (
            effect(METHOD, p_holm=0.06, detectable=0.09),
            "Not shown: the average difference may be +1.0 to +13.0 points. 9.0 points or more "
            "would be seen 8 times in 10.",
        ),
        (effect(METHOD, interval=None, reason="why"), "Not measured: why."),
        (
            effect(METHOD, p_holm=None, reason="why"),
            "Not shown: why, so there is no test; it may be +1.0 to +13.0 points.",
        ),
        (
            effect(METHOD, DATA),
            "Of these models, the difference full − lora is 7 points higher with "
            "data.variant main than with socratic.",
        ),
        (
            effect(METHOD, DATA, scope=Scope.METHODS, difference=-0.07),
            "As methods, the difference full − lora is 7 points higher with data.variant "
            "socratic than with main.",
        ),
    ],
)
def test_what_an_effect_says(effect, sentence):
    assert effects.effect_sentence(effect) == sentence


@pytest.mark.parametrize(
    ("full", "lora", "cause"),
    [
        # One seed of three is bad: the problems are not to blame.
        (
            ["1" * 40, "1" * 40, "0" * 40],
            ["0" * 20 + "1" * 20] * 3,
            "with seeds that scatter so: the difference is −50, +50 and +50 points.",
        ),
        (["1" * 6 + "0" * 4] * 3, ["0" * 4 + "1" * 6] * 3, "with so few problems and seeds."),
        (["1" * 3], ["0" * 3], "with so few problems."),
    ],
)
def test_what_keeps_a_difference_from_being_seen(full, lora, cause):
    made = tables({"full": full, "lora": lora}, [("full", "lora")])
    (found,) = judged(made).contrasts
    assert wording.verdict_sentence(replace(found, detectable=None)).endswith(
        f"No difference is large enough to be seen 8 times in 10 {cause}"
    )


def test_figures_in_words():
    assert [wording.percent(share) for share in (0.31, 0.3085, 0.0, None)] == [
        "31 %",
        "30.9 %",
        "0 %",
        "–",
    ]
    assert [wording.points(each) for each in (0.09, -0.052, 0.0, -0.00001, 0.01, None)] == [
        "+9 points",
        "−5.2 points",
        "0 points",
        "0 points",
        "+1 point",
        "–",
    ]
    assert wording.points_range(Interval(-0.05, 0.11)) == "−5.0 to +11.0"
    assert wording.points_range(Interval(-0.0001, 0.0)) == "0.0 to 0.0"
    assert [wording.p_value(p) for p in (0.0213, 0.00004, None)] == ["0.021", "< 0.001", "no test"]


# --- the answer ------------------------------------------------------------------------------


THESE = "Of these trained models, "
PAIRS = [("full", "untuned"), ("lora", "untuned"), ("full", "lora")]


@pytest.mark.parametrize(
    ("rows", "sentences"),
    [
        (
            {"untuned": ["1000000000"], "full": ["1" * 10], "lora": ["1000000001"]},
            [
                f"{THESE}full (100 %) solves more of the 10 test problems than the untuned model "
                "(10 %).",
                f"{THESE}for lora (20 %) a difference from the untuned model (10 %) is not shown.",
                f"{THESE}for method: full is better than lora on these 10 problems (+80 points, "
                "+30.0 to +94.3).",
            ],
        ),
        (
            {"untuned": ["0" * 12], "full": ["1" * 12], "lora": ["1" * 11 + "0"]},
            [
                f"{THESE}both tuned arms solve more of the 12 test problems than the untuned "
                "model (0 %): full (100 %) and lora (91.7 %).",
                f"{THESE}for method: a difference between full and lora (+8.3 points, −17.9 to "
                "+35.4) is not shown.",
            ],
        ),
        (
            {"untuned": ["1" * 12], "full": ["0" * 12], "lora": [None]},
            [
                f"{THESE}full (0 %) solves fewer of the 12 test problems than the untuned model "
                "(100 %).",
                "2 of 3 comparisons could not be made: there are no results of both arms.",
            ],
        ),
        (
            {"untuned": ["0" * 12], "full": ["1" * 12] * 2, "lora": ["0" * 12] * 2},
            [
                "As methods, over 2 seeds, for full (100 %) and lora (0 %) there is no verdict "
                "beside the untuned model (0 %): 2 seeds are too few to say how much the seed "
                "matters: use 1, or 3 and more.",
                "As methods, over 2 seeds, for method: there is no verdict between full and lora "
                "(+100 points): 2 seeds are too few to say how much the seed matters: use 1, or 3 "
                "and more.",
            ],
        ),
        ({"untuned": [None], "full": [None], "lora": [None]}, ["No two arms could be compared."]),
    ],
)
def test_the_answer_in_words(rows, sentences):
    made = tables(rows, PAIRS)
    assert conclude(made).answer == sentences


def test_the_answer_says_over_how_many_seeds_methods_were_compared():
    made = tables({"full": ["1" * 20] * 3, "lora": ["0" * 20] * 3}, [("full", "lora")])
    (sentence,) = conclude(made).answer
    assert sentence.startswith(
        "As methods, over 3 seeds, for method: full solves more than lora on average (+100 points, "
    )


HALF = "10" * 100
BY_METHOD = f"{THESE}for method: "


@pytest.mark.parametrize(
    ("full", "lora", "margin", "sentence"),
    [
        ([HALF], [HALF], 0.05, "full and lora are equivalent within 5 points (0 points, "),
        ([HALF], [HALF[:-8] + "0" * 8], 0.03,
         "full is not worse than lora by 3 points or more (+2 points, "),
        ([HALF], [HALF], 0.002, "a difference between full and lora (0 points, "),
        (["1" * 200], [HALF], 0.05, "full is better than lora on these 200 problems (+50 points, "),
        ([HALF] * 3, [HALF], 0.1, "full and lora are equivalent within 10 points (0 points, "),
    ],
)  # fmt: skip
def test_the_answer_says_who_is_as_good_by_the_margin(full, lora, margin, sentence):
    made = tables({"full": full, "lora": lora}, [("full", "lora")])
    (found,) = conclude(replace(made, margins={("full", "lora"): margin})).answer
    lead = "As methods, over 3 seeds, for method: " if len(full) == 3 else BY_METHOD
    assert found.startswith(f"{lead}{sentence}")


def headline(rows, pairs=(("full", "lora"),), **more) -> list[str]:
    return conclude(replace(tables(rows, pairs), **more)).answer


CUT = "1" * 6 + "c" * 14


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        # Cut texts may be all there is to it: nobody is called better, whoever is asked about.
        ({"full": ["1" * 20], "lora": [CUT]}, {},
         f"{BY_METHOD}full scores higher than lora (+70 points, +42.6 to +85.5), which this may "
         "explain alone: cut by the token limit: 0 % of the texts of full, 70 % of lora."),
        ({"full": [CUT], "lora": ["1" * 20]}, {},
         f"{BY_METHOD}lora scores higher than full (+70 points, +42.6 to +85.5), which this may "
         "explain alone: cut by the token limit: 70 % of the texts of full, 0 % of lora."),
        # Who is named first is it by so much, whoever is asked about.
        ({"full": ["0" * 20], "lora": ["1" * 20]}, {},
         f"{BY_METHOD}lora is better than full on these 20 problems (+100 points, +67.8 to +100.0"),
        ({"full": [HALF[:-8] + "0" * 8], "lora": [HALF]}, {"margins": {("full", "lora"): 0.03}},
         f"{BY_METHOD}lora is not worse than full by 3 points or more (+2 points, "),
        # Runs that are not known to be seeds: the means of these.
        ({"full": ["1" * 20] * 2, "lora": ["0" * 20]}, {"repeats": frozenset({"full"})},
         f"{BY_METHOD}full solves more than lora on average (+100 points, "),
        # The reason stands where there is no test.
        ({"full": ["10" * 10], "lora": ["10" * 10]}, {},
         f"{BY_METHOD}a difference between full and lora (0 points, −16.1 to +16.1) is not shown: "
         "both solve the very same problems."),
        # Shown, and within the margin.
        ({"full": ["1" * 8 + HALF * 4], "lora": ["0" * 8 + HALF * 4]},
         {"margins": {("full", "lora"): 0.05}},
         f"{BY_METHOD}full is better than lora on these 808 problems (+1 point, +0.5 to +1.9); "
         "yet full and lora are equivalent within 5 points."),
    ],
)  # fmt: skip
def test_a_headline_claims_no_more_than_its_sentence(rows, more, said):
    (found,) = headline(rows, **more)
    assert found.startswith(said)


def test_arms_of_which_nobody_says_that_they_were_trained_are_no_tuned_arms():
    rows = {"untuned": ["0" * 12], "full": ["1" * 12], "lora": ["1" * 12]}
    made = tables(rows, [("full", "untuned"), ("lora", "untuned")])
    arms = tuple(arm if arm.untuned else replace(arm, identity={}) for arm in made.arms)
    (found,) = conclude(replace(made, arms=arms)).answer
    assert found.startswith("Of these models, both arms solve more of the 12 test problems than")


def test_a_headline_says_under_what_other_prompts_the_untuned_model_was_asked():
    made = tables({"untuned": ["0" * 12], "full": ["1" * 12]}, [("full", "untuned")])
    for shots, said in (("one_shot", "(0 %, under one_shot/raw)"), ("zero_shot", "(0 %)")):
        asked = {"untuned": f"{shots}/raw", "full": "zero_shot/raw"}
        runs = tuple(replace(run, result=result(asked[run.arm])) for run in made.runs)
        (found,) = conclude(replace(made, runs=runs)).answer
        assert found.endswith(f"than the untuned model {said}.")


def test_a_headline_says_why_the_family_shows_what_the_interval_does_not():
    rows = {name: [f"{start}{'0' * 20}"] for name, start in
            (("full", "1" * 6), ("lora", "0" * 6), ("third", "0" * 6))}  # fmt: skip
    pairs = [("full", "lora"), ("full", "third"), ("lora", "third")]
    (found,) = headline(rows, pairs)
    assert "is not shown: the interval leaves out 0, the test, corrected for all" in found


def test_several_tuned_arms_and_cut_texts_beside_the_untuned_model():
    """An arm whose gain cut texts explain is not one of those that solve more."""
    rows = {"untuned": [CUT], "full": ["1" * 20], "lora": ["1" * 6 + "0" * 14]}
    found = headline(rows, [("full", "untuned"), ("lora", "untuned")])
    assert found == [
        f"{THESE}full scores higher than untuned (+70 points, +42.6 to +85.5), which this may "
        "explain alone: cut by the token limit: 0 % of the texts of full, 70 % of untuned.",
        f"{THESE}for lora (30 %) a difference from the untuned model (30 %) is not shown: both "
        "solve the very same problems.",
    ]


@pytest.mark.parametrize(
    ("arms", "pair", "lead"),
    [
        ({"a": {"method": "full"}, "b": {"method": "lora"}}, ("a", "b"), THESE),
        ({"a": {"method": "full"}, "b": {"method": "none"}}, ("a", "b"), THESE),
        ({"a": {"method": "none"}, "b": {"method": "none"}}, ("a", "b"), "Of these models, "),
        ({"a": {}, "b": {}}, ("a", "b"), "Of these models, "),
        ({"a": {"method": "full"}, "b": {}}, ("a", "b"), "Of these models, "),
    ],
)
def test_only_what_is_known_to_be_trained_is_called_so(arms, pair, lead):
    made = tables({"a": ["1" * 20], "b": ["0" * 20]}, [pair])
    named = tuple(Arm(name=name, factors={}, identity=known) for name, known in arms.items())
    found = conclude(replace(made, arms=named))
    assert found.answer[0].startswith(lead)
    both = {each.get("method") for each in arms.values()} == {"full", "lora"}
    trained = "trained " if both else ""
    assert payload(found)["speaks_of"] == f"Verdicts are of these {trained}models (one seed)."


VARIANTS = st.lists(
    st.tuples(
        st.sampled_from(["1" * 24, "1" * 18 + "0" * 6, "1" * 6 + "c" * 18, "0" * 24, "n" * 24]),
        st.sampled_from([1, 2, 3]),
    ),
    min_size=2,
    max_size=3,
)


@settings(max_examples=30)
@given(VARIANTS, st.booleans(), st.sampled_from([None, 0.02, 0.4]))
def test_headline_and_sentence_have_one_verb_for_one_winner(arms, base, margin):
    """Whatever came out: who is called better is called so below, and nobody else."""
    names = ["untuned" if base else "full", "lora", "third"][: len(arms)]
    rows = {name: [row] * (1 if name == "untuned" else count)
            for name, (row, count) in zip(names, arms, strict=True)}  # fmt: skip
    pairs = [(b, a) for at, a in enumerate(names) for b in names[at + 1 :]]
    made = tables(rows, pairs)
    made = replace(made, margins=dict.fromkeys(pairs, margin) if margin else {})
    found = judged(made, seeing=False).contrasts
    beside = [caveats(made, each, [], [], alike=False) for each in found]
    said = " ".join(answer(made, found, beside))
    for each, other in zip(found, beside, strict=True):
        sentence = wording.verdict_sentence(each, other.explains)
        for ahead, behind in ((each.a, each.b), (each.b, each.a)):
            verb = rf"{ahead} (is|solves|scores) (\S+ points? )?(better|more|higher) than {behind}"
            above, below = re.search(verb, said), re.search(verb, sentence)
            assert above is None or (below and above.group(1, 3) == below.group(1, 3))
            assert below is None or above or each.b == "untuned"
        if each.verdict is Verdict.NOT_SHOWN:
            assert each.margin or wording.why_not(each) in said
        else:
            assert other.explains in said
