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

from paribus.analysis.contrasts import Contrast
from paribus.analysis.looks import about_looks
from paribus.analysis.summary import main_protocol
from paribus.analysis.tables import Run, Tables
from paribus.config.nested import flatten
from paribus.data.alike import about_alike
from paribus.records import Measure
from paribus.statistics.verdicts import Scope

NOT_READ = "–"
"""Shown where an arm does not read a setting: an untuned arm has no learning rate."""

NORMAL = (
    "Verdicts over seeds assume that a method's seeds scatter about its mean as a normal "
    "distribution does. Where now and then a seed diverges they do not, and no test over a few "
    "seeds can make up for it."
)
"""The assumption that stands where verdicts over seeds do."""

NOT_SETTINGS = ("format", "replicate")
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


def limits(tables: Tables, contrasts: Sequence[Contrast], effects: int = 0) -> list[str]:
    """Return what a reader must not conclude from this experiment, one sentence or two each.

    `effects` is how many effects of factors were asked for beside the contrasts.
    """
    parts = [
        *tables.asked,
        *about_looks(tables),
        *_about_forks(tables),
        *_about_further(tables),
        *_about_seeds(tables, contrasts),
        *_about_tests(contrasts, effects),
    ]
    parts += _about_prompts(tables)
    variants = {text(arm.factors.get("data.variant")) for arm in tables.arms if not arm.untuned}
    if len(variants) > 1:
        parts.append(
            "Training losses of arms with different data variants are over different texts: "
            "compare them within a variant only. Equal epochs are not equal numbers of tokens."
        )
    if tables.measure is Measure.LOSS and tables.config.get("margin"):
        parts.append("A margin is in points: of losses, which are in nats, it is not asked.")
    parts += _about_overlap(tables)
    parts += _about_generated(tables)
    parts += _about_bf16(tables, contrasts)
    parts.append(_about_intervals(contrasts))
    return parts


def forked(run: Run) -> str:
    """Return where a run came from that resumed from a checkpoint of another; else ""."""
    origin = run.result.forked_from if run.result else None
    if not origin:
        return ""
    return f"step {origin.step} of another run ({'; '.join(origin.differences)})"


def _about_forks(tables: Tables) -> list[str]:
    return [
        f"{run.arm} seed {run.seed} was not trained by its own settings alone: it resumed from "
        f"{text}."
        for run in tables.complete
        if (text := forked(run))
    ]


def _about_further(tables: Tables) -> list[str]:
    to_come = [f"{run.arm} seed {run.seed} is {run.note}." for run in tables.complete if run.note]
    return to_come + [
        f"{run.arm} seed {run.seed} was tested further once it was complete: "
        + "; then ".join(", ".join(step.differences) for step in run.result.tested_further)
        + "."
        for run in tables.complete
        if run.result and run.result.tested_further
    ]


def trained_unlike_in_bf16(tables: Tables, contrast: Contrast) -> bool:
    """Return whether full SFT and LoRA are compared in bf16, which costs them unlike (LOG.md)."""
    arms = [arm for name in (contrast.a, contrast.b) if (arm := tables.arm(name))]
    both = [flatten(arm.identity) for arm in arms]
    return {identity.get("method") for identity in both} == {"full", "lora"} and any(
        identity.get("training.precision") == "bf16" for identity in both
    )


def _about_bf16(tables: Tables, contrasts: Sequence[Contrast]) -> list[str]:
    if not any(trained_unlike_in_bf16(tables, contrast) for contrast in contrasts):
        return []
    return [
        "Training in bf16 is not the same to both methods: where it was measured, in a short "
        "training, it cost full SFT 13 to 29 points at three seeds and LoRA none. Whether full SFT "
        "falls behind for that, the same experiment with training.precision=fp32 shows."
    ]


def _about_intervals(contrasts: Sequence[Contrast]) -> str:
    if any(contrast.scope is Scope.METHODS for contrast in contrasts):
        covered, other = "the choice of test problems from their source and of seeds", ""
    else:
        covered, other = "the choice of test problems from their source", ", another seed"
    return (
        f"An interval covers {covered}. It does not cover another prompt, other training "
        f"data{other} or another machine."
    )


def _settings(tables: Tables) -> dict[str, dict[str, str]]:
    """Dotted key → arm → value as text, NOT_READ where the arm has no such setting."""
    flat = {arm.name: flatten(arm.identity) for arm in tables.arms}
    keys = {key for values in flat.values() for key in values} - set(NOT_SETTINGS)
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
    facts = {} if main_protocol(run) is None else {"prompt protocol": str(main_protocol(run))}
    values = run.data.record() if run.data else {}
    if run.result:
        values |= run.result.precision.record() if run.result.precision else {}
        values |= run.result.environment
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    facts |= {_NAMES.get(key, key): text(value) for key, value in plain.items()}
    facts |= {OVERLAPS[key]: spelled_overlap(counts) for key, counts in overlap_counts(run).items()}
    if run.training and run.training.dropped_too_long is not None:
        facts["training examples left out as too long"] = text(run.training.dropped_too_long)
    if run.result and run.result.weights_note:
        facts["weights"] = run.result.weights_note
    return facts


OVERLAPS = {
    "test_in_train": "test questions among the training questions",
    "shots_in_train": "solved examples among the training questions",
    "shots_in_test": "solved examples among the test questions",
}
_NAMES = {
    "train_problems": "training problems",
    "test_problems": "test problems",
    "validation_problems": "validation problems",
    "train_duplicates": "repeated questions left out of the training problems",
    "other_gold": "of these, with another gold answer",
    "test_duplicates": "repeated questions left out of the test problems",
    "overlap": "test questions left out of the training problems",
    "test_variant": "how the test problems' gold solutions are written",
    "shot_id": "problem shown as the solved example",
    "compute": "precision of computing",
    "trainable": "precision of trained weights",
    "frozen": "precision of frozen weights",
}


def _about_seeds(tables: Tables, contrasts: Sequence[Contrast]) -> list[str]:
    parts = []
    if any(contrast.n and max(contrast.seeds) == 1 for contrast in contrasts):
        parts.append(
            "One seed: a verdict speaks of these trained models, not of the methods that made "
            "them. The same arm trained with another seed would score somewhat differently."
            if any(arm.trained for arm in tables.arms)
            else "One run of each: a verdict speaks of these models as they are, not of any method "
            "that made them."
        )
    if any(contrast.scope is Scope.METHODS for contrast in contrasts):
        parts.append(NORMAL)
    if any(
        contrast.scope is Scope.METHODS and 1 < max(contrast.seeds) < 5 for contrast in contrasts
    ):
        parts.append(
            "Few seeds: how much the seed matters is itself only roughly known, which the "
            "intervals allow for by being wide."
        )
    return parts


def _about_tests(contrasts: Sequence[Contrast], effects: int) -> list[str]:
    if len(contrasts) + effects < 2:
        return []
    members = f"{len(contrasts)} comparisons" + (
        f" and {effects} effects of factors" if effects else ""
    )
    return [
        f"The {members} are corrected as one family (Holm), together with what is asked of gains "
        "and margins: if no arm differed from another, at most 1 experiment in 20 would claim "
        "anything of them, where problems, or the groups they name, are drawn independently."
    ]


def _about_prompts(tables: Tables) -> list[str]:
    protocols: dict[str, list[str]] = {}
    for run in tables.complete:
        if (protocol := main_protocol(run)) is not None:
            protocols.setdefault(protocol, []).append(run.arm)
    if len(protocols) < 2:
        return []
    listed = "; ".join(
        f"{name}: {', '.join(sorted(set(arms)))}" for name, arms in protocols.items()
    )
    return [
        f"Not all arms were prompted alike ({listed}). The prompt is part of every comparison "
        "across these groups."
    ]


def overlap_counts(run: Run) -> dict[str, tuple[int, int]]:
    """Key of `OVERLAPS` -> problems that occur whole, problems that share a run of words; {} where
    that is not known."""
    if run.data is None or not run.data.overlap_exact or not run.data.overlap_13gram:
        return {}
    whole, shared = run.data.overlap_exact, run.data.overlap_13gram
    return {key: (whole[key], shared[key]) for key in OVERLAPS}


def spelled_overlap(counts: tuple[int, int]) -> str:
    """(3, 5) is "3 whole, 5 sharing 13 words in a row"."""
    return f"{counts[0]} whole, {counts[1]} sharing 13 words in a row"


def _about_overlap(tables: Tables) -> list[str]:
    """Say which test problems the models may have seen: in training, or in the prompt."""
    seen = [overlap_counts(run) for run in tables.complete]
    parts = [
        f"There are {OVERLAPS[key]}: {spelled_overlap(counts[key])}."
        for counts in seen
        for key in ("test_in_train", "shots_in_test")
        if any(counts.get(key, ()))
    ]
    return list(dict.fromkeys(parts))


def about_likeness(tables: Tables) -> list[str]:
    """Say which test problems may not be independent: copies, and those of one template."""
    if _generated(tables) or not tables.complete:
        return []
    alike = tables.alike
    if alike is None:
        asked = tables.complete[0].generations
        alike = about_alike(
            tuple(generation.question for generation in asked),
            tuple(generation.group for generation in asked),
        )
    return [f"{alike}. {_GROUP}"] if alike else []


def _about_generated(tables: Tables) -> list[str]:
    if not _generated(tables):
        return []
    return [
        "The problems are generated, each drawn by itself from the same templates: an interval "
        "covers others of this generator, not word problems at large."
    ]


def _generated(tables: Tables) -> bool:
    return {flatten(arm.identity).get("data.source") for arm in tables.arms} == {"wordproblems"}


_GROUP = (
    "Intervals are then too narrow, and differences are claimed too often. Say which problems "
    "belong together: data.group_by, or --group-by for files."
)
