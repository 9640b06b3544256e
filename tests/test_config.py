"""What an experiment file may say, who wins, where each value comes from, and every refusal."""

import contextlib
import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paribus.config.keys import SCHEMA
from paribus.config.load import Loaded, load
from paribus.config.nested import flatten, nest
from paribus.config.read import MAX_BYTES, Origin, read_file, read_item
from paribus.design.matrix import expand
from paribus.errors import ConfigError

BASE = """\
model: gemma-3-270m
name: not-handed-on
data:
  max_number: 9
  path: ../data
training:
  epochs: 2
lora.targets: [q_proj, v_proj]
"""
EXPECTED_ORIGINS = {
    "name": "x.yaml",
    "model": "configs/base.yaml:1",
    "data.max_number": "configs/base.yaml:4",
    "data.path": "configs/base.yaml:5",
    "data.variant": "command line",
    "training.epochs": "command line",
    "training.learning_rate": "x.yaml:2",
    "lora.targets": "x.yaml:3",
    "lora.r": "default",
    "baseline.protocol": "default",
    "seeds": "default",
    "matrix": "default",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/base.yaml").write_text(BASE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(text: str, *dotlist: str) -> Loaded:
    Path("x.yaml").write_text(text)
    return load(Path("x.yaml"), dotlist)


def refusal(text: str | bytes, *dotlist: str) -> str:
    Path("x.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load(Path("x.yaml"), dotlist)
    assert caught.value.remedy
    return caught.value.message


def test_later_wins_and_every_value_knows_its_origin(folder: Path) -> None:
    result = loaded(
        "base: configs/base.yaml\ntraining: {learning_rate: 1e-5}\nlora.targets: [o_proj]\n",
        "training.epochs=3",
        "data.variant=socratic",
    )
    assert result.config.name == "x"
    assert result.config.training.learning_rate == 1e-5
    assert result.config.lora.targets == ("o_proj",)
    assert (result.config.training.epochs, result.config.data.variant) == (3.0, "socratic")
    assert "base" not in result.values
    assert {key: str(result.origins[key]) for key in EXPECTED_ORIGINS} == EXPECTED_ORIGINS
    assert result.origins.keys() >= flatten(result.values).keys()
    assert "evaluation.protocol" in result.origins


def test_folders_start_where_they_are_said(folder: Path) -> None:
    base = "base: configs/base.yaml\n"
    assert loaded(base).config.data.path == str(folder / "data")
    assert loaded(base, "data.path=here").config.data.path == str(folder / "here")
    (folder / "configs/m.yaml").write_text("model: ../m")
    assert loaded("base: configs/m.yaml").config.model == str(folder / "m")
    assert loaded("model: ./m").config.model == str(folder / "m")
    home = Path("~/m").expanduser()
    assert loaded("seeds: 1", "model=~/m").config.model == str(home)
    assert loaded("model: google/gemma-2b-it").config.model == "google/gemma-2b-it"
    (folder / "configs/l.yaml").write_text("labels: ../platinum.jsonl")
    assert loaded("base: configs/l.yaml").config.labels == str(folder / "platinum.jsonl")
    assert loaded("labels: null").config.labels is None


@pytest.mark.parametrize(
    ("text", "dotlist", "matrix"),
    [
        ("matrix: {method: [full, lora]}", [], {"method": ["full", "lora"]}),
        ("matrix: {data: {variant: [main]}}", [], {"data.variant": ["main"]}),
        ("matrix: {method: [full]}", ["matrix={}"], {}),
        ("matrix: {method: [full]}", ["matrix="], {}),
        ("matrix: {method: [full]}", ["matrix={}", "matrix.lora.r=[1]"], {"lora.r": [1]}),
        (
            "matrix: {method: {full: , lora: {training: {epochs: 2}}}}",
            ["matrix.method=[lora]"],
            {"method": {"lora": {"training.epochs": 2}}},
        ),
        (
            "matrix: {method: [full], lora.r: {8: {lora.alpha: 16}, 4: {}}}",
            ["matrix.lora.r=[8]", "matrix.method={lora: {}}"],
            {"method": {"lora": {}}, "lora.r": {8: {"lora.alpha": 16}}},
        ),
        (
            "matrix: {method: {lora: {}}}",
            ["matrix.method.lora.training.epochs=2"],
            {"method": {"lora": {"training.epochs": 2}}},
        ),
    ],
)
def test_matrix_merges(folder: Path, text: str, dotlist: list[str], matrix: dict[str, Any]) -> None:
    assert loaded(text, *dotlist).values.get("matrix", {}) == matrix


WRONG = """\
question: [3]
training:
  lerning_rate: 1e-5
  epochs: 'three'
  batch_size: 12
epochs: 3
data: {train_size: 0, min_steps: 4}
lora: 3
matrix:
  method: [full, loro]
  training.learning_rate:
    1e-5: {training.epoch: 1}
  lora.r: []
  training: [1]
  data.variant: main
arms:
  "bad name": {}
  ok: {seeds: 3, training.epochs: x}
contrasts: [[a]]
"""
ALL_WRONG = """\
command line: method must be 'full', 'lora', 'none' or {peft: NAME, KEY: VALUE}, got 'qlora'
x.yaml:7: data.train_size must be a whole number ≥ 1 and ≤ 1,000,000 or 'all', got 0
command line: lora.alpha must be a number > 0 and ≤ 1,000,000, got true
x.yaml:4: training.epochs must be a number > 0 and ≤ 1,000,000, got 'three'
command line: training.warmup must be a number ≥ 0 and < 1, got 3
x.yaml:3: training.lerning_rate is not a known key; nearest: training.learning_rate
x.yaml:1: question must be text, got ['3']
x.yaml:15: matrix.data.variant must be a list of values, or a mapping of values to further keys, \
got 'main'
x.yaml:17: 'bad name' is not a name for an arm; it must be 1 to 64 letters, digits, dots, dashes \
and underscores, a letter or digit first
x.yaml:19: contrasts must be 'auto' or a list of pairs of arm names, [a, b] or \
{a: A, b: B, margin: POINTS}, got [['a']]
x.yaml:6: epochs is not a known key; nearest: training.epochs
x.yaml:7: data.max_steps=2 must be at least data.min_steps=4; set a higher data.max_steps or a \
lower data.min_steps
x.yaml:5: training.batch_size=12 must be a multiple of training.micro_batch=8; set \
training.batch_size=16 or training.micro_batch=4
x.yaml:10: matrix.method: method must be 'full', 'lora', 'none' or {peft: NAME, KEY: VALUE}, \
got 'loro'
x.yaml:12: matrix.training.learning_rate.1e-05: training.epoch is not a known key; nearest: \
training.epochs
x.yaml:13: matrix.lora.r: lora.r has no values; list some, or leave the factor out
x.yaml:14: matrix.training: training is a section, not a key; its keys: training.epochs
x.yaml:18: arms.ok: seeds belongs to the whole experiment, not to an arm; state it at the top
x.yaml:18: arms.ok: training.epochs must be a number > 0 and ≤ 1,000,000, got 'x'
"""


def test_all_problems_come_at_once(folder: Path) -> None:
    wrong = WRONG.replace("lora: 3\n", "\n")
    lines = refusal(wrong, "training.warmup=3", "method=qlora", "lora.alpha=true").splitlines()
    for line, expected in zip(lines, ALL_WRONG.splitlines(), strict=True):
        assert line.startswith(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 1\nseeds: 2", "x.yaml:2: seeds was set before, at x.yaml:1"),
        ("training.epochs: 1\ntraining: {epochs: 2}", "x.yaml:2: training.epochs was set before"),
        ("name: a\nname.b: c", "x.yaml: name.b: name is a value and a section at once"),
        (
            "matrix:\n  lora.r: {1: {}, true: {}}",
            "x.yaml:2: matrix.lora.r.1 was set before, at x.yaml:2",
        ),
        (
            "matrix:\n  lora.r: {null: {}}",
            "x.yaml:2: matrix.lora.r: null is not a key of a mapping",
        ),
        ("matrix:\n  lora.r: {[1]: {}}", "x.yaml:2: a key must be a text"),
        ("a: &x 1", "x.yaml:1: an anchor or alias is not allowed"),
        ("\nmodel: *x", "x.yaml:2: an anchor or alias is not allowed"),
        ("model: !!python/name:os.system x", "x.yaml:1: the tag 'tag:yaml.org,2002:python/name"),
        ("<<: {seeds: 2}", "x.yaml:1: the tag '<<' is not allowed"),
        ("question: 'a ${oc.env:HF_TOKEN}'", "x.yaml:1: the interpolation 'a ${oc.env:HF_TOKEN}'"),
        ("model: ???", "x.yaml:1: '???', a missing value"),
        ("seeds: 1\n---\nseeds: 2", "x.yaml:2: a second document"),
        ("a: " + "[" * 30, "x.yaml:1: nesting deeper than 20"),
        ('model: "\\ud800"', "x.yaml:1: text that is not Unicode"),
        ("[1, 2]", "x.yaml: is not a mapping"),
        ("", "x.yaml: is not a mapping"),
        ("seeds: 1" + "0" * 30, "x.yaml:1: a number has more than 18 digits: 100000000000000000…"),
        (
            "seeds: 0x" + "f" * 9999,
            "x.yaml:1: seeds must be a whole number ≥ 1 and ≤ 10,000, got '0xfff",
        ),
        ("seeds: [", "x.yaml:1: is not valid YAML"),
        ("null: 1", "x.yaml:1: null is not a known key"),
        (b"seeds: 1\nmodel: \xff", "x.yaml:2: is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), "x.yaml is over 100,000 bytes"),
        ("base: no.yaml", "x.yaml:1: base: no.yaml does not exist"),
        ("seeds: 1\nbase: configs", "x.yaml:2: base: configs is a folder"),
        ("base: x.yaml", "x.yaml:1: base: x.yaml builds on itself"),
        ("base: [x]", "x.yaml:1: base must be a path, got ['x']"),
        ("base.x: 1", "x.yaml:1: base must be a path, got {'x': 1}"),
        ("arms: {a: {base: no.yaml}}", "x.yaml:1: base: no.yaml does not exist"),
        ("seeds: 1\nmethod: none", "x.yaml:2: method='none' trains nothing; set baseline"),
        (
            "training: {learning_rate: 1e-5, min_learning_rate: 1}",
            "x.yaml:1: training.learning_rate=1e-05 must be at leas",
        ),
        ("name: a/b", "x.yaml:1: name must be 1 to 64 letters"),
        ("training: 3", "x.yaml:1: training must be a mapping of keys (epochs, max_steps"),
        ("seeds: '3'", "x.yaml:1: seeds must be a whole number ≥ 1 and ≤ 10,000, got '3'"),
        (
            "data.validation_size: -1",
            "x.yaml:1: data.validation_size must be a whole number ≥ 0 and",
        ),
        ("tune.learning_rates.full: 1", "x.yaml:1: tune.learning_rates.full must be a list of a n"),
        ("tune.learning_rate: {}", "x.yaml:1: tune.learning_rate is not a known key; nearest: tr"),
        ("strict: 1", "x.yaml:1: strict must be true or false, got 1"),
        ("looks: [3, 5]", "x.yaml:1: looks needs the most seeds an arm may have; set budget=5"),
        (
            "budget: 8\nseeds: 3",
            "x.yaml:2: seeds=3 and budget=8 both say how many seeds an arm has; drop seeds, or set "
            "seeds=8",
        ),
        *(
            (
                f"budget: 8\nlooks: {looks}",
                f"x.yaml:2: looks={looks} must be numbers of seeds, each more than the one before, "
                "from 3 to budget=8; set looks=[4, 8]",
            )
            for looks in ("[4, 6]", "[6, 4, 8]", "[4, 4, 8]", "[4, 8, 10]", "[]")
        ),
        ("budget: 2", "x.yaml:1: budget must be a whole number ≥ 3 and ≤ 10,000 or null, got 2"),
        ("budget: 8\nlooks: [2, 8]", "x.yaml:2: looks must be a list of a whole number ≥ 3 and"),
        ("training.trackers: [mlflow]", "x.yaml:1: training.trackers must be a list of 'tensorb"),
    ],
)
def test_refused_files(folder: Path, text: str | bytes, message: str) -> None:
    assert refusal(text).startswith(message)


READ_AS_WRITTEN = [  # key, written, read
    ("revision", "0123456", "0123456"),
    ("revision", "1234567", "1234567"),
    ("revision", "1e99999", "1e99999"),
    ("revision", "12345e7", "12345e7"),
    ("revision", "2024-01-31", "2024-01-31"),
    ("revision", "0x1f", "0x1f"),
    ("revision", "1.50", "1.50"),
    ("revision", "null", None),
    ("revision", "", None),
    ("data.revision", "0b1011", "0b1011"),
    ("data.group_by", "12:30:45", "12:30:45"),
    ("model", "true", "true"),
    ("name", "010", "010"),
    ("question", "1_000", "1_000"),
    ("lora.targets", "[on, 12, ~]", ["on", "12", None]),
    ("contrasts", "[[off, 010], [yes, 4]]", [["off", "010"], ["yes", "4"]]),
    ("contrasts", "[{a: off, b: 010, margin: 2}]", [{"a": "off", "b": "010", "margin": 2}]),
    ("tune.fixed", "[no, 1e5]", ["no", "1e5"]),
    ("arms.a.revision", "0123", "0123"),
    ("arms.a.lora.r", "12", 12),
    ("matrix.revision", "[0123, 1e9]", ["0123", "1e9"]),
    ("matrix.lora.r", "[8, 010]", [8, "010"]),
    ("training.learning_rate", "1e-5", 1e-5),
    ("training.learning_rate", "1.E+2", 100.0),
    ("training.learning_rate", "-.5", -0.5),
    ("training.learning_rate", "-.inf", -float("inf")),
    ("training.learning_rate", "1:30", "1:30"),
    ("training.learning_rate", "00.5", "00.5"),
    ("training.learning_rate", "'1'", "1"),
    ("data.train_size", "0100", "0100"),
    ("data.train_size", "+100", 100),
    ("seeds", "0o17", "0o17"),
    ("strict", "True", True),
    ("strict", "yes", "yes"),
    ("strict", "off", "off"),
]


@pytest.mark.parametrize(("key", "written", "read"), READ_AS_WRITTEN)
def test_a_plain_word_is_what_its_key_wants(
    folder: Path, key: str, written: str, read: Any
) -> None:
    Path("x.yaml").write_text(f"{key}: {written}\n")
    values, _ = read_file(Path("x.yaml"))
    assert values == {key: read}
    assert type(values[key]) is type(read)
    typed = read_item(f"{key}={written}", Origin("command line"))
    assert typed == nest({key: read})


WHOLE_BOUNDS = [
    ("data.train_size", 1, 10**6), ("data.test_size", 1, 10**6), ("data.validation_size", 0, 10**6),
    ("data.max_number", 3, 1000), ("prompt.max_tokens", 1, 10**6), ("lora.r", 1, 65_536),
    ("training.max_steps", 1, 10**9), ("training.target_tokens", 1, 10**12),
    ("evaluation.batch_size", 1, 65_536), ("evaluation.max_new_tokens", 1, 10**6),
    ("seeds", 1, 10_000), ("seed", 0, 2**53),
]  # fmt: skip


@pytest.mark.parametrize(("key", "low", "high"), WHOLE_BOUNDS)
def test_whole_numbers_have_bounds(folder: Path, key: str, low: int, high: int) -> None:
    for value in (low, high):
        result = loaded("seeds: 1", f"{key}={value}")
        assert flatten(asdict(result.config))[key] == value
    for value in (low - 1, high + 1, 10**17, -(10**17)):
        said = f"{key} must be a whole number ≥ {low} and ≤ {high:,}"
        assert said in refusal("seeds: 1", f"{key}={value}")


@pytest.mark.parametrize(
    ("key", "bounds"),
    [
        ("training.epochs", "> 0 and ≤ 1,000,000"),
        ("training.learning_rate", "> 0 and ≤ 1e+38"),
        ("training.min_learning_rate", "≥ 0 and ≤ 1e+38"),
        ("training.warmup", "≥ 0 and < 1"),
        ("training.weight_decay", "≥ 0 and ≤ 1,000,000"),
        ("training.max_grad_norm", "> 0 and ≤ 1,000,000"),
        ("training.checkpoint_minutes", "≥ 0 and ≤ 1,000,000"),
        ("lora.alpha", "> 0 and ≤ 1,000,000"),
        ("lora.dropout", "≥ 0 and < 1"),
    ],
)
@pytest.mark.parametrize("value", ["1e39", ".inf", "-.inf", ".nan", "-1e-9", "1e99999"])
def test_numbers_have_bounds(folder: Path, key: str, bounds: str, value: str) -> None:
    assert f"{key} must be a number {bounds}" in refusal("seeds: 1", f"{key}={value}")


def test_every_number_of_the_schema_has_bounds_on_both_sides() -> None:
    for key, schema in SCHEMA.items():
        for branch in schema.get("anyOf", [schema]):
            one = branch.get("items", branch)
            if one.get("type") in ("integer", "number"):
                assert {"minimum", "exclusiveMinimum"} & one.keys(), key
                assert {"maximum", "exclusiveMaximum"} & one.keys(), key


@pytest.mark.parametrize(
    ("text", "seeds", "looks"),
    [
        ("seeds: 4", 4, None),
        ("budget: 8", 8, [4, 8]),
        ("budget: 8\nlooks: [3, 5, 8]", 8, [3, 5, 8]),
        ("budget: 3", 3, [3]),
        ("budget: 8\nseeds: 8\nlooks: null", 8, [4, 8]),
    ],
)
def test_a_budget_is_the_seeds_and_has_looks(
    folder: Path, text: str, seeds: int, looks: list[int] | None
) -> None:
    result = loaded(f"base: configs/base.yaml\n{text}")
    assert (result.config.seeds, result.config.looks) == (seeds, looks)
    if looks:
        assert str(result.origins["budget"]) == "x.yaml:2"
        assert result.origins["looks"].file == Path("x.yaml")


LONG = "a" * 5000


@pytest.mark.parametrize("path", [f"./{LONG}", f"/{LONG}", "/".join(["b" * 200] * 30), LONG])
@pytest.mark.parametrize(
    "item", ["model={}", "labels={}", "data.path={}", "arms={{a: {{model: {}}}}}",
             "arms={{a: {{data.path: {}}}}}", "arms={{a: {{base: {}}}}}",
             "matrix={{model: [{}, x]}}"],
)  # fmt: skip
def test_a_path_that_no_system_takes_is_refused_in_one_line(
    folder: Path, item: str, path: str
) -> None:
    Path("x.yaml").write_text("seeds: 1\n")
    with pytest.raises(ConfigError, match="bytes long") as caught:
        expand(load(Path("x.yaml"), [item.format(path), *SIZED]))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


SIZED = ("data.train_size=9", "data.test_size=9")
ARM_NAMES = ["off", "yes", "on", "010", "1_000", "1e5", "1.50", "true", "null", "0x1f"]


def test_arms_are_called_as_written(folder: Path) -> None:
    arms = "".join(f"  {name}: {{lora.r: {rank}}}\n" for rank, name in enumerate(ARM_NAMES, 1))
    pair = loaded(f"arms:\n{arms}contrasts: [[off, 010], [1e5, 1.50]]\n", *SIZED)
    assert [arm.name for arm in expand(pair).arms if arm.name != "baseline"] == ARM_NAMES
    assert [(each.a, each.b) for each in expand(pair).contrasts] == [
        ("off", "010"),
        ("1e5", "1.50"),
    ]
    assert str(pair.origins["arms.010.lora.r"]) == "x.yaml:5"


@settings(max_examples=200)
@given(st.from_regex(r"[0-9a-f]{7,40}|[0-9]{7}e[0-9]+|0[0-7]{6}", fullmatch=True))
def test_any_commit_is_read_as_written(commit: str) -> None:
    origin = Origin("command line")
    assert read_item(f"revision={commit}", origin) == {"revision": commit}
    assert read_item(f"arms={{{commit}: {{data.revision: {commit}}}}}", origin) == {
        "arms": {commit: {"data.revision": commit}}
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data.train_size: 0100", "got '0100'; write 100, without quotes, zeros before it or _"),
        ("data.train_size: 1_000", "got '1_000'; write 1000, without quotes, zeros before it or _"),
        ("seeds: '3'", "got '3'; write 3, without quotes, zeros before it or _"),
        ("data.train_size: 1:30", "got '1:30'; write a plain number, such as 90 or 1e-5"),
        ("lora.alpha: 0x10", "got '0x10'; write a plain number, such as 90 or 1e-5"),
        ("data.train_size: many", "got 'many'"),
        ("matrix: {lora.r: [010]}", "got '010'; write 10, without quotes, zeros before it or _"),
    ],
)
def test_a_number_in_another_spelling_is_told_how_to_be_written(
    folder: Path, text: str, message: str
) -> None:
    assert refusal(text).endswith(message)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("seeds", "'seeds' does not set a key"),
        ("a..b=1", "'a..b=1' does not set a key"),
        ("base=y.yaml", "'base=y.yaml' does not set a key"),
        ("model=${oc.env:HOME}", "the interpolation '${oc.env:HOME}' is not allowed"),
        ("model=!!python/none x", "the tag"),
        ("seeds=[", "is not valid YAML"),
        ("seeds=x", "seeds must be a whole number ≥ 1 and ≤ 10,000, got 'x'"),
        ("sedes=3", "sedes is not a known key; nearest: seeds"),
        ("matrix.method=[null]", "matrix.method: [None] cannot pick from a mapping"),
    ],
)
def test_refused_on_the_command_line(folder: Path, item: str, message: str) -> None:
    assert refusal("matrix: {method: {lora: {}}}", item).startswith(f"command line: {message}")


def test_refused_paths(folder: Path) -> None:
    for path, message in {"no.yaml": "does not exist", "configs": "is a folder"}.items():
        with pytest.raises(ConfigError, match=f"^{path} {message}"):
            load(Path(path))
    with pytest.raises(ConfigError, match="does not exist"):
        load(Path("a\0b"))
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        load(Path("a" * 5000))


TEMPLATE = (WRONG + "base: configs/base.yaml\n").encode()


@settings(max_examples=150)
@given(
    st.binary(max_size=80)
    | st.tuples(st.integers(0, len(TEMPLATE)), st.integers(0, 9), st.binary(max_size=9)).map(
        lambda cut: TEMPLATE[: cut[0]] + cut[2] + TEMPLATE[cut[0] + cut[1] :]
    )
)
def test_no_bytes_raise_anything_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{hashlib.sha256(data).hexdigest()[:16]}.yaml"
    path.write_bytes(data)
    with contextlib.suppress(ConfigError):
        expand(load(path, ["training.epochs=2", "data.train_size=9", "data.test_size=9"]))
    path.unlink()


def test_a_key_of_an_earlier_version_is_named_by_todays(folder: Path) -> None:
    said = refusal("data: {source: gsm8k}\n")
    assert "x.yaml:1: data.source is `task` now" in said
    assert "data.source is `task` now" in refusal("model: gemma-3-270m\n", "data.source=gsm8k")
    assert "data.source is `task` now" in refusal("matrix: {data.source: [gsm8k]}\n")
