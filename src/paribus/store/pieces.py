"""What a run has tested so far, a piece at a time: each sealed, and bound to what the run is.

    pieces/zero_shot-raw-000000.json     the first problems under one protocol
    pieces/likelihood.json               …

A piece holds as many problems as are decoded in one go, so that a text depends on the same
neighbours whether or not the run was interrupted (in bf16 a rounding may).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from paribus.errors import DamagedError
from paribus.files import sha256_of_json
from paribus.store.layout import RunFolder
from paribus.store.runs import writing
from paribus.store.sealed import read_sealed, write_sealed


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """The pieces of one run.

    Attributes:
        folder: the run's.
        run: what the run is, as in `spec.json`.
        on_damaged: is told of a piece that was put aside.
    """

    folder: RunFolder
    run: Mapping[str, Any]
    on_damaged: Callable[[str], None]

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the content of a piece; None if it is not there or is not to be trusted."""
        path = self.folder.pieces / f"{name}.json"
        if not path.exists():
            return None
        try:
            piece = read_sealed(path)
            content: dict[str, Any] = piece["content"]
            return content if piece["run"] == sha256_of_json(self.run) else None
        except (DamagedError, KeyError) as error:
            aside = path.with_suffix(".damaged")
            with writing(path):
                path.replace(aside)
            self.on_damaged(f"{error}; kept aside as {aside.name}, its problems are tested again")
            return None

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Keep a piece. Raises StoreError."""
        path = self.folder.pieces / f"{name}.json"
        with writing(path):
            write_sealed(path, {"run": sha256_of_json(self.run), "content": content})
