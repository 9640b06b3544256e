"""Runs on a Ray cluster: two nodes of this machine, one of them killed in mid-training."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from inside import paribus
from paribus.config.load import load
from paribus.config.spec import RunSpec
from paribus.design.matrix import expand
from paribus.files import read_json
from paribus.planning.forecast import Planned
from paribus.running.local import Execution, ExperimentOutcome, run_experiment
from paribus.running.on_ray import OnRay, resources
from paribus.running.processes import Here
from paribus.running.progress import Progress
from paribus.running.ray_node import add, parts_of
from paribus.stopping import Stopped
from paribus.store.checkpoints import newest_step
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import read_ledger
from paribus.store.runs import read_events

pytest.importorskip("ray", reason="Ray is not installed: no run on a cluster is tested")

EXPERIMENT = {
    "question": "Full?", "name": "x", "task": "wordproblems", "seeds": 1,
    "data": {"train_size": 24, "test_size": 4, "max_steps": 1},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32", "checkpoint_minutes": 0,
                 "epochs": 2.0},
    "evaluation": {"max_new_tokens": 3},
    "matrix": {"method": ["full"]},
}  # fmt: skip
CPU = Planned(peak_bytes=6_400_000_000, device="this machine's CPU", device_bytes=24 * 10**9)
TIMED = {"events.jsonl", "manifest.json", "result.json"}
"""Files of a run that hold seconds, or hashes of those."""


@pytest.mark.parametrize(
    ("planned", "gpu", "taken"),
    [
        (CPU, False, {"num_cpus": 4, "memory": 6_400_000_000}),
        (None, False, {"num_cpus": 4}),
        (None, True, {"num_cpus": 4, "num_gpus": 1.0}),
        (CPU, True, {"num_cpus": 4, "num_gpus": 0.27}),
        (Planned(peak_bytes=81, device="", device_bytes=80), True, {"num_cpus": 4, "num_gpus": 1}),
        (
            Planned(peak_bytes=40, device="", device_bytes=80),
            True,
            {"num_cpus": 4, "num_gpus": 0.5},
        ),
    ],
)
def test_a_run_takes_what_the_plan_predicts(planned, gpu, taken):
    assert resources(planned, 4, gpu=gpu) == taken


def test_files_travel_in_parts_and_arrive_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr("paribus.running.ray_node.PART", 10)
    run = RunFolder(tmp_path / "a")
    contents = {
        "spec.json": b"{}",
        "events.jsonl": b"",
        "checkpoints/step-000001-ab/weights": bytes(range(25)),
        "pieces/likelihood.json": bytes(10),
    }
    for name, content in contents.items():
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_bytes(content)
    parts = list(parts_of(run))
    assert max(len(part.content) for part in parts) == 10
    for part in parts:
        add(part, tmp_path / "b")
    assert {
        path.relative_to(tmp_path / "b").as_posix(): path.read_bytes()
        for path in (tmp_path / "b").rglob("*")
        if path.is_file()
    } == contents


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "auto"], "--address says where a cluster is, and none is asked for"),
        (["--on", "slurm"], "invalid choice: 'slurm'"),
    ],
)
def test_a_mistake_ends_with_two(words, said, tmp_path, tiny):
    experiment(tmp_path, tiny)
    made = paribus("run", "x.yaml", *words, cwd=tmp_path)
    assert made.returncode == 2
    assert said in made.stderr


def test_without_ray_it_says_what_to_install(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("paribus.running.on_ray.find_spec", lambda _: None)
    experiment(tmp_path, tiny)
    made = paribus("run", "x.yaml", "--on", "ray", cwd=tmp_path)
    assert made.returncode == 2
    assert made.stderr == "error: Ray is not installed\n  → pip install 'paribus[ray]'\n"


def experiment(folder: Path, tiny: Path) -> Path:
    file = folder / "x.yaml"
    file.write_text(yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}, sort_keys=False))
    return file


def run_by(make: Any, file: Path, root: Path, hear: Any = lambda *_: None) -> ExperimentOutcome:
    loaded = load(file, [])
    return run_experiment(loaded, expand(loaded), root, hear, how=Execution(executor=make))


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory) -> Path:
    """A store that one process made, and beside it the experiment's file."""
    folder = tmp_path_factory.mktemp("undisturbed")
    outcome = run_by(Here, experiment(folder, tiny), folder / "runs")
    assert (outcome.ran, outcome.failed) == (2, ())
    return folder


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster whose head does no runs."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    made.shutdown()


class Blind(OnRay):
    """An executor of nodes that do not see the store: they find no mark there."""

    def _marked(self, request: Any) -> Path:
        mark = super()._marked(request)
        mark.unlink(missing_ok=True)
        return mark


@pytest.mark.parametrize("kind", [pytest.param(OnRay, marks=pytest.mark.slow), Blind])
def test_a_run_whose_node_is_killed_ends_elsewhere_in_the_same_bytes(kind, undisturbed, cluster):
    from ray._private.state import actors

    nodes = {node.node_id: node for node in (cluster.add_node(num_cpus=8) for _ in range(2))}
    made: list[OnRay] = []
    notes: list[str] = []

    def make() -> OnRay:
        made.append(kind(cluster.address, threads=torch.get_num_threads(), gpu=False))
        return made[0]

    def hear(spec: RunSpec, progress: Progress) -> None:
        if progress.note:
            notes.append(progress.note)
        if spec.arm == "full" and progress.stage == "training" and progress.done == 6 and nodes:
            job = next(job for job in made[0]._jobs if job.request.spec == spec)
            place = actors(job.actor._actor_id.hex())["Address"]["NodeID"]
            cluster.remove_node(nodes[place], allow_graceful=False)
            nodes.clear()

    root = undisturbed / kind.__name__
    outcome = run_by(make, undisturbed / "x.yaml", root, hear)
    assert (outcome.ran, outcome.failed) == (2, ())
    assert any("was lost: goes on elsewhere" in note for note in notes)
    folder = ExperimentFolder(root / "x")
    resumed = read_events(folder.run("full", 0), "resumed")
    assert resumed
    assert all(0 < event["step"] < 12 for event in resumed)
    assert of_runs(root) == of_runs(undisturbed / "runs")
    reads = read_ledger(folder.ledger)
    assert reads == sorted(reads, key=lambda read: read.time)
    assert {(read.arm, read.protocol) for read in reads} == {
        (read.arm, read.protocol)
        for read in read_ledger(ExperimentFolder(undisturbed / "runs/x").ledger)
    }
    assert paribus("verify", kind.__name__, cwd=undisturbed).returncode == 0
    assert list(folder.path.rglob(".*")) == []


def of_runs(root: Path) -> dict[str, bytes]:
    """Every file of the runs whose bytes do not depend on time."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.glob("x/*/seed-*/**/*")
        if path.is_file() and path.name not in {*TIMED, "lock"}
    }


def test_a_run_is_stopped_then_lost_then_ends_on_this_machine(undisturbed, cluster, monkeypatch):
    monkeypatch.setattr("paribus.running.on_ray.LOST", 0)
    cluster.add_node(num_cpus=8)
    made: list[OnRay] = []

    def make() -> OnRay:
        made.append(Blind(cluster.address, threads=torch.get_num_threads(), gpu=False))
        return made[-1]

    def stop(spec: RunSpec, progress: Progress) -> None:
        if spec.arm == "full" and progress.done == 4:
            made[-1].stop()

    def kill(spec: RunSpec, progress: Progress) -> None:
        if spec.arm == "full" and progress.done == 8:
            job = next(job for job in made[-1]._jobs if job.request.spec == spec)
            made[-1]._ray.kill(job.actor)

    file, root = undisturbed / "x.yaml", undisturbed / "stopped"
    with pytest.raises(Stopped):
        run_by(make, file, root, stop)
    full = ExperimentFolder(root / "x").run("full", 0)
    assert newest_step(full.checkpoints) in range(4, 9)
    ((spec, why),) = run_by(make, file, root, kill).failed
    assert spec.arm == "full"
    assert "lost its node for the 1. time" in why
    assert read_json(full.failure)["error"] == why
    assert run_by(Here, file, root).failed == ()
    assert of_runs(root) == of_runs(undisturbed / "runs")
