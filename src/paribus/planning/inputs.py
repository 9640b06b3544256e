"""What one arm trains and is tested on, as tokens; what is wrong with lengths and vocabulary.

    inputs = prepare(config, seed=0)                  # `planning/prepare`
    inputs.tokens().longest_example                   # 261

A token without a row in the embedding, or a text that does not fit, is an error before any compute.
"""

import hashlib
from array import array
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short
from statistics import median
from typing import Any

from paribus.config.schema import ArmConfig
from paribus.config.task import Task
from paribus.data.problems import ProblemSet, hash_of_tests
from paribus.errors import ModelError, PromptError
from paribus.files import sha256_of_json
from paribus.models.configs import read_config
from paribus.models.source import ModelSource, context_length, vocabulary
from paribus.planning.encodings import tokenizer_of
from paribus.prompts.encode import Encoded, Prompt
from paribus.prompts.formats import Protocol
from paribus.records import Problem


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
class Validation:
    """What a model is measured on while it trains: the validation problems, as tests ask theirs.

    Attributes:
        asked: the problems under the main protocol.
        gold: the same with their gold solutions.
    """

    asked: PromptSet
    gold: tuple[Encoded, ...]


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
        longest_prompt: tokens, under any protocol, of any task.
        train_duplicates: questions that occurred twice in the training pool.
        other_gold: how many of these had another gold answer.
        test_duplicates: questions that occurred twice in the test pool.
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
    other_gold: int
    test_duplicates: int
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
        until: texts that end an answer; None for the rules of GSM8K's answers.
        validation: what it is measured on while it trains; None without `evaluation.at`.
        max_new_tokens: the most tokens of an answer.
        task: the name of a further task, "" for the one that the arm is trained on.
        by_lm_eval: the task, if lm-eval's own code asks and scores it.
        further: what it is tested on of each further task.
    """

    problems: ProblemSet
    trial: bool
    source: ModelSource
    examples: tuple[Encoded, ...]
    dropped: int
    prompt_sets: tuple[PromptSet, ...]
    gold: tuple[Encoded, ...]
    generates: bool = True
    until: tuple[str, ...] | None = None
    validation: Validation | None = None
    max_new_tokens: int
    task: str = ""
    by_lm_eval: Task | None = None
    further: tuple["Inputs", ...] = ()

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
        hashes = self.problems.hashes(validation=self.trial)
        if self.validation:
            hashes |= self.problems.hashes(validation=True)
        return {
            "model": self.source.identity,
            **hashes,
            "tokens": self._tokens_sha256(),
            **{f"task {own.task}": own._tests_sha256() for own in self.further},
        }

    @property
    def asked(self) -> tuple[PromptSet, ...]:
        """All that it is asked, in tests and while it trains."""
        return (*self.prompt_sets, *([self.validation.asked] if self.validation else []))

    @property
    def solved(self) -> tuple[Encoded, ...]:
        """All gold solutions whose likelihood is measured, in tests and while it trains."""
        return (*self.gold, *(self.validation.gold if self.validation else ()))

    def _tests_sha256(self) -> str:
        """Return the hash of what is tested of a further task."""
        return sha256_of_json([hash_of_tests(self.tested), self._tokens_sha256()])

    def _tokens_sha256(self) -> str:
        """Return the hash of all that is trained and tested on, as the tokenizer made it."""
        found = hashlib.sha256()
        choices = [c for asked in self.asked for of in asked.choices for c in of]
        texts = [*(each.ids for each in (*self.examples, *self.solved, *choices)),
                 *(prompt.ids for each in self.asked for prompt in each.prompts)]  # fmt: skip
        for ids in texts:
            found.update(array("q", (len(ids), *ids)).tobytes())
        return found.hexdigest()

    def tokens(self) -> TokenCounts:
        """Return the token counts that `plan` prints."""
        targets = [example.target_length for example in self.examples]
        prompts = [prompt for own in (self, *self.further) for asked in own.prompt_sets
                   for prompt in asked.prompts]  # fmt: skip
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
            other_gold=self.problems.other_gold,
            test_duplicates=self.problems.test_duplicates,
            train_test_overlap=self.problems.overlap,
            layout=self.problems.layout,
        )


def check_vocabulary(inputs: Inputs) -> None:
    """Raise ModelError if a token that is read, or stops a text, has no row in the embedding."""
    rows = vocabulary(inputs.source)
    if rows is None:
        return
    _check_ends(inputs.source.path, rows)
    used = {asked.stop for asked in inputs.asked}
    used.update(*(example.ids for example in (*inputs.examples, *inputs.solved)))
    used.update(*(prompt.ids for asked in inputs.asked for prompt in asked.prompts))
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


def check_lengths(inputs: Inputs, config: ArmConfig) -> None:
    """Raise PromptError if a tested problem, or what is written for it, does not fit."""
    context = context_length(inputs.source)
    for asked in inputs.asked:
        longest = max(asked.prompts, key=lambda prompt: len(prompt.ids))
        length = len(longest.ids)
        what = f"the longest test prompt under {asked.protocol.name}"
        if length > config.prompt.max_tokens:
            raise PromptError(
                f"{what} has {length} tokens; prompt.max_tokens is "
                f"{config.prompt.max_tokens}: {longest.problem.question[:60]!r}…",
                f"set prompt.max_tokens={length}: test problems are never left out",
            )
        written = inputs.max_new_tokens if inputs.generates else 0
        if context is not None and length + written > context:
            raise PromptError(
                f"{what} ({length} tokens) and evaluation.max_new_tokens = "
                f"{inputs.max_new_tokens} exceed the model's context of {context}",
                f"set evaluation.max_new_tokens={max(1, context - length)} or less",
            )
    length = max(len(example.ids) for example in inputs.solved)
    if context is not None and length > context:
        raise PromptError(
            f"the longest test prompt with its gold solution has {length} tokens; the model's "
            f"context has {context}",
            "use fewer shots in evaluation.protocol, or a model with a longer context",
        )
