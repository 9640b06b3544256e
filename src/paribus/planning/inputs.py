"""Everything a run reads, made and checked before any compute is spent.

Whatever is wrong with data, tokenizer or lengths is found here, in seconds, by `plan` and again
by `run`, which trains and tests on exactly what was checked.
"""

import hashlib
import importlib.util
from array import array
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from reprlib import repr as short
from statistics import median
from typing import Any

from paribus.config.schema import ArmConfig
from paribus.config.task import Task, task_of
from paribus.data.problems import ProblemSet, load_problems
from paribus.errors import ConfigError, DataError, ModelError, NotHere, PromptError
from paribus.evaluation.scorers import check_scored, scorers_of
from paribus.evaluation.scoring import check_gold
from paribus.models.configs import read_config
from paribus.models.source import ModelSource, context_length, find_model, vocabulary
from paribus.planning.encodings import Encodings, encoded, tokenizer_of
from paribus.prompts.encode import Encoded, Prompt
from paribus.prompts.formats import (
    Frame,
    Protocol,
    frame_of,
    main_protocol,
    protocols,
    render_example,
    render_prompt,
)
from paribus.records import AnswerStyle, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSet:
    """The tested problems under one protocol, in the order of `Inputs.tested`.

    Attributes:
        protocol: how they are asked.
        prompts: one for each problem.
        stop: the token that ends a solution in the protocol's format.
        choices: of problems of multiple choice, each prompt with each choice behind it.
    """

    protocol: Protocol
    prompts: tuple[Prompt, ...]
    stop: int
    choices: tuple[tuple[Encoded, ...], ...] = ()

    def beyond(self, known: Container[str]) -> "PromptSet":
        """Return the problems whose prompt's hash is not `known`."""
        places = [at for at, prompt in enumerate(self.prompts) if prompt.sha256 not in known]
        return replace(
            self,
            prompts=tuple(self.prompts[place] for place in places),
            choices=tuple(self.choices[place] for place in places) if self.choices else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """How much an arm reads, in examples, problems and tokens.

    Attributes:
        train_examples: of an epoch.
        train_dropped_too_long: examples over `prompt.max_tokens`, left out.
        train_tokens: of an epoch, prompts included.
        target_tokens: with loss, of an epoch.
        longest_example: tokens.
        median_target: tokens with loss of the median example.
        test_prompts: problems under the main protocol.
        longest_prompt: tokens, under any protocol.
        train_duplicates: questions that occurred twice in the training pool.
        train_test_overlap: test questions that occurred in it.
        layout: by which rows became text; "" where the task says how.
    """

    train_examples: int
    train_dropped_too_long: int
    train_tokens: int
    target_tokens: int
    longest_example: int
    median_target: float
    test_prompts: int
    longest_prompt: int
    train_duplicates: int
    train_test_overlap: int
    layout: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What one arm trains and is tested on, as tokens.

    Attributes:
        problems: the problems behind it.
        trial: whether it is tested on the validation problems, not on the test problems.
        source: the model's folder.
        examples: training examples; empty for a baseline.
        dropped: training examples left out because they exceed `prompt.max_tokens`.
        prompt_sets: the tested problems under each protocol, the main one first.
        gold: the tested problems under the main protocol, with their gold solutions.
        generates: whether texts are generated in tests, and not the losses of `gold` alone.
    """

    problems: ProblemSet
    trial: bool
    source: ModelSource
    examples: tuple[Encoded, ...]
    dropped: int
    prompt_sets: tuple[PromptSet, ...]
    gold: tuple[Encoded, ...]
    generates: bool = True

    @property
    def tested(self) -> tuple[Problem, ...]:
        """The problems it is tested on."""
        return self.problems.validation if self.trial else self.problems.test

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer: not loaded unless it is asked for."""
        return tokenizer_of(self.source)

    def identity(self) -> dict[str, str]:
        """Return the hashes of weights, problems and tokens: what no config can state."""
        return {
            "model": self.source.identity,
            **self.problems.hashes(validation=self.trial),
            "tokens": self._tokens_sha256(),
        }

    def _tokens_sha256(self) -> str:
        """Return the hash of all that is trained and tested on, as the tokenizer made it."""
        found = hashlib.sha256()
        choices = [c for asked in self.prompt_sets for of in asked.choices for c in of]
        texts = [*(each.ids for each in (*self.examples, *self.gold, *choices)),
                 *(prompt.ids for each in self.prompt_sets for prompt in each.prompts)]  # fmt: skip
        for ids in texts:
            found.update(array("q", (len(ids), *ids)).tobytes())
        return found.hexdigest()

    def tokens(self) -> TokenCounts:
        """Return the token counts that `plan` prints."""
        targets = [example.target_length for example in self.examples]
        prompts = [prompt for prompt_set in self.prompt_sets for prompt in prompt_set.prompts]
        return TokenCounts(
            train_examples=len(self.examples),
            train_dropped_too_long=self.dropped,
            train_tokens=sum(len(example.ids) for example in self.examples),
            target_tokens=sum(targets),
            longest_example=max((len(e.ids) for e in self.examples), default=0),
            median_target=median(targets) if targets else 0,
            test_prompts=len(self.tested),
            longest_prompt=max(len(prompt.ids) for prompt in prompts),
            train_duplicates=self.problems.train_duplicates,
            train_test_overlap=self.problems.overlap,
            layout=self.problems.layout,
        )


def prepare(config: ArmConfig, seed: int, *, trial: bool = False) -> Inputs:
    """Return the inputs of every run of an arm, or of its trials. `seed` is the experiment's.

    Raises UserError: DataError, ModelError, PromptError, or NotHere.
    """
    task = task_of(config)
    problems = load_problems(task, config.data, seed)
    if task.scores_numbers:
        check_gold(problems.read, style=_taught(config))
    _check_also(task, config)
    scorers = scorers_of(task)
    if not task.measures_loss and not task.preset and task.output_type != "multiple_choice":
        _check_ends_in_gold(problems, task.until)
        check_scored(scorers, problems.test)
    _check_packages(config)
    source = _source(config.model, config.revision)
    frame = frame_of(task.of(config.data.variant))
    examples, dropped = _training(problems, config, source, frame)
    asked = _Asked(problems.validation if trial else problems.test, problems.shots, source, frame)
    main, *others = protocols(config)
    prompt_set, gold = asked.solved(main)
    inputs = Inputs(
        problems=problems,
        trial=trial,
        source=source,
        examples=examples,
        dropped=dropped,
        prompt_sets=tuple(
            map(asked.with_choices, (prompt_set, *map(asked.alone, others)))
            if task.output_type == "multiple_choice"
            else (prompt_set, *map(asked.alone, others))
        ),
        gold=gold,
        generates=not task.measures_loss,
    )
    _check_vocabulary(inputs)
    _check_lengths(inputs, config)
    return inputs


def _check_also(task: Task, config: ArmConfig) -> None:
    """Raise ConfigError if further protocols are stated, and nothing is generated under them."""
    if task.measures_loss and config.evaluation.also:
        raise ConfigError(
            f"evaluation.also={list(config.evaluation.also)}: the task {task.task} has the metric "
            "likelihood, so nothing is generated, and losses are those under the main protocol",
            "set evaluation.also=[]",
        )


def _check_ends_in_gold(problems: ProblemSet, until: Sequence[str]) -> None:
    """Raise DataError if a solution holds a text that ends an answer: none could be written."""
    for end in until:
        held = [p for p in (*problems.train, *problems.test) if end in p.solution.strip()]
        if held:
            raise DataError(
                f"{len(held):,} of {len(problems.train) + len(problems.test):,} solutions hold "
                f"{end!r}, which ends an answer: {held[0].where}: {held[0].solution[:60]!r}",
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
    if config.quantization or (
        config.method != "none" and config.training.optimizer == "adamw_8bit"
    ):
        needed.append(("bitsandbytes", "8bit"))
    remedies = {package: f"pip install 'paribus[{extra}]'" for package, extra in needed}
    if config.evaluation.engine == "vllm":
        remedies["vllm"] = "pip install vllm, or set evaluation.engine=paribus"
    for package, remedy in remedies.items():
        if importlib.util.find_spec(package) is None:
            raise NotHere(
                f"this experiment needs the package {package}, which is not installed", remedy
            )


def _check_vocabulary(inputs: Inputs) -> None:
    """Raise ModelError if a token that is read, or stops a text, has no row in the embedding."""
    rows = vocabulary(inputs.source)
    if rows is None:
        return
    _check_ends(inputs.source.path, rows)
    used = {asked.stop for asked in inputs.prompt_sets}
    used.update(*(example.ids for example in (*inputs.examples, *inputs.gold)))
    used.update(*(prompt.ids for asked in inputs.prompt_sets for prompt in asked.prompts))
    beyond = sorted(id for id in used if not 0 <= id < rows)
    if beyond:
        names = ", ".join(
            f"{id} ({inputs.tokenizer.convert_ids_to_tokens(id)!r})" for id in beyond[:5]
        )
        more = f" and {len(beyond) - 5} more" if len(beyond) > 5 else ""
        raise ModelError(
            f"tokens that are used have no embedding: {names}{more}; the model has {rows:,} rows, "
            f"by vocab_size in {inputs.source.path / 'config.json'}",
            "use the tokenizer that the model was published with; tokens of your own need "
            "model.resize_token_embeddings(len(tokenizer)) before both are saved",
        )


def _check_ends(folder: Path, rows: int) -> None:
    """Raise ModelError if the model's own files end texts with a token that has no embedding."""
    for path in (folder / "config.json", folder / "generation_config.json"):
        found = read_config(path).get("eos_token_id") if path.exists() else None
        ids = found if isinstance(found, list) else [] if found is None else [found]
        wrong = [id for id in ids if type(id) is not int or not 0 <= id < rows]
        if wrong:
            raise ModelError(
                f"{path}: eos_token_id holds {short(wrong)}; the model's tokens are the whole "
                f"numbers from 0 to {rows - 1:,}",
                "compare it with the file that the model was published with",
            )


def _check_lengths(inputs: Inputs, config: ArmConfig) -> None:
    """Raise PromptError if a tested problem, or what is written for it, does not fit."""
    context = context_length(inputs.source)
    for asked in inputs.prompt_sets:
        longest = max(asked.prompts, key=lambda prompt: len(prompt.ids))
        length = len(longest.ids)
        what = f"the longest test prompt under {asked.protocol.name}"
        if length > config.prompt.max_tokens:
            raise PromptError(
                f"{what} has {length} tokens; prompt.max_tokens is "
                f"{config.prompt.max_tokens}: {longest.problem.question[:60]!r}…",
                f"set prompt.max_tokens={length}: test problems are never left out",
            )
        written = config.evaluation.max_new_tokens if inputs.generates else 0
        if context is not None and length + written > context:
            raise PromptError(
                f"{what} ({length} tokens) and evaluation.max_new_tokens = "
                f"{config.evaluation.max_new_tokens} exceed the model's context of {context}",
                f"set evaluation.max_new_tokens={max(1, context - length)} or less",
            )
    length = max(len(example.ids) for example in inputs.gold)
    if context is not None and length > context:
        raise PromptError(
            f"the longest test prompt with its gold solution has {length} tokens; the model's "
            f"context has {context}",
            "use fewer shots in evaluation.protocol, or a model with a longer context",
        )
