"""What travels through a run: what it is, what it reads, where it lies, what it computes on."""

from dataclasses import dataclass

import torch

from paribus.config.schema import ArmConfig
from paribus.config.spec import RunSpec
from paribus.planning.inputs import Inputs
from paribus.running.progress import OnProgress, Progress
from paribus.store.layout import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run on its way.

    Attributes:
        spec: what defines its result.
        inputs: what it trains and is tested on, as tokens.
        folder: where it is stored.
        device: what it computes on.
        compute: dtype of its matrix products.
        on_progress: whom to tell how far it is.
        sharded: whether each rank holds a part of every weight while it trains.
    """

    spec: RunSpec
    inputs: Inputs
    folder: RunFolder
    device: torch.device
    compute: torch.dtype
    on_progress: OnProgress
    sharded: bool = False

    @property
    def config(self) -> ArmConfig:
        """The arm's values."""
        return self.spec.config

    def note(self, text: str) -> None:
        """Report a message that the user must see once."""
        self.on_progress(Progress(stage="loading", note=text))
