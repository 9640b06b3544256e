"""The configurations that benchmarks/memory.py measures, and the models that they need.

Row(model="llama", method="lora", micro_batch=8, accumulation=2, r=64).name
# "llama, lora, 8x2, steps 2, r 64, tests 8 zero_shot"
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from paribus.config.schema import (
    ArmConfig,
    DataConfig,
    EvaluationConfig,
    LoraConfig,
    Optimizer,
    PromptConfig,
    TrainingConfig,
)

GEMMA = "gemma-3-270m"

STEPS = 10
"""Optimizer steps of a row that trains."""

# Config classes of transformers and their arguments: small, and of unlike proportions.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {
        "vocab_size": 32_000, "hidden_size": 512, "intermediate_size": 1536,
        "num_hidden_layers": 12, "num_attention_heads": 8, "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    }),
    "qwen2": ("Qwen2Config", {
        "vocab_size": 64_000, "hidden_size": 768, "intermediate_size": 2048,
        "num_hidden_layers": 10, "num_attention_heads": 12, "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    }),
    "qwen3": ("Qwen3Config", {
        "vocab_size": 128_000, "hidden_size": 512, "intermediate_size": 1536, "head_dim": 128,
        "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4,
        "tie_word_embeddings": True,
    }),
    "gemma": ("GemmaConfig", {
        "vocab_size": 48_000, "hidden_size": 1024, "intermediate_size": 6144, "head_dim": 128,
        "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 1,
    }),
    "gemma2": ("Gemma2Config", {
        "vocab_size": 96_000, "hidden_size": 512, "intermediate_size": 2048, "head_dim": 64,
        "num_hidden_layers": 10, "num_attention_heads": 8, "num_key_value_heads": 4,
        "sliding_window": 256,
    }),
    "gemma3": ("Gemma3TextConfig", {
        "vocab_size": 8_000, "hidden_size": 256, "intermediate_size": 1024, "head_dim": 64,
        "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 1,
        "sliding_window": 128,
    }),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One configuration: `problems` are tested, with `shots`; `steps` are those of problems."""

    model: str
    method: Literal["full", "lora", "none"] = "full"
    quantization: Literal["nf4"] | None = None
    optimizer: Optimizer = "adamw"
    precision: Literal["bf16", "fp32"] = "bf16"
    checkpointing: bool = False
    micro_batch: int = 4
    accumulation: int = 1
    r: int = 16
    steps: tuple[int, int] = (1, 2)
    eval_batch: int = 8
    problems: int = 8
    shots: Literal["zero_shot", "one_shot", "few_shot"] = "zero_shot"
    new_tokens: int = 16

    @property
    def name(self) -> str:
        """What makes it different, in words."""
        method = f"{self.method} {self.quantization}" if self.quantization else self.method
        words = [self.model, method]
        if self.method != "none":
            words += [f"{self.micro_batch}x{self.accumulation}", f"length {self.steps[1]}"]
            if self.optimizer != "adamw":
                words.append({"adamw_8bit": "8-bit"}.get(self.optimizer, self.optimizer))
            words += ["recomputed"] * self.checkpointing
            words += [f"r {self.r}"] * (self.method == "lora")
        words += [self.precision] * (self.precision != "bf16")
        words += [f"tests {self.eval_batch} {self.shots}"]
        return ", ".join(words)

    def config(self, model: str) -> ArmConfig:
        """Return the arm, with the model's folder."""
        batch = self.micro_batch * self.accumulation
        return ArmConfig(
            model=model,
            method=self.method,
            quantization=self.quantization,
            data=DataConfig(
                train_size=STEPS * batch,
                test_size=self.problems,
                min_steps=self.steps[0],
                max_steps=self.steps[1],
            ),
            lora=LoraConfig(r=self.r),
            training=TrainingConfig(
                epochs=1.0,
                batch_size=batch,
                micro_batch=self.micro_batch,
                checkpointing=self.checkpointing,
                learning_rate=1e-5,
                optimizer=self.optimizer,
                precision=self.precision,
                save_weights=False,
            ),
            evaluation=EvaluationConfig(
                protocol=self.shots, batch_size=self.eval_batch, max_new_tokens=self.new_tokens
            ),
            prompt=PromptConfig(max_tokens=4096),
        )


def rows() -> Iterator[Row]:
    """Yield the rows whose measurements were looked at while the formulae were made."""
    yield Row(model=GEMMA)
    yield Row(model=GEMMA, method="lora")
    yield Row(model=GEMMA, method="none")
    yield Row(model=GEMMA, accumulation=2)
    yield Row(model=GEMMA, micro_batch=8, checkpointing=True)
    yield Row(model=GEMMA, optimizer="adamw_8bit")
    yield Row(model=GEMMA, method="lora", micro_batch=16, steps=(5, 5))
    yield Row(model=GEMMA, method="lora", micro_batch=16, checkpointing=True)
    yield Row(model=GEMMA, method="lora", quantization="nf4")
    yield Row(model=GEMMA, method="none", eval_batch=32, problems=32, shots="few_shot")
    yield Row(model="llama", micro_batch=8)
    yield Row(model="llama", method="lora", micro_batch=8, accumulation=2, r=64)
    yield Row(model="llama", method="none", eval_batch=32, problems=32, shots="few_shot")
    yield Row(model="qwen3", checkpointing=True)
    yield Row(model="qwen3", method="lora", micro_batch=16)
    yield Row(model="gemma2")
    yield Row(model="gemma2", method="lora", eval_batch=32, problems=32, shots="one_shot")
    yield Row(model="llama", micro_batch=16, checkpointing=True)
    yield Row(model="qwen2", method="lora", micro_batch=8, checkpointing=True)
    yield Row(model="llama", optimizer="adafactor")
    yield Row(model="llama", optimizer="sgd")
    yield Row(model="llama", optimizer="lion_8bit")


def held_out() -> Iterator[Row]:
    """Yield the rows that were measured when the formulae were settled."""
    yield Row(model="gemma3", micro_batch=16)
    yield Row(model="gemma3", method="lora", micro_batch=8, eval_batch=32, problems=32)
    yield Row(model="qwen3", method="lora", precision="fp32")
    yield Row(model="gemma2", micro_batch=8, checkpointing=True)
    yield Row(model="llama", method="lora", quantization="nf4", micro_batch=8)
    yield Row(model="qwen2", method="none", eval_batch=16, problems=32, shots="few_shot")
    yield Row(model="gemma3", method="lora", micro_batch=32, r=4)
    yield Row(model="gemma3", method="lora", micro_batch=16, precision="fp32", checkpointing=True)
    yield Row(model="gemma2", method="none", eval_batch=8, problems=16, shots="few_shot")
    yield Row(model="qwen3", micro_batch=8)
    yield Row(model=GEMMA, method="none", eval_batch=64, problems=64)
    yield Row(model=GEMMA, method="lora", micro_batch=2, accumulation=4, eval_batch=32, problems=32)
    yield Row(model=GEMMA, micro_batch=8, accumulation=2)
    yield Row(model=GEMMA, method="lora", micro_batch=8, r=64, checkpointing=True)
    yield Row(model="qwen2")
    yield Row(model="gemma", accumulation=2)
    yield Row(model="qwen2", precision="fp32")
    yield Row(model="gemma", method="lora", micro_batch=8, r=8, checkpointing=True)
    yield Row(model="llama", optimizer="adamw_8bit", accumulation=4)
    yield Row(model="gemma", micro_batch=8, optimizer="adamw_8bit")
    yield Row(model="qwen3", optimizer="adafactor")
    yield Row(model="qwen3", optimizer="sgd")


def write_model(name: str, folder: Path) -> str:
    """Write the random model called `name`, in bf16 as models are published; return its folder."""
    if name == GEMMA:
        return name
    import torch
    import transformers

    if not folder.exists():
        kind, values = MODELS[name]
        tokenizer = _tokenizer(values["vocab_size"])
        ids = {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id")}
        config: Any = getattr(transformers, kind)(**values, **ids, pad_token_id=0)
        torch.manual_seed(0)
        family: Any = transformers.AutoModelForCausalLM
        family.from_config(config).to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def _tokenizer(size: int) -> Any:
    """Return a tokenizer of `size` tokens: almost as large as real ones, one token a byte.

    Its merges are of bytes that English has not, so texts are some 300 tokens long.
    """
    from paribus.testing.tiny import tiny_tokenizer

    rare = [chr(code) for code in range(0xC0, 0x100)]
    pairs = [(one, other) for one in rare for other in rare]
    longer = [(one + other, third) for one, other in pairs for third in rare]
    plain = len(tiny_tokenizer())
    return tiny_tokenizer(tuple((pairs + longer)[: size - plain]))
