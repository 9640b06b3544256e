"""A rule card: what goes wrong, why, how that is known, what to do; and the test for it.

    Rule(id="PB001", ..., check=full_on_4bit).violation(facts)
    # Violation(rule=..., arm="full-main", found="method=full with quantization=nf4")

A check is a pure function of `Facts`, or of the machine alone: it returns what it found, with the
values, or None. `paribus doctor` asks those of the machine too. Cards without a check are about
what only a real model or a real step can show: a probe or the run itself finds them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from paribus.models.shapes import Shape
from paribus.planning.cost.memory import Estimate
from paribus.planning.devices import Device
from paribus.planning.machine import Machine

if TYPE_CHECKING:  # `doctor` reads no experiment file and need not wait for its schema
    from paribus.config.schema import ArmConfig, ExperimentConfig


class Severity(StrEnum):
    """What a violation does: an error refuses the experiment before anything is spent."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What is known of an arm's tokenizer and texts.

    Attributes:
        bos: id of the token that begins a text; None if the tokenizer has none.
        stop: id of the token that training ends solutions with.
        model_eos: ids that the model's own generation_config ends texts with.
        chat_template: whether the tokenizer has one.
        instruction_tuned: whether the model's name says `-it`, `instruct` or `chat`.
        train_examples: how many there are; 0 for a baseline.
        dropped: training examples left out as too long.
        longest_example: tokens.
        longest_prompt: tokens, over all protocols.
        longest_gold: tokens of the longest gold solution of the tested problems.
        overlap: test questions that were found in the training pool.
        model_type: as in the model's config.json, whether its shape is known or not; "" if absent.
        template_dates: whether the chat template asks for the date (`strftime_now`).
        unused: how the chat template ends a prompt where its turns do not begin so; "" if they do,
            and if the arm is not asked by it.
        vocabulary: how many tokens the tokenizer has; 0 if not known.
        letters_per_token: of the words in the texts; None where there are too few.
        alike: what is to be said of test problems that read alike; "" if nothing is.
    """

    bos: int | None
    stop: int
    model_eos: tuple[int, ...]
    chat_template: bool
    instruction_tuned: bool
    train_examples: int
    dropped: int
    longest_example: int
    longest_prompt: int
    longest_gold: int
    overlap: int
    model_type: str = ""
    template_dates: bool = False
    unused: str = ""
    vocabulary: int = 0
    letters_per_token: float | None = None
    alike: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a rule may look at, for one arm.

    Attributes:
        arm: its name.
        config: its values; `micro_batch` and `checkpointing` are settled if it trains.
        arms: the values of all arms of the experiment, baselines included.
        experiment: the experiment's own values.
        comparisons: how many pairs of arms are compared.
        shape: of the model; None if it is not known here.
        tokens: of tokenizer and texts; None if the model or the data are not here.
        steps: optimizer steps; None if not known, 0 for a baseline.
        estimate: of memory; None if the shape is not known.
        device: what the experiment is planned for.
        machine: this machine; None when planning for another one.
        disk_bytes: what the whole experiment will write; None if not known.
        flops: operations of a run's training; None if the shape is not known.
    """

    arm: str
    config: "ArmConfig"
    arms: "Mapping[str, ArmConfig]"
    experiment: "ExperimentConfig"
    comparisons: int
    shape: Shape | None
    tokens: TokenFacts | None
    steps: int | None
    estimate: Estimate | None
    device: Device
    machine: Machine | None
    disk_bytes: int | None
    flops: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One card.

    Attributes:
        id: `PB001`, never given to another rule.
        title: one line, without a full stop.
        severity: what a violation does.
        what: what happens to the user.
        why: the mechanism.
        evidence: issues, documents or our own measurement, each with its versions.
        instead: what to do.
        versions: distribution to the versions it is true for (`{"bitsandbytes": ">=0.48,<0.52"}`);
            checked only where the installed version is one of them.
        check: returns what it found in an arm, or None.
        check_machine: likewise, of the machine where it would run.
    """

    id: str
    title: str
    severity: Severity
    what: str
    why: str
    evidence: tuple[str, ...]
    instead: str
    versions: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Facts], str | None] | None = None
    check_machine: Callable[[Machine], str | None] | None = None

    @property
    def is_checked(self) -> bool:
        """Whether it is looked up before a run; else a probe or the run itself finds it."""
        return self.check is not None or self.check_machine is not None

    def found(self, facts: Facts) -> str | None:
        """Return what breaks it, with the values; None if nothing does, or that is not known."""
        if self.check_machine is not None:
            return None if facts.machine is None else self.check_machine(facts.machine)
        return None if self.check is None else self.check(facts)

    def applies(self, installed: Mapping[str, str]) -> bool:
        """Return whether every package named in `versions` is installed in such a version."""
        return all(
            package in installed
            and SpecifierSet(wanted).contains(installed[package], prereleases=True)
            for package, wanted in self.versions.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that an arm breaks.

    Attributes:
        rule: the card.
        arm: the arm's name.
        found: what was found, with the values.
    """

    rule: Rule
    arm: str
    found: str
