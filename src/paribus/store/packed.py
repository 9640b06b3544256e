"""An experiment without its weights as a few Parquet files, for others to read, keep and check.

    pack(ExperimentFolder(Path("runs/gsm8k")), Path("results/gsm8k"))
    unpack(Path("results/gsm8k"), Path("runs/gsm8k"))       # every file as it was, to the byte

results/gsm8k/
  texts.parquet          every text of every run and trial, a row each
  likelihoods.parquet    the likelihood of every gold solution
  files.parquet          path and content of all other files: specs, events, results, manifests
  packed.json            written last, sealed: hashes of the three

What is unpacked is held against the manifests that the runs were sealed with, so a table that was
changed is found. Weights, checkpoints and what trackers wrote stay behind.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from paribus.errors import DamagedError, StoreError
from paribus.files import json_line, read_bytes, sha256_of_file, write_bytes
from paribus.records import Generation, Likelihood
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.locks import held
from paribus.store.manifest import read_sealed, write_sealed
from paribus.store.runs import (
    as_generation,
    as_likelihood,
    generation_row,
    likelihood_row,
    read_generations,
    read_heldout,
    writing,
)
from paribus.store.status import runs_of

if TYPE_CHECKING:
    import pyarrow

SEAL = "packed.json"
FORMAT = 1
_TEXTS, _LIKELIHOODS, _FILES = "texts.parquet", "likelihoods.parquet", "files.parquet"
_LEFT = ("weights", "checkpoints", "pieces", "trackers", "lock")
"""Of a run: not packed."""


def pack(folder: ExperimentFolder, into: Path) -> None:
    """Write the experiment's runs, texts and ledger into `into`, as the tables above.

    Raises StoreError if a run is in use, a file cannot be read, or nothing can be written.
    """
    runs = list(runs_of(folder))
    busy = [run.path for run in runs if held(run.lock)]
    if busy:
        raise StoreError(f"{busy[0]} is being worked on", "wait until it is complete, or stop it")
    texts: list[dict[str, Any]] = []
    likelihoods: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for path in _packed_files(folder, runs):
        name, content = path.relative_to(folder.path).as_posix(), read_bytes(path)
        rows = _text_rows(path, name, content)
        more = _likelihood_rows(path, name, content)
        texts += rows or ()
        likelihoods += more or ()
        if rows is None and more is None:
            others.append({"file": name, "content": content})
    with writing(into):
        into.mkdir(parents=True, exist_ok=True)
        (into / SEAL).unlink(missing_ok=True)
        for file, rows in ((_TEXTS, texts), (_LIKELIHOODS, likelihoods), (_FILES, others)):
            write_table(into / file, rows, _schema(file))
        hashes = {name: sha256_of_file(into / name) for name in (_TEXTS, _LIKELIHOODS, _FILES)}
        write_sealed(into / SEAL, {"format": FORMAT, "files": hashes})


def unpack(source: Path, into: Path) -> ExperimentFolder:
    """Write the files packed in `source` to the new folder `into`, and return it.

    Raises StoreError if `into` holds something, DamagedError if a table is not what was written.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise StoreError(f"{into} is there already", "name a folder that does not exist")
    _check_seal(source)
    with writing(into):
        for name, content in _contents(source):
            path = _inside(into, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content)
    return ExperimentFolder(into)


def is_packed(folder: Path) -> bool:
    """Return whether `folder` is what `pack` wrote."""
    return (folder / SEAL).is_file()


def _check_seal(source: Path) -> None:
    seal = read_sealed(source / SEAL)
    if seal.get("format") != FORMAT:
        raise StoreError(
            f"{source / SEAL} has format {seal.get('format')}, this paribus reads {FORMAT}",
            "use the paribus that wrote it",
        )
    for name, stated in seal["files"].items():
        if not (source / name).is_file() or sha256_of_file(source / name) != stated:
            raise DamagedError(
                f"{source / name} is missing or is not what was written",
                "fetch the folder again from where it was published",
            )


def _packed_files(folder: ExperimentFolder, runs: Sequence[RunFolder]) -> Iterator[Path]:
    """Yield the files that are packed, in order: the experiment's, then each run's."""
    for path in (folder.description, folder.ledger, folder.tuning):
        if path.is_file():
            yield path
    for run in runs:
        for path in sorted(run.path.rglob("*")):
            first = path.relative_to(run.path).parts[0]
            if path.is_file() and not path.is_symlink() and first not in _LEFT:
                yield path


def _text_rows(path: Path, name: str, content: bytes) -> list[dict[str, Any]] | None:
    """Return a row for each text in `path`; None unless they say all that its bytes do."""
    if path.parent.name != "generations":
        return None
    rows = read_generations(path)
    if not rows or _lines(rows, generation_row) != content:
        return None
    return [{"file": name, **_flat(row)} for row in rows]


def _likelihood_rows(path: Path, name: str, content: bytes) -> list[dict[str, Any]] | None:
    if path.name != "heldout.jsonl":
        return None
    rows = read_heldout(path)
    if not rows or _lines(rows, likelihood_row) != content:
        return None
    return [{"file": name, **likelihood_row(row)} for row in rows]


def _lines(rows: Sequence[Any], as_row: Callable[[Any], dict[str, Any]]) -> bytes:
    return "".join(json_line(as_row(row)) for row in rows).encode()


def _flat(generation: Generation) -> dict[str, Any]:
    row = generation_row(generation)
    if "document" in row:
        row["document"] = json.dumps(row["document"], ensure_ascii=False)
    return row


def _contents(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every packed file."""
    for row in _rows(source / _FILES):
        yield row["file"], row["content"]
    for file, lines in _by_file(source / _TEXTS):
        yield file, _lines([as_generation(_deep(line)) for line in lines], generation_row)
    for file, lines in _by_file(source / _LIKELIHOODS):
        names = {field.name for field in fields(Likelihood)} - {"group"}
        kept = [{k: v for k, v in line.items() if k in names or v is not None} for line in lines]
        yield file, _lines([as_likelihood(line) for line in kept], likelihood_row)


def _deep(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of texts as its line of JSON had it: what is null there was not stated."""
    stated = {name: value for name, value in row.items() if value is not None}
    if "document" in stated:
        stated["document"] = json.loads(stated["document"])
    return stated


def _by_file(table: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each file's rows, which lie together."""
    lines: list[dict[str, Any]] = []
    before = None
    for row in _rows(table):
        file = row.pop("file")
        if before is not None and file != before:
            yield before, lines
            lines = []
        before = file
        lines.append(row)
    if before is not None:
        yield before, lines


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a packed file. Raises DamagedError if it leads out of `folder`."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute():
        raise DamagedError(f"the packed file {name!r} leads out of its folder", "do not unpack it")
    return folder.joinpath(*parts)


def _schema(file: str) -> "pyarrow.Schema":
    import pyarrow as pa

    name = pa.field("file", pa.string())
    if file == _FILES:
        return pa.schema([name, pa.field("content", pa.binary())])
    if file == _LIKELIHOODS:
        columns = {"problem_id": pa.string(), "nll": pa.float64(), "tokens": pa.int64()}
        return pa.schema([name, *columns.items(), ("group", pa.string())])
    strings = ("problem_id", "question", "answer", "prompt_sha256", "text")
    return pa.schema(
        [
            name,
            *((column, pa.string()) for column in strings),
            ("num_tokens", pa.int64()),
            *((column, pa.string()) for column in ("stop", "solution", "group")),
            ("answers", pa.list_(pa.string())),
            ("choices", pa.list_(pa.string())),
            ("choice_nlls", pa.list_(pa.float64())),
            ("document", pa.string()),
        ]
    )


def write_table(path: Path, rows: list[dict[str, Any]], schema: "pyarrow.Schema") -> None:
    """Write `rows` as Parquet, packed. Raises OSError."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pylist(rows, schema=schema)
    parquet.write_table(table, path, compression="zstd", compression_level=19)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import ArrowException, parquet

    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
            yield from batch.to_pylist()
    except (ArrowException, ValueError, OSError) as error:
        raise DamagedError(
            f"{path} cannot be read as Parquet: {error}", "fetch it again"
        ) from error
