"""Plain words for the names that the store and the scorers use.

signal_words(Signal.COPY_SLIP)                  "answer not computed anywhere"
protocol_words("one_shot/raw+calculator")       "one-shot, raw, calculator"
"""

from collections.abc import Mapping

from paribus.evaluation.score import VERSION
from paribus.evaluation.signals import Signal
from paribus.prompts.protocols import Protocol
from paribus.records import Outcome, Stop
from paribus.store.ledger import LIKELIHOOD

OUTCOMES = {
    Outcome.CORRECT: "correct",
    Outcome.WRONG: "wrong answer",
    Outcome.NO_ANSWER: "no final answer",
    Outcome.TRUNCATED: "cut before a final answer",
    Outcome.FAILED: "nothing usable written",
}
"""Outcome in plain words. The script takes the first for solved."""

STOPS = {
    Stop.ANSWER: "stopped after its answer",
    Stop.STOP_TOKEN: "ended by itself",
    Stop.NEXT_QUESTION: "went on to a question of its own",
    Stop.LENGTH: "reached the token limit",
    Stop.FAILED: "generation failed",
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
"""What each scorer does."""

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
    if name == LIKELIHOOD:
        return "gold solutions, for their likelihood"
    protocol = Protocol.parse(name)
    parts = [protocol.shots.replace("_", "-"), protocol.format]
    return ", ".join(filter(None, [*parts, "calculator" if protocol.calculator else ""]))
