"""From the files of a task to its problems: layouts, templates, splits, and what is wrong."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from external_rows import write
from paribus.config.schema import DataConfig
from paribus.config.task import Task
from paribus.data.layouts import layout_of
from paribus.data.problems import FEW_SHOTS, hash_of_tests, load_problems, read_split
from paribus.data.templates import holds, list_of, render, value_of
from paribus.errors import DataError, NotHere
from paribus.records import Problem, Turn

ROW = {"q": "1 + 1?", "doc": {"answers": ["2", "two"], "n": 3}, "opts": ["1", "2"], "0": "zero"}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("q", "1 + 1?"),
        ("doc.answers.1", "two"),
        ("doc.n", 3),
        ("{{q}}", "1 + 1?"),
        ("Q: {{ q|upper }}\n", "Q: 1 + 1?\n"),
        ("{{ doc.answers }}", "['2', 'two']"),
        ("{{opts.index('2')}}", "1"),
        ("{{ q | regex_replace('[0-9]', 'N') }}", "N + N?"),
        ("{% if doc.n > 2 %}many{% endif %}", "many"),
    ],
)
def test_a_template_or_a_columns_name_gives_its_value(template, value):
    assert value_of(template, ROW, "x:1") == value


def test_only_a_rendered_text_is_read_as_a_list():
    row = {"code": "[1, 2]", "golds": ["a", "b"]}
    assert list_of("{{ golds }}", row, "x:1") == ["a", "b"]
    assert list_of("{{ code }}", row, "x:1") == [1, 2]  # as in lm-eval
    assert list_of("code", row, "x:1") == "[1, 2]"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("gone", "x:1: there is no column 'gone'"),
        ("doc.gone", "x:1: there is no column 'doc.gone': nothing is under 'gone'"),
        ("{{ gone }}", "x:1: the template '{{ gone }}' fails: UndefinedError: 'gone' is undefined"),
        ("{{ q", "fails: TemplateSyntaxError"),
        ("{{ none }}", "a column is null or NaN"),
        ("{{ q.__class__.__mro__ }}", "fails: SecurityError"),
        ("{{ opts.append(1) }}", "fails: SecurityError"),
        ("{{ 'x' * 2000000 }}", "gives 2,000,000 characters; the most are 1,000,000"),
        ("{% for a in range(999999999) %}{% endfor %}", "fails: OverflowError"),
    ],
)
def test_a_template_that_fails_names_itself_the_row_and_its_columns(template, message):
    with pytest.raises(DataError) as caught:
        value_of(template, ROW, "x:1")
    assert message in caught.value.message
    assert "doc, opts" in f"{caught.value}" or "characters" in message


def test_conditions():
    assert holds("doc.n > 2 and q.startswith('1')", ROW, "x:1")
    assert not holds("{{ doc.n == 4 }}", ROW, "x:1")
    assert render("{{ q }}\n\n", ROW, "x:1") == "1 + 1?\n\n"


LAYOUTS: list[tuple[str, dict[str, Any], Problem]] = [
    (
        "question/answer",
        {"question": "1 + 1?", "answer": "2"},
        Problem(question="1 + 1?", solution="2", answer="2", prompt="Question: 1 + 1?\nAnswer:"),
    ),
    (
        "prompt/completion",
        {"prompt": "Say hi.", "completion": " Hi!"},
        Problem(question="Say hi.", solution=" Hi!", answer=" Hi!", prompt="Say hi."),
    ),
    (
        "Alpaca",
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
        Problem(
            question="Add.\n\n1, 2",
            solution="3",
            answer="3",
            prompt="### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:",
        ),
    ),
    (
        "Alpaca",
        {"instruction": "Greet.", "input": "", "output": "Hi"},
        Problem(
            question="Greet.",
            solution="Hi",
            answer="Hi",
            prompt="### Instruction:\nGreet.\n\n### Response:",
        ),
    ),
    (
        "text/label",
        {"text": "my money", "label": "refund"},
        Problem(question="my money", solution="refund", answer="refund", prompt="my money\nLabel:"),
    ),
]


def problems(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> list[Problem]:
    write(folder / "train.jsonl", rows)
    task = Task(task="own", train="train.jsonl", folder=str(folder), **changes)
    return read_split(task, DataConfig(), "train")[0]


@pytest.mark.parametrize(("name", "row", "wanted"), LAYOUTS)
def test_layouts_are_recognised_by_their_columns(tmp_path, name, row, wanted):
    assert layout_of(row, "x:1").name == name
    (found,) = problems(tmp_path, [row])
    assert found == wanted
    assert found.prompt == wanted.prompt


TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
    {"role": "assistant", "content": "See you"},
]
SHARE = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]


def test_a_conversation_is_learnt_at_its_last_turn_or_at_every_one(tmp_path):
    (last,) = problems(tmp_path, [{"messages": TURNS}])
    assert (last.question, last.solution) == ("Bye", "See you")
    assert last.turns[:2] == (Turn("system", "Be brief."), Turn("user", "Hi"))
    assert last.prompt.endswith("Assistant: Hello\n\nUser: Bye\n\nAssistant:")
    every = problems(tmp_path, [{"messages": TURNS}], turns="every")
    assert [problem.solution for problem in every] == ["Hello", "See you"]
    assert len({problem.id for problem in every}) == 2
    assert len({problem.group for problem in every}) == 1
    (shared,) = problems(tmp_path, [{"conversations": SHARE}])
    assert (shared.turns, shared.solution) == ((Turn("user", "Hi"),), "Hello")


def test_turns_of_a_conversation_that_is_tested_are_not_trained_on(tmp_path):
    talks = [
        [
            {"role": role, "content": f"{role} {n} {turn}"}
            for turn in range(3)
            for role in ("user", "assistant")
        ]
        for n in range(12)
    ]
    write(tmp_path / "train.jsonl", [{"messages": talk} for talk in talks])
    task = Task(task="own", train="train.jsonl", folder=str(tmp_path), turns="every")
    found = load_problems(task, DataConfig(test_size=4), seed=0)
    trained = (*found.train, *found.shots)
    assert not {problem.group for problem in found.test} & {problem.group for problem in trained}
    tested = len({problem.group for problem in found.test})
    assert len(trained) == 3 * (12 - tested)
    # Nor those of one that an arm is chosen by.
    chosen = load_problems(task, DataConfig(test_size=4, validation_size=3), seed=0)
    asked = {problem.group for problem in chosen.validation}
    assert chosen.test == found.test
    assert not asked & {problem.group for problem in chosen.train}
    with pytest.raises(DataError, match="turns of validation conversations"):
        load_problems(task, DataConfig(test_size=4, validation_size=3, train_size=20), seed=0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"qestion": "1", "answer": "2"},
            "its columns are qestion, answer; the nearest is question",
        ),
        ({"a": "1"}, "no known layout: its columns are a"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "turn 1 of messages is not {role: user"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "turn 1 of messages is not"),
        ({"messages": TURNS[:2]}, "no turn of the assistant's follows one of the user's"),
        ({"question": "  ", "answer": "2"}, "question gives '  ', which is blank"),
        (
            {"question": "1", "answer": None},
            "doc_to_target gives None, which is not text",
        ),
    ],
)
def test_rows_that_fit_no_layout_are_answered_with_their_columns(tmp_path, row, message):
    with pytest.raises(DataError) as caught:
        problems(tmp_path, [row])
    assert "train.jsonl:1" in caught.value.message
    assert message in caught.value.message


CHOICES = {"doc_to_text": "q", "doc_to_choice": "opts"}


@pytest.mark.parametrize(
    ("target", "row", "answer"),
    [
        ("gold", {"gold": 1}, "b"),
        ("{{gold}}", {"gold": "0"}, "a"),
        ("{{opts.index(gold)}}", {"gold": "b"}, "b"),
        ("gold", {"gold": "b"}, "b"),
        (1, {}, "b"),
    ],
)
def test_gold_is_a_choice_by_place_or_by_its_text(tmp_path, target, row, answer):
    (found,) = problems(
        tmp_path, [{"q": "?", "opts": ["a", "b"], **row}], doc_to_target=target, **CHOICES
    )
    assert (found.answer, found.solution, found.choices) == (answer, answer, ("a", "b"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"opts": ["a", "b"], "gold": 2}, "doc_to_target is 2; there are 2 choices, from 0"),
        ({"opts": ["a", "b"], "gold": "c"}, "doc_to_target is 'c', which is none of the choices"),
        ({"opts": ["a"], "gold": 0}, "not a list of at least two choices"),
        ({"opts": "a", "gold": 0}, "not a list of at least two choices"),
    ],
)
def test_choices_that_do_not_fit_are_named_with_their_row(tmp_path, row, message):
    with pytest.raises(DataError, match=r"train\.jsonl:1") as caught:
        problems(tmp_path, [{"q": "?", **row}], doc_to_target="gold", **CHOICES)
    assert message in caught.value.message


def test_texts_of_a_layout_that_read_as_lists_stay_texts(tmp_path):
    (found,) = problems(tmp_path, [{"instruction": "[1]", "output": "[1, 2]"}])
    assert (found.question, found.answer, found.answers) == ("[1]", "[1, 2]", ())
    (found,) = problems(tmp_path, [{"question": "[1]", "answer": ["a", "b"]}])
    assert (found.answer, found.answers) == ("a", ("b",))


@pytest.mark.parametrize(
    ("target", "label", "answer"),
    [
        ("label", "2", "2"),  # a column's text is a choice, as in lm-eval
        ("label", "0", "3"),  # unless none is so called
        ("{{ label }}", "2", "1"),  # a rendered number is a place
        ("label", 0, "3"),
    ],
)
def test_a_number_is_a_choice_or_a_place(tmp_path, target, label, answer):
    (found,) = problems(
        tmp_path,
        [{"q": "x", "label": label}],
        doc_to_text="q",
        doc_to_target=target,
        doc_to_choice=["3", "2", "1"],
    )
    assert found.answer == answer


def test_a_number_that_may_be_a_choice_or_a_place_is_refused(tmp_path):
    with pytest.raises(DataError, match="the number 1, which may be the choice 1, or a place"):
        problems(
            tmp_path,
            [{"q": "x", "label": 1}],
            doc_to_text="q",
            doc_to_target="label",
            doc_to_choice=["1", "2", "3"],
        )


def test_gold_that_is_nan_is_refused(tmp_path):
    with pytest.raises(DataError, match="train.jsonl:1: doc_to_target gives nan"):
        problems(tmp_path, [{"text": "x", "label": float("nan")}])
    with pytest.raises(DataError, match="a column is null or NaN"):
        problems(tmp_path, [{"text": float("nan"), "label": "x"}])


def test_a_split_that_data_files_lack_is_no_reason_to_hold_out(tmp_path):
    write(tmp_path / "a.jsonl", [{"text": "x", "label": "y"}])
    task = Task(
        task="own",
        dataset_path="json",
        dataset_kwargs={"data_files": {"train": "a.jsonl", "tset": "a.jsonl"}},
        test_split="test",
        folder=str(tmp_path),
    )
    with pytest.raises(DataError, match="has no 'test', which .* it has 'train', 'tset'"):
        load_problems(task, DataConfig(test_size=1), 0)


def test_several_gold_answers_count(tmp_path):
    (found,) = problems(
        tmp_path, [{"q": "?", "a": ["2", "two"]}], doc_to_text="q", doc_to_target="a"
    )
    assert (found.answer, found.answers) == ("2", ("two",))


PAIRS = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(20)]
CSV = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in PAIRS)


@pytest.mark.parametrize(
    "named", ["t.csv", "t.csv.gz", "t.json", "t.jsonl", "*.csv", "sub", ["t.csv"]]
)
def test_files_come_in_every_form(tmp_path, named):
    (tmp_path / "sub").mkdir()
    (tmp_path / "t.csv").write_text(CSV)
    (tmp_path / "sub" / "t.csv").write_text(CSV)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    (tmp_path / "t.json").write_text(json.dumps(PAIRS))
    write(tmp_path / "t.jsonl", PAIRS)
    task = Task(task="own", train=named, folder=str(tmp_path))
    found, layout = read_split(task, DataConfig(), "train")
    assert [(p.question, p.answer) for p in found] == [(r["text"], r["label"]) for r in PAIRS]
    assert layout == "text/label"


@pytest.mark.parametrize("form", ["json", "csv"])
def test_data_files_of_lm_eval_are_files_of_ones_own(tmp_path, form):
    (tmp_path / "t.csv").write_text(CSV)
    files = {"train": "t.csv", "validation": "t.csv"}
    task = Task(
        task="own",
        dataset_path=form,
        dataset_kwargs={"data_files": files},
        training_split="train",
        validation_split="validation",
        folder=str(tmp_path),
    )
    for split in ("train", "test"):
        assert len(read_split(task, DataConfig(), split)[0]) == 20


def test_without_a_test_split_test_size_is_held_out(tmp_path):
    (tmp_path / "t.csv").write_text(CSV)
    task = Task(task="own", train="t.csv", folder=str(tmp_path))
    found = load_problems(task, DataConfig(test_size=4), seed=3)
    assert (len(found.test), len(found.train)) == (4, 20 - 4 - FEW_SHOTS)
    more = load_problems(task, DataConfig(test_size=6), seed=3)
    assert more.test[:4] == found.test
    everything = {p.id for p in (*found.test, *found.train, *found.shots)}
    assert len(everything) == 20
    assert found.overlap == 0
    with pytest.raises(DataError, match="has no test split, and data.test_size is 'all'"):
        load_problems(task, DataConfig(), seed=3)


def test_a_condition_leaves_rows_out_and_a_variant_has_its_own(tmp_path):
    (tmp_path / "t.csv").write_text(CSV)
    variants = {"all": {}, "easy": {"where": "label == 'a'"}}
    task = Task(task="own", train="t.csv", test="t.csv", folder=str(tmp_path), variants=variants)
    easy = load_problems(task, DataConfig(variant="easy", test_size=5), seed=0)
    whole = load_problems(task, DataConfig(variant="all", test_size=5), seed=0)
    assert {p.answer for p in (*easy.train, *easy.shots)} == {"a"}
    assert [p.id for p in easy.test] == [p.id for p in whole.test]
    with pytest.raises(DataError, match="is empty: there is no row for which where: 1 > 2 holds"):
        read_split(
            Task(task="x", train="t.csv", folder=str(tmp_path), where="1 > 2"),
            DataConfig(),
            "train",
        )


def with_ids(folder: Path, train: list[tuple[str, str]], test: list[tuple[str, str]]) -> Task:
    for name, rows in (("train", train), ("test", test)):
        write(folder / f"{name}.jsonl", [{"n": n, "text": t, "label": "y"} for n, t in rows])
    return Task(
        task="own",
        train="train.jsonl",
        test="test.jsonl",
        doc_to_text="text",
        doc_to_target="label",
        id="n",
        folder=str(folder),
    )


def test_a_test_prompt_is_not_trained_on_under_another_id(tmp_path):
    train = [(f"a{n}", f"text {n}") for n in range(9)]
    task = with_ids(tmp_path, train, [("b0", "text 0"), ("b1", "text 1"), ("b2", "new")])
    found = load_problems(task, DataConfig(train_size="all"), 0)
    assert found.overlap == 2
    assert not {p.prompt for p in (*found.train, *found.shots)} & {p.prompt for p in found.test}


@pytest.mark.parametrize(
    ("train", "test", "place"),
    [
        ([("1", "one"), ("2", "two"), ("1", "three")], [("9", "new")], "train.jsonl:3"),
        ([("1", "one"), ("2", "two")], [("2", "new")], "test.jsonl:1"),
    ],
)
def test_an_id_of_two_questions_is_refused(tmp_path, train, test, place):
    task = with_ids(tmp_path, train, test)
    with pytest.raises(DataError, match=f"{place}: its id '.' is that of .*asks something else"):
        load_problems(task, DataConfig(), 0)


def test_every_gold_answer_and_choice_identifies_what_is_tested():
    one = Problem(question="q", solution="a", answer="a")
    others = (replace(one, answers=("b",)), replace(one, choices=("a", "b")))
    assert len({hash_of_tests([problem]) for problem in (one, *others)}) == 3


def test_ids_and_groups_come_from_columns(tmp_path):
    rows = [{"text": "same", "label": "a", "n": n, "g": "x"} for n in range(2)]
    found = problems(tmp_path, rows, id="{{n}}", group_by="g")
    assert len({p.id for p in found}) == 2
    assert [p.group for p in found] == ["x", "x"]


def test_files_and_sets_that_are_not_there_are_named(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    task = Task(task="own", train="gone.csv", folder=str(tmp_path))
    with pytest.raises(DataError, match=r"there is no file .*/gone\.csv") as caught:
        read_split(task, DataConfig(), "train")
    assert "correct train in the task file" in caught.value.remedy
    with pytest.raises(DataError, match="the task own does not say where its train problems are"):
        read_split(Task(task="own", folder=str(tmp_path)), DataConfig(), "train")
    on_hub = Task(task="own", dataset_path="someone/set", folder=str(tmp_path))
    with pytest.raises(NotHere, match="someone/set train is not in the local cache"):
        read_split(on_hub, DataConfig(), "train")


def test_a_folder_laid_out_as_on_the_hub_is_read_by_datasets(tmp_path):
    (tmp_path / "set" / "data").mkdir(parents=True)
    (tmp_path / "set" / "data" / "train-00000-of-00001.csv").write_text(CSV)
    (tmp_path / "set" / "data" / "test-00000-of-00001.csv").write_text(CSV)
    task = Task(task="own", dataset_path="set", test_split="test", folder=str(tmp_path))
    found, _ = read_split(task, DataConfig(), "test")
    assert [p.question for p in found] == [row["text"] for row in PAIRS]


def test_training_problems_that_come_again_are_left_out_and_counted(tmp_path):
    rows = "".join(f"text {n},a\n" for n in range(9))
    (tmp_path / "t.csv").write_text(f"text,label\n{rows}text 3,a\ntext 4,b\ntest,a\n")
    (tmp_path / "test.csv").write_text("text,label\ntest,a\n")
    task = Task(task="own", train="t.csv", test="test.csv", folder=str(tmp_path))
    found = load_problems(task, DataConfig(), seed=0)
    assert (found.train_duplicates, found.other_gold, found.overlap) == (2, 1, 1)
    assert {p.solution for p in (*found.train, *found.shots)} == {"a"}


def test_a_test_problem_with_two_golds_is_refused_and_the_same_twice_is_not(tmp_path):
    torn = "text,label\nsame,a\n" + "".join(f"text {n},b\n" for n in range(9))
    (tmp_path / "t.csv").write_text(CSV)
    task = Task(task="own", train="t.csv", test="test.csv", folder=str(tmp_path))
    (tmp_path / "test.csv").write_text(torn + "same,a\n")
    assert load_problems(task, DataConfig(), seed=0).test_duplicates == 1
    (tmp_path / "test.csv").write_text(torn + "same,b\n")
    with pytest.raises(DataError, match="1 question has two gold answers: ") as caught:
        load_problems(task, DataConfig(), seed=0)
    assert "test.csv:2 says 'a'" in caught.value.message
    assert "test.csv:12 says 'b' to 'same'" in caught.value.message
