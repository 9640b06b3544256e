"""Spoiled experiment files: a ConfigError with words, or a design; nothing else, and never long."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from fuzz.mutations import HANG_SECONDS, assert_readable, fuzz, spoiled_bytes, spoiled_values
from paribus.config.load import load
from paribus.config.nested import flatten
from paribus.design.matrix import expand
from paribus.errors import ParibusError

ROOT = Path(__file__).parents[2]
BASE = (ROOT / "configs" / "base.yaml").read_bytes()
FILES = {
    path.name: path.read_bytes()
    for folder in ("configs", "experiments")
    for path in sorted((ROOT / folder).glob("*.yaml"))
}
TYPICAL: dict[str, Any] = {
    "question": "Full or LoRA?",
    "model": "owner/model",
    "data": {"train_size": 16, "test_size": 6, "max_steps": 1},
    "training": {"batch_size": 4, "micro_batch": 2, "learning_rate": 1e-4, "warmup": 0.1},
    "lora": {"r": 8, "targets": ["q_proj", "v_proj"]},
    "evaluation": {"also": ["few_shot/raw"], "max_new_tokens": 12},
    "baseline": {"protocol": "one_shot"},
    "matrix": {
        "method": {"full": {"training.learning_rate": 1e-3}, "lora": {"lora.r": 4}},
        "data.variant": ["main", "socratic"],
    },
    "arms": {"named": {"method": "lora", "training.epochs": 2, "base": "base.yaml"}},
    "contrasts": [["full-main", "baseline"], ["named", "lora-main"]],
    "tune": {"learning_rates": {"full": [1e-5, 1e-4]}, "fixed": ["named"]},
    "seeds": 2,
    "strict": False,
}
TUNED = {key: TYPICAL[key] for key in ("model", "data", "matrix")} | {"contrasts": "auto"}

SEARCHED = {key: TYPICAL[key] for key in ("model", "data")} | {
    "matrix": {"method": ["full", "lora"]},
    "tune": {
        "space": {
            "training.learning_rate": {"low": 1e-6, "high": 1e-3, "log": True},
            "lora.r": [4, 8],
            "full": {"training.warmup": {"low": 0, "high": 0.1}},
        },
        "trials": 3,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the files that others build on, so that a spoiled one reaches them."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name, data in FILES.items():
        (folder / name).write_bytes(data.replace(b"../configs/", b""))
    (folder / "base.yaml").write_bytes(BASE)
    return folder


def check(file: Path, *typed: str) -> None:
    started = time.process_time()
    try:
        design = expand(load(file, typed))
    except ParibusError as error:
        assert_readable(error)
    else:
        assert design.runs
        names = [arm.name.lower() for arm in design.arms]
        assert len(set(names)) == len(names)
        assert not any("/" in name or name.startswith(".") for name in names)
        assert all(len(run.fingerprint) == 64 for run in design.runs[:3])
        assert all("${" not in str(value) for value in flat(design.arms[0].config).values())
    assert time.process_time() - started < HANG_SECONDS


def flat(config: Any) -> Mapping[str, Any]:
    from dataclasses import asdict

    return flatten(asdict(config))


@fuzz
@given(spoiled_bytes([data.replace(b"../configs/", b"") for data in FILES.values()]))
def test_spoiled_bytes(folder: Path, data: bytes) -> None:
    (folder / "x.yaml").write_bytes(data)
    check(folder / "x.yaml", "data.train_size=9", "data.test_size=9")


@fuzz
@given(
    spoiled_values([TYPICAL, TUNED, SEARCHED, *(yaml.safe_load(data) for data in FILES.values())])
)
def test_spoiled_values(folder: Path, values: Any) -> None:
    text = yaml.dump(values, Dumper=yaml.SafeDumper, allow_unicode=True, sort_keys=False)
    data = text.encode(errors="surrogatepass").replace(b"../configs/", b"")
    (folder / "y.yaml").write_bytes(data)
    check(folder / "y.yaml")


@pytest.mark.parametrize("item", ["arms={1_000: {}}", "arms={1: {}, 2.5: {}}", "arms={true: {}}"])
def test_names_that_look_like_numbers_are_texts(folder: Path, item: str) -> None:
    """Found by fuzzing: the name of such an arm was a number, and had no letters to compare."""
    (folder / "z.yaml").write_text(yaml.safe_dump(TUNED))
    check(folder / "z.yaml", item)


@fuzz
@given(spoiled_bytes([b"training.learning_rate=1e-4", b"matrix.method=[lora]", b"arms={a: {}}"]))
def test_spoiled_words_of_the_command_line(folder: Path, data: bytes) -> None:
    (folder / "z.yaml").write_text(yaml.safe_dump(TUNED))
    check(folder / "z.yaml", data.decode(errors="surrogateescape"))
