"""Measured figures with their units, and plain words for names of the store and the scorers.

    duration(61.2)                                  # "1 min 1 s"
    accuracy_cell(0.31, interval)                   # "31 % [22.8 to 40.6]"
    signal_words(Signal.COPY_SLIP)                  # "answer not computed anywhere"
    protocol_words("one_shot/raw+calculator")       # "one-shot, raw, calculator"

What is not known is "–", never 0.
"""

from collections.abc import Mapping

from paribus.analysis import wording
from paribus.analysis.elsewhere.by_column import Stated
from paribus.analysis.measures import terms
from paribus.analysis.wording import percent, percent_range, points_range, signed
from paribus.evaluation.mistakes import Signal
from paribus.evaluation.scorers import Scorers
from paribus.evaluation.scoring import VERSION
from paribus.prompts.formats import Protocol
from paribus.records import Measure, Outcome, Stop
from paribus.statistics.intervals import Interval
from paribus.store.results import LIKELIHOOD

UNKNOWN = "–"
GB = 10**9
"""Bytes."""


def duration(seconds: float | None) -> str:
    """61.2 is "1 min 1 s", 7384 is "2 h 3 min"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def count(value: float | None) -> str:
    """1319 is "1,319"."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def rounded(value: float | None) -> str:
    """Three significant digits; whole numbers from 100 on."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def millions(value: float | None) -> str:
    """3796992 is "3.8 M"."""
    return UNKNOWN if value is None else f"{rounded(value / 1e6)} M"


def gb(value: float | None) -> str:
    """Bytes as GB, without the unit: the heading has it."""
    return UNKNOWN if value is None else rounded(value / GB)


def rate(value: float | None) -> str:
    """A learning rate as people write it: 0.00002 is "2e-5", 0.001 is "1e-3"."""
    if value is None:
        return UNKNOWN
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def nats(value: float | None) -> str:
    """Three decimals up to 10, one above: 0.612, 64.1."""
    if value is None:
        return UNKNOWN
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def signed_nats(value: float) -> str:
    """A difference of nats, with its sign: +2.060, −40.0."""
    return ("+" if value > 0 else "") + nats(value).replace("-", "−")


def accuracy_cell(accuracy: float | None, interval: Interval | None) -> str:
    """A share with its interval, "31 % [22.8 to 40.6]"; where it has none, "31 %"."""
    share = percent(accuracy)
    return share if interval is None else f"{share} [{percent_range(interval)}]"


def mean_cell(value: float | None, interval: Interval | None, measure: Measure) -> str:
    """A mean of what is measured, with its interval: an accuracy, or a score, "31.2 [27 to 35.4]".

    Scores are in points and losses in nats per token: the heading says so.
    """
    if measure is Measure.SOLVED or value is None:
        return accuracy_cell(value, interval)
    score = wording.mean(value, measure).partition(" ")[0]
    return score if interval is None else f"{score} [{wording.mean_range(interval, measure)}]"


def mean_heading(measure: Measure) -> str:
    """What stands above such cells."""
    words = terms(measure)
    what = words.mean if measure is Measure.SOLVED else words.axis
    return f"{what} [95 % interval]"


def points_cell(
    difference: float | None, interval: Interval | None, measure: Measure = Measure.SOLVED
) -> str:
    """A difference of shares with its interval, "−5 [−16.1 to +6.2]"; where it has none, "−5"."""
    if difference is None:
        return UNKNOWN
    size = signed(difference, measure)
    return size if interval is None else f"{size} [{points_range(interval, measure)}]"


OUTCOMES = {
    Outcome.CORRECT: "correct",
    Outcome.WRONG: "wrong answer",
    Outcome.NO_ANSWER: "no final answer",
    Outcome.TRUNCATED: "cut before a final answer",
    Outcome.FAILED: "nothing usable written",
    Outcome.SCORED: "scored",
}
"""Outcome in plain words. The script takes the first for solved."""

STOPS = {
    Stop.ANSWER: "stopped after its answer",
    Stop.STOP_TOKEN: "ended by itself",
    Stop.NEXT_QUESTION: "continued with its own question",
    Stop.LENGTH: "reached the token limit",
    Stop.FAILED: "generation failed",
    Stop.UNTIL: "wrote a text that ends an answer",
}
"""Why a text ended, in plain words."""

SIGNALS = {
    Signal.REPETITION_LOOP: "repeats itself",
    Signal.NO_STEPS: "nothing is computed",
    Signal.STOPPED_EARLY: "stopped early",
    Signal.ARITHMETIC_SLIP: "arithmetic slip",
    Signal.COPY_SLIP: "answer not computed anywhere",
    Signal.UNGROUNDED_NUMBER: "a number from nowhere",
    Signal.UNKNOWN: "gold's steps not known",
    Signal.FEWER_STEPS: "fewer steps than gold",
    Signal.MORE_STEPS: "more steps than gold",
    Signal.SAME_STEPS_WRONG_RELATION: "as many steps as gold, another relation",
}
"""What may have gone wrong, in plain words, where it says more than the outcome does."""

SCORER_NOTES = {
    "canonical": f"(version {VERSION}) takes the last complete final answer and compares it as a "
    "number; units, currencies and how it is written do not matter, but nothing may make it "
    "another number. Conclusions are drawn from this one.",
    "strict": "is lm-evaluation-harness's strict-match: the first “#### N”, compared as text, so "
    "“#### $29” does not count.",
    "flexible": "is lm-evaluation-harness's flexible-extract: the last number anywhere in the "
    "text, so a model that never writes “####” can still be right, also by accident.",
}
"""What each scorer of numbers does."""

_METRIC_NOTES = {
    "exact_match": "compares the text with gold.",
    "choice": "takes the one choice that the text names, by its letter or its words.",
    "acc": "takes the likeliest choice.",
    "acc_norm": "takes the likeliest choice by its likelihood per character.",
    "regex": "compares what the task's pattern finds with gold.",
    "math": "compares the text's last expression with gold as mathematics (math-verify).",
    "boxed": "compares the text's last expression with gold as mathematics (math-verify).",
    "f1": "is the overlap of the text's words with gold's, as in SQuAD.",
    "rougeL": "is the longest common subsequence of words with gold (rouge-score).",
    "json_match": "compares the keys and values of the text's JSON with gold's.",
}


def scorer_notes(scorers: Scorers) -> dict[str, str]:
    """Return what each of the `scorers` does."""
    if scorers.numbers:
        return SCORER_NOTES
    if scorers.loss:
        return {}
    notes = {
        metric.name: "is the value that each file states."
        if isinstance(metric.scorer, Stated)
        else _METRIC_NOTES.get(metric.name.rpartition("/")[2], "is the task's own function.")
        for metric in scorers.metrics
    }
    return notes | {scorers.main: f"{notes[scorers.main]} Conclusions are drawn from this one."}


STYLES = {
    "marked": "#### N",
    "phrase": "The answer is N",
    "boxed": "\\boxed{N}",
    "last_line": "N alone on the last line",
    "none": "none",
}
"""How a final answer is given, in plain words."""


def style_words(counts: Mapping[str, int]) -> str:
    """Return how often answers are given how: `#### N: 97, none: 3`."""
    return ", ".join(f"{STYLES[style]}: {count}" for style, count in counts.items())


def signal_words(signal: Signal) -> str:
    """Return what may have gone wrong; for some signals the outcome says it."""
    return SIGNALS[signal] if signal in SIGNALS else OUTCOMES[Outcome(signal.value)]


def protocol_words(name: str) -> str:
    """Return a protocol's full name in words, or what else the ledger says was read."""
    task, separator, rest = name.rpartition(": ")
    if rest == LIKELIHOOD:
        return f"{task}{separator}gold solutions, for their likelihood"
    protocol = Protocol.parse(name)
    parts = [protocol.shots.replace("_", "-"), protocol.format]
    return ", ".join(filter(None, [*parts, "calculator" if protocol.calculator else ""]))
