"""Facts for rules: a sound arm on an 80 GB GPU, and the same with a few values changed.

facts()                                                   # LoRA on Gemma 2B, nothing to object to
facts({"method": "full", "quantization": "nf4"})          # keys of the arm, dotted
facts(device=CPU, machine={"cpu_flags": frozenset()})     # fields of Machine
facts(arms={"full": {"method": "full"}})                  # other arms of the experiment
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from paribus.config.nested import nest
from paribus.config.schema import ArmConfig, ExperimentConfig
from paribus.config.task_file import read_task
from paribus.models.shapes import Shape
from paribus.planning.cost.memory import Estimate, Parts
from paribus.planning.devices import Device
from paribus.planning.machine import Machine
from paribus.planning.rules.card import Facts, TokenFacts

GB = 10**9
Values = Mapping[str, Any]

VERSIONS = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "bitsandbytes": "0.50.2",
    "tokenizers": "0.23.3",
    "safetensors": "0.8.0",
    "datasets": "5.2.0",
    "huggingface-hub": "2.4.0",
}

GPU = Device(
    name="h100-80gb",
    title="NVIDIA H100 80GB HBM3",
    kind="cuda",
    memory_bytes=80 * GB,
    flops={"bf16": 989e12, "fp32": 67e12},
    bandwidth=3.35e12,
    bf16=True,
    assumed="not timed",
)
OLD_GPU = replace(GPU, name="t4", title="Tesla T4", memory_bytes=16 * GB, bf16=False)
CPU = Device(
    name="cpu-24gb",
    title="CPU, 24 GB",
    kind="cpu",
    memory_bytes=24 * GB,
    flops={"bf16": 2e11, "fp32": 1e11},
    bandwidth=4e10,
    bf16=True,
    assumed="no one can know a CPU by its memory",
)
EMULATING = replace(CPU, bf16=False, flops={"bf16": 1e9, "fp32": 1.8e11})
"""A CPU without bf16, timed."""

GEMMA_2B = Shape(
    model_type="gemma",
    architecture="GemmaForCausalLM",
    vocab=256_000,
    hidden=2048,
    intermediate=16_384,
    layers=18,
    heads=8,
    kv_heads=1,
    head_dim=256,
    tied=True,
    sliding_layers=0,
    sliding_window=None,
    context=8192,
    norms=2,
    qk_norm=False,
    qkv_bias=False,
    softcap=None,
    stored="bfloat16",
    origin="table",
)

TOKENS = TokenFacts(
    bos=2,
    stop=1,
    model_eos=(1,),
    chat_template=True,
    instruction_tuned=False,
    train_examples=7473,
    dropped=0,
    longest_example=420,
    longest_prompt=520,
    longest_gold=380,
    overlap=0,
)

ESTIMATE = Estimate(
    total_parameters=2_525_784_064,
    trainable_parameters=19_611_648,
    training=Parts(weights=5 * GB, activations=20 * GB, logits=GB, runtime=GB),
    evaluation=Parts(weights=5 * GB, kv_cache=2 * GB, runtime=GB),
)

MACHINE = Machine(
    python="3.11.9",
    system="Linux x86_64",
    versions=VERSIONS,
    device=GPU,
    gpus=(GPU.title,),
    cpu_flags=frozenset({"avx512f", "avx512_bf16"}),
    threads=16,
    free_disk_bytes=500 * GB,
    free_cache_bytes=500 * GB,
    offline=False,
    environment=frozenset(),
    world_size=1,
)

_ARM = {
    "model": "google/gemma-2b",
    "revision": "9cf48e52b224239de00d483ec8eb84fb8d0f3a3a",
    "method": "lora",
    "task": "gsm8k",
    "training.learning_rate": 2e-4,
    "training.precision": "bf16",
}


def arm(values: Values = {}) -> ArmConfig:  # noqa: B006  # read only
    """LoRA on Gemma 2B and GSM8K at a rate of LoRA's own, with these dotted keys changed."""
    text = json.dumps(nest({**_ARM, **values}))
    return TypeAdapter(ArmConfig).validate_json(text, context=read_task)


def facts(
    values: Values = {},  # noqa: B006
    *,
    arms: Mapping[str, Values] = {},  # noqa: B006
    experiment: Values = {},  # noqa: B006
    shape: Values | None = {},  # noqa: B006
    tokens: Values | None = {},  # noqa: B006
    comparisons: int = 1,
    steps: int | None = 467,
    estimate: Estimate | None = ESTIMATE,
    device: Device = GPU,
    machine: Values | None = {},  # noqa: B006
    disk_bytes: int | None = 40 * GB,
    flops: float | None = 1e15,
) -> Facts:
    """Facts of the arm `arm(values)`, named `it`, in an experiment with the further `arms`.

    `experiment` holds keys of the experiment's own; `shape`, `tokens` and `machine` hold fields
    to change, or are None where that is not known. `disk_bytes` is what the runs will write.
    """
    own = arm(values)
    whole = nest({**_ARM, "name": "x", "hypothesis": "h", "seeds": 3, **experiment})
    return Facts(
        arm="it",
        config=own,
        arms={"it": own, **{name: arm(each) for name, each in arms.items()}},
        experiment=TypeAdapter(ExperimentConfig).validate_json(
            json.dumps(whole), context=read_task
        ),
        comparisons=comparisons,
        shape=None if shape is None else replace(GEMMA_2B, **shape),
        tokens=None if tokens is None else replace(TOKENS, **tokens),
        steps=steps,
        estimate=estimate,
        device=device,
        machine=None if machine is None else replace(MACHINE, **{"device": device, **machine}),
        disk_bytes=disk_bytes,
        flops=flops,
    )
