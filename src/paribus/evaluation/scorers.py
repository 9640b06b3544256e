"""The scorers of a task, and what each says of a text.

    scorers = scorers_of(task, style="auto")
    scorers.names                                     # ("canonical", "strict", "flexible")
    scorers.outcome(generation)                       # Outcome.CORRECT, by the first of them
    scorers.value(generation)                         # 1.0; 0.62 by a metric that is not binary

Answers that are numbers have the three scorers of `scoring`; other tasks have the metrics that
their file lists. Conclusions are drawn from the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from json import dumps, loads
from pathlib import Path

from paribus.config.task import LIKELIHOOD, Task
from paribus.errors import ConfigError, DataError, UserError
from paribus.evaluation.choice_metrics import Choice, Likeliest
from paribus.evaluation.metrics import Metric, Own, metrics_of
from paribus.evaluation.scoring import SCORERS, score
from paribus.evaluation.text_metrics import ExactMatch
from paribus.records import AnswerStyle, Generation, Measure, Outcome, Problem, Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorers:
    """What texts of one task are scored by.

    Attributes:
        style: what counts as a final answer that is a number.
        metrics: of a task whose answers are not numbers; none where they are.
        order: the scorers of numbers, the main one first.
        loss: whether nothing is generated: the loss of gold solutions is all that is measured.
    """

    style: AnswerStyle = "auto"
    metrics: tuple[Metric, ...] = ()
    order: tuple[str, ...] = SCORERS
    loss: bool = False

    @property
    def numbers(self) -> bool:
        """Whether answers are numbers."""
        return not self.metrics and not self.loss

    @property
    def names(self) -> tuple[str, ...]:
        """The scorers' names, the main one first."""
        if self.loss:
            return (LIKELIHOOD,)
        return tuple(metric.name for metric in self.metrics) or self.order

    @property
    def main(self) -> str:
        """The scorer that conclusions are drawn from."""
        return self.names[0]

    def led_by(self, name: str) -> "Scorers":
        """Return these scorers with `name` as the main one: one of them, or a metric by its name.

        Raises ConfigError if there is no such metric, if answers are numbers, or without texts.
        """
        if not name or name == self.main:
            return self
        if name in self.names:
            ordered = (name, *(other for other in self.names if other != name))
            by_name = {metric.name: metric for metric in self.metrics}
            metrics = tuple(by_name[other] for other in ordered) if self.metrics else ()
            return replace(self, metrics=metrics, order=self.order if metrics else ordered)
        if self.loss:
            raise ConfigError(f"{name!r:.60}: nothing was generated for this task", "leave it out")
        if self.numbers:
            raise ConfigError(
                f"{name!r:.60}: there is no such scorer of numbers",
                f"use one of: {', '.join(self.names)}",
            )
        until = self.metrics[0].until
        (metric,) = metrics_of([{"metric": name}], None, until=until, folder=Path())
        return replace(self, metrics=(metric, *self.metrics))

    @property
    def binary(self) -> bool:
        """Whether the main scorer says of a text that it is right or that it is not."""
        return self.measure() is Measure.SOLVED

    def measure(self, scorer: str = "") -> Measure:
        """Return what `scorer`, by default the main one, measures."""
        if self.loss:
            return Measure.LOSS
        if self.numbers or self._metric(scorer).binary:
            return Measure.SOLVED
        return Measure.SCORE

    def outcome(self, generation: Generation, scorer: str = "") -> Outcome:
        """Return what `scorer`, by default the main one, says of `generation`."""
        return self.judge(generation, scorer)[0]

    def value(self, generation: Generation, scorer: str = "") -> float:
        """Return the score of `generation`, from 0 to 1, by `scorer`, by default the main one."""
        return self.judge(generation, scorer)[1]

    def judge(self, generation: Generation, scorer: str = "") -> tuple[Outcome, float]:
        """Return outcome and score. A text without an answer scores 0."""
        if self.numbers:
            outcome = score(generation, scorer or self.main, self.style)
            return outcome, float(outcome is Outcome.CORRECT)
        if generation.stop is Stop.FAILED:
            return Outcome.FAILED, 0.0
        metric = self._metric(scorer)
        value = metric.score(generation)
        if value is None:
            cut = generation.stop is Stop.LENGTH
            return Outcome.TRUNCATED if cut else Outcome.NO_ANSWER, 0.0
        if not metric.binary:
            return Outcome.SCORED, value
        return Outcome.CORRECT if value == 1 else Outcome.WRONG, value

    @property
    def takes_labels(self) -> bool:
        """Whether the main metric compares a text, or the choice it names, with gold as a whole."""
        return bool(self.metrics) and isinstance(self.metrics[0].scorer, _OF_LABELS)

    def label_of(self, generation: Generation, labels: Sequence[str]) -> str | None:
        """Return the one of `labels` for which `generation` would be correct, or None.

        Its own answer, if it is correct, whatever else it names.
        """
        for label in dict.fromkeys((generation.answer, *labels)):
            if self.outcome(replace(generation, answer=label)) is Outcome.CORRECT:
                return label
        return None

    def _metric(self, scorer: str) -> Metric:
        return next(metric for metric in self.metrics if metric.name == (scorer or self.main))


_OF_LABELS = (ExactMatch, Choice, Likeliest)
"""Metrics that compare the text, or the choice it names, with gold as a whole."""

NUMBERS = Scorers()
"""Of answers that are numbers, given in any style."""


def scorers_of(task: Task, style: AnswerStyle = "auto") -> Scorers:
    """Return the scorers of `task`; `style` is the experiment's, unless the task states its own.

    Raises ConfigError on a metric or filter that is not supported, NotHere without its package.
    """
    if task.measures_loss:
        return Scorers(style=style, loss=True)
    if task.scores_numbers:
        return Scorers(style=task.answer or style)
    stated = dumps([task.metrics, task.filter_list, task.until, task.folder])
    return Scorers(style=style, metrics=_metrics(stated))


@lru_cache(maxsize=8)
def _metrics(stated: str) -> tuple[Metric, ...]:
    """Return the metrics that a task states; kept, as one may have a process of its own."""
    metric_list, filter_list, until, folder = loads(stated)
    return metrics_of(metric_list, filter_list, until=tuple(until), folder=Path(folder))


_TRIED = 50
"""Gold solutions that are scored before any compute is spent."""
_CALLED = 10
"""Gold solutions that each function of the user's is called with."""
_ODD = ("", " ", "I do not know.", '{"a": ["', "\ufffd", "\n\n")
"""Texts that models write, and a function may not expect."""


def check_scored(scorers: Scorers, problems: Sequence[Problem]) -> None:
    """Raise DataError if the main scorer gives each of the first gold solutions 0.

    They are scored as if a model had written them: no model could be better. Raises UserError as
    the scorer does.
    """
    tried = problems[:_TRIED]
    if any(scorers.value(_as_written(problem)) > 0 for problem in tried):
        return
    first = tried[0]
    raise DataError(
        f"{first.where}: the metric {scorers.main} gives 0 to the gold solution itself, "
        f"{first.solution[:60]!r}, compared with {first.answer[:60]!r}; so with all of {len(tried)}"
        " that were tried",
        "correct metric_list, filter_list, generation_kwargs.until or doc_to_target in the task",
    )


def check_functions(scorers: Scorers, problems: Sequence[Problem], max_new_tokens: int) -> None:
    """Raise UserError if a function of the user's fails on gold solutions or on odd texts.

    `max_new_tokens` is the most that a model may write; 0 where it writes nothing.
    """
    texts = [_as_written(problem) for problem in problems[:_CALLED]]
    if max_new_tokens:
        odd = (*_ODD, "so it is " * max_new_tokens)
        texts += [replace(texts[0], text=text, stop=Stop.LENGTH) for text in odd]
    for metric in scorers.metrics:
        if isinstance(metric.scorer, Own):
            _try(metric, texts)


def _try(metric: Metric, texts: Sequence[Generation]) -> None:
    try:
        for generation in texts:
            metric.score(generation)
    except UserError as error:
        raise type(error)(f"tried before any run: {error.message}", error.remedy) from error


def _as_written(problem: Problem) -> Generation:
    return Generation.of(problem, text=problem.solution, stop=Stop.STOP_TOKEN)
