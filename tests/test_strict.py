"""`strict` from outside by the command line, on a tiny model: before a run and after it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from inside import paribus
from paribus.analysis import reading
from paribus.analysis.fairness import Status, table, unexplained
from paribus.analysis.family import judged
from paribus.analysis.findings import conclude
from paribus.analysis.tables import Arm, Tables
from paribus.config.load import load
from paribus.config.read import Origin
from paribus.design.matrix import expand
from paribus.design.pairs import Contrast, refuse_unequal
from paribus.errors import ConfigError
from paribus.store.experiments import Description, write_description
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.manifest import write_manifest

EXPERIMENT = {
    "strict": True,
    "data": {"train_size": 4, "test_size": 4, "max_steps": 1},
    "training": {"batch_size": 4, "micro_batch": 4, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 3, "batch_size": 4, "protocol": "zero_shot"},
    "baseline": {"protocol": "zero_shot"},
    "matrix": {
        "method": {
            "full": {"training.learning_rate": 1e-3},
            "lora": {"training.learning_rate": 1e-2},
        },
        "data.variant": ["main", "socratic"],
    },
}
STORE = Path("runs/strict")
LORA = "matrix.method=[lora]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny) -> Path:
    folder = tmp_path_factory.mktemp("strict")
    (folder / "strict.yaml").write_text(
        yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}, sort_keys=False)
    )
    return folder


@pytest.fixture(scope="module")
def made(folder) -> subprocess.CompletedProcess[str]:
    return paribus("run", "strict.yaml", LORA, cwd=folder)


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """`path` with `old` replaced, as if it had been written so, while the context lasts."""
    text, run = path.read_text(), RunFolder(path.parent)
    assert text.count(old) == 1
    for written in (text.replace(old, new), text):
        path.write_text(written)
        if path.suffix == ".yaml":
            write_description(
                ExperimentFolder(path.parent), Description.model_validate(yaml.safe_load(written))
            )
        elif run.manifest.exists():
            write_manifest(run)
        if written != text:
            yield


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            ["baseline.protocol=one_shot"],
            [
                f"strict.yaml:1: strict: {arm} and baseline also differ in evaluation.protocol"
                for arm in ("full-main", "full-socratic", "lora-main", "lora-socratic")
            ],
        ),
        (
            ["contrasts=[[full-main,lora-socratic]]"],
            [
                "strict.yaml:1: strict: full-main and lora-socratic also differ in data.variant, "
                "lora.alpha, lora.dropout, lora.r, lora.targets, method, training.learning_rate"
            ],
        ),
    ],
)
def test_unequal_arms_are_refused_before_anything_is_computed(folder, words, lines):
    refused = paribus("run", "strict.yaml", "name=refused", *words, cwd=folder)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[:-1] == [f"error: {lines[0]}", *lines[1:]]
    assert "or set strict=false" in refused.stderr.splitlines()[-1]
    assert not (folder / "runs" / "refused").exists()


def test_what_is_refused_is_allowed_when_not_strict(folder):
    words = ["baseline.protocol=one_shot"]
    with pytest.raises(ConfigError):
        expand(load(folder / "strict.yaml", words))
    assert len(expand(load(folder / "strict.yaml", [*words, "strict=false"])).contrasts) == 8


def test_in_the_settings_of_a_full_matrix_nothing_is_unexplained(folder):
    loaded = load(folder / "strict.yaml")
    design = expand(loaded)
    tables = Tables(
        config=loaded.values,
        origins={},
        arms=tuple(
            Arm(name=run.arm, factors={}, identity=design.identity(run)) for run in design.runs
        ),
        declared=tuple((each.a, each.b, each.factor) for each in design.contrasts),
        runs=(),
    )
    found = judged(tables).contrasts
    statuses = {each.factor: {row.status for row in table(tables, each)} for each in found}
    assert len(found) == 8
    assert statuses == {
        "tuning": {Status.DECLARED},
        "method": {Status.DECLARED, Status.COMES_WITH},
        "data.variant": {Status.DECLARED},
    }


def test_a_fair_experiment_runs_and_nothing_is_left_unexplained(made, folder):
    assert made.returncode == 0, made.stdout + made.stderr
    found = conclude(reading.read_experiment(ExperimentFolder(folder / STORE)))
    assert [each.factor for each in found.contrasts] == ["tuning", "tuning", "data.variant"]
    assert [unexplained(found.tables, each) for each in found.contrasts] == [[]] * 3
    written = json.loads((folder / STORE / "report" / "findings.json").read_text())
    assert written["strict"] is True
    assert {unlike for each in written["contrasts"] for unlike in each["unlike"]} == set()


def test_another_torch_in_one_run_is_an_error_after_the_report(made, folder):
    """Written so by a run on another machine: its manifest knows it."""
    result = folder / STORE / "lora-main" / "seed-0" / "result.json"
    torch = json.loads(result.read_text())["environment"]["torch"]
    with edited(result, f'"torch": "{torch}"', '"torch": "2.0.0<b>"'):
        refused = paribus("report", "strict.yaml", LORA, cwd=folder)
        page = (folder / STORE / "report" / "index.html").read_text()
        findings = json.loads((folder / STORE / "report" / "findings.json").read_text())
    other = f"torch differs too (2.0.0<b> against {torch})"
    differs = [
        f"lora-main and baseline: {other}",
        f"lora-main and lora-socratic: {other}",
    ]
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[:3] == [
        "error: strict: more than the compared factor differed:",
        *(f"  {line}" for line in differs),
    ]
    assert "Traceback" not in refused.stderr
    # The report is there all the same, and says it on the findings.
    assert "report: runs/strict/report/index.html" in refused.stdout
    assert [
        f"{each['a']} and {each['b']}: {unlike}"
        for each in findings["contrasts"]
        for unlike in each["unlike"]
        if unlike in each["caveats"]
    ] == differs
    assert "Not alone: torch differs too (2.0.0&lt;b&gt; against" in page
    assert "2.0.0<b>" not in page


def test_without_strict_it_is_said_and_no_error(made, folder):
    store = folder / STORE
    result = store / "lora-main" / "seed-0" / "result.json"
    machine = json.loads(result.read_text())["environment"]["machine"]
    with (
        edited(result, json.dumps(machine), '"an H100"'),
        edited(store / "experiment.yaml", "\n  strict: true\n", "\n  strict: false\n"),
    ):
        reported = paribus("report", "runs/strict", cwd=folder)
        findings = json.loads((store / "report" / "findings.json").read_text())
    assert reported.returncode == 0, reported.stderr
    assert findings["strict"] is False
    assert "contrast" in {each["kind"] for each in findings["findings"] if each["caveats"]}
    # Costs measured on two machines are not compared.
    assert {"memory", "speed"}.isdisjoint(each["kind"] for each in findings["findings"])


ARM = {"method": "full", "evaluation.protocol": "zero_shot", "evaluation.also": []}
PLACE = Origin("command line")


@pytest.mark.parametrize(
    ("factor", "changed", "also"),
    [
        ("method", {"method": "lora", "lora.r": 16}, None),
        ("tuning", {"method": "none"}, None),
        ("tuning", {"method": "none", "data.variant": "socratic"}, None),
        ("tuning", {"method": "none", "evaluation.also": ["few_shot"]}, None),
        ("method + lora.r", {}, None),
        ("method + seed", {"method": "lora", "seed": 1}, "method, seed"),
        ("tuning", {"evaluation.protocol": "one_shot"}, "evaluation.protocol"),
        ("tuning", {"prompt.format": "chat"}, "prompt.format"),
        ("data.variant + tuning", {"data.variant": "x", "method": "none"}, "data.variant, method"),
        ("a + b", {"evaluation.also": ["few_shot"]}, None),
    ],
    ids=str,
)
def test_which_contrasts_are_unequal(factor, changed, also):
    identities = {"a": ARM, "b": ARM | changed}
    pair = [Contrast(a="a", b="b", factor=factor)]
    if also is None:
        refuse_unequal(pair, identities, PLACE)
        return
    with pytest.raises(ConfigError) as caught:
        refuse_unequal(pair, identities, PLACE)
    assert caught.value.message.endswith(f"strict: a and b also differ in {also}")
