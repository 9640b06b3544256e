"""JSON that someone else wrote: its value, or in plain words why there is none.

parsed(b'{"id": 1}', "x.jsonl:1", "JSON", MEND)            # {"id": 1}
check_unwrapped("x.json:1", {"samples": [{"id": 1}]})      # DataError: jq -c '.samples[]' …
"""

import codecs
import json
import re
import shlex
from typing import Any

from paribus.errors import DataError
from paribus.files import KeyTwiceError, parse_json

MEND = "mend or remove the line"
ENCODE = "save the whole file as UTF-8: iconv -f latin1 -t utf-8 IN > OUT; from Windows: -f cp1252"
ROW_KEYS = {"question", "completion", "problem_id"}
"""Every row has one of them, but for lm-eval's, which has a `doc`."""
_HALF = re.compile("[\ud800-\udfff]")
_PLAIN = re.compile("[A-Za-z_][A-Za-z0-9_]*").fullmatch


def parsed(text: bytes, where: str, what: str, remedy: str) -> Any:
    """Return the value in `text`, which should be `what`. Raises DataError that names the cause."""
    try:
        return parse_json(text.removeprefix(codecs.BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not in UTF-8: {fault(error)}", ENCODE) from error
    except RecursionError as error:
        raise DataError(f"{where}: nested too deeply", remedy) from error
    except KeyTwiceError as error:
        raise DataError(f"{where}: {error}", remedy) from error
    except ValueError as error:
        raise DataError(f"{where}: not {what}: {error}", remedy) from error


def fault(error: UnicodeDecodeError) -> str:
    """Return which byte of a text is in no encoding that it should be in."""
    return f"byte 0x{error.object[error.start]:02x} at {error.start:,}, {error.reason}"


def object_in(line: bytes, where: str) -> dict[str, Any]:
    """Return the object on a line. Raises DataError."""
    row = parsed(line, where, "JSON", MEND)
    if not isinstance(row, dict):
        raise DataError(f"{where}: not an object", f"{MEND}: each holds one object")
    return row


def has_half_pair(value: Any) -> bool:
    """Return whether a value of JSON holds half a surrogate pair: JSON can spell it, no text can.

    What is of another type than JSON's is no text.
    """
    if isinstance(value, str):
        return not value.isascii() and _HALF.search(value) is not None
    if isinstance(value, dict):
        return any(map(has_half_pair, value)) or any(map(has_half_pair, value.values()))
    return isinstance(value, list) and any(map(has_half_pair, value))


def begun(text: bytes) -> dict[str, Any] | None:
    """Return the object that `text` begins with, None if it does not."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text.decode("utf-8-sig", "replace").lstrip())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def check_unwrapped(where: str, only: dict[str, Any]) -> None:
    """Raise DataError if the one object of a file is no row, but holds the rows."""
    keys = None if (ROW_KEYS | {"doc"}) & only.keys() else _way_to_rows(only)
    if keys:
        steps = "".join(f".{key}" if _PLAIN(key) else f"[{json.dumps(key)}]" for key in keys)
        program = shlex.quote(("" if steps.startswith(".") else ".") + steps + "[]")
        named = " in ".join(map(ascii, reversed(keys)))
        raise DataError(
            f"{where}: one object, which holds the rows as a list under {named:.200}",
            f"give the list alone, or its objects on one line each: jq -c {program} FILE > ROWS",
        )


def _way_to_rows(value: dict[str, Any], depth: int = 3) -> list[str]:
    """Return the keys that lead to the first list of objects in `value`; none if there is none."""
    for key, inner in value.items():
        if isinstance(inner, list) and inner and all(isinstance(each, dict) for each in inner):
            return [key]
    for key, inner in value.items() if depth > 1 else ():
        if isinstance(inner, dict) and (found := _way_to_rows(inner, depth - 1)):
            return [key, *found]
    return []
