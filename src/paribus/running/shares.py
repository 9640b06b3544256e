"""A test whose problems are shared out over the ranks: each answers its own, rank 0 has them all.

    generations = shared(Decode(stop_ids=…, …), prompts, model, tokenizer, on_batch)

Every rank holds the whole model as it is tested and takes each n-th problem, so that shares are of
like lengths. Results come in the problems' order: in fp32 those of one process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from paribus.evaluation.engine.generate import generate
from paribus.evaluation.engine.likelihood import choose, likelihoods
from paribus.models import ranks
from paribus.prompts.encode import Encoded, Prompt
from paribus.records import Generation, Likelihood
from paribus.running.ranks import Held, together

OnBatch = Callable[[int], None]


class Test(Protocol):
    """What is asked of a model about each of some problems; picklable."""

    def __call__(
        self, model: nn.Module, tokenizer: Any, problems: Sequence[Any], on_batch: OnBatch
    ) -> list[Any]:
        """Return one result per problem, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """Write a text after each prompt; see `generate`."""

    stop_ids: frozenset[int]
    max_new_tokens: int
    batch_size: int
    calculator: bool
    until: tuple[str, ...] | None

    def __call__(
        self, model: nn.Module, tokenizer: Any, problems: Sequence[Prompt], on_batch: OnBatch
    ) -> list[Generation]:
        """Return the texts."""
        return generate(
            model,
            tokenizer,
            problems,
            stop_ids=self.stop_ids,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
            on_batch=on_batch,
            calculator=self.calculator,
            until=self.until,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose:
    """Choose the likeliest of each problem's choices; problems are (prompt, choices)."""

    batch_size: int

    def __call__(
        self,
        model: nn.Module,
        tokenizer: Any,
        problems: Sequence[tuple[Prompt, Sequence[Encoded]]],
        on_batch: OnBatch,
    ) -> list[Generation]:
        """Return the choices."""
        prompts, choices = zip(*problems, strict=True)
        return choose(model, prompts, choices, batch_size=self.batch_size, on_batch=on_batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Measure the likelihood of each gold solution; problems are (example, id)."""

    batch_size: int

    def __call__(
        self,
        model: nn.Module,
        tokenizer: Any,
        problems: Sequence[tuple[Encoded, str]],
        on_batch: OnBatch,
    ) -> list[Likelihood]:
        """Return the likelihoods."""
        examples, ids = zip(*problems, strict=True)
        return likelihoods(model, examples, ids, batch_size=self.batch_size, on_batch=on_batch)


def shared(
    test: Test, problems: Sequence[Any], model: nn.Module, tokenizer: Any, on_batch: OnBatch
) -> list[Any]:
    """Return what `test` finds of every problem; `on_batch` hears how many are done, about."""
    size = ranks.count()
    with together(Answer(test, problems)):
        found = _share(
            test, problems, model, tokenizer, lambda done: on_batch(min(size * done, len(problems)))
        )
    ordered: list[Any] = [None] * len(problems)
    for rank, of_rank in enumerate(found):
        ordered[rank::size] = of_rank
    return ordered


@dataclass(frozen=True, slots=True)
class Answer:
    """The order to answer a share of the problems."""

    test: Test
    problems: Sequence[Any]

    def __call__(self, held: Held) -> None:
        """Answer this rank's."""
        assert held.model is not None
        _share(self.test, self.problems, held.model, held.tokenizer, lambda _: None)


def _share(
    test: Test, problems: Sequence[Any], model: nn.Module, tokenizer: Any, on_batch: OnBatch
) -> list[list[Any]]:
    """Answer this rank's share; return those of all. Collective."""
    own = problems[ranks.rank() :: ranks.count()]
    return ranks.gathered(test(model, tokenizer, own, on_batch) if own else [])
