"""What `paribus run` shows while it works: one live line on a terminal, plain lines elsewhere.

quickstart  run 2 of 5  full-main seed 0  2:10 so far
training ━━━━━━━━━━━━╸━━━━━━━  12/20 steps  loss 0.412  2.10 examples/s  7.9 GB  0:31 left
"""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from paribus.config.spec import RunSpec
from paribus.planning.devices import GB
from paribus.running.progress import Progress

_PLAIN_SECONDS = 15.0
"""Between two lines of the same stage where there is no terminal."""


class Display:
    """Shows each run's progress. Call it with (spec, progress); use it as a context."""

    def __init__(self, console: Console, experiment: str, runs: Sequence[RunSpec]) -> None:
        """Show an experiment's `runs`, its trials of learning rates among them."""
        self.console = console
        self.experiment = experiment
        # By title: a run's learning rate is only known once its arm's trials are done.
        self.trials = [run.title for run in runs if run.trial]  # none where only a budget is known
        self.runs = [run.title for run in runs if not run.trial]
        self.doing = ""
        self.printed = 0.0
        self.run_started = self.started = time.monotonic()
        self.live = Live(self._checking(), console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self.live.start()
        else:
            self.console.print(f"{self.experiment}: checking data, prompts and weights")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()

    def __call__(self, spec: RunSpec, progress: Progress) -> None:
        """Show `progress` of the run of `spec`."""
        if progress.note:
            self.console.print(f"{spec.title}: {escape(progress.note)}")
            return
        now = time.monotonic()
        fresh = progress.doing != self.doing
        self.doing = progress.doing
        if fresh and progress.stage == "loading":
            self.run_started = now
        if progress.stage in ("complete", "kept", "failed"):
            took = _clock(now - self.run_started)
            self.console.print(f"{spec.title}: {progress.stage} after {took} ({self._place(spec)})")
        elif self.console.is_terminal:
            self.live.update(self._panel(spec, progress))
        elif fresh or progress.done == progress.total or now - self.printed >= _PLAIN_SECONDS:
            self.printed = now
            self.console.print(f"{spec.title}: {progress.doing} {_figures(progress)}".rstrip())

    def _place(self, spec: RunSpec) -> str:
        """Return `trial 2 of 10`, or `run 1 of 5`; `trial 2` if nobody knows how many there are."""
        kind, titles = ("trial", self.trials) if spec.trial else ("run", self.runs)
        if spec.title not in titles:
            return f"{kind} {spec.number}"
        return f"{kind} {titles.index(spec.title) + 1} of {len(titles)}"

    def _checking(self) -> RenderableType:
        text = f"{self.experiment}: checking data, prompts and weights (first time: 1 minute)"
        return Spinner("dots", text=text)

    def _panel(self, spec: RunSpec, progress: Progress) -> RenderableType:
        elapsed = _clock(time.monotonic() - self.started)
        head = Text.assemble(
            (self.experiment, "bold"),
            f"  {self._place(spec)}  ",
            (spec.title, "bold"),
            f"  {elapsed} so far",
        )
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=progress.total or None, completed=progress.done, width=20)
        row.add_row(progress.doing, bar, _figures(progress))
        return Group(head, row)


def _figures(progress: Progress) -> str:
    unit = "steps" if progress.stage == "training" else "problems"
    rate = "examples/s" if progress.stage == "training" else "problems/s"
    parts = [
        f"{progress.done}/{progress.total} {unit}" if progress.total else "",
        "" if progress.loss is None else f"loss {progress.loss:.3f}",
        ""
        if progress.examples_per_second is None
        else f"{progress.examples_per_second:.2f} {rate}",
        "" if progress.memory_bytes is None else f"{progress.memory_bytes / GB:.1f} GB",
        "" if progress.seconds_left is None else f"{_clock(progress.seconds_left)} left",
    ]
    return "  ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
