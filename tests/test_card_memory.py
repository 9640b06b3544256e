"""What a GPU must hold for a run beside its tensors: planned, measured by stand-ins, reported."""

from dataclasses import replace

import pytest
import torch

from by_hand import result, tables
from costed import measured
from facts import ESTIMATE, GPU, facts
from loads import GEMMA_2B, LOAD, LORA
from paribus.models.device import beside_torch, peaks
from paribus.planning.cost.memory import CUDA_CONTEXT, UNUSED, Parts, estimate
from paribus.planning.devices import device
from paribus.planning.forecast import Planned
from paribus.planning.plan import Rehearsal
from paribus.planning.rules.environment import LIMITS
from paribus.report import rows
from paribus.running.record import context_bytes
from paribus.store.results import RunResult, most_reserved
from paribus.training.train import StepRecord, cost, event, from_event

GB = 10**9
CPU, CARD = torch.device("cpu"), torch.device("cuda:0")

# GB allocated and reserved at the peak, and of these weights and states that stay: an H100, 2.11
MEASURED = [(48.06, 58.60, 30.07), (18.53, 26.82, 5.25), (16.53, 22.63, 5.25)]


@pytest.mark.parametrize(("allocated", "reserved", "stays"), MEASURED)
def test_what_is_planned_beside_tensors_is_what_was_measured(allocated, reserved, stays):
    assert UNUSED * (allocated - stays) == pytest.approx(reserved - allocated, rel=0.12)


@pytest.mark.parametrize("load", [LOAD, LORA, replace(LOAD, method="none")], ids=lambda x: x.method)
def test_a_gpu_must_hold_more_than_tensors(load):
    found = estimate(GEMMA_2B, load, device("h100-80gb"))
    for stage in filter(None, (found.training, found.evaluation)):
        passing = stage.tensors - stage.weights - stage.optimizer
        assert stage.unused == round(UNUSED * passing) > 0
        assert stage.total == stage.tensors + stage.unused + CUDA_CONTEXT
    assert found.tensor_bytes < found.peak_bytes
    on_a_cpu = estimate(GEMMA_2B, load, device("cpu-64gb"))
    assert on_a_cpu.evaluation.unused == 0


def test_tensors_alone_would_fit_and_the_arm_is_refused():
    parts = Parts(weights=10 * GB, activations=12 * GB, unused=7 * GB, runtime=GB)
    card = replace(GPU, memory_bytes=24 * GB)
    over = LIMITS[0].check(
        facts(device=card, estimate=replace(ESTIMATE, training=parts, evaluation=Parts()))
    )
    assert over == "needs 30.0 GB at its peak; NVIDIA H100 80GB HBM3 has 24.0 GB"
    assert parts.tensors == 22 * GB


@pytest.fixture
def card(monkeypatch):
    """Set what a GPU of 80 GB tells: free bytes, and what torch holds of the rest."""

    def tells(free: int, reserved: int, most: int = 0, allocated: int = 0) -> None:
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (free, 80 * GB))
        monkeypatch.setattr("torch.cuda.memory_reserved", lambda _: reserved)
        monkeypatch.setattr("torch.cuda.max_memory_reserved", lambda _: most)
        monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda _: allocated)

    return tells


def test_peaks_of_a_gpu_are_of_tensors_and_of_what_torch_held(card):
    card(0, 0, most=15 * GB, allocated=12 * GB)
    assert peaks(CARD) == {"peak_memory_bytes": 12 * GB, "peak_reserved_bytes": 15 * GB}
    assert peaks(CPU).keys() == {"peak_memory_bytes"}


@pytest.mark.parametrize(
    ("free", "reserved", "context"),
    [
        (62.3, 17.0, 0.7),  # alone: what is in use and not torch's
        (40.0, 17.0, 0.6),  # beside others: what is usual
        (80.0, 0.0, 0.0),
    ],
)
def test_a_context_is_measured_where_no_other_program_uses_the_gpu(card, free, reserved, context):
    card(round(free * GB), round(reserved * GB))
    assert context_bytes(CARD) == pytest.approx(context * GB)
    assert beside_torch(CARD) == pytest.approx((80 - free - reserved) * GB)


PLANNED = Planned(peak_bytes=60 * GB, device="an H100", device_bytes=80 * GB)


@pytest.mark.parametrize(("taken", "told"), [(0, False), (20 * GB, False), (21 * GB, True)])
def test_a_run_tells_of_other_programs_that_leave_it_too_little(taken, told):
    text = PLANNED.beside(taken)
    assert bool(text) is told
    if told:
        assert text.startswith(
            "other programs hold 21.0 GB of an H100, which has 80.0; this run is planned for 60"
        )


def step(number: int, reserved: int | None) -> StepRecord:
    return StepRecord(
        step=number, num_steps=2, loss=1.0, grad_norm=1.0, learning_rate=1e-3, seconds=1.0,
        examples=4, target_tokens=8, tokens=16, examples_per_second=4.0, tokens_per_second=16.0,
        peak_memory_bytes=12 * GB, peak_reserved_bytes=reserved,
    )  # fmt: skip


def test_what_torch_held_is_in_the_log_of_a_gpu_alone():
    on_gpu, on_cpu = [step(1, 15 * GB), step(2, 17 * GB)], [step(1, None), step(2, None)]
    assert cost(on_gpu, 1, 2).peak_reserved_bytes == 17 * GB
    assert "peak_reserved_bytes" not in cost(on_cpu, 1, 2).record()
    assert "peak_reserved_bytes" not in event(on_cpu[0])
    for record in (*on_gpu, *on_cpu):
        assert from_event(event(record)) == record
    assert most_reserved([None, 3, 5]) == {"peak_reserved_bytes": 5}
    assert most_reserved([None, None]) == {}


def reported(**parts) -> rows.Table:
    made = tables({"full": ["10"], "lora": ["11"]}, [("full", "lora")])
    trained = {"peak_memory_bytes": 12 * GB}
    results = {
        "full": {"training": {**trained, **parts}, "context_bytes": GB // 2},
        "lora": {"training": trained},
    }
    return rows.training(measured(made, results))


def test_the_report_states_what_the_gpu_held_beside_what_tensors_took():
    table = reported(peak_reserved_bytes=15 * GB)
    held = [dict(zip(table.headings, row, strict=True)) for row in table.rows]
    assert [row["peak memory, GB"] for row in held] == ["12", "12"]
    assert [row["held by the GPU, GB"] for row in held] == ["15.5", "–"]  # 15 and a context


def test_on_a_cpu_and_of_earlier_versions_the_report_is_as_it_was():
    assert "held by the GPU, GB" not in reported().headings
    old = result().record()
    assert "context_bytes" not in old
    assert RunResult.model_validate(old).context_bytes is None


def test_a_probe_counts_what_torch_held_and_the_context():
    probe = Rehearsal(
        training_peak_bytes=12, step_seconds=1.0, step_tokens=1, evaluation_peak_bytes=6,
        decode_seconds=0.1, prompt_seconds=0.1, training_reserved_bytes=15,
        evaluation_reserved_bytes=9, context_bytes=2,
    )  # fmt: skip
    assert (probe.training_held_bytes, probe.evaluation_held_bytes) == (17, 11)
    baseline = replace(probe, training_peak_bytes=None, training_reserved_bytes=None)
    assert (baseline.training_held_bytes, baseline.evaluation_held_bytes) == (0, 11)
    on_a_cpu = replace(
        probe, training_reserved_bytes=None, evaluation_reserved_bytes=None, context_bytes=0
    )
    assert (on_a_cpu.training_held_bytes, on_a_cpu.evaluation_held_bytes) == (12, 6)
