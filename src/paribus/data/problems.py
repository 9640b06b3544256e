"""The problems of an experiment: one draw, the same for every arm, whatever its variant.

    pool of train problems  --order-->  shot | train | unused | validation | 4 further shots
    pool of test problems   --order-->  test | unused

The order is by a hash of (seed, question), so the draw is independent of file order and variant,
and a smaller draw is a subset of a larger one; generated problems come in such an order already.
What is held out for choosing and showing comes from the pool's end: it moves no training problem.
All five shots are held out whatever the protocol, so that all protocols train on the same set.
A task may say where its shots come from (`fewshot_split`, `fewshot_config`); these are then neither
trained nor tested on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from paribus.config.schema import DataConfig
from paribus.config.task import GENERATED, SHOT_KEYS, Task, preset
from paribus.data import wordproblems
from paribus.data.documents import problems_in
from paribus.data.gold import FIX, normalized_question, other_golds, refuse_two_golds, text_asked
from paribus.data.gsm8k import with_number
from paribus.data.sources import exists, source_of
from paribus.data.templates import render
from paribus.errors import DataError
from paribus.files import sha256_of_json
from paribus.records import Problem
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
        shots: the `FEW_SHOTS` solved examples, or fewer where the task has fewer; the first is
            the one-shot protocol's.
        test_variant: the arm's variant, or the task's first where the tests have no other.
        layout: by which rows became text; "" where the task says how.
        train_duplicates: questions that occurred again in the training pool and were left out.
        other_gold: how many of these had another gold answer.
        test_duplicates: the same in the test pool.
        overlap: test questions, or prompts, that occurred in the training pool and were left out.
        read: every problem that the files hold, drawn or not, as it was read.
    """

    train: tuple[Problem, ...]
    test: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    shots: tuple[Problem, ...]
    test_variant: str
    layout: str
    train_duplicates: int
    other_gold: int
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
    return sha256_of_json(
        [
            [p.question, p.answer, *p.answers, *([list(p.choices)] if p.choices else [])]
            for p in problems
        ]
    )


def load_problems(task: Task, data: DataConfig, seed: int, *, or_fewer: bool = False) -> ProblemSet:
    """Return the problems of `task` that `data` asks for; tests also `or_fewer`, if it has no more.

    Raises DataError if there are not enough or a file cannot be read, NotHere if the Hub and its
    local cache do not have them, ConfigError if the task has no such variant.
    """
    pools = _generated(task, data, seed) if task.generated else _read(task, data)
    distinct, distinct_tests = _distinct(pools.train), _distinct(pools.test)
    train_duplicates = len(pools.train) - len(distinct)
    test_duplicates = len(pools.test) - len(distinct_tests)
    own_shots = _own_shots(task.of(data.variant), data, seed, distinct)
    distinct, distinct_tests = _without(own_shots, distinct), _without(own_shots, distinct_tests)
    if not task.generated:
        distinct = _shuffled(distinct, derive(seed, "train"))
        distinct_tests = _shuffled(distinct_tests, derive(seed, "test"))
    if pools.held_out and data.test_size == "all":
        raise DataError(
            f"the task {task.task} has no test split, and data.test_size is 'all'",
            "set data.test_size to how many training problems are held out, or give test: FILE",
        )
    _check_golds(task, pools.read, pools.test)
    tests = _draw(distinct_tests, data.test_size, or_fewer=or_fewer)
    pool = _without_tests(distinct, tests, task)
    train, validation, shots = _divide(
        pool, data, len(distinct), own_shots, apart=task.turns == "every"
    )
    return ProblemSet(
        train=tuple(train),
        test=tuple(tests),
        validation=tuple(validation),
        shots=tuple(shots),
        test_variant=pools.written,
        layout=pools.layout,
        train_duplicates=train_duplicates,
        other_gold=other_golds(pools.train),
        test_duplicates=0 if pools.held_out else test_duplicates,
        overlap=0 if pools.held_out else len(distinct) - len(pool),
        read=tuple(pools.read),
    )


def _without_tests(
    problems: Sequence[Problem], tests: Sequence[Problem], task: Task
) -> list[Problem]:
    """Return what may be trained on: what no test asks, and no other turn of its conversation."""
    ids = {problem.id for problem in tests}
    asked = {text_asked(problem) for problem in tests}
    told = {problem.group for problem in tests if problem.group and task.turns == "every"}
    return [
        p
        for p in problems
        if p.id not in ids and text_asked(p) not in asked and p.group not in told
    ]


def _own_shots(task: Task, data: DataConfig, seed: int, train: Sequence[Problem]) -> list[Problem]:
    """Return the solved examples that the task states; none where they are drawn from `train`."""
    in_order = task.fewshot_config.get("sampler") == "first_n"
    if task.samples or task.fewshot_split not in (None, task.training_split):
        shown_by = {
            key: task.fewshot_config[key] for key in SHOT_KEYS if key in task.fewshot_config
        }
        read, _ = read_split(replace(task, **shown_by), data, "fewshot")
        distinct = _distinct(read)
    elif in_order:
        distinct = list(train)
    else:
        return []
    return (distinct if in_order else _shuffled(distinct, derive(seed, "shots")))[:FEW_SHOTS]


def load_tests(task: Task, data: DataConfig, seed: int, *, or_fewer: bool) -> ProblemSet:
    """Return the problems of a task that nothing is trained on: its tests, and its shots.

    Without training problems there are only the shots that the task states itself. Raises as
    `load_problems`.
    """
    base = task.base
    sources = {split: source_of(base, data, split) for split in ("train", "test")}
    if task.generated or sources["train"] or not sources["test"]:
        return replace(load_problems(task, data, seed, or_fewer=or_fewer), train=(), validation=())
    tests, layout = read_split(base, data, "test", data.group_by)
    if base.id is not None:
        _check_ids(tests)
    _check_golds(task, tests, tests)
    distinct = _distinct(tests)
    shots = _own_shots(base, data, seed, ())
    asked = _shuffled(_without(shots, distinct), derive(seed, "test"))
    drawn = _draw(asked, data.test_size, or_fewer=or_fewer)
    return replace(
        tests_alone(drawn),
        shots=tuple(shots),
        test_variant=data.variant,
        layout=layout,
        test_duplicates=len(tests) - len(distinct),
        read=tuple(tests),
    )


def tests_alone(tests: Sequence[Problem]) -> ProblemSet:
    """Return the set of an arm that is asked `tests` and knows nothing else."""
    return ProblemSet(
        train=(),
        test=tuple(tests),
        validation=(),
        shots=(),
        test_variant="main",
        layout="",
        train_duplicates=0,
        other_gold=0,
        test_duplicates=0,
        overlap=0,
        read=tuple(tests),
    )


def _check_golds(task: Task, read: Sequence[Problem], tests: Sequence[Problem]) -> None:
    """Raise DataError if what is asked has two gold answers: nobody knows what is right."""
    if task.scores_numbers:
        refuse_two_golds(read, normalized_question)
    elif not task.measures_loss:
        which = f"{FIX}; where both are right, list them in doc_to_target"
        refuse_two_golds(tests, text_asked, which)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pools:
    """What there is to draw from.

    Attributes:
        read: all problems that were read; written: the variant of the tests' solutions.
        layout: of the rows, "" where the task says itself how they become text.
        held_out: whether tests come from the training problems, as there is no other split.
    """

    train: list[Problem]
    test: list[Problem]
    read: list[Problem]
    written: str
    layout: str = ""
    held_out: bool = False


def _read(task: Task, data: DataConfig) -> _Pools:
    variant, base = task.of(data.variant), task.base
    train, layout = read_split(variant, data, "train")
    held_out = source_of(base, data, "test") is None
    if held_out:
        base_train, _ = read_split(base, data, "train")
        tests, read = base_train, [*train, *base_train]
    else:
        # Tests are drawn from the first variant in every arm, so that no file can change the draw.
        tests, _ = read_split(base, data, "test", data.group_by)
        read = [*train, *tests]
    if base.id is not None:
        for ids in ([*train, *tests],) if variant == base else (train, tests):
            _check_ids(ids)
    written = data.variant if exists(variant, data) or held_out else next(iter(task.variants))
    if written != next(iter(task.variants), "main"):
        own = replace(variant, where=base.where)
        other, _ = read_split(own, data, "train" if held_out else "test")
        read += other
        tests = _with_solutions(tests, {problem.id: problem for problem in other}, written)
    return _Pools(
        train=train,
        test=tests,
        read=read,
        written=written,
        layout=layout,
        held_out=held_out,
    )


def _check_ids(problems: Iterable[Problem]) -> None:
    """Raise DataError if one id stands for two questions: the second would be left out."""
    first: dict[str, Problem] = {}
    for problem in problems:
        other = first.setdefault(problem.id, problem)
        if text_asked(other) != text_asked(problem):
            raise DataError(
                f"{problem.where}: its id {problem.key[:60]!r} is that of {other.where}, which "
                "asks something else",
                "let `id` in the task file tell all rows of train and test apart, or leave it out: "
                "a problem is then identified by its question",
            )


def read_split(
    task: Task, data: DataConfig, split: str, group_by: str | None = None
) -> tuple[list[Problem], str]:
    """Return the problems of a split, in its order, and their rows' layout.

    A split is "train", "test" or "fewshot".

    `task` has the values of a variant (`Task.of`). Raises DataError, or NotHere where the Hub does
    not give them.
    """
    source = source_of(task, data, split)
    if source is None:
        raise DataError(
            f"the task {task.task} does not say where its {split} problems are",
            f"state {split}: FILE, dataset_path, or dataset_kwargs.data_files in the task file",
        )
    problems, layout = problems_in(source, task, group_by)
    if task.scores_numbers:
        problems = [with_number(problem, strict=task.preset) for problem in problems]
    return problems, layout.name if layout else ""


def _generated(task: Task, data: DataConfig, seed: int) -> _Pools:
    task.of(data.variant)
    if data.train_size == "all" or data.test_size == "all":
        raise DataError(
            "generated problems have no end: data.train_size and data.test_size are 'all'",
            "give numbers, for example data.train_size=128 data.test_size=100",
        )
    train, test = wordproblems.generate_problems(
        seed=derive(seed, "wordproblems"),
        train_size=data.train_size + FEW_SHOTS + data.validation_size,
        test_size=data.test_size,
        variant=data.variant,
        steps=(data.min_steps, data.max_steps),
        max_number=data.max_number,
    )
    if task.doc_to_text != preset(GENERATED).doc_to_text:
        train, test = _framed(train, task), _framed(test, task)
    # What lies behind the training problems is turned round, so that the shots, at the very end,
    # are the same for every number of validation problems.
    behind = data.train_size + 1
    pool = [*train[:behind], *reversed(train[behind:])]
    return _Pools(train=pool, test=test, read=[*pool, *test], written=data.variant)


def _framed(problems: Sequence[Problem], task: Task) -> list[Problem]:
    """Return generated problems in the frame of a prompt that the experiment states."""
    return [
        replace(p, prompt=render(task.doc_to_text or "", {"question": p.question}, task.task))
        for p in problems
    ]


def _with_solutions(
    problems: Sequence[Problem], other: dict[str, Problem], variant: str
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
    pool: list[Problem], data: DataConfig, read: int, own_shots: list[Problem], *, apart: bool
) -> tuple[list[Problem], list[Problem], list[Problem]]:
    """Return train, validation and shots. Raises DataError if the pool, of all `read`, is small.

    With `apart` no conversation that a validation problem is of is trained on.
    """
    size = 1 if data.train_size == "all" else data.train_size
    reserved = 0 if own_shots else FEW_SHOTS
    shots, rest = own_shots, pool
    if not own_shots:
        shots, rest = [*pool[:1], *reversed(pool[1:][1 - FEW_SHOTS :])], pool[1 : 1 - FEW_SHOTS]
    end = max(0, len(rest) - data.validation_size)
    told = {p.group for p in rest[end:] if p.group and apart}
    train = [problem for problem in rest[:end] if problem.group not in told]
    there = len(pool) - (end - len(train))
    needed = size + reserved + data.validation_size
    if needed > there:
        tests = f": {read - len(pool)} of {read} are test problems" if len(pool) < read else ""
        turns = f"; {len(pool) - there} are turns of validation conversations" if told else ""
        raise DataError(
            f"data.train_size: {needed} distinct problems are needed ({size} to train on, "
            f"{reserved} as solved examples, {data.validation_size} for data.validation_size) "
            f"and {there} are there{tests}{turns}",
            "lower data.train_size or data.validation_size, or give more training problems",
        )
    return train if data.train_size == "all" else train[:size], rest[end:], shots


def _distinct(problems: Iterable[Problem]) -> list[Problem]:
    return list({problem.id: problem for problem in reversed(list(problems))}.values())[::-1]


def _without(shown: Sequence[Problem], problems: Sequence[Problem]) -> list[Problem]:
    ids = {problem.id for problem in shown}
    return [problem for problem in problems if problem.id not in ids]


def _shuffled(problems: list[Problem], seed: int) -> list[Problem]:
    return sorted(problems, key=lambda problem: derive(seed, problem.id))


def _draw(pool: list[Problem], size: int | str, *, or_fewer: bool) -> list[Problem]:
    if isinstance(size, int) and size > len(pool) and not or_fewer:
        raise DataError(
            f"data.test_size: {size} distinct problems are needed and {len(pool)} are there",
            "lower data.test_size, or say 'all'",
        )
    return pool if isinstance(size, str) else pool[:size]
