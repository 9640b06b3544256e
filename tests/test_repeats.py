"""Several files of one arm: seeds where somebody says so or paribus made them; never copies."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from external_rows import GOLD, generations, plain, strict_json, write
from paribus.cli.main import main
from paribus.statistics.crossed import components, estimate
from paribus.statistics.verdicts import as_existing
from paribus.store.layout import ExperimentFolder
from stores import complete_run
from templates import of_templates

N = 12
ROWS = {
    "s0": "111111110000",
    "s1": "111111100100",
    "s2": "111111111000",
    "x": "110000000000",
    "y": "010000000001",
}


def texts(row: str, mark: str = "") -> dict[int, str]:
    """Right and wrong answers, each text with a mark of its file's own."""
    return {n: f"{mark} so\n#### {n + 1 if solved == '1' else 99}" for n, solved in enumerate(row)}


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """`s0` to `s2`, `x` and `y`, the gold file, and copies of `s0`."""
    monkeypatch.chdir(tmp_path)
    for name, row in ROWS.items():
        write(tmp_path / f"{name}.jsonl", plain(texts(row, name)))
    write(tmp_path / "copy.jsonl", plain(texts(ROWS["s0"], "s0")))
    padded = [
        {**row, "completion": row["completion"] + "\n"} for row in plain(texts(ROWS["s0"], "s0"))
    ]
    write(tmp_path / "padded.jsonl", padded[::-1])
    write(tmp_path / "gold.jsonl", GOLD)
    return tmp_path


def compared(capsys, *words: str) -> dict[str, Any]:
    assert main(["compare", *words, "--gold", "gold.jsonl", "--json"]) == 0
    return strict_json(capsys.readouterr().out)


THREE = ("a=s0.jsonl", "a=s1.jsonl", "a=s2.jsonl")
SOLVED = {name: np.array([[mark == "1" for mark in row]]) for name, row in ROWS.items()}
A = np.vstack([SOLVED["s0"], SOLVED["s1"], SOLVED["s2"]])


def test_all_runs_of_an_arm_count_against_one_model(files, capsys):
    """The method against a model that exists: problems of both are uncertain, seeds of A only."""
    found = compared(capsys, "b=x.jsonl", *THREE, "--seeds-are-runs")
    (contrast,) = found["contrasts"]
    expected = estimate([(1.0, components(A)), (-1.0, components(SOLVED["x"]))])
    assert (contrast["a"], contrast["b"], contrast["seeds"]) == ("a", "b", [3, 1])
    assert contrast["difference"] == pytest.approx(A.mean() - SOLVED["x"].mean())
    assert contrast["p_value"] == pytest.approx(expected.p_value)
    assert contrast["scope"] == "methods"
    assert contrast["sentence"].endswith("Of b only this model is compared, not the method.")


def test_an_untuned_arm_is_a_model_and_no_method(files, capsys):
    """Wherever it stands it is B; its test is that of any model; nothing is said of its method."""
    plainly = compared(capsys, "b=x.jsonl", *THREE, "--seeds-are-runs")
    found = compared(capsys, *THREE, "b=x.jsonl", "--seeds-are-runs", "--untuned", "b")
    (contrast,) = found["contrasts"]
    assert (contrast["a"], contrast["b"]) == ("a", "b")
    assert contrast["p_value"] == plainly["contrasts"][0]["p_value"]
    assert "only this model" not in contrast["sentence"]


def test_files_are_no_seeds_unless_somebody_says_so(files, capsys):
    """The mean of these files: other problems are uncertain, no other seed is drawn."""
    found = compared(capsys, "b=x.jsonl", *THREE)
    (contrast,) = found["contrasts"]
    models = estimate([(1.0, as_existing(components(A))), (-1.0, components(SOLVED["x"]))])
    assert (contrast["scope"], contrast["seeds"]) == ("models", [3, 1])
    assert contrast["p_value"] == pytest.approx(models.p_value)
    assert contrast["interval"] == pytest.approx([models.interval.low, models.interval.high])
    assert "on average over the 3 runs of a and the one of b" in contrast["sentence"]
    assert found["notes"][-1] == (
        "The 3 files of a are compared as one fixed set of models, so the verdict does not speak "
        "of the method that made them: they may be one model asked again. If each is a training "
        "run of its own, of another seed, give --seeds-are-runs."
    )
    assert main(["compare", "b=x.jsonl", *THREE, "--gold", "gold.jsonl"]) == 0
    printed = capsys.readouterr()
    said = " ".join((printed.out + printed.err).split())
    assert "give --seeds-are-runs" in said
    assert "Verdicts are of these models as they are, not of their methods." in said


@pytest.mark.parametrize("flags", [[], ["--untuned", "b"]])
def test_two_seeds_get_no_verdict(files, capsys, flags):
    words = ("b=x.jsonl", "a=s0.jsonl", "a=s1.jsonl", "--seeds-are-runs", *flags)
    (contrast,) = compared(capsys, *words)["contrasts"]
    assert (contrast["seeds"], contrast["verdict"], contrast["p_value"]) == (
        [2, 1],
        "not_shown",
        None,
    )
    assert "2 seeds are too few" in contrast["reason"]
    assert contrast["sentence"].startswith(f"No verdict: {contrast['reason']}")


@pytest.mark.parametrize("copy", ["copy.jsonl", "padded.jsonl"])
@pytest.mark.parametrize("flags", [[], ["--seeds-are-runs"], ["--untuned", "a"]])
def test_a_copy_is_no_second_run(files, capsys, copy, flags):
    words = ["b=x.jsonl", "a=s0.jsonl", "a=s1.jsonl", f"a={copy}", "--gold", "gold.jsonl"]
    assert main(["compare", *words, *flags]) == 2
    said = capsys.readouterr().err
    assert f"{copy} holds exactly the texts of s0.jsonl" in said
    assert "give the file of each run once" in said


def test_seeds_that_write_alike_are_doubted(files, capsys):
    """Ten of twelve texts are those of another run: said, though somebody calls them runs."""
    alike = texts(ROWS["s0"], "s0") | {0: "#### 5", 1: "#### 6"}
    write(files / "alike.jsonl", plain(alike))
    found = compared(capsys, "x=x.jsonl", "a=s0.jsonl", "a=alike.jsonl", "--seeds-are-runs")
    assert found["notes"][-1] == (
        "alike.jsonl has the text of s0.jsonl on 83 % of the problems: separate training runs of "
        "a would seldom agree so."
    )
    assert found["notes"][-1].rstrip(".") in found["contrasts"][0]["caveats"]


def altered(row: str, mark: str, more: dict[int, str]) -> list[dict[str, Any]]:
    return plain(texts(row, mark) | more)


@pytest.mark.parametrize("flags", [[], ["--seeds-are-runs"]])
def test_a_copy_with_a_word_changed_is_no_seed(files, capsys, flags):
    """Other texts, the same outcomes and answers, seven wrong ones among them: one model."""
    row = "111110000000"
    for number in range(3):
        write(files / f"same{number}.jsonl", plain(texts(row, f"word{number}")))
    words = [f"a=same{number}.jsonl" for number in range(3)]
    found = compared(capsys, "b=x.jsonl", "c=y.jsonl", *words, *flags)
    alike = (
        "same1.jsonl gives the answer of same0.jsonl on every problem that either answers, 7 wrong "
        "ones among them: separate training runs of a would seldom agree so (2 more of its pairs "
        "are alike too)"
    )
    assert f"{alike}." in found["notes"]
    assert any("The 3 files of a are compared as one fixed set" in note for note in found["notes"])
    for contrast in found["contrasts"]:
        assert contrast["scope"] == "models"
        assert (alike in contrast["caveats"]) == (contrast["a"] == "a")


@pytest.mark.parametrize(
    ("row", "more"),
    [
        ("1" * 12, {}),  # all right: any two would agree
        ("1" * 10 + "00", {}),  # two wrong ones: by chance
        ("n" * 12, dict.fromkeys(range(12), "none")),  # no answers: nothing to agree on
        ("110000000000", {n: f"#### {50 + n}" for n in range(2, 12)}),  # wrong in other ways
    ],
)
def test_seeds_may_agree_by_chance(files, capsys, row, more):
    write(
        files / "one.jsonl",
        altered(
            row, "one", {key: f"1 {text}" for key, text in more.items()} if row[0] == "n" else {}
        ),
    )
    write(files / "two.jsonl", altered(row, "two", more))
    found = compared(capsys, "b=y.jsonl", "a=one.jsonl", "a=two.jsonl", "--seeds-are-runs")
    assert found["contrasts"][0]["scope"] == "methods"
    assert not [each for each in found["notes"] if "would seldom agree" in each]


def test_a_file_under_two_arms_is_said(files, capsys):
    """As another arm, and as a run of another arm; a contrast with neither says nothing."""
    words = ("a=s0.jsonl", "b=copy.jsonl", "b=s1.jsonl", "c=x.jsonl")
    found = compared(capsys, *words)
    copied = (
        "copy.jsonl (b) holds exactly the texts of s0.jsonl (a): a copy, or a training that "
        "changed nothing"
    )
    assert f"{copied}." in found["notes"]
    assert {(each["a"], each["b"]): copied in each["caveats"] for each in found["contrasts"]} == {
        ("b", "a"): True,
        ("c", "a"): False,
        ("c", "b"): False,
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        # One text of twelve, two, three: named with the share that is left. Half of them: nothing.
        (1, "near.jsonl (b) has the text of s0.jsonl (a) on 91 % of the problems: a copy with "),
        (2, "near.jsonl (b) has the text of s0.jsonl (a) on 83 % of the problems: a copy with "),
        (3, None),
        (12, None),
    ],
)
@pytest.mark.parametrize("kept", ["texts", "order", "blanks"])
def test_a_copy_with_changes_under_another_arm_is_said(files, capsys, changed, said, kept):
    """Beside the contrast of the two arms, whatever order or blanks the copy's rows have."""
    rows = plain(texts(ROWS["s0"], "s0") | {n: f"other #### {n + 1}" for n in range(changed)})
    rows = rows[::-1] if kept == "order" else rows
    rows = [{**row, "completion": row["completion"] + "\n" * (kept == "blanks")} for row in rows]
    write(files / "near.jsonl", rows)
    found = compared(capsys, "a=s0.jsonl", "b=near.jsonl", "c=x.jsonl")
    of_pair = {(each["a"], each["b"]): each["caveats"] for each in found["contrasts"]}
    alike = {pair: [each for each in of if "near.jsonl" in each] for pair, of in of_pair.items()}
    assert alike[("c", "a")] == alike[("c", "b")] == []
    assert [each.startswith(said or "") for each in alike[("b", "a")]] == [True] * bool(said)
    assert [f"{each}." in found["notes"] for each in alike[("b", "a")]] == [True] * bool(said)


def test_a_share_of_texts_is_never_rounded_up_to_all(files, capsys):
    gold = [{"question": f"What is {n} and 0?", "answer": f"#### {n}"} for n in range(400)]
    write(files / "gold.jsonl", gold)
    one = {n: f"So it is.\n#### {n}" for n in range(400)}
    write(files / "one.jsonl", plain(one))
    write(files / "two.jsonl", plain(one | {7: "#### 0"}))
    (contrast,) = compared(capsys, "one.jsonl", "two.jsonl")["contrasts"]
    assert "two.jsonl (two) has the text of one.jsonl (one) on 99 % of" in contrast["caveats"][0]


def test_the_same_answers_in_other_words_under_another_arm_are_said(files, capsys):
    """Seven wrong answers the same, not one text: one model's answers, whoever wrote them again."""
    row = "111110000000"
    for name in ("p", "q", "r"):
        write(files / f"{name}.jsonl", plain(texts(row, name)))
    words = ("a=p.jsonl", "b=q.jsonl", "b=r.jsonl", "c=y.jsonl")
    found = compared(capsys, *words)
    alike = (
        "q.jsonl (b) gives the answer of p.jsonl (a) on every problem that either answers, 7 wrong "
        "ones among them: two models are seldom wrong alike (1 more of their pairs are alike too)"
    )
    assert {(each["a"], each["b"]): alike in each["caveats"] for each in found["contrasts"]} == {
        ("b", "a"): True,
        ("c", "a"): False,
        ("c", "b"): False,
    }


def test_two_models_that_seldom_answer_are_not_alike_for_it(files, capsys):
    """Of 200 problems both answer ten, and six wrong answers are the same by chance."""
    gold = [{"question": f"What is {n} and 0?", "answer": f"#### {n}"} for n in range(200)]
    write(files / "gold.jsonl", gold)
    for name in ("p", "q"):
        silent = dict.fromkeys(range(190), f"{name} cannot say")
        answers = {
            n: f"{name}\n#### {n}{0 if n < 196 else 1 + (name == 'p')}" for n in range(190, 200)
        }
        write(files / f"{name}.jsonl", plain(silent | answers))
    found = compared(capsys, "p.jsonl", "q.jsonl")
    assert found["arms"][0]["outcomes"]["wrong"] >= 6
    assert not any("gives the answer" in each for each in found["contrasts"][0]["caveats"])


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (["--untuned", "c"], "--untuned c: no arm has this name", "arms: b, a"),
        (["--seeds-are-runs"], "--seeds-are-runs: every arm has one file", "a=s0.jsonl a=s1"),
        (["--paired-seeds"], "fewer than two arms have several seeds", "leave --paired-seeds out"),
        (
            ["a=s1.jsonl", "b=y.jsonl", "--paired-seeds"],
            "--paired-seeds: the runs of b, a are not known to be seeds",
            "give --seeds-are-runs",
        ),
        (
            ["a=s1.jsonl", "a=s2.jsonl", "b=y.jsonl", "--seeds-are-runs", "--paired-seeds"],
            "--paired-seeds: the arms have different seeds: b 0, 1; a 0, 1, 2",
            "give as many files of each arm",
        ),
        (["--group-by", "no"], "gold.jsonl:1: there is no 'no' to group by", "question, answer"),
        (["--margin", "0.02"], "a margin of 0.02 points is outside 0.1 to 50", "write 2 for two"),
    ],
)
def test_a_flag_that_cannot_be_meant(files, capsys, words, message, remedy):
    assert main(["compare", "b=x.jsonl", "a=s0.jsonl", *words, "--gold", "gold.jsonl"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert remedy in said


def test_a_margin_adds_its_verdicts(files, capsys):
    found = compared(capsys, "b=s0.jsonl", "a=s1.jsonl", "--margin", "45")
    (contrast,) = found["contrasts"]
    within = contrast["equivalence"]
    assert (within["margin"], within["equivalent"]) == (0.45, True)
    assert set(within["not_worse"]) == {"a", "b"}
    assert within["worse"] == []
    assert contrast["sentence"].endswith("Equivalent within 45 points.")
    assert (
        main(["compare", "b=s0.jsonl", "a=s1.jsonl", "--margin", "45", "--gold", "gold.jsonl"]) == 0
    )
    shown = capsys.readouterr().out
    assert "equivalent" in shown
    assert "by the margin of 45 points" in " ".join(shown.split())


# --- runs of paribus -------------------------------------------------------------------------


def make_run(root: Path, arm: str, seed: int, row: str, **settings: Any) -> Path:
    identity = {"method": "lora", "lora": {"r": 8}, "replicate": seed, **settings}
    if identity["method"] == "none":
        del identity["replicate"], identity["lora"]
    spec = {"fingerprint": "f", "arm": arm, "replicate": seed, "identity": identity}
    run, written = ExperimentFolder(root).run(arm, seed), generations(texts(row, f"{arm}{seed}"))
    return complete_run(run, written, "one_shot", spec=spec).path


def test_a_stores_seeds_are_runs(files, capsys):
    for seed, name in enumerate(("s0", "s1", "s2")):
        make_run(files / "one", "lora", seed, ROWS[name])
    base = make_run(files / "one", "baseline", 0, ROWS["x"], method="none")
    folder = ["compare", str(base), str(files / "one" / "lora"), "--json"]
    assert main(folder) == 0
    (contrast,) = json.loads(capsys.readouterr().out)["contrasts"]
    assert (contrast["scope"], contrast["seeds"]) == ("methods", [3, 1])
    listed = [f"lora={files / 'one' / 'lora' / f'seed-{seed}'}" for seed in range(3)]
    assert main(["compare", f"baseline={base}", *listed, "--json"]) == 0
    (again,) = json.loads(capsys.readouterr().out)["contrasts"]
    assert again == contrast
    assert main([*folder, "--untuned", "lora"]) == 2
    assert "its run was trained (method=lora)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "seeds", "reason"),
    [
        ({"lora": {"r": 16}}, (0, 1, 2), "their settings differ (lora.r)"),
        ({}, (0, 1, 1), "they are of the same seed"),
    ],
)
def test_runs_of_other_settings_or_of_one_seed_are_no_seeds(files, capsys, settings, seeds, reason):
    """Three runs in stores of their own, the last with other settings or another's seed."""
    base = make_run(files / "base", "baseline", 0, ROWS["x"], method="none")
    made = [
        make_run(files / name, "lora", seed, ROWS[name], **(settings if name == "s2" else {}))
        for name, seed in zip(("s0", "s1", "s2"), seeds, strict=True)
    ]
    assert main(["compare", f"b={base}", *(f"a={path}" for path in made), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["contrasts"][0]["scope"] == "models"
    assert any(reason in note for note in found["notes"])


def test_problems_of_one_template_stand_beside_every_contrast(files, capsys):
    """As the warning does above all figures: the interval may be too narrow."""
    questions, _ = of_templates(6, 25, 4)
    asked = [{"question": each, "answer": f"#### {n}"} for n, each in enumerate(questions)]
    write(files / "gold.jsonl", asked)
    for name, least in (("p", 20), ("q", 60), ("r", 61)):
        write(files / f"{name}.jsonl", plain({n: f"#### {max(n, least)}" for n in range(100)}))
    found = compared(capsys, "p.jsonl", "q.jsonl", "r.jsonl")
    assert "100 of 100 problems read like another" in found["warnings"][0]
    too_narrow = "problems that read alike, as the warning says: the interval may be too narrow"
    assert [too_narrow in each["caveats"] for each in found["contrasts"]] == [True] * 3


def test_paired_seeds_are_of_compare_alone(files, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["score", "s0.jsonl", "--gold", "gold.jsonl", "--paired-seeds"])
    assert stopped.value.code == 2
    assert "unrecognized arguments: --paired-seeds" in capsys.readouterr().err


def test_paired_seeds_that_are_runs_are_compared_so(files, capsys):
    write(files / "z.jsonl", plain(texts("011000000010", "z")))
    words = [*THREE, "b=x.jsonl", "b=y.jsonl", "b=z.jsonl", "--seeds-are-runs", "--paired-seeds"]
    (contrast,) = compared(capsys, *words)["contrasts"]
    assert (contrast["scope"], contrast["seeds"]) == ("methods", [3, 3])


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (7, "a number"), ([], "a list"), ({}, "an object"), (True, "true or false")],
)
def test_what_is_no_text_is_called_as_json_does(files, capsys, value, kind):
    write(files / "odd.jsonl", [{"id": 0, "completion": value}])
    assert main(["score", "odd.jsonl", "--gold", "gold.jsonl"]) == 2
    assert f"'completion' is {kind}, not text" in capsys.readouterr().err
