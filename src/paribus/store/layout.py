"""Where everything of an experiment lies on disk. The only module that spells these names.

runs/<experiment>/
  experiment.yaml                resolved values, the origin of each, arms and contrasts
  <arm>/seed-<k>/
    spec.json                    what defines the run, and its fingerprint
    events.jsonl                 one line per training step and stage
    weights/                     tuned weights or adapter
    generations/<protocol>.jsonl
    result.json                  what was measured
    failure.json                 only after a failure
    manifest.json                written last: its presence means complete
  report/index.html  findings.json
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def spec(self) -> Path:
        """What defines the run."""
        return self.path / "spec.json"

    @property
    def events(self) -> Path:
        """Append-only log of stages and steps."""
        return self.path / "events.jsonl"

    @property
    def weights(self) -> Path:
        """Folder of tuned weights or adapter."""
        return self.path / "weights"

    @property
    def result(self) -> Path:
        """Measured figures."""
        return self.path / "result.json"

    @property
    def failure(self) -> Path:
        """Why the run stopped, if it did."""
        return self.path / "failure.json"

    @property
    def manifest(self) -> Path:
        """Sizes and hashes of all the others."""
        return self.path / "manifest.json"

    def generations(self, protocol: str) -> Path:
        """Raw outputs under one protocol."""
        return self.path / "generations" / f"{protocol}.jsonl"

    @property
    def arm(self) -> str:
        """Name of the arm this run belongs to."""
        return self.path.parent.name

    @property
    def replicate(self) -> int:
        """Index of the seed."""
        return int(self.path.name.removeprefix("seed-"))


@dataclass(frozen=True, slots=True)
class ExperimentFolder:
    """The files of one experiment."""

    path: Path

    @property
    def description(self) -> Path:
        """Resolved experiment."""
        return self.path / "experiment.yaml"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report" / "index.html"

    @property
    def findings(self) -> Path:
        """The conclusions for programs."""
        return self.path / "report" / "findings.json"

    def run(self, arm: str, replicate: int) -> RunFolder:
        """The folder of one run of `arm`."""
        return RunFolder(self.path / arm / f"seed-{replicate}")

    def runs(self) -> list[RunFolder]:
        """Every run begun so far, sorted by arm and seed."""
        folders = [RunFolder(path.parent) for path in self.path.glob("*/seed-*/spec.json")]
        return sorted(folders, key=lambda folder: (folder.arm, folder.replicate))
