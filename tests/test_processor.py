"""What this machine's processor multiplies in, and how its speed is timed and kept."""

import json
from pathlib import Path

import pytest
import torch

from paribus.planning.devices import matrix_flops, multiplies_bf16, time_products

AMX = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
# flags of the processor, oneDNN's limit, whether it multiplies in bf16
NATIVE = [
    (AMX, "", True),
    ({"avx2", "avx512f", "avx512_bf16"}, "", True),
    ({"asimd", "sve", "bf16"}, "", True),
    ({"avx2", "avx512f", "avx512_vnni"}, "", False),
    ({"avx2", "fma"}, "", False),
    (set(), "", False),
    (AMX, "AVX2", False),
    (AMX, "avx512_core", False),
    (AMX, "AVX512_CORE_BF16", True),
    (AMX, "ALL", True),
]


@pytest.mark.parametrize(("flags", "limit", "native"), NATIVE)
@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_bf16_is_native_by_flags_and_by_what_onednn_may_use(flags, limit, native, variable):
    assert multiplies_bf16(frozenset(flags), {variable: limit}) is native


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PARIBUS_CACHE", str(tmp_path))
    return tmp_path / "speed.json"


def test_a_speed_is_timed_once_and_kept_by_precision_and_version(cache, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    first = matrix_flops("fp32")
    kept = json.loads(cache.read_text())
    assert list(kept.values()) == [first]
    (key,) = kept
    assert f"torch {torch.__version__}, fp32" in key
    cache.write_text(json.dumps({key: 123.0}))
    assert matrix_flops("fp32") == 123.0
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert matrix_flops("fp32") != 123.0


def test_a_speed_taken_on_a_busy_machine_is_not_kept(cache, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (64.0, 0.0, 0.0))
    assert matrix_flops("fp32") > 0
    assert not cache.exists()


DAMAGED = [b"", b"{", b"[1]", b'{"x": "fast"}', b'{"x": -1.0}', b"\xff\xfe"]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_cache_is_timed_anew(cache, content):
    cache.write_bytes(content)
    assert matrix_flops("fp32") > 1e6


def test_products_grow_only_while_the_next_size_fits_into_the_time(monkeypatch):
    """A product that takes long is the last: the clock below says 0.1 s for each."""
    now = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: next(now) * 0.1)
    found = time_products(torch.float32, torch.device("cpu"), seconds=0.15)
    assert found == pytest.approx(2 * 128**3 / 0.1)
    assert next(now) == 4  # two products, each between two looks at the clock
