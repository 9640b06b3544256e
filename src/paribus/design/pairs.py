"""Which arms are compared, and in which factors a pair differs.

    auto_contrasts(tuned, own, identities)
    # [Contrast(a="lora-main", b="baseline", factor="tuning"),
    #  Contrast(a="full-main", b="lora-main", factor="method"), ...], and the pairs left out

What two arms differ in is read from their identities, so a key that neither one uses does not
count. A key that comes with a factor's value counts to that factor: full fine-tuning and LoRA,
each at its own learning rate, differ in `method`, whether the rates are stated or defaults. Against
the untrained arm all that training brings is one factor, `tuning`.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paribus.config.keys import nearest
from paribus.config.read import Origin
from paribus.config.schema import ContrastConfig
from paribus.config.spec import RATE_KEYS, WHILE_TRAINING, differing
from paribus.design.arms import arm_name, name_of
from paribus.errors import ConfigError

_TUNING = (
    *("method", "evaluation.protocol", "replicate"),
    *("data.validation_size", *WHILE_TRAINING),
)
_PROMPTING = ("evaluation.protocol", "prompt.format")
_BESIDE = "evaluation.also"
"""Further protocols change nothing of what a contrast is about: the main protocol's scores."""


class Arm(Protocol):
    """What is asked of an arm here: `design/arms` has it, and so has a stored one."""

    @property
    def name(self) -> str:
        """Unique in the experiment."""

    @property
    def factors(self) -> dict[str, Any]:
        """Factor → value; of a named arm, its overrides."""

    @property
    def set_by(self) -> dict[str, str]:
        """For an arm of the matrix, key → the factor that set it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A pair of arms to compare, by name, and in what they differ.

    Attributes:
        margin: points by which a difference would not matter; None: as the experiment says.
    """

    a: str
    b: str
    factor: str
    margin: float | None = None


def auto_contrasts(
    tuned: Sequence[Arm],
    own: Sequence[tuple[str, str]],
    identities: Mapping[str, Mapping[str, Any]],
) -> tuple[list[Contrast], list[Contrast]]:
    """Return the pairs to compare, and those that differ in more than one factor.

    Compared are each arm and its baseline (`own`), and arms that differ in one factor.
    """
    contrasts = [Contrast(a=a, b=b, factor="tuning") for a, b in own]
    apart = list[Contrast]()
    for a, b in itertools.combinations(tuned, 2):
        factors = _differing_factors(a, b, identities)
        pair = Contrast(a=a.name, b=b.name, factor=" + ".join(factors))
        (contrasts if len(factors) == 1 else apart).append(pair)
    return contrasts, apart


def listed(entry: Any) -> tuple[str, str, float | None]:
    """Return a, b and margin of a listed contrast: a pair, or a mapping of JSON or a config."""
    if isinstance(entry, ContrastConfig):
        return entry.a, entry.b, entry.margin
    if isinstance(entry, Mapping):
        return entry["a"], entry["b"], entry.get("margin")
    a, b = entry
    return a, b, None


def listed_contrasts(
    pairs: Sequence[Any],
    arms: Sequence[Arm],
    own: Sequence[tuple[str, str]],
    identities: Mapping[str, Mapping[str, Any]],
    place: Origin,
) -> list[Contrast]:
    """Return the contrasts that the experiment lists at `place`, or raise ConfigError.

    `pairs` are as `listed` takes them.
    """
    by_name = {arm.name: arm for arm in arms}
    spelled = {other: arm.name for arm in arms for other in _spellings(arm)}
    contrasts: list[Contrast] = []
    for *pair, margin in map(listed, pairs):
        a, b = (name if name in by_name else spelled.get(name, name) for name in pair)
        for name in (a, b):
            if name not in by_name:
                known = f"name one of the arms: {', '.join(by_name)}"
                near = nearest(name, list(by_name))
                raise ConfigError(f"{place}: contrasts: {name!r} is not an arm{near}", known)
        if a == b or any({a, b} == {done.a, done.b} for done in contrasts):
            raise ConfigError(
                f"{place}: contrasts: [{a}, {b}] is an arm and itself, or a pair listed before",
                "list each pair of different arms once",
            )
        is_own = (a, b) in own or (b, a) in own
        factors = ["tuning"] if is_own else _differing_factors(by_name[a], by_name[b], identities)
        contrasts.append(Contrast(a=a, b=b, factor=" + ".join(factors), margin=margin))
    return contrasts


def _spellings(arm: Arm) -> tuple[str, ...]:
    """Return what an arm of the matrix is called: `r=4`, and `4` as in earlier versions."""
    of_matrix = all(arm.set_by.get(factor) == factor for factor in arm.factors)
    if not arm.factors or not of_matrix:
        return ()
    return arm_name(arm.factors), name_of(list(arm.factors.values()))


def refuse_equal_arms(identities: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ConfigError if two arms would do the same runs."""
    for (a, left), (b, right) in itertools.combinations(identities.items(), 2):
        if left == right:
            raise ConfigError(
                f"arms {a} and {b} are the same: no setting that they use differs",
                "remove one (arms={} removes those listed by name), or leave out the value on the "
                "command line that makes them equal",
            )


def refuse_unequal(
    contrasts: Sequence[Contrast], identities: Mapping[str, Mapping[str, Any]], place: Origin
) -> None:
    """Raise ConfigError if arms of a contrast differ in more than its one factor, or in prompts."""
    lines = []
    for contrast in contrasts:
        keys = [
            key
            for key in differing(identities[contrast.a], identities[contrast.b])
            if key != _BESIDE
        ]
        if contrast.factor == "tuning":
            keys = [key for key in keys if key in _PROMPTING]
        if keys and (contrast.factor == "tuning" or " + " in contrast.factor):
            lines.append(
                f"{place}: strict: {contrast.a} and {contrast.b} also differ in {', '.join(keys)}"
            )
    if lines:
        raise ConfigError(
            "\n".join(lines),
            "state the same values for both arms (for a baseline: baseline.protocol and "
            "evaluation.protocol), list other contrasts, or set strict=false",
        )


def _differing_factors(a: Arm, b: Arm, identities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the factors in which two arms differ; keys that follow a factor count to it."""
    methods = {identities[arm.name]["method"] for arm in (a, b)}
    factors = list[str]()
    for key in differing(identities[a.name], identities[b.name]):
        if key == _BESIDE:
            continue
        if "none" in methods and (key in _TUNING or key.startswith(("training.", "lora."))):
            factors.append("tuning")
        else:
            factors.append(_factor_of(key, a, b, across=len(methods) > 1))
    return list(dict.fromkeys(factors))


def _factor_of(key: str, a: Arm, b: Arm, *, across: bool) -> str:
    """Return the factor that a differing key counts to; `across`: the arms' methods differ."""
    factor = a.set_by.get(key) or b.set_by.get(key, key)
    of_matrix = all(arm.set_by.get(factor) == factor for arm in (a, b))
    if of_matrix and a.factors[factor] != b.factors[factor]:
        return factor
    brought = all(arm.set_by.get(key, "method") == "method" for arm in (a, b))
    rate = key in RATE_KEYS and brought and factor == "method"
    return "method" if across and (rate or key.startswith("lora.")) else key
