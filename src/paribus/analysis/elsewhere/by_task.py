"""Texts of other programs, scored as a task says.

    way = by_task(read_task("intent.yaml"), main="choice", style="auto", group_by=None)
    way = by_metric("f1", style="auto", group_by=None)          # no task: a metric by its name

A row states its problem where it has the columns that the task's templates name, or where it is
lm-eval's, in its `doc`. Every other row names it by `id` or `question`, and its gold is in the gold
file, or in the task's test rows. Without a task the question is `question`, and gold `answer`, or
what lm-eval calls `target`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paribus.analysis.elsewhere.gold import Gold, gold_of
from paribus.analysis.elsewhere.samples import (
    Sample,
    asked_in,
    document_of,
    generation_of,
    is_of_harness,
    is_of_paribus,
    label_of,
    own_samples,
    read_first,
    stop_of,
    text_of,
    written_in,
)
from paribus.analysis.elsewhere.ways import Way
from paribus.analysis.tables import Run
from paribus.config.schema import DataConfig
from paribus.config.task import Task
from paribus.data.documents import problems_of
from paribus.data.gold import refuse_two_golds, text_asked
from paribus.data.gsm8k import with_number
from paribus.data.rows import MEND, Row
from paribus.data.sources import Files, source_of
from paribus.data.templates import holds
from paribus.errors import DataError, UserError
from paribus.evaluation.scorers import Scorers, check_scored, scorers_of
from paribus.evaluation.scoring import check_gold
from paribus.records import AnswerStyle, Generation, Likelihood, Problem, Stop, problem_id

_WRITTEN = ("completion",)
"""Keys of a row that hold what the model wrote, never gold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTask(Way):
    """Texts that are scored as `task` says.

    Attributes:
        scored_by: the task's scorers.
        bare: whether there is no task but a metric alone.
    """

    task: Task
    scored_by: Scorers
    bare: bool = False

    def options(self) -> dict[str, Any]:  # noqa: D102
        task = {} if self.bare else {"task": self.task.source or self.task.task}
        return task | {"metric": self.scored_by.main}

    @property
    def values(self) -> bool:  # noqa: D102
        return self.scored_by.loss

    @property
    def of_runs(self) -> Scorers:  # noqa: D102
        return self.scored_by

    def read(self, path: Path) -> list[Sample]:  # noqa: D102
        if self.scored_by.loss:
            raise DataError(
                f"{path}: the task {self.task.task} measures losses: no text is scored",
                "give runs of paribus, or files with a loss of each problem: --loss KEY",
            )
        rows, first = read_first(path)
        where, _ = rows[0]
        if is_of_paribus(first):
            return self._own([generation_of(row, where) for where, row in rows], str(path))
        if is_of_harness(first):
            return [self._harness(row, where) for where, row in rows]
        text_of(first, "completion", where)
        refused = self._refusal(first, where)
        return [self._plain(row, where, refused) for where, row in rows]

    def of_run(self, run: Run, where: str) -> list[Sample]:  # noqa: D102
        if self.scored_by.loss:
            return [_loss(row, where) for row in run.heldout]
        return self._own(run.generations, where)

    def gold(self, path: Path | None, samples: Sequence[Sample]) -> Gold | None:  # noqa: D102
        if path is not None:
            return self._gold(path, Files(named=str(path), paths=(path,)).rows())
        lacking = next((sample for sample in samples if sample.problem is None), None)
        if lacking is None or self.bare:
            return None
        base = self.task.base
        source = None
        if not base.generated:
            source = source_of(base, DataConfig(), "test") or source_of(base, DataConfig(), "train")
        if source is None:
            raise DataError(
                f"{lacking.where}: does not state its gold answer, and the task {self.task.task} "
                "names no rows",
                "give the gold file: --gold FILE",
            )
        return self._gold(Path(source.named), source.rows())

    def scorers(self, samples: Sequence[Sample]) -> Scorers:  # noqa: D102
        return self.scored_by

    def check(self, stated: Sequence[Problem], asked: Sequence[Problem]) -> None:  # noqa: D102
        if self.scored_by.loss:
            return
        if self.scored_by.numbers:
            check_gold(stated)
            return
        refuse_two_golds(stated, text_asked)
        written = [problem for problem in asked if problem.solution]
        if written and self.task.output_type == "generate_until":
            check_scored(self.scored_by, written)

    def _gold(self, path: Path, rows: Sequence[Row]) -> Gold:
        condition = self.task.where
        if condition is not None:
            rows = [(where, row) for where, row in rows if holds(condition, row, where)]
        problems = self._problems(rows) if rows else []
        if len(problems) != len(rows):
            raise DataError(
                f"{path}: {len(rows)} rows hold {len(problems)} problems",
                "give files of a task that asks one thing a row",
            )
        return gold_of(path, rows, problems)

    def _problems(self, rows: Sequence[Row]) -> list[Problem]:
        task = self.task
        if self.bare and isinstance(rows[0][1].get("choices"), list):
            task = replace(task, doc_to_choice="choices")
        problems, _ = problems_of(rows, task, self.group_by)
        if self.scored_by.numbers:
            return [with_number(problem, strict=False) for problem in problems]
        return problems

    def _problem(self, row: Mapping[str, Any], where: str) -> Problem:
        """Return the problem that a row states. Raises DataError."""
        given = {key: value for key, value in row.items() if key not in _WRITTEN}
        problems = self._problems([(where, given)])
        if len(problems) != 1:
            raise DataError(f"{where}: states {len(problems)} problems; the limit is 1", MEND)
        return problems[0]

    def _refusal(self, row: Mapping[str, Any], where: str) -> UserError | None:
        """Return why a row does not state its problem and gold; None if it does."""
        try:
            self._problem(row, where)
        except UserError as error:
            return error
        return None

    def _plain(self, row: dict[str, Any], where: str, refused: UserError | None) -> Sample:
        if refused is not None and not {"id", "question"} & row.keys():
            raise DataError(
                f"{where}: has neither 'id' nor 'question', and no problem of the task can be made "
                f"of it: {refused.message.removeprefix(f'{where}: ')}",
                "give the line the id or the question of its problem, or the task's columns",
            )
        asked = "question" in row
        return Sample(
            where=where,
            id=label_of(row, "id", where) if "id" in row and not asked else None,
            question=text_of(row, "question", where) if asked else None,
            text=text_of(row, "completion", where),
            stop=stop_of(row),
            stated=row,
            problem=None if refused is not None else self._problem(row, where),
        )

    def _harness(self, row: dict[str, Any], where: str) -> Sample:
        doc = document_of(row, where)
        if self.bare:
            gold = {"answer": row["target"]} if "target" in row else {}
            doc = {**doc, "question": asked_in(row), **gold}
        problem = self._problem(doc, where)
        text, nlls = written_in(row, problem.choices, where)
        return Sample(
            where=where,
            id=None,
            question=problem.question,
            text=text,
            stop=stop_of(row),
            prompt_sha256=str(row.get("prompt_hash") or ""),
            filter=str(row.get("filter", "")),
            choice_nlls=nlls,
            stated=doc,
            problem=problem,
        )

    def _own(self, generations: Sequence[Generation], where: str) -> list[Sample]:
        return [
            replace(
                sample,
                choice_nlls=generation.choice_nlls,
                stated={},
                problem=_asked(generation),
            )
            for sample, generation in zip(own_samples(generations, where), generations, strict=True)
        ]


def _loss(row: Likelihood, where: str) -> Sample:
    """Return the loss per token of a gold solution, which is known for every problem."""
    return Sample(
        where=where,
        id=None,
        question=None,
        text="",
        stop=Stop.STOP_TOKEN,
        value=(row.nll or 0.0) / row.tokens,
        stated={},
        problem=Problem(question=row.problem_id, solution="", answer="", group=row.group),
    )


def _asked(generation: Generation) -> Problem:
    """Return the problem that a text of paribus was written for."""
    by_question = problem_id(generation.question) == generation.problem_id
    return Problem(
        question=generation.question,
        solution=generation.solution,
        answer=generation.answer,
        group=generation.group,
        key="" if by_question else generation.problem_id,
        answers=generation.answers,
        choices=generation.choices,
        document=generation.document,
    )


def by_task(task: Task, *, main: str, style: AnswerStyle, group_by: str | None) -> ByTask:
    """Return the way of `task`; `main` is the metric that conclusions are drawn from.

    Raises ConfigError on a metric that is not supported.
    """
    way = ByTask(task=task.base, scored_by=scorers_of(task, style).led_by(main), group_by=group_by)
    way.of_runs  # noqa: B018  # refuses what has no texts
    return way


def by_metric(name: str, *, style: AnswerStyle, group_by: str | None) -> ByTask:
    """Return the way of a metric without a task. Raises ConfigError if there is none such."""
    task = Task(
        task=name,
        doc_to_text="question",
        doc_to_target="answer",
        metric_list=[{"metric": name}],
        generation_kwargs={"until": []},
        folder=str(Path.cwd()),
    )
    return ByTask(task=task, scored_by=scorers_of(task, style), group_by=group_by, bare=True)
