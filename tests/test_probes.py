"""Probes before training: silent on a healthy model, of which they change nothing; and the checks
that need no pass.
"""

import math

import pytest

from paribus.planning.rules.card import Severity
from paribus.planning.rules.probes import RULES
from paribus.training import probes
from paribus.training import trainer as trainer_module
from paribus.training.probe_steps import Probe, loss_by_chance
from probed import BOS, STOP, found, layers, look, ready, same, state, text
from training_cases import fit, word_problems

HEALTHY = [
    ("full", "fp32", True, None),
    ("full", "bf16", False, None),
    ("lora", "fp32", False, None),
    ("lora", "bf16", True, None),
    ("lora", "bf16", False, "nf4"),
]


@pytest.fixture(scope="module")
def examples():
    return word_problems()


@pytest.mark.parametrize(("method", "precision", "recompute", "bits"), HEALTHY)
def test_a_healthy_model_passes_and_is_left_as_it_was(
    tiny, tmp_path, examples, method, precision, recompute, bits
):
    model = ready(tiny, method, precision, bits)
    before = state(model)
    settings = {"precision": precision, "checkpointing": recompute, "quantization": bits}
    probed = look(model, examples, tmp_path, **settings)
    assert probed.failures == ()
    after = state(model)
    assert [name for name in before if not same(before[name], after[name])] == []
    assert list(tmp_path.iterdir()) == []
    assert probed.seconds > 0


@pytest.mark.parametrize(
    ("method", "precision", "bits", "rows"),
    [
        ("full", "bf16", None, [(True, "float32", 28)]),
        ("lora", "bf16", None, [(True, "float32", 28), (False, "bfloat16", 28)]),
        (
            "lora",
            "bf16",
            "nf4",
            [(True, "float32", 28), (False, "nf4", 14), (False, "bfloat16", 14)],
        ),
    ],
)
def test_the_table_of_dtypes(tiny, tmp_path, examples, method, precision, bits, rows, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # stops before any pass; the table is there all the same
    model = ready(tiny, method, precision, bits)
    probed = look(model, examples, tmp_path, precision=precision, quantization=bits)
    assert [(row.trains, row.dtype, row.tensors) for row in probed.dtypes] == rows


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("recompute", [False, True])
def test_training_after_a_probe_is_the_same_to_the_bit(tiny, tmp_path, examples, method, recompute):
    curves = []
    for probed in (False, True):
        model = ready(tiny, method)
        if probed:
            assert look(model, examples, tmp_path, checkpointing=recompute).failures == ()
        records, _ = fit(model, examples, method=method, max_steps=3, checkpointing=recompute)
        curves.append([(record.loss, record.grad_norm) for record in records])
    assert curves[0] == curves[1]


ENDLESS = [text([BOS, 9, *range(10, 30), STOP], 2)] * 200


@pytest.mark.parametrize(
    ("texts", "guessed"),
    [
        ([text([BOS, 7, 7, 7, 7, 7], 1)] * 800, 0.0),
        ([text([BOS, 9, 10, 11, 12, 13], 2)] * 1000, math.log(4)),
        ([text([BOS, *range(10, 50)], 1)] * 99, None),  # 3,960 tokens
    ],
    ids=["one token", "four alike", "too few"],
)
def test_chance_is_the_entropy_of_target_tokens(texts, guessed):
    assert loss_by_chance(texts) == pytest.approx(guessed)


def test_a_model_that_knows_nothing_is_told_and_may_be_meant(tiny, tmp_path):
    """The tiny model's weights are random: worse than whoever counts the 21 kinds of tokens."""
    model = ready(tiny, "lora")
    probed = look(model, ENDLESS, tmp_path)
    assert probed.failures == ()
    (told,) = probed.warnings
    assert told.id == "PB067"
    assert f"and {math.log(21):.2f} for whoever knows only" in told.found
    assert look(model, ENDLESS[:10], tmp_path).warnings == ()
    assert probes._chance_warnings(3.0, ENDLESS) == ()


@pytest.mark.parametrize(
    ("example", "failed"),
    [
        (text([BOS, 9, 8, STOP], 2), []),
        (text([BOS, BOS, 9, 8, STOP], 3), ["PB056"]),
        (text([9, 8, STOP], 1), ["PB056"]),
        (text([9, BOS, 8, STOP], 2), ["PB056"]),
        (text([BOS, 9, BOS, 8, STOP], 2), ["PB056"]),
        (text([BOS, 9, STOP, BOS, 9, 8, STOP], 5), []),
        (text([BOS, 9, 8], 2), ["PB057"]),
        (text([BOS, 9, STOP, 8, STOP], 2), ["PB057"]),
        (text([BOS, 9, STOP], 3), ["PB057"]),
        (text([BOS, BOS, 9, 8], 3), ["PB056", "PB057"]),
    ],
)
def test_pb056_and_pb057_texts(tiny, tmp_path, examples, example, failed):
    probed = look(ready(tiny, "lora"), [*examples, example], tmp_path, save_weights=False)
    assert sorted(found(probed)) == failed
    assert all(message.startswith("1 of 33 texts ") for message in found(probed).values())


def test_pb057_a_batch_that_hides_the_stop_token(tiny, tmp_path, examples, monkeypatch):
    """As collators do that take padding for what it is not, where its id is the stop token's."""
    true_collate = trainer_module.collate

    def collate(examples):
        batch = true_collate(examples)
        return {**batch, "labels": batch["labels"].masked_fill(batch["labels"] == STOP, -100)}

    monkeypatch.setattr(trainer_module, "collate", collate)
    message = found(look(ready(tiny, "lora"), examples, tmp_path))["PB057"]
    assert message.startswith("4 of 4 texts have targets that do not end with one token 1: [")


@pytest.mark.parametrize(
    ("method", "spoil", "message"),
    [
        ("full", lambda m: m.bfloat16(), "trained, is bfloat16 (28 such of 28 tensors)"),
        (
            "lora",
            lambda m: layers(m)[0].mlp.up_proj.lora_B.bfloat16(),
            "layers.0.mlp.up_proj.lora_B.default.weight, trained, is bfloat16 (1 such of 56 ten",
        ),
        (
            "lora",
            lambda m: layers(m)[0].mlp.up_proj.base_layer.float(),
            "layers.0.mlp.up_proj.base_layer.weight, frozen, is float32 (1 such of 56 tensors)",
        ),
    ],
    ids=["full-in-bf16", "adapter-in-bf16", "base-in-fp32"],
)
def test_pb058_dtypes(tiny, tmp_path, examples, method, spoil, message):
    model = ready(tiny, method, "bf16")
    spoil(model)
    probed = look(model, examples, tmp_path, precision="bf16")
    assert list(found(probed)) == ["PB058"]
    assert message in found(probed)["PB058"]


def test_pb058_four_bits_that_were_asked_for_and_are_not_there(tiny, tmp_path, examples):
    model = ready(tiny, "lora", "bf16")
    message = found(look(model, examples, tmp_path, precision="bf16", quantization="nf4"))["PB058"]
    assert message.startswith("quantization=nf4 and no weight is in 4 bits")


@pytest.mark.parametrize(
    ("name", "value", "failed"),
    [
        ("WORLD_SIZE", "1", []),
        ("WORLD_SIZE", "2", ["PB059"]),
        ("WORLD_SIZE", "abc", ["PB059"]),
        ("OMPI_COMM_WORLD_SIZE", "4", ["PB059"]),
        ("SLURM_NTASKS", "4", []),
    ],
)
def test_pb059_processes(tiny, tmp_path, examples, monkeypatch, name, value, failed):
    monkeypatch.setenv(name, value)
    probed = look(ready(tiny, "lora"), examples, tmp_path, save_weights=False)
    assert list(found(probed)) == failed
    assert [f"{name}={value}"] * len(failed) == list(found(probed).values())


def test_every_probe_has_a_card_and_every_card_a_probe():
    assert [rule.id for rule in RULES] == [str(each) for each in Probe]
    assert [rule.id for rule in RULES] == [*(f"PB0{number}" for number in range(50, 60)), "PB067"]
    assert not any(rule.is_checked for rule in RULES)
    assert [rule.id for rule in RULES if rule.severity is not Severity.ERROR] == ["PB067"]
    for rule in RULES:
        assert all([rule.title, rule.what, rule.why, rule.evidence, rule.instead])
