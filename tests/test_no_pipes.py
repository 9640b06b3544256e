"""What is not a regular file is refused wherever it is named: opening a pipe would wait forever.

Nothing writes into the pipes here, so a verb that opens one never comes back.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from external_rows import GOLD, asked, plain, write
from paribus.cli.main import main
from paribus.errors import ModelError
from paribus.models.source import find_model
from paribus.store.layout import ExperimentFolder
from stores import complete, describe_trained

EXPERIMENT = {"question": "Which?", "model": "gemma-3-270m", "method": "lora",
              "data": {"train_size": 8, "test_size": 4}}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Files of every kind that can be named, and a pipe."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkfifo("pipe.yaml")
    write(Path("in.jsonl"), plain({0: "#### 1"}))
    write(Path("asked.jsonl"), asked({0: "#### 1"}))
    write(Path("gold.jsonl"), GOLD[:1])
    Path("gsm8k").mkdir()
    write(Path("gsm8k/test.jsonl"), GOLD)
    os.mkfifo("gsm8k/train.jsonl")
    for name, more in {
        "x": {},
        "based": {"base": "pipe"},
        "arm": {"arms": {"a": {"base": "pipe"}}},
        "labels": {"labels": "pipe"},
        "gsm8k": {"task": "gsm8k", "data": {"path": "gsm8k"}},
        "model": {"model": "./pipe"},
    }.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump(EXPERIMENT | more))
    return tmp_path


COMMANDS = [
    "score pipe", "score a=pipe", "score /dev/zero", "score in.jsonl --gold pipe",
    "compare asked.jsonl pipe", "compare pipe asked.jsonl", "score asked.jsonl --report pipe",
    "plan pipe", "plan pipe.yaml", "plan based.yaml", "plan arm.yaml", "plan labels.yaml",
    "plan x.yaml labels=pipe", "run pipe.yaml", "run based.yaml", "run arm.yaml", "run labels.yaml",
    "run x.yaml --runs pipe", "run x.yaml --runs pipe/inside", "run model.yaml", "run gsm8k.yaml",
    "report pipe", "report pipe.yaml", "report based.yaml", "report x.yaml --runs pipe",
    "status pipe", "status pipe.yaml", "status based.yaml", "status x.yaml --runs pipe",
    "status --runs pipe", "verify pipe", "clean pipe", "clean pipe.yaml", "clean --runs pipe",
    "baseline ./pipe", "baseline --experiment pipe", "baseline --experiment model.yaml",
    "baseline gemma-3-270m --data ./pipe", "baseline gemma-3-270m --data ./gsm8k",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_is_refused(folder, capsys, command):
    assert main(command.split()) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "→" in said


@pytest.mark.parametrize("command", ["score pipe", "report pipe", "score a=pipe --json"])
def test_a_pipe_is_refused_before_anything_slow_is_imported(folder, command):
    code = "import sys; from paribus.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
    words = [sys.executable, "-c", code, *command.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "pipe is a pipe, a socket or a device" in done.stderr
    assert not {"numpy", "scipy", "torch", "pydantic"} & set(done.stdout.split())


KINDS = [
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "model.safetensors", "special_tokens_map.json", "tokenizer.model", "vocab.txt", "merges.txt",
    "chat_template.jinja", "additional_chat_templates/tool.jinja", "added_tokens.json",
    "model.safetensors.index.json", "whatever.bin",
]  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["pipe", "nowhere"])
def test_a_pipe_in_a_models_folder_is_refused(tiny, tmp_path, name, kind):
    path = shutil.copytree(tiny, tmp_path / "model") / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    with pytest.raises(ModelError, match="neither a file nor a folder"):
        find_model(str(tmp_path / "model"), None)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_in_place_of_a_models_file_is_no_file(tiny, tmp_path, name):
    path = shutil.copytree(tiny, tmp_path / "model") / name
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelError, match="holds no"):
        find_model(str(tmp_path / "model"), None)


STORED = ["experiment.yaml", "ledger.jsonl", "tuning.json", "report/index.html", "lock",
          "full-main/seed-0/spec.json", "full-main/seed-0/result.json",
          "full-main/seed-0/manifest.json", "full-main/seed-0/events.jsonl",
          "full-main/seed-0/lock", "added"]  # fmt: skip


@pytest.mark.parametrize("name", STORED)
def test_a_pipe_in_a_store_is_not_waited_for(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    store = ExperimentFolder(Path("runs/small"))
    describe_trained(store)
    complete(store)
    (store.path / name).parent.mkdir(exist_ok=True)
    (store.path / name).unlink(missing_ok=True)
    os.mkfifo(store.path / name)
    ended = {
        verb: main([verb, *(["--yes"] if verb == "clean" else []), "runs/small"])
        for verb in ("report", "verify", "status", "clean")
    }
    assert ended["report"] == 2
    assert ended["verify"] == 1 or name.endswith("lock")
    assert ended["status"] in (0, 2)
    assert ended["clean"] in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
