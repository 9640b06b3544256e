"""Where weights come from, what identifies them, and every way they cannot be had."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from paribus.config.schema import DataConfig
from paribus.config.task_file import read_task
from paribus.data.problems import read_split
from paribus.errors import ModelError, NotHere
from paribus.hub import settle
from paribus.models.source import (
    ModelSource,
    context_length,
    find_model,
    load_tokenizer,
    vocabulary,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB_ID = "someone/tiny"


@pytest.fixture
def model(tiny, tmp_path) -> Path:
    """A copy of the tiny model's folder, to be changed."""
    return shutil.copytree(tiny, tmp_path / "model")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty Hub cache."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def put_in_cache(cache: Path, model: Path, *, ref: str = "main") -> Path:
    """Lay `model` out as the Hub's client does: blobs, snapshots that link to them, refs."""
    repository = cache / "models--someone--tiny"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / ref).write_text(COMMIT)
    for number, file in enumerate(sorted(model.iterdir())):
        blob = repository / "blobs" / f"{number:040x}"
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
    return snapshot


@pytest.fixture
def hub(cache, monkeypatch) -> Iterator[dict[str, tuple[int, str]]]:
    """A Hub on this machine that refuses: path -> (status, X-Error-Code). No network is used."""
    answers: dict[str, tuple[int, str]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.split("?")[0]
            status, code = answers.get(path, (404, "EntryNotFound"))
            body = json.dumps(BODIES.get(path, {}) if status == 200 else {"error": code}).encode()
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_unused):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}"
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.close_session()
    yield answers
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


INFO = f"/api/models/{HUB_ID}/revision/main"
TREE = f"/api/models/{HUB_ID}/tree/{COMMIT}"
FILE = f"/{HUB_ID}/resolve/{COMMIT}/config.json"
BODIES = {
    INFO: {"id": HUB_ID, "sha": COMMIT},
    TREE: [{"type": "file", "path": "config.json", "size": 2, "oid": "0" * 40}],
}
REFUSALS = [  # what the Hub answers, what is said of it, and what is to be done
    ({INFO: (403, "GatedRepo")}, "someone/tiny is gated and this account may not read it",
     "accept its licence on https://huggingface.co/someone/tiny, then `hf auth login`"),
    ({INFO: (401, "GatedRepo")}, "someone/tiny is gated", "accept its licence"),
    ({INFO: (200, ""), TREE: (200, ""), FILE: (403, "GatedRepo")},
     "someone/tiny is gated", "accept its licence"),
    ({INFO: (404, "RepoNotFound")}, "the Hub knows no model someone/tiny", "check the spelling"),
    ({INFO: (401, "RepoNotFound")}, "the Hub knows no model someone/tiny", "`hf auth login`"),
    ({INFO: (404, "RevisionNotFound")}, "someone/tiny has no revision None", "set `revision`"),
    ({INFO: (500, "")}, "is not in the local cache and the Hub is out of reach", "hf download"),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "message", "remedy"), REFUSALS)
def test_what_the_hub_refuses(hub, answers, message, remedy):
    hub.update(answers)
    with pytest.raises((ModelError, NotHere)) as caught:
        find_model(HUB_ID, None)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def test_a_hub_that_is_down_is_not_needed_for_what_is_cached(hub, cache, model):
    snapshot = put_in_cache(cache, model)
    hub[INFO] = (500, "")
    assert find_model(HUB_ID, None).path == snapshot


def test_a_cached_model_works_offline(cache, model):
    snapshot = put_in_cache(cache, model)
    source = find_model(HUB_ID, None)
    assert source == ModelSource(path=snapshot, identity=f"hub:someone/tiny@{COMMIT}")
    assert find_model(HUB_ID, COMMIT) == source
    assert context_length(source) == 2048
    assert load_tokenizer(source).decode([2]) == "<bos>"


def test_a_revision_that_is_not_cached_is_out_of_reach(cache, model):
    put_in_cache(cache, model, ref="v1")
    assert find_model(HUB_ID, "v1").identity == f"hub:someone/tiny@{COMMIT}"
    for revision in (None, "v2", "f" * 40):
        with pytest.raises(NotHere, match="someone/tiny is not in the local cache"):
            find_model(HUB_ID, revision)


def test_offline_and_not_cached(cache):
    with pytest.raises(NotHere) as caught:
        find_model(HUB_ID, None)
    assert str(caught.value) == (
        "someone/tiny is not in the local cache and the Hub is out of reach\n"
        "  → connect and run again, or fetch it elsewhere with `hf download someone/tiny` and give "
        "the folder; without a network use `model=gemma-3-270m`"
    )


def test_a_hub_out_of_reach_is_asked_once_and_in_silence(cache, model, monkeypatch, caplog):
    """Port 9 refuses. The libraries would ask five times for each file, and print each try."""
    asked = []
    get_session = huggingface_hub.get_session

    def counted():
        asked.append(constants.HF_HUB_OFFLINE)
        return get_session()

    monkeypatch.setattr(huggingface_hub, "get_session", counted)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
    monkeypatch.setattr(time, "sleep", pytest.fail)  # no patience with what refuses
    for name in (HUB_ID, HUB_ID, "someone/other"):
        with pytest.raises(NotHere, match="is not in the local cache and the Hub is out"):
            find_model(name, None)
    with pytest.raises(NotHere, match="is not in the local cache and the Hub is out of reach"):
        read_split(read_task("gsm8k").base, DataConfig(), "test")
    assert asked == [False]
    assert constants.HF_HUB_OFFLINE is True
    snapshot = put_in_cache(cache, model)
    assert find_model(HUB_ID, None).path == snapshot
    assert caplog.text == ""
    huggingface_hub.close_session()


@pytest.mark.parametrize(("status", "offline"), [(200, False), (403, False), (404, False),
                                                 (502, True)])  # fmt: skip
def test_a_refusal_is_an_answer(hub, status, offline):
    hub["/"] = (status, "")
    settle()
    assert constants.HF_HUB_OFFLINE is offline


@pytest.mark.parametrize("name", ["a/b/c", "no such/model", "models/", "./here"])
def test_what_is_no_hub_id_is_said_to_be_none(cache, name):
    with pytest.raises(ModelError, match="is neither 'gemma-3-270m', a folder, nor a Hub id"):
        find_model(name, None)


@pytest.mark.parametrize("where", ["folder", "cache"])
def test_pickled_weights_are_not_read(cache, model, where):
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    if where == "cache":
        put_in_cache(cache, model)
    with pytest.raises(ModelError, match="no (safetensors weights|\\*.safetensors)") as caught:
        find_model(str(model) if where == "folder" else HUB_ID, None)
    assert "(*.bin, *.pt) are not read" in caught.value.remedy


def test_a_folder_that_is_not_there_or_not_whole(tmp_path, model):
    with pytest.raises(ModelError, match=f"there is no model folder {tmp_path}/none"):
        find_model(f"{tmp_path}/none", None)
    with pytest.raises(ModelError, match="there is no model folder .*config.json"):
        find_model(str(model / "config.json"), None)
    (model / "config.json").unlink()
    with pytest.raises(ModelError, match=r"model holds no config\.json") as caught:
        find_model(str(model), None)
    assert caught.value.remedy.startswith("give a folder with config.json, *.safetensors")


@pytest.mark.parametrize("size", [0, 7, 100, 5000, -1, +1])
@pytest.mark.parametrize("where", ["folder", "cache"])
def test_weights_that_are_not_whole_are_refused_by_name(cache, model, where, size):
    cut = model / "model-00002-of-00002.safetensors"
    shutil.copy(model / "model.safetensors", cut)
    os.truncate(cut, size if size > 1 or size == 0 else cut.stat().st_size + size)
    if where == "cache":
        put_in_cache(cache, model)
    with pytest.raises(ModelError, match=f"{cut.name} is cut short") as caught:
        find_model(str(model) if where == "folder" else HUB_ID, None)
    assert caught.value.remedy.startswith("copy or download the complete file again")


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"]
)
def test_identity_changes_with_every_byte_that_matters(model, name):
    before = find_model(str(model), None)
    assert find_model(str(model), None) == before
    assert before.identity.startswith("sha256:")
    assert len(before.identity) == len("sha256:") + 64
    flip_last_byte(model / name)
    assert find_model(str(model), None).identity != before.identity


def test_identity_does_not_depend_on_the_place(model, tmp_path):
    (model / "README.md").write_text("words")
    copy = shutil.copytree(model, tmp_path / "elsewhere")
    assert find_model(str(copy), None).identity == find_model(str(model), None).identity


@pytest.mark.parametrize("content", [None, "{", '{"version": "1.0"}'])
def test_a_folder_without_a_tokenizer_that_can_be_read(model, content):
    """Without its files transformers would make up a tokenizer that knows no words."""
    (model / "tokenizer_config.json").unlink()
    (model / "tokenizer.json").unlink()
    if content is not None:
        (model / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match="holds no tokenizer") as caught:
        load_tokenizer(find_model(str(model), None))
    assert caught.value.remedy == "put tokenizer.json and tokenizer_config.json beside the weights"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "config.json holds [], it must hold an object"),
        ("{", "config.json cannot be read as JSON: Expecting property name"),
        ('{"model_type": "gemma3_text", "hidden_size": "abc"}',
         "config.json cannot be used: Validation error for field 'hidden_size'"),
        (None, "there is no "),
    ],
    ids=["list", "not JSON", "a text for a size", "missing"],
)  # fmt: skip
def test_a_damaged_config_is_not_blamed_on_the_tokenizer(model, content, said):
    source = find_model(str(model), None)
    (model / "config.json").unlink()
    if content is not None:
        (model / "config.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        load_tokenizer(source)
    assert said in caught.value.message
    assert "config.json that" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "config.json holds [], it must hold an object"),
        ('{"max_position_embeddings": "8k"}', "max_position_embeddings is '8k', it must be"),
        ('{"max_position_embeddings": -1}', "max_position_embeddings is -1, it must be"),
        ('{"text_config": [1]}', "text_config is [1], it must be an object"),
    ],
)
def test_a_context_length_that_cannot_be(tmp_path, content, said):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError) as caught:
        context_length(ModelSource(path=tmp_path, identity="?"))
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"text_config": {"max_position_embeddings": 4096}}, 4096),
        ({"model_type": "mamba"}, None),
    ],
)
def test_context_length(tmp_path, config, length):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert context_length(ModelSource(path=tmp_path, identity="?")) == length


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        ({"vocab_size": 256_000}, 256_000),
        ({"text_config": {"vocab_size": 262_208}}, 262_208),
        ({"model_type": "gpt2"}, None),
    ],
)
def test_vocabulary(tmp_path, config, rows):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert vocabulary(ModelSource(path=tmp_path, identity="?")) == rows
