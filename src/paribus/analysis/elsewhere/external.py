"""Generations made anywhere, as the tables that findings and report read.

    found = collect(["base.jsonl", "lora.jsonl"], gold=Path("data/test.jsonl"))
    found.tables.declared       # (("lora", "base", "file"),)
    found.left_out              # for each file: problems missing, unknown, repeated

Every pair of arms is a contrast, the later one as A: "is the new one better than the first?"; an
untuned one is always B. Several files of one arm are seeds only where that is known or stated, else
they are averaged as models that exist (`repeats`). Arms are compared on the same problems or
not at all; `common=True` asks for those that all of them answer. Where one problem comes twice with
one text, it counts once; with two texts nobody can say which is the answer, and it is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from paribus.analysis.elsewhere.by_column import of_value
from paribus.analysis.elsewhere.gold import (
    WHICH,
    Gold,
    LeftOut,
    Study,
    check_shared,
    notes_of,
    notes_with_prompts,
)
from paribus.analysis.elsewhere.repeats import (
    NO_FLAGS,
    ArmFlags,
    Written,
    all_untuned,
    check_flags,
    doubts_of,
    likenesses,
    notes_on,
    pairs_of,
    refuse_copies,
)
from paribus.analysis.elsewhere.samples import Sample
from paribus.analysis.elsewhere.sources import Source, read_sources
from paribus.analysis.elsewhere.ways import NUMBERS_WAY, Way
from paribus.analysis.measures import terms
from paribus.analysis.tables import FILE, Arm, Run, Tables, with_generations
from paribus.errors import DataError
from paribus.evaluation.scorers import Scorers
from paribus.records import Generation, Likelihood, Measure, Problem
from paribus.store.results import DataCounts

_SHOWN = 3
"""Problems that an error quotes; the others are counted."""


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

    @property
    def name(self) -> str:
        """Of the arm."""
        return self.source.run.arm

    def written(self, run: Run) -> Written:
        """Return what was written for each problem; `run` has what is compared, scored."""
        texts = {
            key: sample.text.strip() if sample.value is None else repr(sample.value)
            for key, sample in self.samples.items()
        }
        return Written(source=self.source, texts=texts, run=run)


def collect(
    arguments: Sequence[str],
    *,
    gold: Path | None = None,
    common: bool = False,
    flags: ArmFlags = NO_FLAGS,
    way: Way = NUMBERS_WAY,
) -> Collected:
    """Return the runs that `arguments` (`FILE` or `NAME=FILE`) name, scored and paired.

    Args:
        arguments: files and folders; see `sources`.
        gold: file of the problems asked; None if every row states its own.
        common: compare on the problems that every file answers, whatever else they hold.
        flags: what files do not say of their arms.
        way: what the files are read for.

    Raises:
        DataError: an unreadable line, a problem without gold, with two golds or two texts, gold
            that does not score correct, different problems without `common`, or none in common; a
            file that is a copy of another of the same arm; an untuned arm that is not there, or was
            trained;
            flags that mean nothing for these files.
    """
    sources = read_sources(arguments, way)
    samples = [sample for source in sources for sample in source.samples]
    flags = replace(flags, untuned=all_untuned(sources, flags.untuned))
    known = way.gold(gold, samples)
    problems = {} if known is None else dict(known.problems)
    answers = [_answers(source, known, problems, way) for source in sources if source.run.complete]
    left_out = tuple(_left_out(answer, problems) for answer in answers)
    shared = [key for key in problems if all(key in answer.samples for answer in answers)]
    asked = [problems[key] for key in shared]
    scorers = way.scorers(samples)
    study = _study(known, answers, asked, way).start()
    try:
        check_shared(left_out, shared, common=common)
    except DataError:
        study()  # wrong gold is the better reason
        raise
    settings = all(answer.source.identity for answer in answers)
    runs = [_run(answer, asked, scorers, settings=settings) for answer in answers]
    written = [answered.written(run) for answered, run in zip(answers, runs, strict=True)]
    refuse_copies(written)
    alike = pairs_of(written)
    doubts = doubts_of(written, flags, alike)
    check_flags(written, flags, doubts)
    likely = tuple(likenesses(alike, flags.untuned))
    runs += [source.run for source in sources if not source.run.complete]
    arms = _arms(sources, answers, flags, settings=settings)
    tables = _tables(arms, runs, _options(arguments, gold, flags, way))
    return Collected(
        tables=replace(
            tables,
            repeats=frozenset(doubts),
            likely=likely,
            alike=study(),
            margins={(a, b): flags.margin for a, b, _ in tables.declared} if flags.margin else {},
        ),
        left_out=left_out,
        notes=(
            *notes_of(left_out, len(shared), settings=settings, texts=not way.values),
            *(notes_with_prompts(runs) if way.of_numbers else ()),
            *notes_on(written, doubts, flags, likely),
        ),
    )


def _study(
    known: Gold | None, answers: Sequence[_Answers], asked: Sequence[Problem], way: Way
) -> Study:
    own = [problem for answer in answers for problem in answer.problems]
    if not way.of_numbers:
        way.check(known.stated if known else own, asked)
        return Study(stated=(), asked=asked)
    if known is not None:
        return Study(stated=known.stated, asked=asked)
    return Study(stated=own, asked=asked, which=WHICH)


def _arms(
    sources: Sequence[Source], answers: Sequence[_Answers], flags: ArmFlags, *, settings: bool
) -> list[Arm]:
    """Return the arms in the order of the files; with their settings if all files have any."""
    identities = {answer.name: answer.source.identity for answer in reversed(answers)}
    return [
        Arm(
            name=name,
            factors={"method": "none"} if name in flags.untuned else {},
            identity=identities[name] if settings else {},
        )
        for name in dict.fromkeys(source.run.arm for source in sources)
    ]


def _options(
    arguments: Sequence[str],
    gold: Path | None,
    flags: ArmFlags,
    way: Way,
) -> dict[str, Any]:
    """Return what the command line stated, for the report's table of settings."""
    options = {
        # A file's name may hold bytes that are not text; the report is text.
        "files": [argument.encode(errors="replace").decode() for argument in arguments],
        "gold": gold and str(gold),
        "group_by": way.group_by,
        "paired_seeds": flags.paired_seeds,
        "untuned": list(flags.untuned),
        "seeds_are_runs": flags.seeds_are_runs,
        "margin": flags.margin and 100 * flags.margin,
        **way.options(),
    }
    return {name: value for name, value in options.items() if value}


def _answers(
    source: Source, known: Gold | None, problems: dict[str, Problem], way: Way
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
        problem = _stated(sample, problems, way) if known is None else known.find(sample)
        if problem is None:
            unknown.add(f"{sample.id} {sample.question}")
            continue
        if known is None:
            own.append(problem)
        key = problem.id
        first = samples.setdefault(key, sample)
        if first.text != sample.text or first.value != sample.value:
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
            "keep one text for each problem, or give each repeat its own file",
        )
    return _Answers(
        source=source,
        samples=samples,
        problems=own,
        stated=stated,
        unknown=len(unknown),
        repeated=repeated,
    )


def _stated(sample: Sample, problems: dict[str, Problem], way: Way) -> Problem:
    """The problem that the row itself states. What other rows know of it is put together."""
    problem = way.problem(sample)
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


def _run(
    answers: _Answers, problems: Sequence[Problem], scorers: Scorers, *, settings: bool
) -> Run:
    """The run with its generations for `problems`.

    What paribus recorded of its own runs is dropped where other files stand beside them: a
    report of settings that only some arms have would speak for all. What is known of problems
    that were trained on is kept, and what it ran on: these speak of its own arm.
    """
    run = replace(answers.source.run, scorers=scorers)
    if not settings:
        run = replace(run, result=None, made_on=run.environment, data=_overlaps(run), losses=())
    samples = [answers.samples[problem.id] for problem in problems]
    if scorers.loss:
        run = replace(run, heldout=tuple(map(_loss, problems, samples)))
    generations = list(map(_generation, problems, samples))
    stated = {
        name: tuple(of_file.get(problem.id) for problem in problems)
        for name, of_file in answers.stated.items()
    }
    return replace(with_generations(run, generations), stated=stated)


def _overlaps(run: Run) -> DataCounts | None:
    """Return what is known of problems that were trained on; nothing trained has none."""
    if run.data is None or run.training is None:
        return None
    return DataCounts(overlap_exact=run.data.overlap_exact, overlap_13gram=run.data.overlap_13gram)


def _loss(problem: Problem, sample: Sample) -> Likelihood:
    """Return the loss that a row states, as that of one token."""
    return Likelihood(problem_id=problem.id, nll=sample.value, tokens=1, group=problem.group)


def _generation(problem: Problem, sample: Sample) -> Generation:
    generation = Generation.of(
        problem,
        text=sample.text,
        stop=sample.stop,
        num_tokens=sample.num_tokens,
        prompt_sha256=sample.prompt_sha256,
    )
    if sample.choice_nlls:
        return replace(generation, choice_nlls=sample.choice_nlls)
    return generation if sample.value is None else replace(generation, document=of_value(sample))


def _tables(arms: Sequence[Arm], runs: Sequence[Run], stated: dict[str, Any]) -> Tables:
    names = [arm.name for arm in arms]
    words = terms(runs[0].measure)
    question = (
        f"Which {words.more()}?" if len(names) > 1 else f"What is the {words.mean} of {names[0]}?"
    )
    if runs[0].measure is Measure.SOLVED and len(names) == 1:
        question = f"How much does {names[0]} solve?"
    config = {"name": " and ".join(names[:_SHOWN]), "question": question, **stated}
    return Tables(
        config=config,
        origins=dict.fromkeys(stated, "command line"),
        arms=tuple(arms),
        declared=tuple(
            (first.name, later.name, FILE)
            if later.untuned and not first.untuned
            else (later.name, first.name, FILE)
            for first, later in combinations(arms, 2)
        ),
        runs=tuple(runs),
    )
