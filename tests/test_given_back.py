"""What training took is free again when testing begins, on a CPU and by the ways of a GPU."""

import gc
from typing import Any

import pytest
import torch

import gpu_ways
from interrupted import spec_of
from paribus.running import run, trained
from paribus.running.isolated import run_here
from paribus.store.layout import RunFolder

FULL: dict[str, Any] = {"method": "full", "training.save_weights": False}
LORA = {"method": "lora", "lora.dropout": 0.1, "lora.r": 4, "training.micro_batch": 2}
VALIDATED = {"data.validation_size": 7, "evaluation.at": [2], "evaluation.at_generates": True}


def tensors() -> list[torch.Tensor]:
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]


def storages(of) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in of}


class AtTests:
    """What is alive when the tests of a run begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before = storages(tensors())
        self.trained: set[int] = set()
        self.left: list[torch.Tensor] = []
        self.gradients = 0
        train, engine = trained.train, run.engine

        def training(model, *args, **kwargs):
            self.trained = {p.numel() for p in model.parameters() if p.requires_grad}
            return train(model, *args, **kwargs)

        def testing(model, job):
            own = storages([*model.parameters(), *model.buffers()])
            self.gradients = sum(p.grad is not None for p in model.parameters())
            self.left = [
                tensor
                for tensor in tensors()
                if tensor.untyped_storage().data_ptr() not in own | self.before
            ]
            return engine(model, job)

        monkeypatch.setattr(trained, "train", training)
        monkeypatch.setattr(run, "engine", testing)


class Interrupted(BaseException):
    pass


CASES = [  # an arm, as on a GPU, interrupted
    (FULL, False, True),
    (LORA, False, False),
    (FULL, True, False),
    (LORA, True, True),
]


@pytest.mark.parametrize(("values", "on_a_gpu", "interrupted"), CASES)
def test_neither_states_nor_gradients_nor_copies_outlive_training(
    tiny, tmp_path, monkeypatch, values, on_a_gpu, interrupted
):
    if on_a_gpu:
        gpu_ways.take(monkeypatch)
    spec = spec_of(tiny, tmp_path, {**VALIDATED, **values})
    folder = RunFolder(tmp_path / "runs" / "tiny" / spec.arm / "seed-0")
    seen = AtTests(monkeypatch)

    def stop(progress):
        if progress.stage == "training" and progress.done == 3:
            raise Interrupted

    if interrupted:
        with pytest.raises(Interrupted):
            run_here(spec, folder, stop)
        assert seen.trained
        assert not seen.left
        seen = AtTests(monkeypatch)
    run_here(spec, folder, lambda _: None)
    assert seen.trained
    assert seen.gradients == 0
    alike = [(t.shape, t.dtype) for t in seen.left if t.numel() in seen.trained]
    assert not alike
    assert sum(storage.nbytes() for storage in {t.untyped_storage() for t in seen.left}) < 2**15
