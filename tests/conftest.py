"""Shared by all tests: no network, and one tiny model per session."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from pathlib import Path

import pytest

from paribus.testing.tiny import tiny_tokenizer, write_tiny_model


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
