"""The content of `experiment.yaml`, as one type, and its limits: it may come from someone else.

Names of folders in it are checked before any is opened, and links, which could lead out of the
store, are refused.
"""

import os
import stat
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from paribus.errors import DamagedError, StoreError
from paribus.untrusted import printable

FORMAT = 1
"""Version of `experiment.yaml`."""
MAX_BYTES = 10_000_000
MAX_NODES = 1_000_000
"""Of a description, aliases followed: three times what 256 arms and all their pairs take."""
MAX_DEPTH = 50

REMEDY = "restore it, or delete it and run the experiment again: complete runs are kept"
# Ten times as fast; PyYAML is built without it on some systems.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _plain_name(name: str) -> str:
    if name in ("", ".", "..") or set(name) & set("/\\") or printable(name) != name:
        raise ValueError("is no plain name of a folder")
    return name


_Name = Annotated[str, Field(max_length=200), AfterValidator(_plain_name)]
_Points = Annotated[float, Field(strict=True, gt=0, le=100)]


class _Described(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class _Config(_Described):
    """What is read of a description's config by name."""

    name: str
    question: str = ""
    hypothesis: str = ""
    seeds: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1
    margin: _Points | None = None


class DescribedArm(_Described):
    """An arm: its name, its values of the factors, and the identity of its first seed."""

    name: _Name
    factors: dict[str, Any]
    identity: dict[str, Any]

    @property
    def untuned(self) -> bool:
        """Whether nothing is trained: such an arm is run once, not once per seed."""
        return bool(self.identity.get("method") == "none")


class DescribedContrast(_Described):
    """A declared pair of arms, by name, the factor they differ in, and a margin in points."""

    a: str
    b: str
    factor: str
    margin: _Points | None = None


class DescribedTrial(_Described):
    """A trial of a learning rate for an arm, by name."""

    arm: _Name
    learning_rate: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class Description(_Described):
    """The content of `experiment.yaml`.

    Attributes:
        config: every value of the experiment file.
        origins: dotted key -> where its value was set.
        arms: every arm, untuned ones too.
        contrasts: the pairs to compare.
        trials: of learning rates that `tune` tries.
        asked: one sentence for each question that was asked after the runs; not in the file.
    """

    config: dict[str, Any]
    origins: dict[str, str]
    arms: list[DescribedArm]
    contrasts: list[DescribedContrast]
    trials: list[DescribedTrial] = []
    asked: list[str] = []

    @property
    def name(self) -> str:
        """Of the experiment."""
        return str(self.config["name"])

    @property
    def seeds(self) -> int:
        """How often every arm that trains is run."""
        return int(self.config.get("seeds", 1))

    def record(self) -> dict[str, Any]:
        """Return what is written."""
        return {"format": FORMAT, **self.model_dump(exclude={"asked"})}


class _Checked(_Described):
    config: _Config


def parse_description(text: bytes, path: Path) -> Description:
    """Return the description in `text`, which was read from `path`.

    Raises DamagedError: too large, too deep, no YAML, not of its shape, an arm's name no folder's.
    """
    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
        _refuse_depth(text.decode())
        content = _copied(yaml.load(text, Loader=_LOADER))  # noqa: S506 - a safe loader
        _Checked.model_validate(content)
        return Description.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the whole"
        fault = "it must be a mapping" if first["type"] == "model_type" else first["msg"]
        raise DamagedError(f"{path} is damaged: {key}: {fault}", REMEDY) from error
    except (ValueError, yaml.YAMLError) as error:
        raise DamagedError(f"{path} cannot be read: {error}", REMEDY) from error


def refuse_links(folder: Path) -> None:
    """Raise StoreError if anything in `folder` is a link, a pipe or a device.

    The folder may be a link itself.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place) / name
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise StoreError(f"{path} is neither a file nor a folder", "remove it")
            if stat.S_ISLNK(mode):
                raise StoreError(
                    f"{path} is a symbolic link, which may lead out of the store",
                    "put what it points to in its place",
                )


def _refuse_depth(text: str) -> None:
    """Raise ValueError on nesting that would exhaust the stack, or too many values."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_NODES:
            most = f"{MAX_DEPTH} levels" if depth > MAX_DEPTH else f"{MAX_NODES:,} values"
            raise ValueError(f"it has more than {most}")


def _copied(value: Any) -> Any:
    """Return `value` with nothing shared. Raises ValueError if aliases make it endless or huge."""
    left = MAX_NODES

    def copy(inner: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise ValueError(f"its aliases stand for more than {MAX_NODES:,} values")
        if isinstance(inner, dict):
            return {key: copy(each, depth + 1) for key, each in inner.items()}
        if isinstance(inner, list):
            return [copy(each, depth + 1) for each in inner]
        return inner

    return copy(value, 0)
