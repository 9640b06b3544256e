"""The benchmark for GPUs: peers do the same work, what fails is said, a cut loses nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    places = [str(ROOT / "benchmarks"), str(ROOT / "docs")]
    sys.path[:0] = places
    yield
    for place in places:
        sys.path.remove(place)


@pytest.fixture(scope="module")
def work() -> Any:
    """A rehearsal's, in fp32 and without dropout: every loss must be alike."""
    from speed_gpu import SMALL, made
    from speed_work import random_work

    asked = made("small", replace(SMALL, steps=4), "cpu").asked
    like = replace(asked, precision="fp32", dropout=0.0)
    return random_work(like, SMALL.lengths, SMALL.prompt)


def test_the_work_has_the_lengths_that_were_asked_for(work, tmp_path):
    lengths = [len(ids) for ids, _ in work.examples]
    assert len(lengths) == 4 * 4
    assert 12 <= min(lengths) < max(lengths) < 28
    assert all(prompt == len(ids) // 3 for ids, prompt in work.examples)
    assert {len(prompt["ids"]) for prompt in work.prompts} == {12 + 9}
    assert len({tuple(prompt["ids"][:12]) for prompt in work.prompts}) == 1
    assert len({tuple(prompt["ids"]) for prompt in work.prompts}) == len(work.prompts) == 16
    work.write(tmp_path / "work.json")
    assert type(work).read(tmp_path / "work.json") == work


@pytest.mark.parametrize(
    "name", ["google/gemma-2b-it", "google/gemma-2-2b", "google/gemma-3-4b-pt", "Qwen/Qwen3-0.6B",
             "meta-llama/Llama-3.2-1B"],
)  # fmt: skip
def test_a_shape_is_enough_for_a_model(name):
    import torch
    from speed_model import weights
    from speed_work import Asked, shape_values

    from paribus.models.shapes import read_shape

    model = weights(Asked(model=name, device="meta"), torch.float32)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == read_shape(shape_values(name), "table").parameters
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.engine
@pytest.mark.parametrize("method", ["full", "lora"])
def test_peers_start_from_the_same_random_weights(work, method, tmp_path):
    import peer_paribus
    import peer_trainer

    ours = peer_paribus.train_work(work, method, tmp_path)["losses"]
    for setting in ("trainer", "trainer-fp32"):
        theirs = peer_trainer.train_work(work, method, tmp_path, setting=setting)["losses"]
        assert theirs == pytest.approx(ours, rel=1e-5)
    assert len({round(loss, 5) for loss in ours}) == 4


@pytest.mark.engine
@pytest.mark.parametrize("method", ["full", "lora"])
def test_trl_does_the_same_work_without_a_tokenizer_on_disk(work, method, tmp_path):
    pytest.importorskip("trl")
    import peer_paribus
    import peer_trl

    ours = peer_paribus.train_work(work, method, tmp_path)["losses"]
    theirs = peer_trl.train_work(work, method, tmp_path, setting="bf16")["losses"]
    assert theirs == pytest.approx(ours, rel=1e-5)


@pytest.mark.engine
def test_all_write_as_many_tokens(work, tmp_path):
    from peer_decoding import decode_work

    told: list[Any] = []
    for who in ("paribus", "generate"):
        found = decode_work(work, who, tmp_path, told.append)
        assert {rows: each["tokens"] for rows, each in found["rows"].items()} == {"4": 32, "8": 64}
    assert len(told) == 4


@pytest.mark.engine
def test_random_weights_do_not_repeat_themselves(work):
    """Else all tokens that paribus guesses would come true, and no peer guesses."""
    import torch
    from speed_model import weights

    ids = torch.tensor([prompt["ids"] for prompt in work.prompts])
    written = weights(work.asked, torch.float32).generate(
        input_ids=ids, max_new_tokens=32, min_new_tokens=32, do_sample=False, pad_token_id=0
    )
    distinct = [len(set(text)) for text in written[:, ids.shape[1] :].tolist()]
    assert median(distinct) > 24


@pytest.mark.engine
def test_lm_eval_decodes_random_weights(work, tmp_path):
    pytest.importorskip("lm_eval")
    from peer_decoding import decode_work

    found = decode_work(work, "lm-eval", tmp_path, lambda _: None)
    assert [each["tokens"] for each in found["rows"].values()] == [32, 64]


@pytest.mark.engine
def test_weights_on_disk_are_those_in_memory(work, tmp_path):
    import torch
    from speed_model import tokenizer, weights, written

    folder = written(work.asked, tmp_path)
    stored = weights(replace(work.asked, model=str(folder)), torch.float32).state_dict()
    made = weights(work.asked, torch.float32).state_dict()
    assert all(torch.equal(stored[name], made[name]) for name in made)
    text = work.prompts[0]["text"]
    found = tokenizer(replace(work.asked, model=str(folder)))
    assert found(text)["input_ids"] == tokenizer(work.asked)(text)["input_ids"]


@pytest.mark.engine
def test_a_part_that_takes_too_long_is_stopped_with_all_it_started(work, tmp_path):
    from speed import part

    work.write(tmp_path / "work.json")
    found = part("full/paribus", tmp_path / "work.json", tmp_path / "out.json", limit=0.5)
    assert found == {"error": "stopped after 0 s"}


@pytest.mark.engine
def test_a_part_that_fails_says_why(work, tmp_path):
    from speed import part

    work.write(tmp_path / "work.json")
    found = part("decoding/nobody", tmp_path / "work.json", tmp_path / "out.json", tmp_path)
    assert found.keys() == {"error"}
    assert "KeyError: 'nobody'" in found["error"]


def test_what_is_not_installed_or_too_late_is_recorded_and_is_no_number(work, tmp_path):
    from speed_gpu import Measurement

    measurement = Measurement(work, 0, tmp_path, tmp_path / "out.json")
    measurement.run(["full/paribus", "full/unsloth"], 3)
    found = json.loads((tmp_path / "out.json").read_text())
    why = found["summary"]["not_run"]
    assert why["full/paribus"] == "the time was over"
    assert why["full/unsloth"].startswith("not installed: unsloth")
    assert found["summary"]["training"] == {}
    assert [part["round"] for part in found["parts"]] == [1, 1]


def test_later_rounds_repeat_what_measured_time_and_still_fits(work, tmp_path, monkeypatch):
    from speed_gpu import Measurement

    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    measurement = Measurement(work, 1, tmp_path, tmp_path / "out.json")  # 60 seconds

    def done(name: str, limit: float) -> dict[str, Any]:
        took = {"full/trainer": 15.0}.get(name, 5.0)
        now[0] += took
        return (
            {"error": "exit 1"}
            if name == "lora/trainer"
            else {"seconds": [1.0] * 4, "losses": [2.0]}
        )

    monkeypatch.setattr(measurement, "_part", done)
    measurement.run(["full/paribus", "full/trainer", "lora/trainer"], 9)
    found = [(part["round"], part["name"]) for part in measurement.parts]
    assert found == [
        (1, "full/paribus"), (1, "full/trainer"), (1, "lora/trainer"),  # 25 s
        (2, "full/paribus"), (2, "full/trainer"),  # 45 s
        (3, "full/paribus"), (4, "full/paribus"),  # 55 s
    ]  # fmt: skip


def step(name: str, number: int, seconds: list[float], loss: float = 2.0) -> dict[str, Any]:
    """A part that trained: three steps that warm up, and those that count."""
    return {
        "name": name, "round": number, "seconds": [9.0, 9.0, 9.0, *seconds],
        "losses": [loss] * (3 + len(seconds)), "peak_memory_bytes": number * 10**9,
    }  # fmt: skip


def test_medians_are_of_all_rounds_and_ratios_are_paired(work):
    from speed_gpu_summary import summarise

    parts = [
        step("full/paribus", 1, [0.1]), step("full/trainer", 1, [0.3], 2.002),
        step("full/paribus", 2, [0.2]), step("full/trainer", 2, [0.4]),
        step("full/trl-bf16", 1, [0.3], 2.1),
        {"name": "full/liger", "round": 1, "error": "exit 1: no kernels"},
    ]  # fmt: skip
    found = summarise(parts, work)
    ours, theirs = (found["training"][f"full/{who}"] for who in ("paribus", "trainer"))
    assert ours["ms"] == pytest.approx([150, 100, 200])
    assert theirs["times"] == pytest.approx([2.5, 2.0, 3.0])
    assert theirs["apart"] == pytest.approx(0.001)
    alike = {name: row["alike"] for name, row in found["training"].items()}
    assert alike == {"full/paribus": True, "full/trainer": False, "full/trl-bf16": False}
    assert theirs["peak_memory_bytes"] == 2 * 10**9
    assert found["not_run"] == {"full/liger": "exit 1: no kernels"}
    assert "full/liger" not in found["training"]


def test_shares_are_of_what_was_measured_and_of_what_is_published(work):
    from speed_gpu_summary import summarise
    from speed_machine import useful_flops
    from speed_work import work_shape

    done = useful_flops(work_shape(work), work.step(3), method="full")
    limits = {"machine": {"name": "H"}, "published_flops": 100 * done, "copy_bytes": 1.0}
    ceilings = {"name": "ceilings/machine", "round": 1, "matrix_flops": 50 * done, **limits}
    found = summarise([ceilings, step("full/paribus", 1, [0.1])], work)["training"]["full/paribus"]
    assert found["useful_flops"] == pytest.approx(10 * done)
    assert (found["of_measured"], found["of_published"]) == pytest.approx((0.2, 0.1))


def test_rows_that_were_decoded_before_a_cut_count(work):
    from speed_gpu_summary import line, summarise

    rows = {"4": {"seconds": 2.0, "tokens": 32, "peak_memory_bytes": 1}}
    more = {"8": {"seconds": 1.0, "tokens": 64, "peak_memory_bytes": 1}}
    parts = [
        {"name": "decoding/paribus", "round": 1, "rows": {**rows, **more}},
        {"name": "decoding/vllm", "round": 1, "rows": rows, "error": "stopped after 9 s"},
    ]
    found = summarise(parts, work)
    assert found["decoding"]["decoding/vllm"]["4"]["times"] == [1.0, 1.0, 1.0]
    assert list(found["decoding"]["decoding/paribus"]) == ["4", "8"]
    assert found["not_run"] == {"decoding/vllm": "stopped after 9 s"}
    assert "stopped after 9 s" in line(parts[1])


def test_the_page_says_not_run_until_there_is_a_result(work, tmp_path):
    from gpu import gpu_block
    from speed_gpu import Measurement

    assert gpu_block(tmp_path) == "`make bench-gpu` as it is now: **not run**."
    measurement = Measurement(work, 0, tmp_path, tmp_path / "gpu-2026-12-01T0000-small.json")
    kept = [
        {"name": "ceilings/machine", "round": 1, "machine": {"name": "H100", "torch": "2.13.0"},
         "published_flops": 1e15, "matrix_flops": 8e14, "copy_bytes": 3e12, "precision": "bf16"},
        step("full/paribus", 1, [0.1]), step("full/trainer", 1, [0.3]),
        {"name": "full/liger", "round": 1, "error": "exit 1: no kernels"},
        {"name": "decoding/paribus", "round": 1,
         "rows": {"4": {"seconds": 2.0, "tokens": 32, "peak_memory_bytes": 1}}},
        {"name": "profile/full", "round": 1, "longest": [], "launches": 9, "graphs": 1, "stops": 2,
         "kernels": 19, "device_ms": 70.0},
    ]  # fmt: skip
    for part in kept:
        measurement._keep(part)
    page = gpu_block(tmp_path)
    assert "### H100" in page
    assert "| transformers' Trainer, bf16 weights, padded | 300 | 3.00 |" in page
    assert "- full/liger: exit 1: no kernels" in page
    assert "| paribus, fp32 masters | 4 | 16 |" in page
    assert "full: 19 kernels, 9 of them launched one by one, 1 graphs, 2 stops" in page


@pytest.mark.parametrize(
    "device",
    [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)],
)
def test_the_whole_benchmark_runs_on_a_tiny_shape(device, tmp_path):
    """All parts for which this environment has what they need, each in its process."""
    command = ["benchmarks/speed_gpu.py", "--small", "--device", device, "--rounds", "1"]
    done = subprocess.run([sys.executable, *command, "--out", tmp_path], cwd=ROOT, check=False)
    assert done.returncode == 0
    (file,) = tmp_path.glob("gpu-*-small.json")
    summary = json.loads(file.read_text())["summary"]
    assert {"full/paribus", "lora/paribus", "full/trainer-fp32"} <= summary["training"].keys()
    assert {"decoding/paribus", "decoding/generate"} <= summary["decoding"].keys()
    assert all(why.startswith("not installed") for why in summary["not_run"].values())
    apart = [row["apart"] for name, row in summary["training"].items()]
    assert max(apart) < 2e-3
