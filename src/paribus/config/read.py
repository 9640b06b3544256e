"""Reads YAML that someone else wrote: its plain values, and where each of them was set.

    values, origins = read_file(Path("configs/base.yaml"))
    values["training"]["epochs"]                      # 1
    str(origins["training.epochs"])                   # "configs/base.yaml:11"

A hostile file can grow without end when it is loaded, or fetch what its reader keeps secret. So
a text is first parsed into events, which does nothing yet, and aliases, tags, interpolations,
control characters, deep nesting and too many values are refused there. Every fault is a
ConfigError that names file and line.

Plain values are read as YAML 1.2 has it: `true` is a truth value, `off` and `yes` are texts, and so
is `0100`, which YAML 1.1 takes for 64. Where a key wants a text, as `revision` does, what was
written is the text, whatever it looks like.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from paribus.config.keys import SCHEMA, wants_text
from paribus.config.nested import nest
from paribus.config.task import FUNCTION
from paribus.errors import ConfigError
from paribus.untrusted import printable

MAX_BYTES = 100_000
"""Of a file. The YAML libraries take seconds for ten times as much; 256 named arms take half."""
MAX_DEPTH = 20
MAX_VALUES = 10_000
"""Of a file, keys among them: its faults are listed within a second or two."""
MAX_DIGITS = 18

_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = ("", "~", "null", "Null", "NULL")
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(
    r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan"
)
"""No zero leads: YAML 1.1 reads 0100 as 64, YAML 1.2 as 100."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was set: `str()` gives `configs/base.yaml:12`, or the kind without a file."""

    kind: Literal[
        "default", "default for full", "default for lora", "file", "command line", "tune", "auto"
    ]
    file: Path | None = None
    line: int = 0

    def __str__(self) -> str:
        if self.file is None:
            return self.kind
        return f"{shown_path(self.file)}:{self.line}" if self.line else shown_path(self.file)


def shown_path(path: Path) -> str:
    """Return `path` for messages: relative if it is under the current folder."""
    absolute = Path(os.path.normpath(path.absolute()))
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def find_origin(key: str, origins: Mapping[str, Origin]) -> Origin:
    """Return the origin of `key`, else of the first key below it, else of the nearest above."""
    if key in origins:
        return origins[key]
    for known, origin in origins.items():
        if known.startswith(f"{key}."):
            return origin
    parent = key.rpartition(".")[0]
    return find_origin(parent, origins) if parent else Origin("default")


def read_file(
    path: Path, said: str = "", *, functions: bool = False
) -> tuple[dict[Any, Any], dict[str, Origin]]:
    """Return the values in a YAML file as they are nested there, and each key's place, dotted.

    `said` leads the message if the file cannot be read: who asked for it. With `functions` a value
    may have the tag `!function`; it is read as the text `!function NAME`, and nothing is run.
    """
    text = _read_text(path, said)
    origin = Origin("file", path)
    with _yaml_faults(origin):
        _refuse_unsafe(text, origin, {FUNCTION} if functions else set())
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{origin}: is not a mapping of keys to values", "write key: value lines")
    origins: dict[str, Origin] = {}
    return _mapping(node, "", origin, origins), origins


def read_item(item: str, origin: Origin) -> dict[Any, Any]:
    """Return the nested values of one `key=value`, whose value is YAML too."""
    key, _, text = item.partition("=")
    with _yaml_faults(origin):
        _refuse_unsafe(text, origin)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    return nest({key: None if node is None else _value(node, key, origin, {})})


def _read_text(path: Path, said: str) -> str:
    name = f"{said}{shown_path(path)}"
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist or is not a regular file"
            raise ConfigError(f"{name} {what}", "name a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{name} is over {MAX_BYTES:,} bytes", "name an experiment file")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{line}: is not UTF-8", "save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}", "check the path") from error


@contextmanager
def _yaml_faults(origin: Origin) -> Iterator[None]:
    """Turn every error of the YAML libraries into a ConfigError."""
    try:
        yield
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:
        mark = getattr(error, "problem_mark", None)
        place = replace(origin, line=mark.line + 1) if mark else origin
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigError(f"{place}: is not valid YAML: {what}", "fix the syntax") from error


def _refuse_unsafe(text: str, origin: Origin, tags: Collection[str] = ()) -> None:
    """Raise ConfigError on anything that could expand, run or leak when the text is loaded.

    A text may have one of `tags`.
    """
    documents = depth = values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        documents += isinstance(event, yaml.DocumentStartEvent)
        values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        fault, remedy = _unsafe(event, tags)
        if documents > 1:
            fault, remedy = "a second document", "keep one document in a file"
        elif depth > MAX_DEPTH:
            fault, remedy = f"nesting deeper than {MAX_DEPTH}", "write it flat"
        elif values > MAX_VALUES:
            fault, remedy = f"a file of more than {MAX_VALUES:,} values", "write fewer"
        if fault:
            mark = event.start_mark
            place = replace(origin, line=mark.line + 1 if mark else 0)
            raise ConfigError(f"{place}: {fault} is not allowed", remedy)


def _unsafe(event: yaml.Event, tags: Collection[str]) -> tuple[str, str]:
    """Return what is unsafe about one element of a YAML text, and the remedy, or blanks."""
    value = event.value if isinstance(event, yaml.ScalarEvent) else ""
    tag = getattr(event, "tag", None)
    if isinstance(event, yaml.ScalarEvent) and tag in tags:
        tag = None
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "an anchor or alias", "write the value out, or use base: FILE"
    if tag or value == "<<":
        return f"the tag {tag or value!r}", "write a plain value"
    if "${" in value:
        return f"the interpolation {value[:40]!r}", "write the value itself"
    if value == "???":
        return "'???', a missing value", "write the value itself"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "text that is not Unicode", "write it in UTF-8"
    if printable(value) != value:
        shown = printable(value)[:40]
        return f"the control character in {shown!r}", "write text that can be seen"
    return "", ""


def _value(node: yaml.Node, path: str, origin: Origin, found: dict[str, Origin]) -> Any:
    """Return the value of `node` at the dotted `path`; add its keys to `found`."""
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, origin, found)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, path, origin, {}) for item in node.value]
    return _scalar(node, origin, as_text=wants_text(path))


def _mapping(
    node: yaml.MappingNode, path: str, origin: Origin, found: dict[str, Origin]
) -> dict[Any, Any]:
    """Return the values of a mapping; add the place of every key to `found`, by dotted name."""
    values: dict[Any, Any] = {}
    for key_node, child in node.value:
        place = _place(key_node, origin)
        key = _key(key_node, path, origin)
        equal = next((old for old in values if old == key), key)  # 1 and true are
        name = f"{path}.{equal}" if path else str(equal)
        if name in found:
            raise ConfigError(f"{place}: {name} was set before, at {found[name]}", "drop one")
        found[name] = place
        values[key] = _value(child, name, origin, found)
    return values


def _place(node: yaml.Node, origin: Origin) -> Origin:
    """Return the place of `node`; the command line has no lines."""
    return replace(origin, line=node.start_mark.line + 1) if origin.file else origin


def _key(node: yaml.Node, path: str, origin: Origin) -> Any:
    """Return a key: its text as written, but for a factor's values, which are read as values."""
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{_place(node, origin)}: a key must be a text", "write key: value lines")
    factor = path.removeprefix("matrix.")
    if factor == path or factor not in SCHEMA or "properties" in SCHEMA[factor]:
        return node.value
    value = _scalar(node, origin, as_text=wants_text(path))
    if value is None:
        remedy = "list the values, or the arms by name under arms:"
        raise ConfigError(f"{_place(node, origin)}: {path}: null is not a key of a mapping", remedy)
    return value


def _scalar(node: yaml.Node, origin: Origin, *, as_text: bool) -> Any:
    """Return a text, or the value of a plain word. Raises ConfigError on an infinite number."""
    written: str = node.value
    if node.tag == FUNCTION:
        return f"{FUNCTION} {written}"
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:  # quoted
        return written
    if written in _NULLS:
        return None
    if as_text:
        return written
    if written in _WORDS:
        return _WORDS[written]
    if _WHOLE.fullmatch(written):
        if len(written.lstrip("+-")) > MAX_DIGITS:
            what = f"a number has more than {MAX_DIGITS} digits: {written[:MAX_DIGITS]}…"
            raise ConfigError(f"{_place(node, origin)}: {what}", "write a smaller one")
        return int(written)
    # Python has no dot before inf and nan.
    return float(re.sub(r"\.(?=[in])", "", written)) if _DECIMAL.fullmatch(written) else written
