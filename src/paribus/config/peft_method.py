"""Methods of peft beside LoRA, as an experiment states them, and as one text of an arm.

    canonical_method({"peft": "VeRA", "r": 64}, "x.yaml:3")      # 'VERA {"r": 64}'
    parse_method('VERA {"r": 64}')                               # ("VERA", {"r": 64})
    canonical_method("IA3", "x.yaml:3")                          # "IA3"

A text can stand wherever a method can: in a matrix's mapping, in a run's identity, as a name.
Which keys a method has, and of what kind, peft's own classes say (`models/peft_methods`).
"""

import json
import re
from typing import Any

from paribus.errors import ConfigError

SUPPORTED = (
    "BOFT", "C3A", "DELORA", "FOURIERFT", "GRALORA", "HIRA", "HRA", "IA3", "LN_TUNING", "LOHA",
    "LOKR", "MISS", "OFT", "RANDLORA", "ROAD", "VBLORA", "VERA", "WAVEFT",
)  # fmt: skip
"""Names of peft's `PeftType`: each was trained, stored, loaded and planned in a test."""

_PROMPTS = (
    "puts virtual tokens before each text, and paribus trains texts end to end and decodes them by "
    "their positions, both without such tokens"
)
_REFUSED = {
    "LORA": "is `method: lora`, with its keys under lora:",
    "ADALORA": "moves ranks between layers at every step, by a callback that peft leaves to the "
    "training loop",
    "ADAPTION_PROMPT": "replaces the attention that packed texts need",
    "XLORA": "mixes adapters that were trained before",
    "POLY": "wants a task's number with every text",
    "PVERA": "draws random numbers in its forward pass, so no two passes of the probes are equal",
    **dict.fromkeys(
        ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "CPT"), _PROMPTS
    ),
}


def canonical_method(value: Any, place: str) -> Any:
    """Return the one text of a method of peft's; anything else as it is.

    Raises ConfigError, with the `place`, for a mapping that names no method that can be run.
    """
    if isinstance(value, str):
        name = _name(value)
        return name if name in SUPPORTED else value
    if not isinstance(value, dict):
        return value
    keys = {str(key): inner for key, inner in value.items() if key != "peft"}
    name = _name(str(value.get("peft")))
    if name in _REFUSED:
        raise ConfigError(
            f"{place}: method: {{peft: {value['peft']}}} {_REFUSED[name]}",
            "use method: lora or full, or one of " + ", ".join(SUPPORTED),
        )
    if name not in SUPPORTED:
        stated = f"method={value!r:.60} names no method of peft's"
        if "peft" in value:
            stated = f"method has peft={value['peft']!r:.60}, which was not tried here"
        raise ConfigError(
            f"{place}: {stated}",
            "write {peft: NAME, KEY: VALUE}, with one of " + ", ".join(SUPPORTED),
        )
    return f"{name} {json.dumps(keys)}" if keys else name


def is_peft(method: str) -> bool:
    """Return whether a valid `method` is one of peft's beside LoRA."""
    return method not in ("full", "lora", "none")


def parse_method(method: str) -> tuple[str, dict[str, Any]]:
    """Return peft's name of a method, and the keys that it states."""
    name, _, keys = method.partition(" ")
    return name, json.loads(keys or "{}")


def _name(text: str) -> str:
    """Return a method's name as peft's `PeftType` spells it: `LN tuning`, `(IA)³`, `vera`."""
    plain = re.sub(r"[()]", "", text.strip()).replace("³", "3")
    return re.sub(r"[\s-]+", "_", plain).upper()
