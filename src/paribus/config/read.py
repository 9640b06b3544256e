"""Reads YAML that someone else wrote: its plain values, and where each of them was said.

    values, origins = read_file(Path("configs/base.yaml"))
    values["training"]                                # {"epochs": 2}
    str(origins["training.epochs"])                   # "configs/base.yaml:7"

A hostile file can grow without end when it is loaded, or fetch what its reader keeps secret. So
a text is first parsed into events, which does nothing yet, and aliases, tags, interpolations,
control characters and deep nesting are refused there. Every fault is a ConfigError that names file
and line.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from paribus.errors import ConfigError
from paribus.untrusted import printable

MAX_BYTES = 100_000
"""Of a file. The YAML libraries take seconds for ten times as much; 256 named arms take half."""
MAX_DEPTH = 20
MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was said: `str()` is a kind without a file, or `configs/base.yaml:12`."""

    kind: Literal["default", "file", "command line", "tune", "auto"]
    file: Path | None = None
    line: int = 0

    def __str__(self) -> str:
        if self.file is None:
            return self.kind
        return f"{shown_path(self.file)}:{self.line}" if self.line else shown_path(self.file)


def shown_path(path: Path) -> str:
    """Return `path` as its reader knows it: relative where it lies under the current folder."""
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


def read_file(path: Path, said: str = "") -> tuple[dict[Any, Any], dict[str, Origin]]:
    """Return the values in a YAML file as they are nested there, and each key's place, dotted.

    `said` leads the message if the file cannot be read: who asked for it.
    """
    text = _read_text(path, said)
    origin = Origin("file", path)
    with _yaml_faults(origin):
        _refuse_unsafe(text, origin)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{origin}: holds no mapping of keys", "write key: value lines")
        values = _plain(OmegaConf.create(text))
    return values, _lines(node, values, "", origin)


def read_item(item: str, origin: Origin) -> dict[Any, Any]:
    """Return the nested values of one `key=value`, whose value is YAML too."""
    with _yaml_faults(origin):
        _refuse_unsafe(item.partition("=")[2], origin)
        return _plain(OmegaConf.from_dotlist([item]))


def _read_text(path: Path, said: str) -> str:
    name = f"{said}{shown_path(path)}"
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist or is no regular file"
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
    """Turn whatever the YAML libraries raise on bad text into a ConfigError."""
    try:
        yield
    except (
        yaml.YAMLError,
        OmegaConfBaseException,
        ValueError,
        TypeError,
        ArithmeticError,
    ) as error:
        mark = getattr(error, "problem_mark", None)
        place = replace(origin, line=mark.line + 1) if mark else origin
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigError(f"{place}: is not valid YAML: {what}", "mend the syntax") from error


def _refuse_unsafe(text: str, origin: Origin) -> None:
    """Raise ConfigError on whatever could expand, run or leak when the text is loaded."""
    documents = depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        fault, remedy = _unsafe(event)
        if documents > 1:
            fault, remedy = "a second document", "keep one document in a file"
        elif depth > MAX_DEPTH:
            fault, remedy = f"nesting deeper than {MAX_DEPTH}", "write it flat"
        if fault:
            mark = event.start_mark
            place = replace(origin, line=mark.line + 1 if mark else 0)
            raise ConfigError(f"{place}: {fault} is not allowed", remedy)


def _unsafe(event: yaml.Event) -> tuple[str, str]:
    """Return what is unsafe about one element of a YAML text, and the remedy, or blanks."""
    value = event.value if isinstance(event, yaml.ScalarEvent) else ""
    tag = getattr(event, "tag", None)
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


def _plain(config: Any) -> dict[Any, Any]:
    """Return the values of an OmegaConf container, or raise ValueError on an endless number."""

    def whole(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise ValueError(f"a number has more than {MAX_DIGITS} digits: {digits[:MAX_DIGITS]}…")
        return int(digits)

    values: Any = OmegaConf.to_container(config)
    json.loads(json.dumps(values), parse_int=whole)
    return dict(values)


def _lines(node: yaml.MappingNode, values: Any, prefix: str, origin: Origin) -> dict[str, Origin]:
    """Return the place of every key, by dotted name."""
    found: dict[str, Origin] = {}
    if len(node.value) != len(values):
        place = replace(origin, line=node.start_mark.line + 1)
        raise ConfigError(f"{place}: two keys below are equal, such as 1 and true", "drop one")
    for (key_node, child), (key, value) in zip(node.value, values.items(), strict=True):
        place = replace(origin, line=key_node.start_mark.line + 1)
        inner = {f"{prefix}{key}": place}
        if isinstance(child, yaml.MappingNode):
            inner |= _lines(child, value, f"{prefix}{key}.", origin)
        twice = next((name for name in inner if name in found), None)
        if twice:
            raise ConfigError(f"{place}: {twice} was set before, at {found[twice]}", "drop one")
        found |= inner
    return found
