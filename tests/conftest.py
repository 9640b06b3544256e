"""Shared by all tests: no network, one tiny model per session, and which tests run when."""

import gc
import os
import subprocess

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # beside others: a core each, and no more
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest

import interrupted
import outside
from paribus.testing.tiny import tiny_tokenizer, write_tiny_model

PROCESSES = (subprocess, outside, interrupted)
"""A test module that imports one of them, or a name of theirs, starts processes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share", metavar="N/OF", help="only every OF-th test, beginning with the N-th"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what takes seconds as `engine`, by what it uses."""
    if "tiny" in getattr(item, "fixturenames", ()) or _starts_processes(
        item.getparent(pytest.Module)
    ):
        item.add_marker(pytest.mark.engine)


def _starts_processes(module) -> bool:
    return any(
        each is other or getattr(each, "__module__", "") == other.__name__
        for each in vars(module.obj).values()
        for other in PROCESSES
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the share that was asked for, of what `-m` left."""
    if share := config.getoption("--share"):
        first, _, of = share.partition("/")
        chosen = items[int(first) % int(of) :: int(of)]
        config.hook.pytest_deselected(items=[one for one in items if one not in chosen])
        items[:] = chosen


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later collection: it would be 0.1 s each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Gemma-3-shaped model with its tokenizer."""
    from paribus.models.quiet import quiet_libraries

    quiet_libraries()
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tokenizer():
    """The tiny model's tokenizer: one token per byte, Gemma's special tokens."""
    return tiny_tokenizer()
