"""Load weights, and make them trainable under one precision policy.

| method            | trainable weights        | frozen weights             | compute |
|-------------------|--------------------------|----------------------------|---------|
| full              | fp32 master              | none                       | bf16    |
| full + train_only | fp32 master (those)      | bf16                       | bf16    |
| lora              | fp32 master (adapters)   | bf16                       | bf16    |
| by peft           | fp32 master (additions)  | bf16                       | bf16    |
| lora + nf4        | fp32 master (adapters)   | nf4; norms, embedding bf16 | bf16    |
| none              | none                     | bf16                       | bf16    |

With `precision: fp32` whatever is not nf4 is fp32. The residual stream is bf16 in every row, so
that the arms compute the same function from the same numbers at step 0; only rounding the base
to 4 bits changes it. Nothing is upcast for 4 bits: peft's own preparation would make the
embedding fp32, another 1.05 GB for Gemma 2B (256,000 x 2,048 weights).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import prod
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM

from paribus.config.peft_method import is_peft
from paribus.config.schema import LoraConfig
from paribus.errors import ConfigError, ModelError
from paribus.files import read_json
from paribus.models import ranks
from paribus.models.device import is_out_of_memory
from paribus.models.fast import attention, layers
from paribus.models.fast.starts import make_plain
from paribus.models.kernels import on_gpu
from paribus.models.peft_methods import add_method, round_kept
from paribus.models.shapes import matching_weights
from paribus.models.source import ModelSource, refuse_unsafe


def load_model(
    source: ModelSource, dtype: torch.dtype, device: torch.device, quantization: str | None = None
) -> nn.Module:
    """Return the causal language model in the source's folder, in `dtype`, on `device`.

    With `quantization` "nf4" the decoder's linear layers are rounded to 4 bits, the output head
    not. Raises ModelError if the folder's weights do not fill the model exactly or are already
    quantised, ConfigError if bitsandbytes is not installed, and what says that memory ran out.
    """
    rounding = {} if quantization is None else _four_bits(dtype, device)
    refuse_unsafe(source.path)
    try:
        _refuse_quantised(source)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.path,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            output_loading_info=True,
            **rounding,
        )
    except (
        ImportError,
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        SafetensorError,
    ) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"the model in {source.path} cannot be loaded: {error}",
            "check that the folder is complete, and that transformers knows its model_type",
        ) from error
    model, info = loaded
    info["mismatched_keys"] = [*info["mismatched_keys"], *_mismatched(model)]
    wrong = {kind: sorted(map(str, names)) for kind, names in info.items() if names}
    if wrong:
        raise ModelError(
            f"the weights in {source.path} do not match the model: {wrong}",
            "check that config.json and the safetensors files belong together",
        )
    placed: nn.Module = model.to(device)
    _keep_layout(placed)
    return use_own_layers(placed)


def use_own_layers(model: nn.Module) -> nn.Module:
    """Let paribus' attention and norms take the place of transformers' own, in place.

    Raises ModelError if the model's attention cannot be replaced.
    """
    attention.use(model)
    layers.use_fast_norms(model)
    return model


def make_trainable(
    model: nn.Module,
    method: str,
    lora: LoraConfig,
    compute: torch.dtype,
    train_only: Sequence[str] = (),
) -> nn.Module:
    """Return `model` ready for `method`, by the table above, in place.

    Raises ConfigError for `full` on a 4-bit model, or for names of nothing in the model.
    """
    _fix_stream(model, compute)
    if is_peft(method):
        return add_method(model, method, compute)
    if method == "lora":
        _, head, _ = decoder_and_head(model)
        adapted = layers.add_adapters(model, lora, head)
        _sparse_embedding(adapted)
        return adapted
    if any(hasattr(parameter, "quant_state") for parameter in model.parameters()):
        raise ConfigError(
            f"method={method!r} cannot train weights of 4 bits (quantization='nf4')",
            "set method: lora, or quantization: null",
        )
    if train_only:
        _train_only(model, train_only)
    else:
        model = model.float().requires_grad_(True)
    _sparse_embedding(model)
    return model


def _train_only(model: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze all weights but those that `patterns` are found in the names of."""
    named = dict(model.named_parameters(remove_duplicate=False))  # a tied head by its name too
    model.requires_grad_(False)
    for name in matching_weights(patterns, named):
        named[name].data = named[name].data.float()
        named[name].requires_grad_(True)


def for_inference(model: nn.Module, compute: torch.dtype) -> nn.Module:
    """Round every weight to `compute` and stop gradients, in place. What is tested is this.

    Buffers stay as they are: rotary frequencies must not be rounded. So do 4-bit weights, which
    are packed two to an integer: what is tested is the base that was trained on. Adapters that
    started from weights become plain ones.
    """
    layers.forget_copies(model)
    make_plain(model)
    round_kept(model, compute)
    for parameter in model.parameters():
        parameter.grad = None
        parameter.requires_grad_(False)
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(compute)
    attention.use(model)
    return model.eval()


@contextmanager
def as_tested(model: nn.Module, compute: torch.dtype) -> Iterator[None]:
    """Let `for_inference` round the weights for a block; afterwards all is as it was, bit for bit.

    The weights in training are kept, not rounded back. Packed 4-bit weights are not rounded.
    """
    modes = [(module, module.training) for module in model.modules()]
    kept = [
        (parameter, parameter.data, parameter.requires_grad, parameter.grad)
        for parameter in model.parameters()
        if parameter.is_floating_point()
    ]
    put_back = make_plain(model)
    try:
        for_inference(model, compute)
        yield
    finally:
        put_back()
        for parameter, data, trains, gradient in kept:
            parameter.data = data
            parameter.requires_grad_(trains)
            parameter.grad = gradient
        for module, training in modes:
            module.training = training


def decoder_and_head(model: nn.Module) -> tuple[nn.Module, nn.Linear, float | None]:
    """Return the decoder stack, the output head and the final logit soft-cap (or None).

    Works through a PEFT wrapper: adapters live inside the decoder's own linear layers.
    """
    wrapped: Any = model
    causal = wrapped.get_base_model() if hasattr(wrapped, "get_base_model") else wrapped
    return (
        causal.get_decoder(),
        causal.get_output_embeddings(),
        getattr(causal.config, "final_logit_softcapping", None),
    )


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return (trainable, total) parameters; tied weights count once, packed ones each."""
    sizes = [
        (prod(p.quant_state.shape) if hasattr(p, "quant_state") else p.numel(), p.requires_grad)
        for p in model.parameters()
    ]
    return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)


def _refuse_quantised(source: ModelSource) -> None:
    """Raise ModelError if the checkpoint itself is quantised: no row of the table is about it."""
    stored = read_json(source.path / "config.json").get("quantization_config")
    if stored:
        kind = stored.get("quant_method", "an unnamed method")
        raise ModelError(
            f"the weights in {source.path} are already quantised ({kind})",
            "give the original weights; `quantization: nf4` rounds them as they are loaded",
        )


def _four_bits(compute: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Return the loader's arguments for NF4 with doubly quantised scales (arXiv:2305.14314)."""
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            "quantization='nf4' needs bitsandbytes, which is not installed",
            "install it (pip install 'paribus[8bit]'), or set quantization: null",
        )
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def _mismatched(model: nn.Module) -> list[tuple[str, list[int], list[int]]]:
    """Return name, stored and expected shape of 4-bit weights that do not fit their layer.

    The loader compares shapes before it packs weights, and those it will pack it does not compare.
    """
    modules: list[tuple[str, Any]] = list(model.named_modules())
    shapes = [
        (
            f"{name}.weight",
            list(layer.weight.quant_state.shape),
            [layer.out_features, layer.in_features],
        )
        for name, layer in modules
        if isinstance(layer, nn.Linear) and hasattr(layer.weight, "quant_state")
    ]
    return [(name, stored, expected) for name, stored, expected in shapes if stored != expected]


def _keep_layout(model: nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights when they are first evaluated on a CPU.

    With AVX512-BF16 the first forward pass in eval mode repacks them in place, for a product that
    has no gradient; what is trained after it gets wrong gradients and no error (median relative
    error 0.7 on the tiny model, bitsandbytes 0.50.2).
    """
    modules: list[Any] = list(model.modules())
    for module in modules:
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _sparse_embedding(model: Any) -> None:
    """Let a pass make gradients for the embeddings of its own tokens, not of the vocabulary.

    Not on a GPU, which would be stopped to count the tokens.
    """

    def densify(weight: Any) -> None:
        if weight.grad.is_sparse:  # a tied head's gradient is dense, and they are added to it
            weight.grad = weight.grad.to_dense()

    embedding = model.get_input_embeddings()
    if hasattr(embedding, layers.SAVED):
        embedding = embedding.modules_to_save.default
    alone = ranks.count() == 1  # else gradients are reduced, which sparse ones cannot be
    if not embedding.weight.requires_grad or on_gpu(embedding.weight.device) or not alone:
        return
    embedding.sparse = True
    embedding.weight.register_post_accumulate_grad_hook(densify)


def _fix_stream(model: Any, compute: torch.dtype) -> None:
    """Compute the residual stream in `compute`, for any dtype of the embedding."""
    embedding = model.get_input_embeddings()
    if hasattr(embedding, "embed_scale"):  # Gemma 3 rounds its scale to the weights' dtype
        embedding.embed_scale = embedding.embed_scale.to(compute).float()
    embedding.register_forward_hook(lambda _module, _inputs, output: output.to(compute))
