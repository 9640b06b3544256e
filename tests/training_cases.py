"""A tiny model and word problems to train it on."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from paribus.config.schema import LoraConfig, TrainingConfig
from paribus.data import wordproblems
from paribus.models.load import load_model, make_trainable
from paribus.models.source import find_model
from paribus.prompts.encode import encode_examples
from paribus.prompts.formats import render_example
from paribus.testing.tiny import tiny_tokenizer
from paribus.training.train import train

CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
RATES = {"full": 3e-3, "lora": 2e-2}


def word_problems():
    """32 one-step and two-step problems as examples of 150 to 300 bytes."""
    tokenizer = tiny_tokenizer()
    problems, _ = wordproblems.generate_problems(seed=1, train_size=32, test_size=1, variant="main")
    rendered = [
        render_example(problem, format="raw", shots=(), tokenizer=tokenizer) for problem in problems
    ]
    prompts, solutions = zip(*rendered, strict=True)
    return encode_examples(prompts, solutions, tokenizer.eos_token_id, tokenizer)


def trainable(folder: Path, method: str, precision: str = "fp32", *, lora: Any = None, device=CPU):
    torch.manual_seed(0)
    model = load_model(find_model(str(folder), None), DTYPES[precision], device)
    adapters = LoraConfig(**(lora or {"dropout": 0.0}))
    return make_trainable(model, method, adapters, DTYPES[precision])


def fit(model, examples, *, seed: int = 0, method: str = "full", loraplus: Any = None,
        **changes: Any):  # fmt: skip
    """Train in place and return the step records and the cost."""
    settings = {"epochs": 99.0, "max_steps": 8, "batch_size": 4, "micro_batch": 4,
                "learning_rate": RATES[method], "precision": "fp32", **changes}  # fmt: skip
    config = TrainingConfig(**settings)
    records: list[Any] = []
    with TemporaryDirectory() as folder:  # of trackers; there are none
        where = {"folder": Path(folder), "compute": DTYPES[config.precision],
                 "loraplus_lr_ratio": loraplus}  # fmt: skip
        cost = train(model, examples, config, seed=seed, on_step=records.append, **where)
    return records, cost
