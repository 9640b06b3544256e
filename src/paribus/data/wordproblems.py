"""Generated word problems in GSM8K's format: a task that a small model can learn offline.

GSM8K itself is too hard for a model of a few hundred million parameters. Here a problem is a
small expression tree: leaves are numbers that the question states, nodes are `Node`s, whose
kind says what happens and who then holds the things. One step, with its socratic solution:

    Mia has 12 pens. Leo has 3 times as many pens as Mia has now. How many pens does Leo have now?

    How many pens does Leo have now? ** Leo has 12*3=<<12*3=36>>36 pens now.
    #### 36

A problem's key is its tree without names and things: `(12 times 3)`. A hash of the key alone
says whether it is for training or testing, so no two runs, whatever their seeds, mix the two.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paribus.errors import DataError
from paribus.records import Problem
from paribus.seeds import derive

MAX_STEPS = 5
MAX_NUMBER = 1000
"""Beyond this the search for divisors is slow, and no small model does such sums."""
MAX_SIZE = 100_000
"""So many are drawn in half a minute."""
MAX_MISSES = 2000
"""Draws in a row without a new key after which the space counts as exhausted."""

NAMES = (
    *("Mia", "Leo", "Anna", "Ben", "Clara", "David", "Emma", "Felix"),
    *("Grace", "Henry", "Ivy", "Jack", "Kate", "Liam", "Nora", "Tom"),
)
THINGS = (
    *("apples", "pens", "books", "coins", "stickers", "cookies", "marbles", "cards"),
    *("shells", "stamps", "balls", "pencils", "buttons", "beads", "lemons", "candles"),
)
CONTAINERS = ("box", "bag", "basket", "jar", "bucket", "drawer", "crate", "tray")
PLACES = ("park", "beach", "farm", "school", "lake", "market", "station", "library")


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can happen to a number of things.

    Attributes:
        name: the kind's part of a problem's key.
        operation: on the running number and the step's own.
        holder: whose things the step counts: those of the `same` person; of a new one,
            `compared` with the one before, who keeps everything; or of the `receiver` of a
            share, after which the one before has nothing.
        story: its sentence; `{owner}` holds the result, `{other}` is the holder before them.
        tail: ends both the step's question and its line in the solution.
    """

    name: str
    operation: Literal["+", "-", "*", "/"]
    holder: Literal["same", "compared", "receiver"]
    story: str
    tail: str = " now"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree: `left` is the running number, `right` a new number or a pooled one."""

    kind: Kind
    left: Node | int
    right: Node | int

    @property
    def value(self) -> int:
        """The result, in things."""
        left, right = _value(self.left), _value(self.right)
        results = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}
        return results[self.kind.operation]

    @property
    def key(self) -> str:
        """Kinds and numbers, such as `((12 times 3) buys 5)`."""
        left, right = (n if isinstance(n, int) else n.key for n in (self.left, self.right))
        return f"({left} {self.kind.name} {right})"


POOLS = Kind("pools", "+", "same", "Then {owner} gets all the {things} that {other} has.")
KINDS = (
    Kind("buys", "+", "same", "Then {owner} buys {n} more {things}."),
    Kind("finds", "+", "same", "Then {owner} finds {n} more {things} at the {place}."),
    Kind("more", "+", "compared", "{owner} has {n} more {things} than {other} has now."),
    POOLS,
    Kind("gives", "-", "same", "Then {owner} gives away {n} {things}."),
    Kind("loses", "-", "same", "Then {owner} loses {n} {things} at the {place}."),
    Kind("fewer", "-", "compared", "{owner} has {n} fewer {things} than {other} has now."),
    Kind("times", "*", "compared", "{owner} has {n} times as many {things} as {other} has now."),
    Kind("fills", "*", "compared",
         "{owner} has {n} {boxes}. Each {box} holds as many {things} as {other} has now.",
         " in the {boxes}"),
    Kind("splits", "/", "same",
         "Then {owner} splits the {things} equally into {n} {boxes} and keeps only one {box}.",
         " in one {box}"),
    Kind("shares", "/", "receiver",
         "Then {other} shares the {things} equally among {n} friends. "
         "{owner} is one of these friends."),
)  # fmt: skip


def generate_problems(
    *,
    seed: int,
    train_size: int,
    test_size: int,
    variant: str,
    steps: tuple[int, int] = (1, 2),
    max_number: int = 20,
) -> tuple[list[Problem], list[Problem]]:
    """Return (train, test), in which no two problems share a key.

    Neither side depends on the other's size, and a smaller set begins a larger one. The
    variant changes how solutions are written and nothing else.

    Args:
        seed: any integer.
        train_size: problems to train on, 1 to 100,000.
        test_size: problems to test on, 1 to 100,000.
        variant: how the solutions are written.
        steps: fewest and most steps of a problem, within 1 to 5; each count is as likely.
        max_number: the largest number that a question states, 3 to 1000; the smallest is 2.
            Results lie between 2 (things are always plural) and max_number squared.

    Raises:
        DataError: an argument is out of range, or there are too few keys for a size.
    """
    _check(train_size, test_size, steps, max_number)
    train = _draw_side("train", train_size, seed, variant, steps, max_number)
    test = _draw_side("test", test_size, seed, variant, steps, max_number)
    return train, test


def _check(train_size: int, test_size: int, steps: tuple[int, int], max_number: int) -> None:
    low, high = steps
    for name, value, holds, limit in (
        ("train_size", train_size, 1 <= train_size <= MAX_SIZE, f"1 to {MAX_SIZE}"),
        ("test_size", test_size, 1 <= test_size <= MAX_SIZE, f"1 to {MAX_SIZE}"),
        ("steps", steps, 1 <= low <= high <= MAX_STEPS, f"(fewest, most) within 1 to {MAX_STEPS}"),
        ("max_number", max_number, 3 <= max_number <= MAX_NUMBER, f"3 to {MAX_NUMBER}"),
    ):
        if not holds:
            raise DataError(f"{name} is {value}; the limit is {limit}", f"set {name} to {limit}")


def _draw_side(
    side: str, size: int, seed: int, variant: str, steps: tuple[int, int], max_number: int
) -> list[Problem]:
    rng = random.Random(derive(seed, "wordproblems", side))
    problems: list[Problem] = []
    seen: set[str] = set()
    misses = 0
    while len(problems) < size:
        if misses == MAX_MISSES:
            raise DataError(
                f"{side}_size is {size}, but steps={steps} and max_number={max_number} gave only "
                f"{len(seen)} distinct problems before {MAX_MISSES} draws in a row found no other",
                f"lower {side}_size by {size - len(seen)}, or raise max_number or steps",
            )
        tree = _draw_tree(rng, rng.randint(*steps), max_number)
        misses += 1
        if tree.key not in seen and _side(tree.key) == side:
            misses = 0
            seen.add(tree.key)
            problems.append(_render(tree, rng, variant))
    return problems


def _side(key: str) -> str:
    return "test" if derive(0, "wordproblems", "side", key) % 4 == 0 else "train"


def _draw_tree(rng: random.Random, count: int, max_number: int) -> Node:
    tree = _draw_step(rng, rng.randint(2, max_number), max_number)
    for _ in range(count - 1):
        tree = _draw_step(rng, tree, max_number)
    return tree


def _draw_step(rng: random.Random, left: Node | int, max_number: int) -> Node:
    choices = [(kind, rights) for kind in KINDS if (rights := _rights(kind, left, max_number))]
    kind, rights = rng.choice(choices)
    return Node(kind, left, rng.choice(rights))


def _rights(kind: Kind, left: Node | int, max_number: int) -> Sequence[Node | int]:
    """Return what may stand right of `left` so that the result is a whole number in bounds."""
    value, limit = _value(left), max_number**2
    if kind is POOLS:
        # Only right after a comparison do both people still hold what the text says.
        if isinstance(left, int) or left.kind.holder != "compared":
            return []
        return [left.left] if value + _value(left.left) <= limit else []
    tops = {"+": limit - value, "-": value - 2, "*": limit // value, "/": value // 2}
    numbers = range(2, min(max_number, tops[kind.operation]) + 1)
    return [n for n in numbers if value % n == 0] if kind.operation == "/" else numbers


def _value(tree: Node | int) -> int:
    return tree if isinstance(tree, int) else tree.value


def _render(tree: Node, rng: random.Random, variant: str) -> Problem:
    chain = [tree]
    while isinstance(chain[0].left, Node):
        chain.insert(0, chain[0].left)
    # No name, container or place comes twice, so that each means one thing in the text.
    names = rng.sample(NAMES, MAX_STEPS + 1)
    containers = rng.sample(CONTAINERS, MAX_STEPS)
    places = rng.sample(PLACES, MAX_STEPS)
    things = rng.choice(THINGS)
    question = f"{names[0]} has {chain[0].left} {things}. "
    lines = []
    holder = 0
    for step, box, place in zip(chain, containers, places, strict=False):
        holder += step.kind.holder != "same"
        owner, other = names[holder], names[holder - 1]
        boxes = "boxes" if box == "box" else f"{box}s"
        words = {"things": things, "box": box, "boxes": boxes, "place": place}
        question += step.kind.story.format(owner=owner, other=other, n=step.right, **words) + " "
        tail = step.kind.tail.format(**words)
        ask = f"How many {things} does {owner} have{tail}?"
        term = f"{_value(step.left)}{step.kind.operation}{_value(step.right)}"
        line = f"{owner} has {term}=<<{term}={step.value}>>{step.value} {things}{tail}."
        lines.append(f"{ask} ** {line}" if variant == "socratic" else line)
    lines.append(f"#### {tree.value}")
    return Problem(question=question + ask, solution="\n".join(lines), answer=str(tree.value))
