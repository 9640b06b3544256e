"""A model folder from anywhere: nothing in it runs, and nothing but its safetensors is read.

Each folder is a whole model that loads, changed in one way. Code and pickles in it would leave a
file behind when run.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from paribus.errors import ModelError, PromptError
from paribus.models.fast.layers import load_adapter
from paribus.models.load import load_model
from paribus.models.source import find_model, load_tokenizer
from paribus.prompts.formats import render_prompt
from paribus.records import Problem


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """The file that hostile code makes."""
    return tmp_path / "ran"


@pytest.fixture
def model(tmp_path: Path, tiny: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


class Hostile:
    """Unpickled, it makes the file."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.ran}",)


def load(folder: Path) -> Any:
    source = find_model(str(folder), None)
    load_tokenizer(source)
    return load_model(source, torch.float32, torch.device("cpu"))


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def index(model: Path, part: str) -> None:
    """Let an index name `part` as the file of every weight, in place of the one file."""
    names = load_file(model / "model.safetensors")
    (model / "model.safetensors").rename(model / "kept.safetensors")
    weights = {"metadata": {}, "weight_map": dict.fromkeys(names, part)}
    (model / "model.safetensors.index.json").write_text(json.dumps(weights))


def test_a_good_folder_loads_whole_and_in_parts(model: Path) -> None:
    load(model)
    index(model, "kept.safetensors")
    load(model)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "weights.pth"])
def test_pickles_alone_are_no_weights(model: Path, ran: Path, name: str) -> None:
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(pickle.dumps(Hostile(ran)))
    with pytest.raises(ModelError, match=r"holds no \*\.safetensors\n.*pickled weights"):
        load(model)
    assert not ran.exists()


def test_a_pickle_beside_or_named_like_safetensors_is_not_read(model: Path, ran: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile(ran)))
    load(model)
    (model / "model.safetensors").write_bytes(pickle.dumps(Hostile(ran)))
    with pytest.raises(ModelError, match="not what its header says"):
        load(model)
    assert not ran.exists()


@pytest.mark.parametrize(
    "part", ["evil.bin", "../tiny/model.safetensors", "/etc/hostname", "gone.safetensors", ""]
)
def test_an_index_names_safetensors_beside_it_or_nothing(
    model: Path, tiny: Path, part: str
) -> None:
    shutil.copytree(tiny, model.parent / "tiny")
    torch.save(load_file(model / "model.safetensors"), model / "evil.bin")  # loads, by itself
    index(model, part)
    with pytest.raises(ModelError, match=r"must be a \*\.safetensors file beside it") as caught:
        load(model)
    assert repr(part) in caught.value.message


def test_an_adapter_beside_the_weights_does_not_replace_them(model: Path, tiny: Path) -> None:
    adapter = {"peft_type": "LORA", "base_model_name_or_path": str(tiny), "r": 4}
    (model / "adapter_config.json").write_text(json.dumps(adapter))
    with pytest.raises(ModelError, match="holds an adapter"):
        load(model)


def test_a_pickled_adapter_is_refused(tmp_path: Path, tiny: Path, ran: Path) -> None:
    adapter = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    (tmp_path / "adapter_model.bin").write_bytes(pickle.dumps(Hostile(ran)))
    with pytest.raises(ModelError, match=r"holds no adapter_model\.safetensors"):
        load_adapter(load(tiny), tmp_path)
    assert not ran.exists()


CODE = """
import os
os.system("touch {ran}")
from transformers import *
class Config(Gemma3TextConfig): pass
class Model(Gemma3ForCausalLM): pass
class Tokenizer(PreTrainedTokenizerFast): pass
"""
MODEL_CODE = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}


def test_code_that_a_model_brings_along_is_not_run(model: Path, ran: Path) -> None:
    (model / "evil.py").write_text(CODE.format(ran=ran))
    tokenizer = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
    edit(model / "tokenizer_config.json", auto_map=tokenizer, tokenizer_class="EvilTokenizer")
    edit(model / "config.json", auto_map=MODEL_CODE)  # of a type that transformers knows
    load(model)
    edit(model / "config.json", model_type="evil")
    with pytest.raises(ModelError, match=r"needs its own Python code .*auto_map") as caught:
        load(model)
    assert "trust_remote_code" not in str(caught.value)
    assert not ran.exists()


@pytest.mark.parametrize(
    "values",
    [
        {"attn_implementation": "owner/kernel"},
        {"_attn_implementation": "owner/kernel@v1:function"},
        {"_experts_implementation": "owner/kernel"},
        {"text_config": {"_attn_implementation": {"": "owner/kernel"}}},
    ],
)
def test_a_config_cannot_fetch_a_kernel(model: Path, values: dict[str, Any]) -> None:
    edit(model / "config.json", **values)
    with pytest.raises(ModelError, match="code that would be fetched from the Hub and run"):
        load(model)


@pytest.mark.parametrize(
    "value", ["YES", *(pytest.param(one, marks=pytest.mark.slow) for one in ("1", "NO"))]
)
def test_kernels_of_the_hub_are_off_whatever_was_set(value: str) -> None:
    asked = "import paribus; from transformers.integrations import hub_kernels as k"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{asked}; print(k._TRANSFORMERS_USE_HUB_KERNELS, k._kernels_enabled)",
        ],
        env={**os.environ, "USE_HUB_KERNELS": value},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "NO False\n", done.stderr


TEMPLATES: dict[str, tuple[Any, str]] = {  # what a template tries: how it is refused
    "classes": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
    "globals": ("{{ cycler.__init__.__globals__.os.popen('touch RAN').read() }}", "SecurityError"),
    "mutation": ("{{ messages.append(1) }}", "SecurityError"),
    "endless range": ("{% for i in range(10**9) %}x{% endfor %}", "OverflowError"),
    "memory": ("{{ 'a' * 10**15 }}", "MemoryError"),
    "recursion": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    "syntax": ("{% if", "TemplateSyntaxError"),
    "undefined": ("{{ a.b.c }}", "UndefinedError"),
    "types": ("{{ 1 + 'a' }}", "TypeError"),
    "its own error": ("{{ raise_exception('\x1b[2J no') }}", r"TemplateError: \x1b[2J no"),
    "no text": (5, "TypeError"),
}


WHY = Problem(question="Why?", solution="", answer="")


@pytest.mark.parametrize(("template", "error"), TEMPLATES.values(), ids=TEMPLATES)
def test_chat_templates_run_in_a_sandbox(model: Path, ran: Path, template: Any, error: str) -> None:
    tokenizer = load_tokenizer(find_model(str(model), None))
    tokenizer.chat_template = template if template == 5 else template.replace("RAN", str(ran))
    with pytest.raises(PromptError, match="the chat template fails") as caught:
        render_prompt(WHY, format="chat", shots=[], tokenizer=tokenizer)
    assert error in caught.value.message
    assert not ran.exists()
