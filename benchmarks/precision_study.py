"""Where does bf16 cost accuracy? Each model is trained once and tested under several roundings.

    python benchmarks/precision_study.py --out study.jsonl --keep folder

The main arms of the quickstart are trained in bf16 and in fp32. The fp32 masters of each are kept
and tested with the same problems, by paribus's own decoder, one rounding after another:

    weights   fp32   as trained; bf16: rounded; gains: rounded but for the norms' gains
    compute   the dtype of products and of the residual stream
    logits    the dtype of the product with the head

Products in bf16 round their weights, so bf16 compute with unrounded weights differs from `gains`
by nothing. Each model and each test is a line of the file when it ends, and is not done again.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from paribus.config.load import load
from paribus.config.spec import RunSpec
from paribus.design.matrix import expand
from paribus.evaluation.engine import decoder, likelihood
from paribus.evaluation.engine import decoding as drafts
from paribus.evaluation.engine.generate import generate
from paribus.evaluation.scoring import score
from paribus.models.fast import blocked
from paribus.models.load import for_inference, load_model, make_trainable
from paribus.models.tiles import DECODED_TILE
from paribus.planning.inputs import Inputs
from paribus.planning.prepare import prepare
from paribus.records import Outcome
from paribus.running import testing
from paribus.seeds import derive
from paribus.training.train import StepRecord, train

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "quickstart.yaml"
ARMS = ("full", "lora")
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
TESTS = (
    ("bf16", "bf16", "bf16"),
    ("fp32", "fp32", "fp32"),
    ("bf16", "fp32", "fp32"),
    ("bf16", "bf16", "fp32"),
    ("gains", "bf16", "bf16"),
)
"""Weights, compute and logits; the first is what paribus tests in bf16, the second in fp32."""

EXAMPLES, LIKELIHOODS = 192, 25


def main() -> None:
    """Train and test whatever is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="results, a JSON object a line")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the trained weights")
    parser.add_argument("--problems", type=int, default=100, help="how many are tested")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--training", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--tests", type=int, default=len(TESTS), help="only the first of them")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    given = parser.parse_args()
    given.keep.mkdir(parents=True, exist_ok=True)
    runs = expand(load(EXPERIMENT, [f"data.train_size={EXAMPLES}"])).runs
    for seed in given.seeds:
        for precision in given.training:
            for spec in (run for run in runs if run.arm in given.arms):
                study(replace(spec, replicate=seed), precision, given)


def study(spec: RunSpec, precision: str, given: argparse.Namespace) -> None:
    """Train one model, unless its weights are kept, and test it."""
    data = replace(spec.config.data, test_size=given.problems)
    spec = replace(spec, config=replace(spec.config, data=data))
    inputs = prepare(spec.config, spec.seed)
    facts = {"arm": spec.arm, "seed": spec.replicate, "training": precision}
    masters = given.keep / f"{spec.arm}-{spec.replicate}-{precision}.safetensors"
    if not masters.exists():
        with appending(given.out, facts | {"kind": "training"}) as row:
            row |= trained(spec, inputs, DTYPES[precision], masters)
    for test in TESTS[: given.tests]:
        settings = facts | dict(zip(("weights", "compute", "logits"), test, strict=True))
        if test[0] == "gains" and spec.config.method == "lora":
            continue  # adapters have no norms
        if not any(settings.items() <= row.items() for row in lines(given.out)):
            with appending(given.out, settings | {"kind": "test"}) as row:
                row |= tested(spec, inputs, load_file(masters), test)


def trained(spec: RunSpec, inputs: Inputs, compute: torch.dtype, masters: Path) -> dict[str, Any]:
    """Train as `paribus run` does and save the masters of what was trained."""
    model = built(spec, inputs, compute)
    losses: list[float] = []

    def note(step: StepRecord) -> None:
        losses.append(step.loss)
        print(f"step {step.step} of {step.num_steps}: loss {step.loss:.3f}", flush=True)

    train(
        model,
        inputs.examples,
        spec.config.training,
        seed=spec.stream,
        compute=compute,
        folder=masters.parent,
        on_step=note,
    )
    whole = masters.with_suffix(".part")
    save_file({name: p.detach().clone() for name, p in trainable(model)}, whole)
    whole.rename(masters)
    return {"losses": losses}


def built(spec: RunSpec, inputs: Inputs, compute: torch.dtype) -> nn.Module:
    """Return the model as it is before its first step."""
    device = torch.device("cpu")
    model = load_model(inputs.source, compute, device, spec.config.quantization)
    torch.manual_seed(derive(spec.stream, "init"))
    return make_trainable(model, spec.config.method, spec.config.lora, compute)


def trainable(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield names and values of what is trained."""
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def tested(
    spec: RunSpec, inputs: Inputs, masters: dict[str, Tensor], test: tuple[str, str, str]
) -> dict[str, Any]:
    """Return which problems are solved, and the likelihood of each gold solution."""
    weights, compute, logits = test
    model = built(spec, inputs, DTYPES[compute])
    with torch.no_grad():
        for name, parameter in trainable(model):
            parameter.copy_(masters[name] if weights == "fp32" else masters[name].bfloat16())
    for_inference(model, DTYPES[compute])
    if weights == "gains":
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and name in masters:
                parameter.data = masters[name]
    asked = inputs.prompt_sets[0]
    with multiplying_logits_in(DTYPES[logits]):
        found = likelihood.likelihoods(
            model,
            inputs.gold[:LIKELIHOODS],
            [problem.id for problem in inputs.tested[:LIKELIHOODS]],
            batch_size=spec.config.evaluation.at_once,
            on_batch=lambda done: None,
        )
        blocked.use(model)
        generations = generate(
            model,
            inputs.tokenizer,
            asked.prompts,
            stop_ids=testing._stop_ids(model, inputs, asked),  # noqa: SLF001,
            max_new_tokens=spec.config.evaluation.max_new_tokens,
            batch_size=spec.config.evaluation.at_once,
            on_batch=lambda done: None,
        )
    return {
        "solved": [int(score(each, "canonical") is Outcome.CORRECT) for each in generations],
        "nll": [each.nll for each in found],
        "tokens": [each.tokens for each in found],
    }


@contextmanager
def multiplying_logits_in(dtype: torch.dtype) -> Iterator[None]:
    """Let decoder and likelihood multiply hidden states with the head in `dtype`."""
    highest, losses = decoder.highest, likelihood._losses  # noqa: SLF001

    def parts(head: nn.Linear) -> list[blocked.Product]:
        weight: Tensor = head.weight.to(dtype)
        rows = range(0, len(weight), DECODED_TILE)
        return [blocked.product(weight[row : row + DECODED_TILE], None) for row in rows]

    def losses_in(hidden: Tensor, head: Tensor, labels: Tensor, softcap: float | None) -> Tensor:
        return losses(hidden.to(dtype), head.to(dtype), labels, softcap)

    with (
        patch.object(decoder, "parts", parts),
        patch.object(decoder, "highest", lambda hidden, parts: highest(hidden.to(dtype), parts)),
        patch.object(likelihood, "_losses", losses_in),
        patch.object(drafts, "NUMBERS", (0,)),  # the same tokens in a pass, whatever the rounding
    ):
        yield


@contextmanager
def appending(path: Path, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Append `row`, and what is added to it, with the time it took, once it is whole."""
    started, used = time.perf_counter(), time.process_time()
    yield row
    row |= {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used}
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print({key: value for key, value in row.items() if not isinstance(value, list)}, flush=True)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what is in the file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
