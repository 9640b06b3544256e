r"""What a text scores against gold, for any task: a number from 0 to 1, or None without an answer.

    (metric,) = metrics_of([{"metric": "exact_match", "ignore_case": True}], None, folder=Path())
    metric.score(generation)                          # 1.0 for "Refund" where gold is "refund"

A metric is one item of a task's `metric_list`, behind one entry of its `filter_list`:

| metric            | an answer is                                | options                      |
|-------------------|---------------------------------------------|------------------------------|
| `number`          | the last complete final answer (`final`)    | `style`                      |
| `exact_match`     | the text                                    | as lm-eval's                 |
| `choice`          | the one choice that is named (`Choice`)     |                              |
| `acc`             | the likeliest choice                        |                              |
| `acc_norm`        | the likeliest per character                 |                              |
| `acc_bytes`       | the likeliest per byte                      |                              |
| `regex`           | a match of `pattern`                        | `group`, `group_select`      |
| `math`            | the expression that math-verify finds       | `seconds`                    |
| `boxed`           | the last `\boxed{…}`, by math-verify        | `seconds`                    |
| `f1`              | the text's words, as in SQuAD               |                              |
| `rougeL`          | the text's words, by rouge-score            | `use_stemmer`                |
| `json_match`      | the first JSON value                        | `all`                        |
| `python: F.py:fn` | what `fn(text, document)` makes of the text | `seconds`, `binary`          |

Filters, `exact_match` and the three of likelihood are lm-evaluation-harness 0.4.13's, bugs
included. Its other metrics score a whole corpus (`bleu`, `chrf`, `ter`, `mcc`), not a text. `f1`
is that of its tasks of questions and answers: its own `f1` is one of classes, over all texts.

A text counts up to the task's `until`. Several gold answers are as good as one. Without a
`filter_list` blanks at the ends of a text and of gold are dropped: lm-eval keeps them, and scores
`" refund"` as wrong wherever the tokenizer puts the blank before the word into the text.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from paribus import numerals
from paribus.config.by_lm_eval import METRIC as LM_EVAL
from paribus.errors import ConfigError, DataError, NotHere
from paribus.evaluation import choice_metrics, text_metrics
from paribus.evaluation.filters import Filter, filtered, part_of, pipelines_of
from paribus.evaluation.final import final
from paribus.evaluation.own_metric import OwnFunction, TookTooLongError
from paribus.evaluation.scoring import numbers_equal
from paribus.evaluation.text_metrics import Scorer, golds_of
from paribus.records import AnswerStyle, Generation, Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One way to score texts.

    Attributes:
        name: unique in the task: `exact_match`, or `strict-match/exact_match` where the task has
            several entries in its filter_list.
        scorer: what reads the text.
        filters: what it goes through first; None drops blanks at its ends, and at gold's.
        until: texts that end an answer.
    """

    name: str
    scorer: Scorer
    filters: tuple[Filter, ...] | None = None
    until: tuple[str, ...] = ()

    @property
    def binary(self) -> bool:
        """Whether it only ever says 0 or 1."""
        return self.scorer.is_binary()

    def score(self, generation: Generation) -> float | None:
        """Return a number in [0, 1], or None if the text holds no answer.

        Raises UserError where gold cannot be read or a function of the user's fails.
        """
        text = generation.text
        for end in self.until:
            text = text.partition(end)[0]
        if self.filters is None:
            return self.scorer.score(text.strip(), _without_blanks(generation))
        answer = filtered(text, self.filters, generation.choices)
        return None if answer is None else self.scorer.score(answer, generation)


def _without_blanks(generation: Generation) -> Generation:
    """Return `generation` with no blanks at the ends of its gold answers and choices."""
    if generation.choice_nlls:  # nothing was written, and acc_norm counts a choice's characters
        return generation
    return replace(
        generation,
        answer=generation.answer.strip(),
        answers=tuple(answer.strip() for answer in generation.answers),
        choices=tuple(choice.strip() for choice in generation.choices),
    )


class Number(Scorer):
    """The canonical scorer of numbers; `style` is what counts as a final answer."""

    style: AnswerStyle = "auto"

    def score(self, text: str, generation: Generation) -> float | None:  # noqa: D102
        golds = golds_of(generation)
        for gold in golds:
            if numerals.parse(gold) is None:
                raise DataError(
                    f"metric number: gold is no number: {gold[:60]!r}",
                    "correct the row's answer, or use another metric: exact_match",
                )
        cut = generation.stop is Stop.LENGTH
        answer = final(text, generation.question, self.style, cut=cut)
        if answer is None:
            return None
        return float(any(numbers_equal(answer.value, gold) for gold in golds))


class Math(Scorer):
    """Equal as mathematics, by math-verify; what cannot be settled in time is not equal."""

    boxed: ClassVar[bool] = False
    seconds: float = Field(default=20.0, gt=0)

    def model_post_init(self, context: Any) -> None:
        """Raise NotHere if the package is not installed."""
        if not find_spec("math_verify"):
            raise NotHere(
                "the metrics math and boxed need the package math-verify, which is not installed",
                "install it (pip install 'paribus[math]'), or use number or exact_match",
            )

    def score(self, text: str, generation: Generation) -> float | None:  # noqa: D102
        document = {"answers": golds_of(generation), "boxed": self.boxed}
        try:
            return _math_verify(self.seconds)(text, document)
        except TookTooLongError:
            return 0.0


class Boxed(Math):
    r"""The last `\boxed{…}` is equal as mathematics."""

    boxed: ClassVar[bool] = True


@lru_cache(maxsize=4)
def _math_verify(seconds: float) -> OwnFunction:
    """Return what asks math-verify: in a process of its own, as some expressions never end."""
    file = Path(__file__).with_name("math_verified.py")
    return OwnFunction(file=file, function="score", seconds=seconds, abstains=True)


class Own(Scorer):
    """A function in a file of the user's; `binary` says that it only ever says 0 or 1."""

    seconds: float = Field(default=10.0, gt=0)
    binary: bool = False
    _function: OwnFunction = PrivateAttr()

    @classmethod
    def named(cls, name: str, folder: Path, options: Mapping[str, Any]) -> "Own":
        """Return the metric `python: FILE:FUNCTION`; the file is looked for from `folder`."""
        path, _, function = name.partition(":")[2].strip().rpartition(":")
        file = (folder / path).resolve()
        if not path or not function.isidentifier() or not file.is_file():
            raise ConfigError(
                f"metric {name!r:.80} does not name a function in a file: there is no {file}",
                "write python: ./FILE.py:FUNCTION; the file is looked for beside the task file",
            )
        own = part_of(f"metric {name}", cls, options)
        own._function = OwnFunction(
            file=file, function=function, seconds=own.seconds, binary=own.binary
        )
        return own

    def is_binary(self) -> bool:  # noqa: D102
        return self.binary

    def score(self, text: str, generation: Generation) -> float | None:  # noqa: D102
        document = generation.document or {
            "question": generation.question,
            "answer": generation.answer,
            "solution": generation.solution,
        }
        return self._function(text, document)


class Given(Scorer):
    """What lm-eval's own code gave a document by one of its metrics, stored with the text."""

    binary: bool
    _key: str = PrivateAttr()

    @classmethod
    def named(cls, name: str, options: Mapping[str, Any]) -> "Given":
        """Return the metric `lm_eval:KEY`."""
        given = part_of(f"metric {name}", cls, options)
        given._key = name.removeprefix(LM_EVAL)
        return given

    def is_binary(self) -> bool:  # noqa: D102
        return self.binary

    def score(self, text: str, generation: Generation) -> float | None:  # noqa: D102
        value = (generation.document or {}).get("values", {}).get(self._key)
        if not isinstance(value, bool | int | float) or not 0 <= value <= 1:
            raise DataError(
                f"lm-eval's metric {self._key} gave {value!r:.60}, which is no number from 0 to 1: "
                f"{generation.question[:60]!r}",
                "leave the task out of evaluation.tasks",
            )
        return float(value)


METRICS: dict[str, type[Scorer]] = {
    "number": Number,
    "exact_match": text_metrics.ExactMatch,
    "choice": choice_metrics.Choice,
    "acc": choice_metrics.Likeliest,
    "acc_norm": choice_metrics.LikeliestPerCharacter,
    "acc_bytes": choice_metrics.LikeliestPerByte,
    "regex": text_metrics.RegexMatch,
    "math": Math,
    "boxed": Boxed,
    "f1": text_metrics.F1,
    "rougeL": text_metrics.RougeL,
    "json_match": text_metrics.JsonMatch,
}
"""Metrics by their names in a task file, without the user's own."""

NO_OPTIONS = {
    "aggregation": "mean",
    "higher_is_better": True,
    "hf_evaluate": False,
    "weight_by_size": True,
}
"""Keys of lm-eval's that change no score of a text, with the one value that is supported."""


def metrics_of(
    metric_list: Sequence[Mapping[str, Any]],
    filter_list: Sequence[Mapping[str, Any]] | None,
    *,
    until: Sequence[str] = (),
    folder: Path,
) -> tuple[Metric, ...]:
    """Return the metrics of a task, behind each of its filters; the first is the main one.

    Raises ConfigError on a metric, a filter or an option that is not supported, NotHere if a
    package that a metric needs is not installed.

    Args:
        metric_list: as a task file states it.
        filter_list: as a task file states it; None or empty for none.
        until: the task's texts that end an answer.
        folder: of the task file, where a Python function is looked for.
    """
    if not metric_list:
        raise ConfigError("metric_list is empty", f"list one or more of: {_known()}")
    pipelines = pipelines_of(filter_list or ()) or (("", None),)
    metrics = tuple(
        Metric(
            name=f"{label}/{name}" if len(pipelines) > 1 else name,
            scorer=scorer,
            filters=filters,
            until=tuple(end for end in until if end),
        )
        for label, filters in pipelines
        for name, scorer in (_scorer(item, folder) for item in metric_list)
    )
    for name, count in Counter(metric.name for metric in metrics).items():
        if count > 1:
            raise ConfigError(f"the metric {name} is stated {count} times", "state it once")
    return metrics


def _scorer(item: Mapping[str, Any], folder: Path) -> tuple[str, Scorer]:
    """Return the name of one item of a metric_list, and what scores by it."""
    if not isinstance(item, Mapping) or not isinstance(item.get("metric"), str):
        raise ConfigError(
            f"metric_list: {item!r:.80} is not an item", "write each as {metric: NAME, …}"
        )
    name, options = item["metric"], {key: item[key] for key in item if key != "metric"}
    for key, supported in NO_OPTIONS.items():
        if options.pop(key, supported) != supported:
            raise ConfigError(
                f"metric {name}: {key}={item[key]!r:.40} is not supported",
                f"leave it out: paribus averages the scores of single texts ({key}: {supported})",
            )
    if name.startswith("python:"):
        stated = name.partition(":")[2].strip().removeprefix("./")
        return f"python:{stated}", Own.named(name, folder, options)
    if name.startswith(LM_EVAL):
        return name.removeprefix(LM_EVAL), Given.named(name, options)
    if name not in METRICS:
        raise ConfigError(f"metric {name!r:.60} is not supported", f"use one of: {_known()}")
    return name, part_of(f"metric {name}", METRICS[name], options)


def _known() -> str:
    return ", ".join((*METRICS, "python: FILE.py:FUNCTION"))
