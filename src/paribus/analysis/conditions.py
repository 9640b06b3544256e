"""What was held equal, what was not, and how far the conclusions reach.

    differing_settings(tables)     # {"method": {"full-main": "full", "lora-main": "lora"}, ...}
    circumstances(tables)          # {"torch": {"2.13.0": ["baseline", "full-main"]}, ...}
    limits(tables, contrasts)      # ["One seed: ...", ...]

*Ceteris paribus* is a claim to be checked: a version, a device or a precision that was not the
same in all runs shows up here as a row with two values.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from paribus.analysis.contrasts import ALPHA, Contrast
from paribus.analysis.tables import Run, Tables
from paribus.config.spec import flatten

NOT_READ = "–"
"""Shown where an arm does not read a setting: an untuned arm has no learning rate."""

_NOT_SETTINGS = ("format", "replicate")
"""Parts of an identity that nobody sets for an arm."""


def text(value: Any) -> str:
    """Return a setting as text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def differing_settings(tables: Tables) -> dict[str, dict[str, str]]:
    """Return dotted key → arm → value, for settings that differ among the arms that read them."""
    return {key: values for key, values in _settings(tables).items() if len(_read(values)) > 1}


def shared_settings(tables: Tables) -> dict[str, str]:
    """Return dotted key → value, for settings that are equal in all arms that read them."""
    return {
        key: _read(values).pop()
        for key, values in _settings(tables).items()
        if len(_read(values)) == 1
    }


def circumstances(tables: Tables) -> dict[str, dict[str, list[str]]]:
    """Return fact → value → the arms it held for. One value: it was equal in all runs."""
    rows: dict[str, dict[str, list[str]]] = {}
    for run in tables.complete:
        for fact, value in _facts(run).items():
            arms = rows.setdefault(fact, {}).setdefault(value, [])
            if run.arm not in arms:
                arms.append(run.arm)
    return rows


def limits(tables: Tables, found: Sequence[Contrast]) -> list[str]:
    """Return what a reader must not conclude from this experiment, one sentence or two each."""
    said = [*_about_seeds(tables), *_about_tests(found), *_about_prompts(tables)]
    variants = {text(arm.factors.get("data.variant")) for arm in tables.arms if not arm.untuned}
    if len(variants) > 1:
        said.append(
            "Training losses of arms with different data variants are over different texts: "
            "compare them within a variant only. Equal epochs are not equal numbers of tokens."
        )
    overlap = max((_data(run, "overlap") for run in tables.complete), default=0)
    if overlap:
        said.append(f"{overlap} test problems also occur in the training data.")
    said.append(
        "An interval covers the choice of test problems from their source. It does not cover "
        "another prompt, other training data, another seed or another machine."
    )
    return said


def _settings(tables: Tables) -> dict[str, dict[str, str]]:
    """Dotted key → arm → value as text, NOT_READ where the arm has no such setting."""
    flat = {arm.name: flatten(arm.identity) for arm in tables.arms}
    keys = {key for values in flat.values() for key in values} - set(_NOT_SETTINGS)
    return {
        key: {
            name: text(values[key]) if key in values else NOT_READ for name, values in flat.items()
        }
        for key in sorted(keys)
    }


def _read(values: Mapping[str, str]) -> set[str]:
    return set(values.values()) - {NOT_READ}


def _facts(run: Run) -> dict[str, str]:
    """The circumstances of one run, by the words the report uses."""
    facts = {"prompt protocol": str(run.result["evaluation"]["protocol"])}
    for section in ("data", "precision", "environment"):
        values: Mapping[str, Any] = run.result.get(section) or {}
        facts |= {_NAMES.get(key, key): text(value) for key, value in values.items()}
    if run.result.get("weights_note"):
        facts["weights"] = str(run.result["weights_note"])
    return facts


_NAMES = {
    "train_problems": "training problems",
    "test_problems": "test problems",
    "train_duplicates": "duplicates in the training problems",
    "overlap": "problems both in training and test",
    "shot_id": "problem shown as the solved example",
    "compute": "precision of computing",
    "trainable": "precision of trained weights",
    "frozen": "precision of frozen weights",
}


def _about_seeds(tables: Tables) -> list[str]:
    seeds = {run.seed for run in tables.runs}
    if len(seeds) > 1:
        return [
            f"{len(seeds)} seeds: each is compared by itself and the differences are averaged. "
            "There is no test over seeds yet, so no claim about the methods behind the models."
        ]
    return [
        "One seed: a verdict speaks of these trained models, not of the methods that made them. "
        "The same arm trained with another seed would score somewhat differently."
    ]


def _about_tests(found: Sequence[Contrast]) -> list[str]:
    tests = sum(each.p_value is not None for each in found)
    if tests < 2:
        return []
    return [
        f"{tests} tests at the {100 * ALPHA:g} % level, not corrected for their number: even among "
        "equal models about one test in twenty would show a difference."
    ]


def _about_prompts(tables: Tables) -> list[str]:
    protocols: dict[str, list[str]] = {}
    for run in tables.complete:
        protocols.setdefault(str(run.result["evaluation"]["protocol"]), []).append(run.arm)
    if len(protocols) < 2:
        return []
    listed = "; ".join(
        f"{name}: {', '.join(sorted(set(arms)))}" for name, arms in protocols.items()
    )
    return [
        f"Not all arms were prompted alike ({listed}). The prompt is part of every comparison "
        "across these groups."
    ]


def _data(run: Run, key: str) -> int:
    return int((run.result.get("data") or {}).get(key) or 0)
