"""Where everything of an experiment lies on disk. The only module that spells these names.

runs/<experiment>/
  experiment.yaml                resolved values, the origin of each, arms, contrasts, trials
  ledger.jsonl                   one line for each reading of the test split; never shortened
  tuning.json                    every trial of `tune`, and what was chosen
  tuning/<arm>/lr-<rate>/        a trial: the files of a run, tested on validation problems;
                                 trial-<k>/ where a space is searched
  <arm>/seed-<k>/
    spec.json                    what defines the run, and its fingerprint
    events.jsonl                 one line per training step and stage
    weights/                     tuned weights or adapter
    generations/<protocol>.jsonl zero_shot-raw.jsonl, few_shot-chat-calculator.jsonl, ...
    heldout.jsonl                likelihood of each tested problem's gold solution
    tasks/<task>/                generations and heldout.jsonl of a further task
    result.json                  what was measured
    failure.json                 only after a failure
    manifest.json                written last: its presence means complete
    lock                         held by the process that works on the run
    trackers/                    what TensorBoard reads, if it is asked for
    checkpoints/                 only until then: where training resumes from
    pieces/                      only until then: what was tested so far
  lock                           shared by every `paribus run` of the experiment
  files.lock                     held while a file of the experiment is written
  .run.<8 hex digits>/           a run on its way here from another store (`paribus merge`)
  report/index.html  findings.json
    manifest.json                written last: hashes of the two
"""

import re
from dataclasses import dataclass
from pathlib import Path

from paribus.config.spec import RunSpec

_REPLICATE = re.compile(r"seed-\d+")
_FURTHER, _TASKS, _TUNING = "further", "tasks", "tuning"
_GENERATIONS = "generations"
_OF_THE_EXPERIMENT = frozenset(
    {"experiment.yaml", "ledger.jsonl", "tuning.json", _TUNING, "report", "lock", "files.lock"}
)


def is_replicate(name: str) -> bool:
    """Return whether a folder called so is that of a run: `seed-0`."""
    return bool(_REPLICATE.fullmatch(name))


def is_taken(name: str) -> bool:
    """Return whether no experiment and no arm may be called so: it means something else here."""
    return is_replicate(name.lower()) or name.lower() in _OF_THE_EXPERIMENT


def reading_of(task: str, protocol: str) -> str:
    """Return what the ledger calls a reading: its protocol, behind the name of a further task."""
    return f"{task}: {protocol}" if task else protocol


def file_name(protocol: str) -> str:
    """Return a protocol's full name as files are named after it: `few_shot-chat-calculator`."""
    return protocol.replace("/", "-").replace("+", "-").replace(": ", "-")


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

    @property
    def lock(self) -> Path:
        """Lock of the process that works on the run."""
        return self.path / "lock"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints; removed once the run is complete."""
        return self.path / "checkpoints"

    @property
    def pieces(self) -> Path:
        """Folder of finished pieces of tests; removed once the run is complete."""
        return self.path / "pieces"

    @property
    def further(self) -> "RunFolder":
        """Where a complete run is tested further, until what is made there takes its place."""
        return RunFolder(self.pieces / _FURTHER)

    @property
    def heldout(self) -> Path:
        """Likelihoods of the gold solutions."""
        return self.path / "heldout.jsonl"

    def generations(self, protocol: str) -> Path:
        """Raw outputs under one protocol, by its full name."""
        return self.path / _GENERATIONS / f"{file_name(protocol)}.jsonl"

    def of_task(self, task: str) -> "RunFolder":
        """Where generations and likelihoods of a further task lie; of the arm's own, "", here."""
        return RunFolder(self.path / _TASKS / task) if task else self

    def size_of_texts(self) -> int:
        """Return the bytes of all generations, of further tasks too; 0 of a run without any."""
        return sum(path.stat().st_size for path in self.path.glob(f"**/{_GENERATIONS}/*.jsonl"))

    @property
    def trackers(self) -> Path:
        """Folder of what trackers such as TensorBoard write."""
        return self.path / "trackers"

    def written(self) -> list[Path]:
        """Return the files that paribus wrote, without checkpoints, pieces and lock.

        What is hidden was being written, or probed, when its process was killed.
        """
        ours = (
            self.spec,
            self.events,
            self.weights,
            self.result,
            self.failure,
            self.manifest,
            self.heldout,
            self.trackers,
            self.path / _GENERATIONS,
            self.path / _TASKS,
        )
        paths = sorted(self.path.iterdir())
        return [path for path in paths if path in ours or path.name.startswith(".")]

    @property
    def experiment(self) -> "ExperimentFolder":
        """The experiment this run or trial belongs to."""
        run = self.path.parents[1] if self.path.name == _FURTHER else self.path
        above = run.parents[1]
        return ExperimentFolder(above.parent if above.name == _TUNING else above)

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
    def ledger(self) -> Path:
        """Every reading of the test split."""
        return self.path / "ledger.jsonl"

    @property
    def lock(self) -> Path:
        """Shared by the commands that run the experiment."""
        return self.path / "lock"

    @property
    def files_lock(self) -> Path:
        """Held, for an instant, by whoever writes what several commands may write."""
        return self.path / "files.lock"

    @property
    def tuning(self) -> Path:
        """Trials and what was chosen."""
        return self.path / "tuning.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report" / "index.html"

    @property
    def findings(self) -> Path:
        """The conclusions for programs."""
        return self.path / "report" / "findings.json"

    @property
    def report_manifest(self) -> Path:
        """Hashes of page and findings."""
        return self.path / "report" / "manifest.json"

    def run(self, arm: str, replicate: int) -> RunFolder:
        """The folder of one run of `arm`."""
        return RunFolder(self.path / arm / f"seed-{replicate}")

    def trial(self, arm: str, name: str) -> RunFolder:
        """The folder of the trial `name` of `arm`: `lr-2e-05`, or `trial-3`."""
        return RunFolder(self.path / _TUNING / arm / name)

    def of(self, spec: RunSpec) -> RunFolder:
        """The folder of a run or of a trial."""
        if spec.trial:
            return self.trial(spec.arm, spec.trial)
        return self.run(spec.arm, spec.replicate)

    def arriving(self, token: str = "*") -> Path:
        """Where a run that is copied from another store lies until it is whole."""
        return self.path / f".run.{token}"

    def arms(self) -> set[str]:
        """Return the names of all arms that have begun a run or a trial."""
        paths = [*self.path.glob("*/seed-*/spec.json"), *self.path.glob("tuning/*/*/spec.json")]
        return {path.parents[1].name for path in paths}

    def runs(self) -> list[RunFolder]:
        """Every run begun so far, sorted by arm and seed."""
        folders = [RunFolder(path.parent) for path in self.path.glob("*/seed-*/spec.json")]
        return sorted(folders, key=lambda folder: (folder.arm, folder.replicate))
