"""Files of an experiment as a whole: its description, its trials and its report's hashes.

`experiment.yaml` states what was asked, of which arms; its first line is the hash of the others. It
may come from someone else, so its size is limited, names of folders are checked before any is
opened, and links, which could lead out of the store, are refused.
`tuning.json`, sealed, holds the trials of each arm and the chosen rate, or the chosen trial:

    {"format": 1, "arms": {"full-main": {"chosen": 2e-05, "edge": null, "trials": [...]}}}
    {"format": 1, "arms": {"full-main": {..., "search": {"best": 3, ...}}}}

`report/manifest.json`, sealed and written last, holds the hashes of the page and the findings.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from paribus.config.spec import RATE_KEYS
from paribus.errors import DamagedError, StoreError
from paribus.files import UNREADABLE, open_file, read_bytes, sha256_of_file, write_json, write_text
from paribus.store.layout import ExperimentFolder
from paribus.store.manifest import read_sealed, write_sealed
from paribus.store.results import Recorded, first_fault
from paribus.store.runs import writing
from paribus.untrusted import printable, redacted_values

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
        raise ValueError("is not a plain name of a folder")
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
    """An arm: its name, its values of the factors, and the identity of its first seed.

    `task` is the record of a task that did not come with paribus.
    """

    name: _Name
    factors: dict[str, Any]
    identity: dict[str, Any]
    task: dict[str, Any] | None = None

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
    """A trial of an arm, by name: of a learning rate, or by its number in a search."""

    arm: _Name
    learning_rate: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    number: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"trial-{self.number}" if self.number else f"lr-{self.learning_rate!r}"


class Description(_Described):
    """The content of `experiment.yaml`.

    Attributes:
        config: every value of the experiment file.
        origins: dotted key -> where its value was set.
        arms: every arm, untuned ones too.
        contrasts: the pairs to compare.
        trials: of `tune`.
        tasks: name of a further task -> its record; None of one that came with paribus.
        asked: one sentence for each question that was asked after the runs; not in the file.
        scorer: the scorer that conclusions are drawn from, "" for each task's first; not in the
            file.
    """

    config: dict[str, Any]
    origins: dict[str, str]
    arms: list[DescribedArm]
    contrasts: list[DescribedContrast]
    trials: list[DescribedTrial] = []
    tasks: dict[str, dict[str, Any] | None] = {}
    asked: list[str] = []
    scorer: str = ""

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return str(self.config["name"])

    @property
    def seeds(self) -> int:
        """How often every arm that trains is run."""
        return int(self.config.get("seeds", 1))

    def record(self) -> dict[str, Any]:
        """Return what is written."""
        content = self.model_dump(exclude={"asked", "scorer"})
        for arm in content["arms"]:
            if arm["task"] is None:  # as before there was such a key
                del arm["task"]
        if not self.tasks:
            del content["tasks"]
        for trial in content["trials"]:
            del trial["number" if trial["number"] is None else "learning_rate"]
        return {"format": FORMAT, **content}


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
            return {key: copy(value, depth + 1) for key, value in inner.items()}
        if isinstance(inner, list):
            return [copy(value, depth + 1) for value in inner]
        return inner

    return copy(value, 0)


class Tried(Recorded):
    """What one trial came to.

    Attributes:
        learning_rate: the peak rate tried; None in a search.
        state: `complete` or `failed`, as a run's.
        fingerprint: of the trial's spec.
        nll_per_token: held-out loss in nats; None if it failed or is undefined.
        solved: validation problems solved, by the main scorer; None if it failed, and by a
            metric that is not binary.
        n: validation problems; None if it failed.
        seconds: of training and testing; None if it failed.
        error: why it failed, or None.
        values: in a search, what was tried: dotted key -> value.
        flops: in a search, what its training takes; None if the model's shape is not known.
        nll_error: in a search, the standard error of the loss over problems; None under two.
    """

    learning_rate: float | None
    state: str
    fingerprint: str
    nll_per_token: float | None = None
    solved: int | None = None
    n: int | None = None
    seconds: float | None = None
    error: str | None = None
    values: dict[str, Any] | None = None
    flops: float | None = None
    nll_error: float | None = None


class Searched(Recorded):
    """How a space was searched, and what for.

    Attributes:
        asked: the keys with their ranges, the budget, the sampler and its seed.
        best: place of the chosen trial, from 0; None if none has a loss.
        edges: keys whose chosen value lies at an end of its range.
    """

    asked: dict[str, Any]
    best: int | None
    edges: dict[str, Literal["low", "high"]]


class ArmTuning(Recorded):
    """How an arm's learning rate, or its values of other keys, were found.

    Attributes:
        chosen: the peak rate with the lowest held-out loss; None if no trial has one, and in a
            search.
        edge: the end of the grid at which it lies, or None.
        trials: every rate tried, the lowest first; of a search in their order.
        search: None for a grid.
    """

    chosen: float | None
    edge: Literal["low", "high"] | None
    trials: list[Tried]
    search: Searched | None = None

    @property
    def best(self) -> Tried | None:
        """The trial that a search chose; None if none has a loss, and for a grid."""
        if self.search is None or self.search.best is None:
            return None
        return self.trials[self.search.best]

    @property
    def values(self) -> dict[str, Any] | None:
        """What was chosen: dotted key -> value; None if no trial has a loss."""
        if self.search:
            return self.best.values if self.best else None
        return None if self.chosen is None else {RATE_KEYS[0]: self.chosen}

    def row(self) -> dict[str, Any]:
        """Return what is written: of a grid no key of a search."""
        if self.search:
            return self.model_dump()
        of_search = {"values", "flops", "nll_error"}
        return self.model_dump(exclude={"search": True, "trials": {"__all__": of_search}})


TUNING_FORMAT = 1
"""Version of `tuning.json`."""

_SEAL = b"# SHA-256 of what follows: "


def write_description(folder: ExperimentFolder, description: Description) -> None:
    """Replace the experiment's description, atomically, without secrets. Raises StoreError."""
    refuse_links(folder.path)
    if folder.description.exists() and not is_sealed(folder.description):
        raise StoreError(
            f"{folder.description} lacks the first line that paribus writes, and would be replaced",
            "put runs elsewhere with --runs DIR if the file is yours; delete it if it is damaged",
        )
    text = yaml.safe_dump(redacted_values(description.record()), sort_keys=False)
    with writing(folder.description):
        write_text(folder.description, with_seal(text))


def is_sealed(path: Path) -> bool:
    """Return whether the file `path` begins as a description does, whole or not."""
    with open_file(path) as file:
        return file.read(len(_SEAL)) == _SEAL


def with_seal(text: str) -> str:
    """Return `text` behind a line that says its hash."""
    return f"{_SEAL.decode()}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def read_description(folder: ExperimentFolder) -> Description:
    """Return the experiment's description.

    Raises StoreError if it is missing, or there is a link in the store; DamagedError if it is not
    what was written, or nothing that paribus writes.
    """
    refuse_links(folder.path)
    return description_of(folder)


def description_of(folder: ExperimentFolder) -> Description:
    """Return the experiment's description alone. Raises as `read_description`."""
    path = folder.description
    try:
        seal, _, text = read_bytes(path).partition(b"\n")
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} is missing", "restore it, run the experiment, or name another folder"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", REMEDY) from error
    checksum = hashlib.sha256(text).hexdigest()
    if seal != _SEAL + checksum.encode():
        raise DamagedError(
            f"{path} is not what was written: the SHA-256 of all but its first line is {checksum}, "
            f"that line says {seal.decode(errors='replace')[:120]!r}",
            REMEDY,
        )
    return parse_description(text, path)


def write_tuning(folder: ExperimentFolder, arms: Mapping[str, ArmTuning]) -> None:
    """Replace the record of trials and chosen learning rates, atomically. Raises StoreError."""
    rows = {arm: tuning.row() for arm, tuning in arms.items()}
    with writing(folder.tuning):
        write_sealed(folder.tuning, {"format": TUNING_FORMAT, "arms": rows})


def read_tuning(folder: ExperimentFolder) -> dict[str, ArmTuning]:
    """Return trials and chosen rates by arm; nothing if there were none. Raises DamagedError."""
    if not folder.tuning.exists():
        return {}
    remedy = "delete it and run the experiment again: rates are chosen from the complete trials"
    try:
        arms: dict[str, Any] = read_sealed(folder.tuning)["arms"]
        return {arm: ArmTuning.model_validate(row) for arm, row in arms.items()}
    except DamagedError as error:
        raise DamagedError(error.message, remedy) from error
    except ValidationError as error:
        raise DamagedError(f"{folder.tuning} {first_fault(error)}", remedy) from error
    except UNREADABLE as error:
        raise DamagedError(f"{folder.tuning} cannot be read: {error!r}", remedy) from error


def write_conclusions(folder: ExperimentFolder, page: str, findings: dict[str, Any]) -> None:
    """Replace report and findings, and say in a manifest what they are. Raises StoreError."""
    with writing(folder.report):
        write_json(folder.findings, findings)
        write_text(folder.report, page)
        hashes = {path.name: sha256_of_file(path) for path in (folder.report, folder.findings)}
        write_sealed(folder.report_manifest, {"files": hashes})


def check_conclusions(folder: ExperimentFolder) -> list[str]:
    """Return a line for each file of the report that is not what was written; none without one."""
    paths = (folder.report, folder.findings)
    if not any(path.exists() for path in (*paths, folder.report_manifest)):
        return []
    try:
        hashes = read_sealed(folder.report_manifest)["files"]
        return [
            f"{path} is missing or is not what was written"
            for path in paths
            if not path.is_file() or sha256_of_file(path) != hashes[path.name]
        ]
    except DamagedError as error:
        return [error.message]
    except UNREADABLE as error:
        return [f"{folder.report_manifest} cannot be compared: {error!r}"]
