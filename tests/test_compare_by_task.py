"""`score` and `compare` on tasks of any kind: by a task, a metric, a value of the files, a loss."""

import json
from pathlib import Path

import pytest

from external_rows import write
from paribus.cli.main import main
from paribus.records import Generation, Problem, Stop
from paribus.store.runs import generation_row

LABELS = ["refund", "delivery", "other"]
GOLD = [LABELS[n % 3] for n in range(30)]
SEEN = [f"Message {n}: where is it?" for n in range(30)]
GOOD = [" " + label for label in GOLD]
POOR = [" " + ("other" if n % 2 else label) for n, label in enumerate(GOLD)]
"""Right on 20: on all 15 even ones, and on the 5 odd ones whose label is "other"."""
HARNESS = Path(__file__).with_name("golden") / "samples_gsm8k_local.jsonl"

TASK = """\
task: intent
test: test.jsonl
doc_to_text: "Message: {{text}}\\nLabel:"
doc_to_target: label
question: text
metric_list: [{metric: exact_match}, {metric: f1}]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path / "test.jsonl", [{"text": t, "label": g} for t, g in zip(SEEN, GOLD, strict=True)]
    )
    (tmp_path / "intent.yaml").write_text(TASK)
    return tmp_path


def asked(texts):
    return [
        {"question": asked, "answer": gold, "completion": text}
        for asked, gold, text in zip(SEEN, GOLD, texts, strict=True)
    ]


def documents(texts):
    return [
        {"text": t, "label": g, "completion": x} for t, g, x in zip(SEEN, GOLD, texts, strict=True)
    ]


def by_id(texts):
    return [{"id": n, "completion": text} for n, text in enumerate(texts)]


def by_question(texts):
    return [
        {"question": asked, "completion": text} for asked, text in zip(SEEN, texts, strict=True)
    ]


def own(texts):
    problems = [
        Problem(question=seen, solution=gold, answer=gold)
        for seen, gold in zip(SEEN, GOLD, strict=True)
    ]
    return [
        generation_row(
            Generation.of(problem, text=text, stop=Stop.STOP_TOKEN, prompt_sha256="0" * 64)
        )
        for problem, text in zip(problems, texts, strict=True)
    ]


def harness(texts):
    """As lm-eval writes multiple choice: no text, a likelihood for each choice."""
    return [
        {
            "doc_id": n,
            "doc": {"text": seen, "choices": LABELS},
            "target": LABELS.index(gold),
            "arguments": {"gen_args_0": {"arg_0": f"{seen}\nLabel:", "arg_1": " refund"}},
            "resps": [
                [[str(-0.5 if label == text.strip() else -3.0), "False"]] for label in LABELS
            ],
            "filter": "none",
            "acc": float(gold == text.strip()),
        }
        for n, (seen, gold, text) in enumerate(zip(SEEN, GOLD, texts, strict=True))
    ]


def compared(capsys, *words):
    assert main(["compare", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (asked, ["--metric", "exact_match"]),
        (own, ["--metric", "exact_match"]),
        (documents, ["--task", "intent.yaml"]),
        (by_id, ["--task", "intent.yaml"]),
        (by_question, ["--task", "intent.yaml"]),
        (own, ["--task", "intent.yaml"]),
        (by_id, ["--task", "intent.yaml", "--gold", "test.jsonl"]),
        (harness, ["--metric", "acc"]),
    ],
)
def test_every_layout_says_the_same(folder, capsys, layout, words):
    write(folder / "a.jsonl", layout(GOOD))
    write(folder / "b.jsonl", layout(POOR))
    result = compared(capsys, "a.jsonl", "b.jsonl", *words)
    (scorer, *_) = result["arms"][0]["scores"]
    assert [arm["scores"][scorer]["correct"] for arm in result["arms"]] == [30, 20]
    (contrast,) = result["contrasts"]
    assert (contrast["a"], contrast["only_a"], contrast["only_b"]) == ("b", 0, 10)
    assert "measure" not in contrast


def test_likelihoods_of_lm_eval_are_scored_by_a_task_of_its_choices(folder, capsys):
    (folder / "mc.yaml").write_text(
        "task: mc\ntest: test.jsonl\noutput_type: multiple_choice\ndoc_to_text: text\n"
        "doc_to_target: '{{ ANSWER }}'\ndoc_to_choice: choices\n".replace(
            "{{ ANSWER }}", "{{ [0, 1, 2][(text.split()[1][:-1] | int) % 3] }}"
        )
    )
    write(folder / "a.jsonl", harness(GOOD))
    write(folder / "b.jsonl", harness(POOR))
    result = compared(capsys, "a.jsonl", "b.jsonl", "--task", "mc.yaml")
    assert [arm["scores"]["acc"]["correct"] for arm in result["arms"]] == [30, 20]


def test_a_metric_of_lm_eval_is_taken_as_the_file_has_it(capsys):
    assert main(["score", str(HARNESS), "--metric", "strict-match/exact_match", "--json"]) == 0
    (arm,) = json.loads(capsys.readouterr().out)["arms"]
    assert arm["scores"]["strict-match/exact_match"]["correct"] == 5
    assert main(["score", str(HARNESS), "--metric", "exact_match"]) == 2
    message = capsys.readouterr().err
    assert "'exact_match' is there for 2 filters: strict-match, flexible-extract" in message
    assert "--metric flexible-extract/exact_match" in message


def test_scores_and_losses_of_a_file_have_their_own_statistics(folder, capsys):
    for name, more in (("a", 0.0), ("b", 0.2)):
        rows = [
            {"id": n, "judge": 0.5 + 0.01 * (n % 7) + more, "nll": 2.0 + 0.1 * (n % 5) - more}
            for n in range(30)
        ]
        write(folder / f"{name}.jsonl", rows)
    by_score = compared(capsys, "a.jsonl", "b.jsonl", "--metric", "judge")["contrasts"][0]
    assert by_score["measure"] == "score"
    assert by_score["difference"] == pytest.approx(0.2)
    assert by_score["verdict"] == "supported"
    by_loss = compared(capsys, "a.jsonl", "b.jsonl", "--loss", "nll")["contrasts"][0]
    assert by_loss["measure"] == "loss"
    assert by_loss["difference"] == pytest.approx(-0.2)
    assert by_loss["verdict"] == "supported"  # less is better


def test_the_page_says_what_was_asked(folder, capsys):
    write(folder / "a.jsonl", [{"id": n, "judge": 0.1 * (n % 9)} for n in range(30)])
    assert main(["score", "a.jsonl", "--metric", "judge", "--report", "page.html"]) == 0
    page = (folder / "page.html").read_text()
    assert "is the value that each file states." in page
    assert "What is the mean score of a?" in page


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        (by_id(GOOD), ["--metric", "f1"], "a.jsonl:1: does not state its gold answer"),
        (asked(GOOD), ["--metric", "bleu"], "metric 'bleu' is not supported"),
        (asked(GOOD), [], "--metric exact_match, or --task FILE"),
        ([{"id": 1, "s": 73}], ["--metric", "s"], "'s' is 73, and scores lie between 0 and 1"),
        ([{"id": 1, "s": None}], ["--metric", "s"], "null under 's', which should hold a number"),
        ([{"s": 0.5}], ["--metric", "s"], "has neither 'id' nor 'question'"),
        (asked(GOOD), ["--loss", "s", "--metric", "f1"], "--loss s takes a value of the rows"),
        (asked(GOOD), ["--loss", "nll"], "a.jsonl:1: there is no 'nll'"),
        (asked(GOOD), ["--metric", "f1", "--answer", "boxed"], "--answer boxed has no effect"),
        (asked(GOOD), ["--task", "none.yaml"], "none.yaml"),
        (
            [{"completion": "x"}],
            ["--task", "intent.yaml"],
            "has neither 'id' nor 'question', and no",
        ),
        (
            [{"question": "Another?", "completion": "x"}],
            ["--task", "intent.yaml"],
            "the files share no problem that has a gold answer",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(folder, capsys, rows, words, message):
    write(folder / "a.jsonl", rows)
    assert main(["score", "a.jsonl", *words]) == 2
    assert message in capsys.readouterr().err


def test_models_that_are_both_right_are_no_copies(folder, capsys):
    write(folder / "a.jsonl", by_id(GOOD))
    write(folder / "b.jsonl", by_id(GOOD))
    result = compared(capsys, "a.jsonl", "b.jsonl", "--task", "intent.yaml")
    assert not [note for note in result["notes"] if "copy" in note]
    for name in "ab":
        write(folder / f"{name}.jsonl", by_id(POOR))
    result = compared(capsys, "a.jsonl", "b.jsonl", "--task", "intent.yaml")
    assert [note for note in result["notes"] if "holds exactly the answers of" in note]
