"""What a run asks of its device, in numbers: `planning/memory` and `planning/speed` read it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What decides a run's memory and time beside the model's shape and the device.

    Attributes:
        method: `full`, `lora` or `none`.
        quantization: `nf4`, or None.
        optimizer: `adamw` or `adamw_8bit`.
        precision: `bf16` or `fp32`.
        checkpointing: whether activations are recomputed.
        lora_r: rank.
        lora_targets: names of the layers with adapters.
        lora_dropout: share of an adapter's input that training drops.
        micro_batch: examples of one pass.
        accumulation: passes of one optimizer step.
        train_length: tokens of the longest training example.
        pass_tokens: most tokens of one pass.
        train_targets: most tokens with loss in one pass.
        train_tokens: mean tokens of a training example.
        target_tokens: mean tokens with loss of an example.
        steps: optimizer steps; 0 for a baseline.
        eval_batch: problems decoded at once.
        eval_problems: problems decoded, over all protocols.
        prompt_length: tokens of the longest test prompt.
        shared_prefix: tokens that all test prompts of the longest protocol begin with.
        gold_length: tokens of the longest prompt with its gold solution.
        gold_targets: most solution tokens in one batch of the likelihood pass.
        new_tokens: most tokens that are generated.
    """

    method: str
    quantization: str | None
    optimizer: str
    precision: str
    checkpointing: bool
    lora_r: int
    lora_targets: tuple[str, ...]
    micro_batch: int
    accumulation: int
    train_length: int
    pass_tokens: int
    train_targets: int
    train_tokens: float
    target_tokens: float
    steps: int
    eval_batch: int
    eval_problems: int
    prompt_length: int
    shared_prefix: int
    gold_length: int
    gold_targets: int
    new_tokens: int
    lora_dropout: float = 0.05
