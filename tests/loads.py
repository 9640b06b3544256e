"""Shapes and loads whose memory is known."""

from dataclasses import replace

from paribus.config.schema import LoraConfig
from paribus.models.shapes import shape_of
from paribus.planning.cost.memory import Workload

LOAD = Workload(
    method="full",
    quantization=None,
    optimizer="adamw",
    precision="bf16",
    checkpointing=False,
    lora_r=16,
    lora_targets=LoraConfig().targets,
    micro_batch=4,
    accumulation=2,
    train_length=300,
    pass_tokens=1200,
    train_targets=600,
    train_tokens=200.0,
    target_tokens=130.0,
    steps=100,
    eval_batch=16,
    eval_problems=100,
    prompt_length=200,
    shared_prefix=3,
    gold_length=400,
    gold_targets=2000,
    new_tokens=256,
)
LORA = replace(LOAD, method="lora")


GEMMA_2B = shape_of("google/gemma-2b-it", None)
