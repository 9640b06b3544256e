"""Generated word problems: the text says what the solution computes, and the sides never meet."""

import hashlib
import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from by_hand import without_subquestions
from paribus.data.wordproblems import CONTAINERS, NAMES, PLACES, THINGS, generate_problems
from paribus.errors import DataError
from paribus.numerals import canonical
from paribus.records import Problem

Args = dict[str, Any]
ANNOTATION = re.compile(r"([0-9]+)([-+*/])([0-9]+)=<<\1\2\3=([0-9]+)>>\4 ")
WORDS = re.compile(
    r"\b(?:" + "|".join([*NAMES, *THINGS, *CONTAINERS, *(f"{c}e?s" for c in CONTAINERS), *PLACES])
    + r")\b"
)  # fmt: skip
# What each sentence means, written apart from the generator: (pattern, operation).
MEANINGS = [
    (r"Then A buys (\d+) more T", "+"),
    (r"Then A finds (\d+) more T at the P", "+"),
    (r"B has (\d+) more T than A has now", "+"),
    (r"Then A gives away (\d+) T", "-"),
    (r"Then A loses (\d+) T at the P", "-"),
    (r"B has (\d+) fewer T than A has now", "-"),
    (r"B has (\d+) times as many T as A has now", "*"),
    (r"B has (\d+) Cs\. Each C holds as many T as A has now", "*"),
    (r"Then A splits the T equally into (\d+) Cs and keeps only one C", "/"),
    (r"Then A shares the T equally among (\d+) friends\. B is one of these friends", "/"),
    (r"Then A gets all the T that Z has", "+"),
]


@st.composite
def arguments(draw: st.DrawFn) -> Args:
    low = draw(st.integers(1, 5))
    return {
        "seed": draw(st.integers(-(2**40), 2**40)),
        # One step and numbers to 4 leave 10 test keys.
        "train_size": draw(st.integers(1, 12)),
        "test_size": draw(st.integers(1, 6)),
        "steps": (low, draw(st.integers(low, 5))),
        "max_number": draw(st.integers(4, 40)),
    }


def make(variant: str = "main", **changes: Any) -> tuple[list[Problem], list[Problem]]:
    args: Args = {"seed": 7, "train_size": 60, "test_size": 30, **changes}
    return generate_problems(variant=variant, **args)


def key(problem: Problem) -> str:
    """The question with its names, things, containers and places numbered by appearance."""
    seen: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        word = re.sub(r"^box(es)?$", "boxs", match[0])
        return seen.setdefault(word.removesuffix("s"), f"w{len(seen)}")

    return WORDS.sub(number, problem.question)


def compute(left: int, operation: str, right: int) -> Fraction:
    a, b = Fraction(left), Fraction(right)
    return {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[operation]


def annotations(problem: Problem) -> list[tuple[int, str, int, int]]:
    """(left, operation, right, result) of each solution line, which must hold exactly one."""
    found = []
    for line in problem.solution.split("\n")[:-1]:
        assert line.count("<<") == 1
        match = ANNOTATION.search(line)
        assert match, line
        found.append((int(match[1]), match[2], int(match[3]), int(match[4])))
    return found


def read(question: str) -> list[Fraction]:
    """Work the question out sentence by sentence: the number stated, then each step's result."""
    things = next(t for t in THINGS if f" {t}." in question)
    text = re.sub(rf"\b{things}\b", "T", question)
    text = re.sub(rf"\b(?:{'|'.join(PLACES)})\b", "P", text)
    for container in CONTAINERS:
        text = re.sub(rf"\b{container}(e?s)?\b", lambda m: "Cs" if m[1] else "C", text)
    first = re.match(r"(\w+) has (\d+) T\. ", text)
    assert first, text
    people, values, text = [first[1]], [Fraction(first[2])], text[first.end() :]
    while not text.startswith("How many"):
        pattern, operation, match = understand(text, people)
        # The sentence with no number pools the two last results.
        number = re.search(r"\d+", match[0])
        right = int(number[0]) if number else int(values[-2])
        values.append(compute(int(values[-1]), operation, right))
        if "B " in pattern:
            people.append(match["b"])
        text = text[match.end() :]
    assert re.fullmatch(rf"How many T does {people[-1]} have (now|in the Cs|in one C)\?", text)
    return values


def understand(text: str, people: list[str]) -> tuple[str, str, re.Match[str]]:
    """The meaning of the sentence that `text` begins with: A is the last person, Z the one before,
    B is someone new."""
    for pattern, operation in MEANINGS:
        named = pattern.replace("A ", f"{people[-1]} ").replace("Z ", f"{people[-2:][0]} ")
        new = named.replace("B ", "(?P<b>[A-Z][a-z]+) ", 1).replace("B ", "(?P=b) ")
        match = re.match(rf"{new}\. ", text)
        if match and match.groupdict().get("b") not in people:
            return pattern, operation, match
    raise AssertionError(f"no meaning: {text}")


@given(arguments())
@settings(max_examples=50)
def test_solution_works_out_what_the_question_says(args: Args) -> None:
    train, test = make(**args)
    assert [len(train), len(test)] == [args["train_size"], args["test_size"]]
    for problem in train + test:
        values = read(problem.question)
        steps = annotations(problem)
        assert [left for left, *_ in steps] == values[:-1]
        assert [result for *_, result in steps] == values[1:]
        for left, operation, right, result in steps:
            assert compute(left, operation, right) == result
        assert problem.solution.split("\n")[-1] == f"#### {values[-1]}"
        assert problem.answer == canonical(str(values[-1]))


@given(arguments())
@settings(max_examples=50)
def test_steps_and_numbers_stay_in_bounds(args: Args) -> None:
    train, test = make(**args)
    low, high = args["steps"]
    top = args["max_number"]
    for problem in train + test:
        steps = annotations(problem)
        assert low <= len(steps) <= high
        assert all(2 <= result <= top**2 for *_, result in steps)
        assert all(2 <= int(n) <= top for n in re.findall(r"\d+", problem.question))


@given(arguments())
@settings(max_examples=50)
def test_variant_changes_only_the_rendering(args: Args) -> None:
    main, socratic = make(**args), make("socratic", **args)
    for plain, asked in zip(main[0] + main[1], socratic[0] + socratic[1], strict=True):
        assert (asked.question, asked.answer, asked.id) == (plain.question, plain.answer, plain.id)
        assert without_subquestions(asked.solution) == plain.solution
        *lines, last = asked.solution.split("\n")
        assert all(re.match(r"How many \w+ does .*\? \*\* [A-Z]", line) for line in lines)
        assert plain.solution.endswith(last)
        assert " ** " not in plain.solution + last
        assert asked.question.endswith(lines[-1].split(" ** ")[0])


@given(arguments(), st.integers())
@settings(max_examples=50)
def test_sides_share_no_key_even_between_seeds(args: Args, other_seed: int) -> None:
    train, test = make(**args)
    other_train, other_test = make(**{**args, "seed": other_seed})
    train_keys, test_keys = [key(p) for p in train], [key(p) for p in test]
    assert len({*train_keys}) == len(train)
    assert len({*test_keys}) == len(test)
    assert not {*train_keys, *map(key, other_train)} & {*test_keys, *map(key, other_test)}


def test_sides_share_no_key_where_the_space_is_nearly_used_up() -> None:
    train, test = make(steps=(1, 1), max_number=10, train_size=380, test_size=110)
    assert not {key(p) for p in train} & {key(p) for p in test}


@given(arguments())
@settings(max_examples=50)
def test_same_seed_same_problems_and_sizes_do_not_interfere(args: Args) -> None:
    train, test = make(**args)
    assert make(**args) == (train, test)
    more_train, same_test = make(**{**args, "train_size": len(train) + 3})
    assert more_train[: len(train)] == train
    assert same_test == test
    same_train, more_test = make(**{**args, "test_size": len(test) + 2})
    assert same_train == train
    assert more_test[: len(test)] == test


def test_another_seed_gives_other_problems() -> None:
    first, second = make(seed=1)[0], make(seed=2)[0]
    assert len({p.id for p in first} & {p.id for p in second}) < len(first) // 10


def test_every_operation_and_every_step_count_is_common() -> None:
    train, _ = make(train_size=300)
    operations = [operation for p in train for _, operation, _, _ in annotations(p)]
    assert all(operations.count(o) > len(operations) // 20 for o in "+-*/")
    assert {len(annotations(p)) for p in train} == {1, 2}


def test_golden_example() -> None:
    main, socratic = (
        make(variant, seed=8, train_size=1, test_size=1, steps=(3, 3), max_number=10)[0][0]
        for variant in ("main", "socratic")
    )
    assert main.question == socratic.question
    assert main.question == (
        "Nora has 9 marbles. Jack has 5 fewer marbles than Nora has now. Then Jack shares the "
        "marbles equally among 2 friends. Mia is one of these friends. Felix has 8 jars. Each jar "
        "holds as many marbles as Mia has now. How many marbles does Felix have in the jars?"
    )
    assert main.solution == (
        "Jack has 9-5=<<9-5=4>>4 marbles now.\n"
        "Mia has 4/2=<<4/2=2>>2 marbles now.\n"
        "Felix has 2*8=<<2*8=16>>16 marbles in the jars.\n"
        "#### 16"
    )
    assert socratic.solution == (
        "How many marbles does Jack have now? ** Jack has 9-5=<<9-5=4>>4 marbles now.\n"
        "How many marbles does Mia have now? ** Mia has 4/2=<<4/2=2>>2 marbles now.\n"
        "How many marbles does Felix have in the jars? ** "
        "Felix has 2*8=<<2*8=16>>16 marbles in the jars.\n"
        "#### 16"
    )
    assert main.answer == socratic.answer == "16"


def test_problems_are_the_same_in_every_process_and_release() -> None:
    train, test = make()
    ids = "".join(problem.id for problem in train + test)
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == "73438609eb3c4f63"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"train_size": 0}, ["train_size", "0", "1 to 100000"]),
        ({"test_size": -1}, ["test_size", "-1", "1 to 100000"]),
        ({"train_size": 100_001}, ["train_size", "100001", "1 to 100000"]),
        ({"steps": (0, 2)}, ["steps", "(0, 2)", "1 to 5"]),
        ({"steps": (1, 6)}, ["steps", "(1, 6)", "1 to 5"]),
        ({"steps": (3, 2)}, ["steps", "(3, 2)", "1 to 5"]),
        ({"max_number": 2}, ["max_number", "2", "3 to 1000"]),
        ({"max_number": 1001}, ["max_number", "1001", "3 to 1000"]),
        (
            {"steps": (1, 1), "max_number": 3, "train_size": 100_000},
            ["train_size", "100000", "(1, 1)", "max_number=3", "raise max_number"],
        ),
    ],
)
def test_bad_arguments_are_named_with_their_limit(changes: Args, named: list[str]) -> None:
    with pytest.raises(DataError) as failure:
        make(**changes)
    assert all(words in str(failure.value) for words in named)
    assert failure.value.remedy
