"""The problems of an experiment: one draw, the same for every arm, whatever its variant.

    pool of train problems  --order-->  shot | train | unused | validation | 4 further shots
    pool of test problems   --order-->  test | unused

The order is by a hash of (seed, question), so the draw is independent of file order and variant,
and a smaller draw is a subset of a larger one; generated problems come in such an order already.
What is held out for choosing and showing comes from the pool's end: it moves no training problem.
All five shots are held out whatever the protocol, so that all protocols train on the same set.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from paribus.config.schema import DataConfig
from paribus.data import gsm8k, wordproblems
from paribus.errors import DataError
from paribus.files import sha256_of_json
from paribus.records import Problem, Variant
from paribus.seeds import derive

FEW_SHOTS = 5
"""Solved examples of the few-shot protocol, as in lm-evaluation-harness's GSM8K task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSet:
    """What one arm learns from and is tested on.

    Attributes:
        train: training problems, solutions in the arm's variant.
        test: test problems, solutions in `test_variant`.
        validation: problems that learning rates are chosen by, solutions in the arm's variant.
        shots: the `FEW_SHOTS` solved examples; the first is the one-shot protocol's.
        test_variant: the arm's variant, or main where the test file has no other.
        train_duplicates: questions that occurred again in the training pool and were left out.
        test_duplicates: the same in the test pool.
        overlap: test questions that occurred in the training pool and were left out of it.
        read: every problem that the files hold, drawn or not, as it was read.
    """

    train: tuple[Problem, ...]
    test: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    shots: tuple[Problem, ...]
    test_variant: Variant
    train_duplicates: int
    test_duplicates: int
    overlap: int
    read: tuple[Problem, ...] = field(default=(), compare=False, repr=False)

    @property
    def shot(self) -> Problem:
        """The solved example of the one-shot protocol."""
        return self.shots[0]

    def hashes(self, *, validation: bool = False) -> dict[str, str]:
        """Return the content hashes that identify what was trained and tested on.

        With `validation`, those of a trial: tested on the validation problems.
        """
        tested = self.validation if validation else self.test
        return {
            "train_sha256": sha256_of_json([[p.question, p.solution] for p in self.train]),
            "validation_sha256" if validation else "test_sha256": hash_of_tests(tested),
            "shots_sha256": sha256_of_json([[p.question, p.solution] for p in self.shots]),
        }


def hash_of_tests(problems: Sequence[Problem]) -> str:
    """Return the hash of what is asked and expected: the same in every variant."""
    return sha256_of_json([[p.question, p.answer] for p in problems])


def load_problems(data: DataConfig, seed: int) -> ProblemSet:
    """Return the problems `data` asks for. Raises DataError if there are not enough."""
    train_pool, test_pool, read, test_variant = _pools(data, seed)
    distinct = _distinct(train_pool)
    distinct_tests = _distinct(test_pool)
    if data.source != "wordproblems":
        distinct = _shuffled(distinct, derive(seed, "train"))
        distinct_tests = _shuffled(distinct_tests, derive(seed, "test"))
    tests = _draw(distinct_tests, data.test_size)
    test_ids = {problem.id for problem in tests}
    pool = [problem for problem in distinct if problem.id not in test_ids]
    train, validation, shots = _divide(pool, data)
    return ProblemSet(
        train=tuple(train),
        test=tuple(tests),
        validation=tuple(validation),
        shots=tuple(shots),
        test_variant=test_variant,
        train_duplicates=len(train_pool) - len(distinct),
        test_duplicates=len(test_pool) - len(distinct_tests),
        overlap=len(distinct) - len(pool),
        read=tuple(read),
    )


def _pools(
    data: DataConfig, seed: int
) -> tuple[list[Problem], list[Problem], list[Problem], Variant]:
    """Return train pool, test pool, all that was read, and the variant of the tests' solutions."""
    variant = Variant(data.variant)
    if data.source == "wordproblems":
        train_pool, tests = _generated(data, seed, variant)
        return train_pool, tests, [*train_pool, *tests], variant
    train, test = ("test", "train") if data.source == "gsm8k_swapped" else ("train", "test")
    train_pool = gsm8k.read(data.path, data.revision, variant, train)
    # Tests are drawn from the main file in every arm, so that no file can change the draw.
    tests = gsm8k.read(data.path, data.revision, Variant.MAIN, test, data.group_by)
    written = variant if gsm8k.has(data.path, variant, test) else Variant.MAIN
    read = [*train_pool, *tests]
    if written is not Variant.MAIN:
        other = gsm8k.read(data.path, data.revision, written, test)
        read += other
        tests = _with_solutions(tests, {problem.id: problem for problem in other}, written)
    return train_pool, tests, read, written


def _generated(
    data: DataConfig, seed: int, variant: Variant
) -> tuple[list[Problem], list[Problem]]:
    if data.train_size == "all" or data.test_size == "all":
        raise DataError(
            "generated problems have no end: data.train_size and data.test_size are 'all'",
            "give numbers, for example data.train_size=128 data.test_size=100",
        )
    train, test = wordproblems.generate_problems(
        seed=derive(seed, "wordproblems"),
        train_size=data.train_size + FEW_SHOTS + data.validation_size,
        test_size=data.test_size,
        variant=variant,
        steps=(data.min_steps, data.max_steps),
        max_number=data.max_number,
    )
    # What lies behind the training problems is turned round, so that the shots, at the very end,
    # are the same for every number of validation problems.
    behind = data.train_size + 1
    return [*train[:behind], *reversed(train[behind:])], test


def _with_solutions(
    problems: Sequence[Problem], other: dict[str, Problem], variant: Variant
) -> list[Problem]:
    missing = [problem.question for problem in problems if problem.id not in other]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(problems)} test questions have no {variant} solution, "
            f"the first: {missing[0][:60]!r}",
            "give both test files the same questions, or remove the one that lacks them",
        )
    return [replace(p, solution=other[p.id].solution) for p in problems]


def _divide(
    pool: list[Problem], data: DataConfig
) -> tuple[list[Problem], list[Problem], list[Problem]]:
    """Return train, validation and shots. Raises DataError if the pool is too small."""
    size = 1 if data.train_size == "all" else data.train_size
    needed = size + FEW_SHOTS + data.validation_size
    if needed > len(pool):
        raise DataError(
            f"data.train_size: {needed} distinct problems are needed ({size} to train on, "
            f"{FEW_SHOTS} as solved examples, {data.validation_size} for data.validation_size) "
            f"and {len(pool)} are there",
            "lower data.train_size or data.validation_size, or give more training problems",
        )
    first_shot, rest, further = pool[0], pool[1 : 1 - FEW_SHOTS], pool[1 - FEW_SHOTS :]
    end = len(rest) - data.validation_size
    train = rest[: end if data.train_size == "all" else size]
    return train, rest[end:], [first_shot, *reversed(further)]


def _distinct(problems: Iterable[Problem]) -> list[Problem]:
    return list({problem.id: problem for problem in reversed(list(problems))}.values())[::-1]


def _shuffled(problems: list[Problem], seed: int) -> list[Problem]:
    return sorted(problems, key=lambda problem: derive(seed, problem.id))


def _draw(pool: list[Problem], size: int | str) -> list[Problem]:
    if isinstance(size, int) and size > len(pool):
        raise DataError(
            f"data.test_size: {size} distinct problems are needed and {len(pool)} are there",
            "lower data.test_size, or say 'all'",
        )
    return pool if isinstance(size, str) else pool[:size]
