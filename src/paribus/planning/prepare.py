"""Everything a run reads, made and checked before any compute is spent.

Whatever is wrong with data, tokenizer or lengths is found here, in seconds, by `plan` and again
by `run`, which trains and tests on exactly what was checked.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

from paribus.config.schema import ArmConfig, DataConfig, EvaluationConfig, TestedTask
from paribus.config.task import Task
from paribus.config.task_file import shots_of, task_of
from paribus.data.layouts import delimiter_of
from paribus.data.problems import ProblemSet, load_problems, load_tests, tests_alone
from paribus.errors import ConfigError, DataError, NotHere, PromptError, UserError
from paribus.evaluation.engine.by_lm_eval import questions_of
from paribus.evaluation.scorers import check_functions, check_scored, scorers_of
from paribus.evaluation.scoring import check_correct
from paribus.models.source import ModelSource, find_model
from paribus.planning.encodings import Encodings, encoded, tokenizer_of
from paribus.planning.inputs import (
    Inputs,
    PromptSet,
    Validation,
    check_lengths,
    check_vocabulary,
)
from paribus.prompts.encode import Encoded, Prompt
from paribus.prompts.formats import (
    PLAIN,
    SHOWN,
    Frame,
    Protocol,
    frame_of,
    main_protocol,
    protocols,
    render_example,
    render_prompt,
)
from paribus.records import AnswerStyle, Problem
from paribus.training.batching import measured_steps, order_seed, training_length


def prepare(config: ArmConfig, seed: int, *, trial: bool = False) -> Inputs:
    """Return the inputs of every run of an arm, or of its trials. `seed` is the experiment's.

    Raises UserError: DataError, ModelError, PromptError, or NotHere.
    """
    task = task_of(config)
    problems = load_problems(task, config.data, seed)
    frame = _checked_frame(task, problems, config)
    _check_packages(config)
    source = _source(config.model, config.revision)
    examples, dropped = _training(problems, config, source, frame)
    tested = problems.validation if trial else problems.test
    asked = _Asked(tested, problems.shots, source, frame)
    inputs = _tests(task, problems, config, asked)
    inputs = replace(
        inputs,
        trial=trial,
        examples=examples,
        dropped=dropped,
        further=tuple(_further(entry, config, seed) for entry in config.evaluation.tasks),
    )
    if config.is_validated and not trial:
        _check_moments(config, examples, seed)
        held_out = _Asked(problems.validation, problems.shots, source, frame)
        validation = _validation(held_out, main_protocol(config), task, config)
        inputs = replace(inputs, validation=validation)
    check_vocabulary(inputs)
    check_lengths(inputs, config)
    return inputs


def _checked_frame(task: Task, problems: ProblemSet, config: ArmConfig) -> Frame:
    """Return what stands around the problems. Raises UserError if gold could not be scored."""
    if task.scores_numbers:
        check_correct(problems.read, _taught(config))
    _check_formats(task, config)
    _check_generated(task, config)
    scorers = scorers_of(task)
    frame = frame_of(task.of(config.data.variant), delimiter_of(problems.layout))
    if task.writes and not task.preset:
        raw = main_protocol(config).format == "raw"
        _check_ends_in_gold(problems, task.until, frame.target_delimiter if raw else None)
        check_scored(scorers, problems.test)
    check_functions(scorers, problems.test, config.evaluation.max_new_tokens * task.writes)
    return frame


def _tests(task: Task, problems: ProblemSet, config: ArmConfig, asked: "_Asked") -> Inputs:
    """Return what an arm that trains nothing is tested on, under each of its protocols."""
    main, *others = protocols(config)
    prompt_set, gold = asked.solved(main)
    prompt_sets = (prompt_set, *map(asked.alone, others))
    if task.chooses:
        prompt_sets = tuple(map(asked.with_choices, prompt_sets))
    return Inputs(
        problems=problems,
        trial=False,
        source=asked.source,
        examples=(),
        dropped=0,
        prompt_sets=prompt_sets,
        gold=gold,
        generates=not task.measures_loss,
        until=None if task.preset else task.until,
        max_new_tokens=config.evaluation.max_new_tokens,
    )


def _further(entry: TestedTask, config: ArmConfig, seed: int) -> Inputs:
    """Return what an arm is tested on of a further task. Raises UserError as `prepare` does."""
    task = entry.task
    if task.by_lm_eval:
        return _asked_by_lm_eval(entry, config)
    try:
        asked_as = _config_on(entry, task, config)
        problems = load_tests(task, asked_as.data, seed, or_fewer=entry.test_size is None)
        shots = entry.protocol or shots_of(task) or ("one_shot" if problems.shots else "zero_shot")
        evaluation = replace(asked_as.evaluation, protocol=shots)
        asked_as = replace(asked_as, evaluation=evaluation)
        if shots != "zero_shot" and not problems.shots:
            raise DataError(
                f"protocol={shots} shows solved examples, which are training problems, and the "
                "task has none",
                "give it training problems, or set protocol: zero_shot",
            )
        frame = _checked_frame(task, problems, asked_as)
        source = _source(config.model, config.revision)
        asked = _Asked(problems.test, problems.shots, source, frame)
        inputs = replace(_tests(task, problems, asked_as, asked), task=task.task)
        check_vocabulary(inputs)
        check_lengths(inputs, asked_as)
    except UserError as error:
        what = f"evaluation.tasks, {task.task}: {error.message}"
        raise type(error)(what, error.remedy) from error
    return inputs


def _asked_by_lm_eval(entry: TestedTask, config: ArmConfig) -> Inputs:
    """Return what lm-eval's own code asks of a further task. Raises UserError."""
    if entry.path is not None:
        raise ConfigError(
            f"evaluation.tasks, {entry.task.source}: path={entry.path!r}: lm-eval's own code reads "
            "what its file names",
            "leave path out",
        )
    shots = entry.protocol or shots_of(entry.task) or "zero_shot"
    size = config.data.test_size if entry.test_size is None else entry.test_size
    problems = questions_of(entry.task, shots=SHOWN[shots], limit=None if size == "all" else size)
    source = _source(config.model, config.revision)
    asked = _Asked(problems, (), source, PLAIN).alone(Protocol(shots="zero_shot", format="raw"))
    return Inputs(
        problems=tests_alone(problems),
        trial=False,
        source=source,
        examples=(),
        dropped=0,
        prompt_sets=(replace(asked, protocol=Protocol(shots=shots, format="raw")),),
        gold=(),
        max_new_tokens=config.evaluation.max_new_tokens,
        task=entry.task.task,
        by_lm_eval=entry.task,
    )


def _config_on(entry: TestedTask, task: Task, config: ArmConfig) -> ArmConfig:
    """Return the config of an arm that trains nothing and is tested on a further task alone."""
    size = config.data.test_size if entry.test_size is None else entry.test_size
    usual = config.evaluation.max_new_tokens
    if usual == config.task.max_new_tokens:  # said by the arm's own task, of its own answers
        usual = EvaluationConfig().max_new_tokens
    longest = task.max_new_tokens or usual
    generated = config.data if task.generated else DataConfig()
    return replace(
        config,
        task=entry.task,
        method="none",
        data=replace(
            generated,
            path=entry.path,
            variant=next(iter(task.variants), "main"),
            train_size=1 if task.generated else "all",
            test_size=size,
            validation_size=0,
        ),
        prompt=replace(config.prompt, template=None, system=None),
        evaluation=replace(
            config.evaluation, also=(), tasks=(), at=(), at_generates=False, max_new_tokens=longest
        ),
    )


def _check_formats(task: Task, config: ArmConfig) -> None:
    """Raise ConfigError if a chat is asked of a task that says how an answer begins."""
    chats = [protocol.name for protocol in protocols(config) if protocol.format == "chat"]
    if chats and task.gen_prefix is not None:
        raise ConfigError(
            f"{chats[0]}: the task {task.task} says how an answer begins, gen_prefix="
            f"{task.gen_prefix[:40]!r}, which has no place in a chat",
            "use raw prompts, or leave gen_prefix out of the task",
        )


def _check_generated(task: Task, config: ArmConfig) -> None:
    """Raise ConfigError if texts are asked for that are not generated: of a task that has none."""
    if not task.measures_loss:
        return
    if config.evaluation.also:
        raise ConfigError(
            f"evaluation.also={list(config.evaluation.also)}: the task {task.task} has the metric "
            "likelihood, so nothing is generated, and losses are those under the main protocol",
            "set evaluation.also=[]",
        )
    if config.evaluation.at_generates:
        raise ConfigError(
            f"evaluation.at_generates=true: the task {task.task} has the metric likelihood, so "
            "nothing is generated",
            "set evaluation.at_generates=false",
        )


def _check_ends_in_gold(problems: ProblemSet, until: Sequence[str], delimiter: str | None) -> None:
    """Raise DataError if a solution holds a text that ends an answer: none could be written.

    `delimiter` is written before it; None where a chat's template decides that.
    """
    for end in until:
        held = [
            p
            for p in (*problems.train, *problems.test)
            if end in (p.solution.strip() if delimiter is None else delimiter + p.solution.rstrip())
        ]
        if held:
            raise DataError(
                f"{len(held):,} of {len(problems.train) + len(problems.test):,} solutions hold "
                f"{end!r}, which ends an answer: {held[0].where}: "
                f"{(delimiter or '') + held[0].solution[:60]!r}",
                "set generation_kwargs.until in the task file to texts that no solution holds, or "
                "to [] where the stop token is enough",
            )


def _taught(config: ArmConfig) -> AnswerStyle:
    """Return the style of answer by which gold solutions must count: those that a model is shown.

    A model that is neither trained nor given an example is not taught theirs.
    """
    shown = any(protocol.shots != "zero_shot" for protocol in protocols(config))
    return config.evaluation.answer if config.method != "none" or shown else "auto"


_source = lru_cache(maxsize=4)(find_model)
"""A model's folder: found once, for many arms."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Problems that a model is asked, or trained on."""

    problems: Sequence[Problem]
    shots: Sequence[Problem]
    source: ModelSource
    frame: Frame

    def alone(self, protocol: Protocol) -> PromptSet:
        """Return the problems under one protocol."""
        how = self._how(protocol)
        texts = [render_prompt(problem, **how) for problem in self.problems]
        return self._prompt_set(protocol, texts, encoded(self.source, protocol.format, texts))

    def solved(self, protocol: Protocol) -> tuple[PromptSet, tuple[Encoded, ...]]:
        """Return them under one protocol, and each with its gold solution and the stop token."""
        how = self._how(protocol)
        examples = [render_example(problem, **how) for problem in self.problems]
        texts, targets = [text for text, _ in examples], [target for _, target in examples]
        encodings = encoded(self.source, protocol.format, texts, targets)
        return self._prompt_set(protocol, texts, encodings), encodings.texts

    def with_choices(self, asked: PromptSet) -> PromptSet:
        """Return `asked` with each problem's choices behind its prompt, without a stop token."""
        how = self._how(asked.protocol)
        variants = [
            replace(problem, solution=choice)
            for problem in self.problems
            for choice in problem.choices
        ]
        examples = [render_example(variant, **how) for variant in variants]
        texts, targets = [text for text, _ in examples], [target for _, target in examples]
        behind = iter(encoded(self.source, asked.protocol.format, texts, targets).texts)
        choices = tuple(
            tuple(Encoded(e.ids[:-1], e.prompt_length) for e in islice(behind, len(p.choices)))
            for p in self.problems
        )
        return replace(asked, choices=choices)

    def _how(self, protocol: Protocol) -> dict[str, Any]:
        return {
            "format": protocol.format,
            "shots": protocol.shown(self.shots),
            "tokenizer": tokenizer_of(self.source) if protocol.format == "chat" else None,
            "frame": self.frame,
        }

    def _prompt_set(self, protocol: Protocol, texts: Sequence[str], found: Encodings) -> PromptSet:
        prompts = tuple(
            Prompt(problem=problem, text=text, ids=example.ids[: example.prompt_length])
            for problem, text, example in zip(self.problems, texts, found.texts, strict=True)
        )
        return PromptSet(protocol=protocol, prompts=prompts, stop=found.stop)


def _check_moments(config: ArmConfig, examples: Sequence[Encoded], seed: int) -> None:
    """Raise ConfigError if the arm is to be measured after a step that it will not reach."""
    lengths = [example.target_length for example in examples]
    num_steps, _ = training_length(lengths, config.training, order_seed(seed))
    measured_steps(
        config.evaluation.at,
        num_steps,
        num_examples=len(examples),
        batch_size=config.training.batch_size,
    )


def _validation(asked: _Asked, protocol: Protocol, task: Task, config: ArmConfig) -> Validation:
    prompt_set, gold = asked.solved(protocol)
    if config.evaluation.at_generates and task.chooses:
        prompt_set = asked.with_choices(prompt_set)
    return Validation(asked=prompt_set, gold=gold)


def _training(
    problems: ProblemSet, config: ArmConfig, source: ModelSource, frame: Frame
) -> tuple[tuple[Encoded, ...], int]:
    """Return the training examples, and how many were left out: none for a baseline.

    They are always without shots, as a tuned model is asked.
    """
    if config.method == "none":
        return (), 0
    ask = Protocol(shots="zero_shot", format=main_protocol(config).format)
    _, examples = _Asked(problems.train, problems.shots, source, frame).solved(ask)
    kept = tuple(each for each in examples if len(each.ids) <= config.prompt.max_tokens)
    dropped = len(examples) - len(kept)
    if dropped and (config.prompt.too_long == "error" or not kept):
        longest = max(len(example.ids) for example in examples)
        raise PromptError(
            f"{dropped} of {len(examples)} training examples are longer than prompt.max_tokens = "
            f"{config.prompt.max_tokens} tokens; the longest has {longest}",
            f"set prompt.max_tokens={longest}, or prompt.too_long=drop to leave them out",
        )
    return kept, dropped


def _check_packages(config: ArmConfig) -> None:
    """Raise NotHere if an optional package that the arm needs is not installed."""
    needed: list[tuple[str, str]] = [(tracker, tracker) for tracker in config.training.trackers]
    if config.needs_bitsandbytes:
        needed.append(("bitsandbytes", "8bit"))
    remedies = {package: f"pip install 'paribus[{extra}]'" for package, extra in needed}
    if config.evaluation.engine == "vllm":
        remedies["vllm"] = "pip install vllm, or set evaluation.engine=paribus"
    for package, remedy in remedies.items():
        if importlib.util.find_spec(package) is None:
            raise NotHere(
                f"this experiment needs the package {package}, which is not installed", remedy
            )
