"""vLLM as the engine: the same texts and records as paribus' own, and what is refused.

What is decided here rather than by vLLM is tested everywhere, with a model that continues texts by
transformers' own loop. vLLM itself is tested where it is installed: `make test-vllm`.
"""

import json
from importlib.util import find_spec

import pytest
import torch

from decoding import FULL, NEW, SLIDING, STOPS, Ids, prompts_of, run, wild
from inside import paribus
from paribus.errors import RunFailed
from paribus.evaluation.engine import vllm
from paribus.evaluation.engine.vllm import Weights, serving
from paribus.records import Stop
from sums import SUMS, prompt_of, written

installed = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")

EXPERIMENT = """
name: {engine}
model: {model}
hypothesis: none
seeds: 1
data: {{train_size: 16, test_size: 12, max_steps: 1}}
training:
  batch_size: 8
  max_steps: 2
  precision: fp32
  save_weights: {saved}
evaluation: {{max_new_tokens: 40, batch_size: 5, engine: {engine}, also: [{also}]}}
baseline: {{protocol: one_shot}}
arms:
  full: {{method: full, training.learning_rate: 1e-3}}
  lora: {{method: lora, training.learning_rate: 1e-2}}
"""


def by_transformers(model):
    """Continue each text by HF's `generate`, alone: real tokens, and nothing of paribus in them."""
    asked: list[list[int]] = []

    def continued(ids, numbers, stop_ids):
        asked.append(numbers)
        found = []
        for text, number in zip(ids, numbers, strict=True):
            given = torch.tensor([text])
            whole = model.generate(
                given,
                attention_mask=torch.ones_like(given),
                do_sample=False,
                max_new_tokens=number,
                eos_token_id=stop_ids or None,
                pad_token_id=0,
            )
            found.append(whole[0, given.shape[1] :].tolist())
        return found, [[True] * len(tokens) for tokens in found]

    return continued, asked


@pytest.mark.parametrize("round", [1, 7, 128])
@pytest.mark.parametrize("batch_size", [1, 10])
def test_texts_are_those_of_our_engine(tiny, tokenizer, monkeypatch, round, batch_size):
    monkeypatch.setattr(vllm, "ROUND", round)
    monkeypatch.setattr(vllm, "BATCHES_AT_ONCE", 2)
    model = wild(tiny, [SLIDING, FULL])
    prompts = prompts_of(tokenizer, 0)
    done: list[int] = []
    continued, asked = by_transformers(model)
    found = vllm.generate_by_vllm(
        continued,
        Ids(),
        prompts,
        stop_ids=frozenset(STOPS),
        max_new_tokens=NEW,
        batch_size=batch_size,
        on_batch=done.append,
    )
    assert found == run(model, Ids(), prompts, stops=STOPS)
    assert len({each.text for each in found}) > 8
    assert done == sorted(done)
    assert done[-1] == len(prompts)
    assert max(map(max, asked)) == min(round, NEW)
    assert max(map(len, asked)) == min(2 * batch_size, len(prompts))


@pytest.mark.parametrize("round", [3, 128])
def test_the_calculator_writes_what_it_writes_in_our_engine(
    taught,
    tokenizer,
    monkeypatch,
    round,
):
    monkeypatch.setattr(vllm, "ROUND", round)
    expected = written(taught, tokenizer, calculator=True)
    found = vllm.generate_by_vllm(
        by_transformers(taught)[0],
        tokenizer,
        [prompt_of(question, tokenizer) for question in SUMS],
        stop_ids=frozenset({tokenizer.eos_token_id}),
        max_new_tokens=60,
        batch_size=4,
        on_batch=lambda _done: None,
        calculator=True,
    )
    assert found == expected
    assert "6*7=<<6*7=42>>" in found[0].text


def test_a_token_chosen_among_no_numbers_fails_the_text(tokenizer):
    found = vllm.generate_by_vllm(
        lambda ids, *_: ([[5, 6, 7]] * len(ids), [[True, False, False]] * len(ids)),
        Ids(),
        prompts_of(tokenizer, 0, ["?"]),
        stop_ids=frozenset(),
        max_new_tokens=9,
        batch_size=1,
        on_batch=lambda _done: None,
    )
    assert [(each.text, each.stop) for each in found] == [("5", Stop.FAILED)]


def test_an_engine_that_writes_nothing_is_an_error(tokenizer):
    with pytest.raises(RunFailed, match="vLLM added nothing"):
        vllm.generate_by_vllm(
            lambda ids, *_: ([[]] * len(ids), [[]] * len(ids)),
            Ids(),
            prompts_of(tokenizer, 0, ["?"]),
            stop_ids=frozenset(),
            max_new_tokens=9,
            batch_size=1,
            on_batch=lambda _done: None,
        )


def test_what_stopped_it_is_said(tmp_path):
    """Without vLLM its process cannot begin; with it there is no model in the folder."""
    with (
        pytest.raises(
            RunFailed, match=r"vLLM ended with code 1: .*(No module named 'vllm'|config\.json)"
        ),
        serving(
            Weights(model=tmp_path),
            compute=torch.float32,
            device=torch.device("cpu"),
            longest=32,
            rows=1,
            cache_bytes=None,
        ),
    ):
        pytest.fail("it started")


def experiment(tmp_path, tiny, engine: str, *, saved: bool = False, also: str = "") -> None:
    file = tmp_path / f"{engine}.yaml"
    text = EXPERIMENT.format(engine=engine, model=tiny, saved=str(saved).lower(), also=also)
    file.write_text(text)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_it_must_be_installed(tmp_path, tiny):
    experiment(tmp_path, tiny, "vllm")
    planned = paribus("plan", "vllm.yaml", cwd=tmp_path)
    done = paribus("run", "vllm.yaml", cwd=tmp_path)
    assert (planned.returncode, done.returncode) == (2, 2)
    for said in (planned.stdout, planned.stderr, done.stderr):
        assert "needs the package vllm, which is not installed" in said
        assert "evaluation.engine=paribus" in said
    assert not (tmp_path / "runs").exists()


def test_a_base_of_4_bits_is_not_for_it(tmp_path, tiny):
    experiment(tmp_path, tiny, "vllm")
    done = paribus("plan", "vllm.yaml", "quantization=nf4", cwd=tmp_path)
    assert done.returncode == 2
    assert "evaluation.engine='vllm' does not test a base rounded here" in done.stderr


def texts(folder) -> dict[str, list[tuple[str, int, str]]]:
    found = {}
    for file in sorted(folder.glob("*/seed-0/**/*.jsonl")):
        if file.name.startswith("events") or "heldout" in file.name:
            continue
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        found[str(file.relative_to(folder))] = [
            (row["text"], row["num_tokens"], row["stop"]) for row in rows if "stop" in row
        ]
    return found


@installed
@pytest.mark.slow
@pytest.mark.parametrize("saved", [False, True])
def test_an_experiment_has_the_same_texts(tmp_path, tiny, saved):
    """In fp32: full SFT, adapters and the untuned model, two protocols, a calculator."""
    also = "one_shot/raw+calculator"
    for engine in ("paribus", "vllm"):
        experiment(tmp_path, tiny, engine, saved=saved, also=also)
        done = paribus("run", f"{engine}.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    ours, theirs = (texts(tmp_path / "runs" / engine) for engine in ("paribus", "vllm"))
    assert ours == theirs
    assert len(ours) >= 6
    assert all(len(rows) == 12 for rows in ours.values())
    result = json.loads((tmp_path / "runs/vllm/lora/seed-0/result.json").read_text())
    assert result["environment"]["vllm"]
    assert (
        "vllm"
        not in json.loads((tmp_path / "runs/paribus/lora/seed-0/result.json").read_text())[
            "environment"
        ]
    )
