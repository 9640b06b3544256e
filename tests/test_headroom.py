"""What untuned models are tested under, and how their accuracies are judged."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

from paribus.analysis.headroom import ProtocolScore, judge_headroom, read_scores
from paribus.config.load import load
from paribus.errors import StoreError, UserError
from paribus.running.untuned import BASELINES, PROTOCOLS, plan_models, run_models
from paribus.statistics.intervals import share
from paribus.statistics.power import Design, detectable, problems_needed
from paribus.store.layout import ExperimentFolder, RunFolder
from stores import describe


def scored(
    solved: int, n: int, protocol: str = "one_shot/raw", unanswered: int = 0
) -> ProtocolScore:
    return ProtocolScore(
        protocol=protocol,
        solved=solved,
        n=n,
        unanswered=unanswered,
        cut=0,
        interval=share(solved, n),
    )


@pytest.mark.parametrize(
    ("solved", "n", "design", "difference", "verdict"),
    [
        # The model of the project that paribus grew from, in its four comparisons, and alone.
        (86, 100, Design(n=100, comparisons=4), 0.05, "too strong"),
        (86, 100, Design(n=100), 0.05, "good"),
        (860, 1000, Design(n=1000, comparisons=4), 0.05, "good"),
        (62, 200, Design(n=200), 0.05, "good"),
        (62, 200, Design(n=1319, seeds=3, comparisons=8), 0.02, "good"),
        # No arm can be 30 points better than 75 %.
        (150, 200, Design(n=200), 0.30, "too strong"),
        (150, 200, Design(n=200), 0.05, "good"),
        (200, 200, Design(n=200), 0.01, "too strong"),
        (200, 200, Design(n=200, seeds=3), 0.01, "too strong"),
        # The upper end decides: 9 of 200 may be 8.4 %, 3 of 200 no more than 4.3 %.
        (9, 200, Design(n=200), 0.05, "good"),
        (3, 200, Design(n=200), 0.05, "at the floor"),
        (0, 200, Design(n=200, seeds=3), 0.05, "at the floor"),
        # A gain of 30 points over 9 % is a step like any other.
        (9, 100, Design(n=100, comparisons=8), 0.30, "good"),
        (3, 200, Design(n=200), 0.30, "at the floor"),
        # 1,319 problems see 2 points near 3 %; nobody sees a loss from 14 % in 24 problems.
        (40, 1319, Design(n=1319), 0.02, "good"),
        (40, 1319, Design(n=1319), 0.05, "at the floor"),
        (0, 24, Design(n=24), 0.05, "at the floor"),
    ],
)
def test_verdicts(solved, n, design, difference, verdict):
    judged = judge_headroom([scored(solved, n)], design, difference)
    assert judged.verdict == verdict, judged.reason
    assert judged.reason.startswith(f"solves {solved} of {n} under one_shot/raw, ")


def test_figures_are_those_of_the_accuracy_itself():
    design = Design(n=500)
    judged = judge_headroom([scored(62, 200)], design, 0.05)
    assert judged.detectable == detectable(design, 0.31)
    assert judged.problems_needed == problems_needed(design, 0.31, 0.05) == 878
    assert judged.reason == (
        "solves 62 of 200 under one_shot/raw, 31.0 % [25.0 to 37.7]: the experiment's 500 problems "
        f"with 1 seed would show a gain of {100 * judged.detectable:.3g} points or more; 5 points "
        "take 878 problems."
    )
    assert (
        judge_headroom([scored(199, 200)], design, 0.05).problems_needed is None
    )  # 5 points are not left
    hidden = judge_headroom([scored(62, 200)], Design(n=500, seeds=3, spread=0.1), 0.05)
    assert hidden.problems_needed is None
    assert hidden.reason.endswith("; no number of problems shows 5 points.")


def test_the_best_protocol_is_judged():
    """A model that fails a format and not the task is not at the floor."""
    both = [scored(2, 200, "zero_shot/raw", 190), scored(62, 200, "few_shot/chat", 3)]
    for order in (both, both[::-1]):
        judged = judge_headroom(order, Design(n=200), 0.05)
        assert (judged.best.protocol, judged.verdict) == ("few_shot/chat", "good")
    tied = [scored(0, 200, "zero_shot/raw", 200), scored(0, 200, "one_shot/raw", 10)]
    assert judge_headroom(tied, Design(n=200), 0.05).best.protocol == "one_shot/raw"


@pytest.mark.parametrize(
    ("unanswered", "said"),
    [
        (190, "190 of 198 misses hold no final answer (0 cut by the token limit), so the answer's "
              "format may be what fails, and tuning may lift it far."),
        (5, "5 of 198 misses hold no final answer (0 cut by the token limit), so the format alone "
            "does not explain it; what tuning adds is not known."),
    ],
)  # fmt: skip
def test_at_the_floor_it_says_what_is_known_of_the_cause(unanswered, said):
    judged = judge_headroom([scored(2, 200, unanswered=unanswered)], Design(n=200), 0.05)
    assert judged.reason == (
        "solves 2 of 200 under one_shot/raw, 1.0 % [0.1 to 3.6]: arms that stay there cannot be "
        "5 points apart. Showing a gain of 5 points takes 157 problems. Compare held-out loss and "
        f"step accuracy. {said}"
    )


def test_nothing_is_read_from_a_run_that_is_not_complete(tmp_path):
    assert read_scores(RunFolder(tmp_path / "arm" / "seed-0")) == []


EXPERIMENT = {
    "data": {"train_size": 4, "test_size": 4},
    "training": {"batch_size": 4, "micro_batch": 2, "precision": "fp32"},
    "evaluation": {"max_new_tokens": 4},
}


@pytest.fixture
def file(tmp_path, tiny) -> Path:
    file = tmp_path / "e.yaml"
    file.write_text(yaml.safe_dump({**EXPERIMENT, "model": str(tiny)}))
    return file


@pytest.fixture
def plain(tmp_path, tiny) -> Path:
    """The tiny model without a chat template."""
    folder = tmp_path / "plain"
    shutil.copytree(tiny, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_the_models_of_an_experiment_under_every_protocol(file, tiny):
    (candidate,) = plan_models(load(file), [], [])
    assert candidate.model == str(tiny)
    assert (candidate.skipped, candidate.errors) == ((), ())
    asked = [f"{r.config.evaluation.protocol}/{r.config.prompt.format}" for r in candidate.runs]
    assert asked == list(PROTOCOLS)
    assert {run.config.method for run in candidate.runs} == {"none"}
    assert {(run.experiment, run.seed) for run in candidate.runs} == {(BASELINES, 0)}


def test_chat_is_skipped_where_there_is_no_template(file, plain):
    (candidate,) = plan_models(load(file), [str(plain)], ["zero_shot/chat", "zero_shot/raw"])
    assert [run.config.prompt.format for run in candidate.runs] == ["raw"]
    assert candidate.skipped == ("zero_shot/chat: its tokenizer has no chat template",)
    assert candidate.errors == ()


def test_a_model_that_cannot_be_had_does_not_stop_the_others(file, tiny):
    found = plan_models(load(file), ["google/gemma-2b-it", str(tiny)], ["zero_shot/raw"])
    assert [len(candidate.runs) for candidate in found] == [0, 1]
    assert "hf download google/gemma-2b-it" in found[0].errors[0]


def test_a_protocol_that_does_not_fit_does_not_stop_the_others(file, tiny):
    """The context has 2,048 tokens; six problems and 1,700 new tokens are more."""
    loaded = load(file, ["evaluation.max_new_tokens=1700"])
    (candidate,) = plan_models(loaded, [], ["zero_shot/raw", "few_shot/raw"])
    assert [run.config.evaluation.protocol for run in candidate.runs] == ["zero_shot"]
    assert candidate.errors[0].startswith("few_shot/raw: the longest test prompt")


def test_a_limit_for_training_examples_does_not_limit_prompts(file):
    (candidate,) = plan_models(load(file, ["prompt.max_tokens=100"]), [], ["few_shot/raw"])
    assert (len(candidate.runs), candidate.errors) == (1, ())


def test_a_calculator_that_the_arms_have_comes_along(file):
    loaded = load(file, ["evaluation.also=[zero_shot/raw+calculator,few_shot/raw]"])
    (candidate,) = plan_models(loaded, [], ["zero_shot/raw", "one_shot/raw"])
    assert [run.config.evaluation.also for run in candidate.runs] == [
        ("zero_shot/raw+calculator",),
        (),
    ]


@pytest.mark.parametrize(
    "change",
    ["seed=1", "data.test_size=5", "training.precision=bf16", "evaluation.max_new_tokens=5",
     "data.max_number=9"],
)  # fmt: skip
def test_other_settings_have_another_folder(file, change):
    names = [plan_models(load(file, values), [], ["zero_shot/raw"])[0].runs[0].arm
             for values in ([], [change], [])]  # fmt: skip
    assert names[0] == names[2] != names[1]


def test_other_weights_under_the_same_name_have_another_folder(file, plain, tiny, tmp_path):
    other = tmp_path / "other" / tiny.name
    shutil.copytree(plain, other)
    found = plan_models(load(file), [str(tiny), str(other)], ["zero_shot/raw"])
    names = [candidate.runs[0].arm for candidate in found]
    assert len({name.rpartition("-")[0] for name in names}) == 1
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("models", "protocols", "said"),
    [
        (["gemma-3-270m", "gemma-3-270m"], [], "gemma-3-270m is named twice"),
        (["./x", "x/../x", "./y/../x"], [], "./x is named twice"),
        ([], ["one_shot"], "'one_shot' is not a protocol; nearest: one_shot/"),
        ([], [""], "'' is not a protocol"),
        ([], ["zero_shot/raw+calculator"], "is not a protocol; nearest: zero_shot/raw"),
    ],
)
def test_mistakes(file, models, protocols, said):
    with pytest.raises(UserError) as raised:
        plan_models(load(file), models, protocols)
    assert said in str(raised.value)
    assert raised.value.remedy


def test_a_run_that_fails_does_not_stop_the_others_and_is_tried_again(file, tiny, tmp_path):
    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    weights = broken / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.norm.weight"]  # found only where the weights are loaded
    save_file(tensors, weights, metadata={"format": "pt"})
    loaded, stages = load(file), []
    planned = plan_models(loaded, [str(broken), str(tiny)], ["zero_shot/raw"])
    bad, good = (candidate.runs[0] for candidate in planned)

    def watch(spec, progress):
        stages.append((spec.arm, progress.stage))

    for _ in range(2):
        failed = run_models(planned, loaded, tmp_path / "runs", watch)
        assert failed.keys() == {bad.arm}
        assert "broken" in failed[bad.arm]
    folder = ExperimentFolder(tmp_path / "runs" / BASELINES)
    assert read_scores(folder.of(bad)) == []
    assert [(each.protocol, each.n) for each in read_scores(folder.of(good))] == [
        ("zero_shot/raw", 4)
    ]
    assert stages.count((bad.arm, "failed")) == 2
    assert stages.count((good.arm, "complete")) == 1


def test_what_a_rule_refuses_is_not_run_and_the_others_are(file, tiny, tmp_path):
    """By its config alone the first model has heads so wide that it takes terabytes."""
    large = Path(shutil.copytree(tiny, tmp_path / "large"))
    config = json.loads((large / "config.json").read_text())
    config.update({"num_key_value_heads": 4, "num_attention_heads": 4, "head_dim": 1 << 22})
    (large / "config.json").write_text(json.dumps(config))
    loaded, stages = load(file), []
    planned = plan_models(loaded, [str(large), str(tiny)], ["zero_shot/raw", "one_shot/raw"])
    refused, kept = ([run.arm for run in candidate.runs] for candidate in planned)

    def watch(spec, progress):
        stages.append((spec.arm, progress.stage))

    failed = run_models(planned, loaded, tmp_path / "runs", watch)
    assert list(failed) == refused
    assert all(message.startswith("PB060 large-") for message in failed.values())
    assert all(arm in message for arm, message in failed.items())
    assert all("a smaller evaluation.batch_size" in message for message in failed.values())
    assert {stage for arm, stage in stages if arm in refused} == {"failed"}
    folder = ExperimentFolder(tmp_path / "runs" / BASELINES)
    for arm in kept:
        events = (folder.path / arm / "seed-0" / "events.jsonl").read_text()
        (event,) = (e for e in map(json.loads, events.splitlines()) if e["event"] == "planned")
        assert event["peak_bytes"] > 0


def test_a_launcher_is_refused_before_anything_is_tested(file, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "abc")
    planned = plan_models(load(file), [], ["zero_shot/raw"])
    failed = run_models(planned, load(file), tmp_path / "runs", lambda spec, progress: None)
    (message,) = failed.values()
    assert message.startswith("PB019 ")
    assert "WORLD_SIZE is not a number\n  → One run on several devices: `torchrun" in message


def test_an_experiment_of_that_name_is_not_touched(file, tmp_path):
    folder = ExperimentFolder(tmp_path / "runs" / BASELINES)
    describe(folder, {"lora-main": "lora"}, [], name=BASELINES)
    theirs = folder.description.read_text()
    loaded = load(file)
    planned = plan_models(loaded, [], ["zero_shot/raw"])
    with pytest.raises(StoreError, match="holds an experiment that trains"):
        run_models(planned, loaded, tmp_path / "runs", lambda spec, progress: None)
    assert folder.description.read_text() == theirs
