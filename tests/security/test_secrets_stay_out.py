"""A real experiment with a token planted wherever one can be: the store holds it nowhere.

Where texts of the data set and of models are kept they are kept as they are: they are data, and
what a model wrote is never edited. Environment, config, paths and errors must not leak.
"""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from paribus.config.load import load
from paribus.errors import ConfigError, RunFailed
from paribus.files import read_json, write_text
from paribus.store.experiments import Description, write_description
from paribus.store.layout import ExperimentFolder
from paribus.untrusted import REMOVED, find_secret, redacted, redacted_values
from stores import failed

TOKEN = "hf_" + "PlantedByATest" * 3
NO_FORM = "looks-like-any-other-text"
"""A secret that only its variable's name gives away."""
SECRETS = {
    "HF_TOKEN": TOKEN, "WANDB_API_KEY": "0123456789abcdef" * 2, "DB_PASSWORD": NO_FORM,
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfi",
}  # fmt: skip
EXPERIMENT: dict[str, Any] = {
    "data": {"train_size": 4, "test_size": 2, "max_steps": 1},
    "training": {"batch_size": 2, "micro_batch": 2, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 4, "batch_size": 2},
    "matrix": {"method": ["full", "lora"]},
}
WATCH = """
import os, sys

def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect"):
        where = arguments[-1] if event == "socket.connect" else arguments[:2]
        if not isinstance(where, (str, bytes)):  # a path is a socket of this machine
            with open(os.environ["WATCHED"], "a") as file:
                file.write(f"{event} {where}\\n")

sys.addaudithook(watch)
with open(os.environ["WATCHED"], "a") as file:
    file.write("watching\\n")
"""
"""Imported by every Python process of the run: notes each attempt to reach a network."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The folder of a finished experiment; offline by nothing but paribus's own choices."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "sitecustomize.py").write_text(WATCH)
    (folder / "x.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}))
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    without = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    kept = {key: value for key, value in os.environ.items() if key not in without}
    done = subprocess.run(
        [sys.executable, "-m", "paribus.cli.main", "run", "x.yaml"],
        cwd=folder,
        env={**kept, **SECRETS, "PYTHONPATH": path, "WATCHED": str(folder / "watched")},
        capture_output=True,
        text=True,
        umask=0o027,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [value for value in SECRETS.values() if value in done.stdout + done.stderr]
    return folder


def test_no_secret_of_the_environment_is_anywhere_in_the_store(ran: Path) -> None:
    files = [path for path in (ran / "runs").rglob("*") if path.is_file()]
    assert {"experiment.yaml", "result.json", "index.html"} <= {path.name for path in files}
    for path in files:
        data = path.read_bytes()
        assert not [name for name, value in SECRETS.items() if value.encode() in data], path


def test_a_run_asks_nothing_of_the_network(ran: Path) -> None:
    assert set((ran / "watched").read_text().splitlines()) == {"watching"}


def test_no_file_of_a_run_is_a_pickle_and_all_follow_the_umask(ran: Path) -> None:
    for path in (ran / "runs").rglob("*"):
        assert path.suffix not in {".bin", ".pt", ".pth", ".pkl"}
        mode = stat.S_IMODE(path.stat().st_mode)
        # safetensors makes its own files, for their owner alone; nothing is wider than asked.
        expected = {0o750} if path.is_dir() else {0o640, 0o600}
        assert mode in expected, f"{path}: {mode:o}"
        if path.suffix in {".json", ".jsonl", ".yaml", ".html"} and path.parent.name != "weights":
            assert mode == 0o640, f"{path}: {mode:o}"


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_get_what_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for text in ("first", "second"):
            write_text(tmp_path / "new" / "file", text)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == 0o666 & ~umask
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


IN_CONFIG = [
    (f"question: why {TOKEN}", "x.yaml:1: question holds"),
    (f"seeds: 1\nmodel: https://me:{'p' * 9}@host/x", "x.yaml:2: model holds"),
    (f"data: {{path: ../{TOKEN}/gsm8k}}", "x.yaml:1: data.path holds"),
    (f"lora.targets: [q_proj, {TOKEN}]", "x.yaml:1: lora.targets holds"),
    (f"arms: {{{TOKEN}: {{}}}}", "x.yaml:1: arms holds"),
    (f"arms: {{a: {{model: {NO_FORM}}}}}", "x.yaml:1: arms.a.model holds"),
    (f"matrix: {{model: [a, {TOKEN}]}}", "x.yaml:1: matrix.model holds"),
]


@pytest.mark.parametrize(("text", "message"), IN_CONFIG)
def test_a_config_with_a_secret_is_refused_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("DB_PASSWORD", NO_FORM)
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(Path("x.yaml"))
    assert str(caught.value).startswith(message)
    assert TOKEN not in str(caught.value)
    assert "ppppppppp" not in str(caught.value)


def test_an_experiment_in_a_folder_named_like_a_token(tmp_path: Path) -> None:
    folder = tmp_path / TOKEN
    folder.mkdir()
    (folder / "x.yaml").write_text("model: ./m")
    with pytest.raises(ConfigError, match="model holds what looks like a token") as caught:
        load(folder / "x.yaml")
    assert TOKEN not in str(caught.value)


def test_what_is_written_of_an_experiment_is_redacted(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path)
    origins = {"name": f"/home/{TOKEN}/x.yaml:1"}
    config = {"name": "x", "hub_token": "anything at all", "nested": [{"api_key": "k", "n": 3}]}
    description = Description(config=config, origins=origins, arms=[], contrasts=[])
    write_description(folder, description)
    written = yaml.safe_load(folder.description.read_text())
    nested = [{"api_key": REMOVED, "n": 3}]
    assert written["config"] == {"name": "x", "hub_token": REMOVED, "nested": nested}
    assert written["origins"] == {"name": f"/home/{REMOVED}/x.yaml:1"}


def test_errors_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", NO_FORM)
    error = RunFailed(f"401 for https://me:pw123@host with {TOKEN}", f"not {NO_FORM}")
    assert str(error) == f"401 for https://{REMOVED}@host with {REMOVED}\n  → not {REMOVED}"
    assert TOKEN not in repr(error)


def test_a_traceback_in_the_store_holds_no_secret(tmp_path: Path) -> None:
    run = ExperimentFolder(tmp_path).run("a", 0)
    failed(run, "x", f"requests.HTTPError: 401 for {TOKEN}")
    assert TOKEN not in read_json(run.failure)["traceback"]


HEX = "0123456789abcdef0123456789abcdef01234567"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_d"
TOKENS = [
    "hf_" + "a" * 34, "api_org_" + "b" * 34, "sk-proj-" + "c" * 40, "sk-ant-api03-" + "c" * 40,
    "ghp_" + "d" * 36, "gho_" + "d" * 36, "github_pat_" + "e" * 40, "AKIA" + "F" * 16,
    "ASIA" + "F" * 16, "wandb_v1_" + "g" * 40, "glpat-" + "h1" * 10, "gldt-" + "h1" * 10,
    "xoxb-123456789012-abc", "xoxp-1234567890-12", "xapp-1-A02-123-abc", "AIza" + "S" * 35, JWT,
    "npm_" + "i" * 36, "pypi-AgEIcHlwaS5vcmc" + "j" * 40, "sk_live_" + "k" * 40,
]  # fmt: skip


@pytest.mark.parametrize("text", TOKENS)
@pytest.mark.parametrize("before", ["", "x_", "(", "see:"])
def test_tokens_are_known_by_their_form(text: str, before: str) -> None:
    assert redacted(f"a {before}{text} b") == f"a {before}{REMOVED} b"
    assert find_secret({"a": {"b": [1, before + text]}}) == "a.b"
    assert find_secret({before + text: 1}) == "a key"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://TOKEN@host/x", "https://{}@host/x"),
        ("HTTPS://abcdef@host", "HTTPS://{}@host"),
        ("https://u:p@ss@host/x", "https://{}@host/x"),
        ("https://u:p/ss@host", "https://{}@host"),
        ("https://u:p?s#s@host", "https://{}@host"),
        ("https://tok:@host", "https://{}@host"),
        ("postgres://u:pw@host/db", "postgres://{}@host/db"),
        ("https://a:b@c https://d:e@f", "https://{}@c https://{}@f"),
        ("https://h/x?token=1", "https://h/x?token={}"),
        ("https://h/x?a=1&access_token=z&b=2", "https://h/x?a=1&access_token={}&b=2"),
        ("https://h/#id_token=z", "https://h/#id_token={}"),
        ("https://h/?X-Amz-Signature=1&sig=2&x=3", "https://h/?X-Amz-Signature={}&sig={}&x=3"),
        ("https://h/?key=abc", "https://h/?key={}"),
        (f"WANDB_API_KEY={HEX}", "WANDB_API_KEY={}"),
        (f'"api-key": "{HEX}"', '"api-key": "{}"'),
        (f"wandb login {HEX}", "wandb login {}"),
        ("Authorization: Bearer abcdefghij0123456789", "Authorization: Bearer {}"),
        ("password=hunter2secret", "password={}"),
        ("DB_PASSWORD=letmein", "DB_PASSWORD={}"),
        ("PGPASSWORD='letmein'", "PGPASSWORD='{}'"),
        ("passwd = hunter22x", "passwd = {}"),
        ('"password": "hunter2secret"', '"password": "{}"'),
        ("passphrase: hunter2secret", "passphrase: {}"),
        ("pwd=letmein1", "pwd={}"),
        ("'token': 'abcdefgh1234'", "'token': '{}'"),
        ("hub_token=abcdefgh1234", "hub_token={}"),
        ('{\\"api_key\\": \\"ab12cd34\\"}', '{\\"api_key\\": \\"{}\\"}'),
        ("secret='s3cr3t99'", "secret='{}'"),
        ("//user:secret@host/x", "//{}@host/x"),
        ("(//u:p@h)", "(//{}@h)"),
        ("git+ssh://a:b@c", "git+ssh://{}@c"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----", "{}"),
    ],
)
def test_secrets_are_known_by_where_they_stand(text: str, left: str) -> None:
    assert redacted(f"a {text} b") == f"a {left.replace('{}', REMOVED)} b"
    assert find_secret({"question": text}) == "question"


COMMIT_PLACES = [
    {"revision": HEX}, {"data": {"revision": HEX}}, {"matrix": {"revision": [HEX]}},
    {"matrix": {"revision": {HEX: {}}}}, {"arms": {"a": {"data.revision": HEX}}},
    {"contrasts": [[HEX, "baseline"]]}, {"tune": {"fixed": [HEX]}},
    {"model": f"/cache/snapshots/{HEX}"}, {"question": "a" * 64},
]  # fmt: skip


@pytest.mark.parametrize("values", COMMIT_PLACES)
def test_a_commit_is_no_key(values: dict[str, Any]) -> None:
    assert find_secret(values) is None
    assert redacted_values(values) == values


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"question": f"why {HEX}?"}, "question"),
        ({"model": HEX}, "model"),
        ({"lora": {"targets": ["q_proj", HEX]}}, "lora.targets"),
        ({"revisions": HEX}, "revisions"),
    ],
)
def test_forty_hexadecimal_digits_elsewhere_are_taken_for_a_key(
    values: dict[str, Any], key: str
) -> None:
    assert find_secret(values) == key


@pytest.mark.parametrize(
    "text",
    ["hf_short", "google/gemma-2b-it", "sha256:" + "a" * 64, "f" * 40, "https://host/x@main",
     "max_new_tokens", "risk-averse-and-otherwise-innocent", "https://host:8080/x@main",
     "ssh://git@github.com/x", "git@github.com:o/r", "https://host/x?tokens=5",
     "eos_token='<end_of_turn>'", "from_hf_checkpoint_to_paribus_format", f"revision: {HEX}",
     "token: https://huggingface.co/settings/tokens", "glue-benchmark-of-many-tasks-here",
     "The password: use the one you were given.", "password=None", "password=$PASSWORD",
     "password=<yours>", "password=***", "The code's password = 12345678",
     "'eos_token': 'reserved7token'", "pad_token=token_0001", "max_token=12345678",
     "The secret: 7 apples cost 12 dollars", "Her secret number is 12, what is 3 times it?",
     "next token: 'apples'", "password_file: config.yaml", "src//a:b@c", "// mail: me you@host",
     "Each token costs 2 dollars; 30 tokens = 60 dollars", "a ratio of 3//4:5@6"],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text
    assert redacted_values({"max_tokens": "12", "tokens": 3, "tokenizer": text}) == {
        "max_tokens": "12", "tokens": 3, "tokenizer": text,
    }  # fmt: skip


@pytest.mark.parametrize("part", ["://a:b", "?token", "token=", "eyJ", "eyJ-", "https://x", "key "])
def test_long_texts_are_searched_fast(part: str) -> None:
    started = time.process_time()
    assert redacted(part * (200_000 // len(part)))
    assert time.process_time() - started < 5
