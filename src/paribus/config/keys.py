"""Every key of an experiment, and what is wrong with the value of one, in a line.

    SCHEMA["training.epochs"]["exclusiveMinimum"]     # 0
    wants_text("revision")                            # True: 0123456 is a commit, not a number
    explain_fault(["training", "epochs"], "greater_than", {"training": {"epochs": 0}})
    # ("training.epochs", "training.epochs must be a number > 0 and ≤ 1,000,000, got 0")

pydantic finds the fault. The message is made here, from the schema, so it always fits the schema.
"""

import difflib
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
            section = next(
                (whole["$defs"][branch["$ref"]] for branch in branches if "$ref" in branch), None
            )
            found[prefix + name] = section or schema
            inner = section or next(filter(None, map(in_list, branches)), {})
            add(f"{prefix}{name}.", inner.get("properties", {}))

    def in_list(branch: Mapping[str, Any]) -> Mapping[str, Any] | None:
        of_items = branch.get("items", {}).get("anyOf", []) if "items" in branch else []
        return next(
            (whole["$defs"][of_item["$ref"]] for of_item in of_items if "$ref" in of_item), None
        )

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


_NAME = "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
_SHAPES = {
    "name": _NAME,
    "method": "'full', 'lora', 'none' or {peft: NAME, KEY: VALUE}",
    "lora.init_lora_weights": "gaussian, olora, eva, pissa, pissa_niter_N or null",
    "matrix": "a list of values, or a mapping of values to further keys",
    "arms": "a mapping of names to keys",
    "evaluation.tasks": "a list of tasks, each a name, a task file, or {task: TASK, path: FOLDER, "
    "test_size: NUMBER, protocol: PROTOCOL}",
    "guard": "a mapping of task names to points, each a number from 0.1 to 50",
    "tune.space": "a mapping of keys to lists of values or to ranges {low: LOW, high: HIGH}",
    "contrasts": "'auto' or a list of pairs of arm names, [a, b] or {a: A, b: B, margin: POINTS}",
}
_FORMER = {"data.source": "task"}
"""Keys of earlier versions, and what they are called."""
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_TYPES = {"integer": "a whole number", "number": "a number", "string": "text"}
_TYPES |= {"boolean": "true or false", "null": "null"}


def nearest(name: str, known: list[str]) -> str:
    """Return "; nearest: X" for the known name most like `name`, or "" if none is like it.

    A key without its section (`epochs`) finds the one that has it (`training.epochs`).
    """
    last = name.rpartition(".")[2]
    same_end = [candidate for candidate in known if candidate.rpartition(".")[2] == last]
    close = difflib.get_close_matches(name, same_end or known, n=1, cutoff=0 if same_end else 0.6)
    return f"; nearest: {close[0]}" if close else ""


def unknown_key(key: str, known: list[str]) -> str:
    """Return that `key` is none of the `known` ones, and which may be meant."""
    if key in _FORMER:
        return f"{key} is `{_FORMER[key]}` now: write {_FORMER[key]}: VALUE"
    return f"{shown_key(key)} is not a known key{nearest(key, known)}"


def explain_fault(parts: list[str], kind: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """Return the dotted key that pydantic's location means, and the problem in our words."""
    dotted = ".".join(parts)
    listed = parts[0] == "contrasts" or parts[:2] == ["evaluation", "tasks"]
    if kind == "unexpected_keyword_argument" and not listed:
        return dotted, unknown_key(dotted, list(SCHEMA))
    if parts[-1] == "[key]":
        return (
            f"arms.{parts[1]}",
            f"{_shown(parts[1])} is not a name for an arm; it must be {_NAME}",
        )
    # The location of a union continues into its branches; the longest known name is the key.
    known = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    key = next(name for name in known if name in SCHEMA)
    path = parts[: key.count(".") + 1]
    if key in ("matrix", "arms") and len(parts) > 1:
        path = parts[:2]
    value: Any = values
    for part in path:
        value = next(inner for name, inner in value.items() if str(name) == part)
    name, schema = ".".join(path), SCHEMA[key]
    if "enum" in schema:
        allowed = ", ".join(map(repr, schema["enum"]))
        return name, f"{name}={_shown(value)} is not allowed; allowed: {allowed}"
    text = f"{shown_key(name)} must be {_expected(key, schema)}, got {_shown(value)}"
    return name, text + _how_to_write(value, schema)


def _how_to_write(value: Any, schema: Mapping[str, Any]) -> str:
    """Return how to write the number that a text such as `0100`, `1_000` or `1:30` may mean."""
    if not isinstance(value, str) or not types_of(schema) & {"integer", "number"}:
        return ""
    digits = value.replace("_", "").lstrip("+0")
    if digits.isdecimal() and digits.isascii():
        return f"; write {digits[:20]}, without quotes, zeros before it or _"
    return "; write a plain number, such as 90 or 1e-5" if value[:1].isdigit() else ""


def _expected(key: str, schema: Mapping[str, Any]) -> str:
    """Return what a value may be, in words, from its JSON schema."""
    if key in _SHAPES:
        return _SHAPES[key]
    if "anyOf" in schema:
        return " or ".join(_expected("", branch) for branch in schema["anyOf"])
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return " or ".join(map(repr, schema["enum"]))
    if schema["type"] == "array":
        return f"a list of {_expected('', schema['items'])}"
    if schema["type"] == "object":
        return f"a mapping of keys ({', '.join(schema['properties'])})"
    bounds = [f"{sign} {schema[word]:,}" for word, sign in _BOUNDS.items() if word in schema]
    return " ".join([_TYPES[schema["type"]], " and ".join(bounds)]).strip()


def shown_key(key: str) -> str:
    """Return `key` as it is, or quoted and cut where it would spoil the line."""
    return key if key.isprintable() and len(key) <= 80 else _shown(key)


def _shown(value: Any) -> str:
    """Return `value` as YAML users write it, on one line, cut at 60 characters."""
    words = {None: "null", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
