"""Gold files, and which problems a file of generations answers, lacks or repeats.

    gold = read_gold(Path("data/test.jsonl"), group_by=None)
    gold.find(sample)           # the Problem, or None if the file does not have it
    str(LeftOut(...))           # "a: 10 problems, 2 missing, 0 unknown, 2 repeated"

A gold file holds JSON lines `{"question": ..., "answer": "... #### 7"}` as GSM8K does; `answer` may
be the number alone, with `solution` beside it. A problem is identified by its question. Where a
sample has an id alone, that is the gold row's `id`; if gold has no ids, the row's place in the
file, from 0; or the problem's id in paribus, 16 hex digits.
"""

import gc
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from paribus import numerals
from paribus.analysis.elsewhere.samples import Sample, label_of, read_objects, text_of
from paribus.analysis.tables import Run
from paribus.data import gsm8k
from paribus.data.alike import about_alike
from paribus.data.gold import FIX
from paribus.data.rows import Row
from paribus.errors import DataError
from paribus.evaluation.final import holds_prompt
from paribus.evaluation.scoring import check_gold
from paribus.records import Problem, problem_id


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What one file holds and lacks.

    Attributes:
        name: of its arm.
        seed: of its run.
        problems: distinct problems that it answers, unknown ones not counted.
        missing: problems of the gold file, or without one of any other file, that it lacks.
        unknown: problems that it answers and that are not in the gold file.
        repeated: lines that say again what another line says.
    """

    name: str
    seed: int
    problems: int
    missing: int
    unknown: int
    repeated: int

    @property
    def faulty(self) -> bool:
        """Whether the file holds anything but each problem once."""
        return bool(self.missing or self.unknown or self.repeated)

    def __str__(self) -> str:
        seed = f" seed {self.seed}" if self.seed else ""
        return (
            f"{self.name}{seed}: {self.problems} problems, {self.missing} missing, "
            f"{self.unknown} unknown, {self.repeated} repeated"
        )


def check_shared(left_out: Sequence[LeftOut], shared: Sequence[str], *, common: bool) -> None:
    """Raise DataError if no problem is shared, or not all are and `common` is not given."""
    different = any(file.missing or file.unknown for file in left_out)
    listed = "; ".join(map(str, left_out))
    if not shared:
        raise DataError(
            f"the files share no problem that has a gold answer: {listed}",
            "give files that answer the same problems, and as --gold the file that was asked, word "
            "for word",
        )
    if different and not common:
        raise DataError(
            f"the files answer different problems: {listed}",
            f"give --common to use the {len(shared)} problems that all of them answer",
        )


def notes_of(
    left_out: Sequence[LeftOut], shared: int, *, settings: bool, texts: bool = True
) -> list[str]:
    """Say what is left out, how many problems are `shared`, and whether settings are known.

    `texts`: whether these are scored, not values that the files state.
    """
    notes = []
    if any(file.faulty for file in left_out):
        listed = "; ".join(str(file) for file in left_out if file.faulty)
        notes.append(f"Only problems that every file answers are used: {shared}. {listed}.")
    if not settings:
        unknown = (
            "How these texts were made is not known here: another prompt, decoding or token limit "
            "is part of every difference."
        )
        cut = "A text that a limit cut counts as no answer unless its file says that it was cut."
        own = "The values are those that the files state: no text was scored here."
        notes.append(f"{unknown} {cut if texts else own}")
    return notes


def notes_with_prompts(runs: Sequence[Run]) -> list[str]:
    """Return a note for each run most of whose texts hold the prompt they answer."""
    notes = []
    for run in runs:
        held = sum(
            holds_prompt(generation.text, generation.question) for generation in run.generations
        )
        if 2 * held > len(run.generations):
            notes.append(
                f"{run.arm}: {held} of {len(run.generations)} texts hold the question they answer; "
                "the canonical scorer reads what is behind it, strict and flexible read all."
            )
    return notes


WHICH = "give the gold file that has it: --gold FILE, or fix the rows"
"""What to do where rows have two golds for one question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """The problems of a gold file.

    Attributes:
        path: the file.
        problems: problem id -> problem, in the file's order; equal questions are one problem.
        stated: the problem of each line.
        ids: what a sample may call a problem -> its problem id.
        rows: lines in the file, if they have no ids and their places are the ids; else 0.
    """

    path: Path
    problems: dict[str, Problem]
    stated: list[Problem]
    ids: dict[str, str]
    rows: int

    def find(self, sample: Sample) -> Problem | None:
        """Return the problem that `sample` answers, None if it is not in the file."""
        if sample.problem is not None and sample.problem.id in self.problems:
            return self.problems[sample.problem.id]
        if sample.question is not None:
            asked = problem_id(sample.question)
            return self.problems.get(asked) or self.problems.get(self.ids.get(asked, ""))
        return self.problems.get(self.ids.get(sample.id or "", ""))

    def check_ids(self, samples: list[Sample], path: Path) -> None:
        """Raise DataError if ids that should be places count from 1, which would shift them all."""
        ids = {sample.id for sample in samples}
        if self.rows and str(self.rows) in ids and "0" not in ids:
            raise DataError(
                f"{path}: ids go up to {self.rows} and there is no 0, but the {self.rows} lines "
                f"of {self.path} count from 0",
                "count from 0, or give each line of the gold file its 'id'",
            )


def read_gold(path: Path, group_by: str | None) -> Gold:
    """Return the problems in `path`; `group_by` is the key that says which belong together.

    What the problems say together is left to `Study`. Raises DataError naming the line: no
    question, no gold number, or an id used twice.
    """
    rows = list(read_objects(path))
    return gold_of(path, rows, [stated_problem(row, where, group_by) for where, row in rows])


def gold_of(path: Path, rows: Sequence[Row], stated: list[Problem]) -> Gold:
    """Return the `stated` problems of these rows, one each. Raises DataError on faulty ids."""
    problems: dict[str, Problem] = {}
    named: dict[str, str] = {}
    own_ids = 0
    for place, ((where, row), problem) in enumerate(zip(rows, stated, strict=True)):
        problems.setdefault(problem.id, problem)
        name = label_of(row, "id", where) if "id" in row else str(place)
        if named.setdefault(name, problem.id) != problem.id:
            raise DataError(f"{where}: id {name!a} is also another problem's", "make ids unique")
        own_ids += "id" in row
    if not rows:
        raise DataError(f"{path} holds no problem", "give a gold file with at least one problem")
    if own_ids not in (0, len(rows)):
        raise DataError(
            f"{path}: {own_ids} of {len(rows)} lines have an 'id'",
            "give every line an 'id', or none",
        )
    ids = {problem: problem for problem in problems} | _by_question(problems.values()) | named
    return Gold(
        path=path, problems=problems, stated=stated, ids=ids, rows=0 if own_ids else len(rows)
    )


def _by_question(problems: Iterable[Problem]) -> dict[str, str]:
    """Return the hash of a question or a prompt -> the id of the one problem that asks it."""
    named: dict[str, set[str]] = {}
    for problem in problems:
        if problem.key or problem.prompt:
            for asked in filter(None, (problem.question, problem.prompt)):
                named.setdefault(problem_id(asked), set()).add(problem.id)
    return {asked: ids.pop() for asked, ids in named.items() if len(ids) == 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Whether gold scores correct, and which problems read alike: found while answers are scored.

    On Linux a forked process does it, which saves a large comparison a quarter of its time.

    Attributes:
        stated: every problem as its row states it; which: what to do about two golds for one.
        asked: the problems that every file answers.
    """

    stated: Sequence[Problem]
    asked: Sequence[Problem]
    which: str = FIX

    def start(self) -> Callable[[], str]:
        """Begin, and return what waits for the result: `about_alike`. It raises DataError."""
        if sys.platform != "linux":  # elsewhere a fork beside threads is not safe
            return self._result
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        context.Process(target=self._send, args=(sender,), daemon=True).start()
        sender.close()

        def wait() -> str:
            try:
                result = receiver.recv()
            except EOFError:  # killed, as where memory is short
                return self._result()
            if isinstance(result, DataError):
                raise result
            return str(result)

        return wait

    def _send(self, sender: Connection) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C, and ends this one
        gc.disable()  # a collection would copy what both share
        with suppress(OSError):  # the parent failed meanwhile, and reads nothing any more
            try:
                sender.send(self._result())
            except DataError as error:
                sender.send(error)

    def _result(self) -> str:
        check_gold(self.stated, self.which)
        return about_alike(
            tuple(problem.question for problem in self.asked),
            tuple(problem.group for problem in self.asked),
        )


def stated_problem(row: dict[str, Any], where: str, group_by: str | None) -> Problem:
    """Return the problem in `row`: `question`, and `answer` as `... #### N` or as a number.

    Raises DataError naming `where` if there is no question, no gold number or no group.
    """
    question, answer = text_of(row, "question", where), row.get("answer")
    if "answer" not in row:
        raise DataError(f"{where}: no gold 'answer'", "give the gold file: --gold FILE")
    if isinstance(answer, str) and "####" in answer:
        problem, group = gsm8k.problem(question, answer, where), _group(row, where, group_by)
        return replace(problem, group=group) if group else problem
    number = numerals.canonical(str(answer))
    if number is None:
        raise DataError(
            f"{where}: 'answer' is {str(answer)[:60]!a}, neither '... #### N' nor a number",
            "give the gold file: --gold FILE, or fix the line; if answers are no numbers, say what "
            "they are compared by: --metric exact_match, or --task FILE",
        )
    return Problem(
        question=question,
        solution=_solution(row, number, where),
        answer=number,
        group=_group(row, where, group_by),
        where=where,
    )


def _solution(row: dict[str, Any], number: str, where: str) -> str:
    """Return the solution in `row`; without one the answer's spelling, if it is not `number`.

    The harness's scorers compare spellings: to them `2.50` is not `2.5`.
    """
    if row.get("solution") is not None:
        return text_of(row, "solution", where)
    written = str(row["answer"]).strip()
    return "" if written == number else f"#### {written}"


def _group(row: dict[str, Any], where: str, group_by: str | None) -> str:
    if group_by is not None:
        if group_by not in row:
            keys = ", ".join(map(str, row))
            raise DataError(
                f"{where}: there is no {group_by!r} to group by", f"name one of its keys: {keys}"
            )
        return label_of(row, group_by, where)
    return "" if row.get("group") is None else label_of(row, "group", where)
