r"""What a text scores against gold, for any task: a number from 0 to 1, or None without an answer.

    (metric,) = metrics_of([{"metric": "exact_match", "ignore_case": True}], None)
    metric.score(generation)                          # 1.0 for "Refund" where gold is "refund"

A metric is one item of a task's `metric_list`, behind one entry of its `filter_list`, each by
lm-evaluation-harness's name:

| metric            | an answer is                                | options                      |
|-------------------|---------------------------------------------|------------------------------|
| `number`          | the last complete final answer (`final`)    |                              |
| `exact_match`     | the text                                    | below                        |
| `choice`          | one choice that is named, by letter or text |                              |
| `acc`, `acc_norm` | the likeliest choice; per character         |                              |
| `regex`           | what `pattern` finds                        | `pattern`, `group`, `select` |
| `math`, `boxed`   | the last expression, by math-verify         |                              |
| `f1`              | the text's words, as in SQuAD               |                              |
| `rougeL`          | the text                                    |                              |
| `json_match`      | the first JSON value                        | `all`                        |
| `python: F.py:fn` | what `fn(text, document)` makes of the text | `seconds`                    |

`exact_match` has `ignore_case`, `ignore_punctuation`, `ignore_numbers` and `regexes_to_ignore`.
Filters (`regex`, `take_first`, `lowercase`, `uppercase`, `remove_whitespace`, `map`) and
`exact_match` are those of lm-evaluation-harness 0.4.13, bugs included. Without a `filter_list`
blanks around a text are not compared, which a target delimiter would otherwise decide. A text
counts up to the task's `until`, and several gold answers are as good as one.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from paribus.errors import ConfigError, NotHere
from paribus.evaluation.own_metric import OwnMetric
from paribus.records import Generation

Judge = Callable[[str, str, Generation], float | None]
"""From a text, one gold answer, and where both come from, to a score."""

INVALID = "[invalid]"
"""What lm-eval's regex filter gives for a text without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One way to score texts.

    Attributes:
        name: unique in the task.
        binary: whether it says 0 or 1 and nothing between.
        judge: what scores a text; filters: what it goes through first.
        until: texts that end an answer.
        strip: whether blanks around a text are taken off.
    """

    name: str
    binary: bool
    judge: Judge
    filters: tuple[Callable[[str], str], ...] = ()
    until: tuple[str, ...] = ()
    strip: bool = True

    def score(self, generation: Generation) -> float | None:
        """Return what the text scores, the best over all gold answers; None without an answer."""
        text = generation.text
        for end in self.until:
            text = text.partition(end)[0]
        if self.strip:
            text = text.strip()
        for apply in self.filters:
            text = apply(text)
        if text == INVALID or not text:
            return None
        golds = (generation.answer, *generation.answers)
        scores = [self.judge(text, gold, generation) for gold in golds]
        return max((score for score in scores if score is not None), default=None)


def metrics_of(
    metric_list: Sequence[Mapping[str, Any]],
    filter_list: Sequence[Mapping[str, Any]] | None,
    *,
    until: tuple[str, ...] = (),
    folder: Path = Path(),
) -> tuple[Metric, ...]:
    """Return the metrics of a task, behind each of its filters; the first is the main one.

    Raises ConfigError on a metric, a filter or an option that is not supported, NotHere if a
    package that a metric needs is not installed.
    """
    pipelines = [_pipeline(entry) for entry in filter_list or ()] or [("", ())]
    metrics = []
    for label, filters in pipelines:
        for item in metric_list:
            name, binary, judge = _judge(item, folder)
            metrics.append(
                Metric(
                    name=f"{label}/{name}" if label and len(pipelines) > 1 else name,
                    binary=binary,
                    judge=judge,
                    filters=filters,
                    until=until,
                    strip=not filter_list,
                )
            )
    twice = [name for name, count in Counter(m.name for m in metrics).items() if count > 1]
    if twice:
        raise ConfigError(f"metric_list has {twice[0]!r} twice", "state each metric once")
    return tuple(metrics)


_IGNORED = ("aggregation", "higher_is_better", "hf_evaluate")
"""Options of lm-eval's that change no score of a single text."""


def _judge(item: Mapping[str, Any], folder: Path) -> tuple[str, bool, Judge]:
    """Return the name of a metric, whether it is binary, and what scores by it."""
    name = item.get("metric")
    options = {key: value for key, value in item.items() if key not in (*_IGNORED, "metric")}
    if item.get("aggregation", "mean") != "mean":
        raise ConfigError(
            f"metric {name}: aggregation={item['aggregation']!r} is not supported", "use mean"
        )
    if isinstance(name, str) and name.startswith("python:"):
        own = OwnMetric.named(name.removeprefix("python:").strip(), folder, **_own(options, name))
        return name, False, own.judge
    if name not in _METRICS:
        known = ", ".join((*_METRICS, "python: FILE:FUNCTION"))
        raise ConfigError(f"metric {name!r:.60} is not supported", f"use one of: {known}")
    binary, make, allowed = _METRICS[name]
    unknown = sorted(options.keys() - set(allowed))
    if unknown:
        raise ConfigError(
            f"metric {name}: the option {unknown[0]!r:.60} is not supported",
            f"use its options alone: {', '.join(allowed) or 'it has none'}",
        )
    return name, binary and not options.get("partial"), make(**options)


def _own(options: Mapping[str, Any], name: str) -> dict[str, float]:
    seconds = options.get("seconds", 10)
    if (
        set(options) - {"seconds"}
        or isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
    ):
        raise ConfigError(f"metric {name}: its one option is seconds, a number", "correct it")
    return {"seconds": float(seconds)}


def _exact_match(
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_numbers: bool = False,
    regexes_to_ignore: Sequence[str] = (),
) -> Judge:
    patterns = [_compiled(pattern) for pattern in regexes_to_ignore]
    dropped = string.punctuation * ignore_punctuation + string.digits * ignore_numbers
    table = str.maketrans("", "", dropped)

    def clean(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub("", text)
        return (text.lower() if ignore_case else text).translate(table)

    return lambda text, gold, _: float(clean(text) == clean(gold))


_NAMED = r"(?:^|answer(?:\s+is)?|choice|option|label)\W{0,3}\(?([A-Z])\)?(?=[\s.:,)]|$)"


def _choice() -> Judge:
    by_letter = re.compile(_NAMED, re.IGNORECASE)

    def judge(text: str, gold: str, generation: Generation) -> float | None:
        named = _choices_named(text, generation.choices or (gold,), by_letter)
        return float(named == {gold}) if len(named) == 1 else None

    return judge


def _choices_named(text: str, choices: Sequence[str], by_letter: re.Pattern[str]) -> set[str]:
    """Return the choices that `text` names: all of it, by a letter, or by their own text."""
    whole = {
        choice for choice in choices if choice.strip().lower() == text.strip(" .\"'\n").lower()
    }
    if whole:
        return whole
    letters = string.ascii_uppercase[: len(choices)]
    named = [letter.upper() for letter in by_letter.findall(text) if letter.upper() in letters]
    if named:
        return {choices[letters.index(letter)] for letter in named}
    return {
        choice
        for choice in choices
        if re.search(rf"(?<!\w){re.escape(choice.strip())}(?!\w)", text, re.IGNORECASE)
    }


def _likeliest(*, per_character: bool) -> Judge:
    def judge(_text: str, gold: str, generation: Generation) -> float | None:
        nlls = generation.choice_nlls
        if not nlls:
            return None
        weighed = [
            nll / len(choice) if per_character else nll
            for nll, choice in zip(nlls, generation.choices, strict=True)
        ]
        return float(generation.choices[weighed.index(min(weighed))] == gold)

    return judge


def _regex(pattern: str = "", group: int = 1, select: int = -1) -> Judge:
    compiled = _compiled(pattern)
    if not pattern or not 0 <= group <= compiled.groups:
        raise ConfigError(
            f"metric regex: pattern={pattern!r:.60} has no group {group}",
            "give a pattern with a group, such as 'Answer: (.*)'",
        )

    def judge(text: str, gold: str, _: Generation) -> float | None:
        matches = list(compiled.finditer(text))
        if not -len(matches) <= select < len(matches):
            return None
        return float((matches[select].group(group) or "").strip() == gold.strip())

    return judge


def _compiled(pattern: Any) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ConfigError(f"{pattern!r:.60} is not a pattern: {error}", "correct it") from error


def _math() -> Judge:
    try:
        from math_verify import parse, verify
    except ImportError as error:
        raise NotHere(
            "the metric math needs the package math-verify",
            "install it: pip install 'paribus[math]'",
        ) from error

    def judge(text: str, gold: str, _: Generation) -> float | None:
        answer = parse(text, parsing_timeout=None)
        wanted = parse(f"${gold}$", parsing_timeout=None) or parse(gold, parsing_timeout=None)
        return float(verify(wanted, answer, timeout_seconds=None)) if answer else None

    return judge


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _f1() -> Judge:
    def judge(text: str, gold: str, _: Generation) -> float:
        words, wanted = Counter(_words(text)), Counter(_words(gold))
        shared = (words & wanted).total()
        if not words or not wanted:
            return float(words == wanted)
        return 2 * shared / (words.total() + wanted.total())

    return judge


def _rouge() -> Judge:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise NotHere(
            "the metric rougeL needs the package rouge-score",
            "install it: pip install 'paribus[rouge]'",
        ) from error
    scorer = RougeScorer(["rougeL"])
    return lambda text, gold, _: float(scorer.score(gold, text)["rougeL"].fmeasure)


def _json(all: bool = False) -> Judge:  # noqa: A002  # the option's name in a task file
    def judge(text: str, gold: str, _: Generation) -> float | None:
        answer, wanted = _first_json(text), _first_json(gold)
        if wanted is None:
            raise ConfigError(f"metric json_match: gold is not JSON: {gold[:60]!r}", "fix the row")
        if answer is None:
            return None
        leaves, golds = dict(_leaves(answer[0])), dict(_leaves(wanted[0]))
        places = leaves.keys() | golds.keys()
        right = sum(
            place in leaves and place in golds and leaves[place] == golds[place] for place in places
        )
        return float(right == len(places)) if all else right / max(1, len(places))

    return judge


def _first_json(text: str) -> tuple[Any] | None:
    """Return the first object or list in `text`, else the whole as a value; None if none is."""
    decoder = json.JSONDecoder()
    for start in [match.start() for match in re.finditer(r"[\[{]", text)] or [0]:
        try:
            return (decoder.raw_decode(text[start:].lstrip())[0],)
        except (ValueError, RecursionError):
            continue
    return None


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}")
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{number}]")
    else:
        yield place, (type(value).__name__ if isinstance(value, bool) else "", value)


_METRICS: dict[str, tuple[bool, Callable[..., Judge], tuple[str, ...]]] = {
    "exact_match": (
        True,
        _exact_match,
        ("ignore_case", "ignore_punctuation", "ignore_numbers", "regexes_to_ignore"),
    ),
    "choice": (True, _choice, ()),
    "acc": (True, partial(_likeliest, per_character=False), ()),
    "acc_norm": (True, partial(_likeliest, per_character=True), ()),
    "regex": (True, _regex, ("pattern", "group", "select")),
    "math": (True, _math, ()),
    "boxed": (True, _math, ()),
    "f1": (False, _f1, ()),
    "rougeL": (False, _rouge, ()),
    "json_match": (False, _json, ("all",)),
}
"""Name → whether it is binary, what makes it from its options, and these."""


def _pipeline(entry: Mapping[str, Any]) -> tuple[str, tuple[Callable[[str], str], ...]]:
    """Return the name of a filter pipeline and its steps."""
    if set(entry) - {"name", "filter"} or not isinstance(entry.get("filter"), list):
        raise ConfigError(
            f"filter_list: an entry is {{name, filter: [...]}}, not {entry!r:.80}", "correct it"
        )
    steps = [_filter(step) for step in entry["filter"]]
    return str(entry.get("name", "")), tuple(step for step in steps if step is not None)


def _filter(step: Mapping[str, Any]) -> Callable[[str], str] | None:
    """Return one step; None for `take_first`, as there is one text for each problem."""
    name = step.get("function")
    options = {key: value for key, value in step.items() if key != "function"}
    if name not in _FILTERS:
        raise ConfigError(
            f"filter {name!r:.60} is not supported", f"use one of: {', '.join(_FILTERS)}"
        )
    make, allowed = _FILTERS[name]
    unknown = sorted(options.keys() - set(allowed))
    if unknown:
        raise ConfigError(
            f"filter {name}: the option {unknown[0]!r:.60} is not supported",
            f"use its options alone: {', '.join(allowed) or 'it has none'}",
        )
    return make(**options)


def _regex_filter(
    regex_pattern: str = r"#### (\-?[0-9\.\,]+)", group_select: int = 0, fallback: str = INVALID
) -> Callable[[str], str]:
    pattern = _compiled(regex_pattern)

    def apply(text: str) -> str:
        matches = pattern.findall(text)
        if not -len(matches) <= group_select < len(matches):
            return fallback
        match = matches[group_select]
        if isinstance(match, tuple):
            match = next(filter(None, match), None)
        return fallback if match is None else str(match).strip()

    return apply


def _map_filter(
    mapping_dict: Mapping[str, str] | None = None, default_value: str | None = None
) -> Callable[[str], str]:
    values = dict(mapping_dict or {})
    return lambda text: str(values.get(text, INVALID if default_value is None else default_value))


_FILTERS: dict[str, tuple[Callable[..., Callable[[str], str] | None], tuple[str, ...]]] = {
    "regex": (_regex_filter, ("regex_pattern", "group_select", "fallback")),
    "take_first": (lambda: None, ()),
    "lowercase": (lambda: str.lower, ()),
    "uppercase": (lambda: str.upper, ()),
    "remove_whitespace": (lambda: str.lstrip, ()),
    "map": (_map_filter, ("mapping_dict", "default_value")),
}
