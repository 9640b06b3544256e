"""Generations made anywhere, as the tables that findings and report read.

    found = collect(["base.jsonl", "lora.jsonl"], gold=Path("data/test.jsonl"))
    found.tables.declared       # (("lora", "base", "file"),)
    found.left_out              # for each file: problems missing, unknown, repeated

Every pair of arms is a contrast, the later one as A: "is the new one better than the first?".
Arms are compared on the very same problems or not at all; `common=True` asks for those that
all of them answer. Where one problem comes twice with one text, it counts once; with two texts
nobody can say which is the answer, and it is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from paribus.analysis.gold import WHICH, Gold, read_gold, stated_problem
from paribus.analysis.samples import Sample
from paribus.analysis.sources import Source, read_sources
from paribus.analysis.tables import Arm, Run, Tables, with_generations
from paribus.errors import DataError
from paribus.evaluation.final import holds_prompt
from paribus.evaluation.gold import check_gold
from paribus.records import AnswerStyle, Generation, Problem

FACTOR = "file"
"""What the arms of a contrast differ in, as far as is known."""

_SHOWN = 3
"""Problems that an error quotes; the others are counted."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The tables; what each file holds and lacks; what a reader must know of such files."""

    tables: Tables
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """The samples of one source by problem id, the problems that its rows state, and by filter
    what each says of its text."""

    source: Source
    samples: dict[str, Sample]
    problems: list[Problem]
    stated: dict[str, dict[str, bool]]
    unknown: int
    repeated: int


def collect(
    arguments: Sequence[str],
    *,
    gold: Path | None = None,
    group_by: str | None = None,
    common: bool = False,
    paired_seeds: bool = False,
    style: AnswerStyle = "auto",
) -> Collected:
    """Return the runs that `arguments` (`FILE` or `NAME=FILE`) name, scored and paired.

    Args:
        arguments: files and folders; see `sources`.
        gold: file of the problems asked; None if every row states its own.
        group_by: key of the gold rows that says which problems belong together.
        common: compare on the problems that every file answers, whatever else they hold.
        paired_seeds: compare seed by seed: those of one number share what a seed decides.
        style: what counts as a final answer.

    Raises:
        DataError: an unreadable line, a problem without gold, with two golds or two texts, gold
            that does not score correct, different problems without `common`, or none in common.
    """
    sources = read_sources(arguments)
    known = None if gold is None else read_gold(gold, group_by)
    problems = {} if known is None else dict(known.problems)
    answers = [_answers(each, known, problems, group_by) for each in sources if each.run.complete]
    check_gold([problem for each in answers for problem in each.problems], WHICH)
    left_out = tuple(_left_out(each, problems) for each in answers)
    shared = [key for key in problems if all(key in each.samples for each in answers)]
    _check_shared(left_out, shared, common=common)
    settings = all(each.source.identity for each in answers)
    asked = [problems[key] for key in shared]
    runs = [_run(each, asked, style, settings=settings) for each in answers]
    runs += [source.run for source in sources if not source.run.complete]
    identities = {each.source.run.arm: each.source.identity for each in reversed(answers)}
    arms = {source.run.arm: identities[source.run.arm] if settings else {} for source in sources}
    # A file's name may hold bytes that are no text; the report is text.
    files = [argument.encode(errors="replace").decode() for argument in arguments]
    stated = {
        "files": files,
        "gold": gold and str(gold),
        "group_by": group_by,
        "paired_seeds": paired_seeds,
        "answer": style if style != "auto" else None,
    }
    return Collected(
        tables=_tables(arms, runs, {key: value for key, value in stated.items() if value}),
        left_out=left_out,
        notes=(*_notes(left_out, len(shared), settings=settings), *_with_prompts(runs)),
    )


def _answers(
    source: Source, known: Gold | None, problems: dict[str, Problem], group_by: str | None
) -> _Answers:
    """Match samples with problems; without a gold file the rows' own are added to `problems`."""
    if known is not None:
        known.check_ids(source.samples, source.path)
    samples: dict[str, Sample] = {}
    own: list[Problem] = []
    stated: dict[str, dict[str, bool]] = {}
    unknown: set[str] = set()
    seen: set[tuple[str, str]] = set()
    repeated = 0
    conflicts = []
    for sample in source.samples:
        problem = _stated(sample, problems, group_by) if known is None else known.find(sample)
        if problem is None:
            unknown.add(f"{sample.id} {sample.question}")
            continue
        if known is None:
            own.append(problem)
        key = problem.id
        first = samples.setdefault(key, sample)
        if first.text != sample.text:
            conflicts.append(f"{first.where} and {sample.where}: {problem.question[:60]!a}")
        # lm-eval writes each text once for every filter, which is no repetition.
        repeated += (key, sample.filter) in seen
        seen.add((key, sample.filter))
        if sample.exact_match is not None:
            stated.setdefault(sample.filter, {})[key] = sample.exact_match
    if conflicts:
        raise DataError(
            f"{len(conflicts)} times one problem has two different texts: "
            + "; ".join(conflicts[:_SHOWN]),
            "keep one text for each problem, or give each repeat a file of its own",
        )
    return _Answers(
        source=source,
        samples=samples,
        problems=own,
        stated=stated,
        unknown=len(unknown),
        repeated=repeated,
    )


def _stated(sample: Sample, problems: dict[str, Problem], group_by: str | None) -> Problem:
    """The problem that the row itself states. What other rows know of it is put together."""
    if sample.question is None:
        raise DataError(
            f"{sample.where}: names its problem by id alone", "give the gold file: --gold FILE"
        )
    problem = stated_problem(sample.stated, sample.where, group_by)
    known = problems.setdefault(problem.id, problem)
    if (problem.solution and not known.solution) or (problem.group and not known.group):
        solution, group = known.solution or problem.solution, known.group or problem.group
        problems[problem.id] = replace(known, solution=solution, group=group)
    return problem


def _left_out(answers: _Answers, problems: dict[str, Problem]) -> LeftOut:
    return LeftOut(
        name=answers.source.run.arm,
        seed=answers.source.run.seed,
        problems=len(answers.samples),
        missing=len(problems) - len(answers.samples),
        unknown=answers.unknown,
        repeated=answers.repeated,
    )


def _check_shared(left_out: Sequence[LeftOut], shared: Sequence[str], *, common: bool) -> None:
    different = any(each.missing or each.unknown for each in left_out)
    listed = "; ".join(map(str, left_out))
    if not shared:
        raise DataError(
            f"no problem is answered by every file and known: {listed}",
            "check that --gold, if given, is the file that was asked, word for word",
        )
    if different and not common:
        raise DataError(
            f"not the very same problems: {listed}",
            f"give --common to use the {len(shared)} problems that all of them answer",
        )


def _run(
    answers: _Answers, problems: Sequence[Problem], style: AnswerStyle, *, settings: bool
) -> Run:
    """The run with its generations for `problems`.

    What paribus recorded of its own runs is dropped where other files stand beside them: a
    report of settings that only some arms have would speak for all. What is known of problems
    that were trained on is kept: it speaks of its own arm.
    """
    run = replace(answers.source.run, style=style)
    if not settings:
        run = replace(run, result=_overlaps(run.result), losses=())
    made = [_generation(problem, answers.samples[problem.id]) for problem in problems]
    stated = {
        name: tuple(of_file.get(problem.id) for problem in problems)
        for name, of_file in answers.stated.items()
    }
    return replace(with_generations(run, made), stated=stated)


def _overlaps(result: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a result that says what was trained on; nothing trained has none."""
    data = result.get("data") or {}
    kept = {key: data[key] for key in ("overlap_exact", "overlap_13gram") if key in data}
    return {"data": kept} if kept and result.get("training") else {}


def _generation(problem: Problem, sample: Sample) -> Generation:
    return Generation(
        problem_id=problem.id,
        question=problem.question,
        answer=problem.answer,
        prompt_sha256=sample.prompt_sha256,
        text=sample.text,
        num_tokens=sample.num_tokens,
        stop=sample.stop,
        solution=problem.solution,
        group=problem.group,
    )


def _tables(
    identities: dict[str, dict[str, Any]], runs: Sequence[Run], stated: dict[str, Any]
) -> Tables:
    names = list(identities)
    question = "Which solves more?" if len(names) > 1 else f"How much does {names[0]} solve?"
    config = {"name": " and ".join(names[:_SHOWN]), "question": question, **stated}
    return Tables(
        config=config,
        origins=dict.fromkeys(stated, "command line"),
        arms=tuple(Arm(name=name, factors={}, identity=identities[name]) for name in names),
        declared=tuple((later, first, FACTOR) for first, later in combinations(names, 2)),
        runs=tuple(runs),
    )


def _with_prompts(runs: Sequence[Run]) -> list[str]:
    """Return a note for each run most of whose texts hold the prompt they answer."""
    notes = []
    for run in runs:
        held = sum(holds_prompt(each.text, each.question) for each in run.generations)
        if 2 * held > len(run.generations):
            notes.append(
                f"{run.arm}: {held} of {len(run.generations)} texts hold the question they answer; "
                "the canonical scorer reads what is behind it, strict and flexible read all."
            )
    return notes


def _notes(left_out: Sequence[LeftOut], shared: int, *, settings: bool) -> list[str]:
    notes = []
    if any(each.faulty for each in left_out):
        listed = "; ".join(str(each) for each in left_out if each.faulty)
        notes.append(f"Only problems that every file answers are used: {shared}. {listed}.")
    if not settings:
        notes.append(
            "How these texts were made is not known here: another prompt, decoding or token limit "
            "is part of every difference. A text that a limit cut counts as no answer unless "
            "its file says that it was cut."
        )
    return notes
