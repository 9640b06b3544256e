"""Training a tiny model: the loss is what HF computes, and only what should move moves."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, Gemma3ForCausalLM

from paribus.errors import RunFailed
from training_cases import fit, trainable, word_problems

GOLDEN = Path(__file__).parent / "golden" / "loss_tiny.json"
METHODS = ["full", "lora"]
GENTLE = {"full": 5e-4, "lora": 1e-3}  # at which rounding is not blown up, whatever the machine


@pytest.fixture(scope="module")
def examples():
    return word_problems()


def losses(*arguments, **keywords) -> list[float]:
    return [record.loss for record in fit(*arguments, **keywords)[0]]


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def regenerate_golden(folder: Path) -> None:
    """Rewrite the golden curves. Do so only for an intended change of numerics:

    python -c "from pathlib import Path; from paribus.testing.tiny import write_tiny_model; \\
      from test_training import *; regenerate_golden(write_tiny_model(Path('/tmp/tiny')))"
    """
    examples = word_problems()
    curves = {m: losses(trainable(folder, m), examples, learning_rate=GENTLE[m]) for m in METHODS}
    how = "tests/test_training.py: regenerate_golden says how this file is made"
    GOLDEN.write_text(json.dumps({"README": how, **curves}, indent=2) + "\n")


@pytest.mark.parametrize("method", METHODS)
def test_the_golden_loss_curve(tiny, examples, method):
    golden = json.loads(GOLDEN.read_text())[method]
    curve = losses(trainable(tiny, method), examples, learning_rate=GENTLE[method])
    assert len(golden) == 8
    assert curve == pytest.approx(golden, rel=1e-4)


def test_accumulation_changes_nothing(tiny, examples):
    """Four examples at once, or one after the other: targets differ in length, weights do not.

    AdamW makes whole steps of next to no gradients too, where rounding is all there is: what counts
    is how far each tensor went.
    """
    trained, curves = [], []
    for micro_batch in (4, 1):
        model = trainable(tiny, "full")
        changes = {"micro_batch": micro_batch, "max_steps": 2, "learning_rate": 5e-4}
        curves.append(losses(model, examples, **changes))
        trained.append(weights(model))
    before = weights(trainable(tiny, "full"))
    assert curves[0] == pytest.approx(curves[1], rel=1e-6)
    for name, weight in trained[0].items():
        went = weight - before[name]
        assert (trained[1][name] - weight).norm() < 3e-4 * went.norm()
        assert went.abs().max() > 5e-4


@pytest.mark.parametrize(("method", "fall"), [("full", 1.2), ("lora", 0.2)])
def test_the_loss_falls_and_only_the_right_weights_move(tiny, examples, method, fall):
    model = trainable(tiny, method)
    before = weights(model)
    curve = losses(model, examples, method=method, max_steps=20, batch_size=8)
    moved = {name for name, weight in weights(model).items() if not weight.equal(before[name])}
    assert curve[-1] < curve[0] - fall
    if method == "full":
        assert moved == set(before)
    else:
        assert moved == {name for name in before if ".lora_" in name}
        assert len(moved) == 2 * 2 * 7  # A and B, in two layers, of seven matrices


def test_arms_start_from_the_same_numbers(tiny, tmp_path, examples):
    """In bf16 too: masters of full and frozen weights of LoRA round to one function.

    Gemma scales embeddings by the root of the hidden size: of 40, unlike of 64, it is rounded.
    """
    config = AutoConfig.from_pretrained(tiny, hidden_size=40)
    Gemma3ForCausalLM(config).save_pretrained(tmp_path)
    first = {}
    for method in METHODS:
        model = trainable(tmp_path, method, "bf16")
        first[method] = losses(model, examples, max_steps=1, precision="bf16")
    assert first["full"] == first["lora"]
    exact = losses(trainable(tmp_path, "full"), examples, max_steps=1)
    assert first["full"] == pytest.approx(exact, rel=1e-2)


def test_dropout_has_its_own_stream_of_the_seed(tiny, examples):
    """Four times the same example: the order of a seed plays no part."""
    runs = []
    for seed in (0, 0, 1):
        model = trainable(tiny, "lora", lora={"dropout": 0.5})
        runs.append(losses(model, examples[:1] * 4, seed=seed, method="lora", max_steps=3))
    assert runs[0] == runs[1]
    assert runs[0][0] == pytest.approx(runs[2][0], rel=1e-6)  # adapters begin as zero
    assert runs[0][2] != pytest.approx(runs[2][2], rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_losses_and_another_does_not(tiny, examples, method):
    def run(seed: int):
        torch.manual_seed(seed + 99)  # what was drawn before must not matter
        model = trainable(tiny, method, lora={"dropout": 0.3})
        return fit(model, examples, seed=seed, method=method, max_steps=4)[0]

    first, again, other = run(0), run(0), run(1)
    assert [r.loss for r in first] == [r.loss for r in again]
    assert [r.tokens for r in first] != [r.tokens for r in other]


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_recomputes_and_changes_nothing(tiny, examples, method):
    curves, calls = {}, {}
    for on in (False, True):
        model = trainable(tiny, method)
        counted = []
        base = model.get_base_model() if method == "lora" else model
        base.get_decoder().layers[0].mlp.register_forward_hook(lambda *_, c=counted: c.append(1))
        curves[on] = losses(model, examples, method=method, checkpointing=on)
        calls[on] = len(counted)
    assert curves[True] == pytest.approx(curves[False], rel=1e-6)
    assert calls == {False: 8, True: 16}


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0, 4e-4, 8e-4, 8e-4, 8e-4, 8e-4, 8e-4, 8e-4]),
        ("linear", [0, 4e-4, 8e-4, 8e-4 * 5 / 6, 8e-4 * 4 / 6, 4e-4, 8e-4 * 2 / 6, 8e-4 / 6]),
        ("cosine", [0, 4e-4, 8e-4, 7.53109e-4, 6.25e-4, 4.5e-4, 2.75e-4, 1.46891e-4]),
    ],
)
def test_learning_rates_are_those_used(tiny, examples, schedule, rates):
    """Two steps of warm-up from zero, and the first step, at zero, moves nothing."""
    settings = {"schedule": schedule, "learning_rate": 8e-4, "warmup": 0.25}
    settings |= {"min_learning_rate": 1e-4} if schedule == "cosine" else {}
    model = trainable(tiny, "full")
    before = weights(model)
    records, _ = fit(model, examples[:4], **settings)
    assert [record.learning_rate for record in records] == pytest.approx(rates, rel=1e-5)
    assert records[0].loss == pytest.approx(records[1].loss, rel=1e-6) != records[2].loss
    assert not any(weight.equal(before[name]) for name, weight in weights(model).items())


def test_records_and_cost_count_what_was_done(tiny, examples):
    records, cost = fit(
        trainable(tiny, "full"), examples, epochs=1.0, max_steps=None, micro_batch=2
    )
    assert [record.step for record in records] == list(range(1, 9))
    assert {(record.num_steps, record.examples) for record in records} == {(8, 4)}
    assert cost.examples == 32
    assert cost.target_tokens == sum(e.target_length for e in examples)
    tokens = sum(len(e.ids) for e in examples)
    assert sum(record.tokens for record in records) == tokens
    assert cost.trainable_parameters == cost.total_parameters == 91_200
    assert cost.first_loss == records[0].loss
    assert cost.seconds == pytest.approx(sum(record.seconds for record in records))
    assert cost.peak_memory_bytes > 50e6


def test_a_loss_that_is_no_number_stops_the_run(tiny, examples):
    model = trainable(tiny, "full")
    with torch.no_grad():
        model.get_decoder().layers[1].mlp.down_proj.weight[0, 0] = float("inf")
    seen = []
    with pytest.raises(RunFailed, match=r"^step 1: loss is nan, grad_norm is nan") as caught:
        seen += fit(model, examples)[0]
    assert "lower training.learning_rate" in caught.value.remedy
    with pytest.raises(RunFailed, match=r"^step [2-4]: (loss|grad_norm) is nan"):
        fit(trainable(tiny, "full"), examples, learning_rate=1e30)


@pytest.mark.parametrize("method", METHODS)
def test_adamw_with_8_bit_states_trains(tiny, examples, method):
    pytest.importorskip("bitsandbytes")
    curve = losses(trainable(tiny, method), examples, method=method, optimizer="adamw_8bit")
    assert curve[-1] < curve[0] - 0.1


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("lion_8bit", 1e-3), ("adafactor", 5e-3), ("sgd", 0.5)]
)
def test_other_optimizers_train_at_rates_of_their_own(tiny, examples, optimizer, rate):
    changes = {"optimizer": optimizer, "learning_rate": rate}
    curve = losses(trainable(tiny, "full"), examples, **changes)
    assert curve[-1] < curve[0] - 0.1
