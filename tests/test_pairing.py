"""Runs are joined problem by problem, on the hash of the question and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import generation
from paribus.analysis.pairing import align, keys_of
from paribus.analysis.tables import Run, with_generations
from paribus.records import problem_id
from paribus.store.runs import RunState


def run(problems: str, solved: str = "", groups: str = "") -> Run:
    """A run on the problems named by letters, which solves those in `solved`."""
    made = [
        generation(
            ord(letter),
            f"#### {7 if letter in solved else 8}",
            group=groups[place] if groups else "",
        )
        for place, letter in enumerate(problems)
    ]
    return with_generations(Run(arm="full", seed=0, state=RunState.COMPLETE), made)


def letters(keys) -> str:
    return "".join(chr(int(problem, 16)) for problem, _ in keys)


@pytest.mark.parametrize(
    ("runs", "shared", "left_out"),
    [
        ([["abc"], ["abc"]], "abc", 0),
        ([["abc"], ["cba"]], "abc", 0),
        ([["cba"], ["abc"]], "cba", 0),
        ([["abcd"], ["cdef"]], "cd", 4),
        ([["abc", "bcd"], ["abcd"]], "bc", 2),
        ([["abc"], ["def"]], "", 6),
        ([["aab"], ["aba"]], "aab", 0),
        ([["aab"], ["ab"]], "ab", 1),
        ([["aaa"], ["aa"], ["a"]], "a", 2),
    ],
)
def test_problems_that_all_runs_share(runs, shared, left_out):
    found = align([[run(problems) for problems in arm] for arm in runs])
    assert letters(found.keys) == shared
    assert found.left_out == left_out
    assert [table.shape for table in found.solved] == [
        (len(arm), len(shared)) if shared else (len(arm), 0) for arm in runs
    ]


def test_cells_follow_their_problem_whatever_the_order():
    found = align([[run("abcd", "ab"), run("dcba", "ad")], [run("bdca", "b")]])
    assert letters(found.keys) == "abcd"
    assert found.solved[0].tolist() == [[True, True, False, False], [True, False, False, True]]
    assert found.solved[1].tolist() == [[False, True, False, False]]


def test_a_question_asked_twice_is_two_problems_in_the_order_asked():
    first, second = run("ab"), run("a", "a")
    twice = with_generations(first, [*first.generations, *second.generations])
    assert [place for _, place in keys_of(twice)] == [0, 0, 1]
    found = align([[twice], [run("baa", "a")]])
    assert found.solved[0].tolist() == [[False, False, True]]
    assert found.solved[1].tolist() == [[True, False, True]]


@pytest.mark.parametrize(
    ("problems", "groups", "numbers"),
    [
        ("abcd", "", None),
        ("abcd", "ppqq", [0, 0, 1, 1]),
        ("dcba", "qqpp", [0, 0, 1, 1]),
        ("abcd", "pqpq", [0, 1, 0, 1]),
    ],
)
def test_groups_follow_their_problem(problems, groups, numbers):
    found = align([[run(problems, groups=groups)], [run("abcd", groups=groups)]])
    assert (None if found.groups is None else found.groups.tolist()) == numbers


@given(
    st.permutations("abcdefgh"), st.permutations("abcdefgh"), st.sets(st.sampled_from("abcdefgh"))
)
def test_what_an_arm_solves_does_not_depend_on_the_order(first, second, solved):
    found = align([[run("".join(first), "".join(solved))], [run("".join(second), "".join(solved))]])
    assert found.solved[0].tolist() == found.solved[1].tolist()
    assert found.left_out == 0


def test_white_space_does_not_make_another_question():
    assert problem_id("How many\n pens?") == problem_id("How many pens?  ")
    assert problem_id("How many pens?") != problem_id("How many Pens?")
