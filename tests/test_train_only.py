"""Partial fine-tuning: what a plain loop trains, a plan that holds, and names that are refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from bare import take_steps, untouched
from loads import LOAD
from paribus.config.load import load
from paribus.config.schema import ArmConfig, LoraConfig, TrainingConfig
from paribus.config.spec import RunSpec
from paribus.design.matrix import expand
from paribus.errors import ConfigError
from paribus.models.load import count_parameters, for_inference, load_model, make_trainable
from paribus.models.shapes import Shape, shape_of
from paribus.models.source import find_model
from paribus.planning.cost.memory import estimate
from paribus.planning.cost.peaks import training_moments
from paribus.planning.devices import device
from paribus.planning.forecast import trained_alone
from paribus.planning.preflight import checkpoint_bytes, disk_bytes
from paribus.planning.prepare import prepare
from paribus.planning.survey import survey
from paribus.running.record import precision
from probed import found, look
from test_memory import DTYPES, bytes_saved, tiny
from training_cases import fit, word_problems

CPU = torch.device("cpu")
MLP = ["gate_proj", "up_proj", "down_proj"]
CHOSEN: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "MLP of the upper layer": (
        (r"layers\.1\.mlp",),
        {f"model.layers.1.mlp.{name}.weight" for name in MLP},
    ),
    "the last norm": ((r"^model\.norm\.weight$",), {"model.norm.weight"}),
    "the head, by its own name": (("lm_head",), {"model.embed_tokens.weight"}),
    "two patterns": (
        ("embed_tokens", r"layers\.0\.self_attn\.[kv]_proj"),
        {"model.embed_tokens.weight", "model.layers.0.self_attn.k_proj.weight",
         "model.layers.0.self_attn.v_proj.weight"},
    ),
}  # fmt: skip


def partly(folder, patterns: Any, name: str = "fp32") -> Any:
    model = load_model(find_model(str(folder), None), DTYPES[name], CPU)
    return make_trainable(model, "full", LoraConfig(), DTYPES[name], patterns)


@pytest.fixture(scope="module")
def examples():
    return word_problems()[:4]


@pytest.mark.parametrize("name", CHOSEN)
def test_weights_and_losses_are_those_of_a_plain_loop(tiny, examples, name):
    patterns, names = CHOSEN[name]
    model, plain = partly(tiny, patterns), untouched(tiny, names)
    settings = {"max_steps": 3, "schedule": "constant", "warmup": 0.0, "learning_rate": 1e-3,
                "weight_decay": 0.0}  # fmt: skip
    records, cost = fit(model, examples, train_only=patterns, **settings)
    trained = [weight for weight in plain.parameters() if weight.requires_grad]
    expected = take_steps(plain, torch.optim.AdamW(trained, lr=1e-3), examples, 3)
    assert [record.loss for record in records] == pytest.approx(expected, rel=1e-5)
    start = dict(untouched(tiny).named_parameters())
    for weight, ours in model.named_parameters():
        if weight in names:
            assert_close(ours, plain.get_parameter(weight), rtol=0, atol=1e-5)
            assert (ours - start[weight]).abs().max() > 5e-4
        else:
            assert torch.equal(ours, start[weight])
    assert cost.trainable_parameters == sum(weight.numel() for weight in trained)
    assert cost.total_parameters == 91_200


def test_frozen_weights_are_of_the_compute_dtype_and_what_is_tested_too(tiny):
    model = partly(tiny, (r"\.1\.mlp",), "bf16")
    dtypes = {(p.requires_grad, p.dtype) for p in model.parameters()}
    assert dtypes == {(True, torch.float32), (False, torch.bfloat16)}
    training = TrainingConfig(precision="bf16", train_only=(r"\.1\.mlp",))
    used = precision(ArmConfig(method="full", training=training))
    assert (used.compute, used.trainable, used.frozen) == ("bf16", "fp32", "bf16")
    tested = for_inference(model, torch.bfloat16)
    assert {(p.requires_grad, p.dtype) for p in tested.parameters()} == {(False, torch.bfloat16)}


PATTERNS = {
    "gemma3": [("norm",), ("embed_tokens",), (r"layers\.5\.",), ("q_proj", "down_proj")],
    "qwen2": [(r"\.bias$",), ("lm_head",), (r"layers\.[0-2]\.mlp",)],
}


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(
    ("family", "patterns"), [(f, patterns) for f, of in PATTERNS.items() for patterns in of]
)
def test_the_plan_counts_what_trains_and_bounds_what_a_pass_keeps(family, patterns, precision):
    dtype = DTYPES[precision]
    model, shape = tiny(family, "full", dtype)
    model = make_trainable(model.to(dtype), "full", LoraConfig(), dtype, patterns)
    asked = replace(LOAD, precision=precision, steps=1, whole=trained_alone(patterns, shape),
                    train_length=72, pass_tokens=3 * 72)  # fmt: skip
    planned = estimate(shape, asked, device("h100-80gb"))
    assert (planned.trainable_parameters, planned.total_parameters) == count_parameters(model)
    moment = training_moments(shape, asked, "cuda")["loss"]
    saved = bytes_saved(model.train(), 3, 72, dtype)
    head = 2 * shape.vocab * shape.hidden * asked.trains_whole("lm_head")
    copy = head if precision == "bf16" else 0
    kept = sum(moment["activations"]) + sum(moment["copies"]) - copy
    # More by at most the lowest layer that is trained, of six, and by angles nobody needs.
    assert 0.99 * saved <= kept <= saved + 1.1 * largest_layer(shape, asked)


def largest_layer(shape: Shape, load: Any) -> float:
    every = training_moments(shape, replace(load, whole=()), "cuda")["loss"]
    return (sum(every["activations"]) + sum(every["copies"])) / shape.layers


def test_only_what_trains_has_masters_gradients_and_states():
    shape = shape_of("google/gemma-2b-it", None)
    norms = trained_alone(("norm",), shape)
    planned = estimate(shape, replace(LOAD, whole=norms), device("h100-80gb"))
    assert planned.training is not None
    weights = 37 * 2048  # two in each of 18 layers, and the last one
    assert planned.trainable_parameters == weights
    assert planned.training.weights == 2 * shape.parameters + 2 * weights
    assert planned.training.optimizer == 8 * weights
    assert planned.evaluation.weights == 2 * shape.parameters


@pytest.mark.parametrize("precision", DTYPES)
def test_a_healthy_model_passes_the_probes(tiny, tmp_path, precision):
    patterns = ("lm_head", r"layers\.1\.mlp")
    model = partly(tiny, patterns, precision)
    settings = {"precision": precision, "train_only": patterns}
    assert look(model, word_problems(), tmp_path, **settings).failures == ()
    model.get_parameter("model.layers.1.mlp.up_proj.weight").requires_grad_(False)
    failed = found(look(model, word_problems(), tmp_path, **settings))
    assert "model.layers.1.mlp.up_proj.weight is frozen" in failed["PB050"]


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_names(tiny):
    message = r"training.train_only: layers\.0\.mlp\.up_prj is found in the name of no weight"
    for refuse in (
        lambda patterns: partly(tiny, patterns),
        lambda patterns: trained_alone(patterns, shape_of(str(tiny), None)),
    ):
        with pytest.raises(ConfigError) as caught:
            refuse(("norm", r"layers\.0\.mlp\.up_prj"))
        assert caught.value.message == message
        assert caught.value.remedy.startswith("nearest: model.layers.0.mlp.up_proj.weight, ")
        with pytest.raises(ConfigError) as caught:
            refuse((r"mpl\.",))
        assert caught.value.remedy.startswith("nearest: mlp, ")


def experiment(folder, model, *arms: str) -> Any:
    file = folder / "x.yaml"
    file.write_text(
        f"model: {model}\ntraining: {{precision: bf16, learning_rate: 1e-4, epochs: 9}}\n"
        "data: {train_size: 9, test_size: 9}\narms:\n" + "\n".join(f"  {arm}" for arm in arms)
    )
    return expand(load(file))


def test_what_is_wrong_with_a_pattern_is_said_with_file_and_line(tiny, tmp_path):
    with pytest.raises(ConfigError) as refused:
        experiment(tmp_path, tiny, "a: {method: lora, training.train_only: [norm]}",
                   "b: {method: full, training.train_only: ['layers.(1']}")  # fmt: skip
    assert refused.value.message.splitlines() == [
        f"{tmp_path}/x.yaml:5: arm a: training.train_only says which weights method='full' trains, "
        "and the method is 'lora'; set it in the arms of method: full, or to []",
        f"{tmp_path}/x.yaml:6: arm b: training.train_only: 'layers.(1' is no regular expression "
        "(missing ), unterminated subpattern at position 7); write a dot of a name as \\.",
    ]


def test_all_weights_are_stored_and_checkpoints_hold_what_trains(tiny, tmp_path):
    design = experiment(tmp_path, tiny, r"a: {method: full, training.train_only: ['\.1\.mlp']}",
                        "b: {method: full}")  # fmt: skip
    gpu = device("rtx-4090")
    prospects = survey(design, gpu, lambda arm: prepare(arm.config, 0))
    one, all_of_it = ([run for run in design.runs if run.arm == arm][:1] for arm in "ab")
    assert disk_bytes(prospects, one) == disk_bytes(prospects, all_of_it) == 2 * 91_200
    assert checkpoint_bytes(prospects, one) == 12 * 3 * 64 * 128
    assert checkpoint_bytes(prospects, all_of_it) == 12 * 91_200


def test_an_identity_holds_it_only_where_it_is_set():
    def training(**keys: Any) -> dict[str, Any]:
        settled = TrainingConfig(learning_rate=1e-4, **keys)
        spec = RunSpec(experiment="x", arm="a", replicate=0, seed=0,
                       config=ArmConfig(method="full", training=settled))  # fmt: skip
        return spec.identity()["training"]

    assert "train_only" not in training()
    assert training(train_only=("norm",))["train_only"] == ["norm"]
