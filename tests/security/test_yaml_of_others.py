"""YAML from anywhere, as an experiment file and as a store's description: refused fast, or right.

The limit is generous, and of processor time: each of these takes a second or two at most.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from paribus.analysis.elsewhere.sources import read_sources
from paribus.analysis.elsewhere.ways import Numbers
from paribus.cli.main import main
from paribus.config.load import load
from paribus.config.read import MAX_BYTES
from paribus.design.matrix import expand
from paribus.errors import ConfigError, StoreError
from paribus.store import experiments
from paribus.store.experiments import read_description, with_seal, write_description
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.manifest import write_manifest
from stores import complete, describe_trained

HANG_SECONDS = 15


def in_time(started: float) -> bool:
    return time.process_time() - started < HANG_SECONDS


def bomb(levels: int = 9) -> str:
    """Ten to the power of `levels` values in a few lines."""
    lines = ["bomb0: &b0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"bomb{level}: &b{level} [{', '.join([f'*b{level - 1}'] * 10)}]")
    return "\n".join(lines) + "\n"


def filled(start: str, item: str, end: str = "") -> str:
    """As many items as an experiment file may hold."""
    return start + item * ((MAX_BYTES - len(start + end)) // len(item)) + end


HEAVY = {  # the file, what is said
    "aliases": (bomb(), "an anchor or alias is not allowed"),
    "deep": ("a: " + "[" * 90_000, "nesting deeper than 20 is not allowed"),
    "deep blocks": ("".join(" " * n + "a:\n" for n in range(200)), "nesting deeper than 20"),
    "large": ("#" * (MAX_BYTES + 1), "x.yaml is over 100,000 bytes"),
    "long list": (filled("lora.targets: [", "1,", "]"), "more than 10,000 values"),
    "many keys": ("".join(f"k{n}: 1\n" for n in range(9_000)), "more than 10,000 values"),
    "many faults": ("".join(f"epoch{n}: 1\n" for n in range(4_000)), "and 3,900 more"),
    "long number": (f"seeds: {'9' * 90_000}", "a number has more than 18 digits"),
    "long float": (f"training.epochs: 1e{'9' * 50_000}", "training.epochs must be a number > 0"),
    "large matrix": ("matrix:\n lora.r: [" + "1," * 300 + "]", "matrix has 300 arms, over 256"),
    "quotes": (filled("model: '", "''", "'"), "model is 49,995 bytes long"),
}


@pytest.mark.parametrize(("text", "message"), HEAVY.values(), ids=HEAVY)
def test_heavy_files_are_refused_fast(tmp_path: Path, text: str, message: str) -> None:
    file, started = tmp_path / "x.yaml", time.process_time()
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        expand(load(file))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 100_000
    assert in_time(started)


UNSAFE = {
    "environment": ("question: ${oc.env:HF_TOKEN}", "the interpolation '${oc.env:HF_TOKEN}'"),
    "in a key": ("'${oc.env:HF_TOKEN}': 1", "the interpolation"),
    "in a list": ("lora.targets: ['${oc.decode:x}']", "the interpolation"),
    "in an arm": ("arms: {a: {model: '${oc.create:x}'}}", "the interpolation"),
    "relative": ("model: ${.question}", "the interpolation"),
    "Python": ("model: !!python/object/apply:os.system [touch ran]", "the tag"),
    "lm-eval's": ("model: !function evil.run", "the tag '!function'"),
    "twice": ("seeds: 1\nseeds: 2", "x.yaml:2: seeds was set before"),
    "twice in a section": (
        "training:\n  epochs: 1\n  epochs: 2",
        "x.yaml:3: training.epochs was set before",
    ),
    "unknown": ("hf_token: 1", "hf_token is not a known key"),
    "merge": ("<<: {seeds: 2}", "the tag '<<'"),
    "escape": (r'question: "\e]0;renamed\a"', r"the control character in '\\x1b]0;renamed\\x07'"),
    "C1": (r'question: "\x9b2J"', "the control character"),
    "bidi": (r'question: "\u202egnp.x"', "the control character"),
    "bidi in a path": (r'base: "\u202e \u2028"', "the control character"),  # found by fuzzing
    "half a pair": (r'question: "\ud800"', "not Unicode"),
    "NUL": (r'data.group_by: "a\0b"', "the control character"),
    "path in name": ("name: ../x", "name must be 1 to 64 letters"),
    "path in arm": ("arms: {../x: {}}", "'../x' is not a name for an arm"),
    "dot": ("arms: {..: {}}", "'..' is not a name for an arm"),
}


@pytest.mark.parametrize(("text", "message"), UNSAFE.values(), ids=UNSAFE)
def test_unsafe_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "planted-secret-value")
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        expand(load(Path("x.yaml")))
    assert message in str(caught.value)
    assert "planted" not in str(caught.value)
    assert not Path("ran").exists()


@pytest.mark.parametrize("item", ["model=${oc.env:HF_TOKEN}", "question=${env:HF_TOKEN}"])
def test_the_command_line_resolves_nothing(tmp_path: Path, item: str) -> None:
    (tmp_path / "x.yaml").write_text("seeds: 1\n")
    with pytest.raises(ConfigError, match="the interpolation"):
        load(tmp_path / "x.yaml", [item])


@pytest.fixture
def store(tmp_path: Path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    describe_trained(folder)
    return complete(folder)


def changed(folder: ExperimentFolder, **parts: Any) -> None:
    text = folder.description.read_text("utf-8")
    changed = yaml.safe_dump({**yaml.safe_load(text), **parts})
    folder.description.write_text(with_seal(changed))  # whoever writes it can seal it too


ARM = {"name": "full-main", "factors": {}, "identity": {}}
DAMAGED: dict[str, tuple[dict[str, Any], str]] = {
    "up": ({"arms": [{**ARM, "name": "../../x"}]}, "arms.0.name: Value error, is not a plain name"),
    "here": ({"arms": [{**ARM, "name": ".."}]}, "is not a plain name of a folder"),
    "absolute": ({"arms": [{**ARM, "name": "/etc"}]}, "is not a plain name of a folder"),
    "escape": ({"arms": [{**ARM, "name": "\x1b[2J"}]}, "is not a plain name of a folder"),
    "trial": ({"trials": [{"arm": "../x", "learning_rate": 1.0}]}, "trials.0.arm"),
    "rate": ({"trials": [{"arm": "x", "learning_rate": "/../x"}]}, "trials.0.learning_rate"),
    "seeds": ({"config": {"name": "x", "seeds": 10**7}}, "config.seeds"),
    "no mapping": ({"config": 3}, "config: it must be a mapping"),
    "no arms": ({"arms": None}, "arms: Input should be a valid list"),
}


@pytest.mark.parametrize(("parts", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_description_names_folders_of_its_own_or_is_refused(
    store: ExperimentFolder, parts: dict[str, Any], message: str
) -> None:
    changed(store, **parts)
    with pytest.raises(StoreError, match="is damaged") as caught:
        read_description(store)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(), "its aliases stand for more than 1,000,000 values"),
        ("a: &a [*a]", "its aliases stand for more than"),
        ("[" * 100_000, "more than 50 levels"),
        ("[" + "x," * (experiments.MAX_NODES + 1) + "]", "more than 1,000,000 values"),
        ("#" * (experiments.MAX_BYTES + 1), "larger than 10,000,000 bytes"),
        ("a: !!python/object/apply:os.system [touch ran]", "could not determine a constructor"),
        ("a: !function evil.run", "could not determine a constructor"),
        ('a: "\\ud800"', "cannot be read"),
    ],
)
def test_a_heavy_description_is_refused_fast(
    store: ExperimentFolder, text: str, message: str
) -> None:
    started = time.process_time()
    store.description.write_text(with_seal(text))
    with pytest.raises(StoreError, match=message):
        read_description(store)
    assert in_time(started)


@pytest.mark.parametrize(
    "name",
    ["experiment.yaml", "full-main/seed-0/generations/one_shot.jsonl", "full-main", "ledger.jsonl"],
)
def test_links_in_the_store_are_refused(
    store: ExperimentFolder, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    private, path = tmp_path / "private", store.path / name
    written = read_description(store)
    if path.exists():
        path.rename(private)
    path.symlink_to(private)
    for verb in ("report", "status"):
        assert main([verb, str(store.path)]) == 2
    assert "is a symbolic link, which may lead out of the store" in capsys.readouterr().err
    with pytest.raises(StoreError, match="is a symbolic link"):
        write_description(store, written)


def test_a_link_in_a_run_is_refused_and_the_store_itself_may_be_one(
    store: ExperimentFolder, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").symlink_to(store.path)
    assert main(["report", str(tmp_path / "elsewhere")]) == 0
    run = store.run("full-main", 0).path
    spec = {"fingerprint": "f", "arm": "full-main", "replicate": 0, "identity": {}}
    (run / "spec.json").write_text(json.dumps(spec))
    write_manifest(RunFolder(run))
    assert len(read_sources([str(run)], Numbers())) == 1
    (run / "result.json").rename(tmp_path / "result.json")
    (run / "result.json").symlink_to(tmp_path / "result.json")
    with pytest.raises(StoreError, match="is a symbolic link"):
        read_sources([str(run)], Numbers())
