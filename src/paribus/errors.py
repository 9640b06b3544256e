"""Every failure paribus announces, as one tree.

    ParibusError
    ├── UserError                the user can fix it; exit code 2
    │   ├── ConfigError          the experiment file or a dotlist value
    │   ├── DataError            a problem set that is missing, empty or malformed
    │   ├── PromptError          text that cannot be tokenised faithfully or is too long
    │   │   └── DoesNotFit       a task has no texts for a protocol
    │   ├── ModelError           weights or a tokenizer: missing, damaged, unsafe or not supported
    │   ├── NotHere              what another machine may have: the Hub's files, a package
    │   └── StoreError           the run store: another spec, no room, no permission
    │       ├── DamagedError     a file of it is not what was written
    │       └── InUse            another process works on it
    └── RunFailed                a run stopped half-way; exit code 1
        └── OutOfMemory          it needed more memory than the device has

Each message names the values and the limit; `remedy` says what to do. Anything else that
escapes is a bug in paribus and is shown with its traceback.

Messages quote what others wrote, and go to terminals, logs and the store: control characters are
spelled out in them and secrets removed.
"""

from collections.abc import Sequence

from paribus.untrusted import printable, redacted


class ParibusError(Exception):
    """A failure with a remedy. `str(error)` is the message and, on a second line, the remedy."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = printable(redacted(message))
        self.remedy = printable(redacted(remedy))
        super().__init__(self.message, self.remedy)

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message


class UserError(ParibusError):
    """Something the user asked for cannot be done as asked."""

    exit_code = 2


class ConfigError(UserError):
    """The experiment file, a file it builds on, or a dotlist value."""


class DataError(UserError):
    """A problem set that is missing, empty or malformed."""


class PromptError(UserError):
    """A prompt or solution that cannot be tokenised faithfully, or does not fit."""


class DoesNotFit(PromptError):
    """A task has no texts for a protocol."""


class ModelError(UserError):
    """Weights or a tokenizer that cannot be used: missing, damaged, unsafe or not supported."""


class NotHere(UserError):
    """What another machine may have: weights or problems that only the Hub gives, a package."""


class StoreError(UserError):
    """The run store: it holds something else, has no room, or may not be written."""


class DamagedError(StoreError):
    """A file of the run store is not what was written."""


class InUse(StoreError):
    """Another process works on a run, or on an experiment."""


class RunFailed(ParibusError):
    """One or more runs did not finish. What finished is kept."""


class OutOfMemory(RunFailed):
    """A run needed more memory than the device has."""


def joined(errors: Sequence[UserError]) -> UserError:
    """Return one error that says all of `errors`, and every remedy once."""
    remedies = dict.fromkeys(error.remedy for error in errors if error.remedy)
    return UserError("\n  ".join(error.message for error in errors), "\n  → ".join(remedies))
