"""Where a shape is looked for, and what is refused on the way."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from paribus.errors import ModelError
from paribus.models.shapes import shape_of

LLAMA = {
    "model_type": "llama", "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 7,
    "num_attention_heads": 6, "num_key_value_heads": 2,
}  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local cache of the Hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cache(hub: Path, model: str, commit: str, config: dict[str, Any], ref: str = "") -> None:
    """Put a config.json into the cache, as the Hub's client lays it out."""
    folder = hub / f"models--{model.replace('/', '--')}"
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "snapshots" / commit / "config.json").write_text(json.dumps(config))
    if ref:
        (folder / "refs").mkdir()
        (folder / "refs" / ref).write_text(commit)


def wide(hidden: int) -> dict[str, Any]:
    return LLAMA | {"hidden_size": hidden}


def test_a_folder_s_own_config_comes_first(tiny: Path) -> None:
    shape = shape_of(str(tiny), None)
    assert (shape.origin, shape.hidden, shape.layers, shape.sliding_layers) == ("folder", 64, 2, 1)
    assert shape.stored == "float32"


def test_the_packaged_model_needs_no_file(hub: Path) -> None:
    assert shape_of("gemma-3-270m", None) == replace(
        shape_of("google/gemma-3-270m", None), origin="packaged"
    )


def test_the_cache_comes_before_the_table(hub: Path) -> None:
    assert shape_of("Qwen/Qwen3-0.6B", None).origin == "table"
    cache(hub, "Qwen/Qwen3-0.6B", "a" * 40, wide(192), ref="main")
    shape = shape_of("Qwen/Qwen3-0.6B", None)
    assert (shape.origin, shape.hidden) == ("cache", 192)


def test_without_a_revision_any_cached_one_is_good(hub: Path) -> None:
    cache(hub, "someone/model", "b" * 40, wide(240))
    assert shape_of("someone/model", None).hidden == 240
    assert shape_of("someone/model", "b" * 40).hidden == 240
    with pytest.raises(ModelError, match="someone/model is not known here"):
        shape_of("someone/model", "c" * 40)


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("google/gemma-3-270m-IT", "google/gemma-3-270m-it"),
        ("google/gemma-2b-instruct", "google/gemma-2b-it"),
        ("Qwen/Qwen2.5-1.5B-Chat", "Qwen/Qwen2.5-1.5B"),
        ("gemma-3-270", "gemma-3-270m"),
    ],
)
def test_an_unknown_model_offline_is_refused_with_the_nearest(
    hub: Path, model: str, near: str
) -> None:
    with pytest.raises(ModelError) as caught:
        shape_of(model, None)
    assert f"the shape of {model} is not known here" in caught.value.message
    assert "out of reach" in caught.value.message
    suggested = caught.value.remedy.partition("such as ")[2].split(", ")
    assert near in suggested
    assert len(suggested) == 5


class Hub(BaseHTTPRequestHandler):
    """Has the config of one model, forbids another, and knows nothing else."""

    def do_GET(self) -> None:
        body = json.dumps(wide(384)).encode() if "/open/model/" in self.path else b""
        gated = "/gated/" in self.path
        self.send_response(200 if body else 403 if gated else 404)
        self.send_header("X-Error-Code", "" if body else "GatedRepo" if gated else "RepoNotFound")
        self.send_header("ETag", '"1"')
        self.send_header("X-Repo-Commit", "d" * 40)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_hub_is_asked_last(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever).start()
        code = (
            "from paribus.models.shapes import shape_of\n"
            "for name in 'open/model google/gemma-2b gated/model un/known open/model'.split():\n"
            "    try: print(shape_of(name, None).origin, shape_of(name, None).hidden)\n"
            "    except Exception as error: print(type(error).__name__, error.message)"
        )
        env = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path),
               "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        server.shutdown()
    unknown = "is not known here: it is neither in a local cache nor built in, and the Hub answers"
    assert done.stdout.splitlines() == [
        "hub 384",
        "table 2048",
        f"ModelError the shape of gated/model {unknown} HTTP 403",
        f"ModelError the shape of un/known {unknown} HTTP 404",
        "cache 384",
    ]


@pytest.mark.parametrize("model", ["not a model", "a/b/c", "../gemma"])
def test_what_is_no_hub_id_is_refused(hub: Path, model: str) -> None:
    with pytest.raises(ModelError, match="it is no Hub id"):
        shape_of(model, None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size": None}, "has no hidden_size"),
        ({"intermediate_size": None}, "has no intermediate_size"),
        ({"num_hidden_layers": -2}, "num_hidden_layers is -2, it must be a whole number from 1 to"),
        ({"num_hidden_layers": 10**60}, "num_hidden_layers is 1000"),
        ({"hidden_size": "640"}, "hidden_size is '640'"),
        ({"hidden_size": 640.0}, "hidden_size is 640.0"),
        ({"vocab_size": True}, "vocab_size is True"),
        ({"head_dim": 0}, "head_dim is 0"),
        (
            {"num_key_value_heads": 4},
            "num_attention_heads is 6, which is not a multiple of .*_heads, 4",
        ),
        (
            {"num_attention_heads": 7, "num_key_value_heads": 7},
            "hidden_size is 96, which is not a mul",
        ),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', it must be true or false"),
        ({"dtype": "float8"}, "dtype is 'float8', it must be bfloat16 or float16 or float32"),
        ({"architectures": "LlamaForCausalLM"}, "architectures is 'Llama.*a list of texts"),
        ({"final_logit_softcapping": float("nan")}, "final_logit_softcapping is nan"),
        ({"final_logit_softcapping": -1}, "final_logit_softcapping is -1"),
        ({"model_type": "gemma2", "layer_types": ["full_attention"]}, "a list of num_hidden_la"),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 0}, "sliding_window_pattern is 0"),
        ({"model_type": "gemma3"}, "text_config is None, it must be an object"),
        ({"model_type": "gemma3", "text_config": {}}, "text_config has no hidden_size"),
        (
            {"model_type": "phi3"},
            "type 'phi3' has no known shape; known are gemma, gemma2, gemma3,",
        ),
        ({"model_type": None}, "type None has no known shape"),
        ({"model_type": ["llama"]}, "model_type is .*, it must be a text"),
    ],
)
def test_a_malformed_config_is_refused_by_key(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | changed))
    with pytest.raises(ModelError, match=message) as caught:
        shape_of(str(tmp_path), None)
    assert str(tmp_path / "config.json") in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1, 2]", r"holds \[1, 2\], it must hold an object"),
        ("[" * 200_000, "cannot be read as JSON"),
        (f'{{"hidden_size": {"9" * 5000}}}', "cannot be read as JSON"),
        (" " * 10_000_001, "is larger than 10,000,000 bytes"),
        (b"\xff\xfe{}", "cannot be read as JSON"),
        (None, "there is no"),
    ],
    ids=["cut", "list", "deep", "long number", "large", "not utf-8", "missing"],
)
def test_a_file_that_is_no_config_is_refused(
    tmp_path: Path, text: str | bytes | None, message: str
) -> None:
    file = tmp_path / "config.json"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ModelError, match=message) as caught:
        shape_of(str(tmp_path), None)
    assert str(file) in caught.value.message


def test_a_shape_needs_no_torch() -> None:
    code = (
        "import sys; from paribus.models.shapes import shape_of; shape_of('google/gemma-2b', None);"
        "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
