"""Protocols: their names, their prompts, what is stored of each, and who read the test split."""

import fcntl
import json
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any, get_args

import pytest
import yaml

from paribus.config.load import load
from paribus.config.schema import ArmConfig, DataConfig, EvaluationConfig, PromptConfig
from paribus.config.schema import ProtocolName as Names
from paribus.config.task_file import read_task
from paribus.design.matrix import expand
from paribus.errors import ConfigError, DamagedError, PromptError, StoreError
from paribus.planning.prepare import prepare
from paribus.prompts.formats import Protocol, main_protocol, protocols
from paribus.running.local import Execution, run_experiment
from paribus.running.processes import Here
from paribus.store.layout import ExperimentFolder, RunFolder
from paribus.store.ledger import append_read, read_ledger
from paribus.store.runs import read_generations
from stores import read

HERE = Execution(executor=Here)
ALSO = ["zero_shot/raw", "few_shot/raw", "zero_shot/chat", "one_shot/raw+calculator"]
EXPERIMENT = {
    "data": {"train_size": 4, "test_size": 3, "max_steps": 1},
    "prompt": {"max_tokens": 2000},
    "training": {"max_steps": 1, "batch_size": 2, "micro_batch": 2, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 3, "also": ALSO},
}


def arm(model: Path | str = "m", *, protocol="zero_shot", format="raw", also=()) -> ArmConfig:
    return ArmConfig(
        model=str(model),
        data=DataConfig(train_size=4, test_size=3, max_steps=1),
        prompt=PromptConfig(format=format, max_tokens=2000),
        evaluation=EvaluationConfig(protocol=protocol, also=also),
    )


@pytest.mark.parametrize("name", get_args(Names))
def test_every_name_is_read_and_written(name):
    protocol = Protocol.parse(name)
    assert protocol.name == name
    assert protocol.calculator == name.endswith("+calculator")
    assert len(protocol.shown("abcde")) == {"z": 0, "o": 1, "f": 5}[name[0]]


def test_each_protocol_has_a_file_of_its_own(tmp_path):
    paths = {RunFolder(tmp_path).generations(name).name for name in get_args(Names)}
    assert len(paths) == 12
    assert {"zero_shot-raw.jsonl", "few_shot-chat-calculator.jsonl"} <= paths


def test_the_main_protocol_comes_first_and_none_twice():
    config = arm(protocol="one_shot", also=("few_shot/chat", "one_shot/raw", "few_shot/chat"))
    assert main_protocol(config).name == "one_shot/raw"
    assert [each.name for each in protocols(config)] == ["one_shot/raw", "few_shot/chat"]


@pytest.mark.parametrize("shots", ["zero_shot", "one_shot", "few_shot"])
@pytest.mark.parametrize("format", ["raw", "chat"])
def test_prompts_hold_the_shots_in_order_and_the_solution_follows(tiny, tokenizer, shots, format):
    inputs = prepare(arm(tiny, protocol=shots, format=format), 0)
    (asked,) = inputs.prompt_sets
    number = {"zero_shot": 0, "one_shot": 1, "few_shot": 5}[shots]
    for prompt, gold in zip(asked.prompts, inputs.gold, strict=True):
        expected = [*(s.question for s in inputs.problems.shots[:number]), prompt.problem.question]
        places = [prompt.text.index(question) for question in expected]
        assert places == sorted(places)
        assert sum(s.question in prompt.text for s in inputs.problems.shots) == number
        assert gold.ids[: gold.prompt_length] == prompt.ids
        assert gold.ids[-1] == asked.stop
        written = tokenizer.decode(gold.ids[gold.prompt_length : -1])
        assert written.removeprefix(" ") == prompt.problem.solution


@pytest.mark.parametrize(
    ("row", "stated", "between"),
    [
        ({"instruction": "Add {}.", "output": "{}"}, "", "\n"),
        ({"prompt": "Add {}.", "completion": " {}"}, "", " "),
        ({"question": "Add {}.", "answer": "{}"}, "", " "),
        ({"instruction": "Add {}.", "output": "{}"}, 'target_delimiter: " "', " "),
    ],
)
def test_the_layout_says_what_stands_before_an_answer(
    tiny, tokenizer, tmp_path, row, stated, between
):
    rows = [{key: text.format(n) for key, text in row.items()} for n in range(20)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "own.yaml").write_text(f"train: train.jsonl\n{stated}\n")
    inputs = prepare(replace(arm(tiny), task=read_task(str(tmp_path / "own.yaml"))), 0)
    for asked, gold in zip(inputs.prompt_sets[0].prompts, inputs.gold, strict=True):
        written = tokenizer.decode(gold.ids[gold.prompt_length : -1])
        assert written == between + asked.problem.solution.strip()


def test_chat_without_a_template_is_refused_before_any_compute(tiny, tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    for file in tiny.iterdir():
        text = file.read_bytes()
        if file.suffix == ".json":
            values = json.loads(text)
            values.pop("chat_template", None)
            text = json.dumps(values).encode()
        if file.suffix != ".jinja":
            (folder / file.name).write_bytes(text)
    assert len(prepare(arm(folder), 0).prompt_sets) == 1
    with pytest.raises(PromptError, match="no chat template"):
        prepare(arm(folder, also=("few_shot/chat+calculator",)), 0)


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ("two_shot/raw", "evaluation.also must be a list of 'zero_shot/raw' or "),
        ("zero_shot", "evaluation.also must be a list of"),
        ("zero_shot/raw + calculator", "evaluation.also must be a list of"),
    ],
)
def test_unknown_protocols_are_refused(tmp_path, also, message):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"evaluation": {"also": [also]}}))
    with pytest.raises(ConfigError, match=message):
        load(tmp_path / "x.yaml")


def test_the_baseline_is_tested_as_all_of_its_arms_are(tmp_path):
    values = {
        "arms": {
            "a": {"evaluation.also": ["few_shot/raw", "one_shot/raw"]},
            "b": {"evaluation.also": ["few_shot/raw", "zero_shot/chat"], "lora.r": 4},
        },
        "data": {"train_size": 9, "test_size": 9},
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(values))
    design = expand(load(tmp_path / "x.yaml"))
    baseline = design.arms[0].config
    assert [each.name for each in protocols(baseline)] == [
        "one_shot/raw",
        "few_shot/raw",
        "zero_shot/chat",
    ]
    # What an arm is tested under beside its main protocol is not a factor of a contrast.
    assert [one.factor for one in design.contrasts] == ["tuning", "tuning", "lora.r"]


@pytest.fixture(scope="module")
def store(tiny, tmp_path_factory) -> ExperimentFolder:
    folder = tmp_path_factory.mktemp("protocols")
    (folder / "x.yaml").write_text(
        yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}, sort_keys=False)
    )
    loaded = load(folder / "x.yaml")
    outcome = run_experiment(
        loaded,
        expand(loaded),
        folder,
        lambda *_: None,
        lambda *_: None,
        how=HERE,
    )
    assert outcome.failed == ()
    return ExperimentFolder(folder / "x")


@pytest.mark.parametrize(
    ("name", "main", "further"),
    [
        ("baseline", "one_shot/raw", ALSO),
        ("lora-main", "zero_shot/raw", ALSO[1:]),
    ],
)
def test_what_is_stored_of_each_protocol(store, name, main, further):
    run = store.run(name, 0)
    result: dict[str, Any] = json.loads(run.result.read_text())
    assert result["evaluation"]["protocol"] == main
    assert list(result["also"]) == further
    texts = {each: read_generations(run.generations(each)) for each in (main, *further)}
    assert len(list((run.path / "generations").iterdir())) == 1 + len(further)
    for protocol, generations in texts.items():
        figures = result["also"].get(protocol, result["evaluation"])
        assert (figures["protocol"], figures["problems"]) == (protocol, 3)
        assert figures["generated_tokens"] == sum(each.num_tokens for each in generations)
    assert len({each[0].prompt_sha256 for each in texts.values()}) == len(
        {protocol.removesuffix("+calculator") for protocol in texts}
    )
    heldout = [json.loads(line) for line in run.heldout.read_text().splitlines()]
    assert [each["problem_id"] for each in heldout] == [g.problem_id for g in texts[main]]
    assert result["heldout"]["variant"] == "main"
    assert result["heldout"]["nll_per_problem"] == pytest.approx(
        sum(each["nll"] for each in heldout) / 3
    )
    assert result["data"]["overlap_13gram"].keys() == {
        "test_in_train",
        "shots_in_train",
        "shots_in_test",
    }


def test_every_reading_of_the_test_split_is_in_the_ledger(store):
    lines = read_ledger(store.ledger)
    assert [(line.arm, line.protocol) for line in lines] == [
        *(("baseline", each) for each in ["one_shot/raw", *ALSO, "likelihood"]),
        *(("lora-main", each) for each in [*ALSO, "likelihood"]),
    ]
    specs = {a: json.loads(store.run(a, 0).spec.read_text()) for a in ("baseline", "lora-main")}
    for line in lines:
        assert (line.seed, line.problems) == (0, 3)
        assert line.fingerprint == specs[line.arm]["fingerprint"]
        assert line.test_sha256 == specs[line.arm]["inputs"]["test_sha256"]
    assert [line.time for line in lines] == sorted(line.time for line in lines)


READS = [read("caf\u00e9\u2028", "zero_shot/raw", number) for number in range(3)]


def test_the_ledger_only_grows_and_survives_a_torn_line(tmp_path):
    path = tmp_path / "x" / "ledger.jsonl"
    assert read_ledger(path) == []
    append_read(path, READS[0])
    append_read(path, READS[1])
    whole = path.read_bytes()
    assert read_ledger(path) == READS[:2]
    torn = whole.split(b"\n")[0]
    for cut in range(1, len(torn) - 1):
        path.write_bytes(whole + torn[:cut])
        assert read_ledger(path) == READS[:2]
        append_read(path, READS[2])
        assert path.read_bytes().startswith(whole)
        assert read_ledger(path) == READS


@pytest.mark.parametrize("place", range(3))
def test_a_ledger_never_counts_too_few_in_silence(tmp_path, place):
    """Whichever byte of whichever line is another: it is an error, or the same readings."""
    path = tmp_path / "ledger.jsonl"
    for reading in READS:
        append_read(path, reading)
    whole = path.read_bytes()
    starts = [0, *(at + 1 for at, byte in enumerate(whole) if byte == ord("\n"))]
    for at in range(starts[place], starts[place + 1]):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DamagedError, match=rf"ledger\.jsonl, line {place + 1}, is"):
            read_ledger(path)
    path.write_bytes(whole + b"[" * 200_000)
    with pytest.raises(DamagedError, match="line 4"):
        read_ledger(path)
    path.write_bytes(whole + b'[1]\n{"time": 1}\n')
    with pytest.raises(DamagedError, match="line 4"):
        read_ledger(path)


def test_a_line_without_its_newline_counts_and_is_not_joined_to_the_next(tmp_path):
    path = tmp_path / "ledger.jsonl"
    append_read(path, READS[0])
    path.write_bytes(path.read_bytes()[:-1])
    assert read_ledger(path) == [READS[0]]
    append_read(path, READS[1])
    assert read_ledger(path) == READS[:2]


def test_two_processes_append_one_after_the_other(tmp_path):
    """Both find a line cut short: whoever comes second must not cut off the first one's."""
    path = tmp_path / "ledger.jsonl"
    append_read(path, READS[0])
    mine = path.read_bytes()
    path.write_bytes(mine[:20])
    other = Thread(target=append_read, args=(path, READS[1]))
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        other.start()
        other.join(0.2)
        assert path.read_bytes() == mine[:20]
        path.write_bytes(mine)
    other.join()
    assert read_ledger(path) == READS[:2]


def test_a_deleted_run_stays_in_the_ledger(store):
    before = read_ledger(store.ledger)
    shutil.rmtree(store.run("baseline", 0).path)
    loaded = load(store.path.parent / "x.yaml")
    run_experiment(
        loaded,
        expand(loaded),
        store.path.parent,
        lambda *_: None,
        lambda *_: None,
        how=HERE,
    )
    after = read_ledger(store.ledger)
    assert after[: len(before)] == before
    assert [line.arm for line in after[len(before) :]] == ["baseline"] * (len(ALSO) + 2)


def test_rows_that_were_edited_after_the_runs_are_noticed(tiny, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"message {n},{'ab'[n % 2]}\n" for n in range(12)))
    (tmp_path / "own.yaml").write_text("train: rows.csv\n")
    (tmp_path / "x.yaml").write_text(
        f"task: own.yaml\nmodel: {tiny}\ndata: {{train_size: 1, test_size: 4}}\n"
        "training: {precision: fp32, max_steps: 1}\nevaluation: {max_new_tokens: 2}\n"
        "arms: {full: {method: full}}\n"
    )
    loaded = load(tmp_path / "x.yaml")

    def run() -> int:
        return run_experiment(
            loaded, expand(loaded), tmp_path / "runs", lambda *_: None, how=HERE
        ).ran

    assert (run(), run()) == (2, 0)
    rows.write_text(rows.read_text().replace(",a", ",c"))
    with pytest.raises(StoreError, match="holds a complete run that differs"):
        run()
