"""`paribus plan` from outside: no network, other devices, refusals, `auto`, `--probe`."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from inside import paribus

ROOT = Path(__file__).parents[1]
EXPERIMENT = {
    "model": "./tiny",
    "data": {"train_size": 24, "test_size": 8, "max_number": 6},
    "prompt": {"max_tokens": 600},
    "training": {"batch_size": 12, "micro_batch": "auto", "checkpointing": "auto"},
    "evaluation": {"max_new_tokens": 8, "batch_size": 8},
    "matrix": {"method": ["full", "lora"]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    shutil.copytree(tiny, folder / "tiny")
    (folder / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    return folder


@pytest.fixture(scope="module")
def flagship(tmp_path_factory):
    """The plan of Gemma 2B for a GPU, made where there is neither GPU, model, data nor network."""
    file = str(ROOT / "experiments" / "gsm8k_gemma_2b.yaml")
    made = paribus("plan", file, "--device", "rtx-4090", "--json", cwd=tmp_path_factory.mktemp("x"))
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


def test_a_plan_of_a_model_and_data_that_are_not_here(flagship):
    device = flagship["device"]
    assert (device["name"], device["memory_bytes"]) == ("rtx-4090", 24 * 10**9)
    arms = {arm["name"]: arm for arm in flagship["arms"]}
    full, lora = arms["full-main-original"]["estimate"], arms["lora-main-fair"]["estimate"]
    assert full["parameters"] == full["trainable_parameters"] == 2_506_172_416
    assert lora["parameters"] - lora["trainable_parameters"] == 2_506_172_416
    assert lora["trainable_parameters"] == 19_611_648
    assert (full["fits"], lora["fits"]) == (False, True)
    for row in (full, lora):
        training = row["training"]
        assert training["total"] == sum(size for key, size in training.items() if key != "total")
        assert row["peak_bytes"] == max(training["total"], row["evaluation"]["total"])
        assert row["examples_per_second"] > 0
        assert row["train_seconds"] > 0
        assert "GSM8K" in row["assumed_lengths"]
    assert arms["baseline"]["estimate"]["training"] is None
    assert arms["baseline"]["estimate"]["kv_cache_bytes"] == 32 * (377 + 512) * 18 * 2 * 256 * 2
    assert flagship["seconds"] > 3600
    # Six runs of full SFT and twelve of LoRA, at 2 bytes a weight.
    assert flagship["disk_bytes"] == 2 * (6 * 2_506_172_416 + 12 * 19_611_648)


def test_each_way_to_train_plain_and_with_recomputation(flagship):
    ways = [
        (row["method"], row["quantization"], row["optimizer"], row["checkpointing"])
        for row in flagship["alternatives"]
    ]
    assert ways == [
        ("full", None, "adamw", False),
        ("full", None, "adamw", True),
        ("full", None, "adamw_8bit", False),
        ("full", None, "adamw_8bit", True),
        ("lora", None, "adamw", False),
        ("lora", None, "adamw", True),
        ("lora", "nf4", "adamw", False),
        ("lora", "nf4", "adamw", True),
    ]
    peaks = [row["peak_bytes"] for row in flagship["alternatives"]]
    for plain, recomputed in zip(peaks[::2], peaks[1::2], strict=True):
        assert recomputed < plain
    assert peaks[0] > peaks[2] > peaks[4] > peaks[6]  # by the memory that each was made to save


def test_what_does_not_fit_is_said_with_a_remedy(flagship):
    over = [one for one in flagship["violations"] if one["id"] == "PB060"]
    assert {one["severity"] for one in over} == {"error"}
    arms = [arm for one in over for arm in one["arms"]]
    assert arms == ["full-main-original", "full-socratic-original"]
    assert all("NVIDIA GeForce RTX 4090 has 24.0 GB" in one["found"] for one in over)
    assert all("other ways" in one["instead"] for one in over)


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        (["quantization=nf4"], "PB009 full: method=full with quantization=nf4", "method: lora"),
        (["--device", "rtx-4091"], "no device is called 'rtx-4091'", "rtx-4090"),
        (["--device", "cpu-0gb"], "no device is called 'cpu-0gb'", "cpu-1gb to cpu-4096gb"),
        (["training.micro_batch=some"], "training.micro_batch must be", ""),
        (["training.micro_batch=5"], "training.batch_size=12 must be a multiple", "micro_batch=1"),
        (["lora.targets=[lm_head]"], "lm_head", ""),
        (
            ["lora.targets=all"],
            "lora.targets must be a list of text or 'all-linear', got 'all'",
            "",
        ),
    ],
)
def test_what_cannot_be_is_refused(folder, words, said, remedy):
    made = paribus("plan", "e.yaml", *words, cwd=folder)
    assert made.returncode == 2, made.stdout
    assert said in made.stderr
    assert remedy in made.stderr
    assert "Traceback" not in made.stderr


def test_run_refuses_what_plan_refuses_before_anything_is_spent(folder):
    made = paribus("run", "e.yaml", "name=never", "quantization=nf4", cwd=folder)
    assert made.returncode == 2
    assert "PB009 full: method=full with quantization=nf4" in made.stderr
    assert "paribus explain PB009" in made.stderr
    assert not (folder / "runs" / "never").exists()


def test_a_model_of_unknown_shape_is_planned_as_far_as_it_is_known(folder):
    words = ["model=nobody/gemma-9-2b", "--device", "l4-24gb", "--json"]
    made = paribus("plan", "e.yaml", "training.micro_batch=4", "training.checkpointing=false",
                   *words, cwd=folder)  # fmt: skip
    assert made.returncode == 0, made.stderr
    plan = json.loads(made.stdout)
    assert all(arm["estimate"] is None for arm in plan["arms"])
    assert "the shape of nobody/gemma-9-2b is not known here" in plan["arms"][0]["unknown"]
    assert "google/gemma-2-9b" in plan["arms"][0]["unknown"]  # the nearest that are built in
    assert "PB063" in {one["id"] for one in plan["violations"]}
    auto = paribus("plan", "e.yaml", *words, cwd=folder)
    assert auto.returncode == 2
    assert "shape" in auto.stderr
    assert "→" in auto.stderr


def test_a_folder_that_is_not_there_is_a_mistake(folder):
    words = ["model=./nope", "training.micro_batch=4", "training.checkpointing=false"]
    made = paribus("plan", "e.yaml", *words, cwd=folder)
    assert made.returncode == 2, made.stdout
    assert f"there is no model folder {folder / 'nope'}" in made.stderr
    assert "→ check the path" in made.stderr


def test_auto_is_settled_printed_and_part_of_the_identity(folder):
    plan = json.loads(paribus("plan", "e.yaml", "--json", cwd=folder).stdout)
    chosen = {arm["name"]: arm["estimate"] for arm in plan["arms"]}
    assert chosen["lora"]["micro_batch"] * chosen["lora"]["accumulation"] == 12
    made = paribus("run", "e.yaml", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert f"lora: training.micro_batch={chosen['lora']['micro_batch']}, " in made.stdout
    spec = json.loads((folder / "runs" / "e" / "lora" / "seed-0" / "spec.json").read_text())
    training = spec["identity"]["training"]
    assert training["micro_batch"] == chosen["lora"]["micro_batch"]
    assert training["checkpointing"] is chosen["lora"]["checkpointing"]
    fingerprints = {run["arm"]: run["fingerprint"] for run in plan["runs"]}
    assert spec["fingerprint"] == fingerprints["lora"]

    # A device that would lead to another choice changes nothing once the run is there.
    small = paribus("plan", "e.yaml", "--device", "cpu-1gb", "--json", cwd=folder)
    after = {run["arm"]: run for run in json.loads(small.stdout)["runs"]}
    assert after["lora"]["fingerprint"] == fingerprints["lora"]
    assert after["lora"]["state"] == "complete"

    result = json.loads((folder / "runs" / "e" / "lora" / "seed-0" / "result.json").read_text())
    assert result["predicted_peak_bytes"] == chosen["lora"]["peak_bytes"]


def test_a_probe_measures_what_was_predicted(folder):
    made = paribus("plan", "e.yaml", "name=probed", "--probe", "--json", cwd=folder)
    assert made.returncode == 0, made.stderr
    plan = json.loads(made.stdout)
    for arm in plan["arms"]:
        probe, trains = arm["probe"], arm["method"] != "none"
        assert probe["error"] is None
        assert (probe["training_peak_bytes"] is not None) is trains
        peaks = [probe["training_peak_bytes"] or 0, probe["evaluation_peak_bytes"]]
        row = arm["estimate"]
        assert row["peak_bytes"] >= max(peaks)  # measured, no longer what was predicted:
        totals = [row["training"]["total"] if trains else 0, row["evaluation"]["total"]]
        assert row["peak_bytes"] != max(totals)
        assert row["peak_bytes"] == pytest.approx(max(totals), rel=0.2)
        assert (row["train_seconds"] > 0) is trains
        assert row["eval_seconds"] > 0
    assert plan["seconds"] == pytest.approx(
        sum(
            arm["estimate"]["train_seconds"] + arm["estimate"]["eval_seconds"]
            for arm in plan["arms"]
        )
    )
    assert not (folder / "runs" / "probed").exists()


@pytest.mark.slow
def test_an_arm_that_is_refused_is_not_probed_and_the_others_are(folder):
    values = ["matrix=null", "arms={a: {method: full, quantization: nf4}, b: {method: lora}}"]
    made = paribus("plan", "e.yaml", "name=one", *values, "--probe", "--json", cwd=folder)
    assert made.returncode == 2
    assert "PB009 a: method=full with quantization=nf4" in made.stderr
    probes = {arm["name"]: arm["probe"] for arm in json.loads(made.stdout)["arms"]}
    assert probes["a"] == {"error": "not probed: PB009", "remedy": None}
    assert probes["b"]["error"] is None
    assert probes["b"]["training_peak_bytes"] > 0
