"""Task files: lm-eval's vocabulary, ours beside it, and what is refused by key."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from paribus.analysis.reading import scorers_in
from paribus.config.load import Loaded, load
from paribus.config.schema import ArmConfig, DataConfig, EvaluationConfig, PromptConfig
from paribus.config.task import PRESETS, Task, stored_task
from paribus.config.task_file import read_task, task_of
from paribus.data.problems import load_problems
from paribus.design.matrix import expand
from paribus.design.questions import ask, ask_for_scorer
from paribus.errors import ConfigError, UserError
from paribus.evaluation.scorers import NUMBERS
from paribus.running.describing import description
from paribus.store.experiments import Description

OF_LM_EVAL = """\
tag:
  - math_word_problems
task: gsm8k
dataset_path: openai/gsm8k
dataset_name: main
output_type: generate_until
training_split: train
fewshot_split: train
test_split: test
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer}}"
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore:
      - ","
      - "\\\\$"
      - "(?s).*#### "
      - "\\\\.$"
generation_kwargs:
  until:
    - "Question:"
    - "</s>"
    - "<|im_end|>"
  do_sample: false
  temperature: 0.0
repeats: 1
num_fewshot: 5
filter_list:
  - name: "strict-match"
    filter:
      - function: "regex"
        regex_pattern: "#### (\\\\-?[0-9\\\\.\\\\,]+)"
      - function: "take_first"
  - name: "flexible-extract"
    filter:
      - function: "regex"
        group_select: -1
        regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"
      - function: "take_first"
metadata:
  version: 3.0
"""
OWN = "train: train.csv\ndoc_to_text: '{{text}}'\ndoc_to_target: label\n"


def task(folder: Path, text: str) -> Task:
    (folder / "own.yaml").write_text(text)
    return read_task(str(folder / "own.yaml"))


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        task(folder, text)
    assert "docs/tasks.md" in caught.value.remedy
    return caught.value.message


def test_a_file_of_lm_evals_loads_as_it_is(tmp_path):
    found = task(tmp_path, OF_LM_EVAL)
    assert found.until == ("Question:", "</s>", "<|im_end|>")
    assert found.metrics[0]["metric"] == "exact_match"
    assert [entry["name"] for entry in found.filter_list or []] == [
        "strict-match",
        "flexible-extract",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("process_docs: x", "own.yaml:4: process_docs='x' must name a function"),
        ("process_results: x", "own.yaml:4: process_results is not supported"),
        ("doc_to_image: x", "own.yaml:4: doc_to_image is not supported"),
        ("metrc_list: []", "own.yaml:4: 'metrc_list' is not a key of a task file"),
        ("repeats: 4", "own.yaml:4: repeats=4: each problem is asked once"),
        ("num_fewshot: many", "own.yaml:4: num_fewshot='many' does not fit"),
        ("output_type: loglikelihood", "own.yaml:4: output_type='loglikelihood' does not fit"),
        ("output_type: multiple_choice", "own.yaml:4: output_type=multiple_choice needs doc_to_ch"),
        (
            "output_type: multiple_choice\ndoc_to_choice: [a, b]\nmetric_list: [{metric: f1}]",
            "own.yaml:6: f1 of multiple choice is one figure of all problems",
        ),
        ("generation_kwargs: {temperature: 0.7}", "temperature=0.7: decoding is greedy"),
        ("generation_kwargs: {top_k: 5}", "generation_kwargs.top_k is not supported"),
        ("generation_kwargs: {until: ['']}", r"until=[''] must be texts that are not empty"),
        ("generation_kwargs: {max_gen_toks: 0}", "max_gen_toks=0 must be a whole number from 1"),
        ("fewshot_split: test", "own.yaml:4: fewshot_split='test' is a split of no data set"),
        ("fewshot_config: {sampler: id}", "own.yaml:4: fewshot_config.sampler='id' must be def"),
        ("fewshot_config: {samples: [1]}", "fewshot_config.samples must be a list of rows"),
        ("fewshot_config: {split: dev}", "fewshot_config.split is not supported"),
        ("fewshot_config: {doc_to_text: x}", "4: fewshot_config: templates of its own are for"),
        ("dataset_kwargs: {streaming: true}", "dataset_kwargs.streaming is not supported"),
        (
            "gen_prefix: So\ntarget_delimiter: ':'",
            "own.yaml:4: gen_prefix goes with target_delimiter=' ' alone, not ':'",
        ),
        (
            "metric_list: [{metric: f1, aggregation: !function utils.f1}]",
            "own.yaml:4: metric_list names the function 'utils.py:f1'; functions are run for proc",
        ),
        ("variants: {a: {task: b}}", "variant a: 'task' is not a key that a variant has"),
        ("variants: {a: {turns: all}}", "variant a: turns='all' does not fit"),
        ("train: [1]", "train.list[str].0=1 does not fit"),
    ],
)
def test_what_is_not_supported_is_refused_by_key_and_line(tmp_path, line, message):
    text = OWN if not line.startswith("train") else OWN.partition("\n")[2]
    assert message in refusal(tmp_path, text + line + "\n")


def test_code_in_a_task_file_is_refused_by_key(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "base.yaml").write_text(OWN + "doc_to_choice: !function utils.some\n")
    lines = refusal(tmp_path, "include: shared/base.yaml\nprocess_docs: !function x.y\n")
    assert [line.partition(";")[0] for line in lines.split("\n")] == [
        f"{tmp_path}/shared/base.yaml:4: doc_to_choice names the function 'shared/utils.py:some'",
        f"{tmp_path}/own.yaml:2: process_docs names the function 'x.py:y'",
    ]
    (tmp_path / "x.yaml").write_text("training: {epochs: !function utils.epochs}\n")
    with pytest.raises(ConfigError, match=r"x\.yaml:1: the tag '!function' is not allowed"):
        load(tmp_path / "x.yaml")


def test_a_name_that_is_no_task_is_refused(monkeypatch):
    monkeypatch.setattr("paribus.config.installed.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match="nor a task of lm-eval, which is not installed"
    ) as caught:
        read_task("arc_easy")
    assert "pip install 'paribus[lm-eval]'" in caught.value.remedy


def test_an_included_file_comes_first_and_cycles_are_refused(tmp_path):
    (tmp_path / "base.yaml").write_text(OWN + "description: of the base\n")
    found = task(tmp_path, "include: base.yaml\ndescription: own\n")
    assert (found.task, found.description, found.train) == ("own", "own", "train.csv")
    (tmp_path / "base.yaml").write_text("include: own.yaml\n")
    with pytest.raises(ConfigError, match="includes itself"):
        read_task(str(tmp_path / "own.yaml"))


def test_of_several_included_files_the_last_counts(tmp_path):
    (tmp_path / "base.yaml").write_text(OWN + "description: of the base\n")
    (tmp_path / "other.yaml").write_text("description: of the other\n")
    found = task(tmp_path, "include: [base.yaml, other.yaml]\n")
    assert (found.train, found.description) == ("train.csv", "of the other")


def test_variants_are_values_of_the_same_keys(tmp_path):
    found = task(tmp_path, OWN + "variants: {short: {}, long: {doc_to_target: reason}}\n")
    assert found.of("long").doc_to_target == "reason"
    assert found.base.doc_to_target == "label"
    with pytest.raises(ConfigError, match="'main' is not a variant of the task own") as caught:
        found.of("main")
    assert caught.value.remedy == "set data.variant to one of: short, long"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_gsm8ks_variants(name):
    assert list(read_task(name).variants) == ["main", "socratic"]
    assert read_task(name).scores_numbers


@pytest.mark.parametrize("text", [OWN, OF_LM_EVAL])
def test_a_task_comes_back_from_its_record(tmp_path, text):
    found = task(tmp_path, text)
    assert stored_task(yaml.safe_load(yaml.safe_dump(found.record()))) == found
    with pytest.raises(ConfigError, match="a stored task is not one of this version"):
        stored_task({**found.record(), "later_key": 1})


def test_how_texts_are_scored_and_where_files_lie_is_no_identity(tmp_path):
    first = task(tmp_path, OWN + "metric_list: [{metric: exact_match}]\n")
    (tmp_path / "moved").mkdir()
    second = task(tmp_path / "moved", OWN + "metric_list: [{metric: f1}]\n")
    third = task(tmp_path, OWN + "description: x\n")
    assert first.identity() == second.identity() != third.identity()


def arms(folder: Path, text: str, *items: str) -> list[Any]:
    (folder / "x.yaml").write_text(text)
    return expand(load(folder / "x.yaml", items)).arms


def test_an_experiment_takes_what_its_task_says_of_it(tmp_path):
    kwargs = "generation_kwargs: {max_gen_toks: 9}\nnum_fewshot: 5\n"
    (tmp_path / "own.yaml").write_text(OWN + kwargs)
    baseline, tuned = arms(tmp_path, "task: own.yaml\ndata: {test_size: 4}\n")
    assert baseline.config.evaluation.protocol == "few_shot"
    assert tuned.config.evaluation.max_new_tokens == 9
    assert tuned.config.task.source == str(tmp_path / "own.yaml")
    assert str(tuned.origins["evaluation.max_new_tokens"]).endswith("own.yaml")
    _, stated = arms(
        tmp_path, "task: own.yaml\n", "evaluation.max_new_tokens=5", "data.test_size=4"
    )
    assert stated.config.evaluation.max_new_tokens == 5
    (tmp_path / "own.yaml").write_text(OWN + "num_fewshot: 3\n")
    with pytest.raises(ConfigError, match="num_fewshot=3; paribus shows 0, 1 or 5 solved examples"):
        arms(tmp_path, "task: own.yaml\n")
    arms(tmp_path, "task: own.yaml\nbaseline: null\n")


def test_what_a_task_file_says_is_fixed_when_the_experiment_is_loaded(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "x.yaml").write_text("task: own.yaml\ndata: {test_size: 4}\nlora.r: 4\n")
    loaded = load(tmp_path / "x.yaml")
    before = [run.fingerprint for run in expand(loaded).runs]
    (tmp_path / "own.yaml").write_text(OWN + "description: Be brief.\n")
    design = expand(loaded)
    assert [run.fingerprint for run in design.runs] == before
    assert {task_of(arm.config).description for arm in design.arms} == {""}
    later = expand(load(tmp_path / "x.yaml"))
    assert not {run.fingerprint for run in later.runs} & set(before)


def test_under_another_template_problems_stay_the_same(tmp_path):
    (tmp_path / "train.csv").write_text(
        "text,label\n" + "".join(f"message {n},{'ab'[n % 2]}\n" for n in range(20))
    )
    (tmp_path / "own.yaml").write_text(OWN)
    plain = ArmConfig(
        task=read_task(str(tmp_path / "own.yaml")), data=DataConfig(train_size=4, test_size=4)
    )
    framed = replace(plain, prompt=PromptConfig(template="Sort this: {{text}}\nAs:"))
    one, other = (load_problems(task_of(arm), arm.data, 0) for arm in (plain, framed))
    assert [p.id for p in one.test] == [p.id for p in other.test]
    assert [p.id for p in one.train] == [p.id for p in other.train]
    assert other.test[0].prompt == f"Sort this: {one.test[0].prompt}\nAs:"


def test_a_template_that_a_chat_does_not_show_is_refused(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN + "question: text\n")
    prompt = PromptConfig(template="Sort this: {{text}}", format="chat")
    with pytest.raises(ConfigError, match="has no effect with prompt.format=chat"):
        task_of(ArmConfig(task=read_task(str(tmp_path / "own.yaml")), prompt=prompt))
    raw = ArmConfig(
        task=read_task(str(tmp_path / "own.yaml")),
        prompt=replace(prompt, format="raw"),
        evaluation=EvaluationConfig(also=("zero_shot/chat",)),
    )
    with pytest.raises(
        ConfigError, match=r"has no effect with evaluation.also=\['zero_shot/chat'\]"
    ):
        task_of(raw)


def test_tasks_are_a_factor_and_each_has_its_baseline(tmp_path):
    for name in ("own", "other"):
        (tmp_path / f"{name}.yaml").write_text(OWN + f"task: {name}\n")
    text = "matrix: {task: [own.yaml, other.yaml]}\ndata: {test_size: 4}\n"
    names = [arm.name for arm in arms(tmp_path, text)]
    assert [name for name in names if name.startswith("baseline")] == [
        "baseline-gemma-3-270m-own",
        "baseline-gemma-3-270m-other",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsm9k", "task='gsm9k' is neither a task that comes with paribus (gsm8k, gsm8k_swapped"),
        ("gone.yaml", "gone.yaml does not exist or is not a regular file"),
    ],
)
def test_a_task_that_is_not_there_is_named_with_its_line(tmp_path, name, message):
    with pytest.raises(ConfigError) as caught:
        arms(tmp_path, f"seeds: 1\ntask: {name}\ndata: {{train_size: 4, test_size: 4}}\n")
    assert message in caught.value.message
    assert "x.yaml:2" in caught.value.message


def described(folder: Path, own: str, *items: str) -> tuple[Description, Loaded]:
    """What a store holds of an experiment with the task `own`, and the experiment's file."""
    (folder / "own.yaml").write_text(OWN + own)
    (folder / "x.yaml").write_text("task: own.yaml\ndata: {test_size: 4}\n")
    loaded = load(folder / "x.yaml", items)
    return description(loaded, expand(loaded)), loaded


def test_metrics_that_the_task_lists_later_are_asked_of_the_stored_texts(tmp_path):
    stored, _ = described(tmp_path, "metric_list: [{metric: exact_match}]\n")
    _, later = described(tmp_path, "metric_list: [{metric: choice}, {metric: exact_match}]\n")
    asked = ask(stored, later)
    assert [scorers_in(asked, arm).names for arm in asked.arms] == [("choice", "exact_match")] * 2
    assert asked.asked == [
        f"Asked after the runs ({tmp_path / 'own.yaml'}): metric_list, filter_list or answer of "
        "the task."
    ]
    assert ask(stored, described(tmp_path, "metric_list: [{metric: exact_match}]\n")[1]) is stored


def test_metrics_listed_later_are_asked_of_arms_with_other_prompts_too(tmp_path):
    file = tmp_path / "x.yaml"
    templates = "['Sort: {{text}}', 'Label {{text}}']"
    file.write_text(
        f"task: own.yaml\ndata: {{test_size: 4}}\nmatrix: {{prompt.template: {templates}}}\n"
    )
    (tmp_path / "own.yaml").write_text(OWN + "metric_list: [{metric: exact_match}]\n")
    before = load(file)
    stored = description(before, expand(before))
    (tmp_path / "own.yaml").write_text(OWN + "metric_list: [{metric: choice}, {metric: f1}]\n")
    asked = ask(stored, load(file))
    assert {scorers_in(asked, arm).names for arm in asked.arms} == {("choice", "f1")}
    own = [(arm.task or {}).get("doc_to_text") for arm in asked.arms]
    assert own == [(arm.task or {}).get("doc_to_text") for arm in stored.arms]


def test_another_prompt_is_another_task_and_no_report_of_these_runs(tmp_path):
    stored, _ = described(tmp_path, "")
    _, later = described(tmp_path, "description: Be brief.\n")
    with pytest.raises(UserError, match="made with another task own: description: ") as caught:
        ask(stored, later)
    assert "change the task file back" in caught.value.remedy


def test_a_report_may_draw_conclusions_from_another_scorer(tmp_path):
    stored, _ = described(tmp_path, "metric_list: [{metric: exact_match}, {metric: choice}]\n")
    asked = ask_for_scorer(stored, "choice")
    assert [scorers_in(asked, arm).names[0] for arm in asked.arms] == ["choice"] * 2
    assert "conclusions are drawn from the scorer choice" in asked.asked[0]
    assert scorers_in(ask_for_scorer(stored, "json_match"), stored.arms[0]).main == "json_match"
    assert ask_for_scorer(stored, "") is stored
    assert NUMBERS.led_by("flexible").names == ("flexible", "canonical", "strict")
    for scorers, name in ((NUMBERS, "f1"), (scorers_in(stored, stored.arms[0]), "strict")):
        with pytest.raises(ConfigError, match=name):
            scorers.led_by(name)


def test_a_store_of_an_earlier_version_is_asked_by_its_former_key(tmp_path):
    (tmp_path / "x.yaml").write_text("task: gsm8k\n")
    loaded = load(tmp_path / "x.yaml")
    stored = description(loaded, expand(loaded))
    config = {key: value for key, value in stored.config.items() if key != "task"}
    config["data"] = {**config["data"], "source": "gsm8k"}
    former = stored.model_copy(update={"config": config})
    assert ask(former, loaded) is former
    with pytest.raises(UserError, match="task: gsm8k → gsm8k_swapped"):
        ask(former, load(tmp_path / "x.yaml", ["task=gsm8k_swapped"]))


def test_a_report_of_arms_with_other_templates_is_of_the_same_task(tmp_path):
    items = ("matrix={prompt.template: ['A {{text}}', 'B {{text}}']}",)
    stored, loaded = described(tmp_path, "", *items)
    assert ask(stored, loaded) is stored
