"""`paribus publish` and `unpack`: an experiment as tables, and the same experiment again."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from inside import paribus
from paribus.analysis.reading import read_experiment
from paribus.errors import DamagedError, StoreError
from paribus.files import read_json, write_text
from paribus.records import Generation, Likelihood, Stop
from paribus.report.publication import BEGIN, END, outcome_rows
from paribus.store import packed
from paribus.store.layout import ExperimentFolder
from paribus.store.locks import locked
from paribus.store.manifest import read_sealed, write_sealed
from paribus.store.runs import write_generations, write_heldout
from stores import complete, describe_trained

LEFT_BEHIND = {"weights", "trackers", "lock", "report"}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that is packed: its path in the folder, and its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not LEFT_BEHIND & {*path.relative_to(folder).parts}
    }


@pytest.fixture
def store(tmp_path: Path) -> ExperimentFolder:
    folder = ExperimentFolder(tmp_path / "runs/small")
    describe_trained(folder)
    return complete(folder)


def test_what_is_published_becomes_the_same_runs_again(store, tmp_path):
    assert paribus("publish", "runs/small", "--into", "out", cwd=tmp_path).returncode == 0
    assert paribus("unpack", "out", "--into", "again", cwd=tmp_path).returncode == 0
    assert contents(tmp_path / "again") == contents(store.path)
    assert len(contents(store.path)) > 10
    assert paribus("report", "again", cwd=tmp_path).returncode == 0
    assert read_json(tmp_path / "again/report/findings.json") == read_json(
        tmp_path / "out/findings.json"
    )
    assert (tmp_path / "again/report/index.html").read_bytes() == (
        tmp_path / "out/report.html"
    ).read_bytes()


def test_a_real_experiment_with_trials_and_protocols_comes_back(real_store, tmp_path):
    folder = ExperimentFolder(real_store / "runs/tuned")
    packed.pack(folder, tmp_path / "out")
    again = packed.unpack(tmp_path / "out", tmp_path / "again")
    assert contents(again.path) == contents(folder.path)
    names = {row["file"] for row in parquet.read_table(tmp_path / "out/texts.parquet").to_pylist()}
    assert any(name.startswith("tuning/") for name in names)
    assert any("one_shot-raw" in name for name in names)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
DOCUMENTS = st.dictionaries(
    TEXTS, st.none() | st.booleans() | st.integers() | TEXTS | st.lists(TEXTS), max_size=3
)


@given(
    st.lists(
        st.builds(
            Generation,
            problem_id=TEXTS,
            question=TEXTS,
            answer=TEXTS,
            prompt_sha256=TEXTS,
            text=TEXTS,
            num_tokens=st.integers(0, 2**40),
            stop=st.sampled_from(Stop),
            group=TEXTS,
            answers=st.lists(TEXTS, max_size=2).map(tuple),
            choice_nlls=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=2).map(
                tuple
            ),
            document=st.none() | DOCUMENTS,
        ),
        max_size=4,
    ),
    st.lists(
        st.builds(
            Likelihood,
            problem_id=TEXTS,
            nll=st.none() | st.floats(allow_nan=False, allow_infinity=False),
            tokens=st.integers(0, 9),
            group=TEXTS,
        ),
        max_size=4,
    ),
)
def test_any_text_comes_back_to_the_byte(tmp_path_factory, generations, likelihoods):
    place = tmp_path_factory.mktemp("any")
    folder = ExperimentFolder(place / "x")
    run = folder.run("full", 0)
    write_generations(run, "zero_shot", generations)
    write_heldout(run, likelihoods)
    write_text(run.spec, "{}")
    packed.pack(folder, place / "out")
    again = packed.unpack(place / "out", place / "again")
    assert contents(again.path) == contents(folder.path)


def test_lines_that_paribus_would_write_otherwise_are_kept_as_they_are(store, tmp_path):
    path = next(store.path.rglob("generations/*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'", "', b'" , "'))
    surrogate = path.with_name("odd.jsonl")
    surrogate.write_bytes(path.read_bytes().replace(b'"text": "', b'"text": "\\ud800'))
    packed.pack(store, tmp_path / "out")
    again = packed.unpack(tmp_path / "out", tmp_path / "again")
    assert contents(again.path) == contents(store.path)


def test_outcomes_are_those_of_the_report(store, tmp_path):
    assert paribus("publish", "runs/small", "--into", "out", cwd=tmp_path).returncode == 0
    rows = parquet.read_table(tmp_path / "out/outcomes.parquet").to_pylist()
    assert rows == list(outcome_rows(read_experiment(store)))
    solved = {
        arm: sum(row["outcome"] == "correct" for row in rows if row["arm"] == arm)
        for arm in ("baseline", "full-main", "lora-main")
    }
    assert solved == {"baseline": 1, "full-main": 8, "lora-main": 6}


def test_the_page_answers_first_and_keeps_what_was_written_around_it(store, tmp_path):
    page = tmp_path / "out/README.md"
    assert paribus("publish", "runs/small", "--into", "out", cwd=tmp_path).returncode == 0
    first = page.read_text()
    lines = [line for line in first.splitlines() if line]
    assert lines[:2] == [BEGIN, "# Full or LoRA?"]
    assert lines[2].startswith("**Of these trained models, full-main (80 %) solves more")
    assert "| full-main | 8 of 10 | 80 % [44.4 to 97.5] | 0 | 0 |" in lines
    assert "Hypothesis, as it stood in the experiment file: Full wins." in lines
    page.write_text(f"Before.\n{first}After {END}\n".replace("80 %", "90 %"))
    assert paribus("publish", "runs/small", "--into", "out", cwd=tmp_path).returncode == 0
    assert page.read_text() == f"Before.\n{first}After {END}\n"


def test_figures_of_the_page_are_files_that_a_browser_opens(store, tmp_path):
    assert paribus("publish", "runs/small", "--into", "out", cwd=tmp_path).returncode == 0
    figures = sorted((tmp_path / "out/figures").iterdir())
    assert [path.name for path in figures][:2] == ["accuracy.svg", "cost.svg"]
    for path in figures:
        assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    named = (tmp_path / "out/README.md").read_text().split("](figures/")[1:]
    assert {part.partition(")")[0] for part in named} <= {path.name for path in figures}


def test_a_changed_table_is_found(store, tmp_path):
    packed.pack(store, tmp_path / "out")
    table = tmp_path / "out/texts.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"\0")
    with pytest.raises(DamagedError, match="texts.parquet is missing or is not what was written"):
        packed.unpack(tmp_path / "out", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_path_that_leads_elsewhere_is_refused(store, tmp_path):
    packed.pack(store, tmp_path / "out")
    files = tmp_path / "out/files.parquet"
    for name in ("../evil", "/tmp/evil", "a/../../evil", ""):
        packed.write_table(files, [{"file": name, "content": b"x"}], packed._schema(files.name))
        seal = read_sealed(tmp_path / "out/packed.json")
        seal["files"]["files.parquet"] = packed.sha256_of_file(files)
        write_sealed(tmp_path / "out/packed.json", seal)
        with pytest.raises(DamagedError, match="leads out of its folder"):
            packed.unpack(tmp_path / "out", tmp_path / f"again{len(name)}")
    assert not (tmp_path / "evil").exists()


def test_a_run_in_use_is_not_published(store, tmp_path):
    run = store.run("full-main", 0)
    with locked(run.lock), pytest.raises(StoreError, match="seed-0 is being worked on"):
        packed.pack(store, tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["publish", "none", "--into", "out"], "there is no file and no folder none"),
        (["publish", "empty", "--into", "out"], "empty holds no experiment"),
        (["unpack", "empty", "--into", "again"], "empty holds no published experiment"),
        (["unpack", "out", "--into", "runs/small"], "runs/small is there already"),
    ],
)
def test_a_mistake_ends_with_two(store, tmp_path, words, said):
    (tmp_path / "empty").mkdir()
    packed.pack(store, tmp_path / "out")
    made = paribus(*words, cwd=tmp_path)
    assert made.returncode == 2
    assert said in made.stderr
