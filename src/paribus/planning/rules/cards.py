"""All rule cards, and what an arm breaks of them.

card("pb014").title                                    # "The GPU has no bf16"
violations(facts, {"torch": "2.13.0"})[0].found        # "method=full with quantization=nf4"
"""

from collections.abc import Mapping

from paribus.config.keys import nearest
from paribus.errors import UserError
from paribus.planning.rules import (
    adapters,
    design,
    environment,
    families,
    method,
    optimizers,
    precision,
    probes,
    ranks,
    schedules,
    texts,
    tuning,
)
from paribus.planning.rules.card import Facts, Rule, Severity, Violation

RULES: tuple[Rule, ...] = tuple(
    sorted(
        (
            *method.RULES,
            *adapters.RULES,
            *optimizers.RULES,
            *precision.RULES,
            *environment.RULES,
            *ranks.RULES,
            *texts.RULES,
            *families.RULES,
            *schedules.RULES,
            *design.RULES,
            *tuning.RULES,
            *probes.RULES,
            *environment.LIMITS,
        ),
        key=lambda rule: rule.id,
    )
)
"""Every card, by id."""


def violations(facts: Facts, installed: Mapping[str, str]) -> list[Violation]:
    """Return all that the arm breaks: errors first, then warnings, then notes, each by id.

    `installed` is distribution to version; cards about other versions are left out.
    """
    broken = []
    for rule in RULES:
        reason = rule.found(facts) if rule.applies(installed) else None
        if reason is not None:
            broken.append(Violation(rule=rule, arm=facts.arm, found=reason))
    severities = list(Severity)
    return sorted(broken, key=lambda violation: severities.index(violation.rule.severity))


def card(id: str) -> Rule:
    """Return the card called `id`, in any case. Raises UserError, with the nearest id, if none."""
    wanted = id.strip().upper()
    known = {rule.id: rule for rule in RULES}
    if wanted not in known:
        raise UserError(
            f"there is no rule {id!r}{nearest(wanted, list(known))}",
            "choose a rule that `paribus explain` lists",
        )
    return known[wanted]
