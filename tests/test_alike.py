"""Problems that read alike are found, others are not, and what it costs to count them as many."""

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from paribus.data.alike import about_alike, alike_sets, likeness
from paribus.data.wordproblems import generate_problems
from paribus.statistics.verdicts import compare
from templates import (
    instance,
    of_templates,
    templates,
)


def pairs(labels: Sequence[int]) -> set[tuple[int, int]]:
    places: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(int(label), []).append(place)
    return {(one, two) for each in places.values() for one in each for two in each if one < two}


@pytest.mark.parametrize(("count", "each"), [(100, 4), (300, 2), (40, 10), (10, 40), (25, 4)])
def test_problems_of_one_template_are_found_and_no_others(count, each):
    texts, made_of = of_templates(count, count, each)
    found, true = pairs(alike_sets(texts)), pairs(made_of)
    assert len(found & true) >= 0.95 * len(true)
    assert len(found - true) <= 0.05 * len(true)


def test_problems_of_their_own_are_not_alike():
    texts, _ = of_templates(1, 1200, 1)
    found = likeness(texts, [""] * 1200)
    assert found.worth > 0.98 * 1200
    assert about_alike(tuple(texts), ("",) * 1200) == ""


COPIES = {  # how a copy is written
    "the same": lambda text: text,
    "blanks and case": lambda text: text.upper().replace(" ", "  "),
    "marks": lambda text: text.replace(",", "").replace("?", " ?").replace("$", "USD "),
    "a label": lambda text: f"{text} (copy 2)",
    "a word": lambda text: text.replace("bought", "purchased").replace("half", "50 percent"),
    "a sentence more": lambda text: f"It was a sunny day. {text}",
    "quoted": lambda text: f'"{text}"',
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copies_are_found_among_others(copy):
    texts, _ = of_templates(2, 300, 1)
    copies = list(map(copy, texts[:50]))
    found, true = pairs(alike_sets([*texts, *copies])), {(n, 300 + n) for n in range(50)}
    assert len(found & true) >= 48
    assert len(found - true) <= 3


SHORT = [
    "What is 3 + 4?",
    "What is 5 - 1?",
    "Who wrote Emma?",
    "Who wrote Hamlet?",
    "Why?",
    "",
    "7",
]


def test_short_questions_say_too_little_unless_they_are_the_same():
    assert len(set(alike_sets(SHORT).tolist())) == len(SHORT)
    again = alike_sets([*SHORT, "who  wrote EMMA", "Why"]).tolist()
    assert (again[7], again[8]) == (again[2], again[4])
    assert len(set(again)) == len(SHORT)


def test_an_instruction_that_all_have_is_no_likeness():
    texts, _ = of_templates(3, 200, 1)
    told_first = "Solve the following problem step by step, and end with the answer on a new line. "
    found = alike_sets([told_first * 3 + text for text in texts])
    assert len(set(found.tolist())) >= 197


def test_one_template_for_all_leaves_nothing_to_group():
    rng = random.Random(4)
    (only,) = templates(rng, 1)
    assert about_alike(tuple(instance(rng, only) for _ in range(300)), ("",) * 300) == ""


def test_the_order_does_not_matter():
    texts, _ = of_templates(5, 60, 3)
    assert pairs(alike_sets(texts[::-1])) == {
        (179 - b, 179 - a) for a, b in pairs(alike_sets(texts))
    }


def test_what_is_said():
    texts, made_of = of_templates(6, 100, 4)
    said = about_alike(tuple(texts), ("",) * 400)
    assert said.startswith("400 of 400 problems read like another but for numbers, names and ")
    assert "in 100 sets of up to 4, such as '" in said
    assert said.endswith("if those of a set stand or fall together, all are worth 100")


def test_groups_that_problems_name_are_known():
    texts, made_of = of_templates(7, 100, 4)
    assert about_alike(tuple(texts), tuple(map(str, made_of))) == ""
    # Half of the templates are declared: the other 200 problems are like one another still.
    half = tuple(str(number) if number < 50 else "" for number in made_of)
    assert about_alike(tuple(texts), half).startswith("200 of 400 problems read like another")
    # Groups that cut across the templates hide nothing.
    across = tuple(str(place % 200) for place in range(400))
    assert about_alike(tuple(texts), across).startswith("400 of 400")


def test_a_few_copies_are_no_warning():
    """GSM8K itself has a few problems that read alike; they are worth nearly as many."""
    texts, _ = of_templates(8, 300, 1)
    copied = [*texts, *texts[:6]]
    assert likeness(copied, [""] * 306).like == 12
    assert about_alike(tuple(copied), ("",) * 306) == ""


def solved(rng: np.random.Generator, of: Sequence[int]) -> np.ndarray:
    """One arm: templates are hard or easy to it by chance, so all arms are equally good."""
    chances = rng.random(max(of) + 1)
    return rng.random((1, len(of))) < chances[np.array(of)]


def claimed(rng: np.random.Generator, of: Sequence[int], groups: np.ndarray | None) -> bool:
    p_value = compare(solved(rng, of), solved(rng, of), groups).p_value
    return p_value is not None and p_value < 0.05


def test_what_undeclared_templates_cost_and_that_the_sets_found_mend_it():
    texts, made_of = of_templates(9, 60, 4)
    sets = np.array(alike_sets(texts))
    rng = np.random.default_rng(1)
    alone = sum(claimed(rng, made_of, None) for _ in range(800)) / 800
    grouped = sum(claimed(rng, made_of, sets) for _ in range(800)) / 800
    assert alone > 0.09
    assert grouped < 0.07


def test_problems_that_each_draw_their_template_are_independent():
    """As paribus's own generator does: few templates, the same for all, drawn for each problem."""
    rng = np.random.default_rng(2)
    chances = rng.random((2, 11))
    chances[1] = rng.permutation(chances[0])  # other templates are hard to B; as many are
    shown = 0
    for _ in range(800):
        of = rng.integers(11, size=240)
        a, b = (rng.random((1, 240)) < chance[of] for chance in chances)
        p_value = compare(a, b).p_value
        shown += p_value is not None and p_value < 0.05
    assert shown / 800 < 0.07


def test_generated_problems_are_of_few_templates():
    """So files of them are warned of; experiments are not: they are drawn as the test above."""
    _, test = generate_problems(seed=1, train_size=1, test_size=400, variant="main")
    sets = Counter(alike_sets([problem.question for problem in test]).tolist())
    assert 20 < len(sets) < 200
