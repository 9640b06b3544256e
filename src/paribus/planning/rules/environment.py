"""Rules about where a run would run: launchers, variables, packages, GPUs, memory and disk.

PB019   WORLD_SIZE says 4 processes
PB060   needs 30.0 GB at its peak; NVIDIA GeForce RTX 4090 has 24.0 GB
"""

from packaging.version import Version

from paribus.planning.devices import GB, Device
from paribus.planning.machine import Machine
from paribus.planning.rules.card import Facts, Rule, Severity
from paribus.records import LAUNCHERS

MARGIN = 0.1
"""Share by which the predicted peak may be wrong (docs/memory.md has the measurements)."""


def room(device: Device) -> float:
    """Return the bytes that a predicted peak may take and surely fit `device`."""
    return (1 - MARGIN) * device.memory_bytes


def broken_by_peak(peak: int | None, device: Device) -> tuple[Rule, str] | None:
    """Return the card that a measured peak breaks, and what was found; None if there is room.

    `peak` is None where the probe itself ran out of memory. It takes the place of what the cards
    of `MEMORY` say of a prediction, which may be wrong by `MARGIN`; a measurement may not.
    """
    there = device.memory_bytes
    if peak is None:
        return OVER_MEMORY, f"its probe ran out of memory; {_with_memory(device)}"
    if peak <= room(device):
        return None
    rule = OVER_MEMORY if peak > there else NEAR_MEMORY
    return rule, f"needs {size(peak)} at its peak, as measured; {_with_memory(device)}"


def size(number: int) -> str:
    """Return bytes in words: 51.0 GB, 7.9 MB."""
    return f"{number / GB:.1f} GB" if number >= GB else f"{number / 1e6:.1f} MB"


def _over_memory(facts: Facts) -> str | None:
    if facts.estimate is None:
        return None
    peak, there = facts.estimate.peak_bytes, facts.device.memory_bytes
    return _peak(facts) if peak > (1 + MARGIN) * there else None


def _near_memory(facts: Facts) -> str | None:
    if facts.estimate is None:
        return None
    peak, there = facts.estimate.peak_bytes, facts.device.memory_bytes
    return _peak(facts) if room(facts.device) < peak <= (1 + MARGIN) * there else None


def _peak(facts: Facts) -> str:
    assert facts.estimate is not None
    return f"needs {size(facts.estimate.peak_bytes)} at its peak; {_with_memory(facts.device)}"


def _with_memory(device: Device) -> str:
    return f"{device.title} has {size(device.memory_bytes)}"


def _over_disk(facts: Facts) -> str | None:
    if facts.disk_bytes is None or facts.machine is None:
        return None
    free = facts.machine.free_disk_bytes
    if facts.config.method == "none" or facts.disk_bytes <= free:
        return None
    needed = f"weights and checkpoints still to come take {size(facts.disk_bytes)}"
    return f"{needed}; {size(free)} are free"


def _unknown_shape(facts: Facts) -> str | None:
    return f"the shape of {facts.config.model} is not known" if facts.shape is None else None


OVER_MEMORY = Rule(
    id="PB060",
    title="The arm does not fit the device's memory",
    severity=Severity.ERROR,
    what="The run stops for lack of memory, on a CPU after minutes of swapping, or is killed.",
    why="Weights, their fp32 master, gradients, optimizer states, activations and logits are alive "
    "at once; their sum exceeds the memory by more than the prediction can be wrong.",
    evidence=("docs/memory.md: measured against predicted peaks",),
    instead="Where training is the peak, smaller passes (training.micro_batch) or one of the other "
    "ways that `paribus plan FILE --details` lists; where testing is, a smaller "
    "evaluation.batch_size; or a larger device (--device NAME plans for one).",
    check=_over_memory,
)
NEAR_MEMORY = Rule(
    id="PB061",
    title="The arm may not fit the device's memory",
    severity=Severity.WARNING,
    what="The run may stop for lack of memory.",
    why="The predicted peak is within a tenth of the memory, which is as far as it can be wrong; "
    "other programs and fragmentation need room too.",
    evidence=("docs/memory.md: measured against predicted peaks",),
    instead="Set training.micro_batch=auto and training.checkpointing=auto; or measure: "
    "`paribus plan FILE --probe`.",
    check=_near_memory,
)
OVER_DISK = Rule(
    id="PB062",
    title="The disk has no room for weights and checkpoints",
    severity=Severity.ERROR,
    what="A run trains, then cannot save its weights or a checkpoint, and stops.",
    why="Full SFT saves every weight for each arm and seed, LoRA its adapters. While a run trains, "
    "up to three checkpoints lie beside: what trains in fp32, and the optimizer's states.",
    evidence=("store/layout.py: weights/ and checkpoints/ of each run",),
    instead="Set training.save_weights=false or training.checkpoint_minutes=null, free some disk, "
    "or put the runs elsewhere with --runs DIR.",
    check=_over_disk,
)
UNKNOWN_SHAPE = Rule(
    id="PB063",
    title="Memory and time cannot be predicted for this model",
    severity=Severity.NOTE,
    what="The plan says nothing of memory and time, and `auto` settings cannot be chosen.",
    why="The prediction needs the sizes in the model's config.json, for a family of models that "
    "paribus knows.",
    evidence=("models/shapes.py: the families",),
    instead="Fetch the model once, or give a folder; `paribus plan FILE --probe` measures.",
    check=_unknown_shape,
)
OUT_OF_MEMORY = Rule(
    id="PB064",
    title="A run ran out of memory",
    severity=Severity.ERROR,
    what="The run stops and is recorded as out of memory, with what was predicted for it; the "
    "others continue.",
    why="The prediction was too low, or something else took memory meanwhile.",
    evidence=("failure.json of the run: kind, predicted_peak_bytes",),
    instead="Set training.micro_batch=auto and training.checkpointing=auto; lower "
    "evaluation.batch_size if it stopped while testing.",
)
NOT_A_NUMBER = Rule(
    id="PB065",
    title="Loss or gradient is not a number",
    severity=Severity.ERROR,
    what="The run stops at that step; nothing of it is reported as a result.",
    why="A learning rate that is too high, or numbers beyond a dtype's range. The Trainer would by "
    "default replace such a loss by the running mean and continue.",
    evidence=(
        "transformers 5.23.0, TrainingArguments.logging_nan_inf_filter: True by default, False "
        "here",
    ),
    instead="Lower training.learning_rate, or set training.precision=fp32.",
)

MEMORY = (OVER_MEMORY, NEAR_MEMORY)
"""Cards about a predicted peak."""

LIMITS: tuple[Rule, ...] = (
    OVER_MEMORY,
    NEAR_MEMORY,
    OVER_DISK,
    UNKNOWN_SHAPE,
    OUT_OF_MEMORY,
    NOT_A_NUMBER,
)


TESTED = {
    "torch": "2.13.0",
    "accelerate": "1.15.0",
    "bitsandbytes": "0.50.2",
    "peft": "0.21.2",
    "tokenizers": "0.23.3",
    "transformers": "5.23.0",
}
"""Versions that decide numbers, as in constraints.txt."""

_OTHER_TRAINERS = (
    "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM", "ACCELERATE_USE_SAGEMAKER",
)  # fmt: skip
_BEHIND_THE_FILE = (
    "ACCELERATE_MIXED_PRECISION", "ACCELERATE_TORCH_DEVICE", "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip


def _launched(machine: Machine) -> str | None:
    if machine.world_size != 1:
        names = " or ".join(name for name in LAUNCHERS if name in machine.environment)
        size = machine.world_size
        return f"{names} says {size} processes" if size else f"{names} is not a number"
    return "LOCAL_RANK is set" if "LOCAL_RANK" in machine.environment else None


def _other_trainer(machine: Machine) -> str | None:
    return _set(machine, _OTHER_TRAINERS)


def _behind_the_file(machine: Machine) -> str | None:
    return _set(machine, _BEHIND_THE_FILE)


def _idle_gpus(facts: Facts) -> str | None:
    if facts.machine is None or facts.device.kind != "cuda":
        return None
    if len(facts.machine.gpus) < 2 or facts.device.ranks > 1:
        return None
    return f"{len(facts.machine.gpus)} GPUs are visible; runs use the first"


def _downloads_code(machine: Machine) -> str | None:
    wanted = {"kernels", "bitsandbytes"} <= machine.versions.keys()
    if machine.offline or not wanted or "avx512_bf16" not in machine.cpu_flags:
        return None
    return f"kernels {machine.versions['kernels']} is installed, the CPU has avx512_bf16"


def _untested(machine: Machine) -> str | None:
    installed = machine.versions
    others = [
        f"{name} {installed[name]} (tested: {tested})"
        for name, tested in TESTED.items()
        if name in installed and Version(installed[name]).release[:2] != Version(tested).release[:2]
    ]
    if not others:
        return None
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return ", ".join(others[:3]) + more


def _set(machine: Machine, names: tuple[str, ...]) -> str | None:
    """Return which of the variables `names` are set, in words, or None."""
    those_set = [name for name in names if name in machine.environment]
    if not those_set:
        return None
    return f"{' and '.join(those_set)} {'is' if len(those_set) == 1 else 'are'} set"


RULES: tuple[Rule, ...] = (
    Rule(
        id="PB019",
        title="Started by a launcher that paribus does not follow",
        severity=Severity.ERROR,
        what="The run would wait forever for processes that do not come, or stop at its first "
        "step; with as many copies of paribus as processes all would write into the same folders.",
        why="`paribus run` follows torchrun, and accelerate launch where that starts the same "
        "processes: both say RANK, WORLD_SIZE, LOCAL_RANK and MASTER_ADDR. mpirun says other "
        "variables, and some of the four alone are left over from another job. They make "
        "accelerate join a group of processes and wrap the model, whatever the experiment file "
        "says.",
        evidence=(
            "Re-run here on a CPU: accelerate 1.15.0, transformers 5.23.0: WORLD_SIZE=2 alone "
            "stops; with a rank and an address it waits until it is killed; torchrun's variables "
            "for one process (WORLD_SIZE=1, LOCAL_RANK=0) stop at the first step, because the "
            "model is wrapped in DistributedDataParallel.",
        ),
        instead="One run on several devices: `torchrun --nproc-per-node N -m paribus run FILE`. "
        "Otherwise start `paribus run` plainly; `unset WORLD_SIZE RANK LOCAL_RANK` if a shell or "
        "job script has set them.",
        check_machine=_launched,
    ),
    Rule(
        id="PB020",
        title="accelerate is told to use another trainer",
        severity=Severity.ERROR,
        what="Training would stop before its first step, or be done by a library that paribus's "
        "loss, batches and precision were never made for.",
        why="accelerate reads these variables itself, behind the experiment file. `accelerate "
        "launch` sets them from its own configuration file.",
        evidence=(
            "Re-run here on a CPU: accelerate 1.15.0: each of the three set to true stops "
            "training, as its library is not installed. ACCELERATE_USE_FSDP, _DYNAMO_BACKEND, "
            "_GRADIENT_ACCUMULATION_STEPS and _USE_PARALLELISM_CONFIG change nothing: the trained "
            "weights are the same to the bit.",
        ),
        instead="Unset the variable; start `paribus run` plainly or by torchrun.",
        check_machine=_other_trainer,
    ),
    Rule(
        id="PB021",
        title="A variable changes precision or device behind the experiment file",
        severity=Severity.WARNING,
        what="Two machines run the same file and compute different things; nothing in the report "
        "says so.",
        why="TORCH_ALLOW_TF32_CUBLAS_OVERRIDE and NVIDIA_TF32_OVERRIDE let fp32 products of a GPU "
        "be computed in TF32, with 10 bits. ACCELERATE_MIXED_PRECISION=fp16 scales the loss on a "
        "GPU and may skip steps. ACCELERATE_TORCH_DEVICE sends batches to another device.",
        evidence=(
            "Re-run here: torch 2.13.0 with TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 has allow_tf32 on. "
            "accelerate 1.15.0 with ACCELERATE_TORCH_DEVICE=cuda:1 on a CPU stops.",
            "Read here in accelerate 1.15.0: the gradient scaler for fp16, not used on a CPU, "
            "where fp16 and bf16 left the trained weights the same to the bit.",
        ),
        instead="Unset it; training.precision says what is computed in.",
        versions={"accelerate": ">=1.15,<1.16", "torch": ">=2.13,<2.14"},
        check_machine=_behind_the_file,
    ),
    Rule(
        id="PB022",
        title="Only one of the GPUs is used",
        severity=Severity.NOTE,
        what="The other GPUs stand idle, and are paid for.",
        why="Runs follow one another on the first visible GPU, and the Trainer's DataParallel, "
        "which would split batches over all, is switched off.",
        evidence=("Read here in paribus 0.1.0 (training/train.py, models/device.py).",),
        instead="Rent one GPU, or give each a part of the experiment: CUDA_VISIBLE_DEVICES=0 and "
        "another --runs folder for each.",
        check=_idle_gpus,
    ),
    Rule(
        id="PB023",
        title="The package kernels downloads code that then runs",
        severity=Severity.WARNING,
        what="Every run fetches compiled code from the Hub, of a version that is not pinned to a "
        "commit, and runs it with your rights.",
        why="On CPUs with avx512_bf16 bitsandbytes asks `kernels` for a 4-bit product when it is "
        "imported, and peft imports bitsandbytes, also for runs without 4 bits. paribus does not "
        "use that product.",
        evidence=(
            "Re-run here: bitsandbytes 0.50.2, peft 0.21.2, kernels 0.17.2: `import peft` asks for "
            "kernels-community/quantization-bitsandbytes, version 1. Without the package the "
            "import continues as usual.",
        ),
        instead="pip uninstall kernels, or set HF_HUB_OFFLINE=1.",
        versions={"bitsandbytes": ">=0.50,<0.51", "peft": ">=0.21,<0.22"},
        check_machine=_downloads_code,
    ),
    Rule(
        id="PB024",
        title="Other versions than paribus was tested with",
        severity=Severity.NOTE,
        what="Things may have been renamed or may compute other bits. Cards that state a range of "
        "versions are silent outside it.",
        why="These packages hold the models, the loop and the optimizers. torch before 2.10 also "
        "has CVE-2026-24747, in reading pickled weights; paribus reads none, other tools may.",
        evidence=(
            "constraints.txt, and the tests, which were run with it.",
            "GHSA-63cw-57p8-fm3p (CVE-2026-24747), fixed in torch 2.10.0.",
        ),
        instead="pip install -c constraints.txt -e . in a fresh environment, and use the same "
        "versions for all runs that are compared.",
        check_machine=_untested,
    ),
)
