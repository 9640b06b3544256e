"""Load weights, and make them trainable under one precision policy.

| method | trainable weights        | frozen weights | compute |
|--------|--------------------------|----------------|---------|
| full   | fp32 master              | none           | bf16    |
| lora   | fp32 master (adapters)   | bf16           | bf16    |
| none   | none                     | bf16           | bf16    |

With `precision: fp32` everything is fp32. The residual stream is bf16 in every row, so that the
arms compute the same function from the same numbers at step 0.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM

from paribus.config.schema import LoraConfig
from paribus.errors import ConfigError, ModelError
from paribus.models.source import Source


def load_model(source: Source, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Return the causal language model in the source's folder, in `dtype`, on `device`.

    Raises ModelError if the folder's weights do not fill the model exactly.
    """
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.path,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"the model in {source.path} cannot be loaded: {error}",
            "check that the folder is whole and of a kind transformers knows",
        ) from error
    model, info = loaded
    wrong = {kind: sorted(map(str, names)) for kind, names in info.items() if names}
    if wrong:
        raise ModelError(
            f"the weights in {source.path} do not match the model: {wrong}",
            "check that config.json and the safetensors files belong together",
        )
    placed: nn.Module = model.to(device)
    return placed


def make_trainable(
    model: nn.Module, method: str, lora: LoraConfig, compute: torch.dtype
) -> nn.Module:
    """Return `model` ready for `method` ("full" or "lora"), in place of the table above."""
    _fix_stream(model, compute)
    if method == "lora":
        return _add_adapters(model, lora)
    return model.float().requires_grad_(True)


def for_inference(model: nn.Module, compute: torch.dtype) -> nn.Module:
    """Round every weight to `compute` and stop gradients, in place. What is tested is this.

    Buffers stay as they are: rotary frequencies must not be rounded.
    """
    for parameter in model.parameters():
        parameter.grad = None
        parameter.requires_grad_(False)
        parameter.data = parameter.data.to(compute)
    return model.eval()


def load_adapter(model: nn.Module, folder: Path) -> nn.Module:
    """Return `model` with the adapter saved in `folder`; see `for_inference`."""
    from peft import PeftModel

    adapted: nn.Module = PeftModel.from_pretrained(model, str(folder), is_trainable=False)
    return adapted


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
    """Return (trainable, total) parameters; tied weights count once."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)


def _add_adapters(model: nn.Module, lora: LoraConfig) -> nn.Module:
    from peft import LoraConfig as PeftLoraConfig
    from peft import get_peft_model

    linear = {name.rpartition(".")[2] for name, m in model.named_modules()
              if isinstance(m, nn.Linear)}  # fmt: skip
    unknown = sorted(set(lora.targets) - linear)
    if unknown:
        raise ConfigError(
            f"lora.targets names no linear layer of this model: {', '.join(unknown)}",
            f"choose from {', '.join(sorted(linear - {'lm_head'}))}",
        )
    model.requires_grad_(False)
    return get_peft_model(
        model,
        PeftLoraConfig(
            task_type="CAUSAL_LM",
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.targets),
        ),
        autocast_adapter_dtype=True,
    )


def _fix_stream(model: Any, compute: torch.dtype) -> None:
    """Let the residual stream run in `compute`, whatever the embedding's master dtype is."""
    embedding = model.get_input_embeddings()
    if hasattr(embedding, "embed_scale"):  # Gemma 3 rounds its scale to the weights' dtype
        embedding.embed_scale = embedding.embed_scale.to(compute).float()
    embedding.register_forward_hook(lambda _module, _inputs, output: output.to(compute))
