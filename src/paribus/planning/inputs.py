"""Everything a run reads, made and checked before any compute is spent.

Whatever is wrong with data, tokenizer or lengths is found here, in seconds, by `plan` and again
by `run`, which trains and tests on exactly what was checked.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Any

from paribus.config.schema import ArmConfig
from paribus.data.problems import ProblemSet, load
from paribus.errors import PromptError, UserError
from paribus.models.source import Source, context_length, find, load_tokenizer
from paribus.prompts.encode import Encoded, Prompt, encode_example, encode_prompt
from paribus.prompts.formats import render_prompt, render_solution, stop_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What one arm trains and is tested on, as tokens.

    Attributes:
        problems: the problems behind it.
        source: the model's folder.
        tokenizer: the model's tokenizer.
        examples: training examples; empty for a baseline.
        dropped: training examples left out because they exceed `prompt.max_tokens`.
        prompts: test prompts, in the order of `problems.test`.
        stop: the token that ends a solution.
    """

    problems: ProblemSet
    source: Source
    tokenizer: Any
    examples: tuple[Encoded, ...]
    dropped: int
    prompts: tuple[Prompt, ...]
    stop: int

    def identity(self) -> dict[str, str]:
        """Return the hashes of weights and problems: the part of a run no config can state."""
        return {"model": self.source.identity, **self.problems.hashes()}

    def tokens(self) -> dict[str, Any]:
        """Return the token counts that `plan` prints."""
        targets = [example.target_length for example in self.examples]
        return {
            "train_examples": len(self.examples),
            "train_dropped_too_long": self.dropped,
            "train_tokens": sum(len(example.ids) for example in self.examples),
            "target_tokens": sum(targets),
            "longest_example": max((len(e.ids) for e in self.examples), default=0),
            "median_target": median(targets) if targets else 0,
            "test_prompts": len(self.prompts),
            "longest_prompt": max(len(prompt.ids) for prompt in self.prompts),
            "train_duplicates": self.problems.train_duplicates,
            "train_test_overlap": self.problems.overlap,
        }


def prepare(config: ArmConfig, seed: int) -> Inputs:
    """Return the inputs of every run of an arm. `seed` is the experiment's.

    Raises UserError: DataError, ModelError, PromptError, or a missing package.
    """
    _check_packages(config)
    problems = load(config.data, seed)
    source, tokenizer = _model(config.model, config.revision)
    stop = stop_token(format=config.prompt.format, tokenizer=tokenizer)
    encoded = [] if config.method == "none" else _examples(problems, config, stop, tokenizer)
    kept = tuple(e for e in encoded if len(e.ids) <= config.prompt.max_tokens)
    dropped = len(encoded) - len(kept)
    if dropped and (config.prompt.too_long == "error" or not kept):
        longest = max(len(example.ids) for example in encoded)
        raise PromptError(
            f"{dropped} of {len(encoded)} training examples are longer than prompt.max_tokens = "
            f"{config.prompt.max_tokens} tokens; the longest has {longest}",
            f"set prompt.max_tokens={longest}, or prompt.too_long=drop to leave them out",
        )
    prompts = _prompts(problems, config, tokenizer)
    _check_lengths(prompts, config, context_length(source))
    return Inputs(
        problems=problems,
        source=source,
        tokenizer=tokenizer,
        examples=kept,
        dropped=dropped,
        prompts=prompts,
        stop=stop,
    )


@lru_cache(maxsize=4)
def _model(model: str, revision: str | None) -> tuple[Source, Any]:
    """Return a model's folder and tokenizer: seconds to find and load, the same for many arms."""
    source = find(model, revision)
    return source, load_tokenizer(source)


def _examples(problems: ProblemSet, config: ArmConfig, stop: int, tokenizer: Any) -> list[Encoded]:
    """Return the training examples: always without shots, as a tuned model is asked."""
    style = config.prompt.format
    return [
        encode_example(
            render_prompt(problem.question, format=style, shots=(), tokenizer=tokenizer),
            render_solution(problem.solution, format=style),
            stop,
            tokenizer,
        )
        for problem in problems.train
    ]


def _prompts(problems: ProblemSet, config: ArmConfig, tokenizer: Any) -> tuple[Prompt, ...]:
    shots = (problems.shot,) if config.evaluation.protocol == "one_shot" else ()
    texts = [
        render_prompt(
            problem.question, format=config.prompt.format, shots=shots, tokenizer=tokenizer
        )
        for problem in problems.test
    ]
    return tuple(
        Prompt(problem=problem, text=text, ids=encode_prompt(text, tokenizer))
        for problem, text in zip(problems.test, texts, strict=True)
    )


def _check_packages(config: ArmConfig) -> None:
    """Raise UserError if an optional package that the arm needs is not installed."""
    needed: list[tuple[str, str]] = [(tracker, tracker) for tracker in config.training.trackers]
    if config.method != "none" and config.training.optimizer == "adamw_8bit":
        needed.append(("bitsandbytes", "8bit"))
    for package, extra in needed:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"this experiment needs the package {package}, which is not installed",
                f"pip install 'paribus[{extra}]'",
            )


def _check_lengths(prompts: Sequence[Prompt], config: ArmConfig, context: int | None) -> None:
    longest = max(prompts, key=lambda prompt: len(prompt.ids))
    length = len(longest.ids)
    if length > config.prompt.max_tokens:
        raise PromptError(
            f"the longest test prompt has {length} tokens; prompt.max_tokens is "
            f"{config.prompt.max_tokens}: {longest.problem.question[:60]!r}…",
            f"set prompt.max_tokens={length}: test problems are never left out",
        )
    if context is not None and length + config.evaluation.max_new_tokens > context:
        raise PromptError(
            f"the longest test prompt ({length} tokens) and evaluation.max_new_tokens = "
            f"{config.evaluation.max_new_tokens} exceed the model's context of {context} tokens",
            f"set evaluation.max_new_tokens={max(1, context - length)} or less",
        )
