"""Arms and machines that rules are tried on."""

from facts import facts
from paribus.planning.rules import adapters, environment, method, precision
from paribus.planning.rules.card import Facts, Rule

RULES: dict[str, Rule] = {
    rule.id: rule for module in (method, precision, environment, adapters) for rule in module.RULES
}
BASELINE = {"method": "none"}
FULL = {"method": "full", "training.learning_rate": 2e-5}
EIGHT_BIT = {"training.optimizer": "adamw_8bit"}
RATE = "training.learning_rate"


def variables(*names: str) -> Facts:
    return facts(machine={"environment": frozenset(names)})
