"""Nested mappings as dotted keys, and back.

flatten({"data": {"variant": "main"}})            # {"data.variant": "main"}
nest({"data.variant": "main"})                    # {"data": {"variant": "main"}}
"""

from collections.abc import Mapping
from typing import Any


def flatten(nested: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `nested` as dotted key → leaf. Lists and empty mappings are leaves.

    flatten({"data": {"variant": "main"}, "seed": 0}) gives {"data.variant": "main", "seed": 0}.
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}.{inner}": leaf for inner, leaf in flatten(value).items()}
        else:
            flat[str(key)] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted key → leaf as nested mappings: the inverse of `flatten`.

    Raises ValueError, naming the key, where a key is both a value and a section.
    """
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ValueError(f"{key}: {section} is a value and a section at once")
        if value == {}:
            place.setdefault(name, {})
        elif name in place:
            raise ValueError(f"{key} is a value and a section at once")
        else:
            place[name] = value
    return nested
