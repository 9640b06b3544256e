"""`paribus doctor`: this machine, what paribus finds on it, and what will not work here.

device    Intel(R) Xeon(R) Processor, 2 threads, 23.5 GB
tokens    HF_TOKEN absent, hf auth login absent, WANDB_API_KEY absent
…
What will not work here:
1. no GPU is seen: everything runs on the CPU
   → `paribus plan FILE` says what fits in memory and how long it takes

Exit code 0: runs can work. 1: none can, because torch or another package that every run needs is
missing, runs cannot be kept where they should be, or the environment stops every run, as a
launcher such as torchrun does.
"""

import json
import re
from argparse import Namespace
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from paribus.cli.console import PlainConsole
from paribus.errors import ParibusError
from paribus.models import packaged
from paribus.models.source import cache_folder
from paribus.planning.devices import GB, cpu_name
from paribus.planning.health import find_faults
from paribus.planning.machine import Machine, free_bytes, here, hub_cache, packages, tokens


def from_options(options: Namespace) -> int:
    """Run `paribus doctor`."""
    return doctor(options.runs, as_json=options.json)


def doctor(root: Path, *, as_json: bool) -> int:
    """Print what this machine is, for runs kept under `root`, and return the exit code.

    Raises ParibusError if torch cannot be imported: then there is nothing to describe.
    """
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        raise ParibusError(
            f"torch cannot be imported: {error}",
            "reinstall it for this machine's CUDA: https://pytorch.org/get-started/locally",
        ) from error
    machine, tested, present = here(root), _tested(), tokens()
    problems = find_faults(
        machine,
        runs=root,
        hub_token=present["HF_TOKEN"] or present["hf auth login"],
    )
    record = {
        **_describe(machine, root, tested),
        "tokens": present,
        "offline": machine.offline,
        "problems": [{"what": fault.what, "remedy": fault.remedy} for fault in problems],
    }
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        _show(record, PlainConsole(highlight=False))
    return int(any(problem.blocks for problem in problems))


def _describe(machine: Machine, root: Path, tested: dict[str, str]) -> dict[str, Any]:
    device = machine.device
    return {
        "paribus": version("paribus"),
        "python": machine.python,
        "system": machine.system,
        "versions": {
            name: {"installed": machine.versions.get(name), "tested": tested.get(name)}
            for name in dict.fromkeys([*packages(), *machine.versions])
        },
        "device": device.title if device.kind == "cuda" else cpu_name(),
        "gpus": _gpus(),
        "bf16": device.bf16,
        "memory_bytes": device.memory_bytes,
        "threads": machine.threads,
        "disk": {
            name: {"path": str(path.absolute()), "free_bytes": free_bytes(path)}
            for name, path in (("runs", root), ("paribus", cache_folder()), ("hub", hub_cache()))
        },
        "cache": {"packaged": _unpacked(), "hub": _from_hub()},
    }


def _tested() -> dict[str, str]:
    """Return the versions of constraints.txt: shipped beside the package, or the repository's."""
    package = Path(__file__).parents[1]
    for folder in (package, package.parents[1]):
        if (folder / "constraints.txt").is_file():
            text = (folder / "constraints.txt").read_text(encoding="utf-8")
            return dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    return {}


def _gpus() -> list[dict[str, Any]]:
    import torch

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [{"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in gpus]


def _unpacked() -> dict[str, int]:
    """Return the packaged models that were unpacked, by folder, and their bytes."""
    manifests = (cache_folder() / "models").glob(f"{packaged.NAME}-*/manifest.json")
    return {file.parent.name: _size(file.parent) for file in sorted(manifests)}


def _from_hub() -> dict[str, int]:
    """Return the models in the Hub's cache, and their bytes."""
    folders = sorted(hub_cache().glob("models--*"))
    return {
        folder.name.removeprefix("models--").replace("--", "/"): _size(folder) for folder in folders
    }


def _size(folder: Path) -> int:
    """Return the bytes of the files in `folder`; links, which the Hub's cache has, count once."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(file.stat().st_size for file in files)


def _show(record: dict[str, Any], console: Console) -> None:
    console.print(_two_columns(_rows(record)))
    problems = [
        (f"{number}.", f"{problem['what']}\n→ {problem['remedy']}")
        for number, problem in enumerate(record["problems"], 1)
    ]
    console.print(f"\nWhat will not work here:{'' if problems else ' nothing was found.'}")
    if problems:
        console.print(_two_columns(problems))


def _two_columns(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, escape(text))
    return table


def _rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    disk, cache = record["disk"], record["cache"]
    installed = {name: package["installed"] for name, package in record["versions"].items()}
    present = (f"{name} {version}" for name, version in installed.items() if version)
    unpacked = [f"{name}, {_gb(size)}" for name, size in cache["packaged"].items()]
    models = [f"{name}, {_gb(size)}" for name, size in cache["hub"].items()]
    gpus = [f"{gpu['name']}, {_gb(gpu['memory_bytes'])}" for gpu in record["gpus"]]
    return [
        ("paribus", f"{record['paribus']}, Python {record['python']}, {record['system']}"),
        (
            "device",
            f"{record['device']}, {_threads(record['threads'])}, {_gb(record['memory_bytes'])}",
        ),
        ("GPUs", "; ".join(gpus) or "none"),
        ("bf16", "yes" if record["bf16"] else "no"),
        ("packages", ", ".join(present)),
        ("runs", f"{disk['runs']['path']}, {_gb(disk['runs']['free_bytes'])} free"),
        ("cache", f"{disk['paribus']['path']}, {_gb(disk['paribus']['free_bytes'])} free"),
        ("", "; ".join(unpacked) or f"{packaged.NAME} is not unpacked yet"),
        ("Hub", f"{disk['hub']['path']}, {_gb(disk['hub']['free_bytes'])} free"),
        ("", "; ".join(models) or "no models"),
        (
            "tokens",
            ", ".join(f"{k} {'present' if v else 'absent'}" for k, v in record["tokens"].items()),
        ),
        ("network", "switched off for the Hub" if record["offline"] else "allowed; not tried"),
    ]


def _threads(number: int) -> str:
    return f"{number} thread{'s' * (number != 1)}"


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB"
