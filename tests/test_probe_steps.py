"""Probes of real passes: each fires on the fault it is for."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from paribus.training.probe_steps import Sketch, choose_probed, distance, gradient_failures
from paribus.training.trainer import CompletionTrainer
from probed import found, layers, look, ready, same, state, text
from training_cases import DTYPES, word_problems


@pytest.fixture(scope="module")
def examples():
    return word_problems()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_pb050_a_frozen_weight_that_should_train(tiny, tmp_path, examples, method):
    model = ready(tiny, method)
    target = layers(model)[1].mlp.up_proj
    (target.lora_A["default"] if method == "lora" else target).weight.requires_grad_(False)
    message = found(look(model, examples, tmp_path))["PB050"]
    assert "layers.1.mlp.up_proj" in message
    assert f"is frozen, and method={method} trains it" in message


def test_pb050_a_weight_that_no_gradient_reaches(tiny, tmp_path, examples):
    """The second layer's input is cut off: the first layer does not train, its head still does."""
    model = ready(tiny, "full")
    layers(model)[0].register_forward_hook(lambda _module, _inputs, output: output.detach())
    assert found(look(model, examples, tmp_path)) == {
        "PB050": "model.layers.0.self_attn.q_proj.weight: no gradient (13 of 28 tensors)"
    }


def test_pb050_a_gradient_that_is_zero(tiny, tmp_path, examples):
    """All lora_A have a zero gradient at the start, for lora_B is zero; no lora_B may have one."""
    model = ready(tiny, "lora")
    layers(model)[0].self_attn.o_proj.register_forward_hook(lambda _m, _i, output: output * 0)
    message = found(look(model, examples, tmp_path))["PB050"]
    assert "layers.0.self_attn" in message
    assert "lora_B" in message
    assert message.endswith("no gradient (4 of 28 tensors)")


def test_pb050_a_loss_that_depends_on_nothing(tiny, tmp_path, examples):
    """The error that stopped the original project: with LoRA the head does not train either."""
    model = ready(tiny, "lora")
    norm = model.get_base_model().get_decoder().norm
    norm.register_forward_hook(lambda _module, _inputs, output: output.detach())
    message = found(look(model, examples, tmp_path))["PB050"]
    assert message.startswith("the loss depends on no weight: element 0 of tensors does not req")


def test_another_error_of_a_pass_is_raised_as_it_is(tiny, tmp_path, examples):
    model = ready(tiny, "lora")
    before = state(model)

    def broken(_module, _inputs):
        raise RuntimeError("out of memory")

    hook = layers(model)[0].register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        look(model, examples, tmp_path)
    hook.remove()
    assert same(before, state(model))
    assert list(tmp_path.iterdir()) == []


def test_pb051_a_gradient_that_is_not_finite(tiny, tmp_path, examples):
    model = ready(tiny, "full")
    with torch.no_grad():
        layers(model)[0].mlp.down_proj.weight[0, 0] = float("inf")
    message = found(look(model, examples, tmp_path))["PB051"]
    assert message == "model.embed_tokens.weight: the gradient is not finite (28 of 28 tensors)"


def test_pb052_adapters_that_work_in_training_only(tiny, tmp_path, examples):
    model = ready(tiny, "lora")

    def base_only(module, inputs, output):
        return output if module.training else module.base_layer(*inputs)

    for module in model.modules():
        if hasattr(module, "lora_A"):
            module.register_forward_hook(base_only)
    targets = min(examples, key=lambda example: len(example.ids)).target_length
    assert found(look(model, examples, tmp_path)) == {
        "PB052": "each adapter weight with a gradient was moved by 0.01 and not one of "
        f"{targets * 262} logits changed"
    }


def test_pb053_evaluation_that_changes_training(tiny, tmp_path, examples):
    model = ready(tiny, "full")

    def once_tested_weaker(module, _inputs, output):
        module.tested = getattr(module, "tested", False) or not module.training
        return output * 0.9 if module.tested else output

    layers(model)[0].mlp.register_forward_hook(once_tested_weaker)
    probed = look(model, examples, tmp_path, save_weights=False)
    assert list(found(probed)) == ["PB053"]
    assert found(probed)["PB053"].startswith("after an evaluation the gradient is off by 0.")


@pytest.mark.parametrize("precision", DTYPES)
def test_pb053_four_bit_weights_that_are_repacked_when_tested(tiny, tmp_path, examples, precision):
    """What bitsandbytes does on such a CPU where `models/load` does not stop it."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    if not bitsandbytes.functional.has_avx512bf16():
        pytest.skip("this CPU has no AVX512-BF16")
    model = ready(tiny, "lora", precision, "nf4")
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = True
    probed = look(model, examples, tmp_path, precision=precision, quantization="nf4")
    assert list(found(probed)) == ["PB053"]


def test_pb054_a_head_that_is_lost_in_saving(tiny, tmp_path, examples):
    """The config says that the head is the embedding, so an own one is not loaded."""
    model = ready(tiny, "full")
    model.lm_head.weight = nn.Parameter(1.1 * model.lm_head.weight.detach())

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        tensors = load_file(folder / "model.safetensors")
        tensors.pop("lm_head.weight", None)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    probed = look(model, examples, tmp_path, save=save)
    assert list(found(probed)) == ["PB054"]
    assert (
        "logits of the loaded weights differ from those that were saved" in found(probed)["PB054"]
    )


def test_pb054_adapters_that_are_lost_in_saving(tiny, tmp_path, examples):
    model = ready(tiny, "lora")
    before = state(model)

    def save(folder: Path) -> None:
        model.save_pretrained(folder, save_embedding_layers=False)
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        lost = next(name for name in tensors if "lora_B" in name)
        save_file({n: t for n, t in tensors.items() if n != lost}, file, {"format": "pt"})

    assert list(found(look(model, examples, tmp_path, save=save))) == ["PB054"]
    assert same(before, state(model))


def test_pb054_weights_that_do_not_load(tiny, tmp_path, examples):
    model = ready(tiny, "full")

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])

    message = found(look(model, examples, tmp_path, save=save))["PB054"]
    assert "cannot be loaded" in message


def test_a_run_that_saves_nothing_probes_no_saving(tiny, tmp_path, examples):
    def save(folder: Path) -> None:
        raise AssertionError(folder)

    for method in ("full", "lora"):
        probed = look(ready(tiny, method), examples, tmp_path, save=save, save_weights=False)
        assert probed.failures == ()


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_pb055_a_loss_over_the_tokens_of_its_own_pass(
    tiny, tmp_path, examples, monkeypatch, method, precision
):
    true_loss = CompletionTrainer.compute_loss

    def own_mean(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        own = (inputs["labels"] != -100).sum()
        return true_loss(self, model, inputs, return_outputs, 2 * own)

    monkeypatch.setattr(CompletionTrainer, "compute_loss", own_mean)
    probed = look(ready(tiny, method, precision), examples, tmp_path, precision=precision)
    assert list(found(probed)) == ["PB055"]


def divides_once_more(monkeypatch):
    """Let the Trainer divide the loss by the number of passes, which it is told not to."""
    true_init = CompletionTrainer.__init__

    def init(self, *arguments, **keywords):
        true_init(self, *arguments, **keywords)
        self.loss_is_scaled_for_ga = False

    monkeypatch.setattr(CompletionTrainer, "__init__", init)


def test_pb055_a_trainer_that_divides_once_more(tiny, tmp_path, examples, monkeypatch):
    divides_once_more(monkeypatch)
    message = found(look(ready(tiny, "lora"), examples, tmp_path))["PB055"]
    assert message.startswith("in two passes instead of one the gradient is off by 0.5 of its norm")


def test_a_trainer_that_divides_once_more_stops_where_the_head_trains(
    tiny, tmp_path, examples, monkeypatch
):
    """The head's gradient is taken by then: the loss itself refuses the factor."""
    divides_once_more(monkeypatch)
    model = ready(tiny, "full")
    before = state(model)
    with pytest.raises(RuntimeError, match=r"the loss was scaled by 0\.5 after its gradient"):
        look(model, examples, tmp_path)
    assert same(before, state(model))


@pytest.mark.parametrize(
    ("lengths", "chosen"),
    [
        ([(9, 4), (5, 2), (8, 4), (7, 3)], (1, 2)),  # the shortest, and the next with twice as many
        ([(9, 1), (5, 4), (8, 2), (7, 4)], (1, 2)),  # or half as many
        ([(9, 4), (5, 4), (8, 5), (7, 4)], (1, 2)),  # as near to it as there is
        ([(9, 4), (5, 4)], (1, 0)),
        ([(5, 4)], (0, 0)),
    ],
)
def test_two_short_examples_with_unlike_targets(lengths, chosen):
    assert choose_probed([text([0] * n, n - targets) for n, targets in lengths]) == chosen


def sketch(norm: float, *sample: float) -> Sketch:
    return Sketch(norm, torch.tensor(sample))


def test_distances_of_gradients():
    one = {"a": sketch(3.0, 1.0, 1.0), "b": sketch(4.0, 1.0)}
    assert distance(one, one) == (0.0, "a")
    off = {"a": sketch(3.0, 1.0, 1.0), "b": sketch(4.0, 1.5)}
    assert distance(one, off) == (pytest.approx(0.5 * 4 / 5), "b")
    longer = {"a": sketch(3.0, 0.0), "b": sketch(4.0, 1.0)}
    assert distance(longer, {**longer, "a": sketch(4.0, 0.0)}) == (pytest.approx(1 / 5), "a")
    for absent in (None, sketch(float("nan"), float("nan"), 1.0)):
        assert distance(one, {**one, "a": absent}) == (float("inf"), "a")


def test_gradients_that_are_not_there():
    zero, fine, nan = sketch(0.0, 0.0), sketch(1.0, 1.0), sketch(float("nan"), 0.0)
    assert gradient_failures({"x.lora_A.default": zero, "x.lora_B.default": fine}) == ()
    failures = gradient_failures({"a": None, "b": zero, "c": fine, "d": nan})
    assert {failure.id: failure.found for failure in failures} == {
        "PB050": "a: no gradient (2 of 4 tensors)",
        "PB051": "d: the gradient is not finite (1 of 4 tensors)",
    }
