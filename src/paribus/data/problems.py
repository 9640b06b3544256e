"""The problems of an experiment: one draw, the same for every arm, whatever its variant.

    pool of train problems   --order by hash of (seed, question)-->   shot | train | unused
    pool of test problems    --order by hash of (seed, question)-->   test | unused

Ordering by a hash of the question makes the draw independent of file order and variant, and
a smaller draw a subset of a larger one; generated problems come in such an order already. The
one-shot example comes first and is never trained on.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from paribus.config.schema import DataConfig
from paribus.data import gsm8k, wordproblems
from paribus.errors import DataError
from paribus.files import sha256_of_json
from paribus.records import Problem, Variant
from paribus.seeds import derive


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSet:
    """What one arm learns from and is tested on.

    Attributes:
        train: training problems, solutions in the arm's variant.
        test: test problems.
        shot: the solved example of the one-shot protocol.
        train_duplicates: questions that occurred again in the training pool and were left out.
        overlap: test questions that occurred in the training pool and were left out of it.
    """

    train: tuple[Problem, ...]
    test: tuple[Problem, ...]
    shot: Problem
    train_duplicates: int
    overlap: int

    def hashes(self) -> dict[str, str]:
        """Return the content hashes that identify what was trained and tested on."""
        return {
            "train_sha256": sha256_of_json([[p.question, p.solution] for p in self.train]),
            "test_sha256": sha256_of_json([[p.question, p.answer] for p in self.test]),
            "shot_sha256": sha256_of_json([self.shot.question, self.shot.solution]),
        }


def load(data: DataConfig, seed: int) -> ProblemSet:
    """Return the problems `data` asks for. Raises DataError if there are not enough."""
    train_pool, test_pool = _pools(data, seed)
    distinct = _distinct(train_pool)
    distinct_tests = _distinct(test_pool)
    if data.source != "wordproblems":
        distinct = _shuffled(distinct, derive(seed, "train"))
        distinct_tests = _shuffled(distinct_tests, derive(seed, "test"))
    tests = _draw(distinct_tests, data.test_size, "data.test_size")
    test_ids = {problem.id for problem in tests}
    pool = [problem for problem in distinct if problem.id not in test_ids]
    size = data.train_size if data.train_size == "all" else data.train_size + 1
    drawn = _draw(pool, size, "data.train_size")
    if len(drawn) < 2:
        raise DataError(
            "the training pool holds fewer than 2 problems: one is the one-shot example",
            "give at least 2 training problems that are not in the test set",
        )
    return ProblemSet(
        train=tuple(drawn[1:]),
        test=tuple(tests),
        shot=drawn[0],
        train_duplicates=len(train_pool) - len(distinct),
        overlap=len(distinct) - len(pool),
    )


def _pools(data: DataConfig, seed: int) -> tuple[list[Problem], list[Problem]]:
    variant = Variant(data.variant)
    if data.source == "wordproblems":
        if data.train_size == "all" or data.test_size == "all":
            raise DataError(
                "generated problems have no end: data.train_size and data.test_size are 'all'",
                "give numbers, for example data.train_size=128 data.test_size=100",
            )
        return wordproblems.generate(
            seed=derive(seed, "wordproblems"),
            train_size=data.train_size + 1,
            test_size=data.test_size,
            variant=variant,
            steps=(data.min_steps, data.max_steps),
            max_number=data.max_number,
        )
    train, test = ("test", "train") if data.source == "gsm8k_swapped" else ("train", "test")
    return (
        gsm8k.read(data.path, data.revision, variant, train),
        gsm8k.read(data.path, data.revision, Variant.MAIN, test),
    )


def _distinct(problems: Iterable[Problem]) -> list[Problem]:
    return list({problem.id: problem for problem in reversed(list(problems))}.values())[::-1]


def _shuffled(problems: list[Problem], seed: int) -> list[Problem]:
    return sorted(problems, key=lambda problem: derive(seed, problem.id))


def _draw(pool: list[Problem], size: int | str, key: str) -> list[Problem]:
    if isinstance(size, int) and size > len(pool):
        raise DataError(
            f"{key}: {size} distinct problems are needed (training counts the one-shot example) "
            f"and {len(pool)} are there",
            f"lower {key}, or say 'all'",
        )
    return pool if isinstance(size, str) else pool[:size]
