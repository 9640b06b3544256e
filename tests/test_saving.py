"""What lies beside saved weights: what other programs need to use them as they were tested."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig

from paribus.config.schema import ArmConfig, DataConfig, LoraConfig, PromptConfig, TrainingConfig
from paribus.models.load import load_model, make_trainable
from paribus.planning.inputs import Inputs
from paribus.planning.prepare import prepare
from paribus.running.engine import save_weights

CPU = torch.device("cpu")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def saved(tiny: Path, folder: Path, method: str, format: str, **source: Any) -> Inputs:
    config = ArmConfig(
        model=str(tiny),
        method=method,  # type: ignore[arg-type]
        data=DataConfig(train_size=2, test_size=1),
        prompt=PromptConfig(format=format, max_tokens=600),  # type: ignore[arg-type]
        lora=LoraConfig(r=2),
        training=TrainingConfig(learning_rate=2e-4, batch_size=8),
    )
    inputs = prepare(config, 0)
    model = make_trainable(
        load_model(inputs.source, torch.float32, CPU), method, config.lora, torch.float32
    )
    inputs = replace(inputs, source=replace(inputs.source, **source))
    save_weights(model, inputs, config, folder)
    return inputs


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(("format", "ends"), [("raw", 1), ("chat", [1, 5])])
def test_other_programs_stop_where_training_ended_texts(tiny, tmp_path, method, format, ends):
    inputs = saved(tiny, tmp_path, method, format)
    assert inputs.prompt_sets[0].stop == (ends if format == "raw" else ends[-1])
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == ends
    text = "<bos>Tom has 3 + 4\n"
    there = AutoTokenizer.from_pretrained(tmp_path)
    assert there(text).input_ids == inputs.tokenizer(text).input_ids
    assert there.chat_template == inputs.tokenizer.chat_template


@pytest.mark.parametrize(
    ("identity", "commit"), [(f"hub:a/b@{COMMIT}", COMMIT), ("sha256:00", None)], ids=["hub", "own"]
)
def test_an_adapter_names_its_base_and_the_commit(tiny, tmp_path, identity, commit):
    saved(tiny, tmp_path, "lora", "raw", identity=identity)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (str(tiny), commit)


def test_the_card_says_what_the_weights_are(tiny, tmp_path):
    inputs = saved(tiny, tmp_path, "lora", "raw", identity="sha256:00")
    assert (tmp_path / "README.md").read_text().splitlines()[2:-2] == [
        f"- Base: {tiny} (sha256:00)",
        "- Method: LoRA, r 2, alpha 32, on q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
        "down_proj; learning rate 0.0002, batches of 8",
        "- Data: 2 training problems of wordproblems, main",
        f"- Prompts: raw; texts end with token 1, `{inputs.tokenizer.eos_token}`",
    ]


def test_weights_that_end_texts_as_their_base_does_keep_its_list(tiny, tmp_path):
    """Whatever else its makers wrote there stays too."""
    base = tmp_path / "base"
    base.mkdir()
    for path in tiny.iterdir():
        (base / path.name).symlink_to(path)
    (base / "generation_config.json").unlink(missing_ok=True)
    (base / "generation_config.json").write_text('{"eos_token_id": [7, 1], "top_k": 9}')
    saved(base, tmp_path / "saved", "full", "raw")
    found = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert (found["eos_token_id"], found["top_k"]) == ([7, 1], 9)
