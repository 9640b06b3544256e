"""Rows of a file that someone else wrote, whatever its format.

    for where, row in read_rows(Path("test.jsonl.gz")):     # "test.jsonl.gz:1", {"question": …}

JSON lines, one JSON list, a table with a header (CSV), Parquet; text in UTF-8, UTF-16 or UTF-32;
compressed by gzip, bzip2 or xz. The format is recognised by content, never by name. What is wrong
with a row is said in plain words, with its place:

    parsed(b'{"id": 1}', "x.jsonl:1", "JSON", MEND)            # {"id": 1}
    check_unwrapped("x.json:1", {"samples": [{"id": 1}]})      # DataError: jq -c '.samples[]' …
"""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import shlex
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import IO, Any, TypeAlias

from paribus.errors import DataError
from paribus.files import KeyTwiceError, open_file, parse_json

MEND = "fix or remove the line"
ENCODE = "save the whole file as UTF-8: iconv -f latin1 -t utf-8 IN > OUT; from Windows: -f cp1252"
ROW_KEYS = {"question", "completion", "problem_id"}
"""Every row of generations or gold has one of them, but for lm-eval's, which has a `doc`."""
_TURNS = {"messages", "conversations"}
"""Columns of a row that are lists of objects."""
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

    What is of another type than JSON's is not text.
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
    """Raise DataError if the one object of a file is not a row, but holds the rows."""
    keys = None if (ROW_KEYS | _TURNS | {"doc"}) & only.keys() else _way_to_rows(only)
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


MAX_LINE_BYTES = 16 * 2**20
"""A longer line is not a sample of a word problem, and is not read into memory."""
MAX_BYTES = 2**30
"""Of a file, unpacked: it is read into memory."""

MAX_ROWS = 10_000_000
"""Of Parquet, where a few bytes can stand for many rows."""

Row: TypeAlias = tuple[str, dict[str, Any]]
"""Where it stands, for messages, and what it holds."""

_LINES = "give JSON lines: one object on each line"
_PACKED: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_PARQUET = b"PAR1"
_UNREAD = {
    b"PK\x03\x04": ("a zip archive, or a sheet of Excel", "unpack it, or save it as CSV"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "unpack it: zstd -d"),
    b"ARROW1": ("an Arrow file", "save it as Parquet or JSON lines"),
    b"\x80\x04\x95": ("a pickle", "save it as JSON lines: pickles can run code and are not read"),
    b"SQLite format 3": ("a database", "give its rows as JSON lines or CSV"),
}
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def read_rows(path: Path, *, table: bool = False) -> Iterator[Row]:
    """Yield the rows in the file `path`, in its order. Raises DataError.

    A byte order mark is dropped, blank lines are left out. In a table and in Parquet a cell that is
    empty states nothing, but for a completion's. With `table`, a table may have any columns, and
    what is empty in it is an empty text.
    """
    try:
        with open_file(path) as file:
            yield from _rows(file, path, table=table)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} cannot be read: {reason}", "give a regular file that is whole"
        ) from error


def _rows(file: Any, path: Path, *, table: bool) -> Iterator[Row]:
    """Yield the rows in `file`, a buffered reader of bytes."""
    head: bytes = file.peek(16)
    for magic, unpack in _PACKED.items():
        if head.startswith(magic):
            file = unpack(file) if unpack is not gzip.GzipFile else unpack(fileobj=file)
            head = file.peek(16)
            break
    for magic, (what, remedy) in _UNREAD.items():
        if head.startswith(magic):
            raise DataError(f"{path} is {what}", remedy)
    if head.startswith(_PARQUET):
        yield from _parquet(file, path, table=table)
        return
    encoding = json.detect_encoding(head[:4])
    if _is_binary(head, encoding):
        raise DataError(f"{path} is binary, not text", f"{_LINES}, a table (CSV) or Parquet")
    if encoding.startswith(("utf-16", "utf-32")):
        file = io.BytesIO(_decoded(_rest(file, path), encoding, path).encode())
    yield from _text_rows(file, path, table=table)


def _is_binary(head: bytes, encoding: str) -> bool:
    """Whether a file begins so that it is not text.

    Of UTF-8 that is a zero byte; of what is not UTF-8, UTF-16 or UTF-32, a control character.
    """
    if encoding.startswith("utf-8"):
        try:
            codecs.getincrementaldecoder("utf-8")().decode(head)
        except UnicodeDecodeError:
            return _CONTROL.search(head) is not None
    return encoding.startswith("utf-8") and b"\0" in head


def _text_rows(file: IO[bytes], path: Path, *, table: bool) -> Iterator[Row]:
    """Yield the rows of a text in UTF-8; its first character says which form it has."""
    lines = _lines(file, path)
    number, first = next(((n, line) for n, line in lines if line.strip()), (0, b""))
    text = first.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        yield from _list(text + _rest(file, path), path, number)
    elif text.startswith(b"{") or not (_is_header(text) or (table and text)):
        more: Iterator[tuple[str, bytes]] = (
            (f"{path}:{number}", line) for number, line in lines if line.strip()
        )
        if text:
            row = _first_object(first, file, path, number)
            second = next(more, None)
            if second is None:
                check_unwrapped(*row)
            yield row
            more = chain([second] if second else [], more)
        for where, line in more:
            yield where, object_in(line, where)
    else:
        yield from _table(text + _rest(file, path), path, number, empty=table)


def _lines(file: IO[bytes], path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line and its number, from 1. Raises DataError if one, or the file, is too long."""
    left = MAX_BYTES
    for number in count(1):
        line = file.readline(MAX_LINE_BYTES + 1)
        if not line:
            return
        if len(line) > MAX_LINE_BYTES and not line.lstrip().startswith(b"["):
            message = f"{path}:{number}: the line is longer than {MAX_LINE_BYTES:,} bytes"
            raise DataError(message, _LINES)
        left -= len(line)
        if left < 0:
            raise _too_large(path)
        yield number, line


def _rest(file: IO[bytes], path: Path) -> bytes:
    """Return what is left of `file`. Raises DataError if that is more than `MAX_BYTES`."""
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _too_large(path)
    return content


def _too_large(path: Path) -> DataError:
    return DataError(f"{path} is larger than {MAX_BYTES:,} bytes", "give it in parts")


def _decoded(content: bytes, encoding: str, path: Path) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"{path} is not in {encoding.upper()}: {fault(error)}"
        raise DataError(message, ENCODE) from error


def _first_object(line: bytes, file: IO[bytes], path: Path, number: int) -> Row:
    """Return the first row. Raises DataError; an object over several lines is named as that."""
    where = f"{path}:{number}"
    try:
        return where, object_in(line, where)
    except DataError:
        if begun(line) is not None:
            raise
        found = begun(line + _rest(file, path))
        if found is None:
            raise
    remedy = "give the list in it alone, or write each object on one line: jq -c . FILE"
    if {"results", "configs"} <= found.keys():
        remedy = "give the samples_*.jsonl beside it (--log_samples): this is lm-eval's summary"
    else:
        check_unwrapped(where, found)
    named = ", ".join(map(ascii, sorted(found)[:8]))
    message = f"{where}: an object that continues over several lines; its keys: {named:.200}"
    raise DataError(message, remedy)


def _list(text: bytes, path: Path, number: int) -> Iterator[Row]:
    """Yield the items of one JSON list."""
    where = f"{path}:{number}"
    items = parsed(text, where, "one JSON list", f"give one list of objects, or {_LINES[5:]}")
    for item, row in enumerate(items, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, item {item}: not an object", "give one list of objects")
        yield f"{path}, item {item}", row


def _is_header(line: bytes) -> bool:
    """Whether a line that is not JSON names a column of ours among others."""
    names = _names(line.decode(errors="replace"))
    return len(names) > 1 and bool(ROW_KEYS & set(names))


def _names(header: str) -> list[str]:
    """Return the names of a table's columns; none if the line cannot be one's header."""
    with suppress(csv.Error):
        cells = next(csv.reader([header], delimiter=_delimiter(header)), [])
        return [name.strip() for name in cells]
    return []


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _table(content: bytes, path: Path, number: int, *, empty: bool) -> list[Row]:
    """Return the rows of a table whose header is line `number`."""
    text = _decoded(content, "utf-8", path)
    header = text.partition("\n")[0]
    names = _names(header)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}:{number}: the column {twice!a} comes twice", "remove one")
    found: list[Row] = []
    before = csv.field_size_limit(MAX_LINE_BYTES)  # the default is 131,072 characters
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(header), strict=True)
    where = f"{path}:{number}"
    try:
        next(lines)
        for cells in lines:
            where = f"{path}:{number - 1 + lines.line_num}"
            if cells and len(cells) != len(names):
                message = f"{where}: {len(cells)} cells; the header has {len(names)}"
                raise DataError(message, "put a cell that holds a comma or a line end in quotes")
            if cells:
                row = dict(zip(names, cells, strict=True))
                found.append((where, row if empty else _stated(row)))
    except csv.Error as error:
        raise DataError(f"{where}: not a table (CSV) from this line on: {error}", MEND) from error
    finally:
        csv.field_size_limit(before)
    return found


def _stated(row: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of `row` that state something: an empty completion was written so."""
    return {
        key: value
        for key, value in row.items()
        if value is not None and (value != "" or key in ("completion", "text"))
    }


def _parquet(file: IO[bytes], path: Path, *, table: bool) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path} is Parquet, and pyarrow is not installed",
            "install it (pip install pyarrow), or give JSON lines",
        ) from error
    try:
        packed = parquet.ParquetFile(file)
        if packed.metadata.num_rows > MAX_ROWS:
            raise DataError(f"{path} has more than {MAX_ROWS:,} rows", "give it in parts")
        numbers = count(1)
        for batch in packed.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                yield f"{path}, row {next(numbers)}", row if table else _stated(row)
    except (pyarrow.ArrowException, ValueError, OSError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}", "write it again") from error
