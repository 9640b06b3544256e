"""What `paribus verify` counts and finds, while it goes through a store."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from paribus.errors import StoreError
from paribus.files import UNREADABLE


@dataclass(frozen=True, slots=True)
class Difference:
    """A file, or a folder, that is not as it was written, and in what."""

    file: Path
    what: str


@dataclass(slots=True)
class Checked:
    """What was checked, and what was found.

    Attributes:
        runs: complete and unfinished ones, trials among them.
        unfinished: how many of them are not complete.
        files: that were compared with what was written.
        bytes: of those.
        in_use: folders of runs that a process works on; they are not checked.
        differences: all that is not as it was written.
    """

    runs: int = 0
    unfinished: int = 0
    files: int = 0
    bytes: int = 0
    in_use: list[Path] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def count(self, paths: Iterable[Path]) -> None:
        """Count those of `paths` that are files."""
        sizes = [path.stat().st_size for path in paths if path.is_file()]
        self.files += len(sizes)
        self.bytes += sum(sizes)

    def add(self, file: Path, what: str) -> None:
        """Note a difference; `what` may begin with the file's path."""
        found = Difference(file, what.removeprefix(str(file)).lstrip(" ,:"))
        if found not in self.differences:
            self.differences.append(found)

    def add_line(self, line: str, files: Iterable[Path], otherwise: Path) -> None:
        """Note a difference whose `line` begins with one of `files`, or with none of them."""
        named = [path for path in files if line.startswith((f"{path} ", f"{path},"))]
        self.add(max(named, key=lambda path: len(str(path)), default=otherwise), line)

    @contextmanager
    def reading(self, file: Path) -> Iterator[None]:
        """Note what the block raises while it reads `file` as a difference of it."""
        try:
            yield
        except StoreError as error:
            self.add(file, error.message)
        except UNREADABLE as error:
            reason = getattr(error, "strerror", None) or repr(error)
            self.add(file, f"cannot be read: {reason}")
