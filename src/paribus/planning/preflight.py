"""Everything known to go wrong, looked up before anything is spent: all arms, all rules, at once.

    found = preflight(prospects, design, loaded.config, machine)
    refuse(found)                                   # raises if any of them is an error

A rule sees one arm's facts. What it finds in several arms alike is said once, with their names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from paribus.config.schema import ArmConfig, ExperimentConfig
from paribus.config.spec import RunSpec
from paribus.design.matrix import Design
from paribus.errors import UserError
from paribus.planning.devices import Device
from paribus.planning.forecast import Forecast
from paribus.planning.machine import Machine
from paribus.planning.rules.card import Facts, Rule, Severity, TokenFacts
from paribus.planning.rules.cards import violations
from paribus.planning.rules.environment import MEMORY, broken_by_peak
from paribus.planning.rules.texts import token_facts
from paribus.planning.survey import Prospect
from paribus.store.checkpoints import KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A rule that arms break alike.

    Attributes:
        rule: the card.
        arms: their names, in the experiment's order.
        found: what was found, with the values.
    """

    rule: Rule
    arms: tuple[str, ...]
    found: str

    @property
    def refuses(self) -> bool:
        """Whether it refuses the experiment."""
        return self.rule.severity is Severity.ERROR

    def row(self) -> dict[str, Any]:
        """Return it as `plan --json` prints it."""
        return {
            "id": self.rule.id,
            "severity": self.rule.severity.value,
            "title": self.rule.title,
            "arms": list(self.arms),
            "found": self.found,
            "instead": self.rule.instead,
        }


def preflight(
    prospects: Sequence[Prospect],
    design: Design,
    experiment: ExperimentConfig,
    machine: Machine,
    elsewhere: Device | None = None,
    peaks: Mapping[str, int | None] = MappingProxyType({}),
) -> list[Warned]:
    """Return all that the rules find, errors first.

    The runs of `design` are those that are still to do: their weights need room. Planned for a
    device `elsewhere`, only this machine's package versions count. `peaks` are measured bytes of
    memory by arm, None where the probe ran out of it: they replace what was predicted.
    """
    configs = {arm.name: arm.config for arm in design.arms}
    parts = disk_bytes(prospects, design.runs), checkpoint_bytes(prospects, design.runs)
    disk = None if None in parts else sum(part for part in parts if part)
    broken: dict[tuple[str, str], tuple[Rule, list[str]]] = {}
    for prospect in prospects:
        steps = prospect.forecast.load.steps if prospect.forecast else None
        facts = Facts(
            arm=prospect.arm,
            config=configs[prospect.arm],
            arms=configs,
            experiment=experiment,
            comparisons=design.comparisons,
            shape=prospect.shape,
            tokens=_tokens(prospect, configs[prospect.arm]),
            steps=steps,
            estimate=prospect.forecast.memory if prospect.forecast else None,
            device=_device(prospect, elsewhere or machine.device),
            machine=None if elsewhere else machine,
            disk_bytes=disk,
            flops=prospect.forecast.flops if prospect.forecast else None,
        )
        for rule, reason in _broken(facts, machine, peaks):
            _, arms = broken.setdefault((rule.id, reason), (rule, []))
            arms.append(prospect.arm)
    order = list(Severity)
    violations = [Warned(rule=r, arms=tuple(a), found=text) for (_, text), (r, a) in broken.items()]
    return sorted(
        violations, key=lambda violation: (order.index(violation.rule.severity), violation.rule.id)
    )


def _device(prospect: Prospect, device: Device) -> Device:
    """Return `device` as the prospect has it: with its speed, where that was timed for it."""
    return prospect.forecast.device if prospect.forecast else device


def _broken(
    facts: Facts, machine: Machine, peaks: Mapping[str, int | None]
) -> list[tuple[Rule, str]]:
    """Return the rules that an arm breaks, each with what was found."""
    broken = [
        (violation.rule, violation.found) for violation in violations(facts, machine.versions)
    ]
    if facts.arm not in peaks:
        return broken
    seen = broken_by_peak(peaks[facts.arm], facts.device)
    return [pair for pair in broken if pair[0] not in MEMORY] + ([seen] if seen else [])


def refuse(violations: Sequence[Warned]) -> None:
    """Raise UserError, which lists all violations that are errors, if there are any."""
    refusal = refusal_of(violations)
    if refusal:
        raise refusal


def refusal_of(violations: Sequence[Warned]) -> UserError | None:
    """Return the error that lists all violations that are errors; None if there are none."""
    errors = [violation for violation in violations if violation.refuses]
    if not errors:
        return None
    lines = [f"{error.rule.id} {', '.join(error.arms)}: {error.found}" for error in errors]
    ids = list(dict.fromkeys(error.rule.id for error in errors))
    remedies = [
        violation.rule.instead for violation in {error.rule.id: error for error in errors}.values()
    ]
    return UserError(
        "\n".join(lines),
        "\n    ".join(remedies) + f"\n    more: paribus explain {ids[0]}",
    )


def refused_arms(violations: Sequence[Warned]) -> dict[str, str]:
    """Return what refuses each arm and what to do, the same words for arms that fail alike."""
    lines: dict[str, list[str]] = {}
    for violation in violations:
        if violation.refuses:
            rule, names = violation.rule, ", ".join(violation.arms)
            text = f"{rule.id} {names}: {violation.found}\n  → {rule.instead}"
            for arm in violation.arms:
                lines.setdefault(arm, []).append(text)
    return {arm: "\n".join(texts) for arm, texts in lines.items()}


def disk_bytes(prospects: Sequence[Prospect], runs: Sequence[RunSpec]) -> int | None:
    """Return what the runs' weights will take on disk; None if a model's shape is not known.

    Full SFT saves every weight in the compute dtype, also those that were frozen; LoRA its adapters
    only. Texts are small.
    """
    sizes: Mapping[str, Forecast | None] = {
        prospect.arm: prospect.forecast for prospect in prospects
    }
    total = 0
    for run in runs:
        forecast = sizes[run.arm]
        if forecast is None:
            return None
        config, training = forecast.config, forecast.config.training
        if forecast.load.steps and training.save_weights:
            width = 2 if training.computes_in == "bf16" else 4
            memory = forecast.memory
            stored = memory.trainable_parameters * (1 + forecast.load.lora_starts)
            total += width * (memory.total_parameters if config.method == "full" else stored)
    return total


def checkpoint_bytes(prospects: Sequence[Prospect], runs: Sequence[RunSpec]) -> int | None:
    """Return the room that checkpoints take while the largest run trains; None if not known.

    Weights in fp32 and the optimizer's states; as many copies as are kept and one being written,
    fewer where a run is over before (by twice its estimated time). Where the best checkpoint is
    tested, its weights alone, and those of a better one being written.
    """
    sizes: Mapping[str, Forecast | None] = {
        prospect.arm: prospect.forecast for prospect in prospects
    }
    largest = 0
    for run in runs:
        forecast = sizes[run.arm]
        if forecast is None:
            return None
        if not forecast.load.steps:
            continue
        minutes = forecast.config.training.checkpoint_minutes
        passed = 2 * forecast.speed.train_seconds / 60
        more = 0 if minutes is None else KEPT if not minutes else min(KEPT, int(passed / minutes))
        states = forecast.memory.training.optimizer if forecast.memory.training else 0
        weights = 4 * forecast.memory.trainable_parameters
        best = 2 * weights if forecast.config.evaluation.checkpoint != "last" else 0
        largest = max(largest, (1 + more) * (weights + states) + best)
    return largest


def _tokens(prospect: Prospect, config: ArmConfig) -> TokenFacts | None:
    return None if prospect.inputs is None else token_facts(prospect.inputs, config)
