"""Every key of an experiment, and whether it wants a text.

SCHEMA["training.epochs"]["exclusiveMinimum"]     # 0
wants_text("revision")                            # True: 0123456 is a commit, not a number
wants_text("matrix.lora.r")                       # False
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from paribus.config.schema import ExperimentConfig


def _schema_by_key() -> dict[str, dict[str, Any]]:
    """Return the JSON schema of every key and section of an experiment, by dotted name.

    Keys of a mapping that may stand in a list, such as a contrast's, are named as if in a section.
    """
    whole = TypeAdapter(ExperimentConfig).json_schema(ref_template="{model}")
    found: dict[str, dict[str, Any]] = {}

    def add(prefix: str, properties: Mapping[str, Any]) -> None:
        for name, schema in properties.items():
            branches = schema.get("anyOf", [schema])
            section = next((whole["$defs"][one["$ref"]] for one in branches if "$ref" in one), None)
            found[prefix + name] = section or schema
            inner = section or next(filter(None, map(in_list, branches)), {})
            add(f"{prefix}{name}.", inner.get("properties", {}))

    def in_list(branch: Mapping[str, Any]) -> Mapping[str, Any] | None:
        of_items = branch.get("items", {}).get("anyOf", []) if "items" in branch else []
        return next((whole["$defs"][one["$ref"]] for one in of_items if "$ref" in one), None)

    add("", whole["properties"])
    return found


SCHEMA = _schema_by_key()
"""JSON schema of every key and section of an experiment, by dotted name."""


def named_key(path: str) -> str:
    """Return the key that a dotted place sets: `lora.r` for `matrix.lora.r` and `arms.a.lora.r`.

    A place that sets none is returned as it is.
    """
    if not path.startswith(("matrix.", "arms.")):
        return path
    parts = path.split(".")
    ends = (".".join(parts[start:]) for start in range(1, len(parts)))
    return next((end for end in ends if end == "base" or end in SCHEMA), path)


def wants_text(path: str) -> bool:
    """Return whether the value at a dotted place, or each value of its list, must be a text."""
    key = named_key(path)
    return key == "base" or types_of(SCHEMA.get(key, {})) in ({"string"}, {"string", "null"})


def types_of(schema: Mapping[str, Any]) -> set[str]:
    """Return the JSON types that a value, or each value of its list, may have."""
    return set(_types(schema))


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    inner = [*schema.get("anyOf", ()), *schema.get("prefixItems", ())]
    if "items" in schema:
        inner.append(schema["items"])
    for one in inner:
        yield from _types(one)
    if not inner and "type" in schema:
        yield schema["type"]
