"""What is told of an experiment before it runs: by arms, with measured peaks, for what is left."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from facts import GPU, MACHINE
from paribus.cli import plan as cli_plan
from paribus.cli.plan import measured_peaks, probed_arms, refused
from paribus.cli.plan_memory import probed, show_memory
from paribus.cli.warnings import violation_lines
from paribus.config.load import load
from paribus.design.matrix import expand
from paribus.errors import ModelError, OutOfMemory, RunFailed
from paribus.planning.devices import device
from paribus.planning.plan import Plan, PlannedArm, Rehearsal, RunEstimate, other_ways
from paribus.planning.preflight import Warned, preflight
from paribus.planning.prepare import prepare
from paribus.planning.rules.cards import card
from paribus.planning.survey import survey

GB = 10**9
SETTINGS = {
    "data": {"train_size": 8, "test_size": 4},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 4},
    "arms": {"full": {"method": "full"}, "lora": {"method": "lora"}},
}
MEASURED = Rehearsal(
    training_peak_bytes=30 * GB,
    step_seconds=1.0,
    step_tokens=400,
    evaluation_peak_bytes=GB,
    decode_seconds=0.1,
    prompt_seconds=0.1,
)


@pytest.fixture
def known(tiny, tmp_path):
    """An experiment on the tiny model, and what is known of its arms for a GPU of 24 GB."""
    file = tmp_path / "e.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, "model": str(tiny)}))
    loaded = load(file)
    design = expand(loaded)
    prospects = survey(design, device("rtx-4090"), lambda arm: prepare(arm.config, 0))
    return loaded, design, prospects


def planned(prospects) -> list[PlannedArm]:
    return [
        PlannedArm(
            name=one.arm, method="full", variant="main", protocol="one-shot", also=[],
            learning_rate=None, learning_rate_from=None, learning_rates=None, steps=None,
            planned_target_tokens=None, tokens=None, estimate=RunEstimate.of(one.forecast),
            probe=None, unknown=None,
        )
        for one in prospects
    ]  # fmt: skip


def a_plan(arms, prospects) -> Plan:
    return Plan(
        experiment="e", question="", device=replace(device("rtx-4090"), name="here"),
        arms=tuple(arms), alternatives=other_ways(prospects), disk_bytes=None,
        checkpoint_bytes=None, seconds=None, violations=(), foresight=None, trials=(), runs=(),
        searches=(), tasks=(), stored=(), contrasts=(), not_compared=(), seconds_left=None,
        looks=None, verdict="",
    )  # fmt: skip


def told(known, **changes):
    loaded, design, prospects = known
    machine = replace(MACHINE, device=device("rtx-4090"), **changes.pop("machine", {}))
    return preflight(prospects, changes.pop("design", design), loaded.config, machine, **changes)


def test_a_measured_peak_replaces_the_predicted_one(known):
    peaks = {"full": 30 * GB, "lora": None, "baseline": GB}
    assert not {"PB060", "PB061"} & {one.rule.id for one in told(known)}
    found = {one.arms: one.found for one in told(known, peaks=peaks) if one.rule.id == "PB060"}
    assert found == {
        ("full",): "needs 30.0 GB at its peak, as measured; NVIDIA GeForce RTX 4090 has 24.0 GB",
        ("lora",): "its probe ran out of memory; NVIDIA GeForce RTX 4090 has 24.0 GB",
    }


def test_only_weights_still_to_be_saved_need_room(known):
    _, design, _ = known
    little = {"machine": {"free_disk_bytes": 1000}}
    (one,) = (one for one in told(known, **little) if one.rule.id == "PB062")
    assert one.arms == ("full", "lora")
    done = replace(design, runs=[])
    assert "PB062" not in {one.rule.id for one in told(known, design=done, **little)}


def test_what_to_do_is_said_once_for_a_rule():
    warned = [
        Warned(rule=replace(card(id), instead=f"fix {id}"), arms=(arm,), found="x")
        for id, arm in (("PB060", "a"), ("PB060", "b"), ("PB062", "a"))
    ]
    lines = violation_lines(warned)
    assert [line for line in lines if "→" in line] == ["  → fix PB060", "  → fix PB062"]
    assert ["PB060" in line for line in lines[:3]] == [True] * 3


def test_what_stops_one_probe_stops_no_other(known, monkeypatch, capsys):
    """`full` measures, `lora` is refused by a rule, the baseline's weights are gone."""
    loaded, design, prospects = known
    asked = []

    def rehearse(prospect):
        asked.append(prospect.arm)
        if prospect.arm == "baseline":
            raise ModelError("the weights are gone", "fetch them")
        return MEASURED

    monkeypatch.setattr(cli_plan, "rehearse", rehearse)
    arms = probed_arms(planned(prospects), prospects, {"lora": "PB060"}, Console(stderr=True))
    by_name = {arm.name: arm for arm in arms}
    full, baseline = by_name["full"].estimate, by_name["baseline"]
    assert sorted(asked) == ["baseline", "full"]
    assert measured_peaks(arms) == {"full": full.peak_bytes}
    assert full.peak_bytes >= 30 * GB
    assert full.fits_with_a_tenth_to_spare is False
    assert by_name["lora"].probe.error == "not probed: PB060"
    stopped = {"error": "the weights are gone", "remedy": "fetch them"}
    assert baseline.as_json()["probe"] == stopped
    assert baseline.estimate.fits is True
    shown = Console(width=160)
    plan = a_plan(arms, prospects)
    show_memory(plan, shown)
    shown.print(probed(plan))
    text = capsys.readouterr().out
    assert "lora: not probed: PB060" in text
    assert "baseline: the weights are gone" in text
    assert "→ fetch them" in text
    assert "Predicted, whatever a probe measured." in text


@pytest.mark.parametrize(("error", "peaks", "fits"), [
    (OutOfMemory("too much"), {"full": None, "lora": None, "baseline": None}, False),
    (RunFailed("ended with code 3"), {}, True),
])  # fmt: skip
def test_a_probe_without_memory_says_that_the_arm_does_not_fit(
    known, monkeypatch, error, peaks, fits
):
    def rehearse(prospect):
        raise error

    monkeypatch.setattr(cli_plan, "rehearse", rehearse)
    arms = probed_arms(planned(known[2]), known[2], {}, Console(stderr=True))
    assert measured_peaks(arms) == peaks
    assert {arm.estimate.fits for arm in arms} == {fits}
    assert {arm.estimate.fits_with_a_tenth_to_spare for arm in arms} == {fits}


def test_the_rule_that_refuses_an_arm_is_named(known):
    found = told(known, peaks={"full": 30 * GB}, machine={"free_disk_bytes": 1000})
    assert refused(found) == {"full": "PB060", "lora": "PB062"}


def test_a_folder_without_a_model_is_a_mistake_and_a_model_out_of_reach_is_not(
    known, tmp_path, monkeypatch
):
    loaded, design, _ = known

    def gone(model: str):
        arms = [replace(arm, config=replace(arm.config, model=model)) for arm in design.arms]
        return survey(replace(design, arms=arms), GPU, lambda arm: prepare(arm.config, 0))

    with pytest.raises(ModelError, match="there is no model folder"):
        gone(str(tmp_path / "nope"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        gone(str(tmp_path / "empty"))
    first = gone("nobody/gemma-9-2b")[0]
    assert "google/gemma-2-9b" in first.unknown.remedy
    far = gone("google/gemma-2b-it")[0]
    assert far.forecast is not None
    assert "hf download google/gemma-2b-it" in far.unknown.remedy
    (tmp_path / "config").mkdir()
    shape = {"model_type": "gemma", "hidden_size": 64, "intermediate_size": 64,
             "num_hidden_layers": 1}  # fmt: skip
    Path(tmp_path / "config" / "config.json").write_text(json.dumps(shape))
    assert gone(str(tmp_path / "config"))[0].forecast is not None  # weights may come later
