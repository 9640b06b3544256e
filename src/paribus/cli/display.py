"""What `paribus run` shows while it works: on a terminal a live line for each run, else plain ones.

quickstart  2 of 5 runs done  2:10 so far  about 3:20 left
full-main seed 0 training ━━━━━━━╸━━━━ 12/20 steps  loss 0.412  2.10 examples/s  7.9 GB  0:31 left
lora-main seed 0 testing  ━━╸━━━━━━━━━ 25/100 problems  1.92 problems/s  1.3 GB  0:39 left
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
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


@dataclass(slots=True)
class _Row:
    """A run that is on its way: since when, the last it said, and when that was printed."""

    began: float
    progress: Progress
    printed: float = 0.0


class Display:
    """Shows each run's progress. Call it with (spec, progress); use it as a context."""

    def __init__(self, console: Console, experiment: str, runs: Sequence[RunSpec]) -> None:
        """Show an experiment's `runs`, its trials of learning rates among them."""
        self.console = console
        self.experiment = experiment
        # By title: a run's learning rate is only known once its arm's trials are done.
        self.trials = [run.title for run in runs if run.trial]  # none where only a budget is known
        self.runs = [run.title for run in runs if not run.trial]
        self.rows: dict[str, _Row] = {}
        self.over: set[str] = set()
        self.spent: list[float] = []
        self.started = time.monotonic()
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
            if progress.stage != "elsewhere":
                return
        if progress.stage in ("complete", "kept", "failed"):
            self._end(spec, progress.stage)
        else:
            self._go_on(spec, progress)
        if self.console.is_terminal:
            self.live.update(self._panel())

    def _end(self, spec: RunSpec, stage: str) -> None:
        row = self.rows.pop(spec.title, None)
        self.over.add(spec.title)
        text = "complete, by another command" if stage == "kept" else stage
        if row is not None and stage != "kept":
            took = time.monotonic() - row.began
            text += f" after {_clock(took)}"
            self.spent += [took] * (stage == "complete" and not spec.trial)
        self.console.print(f"{spec.title}: {text} ({self._place(spec)})")

    def _go_on(self, spec: RunSpec, progress: Progress) -> None:
        now = time.monotonic()
        row = self.rows.get(spec.title)
        if row is None or progress.stage == "loading":
            row = self.rows[spec.title] = _Row(now, progress)
            fresh = True
        else:
            fresh = progress.doing != row.progress.doing
            row.progress = progress
        quiet = self.console.is_terminal or progress.stage == "elsewhere"
        told = fresh or progress.done == progress.total or now - row.printed >= _PLAIN_SECONDS
        if told and not quiet:
            row.printed = now
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

    def _panel(self) -> RenderableType:
        """Return a line for the whole, and one for each run that is on its way."""
        parts = [
            f"{len(self.over.intersection(titles))} of {len(titles)} {kind} done"
            for kind, titles in (("trials", self.trials), ("runs", self.runs))
            if titles
        ]
        parts.append(f"{_clock(time.monotonic() - self.started)} so far")
        left = self._seconds_left()
        parts += [] if left is None else [f"about {_clock(left)} left"]
        head = Text.assemble((self.experiment, "bold"), "  ", "  ".join(parts))
        rows = Table.grid(padding=(0, 1))
        for _ in range(4):
            rows.add_column(no_wrap=True)
        room = max(1, self.console.height - 4)
        for title, row in list(self.rows.items())[:room]:
            progress = row.progress
            bar = ProgressBar(total=progress.total or None, completed=progress.done, width=12)
            rows.add_row(Text(title, "bold"), progress.doing, bar, _figures(progress))
        if len(self.rows) > room:
            rows.add_row(f"and {len(self.rows) - room} more")
        return Group(head, rows)

    def _seconds_left(self) -> float | None:
        """Return how long all runs still take if each takes as those before; None before any."""
        ours = [row for row in self.rows.values() if row.progress.stage != "elsewhere"]
        if not self.spent or not ours:
            return None
        mean, now = fmean(self.spent), time.monotonic()
        due = len(self.runs) - len(self.over.intersection(self.runs))
        gone = sum(min(mean, now - row.began) for row in ours)
        return max(0.0, due * mean - gone) / len(ours)


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
