"""What files of generations hold and lack: counted, refused or told.

str(LeftOut(...))       # "a: 10 problems, 2 missing, 0 unknown, 2 repeated"
"""

from collections.abc import Sequence
from dataclasses import dataclass

from paribus.analysis.tables import Run
from paribus.errors import DataError
from paribus.evaluation.final import holds_prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What one file holds and lacks.

    Attributes:
        name: of its arm.
        seed: of its run.
        problems: distinct problems that it answers, unknown ones not counted.
        missing: problems of the gold file, or without one of any other file, that it lacks.
        unknown: problems that it answers and that are not in the gold file.
        repeated: lines that say again what another line says.
    """

    name: str
    seed: int
    problems: int
    missing: int
    unknown: int
    repeated: int

    @property
    def faulty(self) -> bool:
        """Whether the file holds anything but each problem once."""
        return bool(self.missing or self.unknown or self.repeated)

    def __str__(self) -> str:
        seed = f" seed {self.seed}" if self.seed else ""
        return (
            f"{self.name}{seed}: {self.problems} problems, {self.missing} missing, "
            f"{self.unknown} unknown, {self.repeated} repeated"
        )


def check_shared(left_out: Sequence[LeftOut], shared: Sequence[str], *, common: bool) -> None:
    """Raise DataError where no problem is shared, or not all are and nobody asked for `common`."""
    different = any(each.missing or each.unknown for each in left_out)
    listed = "; ".join(map(str, left_out))
    if not shared:
        raise DataError(
            f"no problem is answered by every file and known: {listed}",
            "check that --gold, if given, is the file that was asked, word for word",
        )
    if different and not common:
        raise DataError(
            f"not the very same problems: {listed}",
            f"give --common to use the {len(shared)} problems that all of them answer",
        )


def notes_of(left_out: Sequence[LeftOut], shared: int, *, settings: bool) -> list[str]:
    """Say what is left out, how many problems are `shared`, and whether settings are known."""
    notes = []
    if any(each.faulty for each in left_out):
        listed = "; ".join(str(each) for each in left_out if each.faulty)
        notes.append(f"Only problems that every file answers are used: {shared}. {listed}.")
    if not settings:
        notes.append(
            "How these texts were made is not known here: another prompt, decoding or token limit "
            "is part of every difference. A text that a limit cut counts as no answer unless "
            "its file says that it was cut."
        )
    return notes


def notes_with_prompts(runs: Sequence[Run]) -> list[str]:
    """Return a note for each run most of whose texts hold the prompt they answer."""
    notes = []
    for run in runs:
        held = sum(holds_prompt(each.text, each.question) for each in run.generations)
        if 2 * held > len(run.generations):
            notes.append(
                f"{run.arm}: {held} of {len(run.generations)} texts hold the question they answer; "
                "the canonical scorer reads what is behind it, strict and flexible read all."
            )
    return notes
