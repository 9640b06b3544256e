"""Protocols: how a problem is put to a model, and what helps it while it writes.

    Protocol.parse("few_shot/raw+calculator")
    # Protocol(shots="few_shot", format="raw", calculator=True)

An arm has a main protocol, which conclusions are drawn from, and may have others beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from paribus.config.schema import ArmConfig
from paribus.records import Problem

_SHOWN: Final = {"zero_shot": slice(0), "one_shot": slice(1), "few_shot": slice(None)}
_CALCULATOR = "+calculator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One way to ask.

    Attributes:
        shots: `zero_shot`, `one_shot` or `few_shot`.
        format: `raw` or `chat`, as `prompt.format`.
        calculator: whether `<<...=` is completed while the model writes.
    """

    shots: str
    format: str
    calculator: bool = False

    @classmethod
    def parse(cls, name: str) -> "Protocol":
        """Return the protocol that `name`, a `ProtocolName`, spells."""
        shots, _, rest = name.partition("/")
        format = rest.removesuffix(_CALCULATOR)
        return cls(shots=shots, format=format, calculator=rest != format)

    @property
    def name(self) -> str:
        """Its full name, such as `one_shot/chat`."""
        return f"{self.shots}/{self.format}{_CALCULATOR if self.calculator else ''}"

    def shown(self, shots: Sequence[Problem]) -> Sequence[Problem]:
        """Return those of the reserved shots that it puts before the question."""
        return shots[_SHOWN[self.shots]]


def main_protocol(config: ArmConfig) -> Protocol:
    """Return the protocol that conclusions about the arm are drawn from."""
    return Protocol(shots=config.evaluation.protocol, format=config.prompt.format)


def protocols(config: ArmConfig) -> tuple[Protocol, ...]:
    """Return all protocols of an arm, the main one first, none twice."""
    main = main_protocol(config)
    return tuple(dict.fromkeys([main, *map(Protocol.parse, config.evaluation.also)]))
