"""The command line: `paribus VERB …`. Exit codes: 0 done, 2 your mistake, 1 ours, a failed run
or, of `verify`, a difference; 128 + N after signal N.

paribus init   --train FILE          write a task and an experiment for rows of your own
paribus plan   FILE [key=value …]    what would be run, and whether it can be
paribus run    FILE [key=value …]    run what is not complete yet, then report
paribus status [FILE [key=value …]]  how far every run has come
paribus report FILE [key=value …]    draw the conclusions from the store
paribus verify [PATH …]              whether everything is as it was written
paribus merge  A B … --into C        join stores of one experiment, from several machines
paribus adopt  RUN                   enter a run from another store into the ledger
paribus clean  [PATH or FILE]        remove what can be made again
paribus publish FILE --into DIR      an experiment as a folder to publish
paribus unpack DIR --into DIR        such a folder as runs again
paribus score  FILE                  what generations made elsewhere solve
paribus compare FILE FILE …          how they differ, problem by problem
paribus replay FILE --problems N     what a smaller experiment would have said
paribus power  --baseline --difference   how many problems and seeds that takes
paribus audit  NAME=31/100 …        what a published table shows
paribus baseline MODEL …             what models solve before any tuning
paribus explain [PB014]              a rule card: what goes wrong, why, what to do instead
paribus doctor                       what this machine is, and what will not work here
"""

import argparse
import errno
import gc
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from paribus.cli.arguments import parser
from paribus.cli.console import PlainConsole, settle_streams
from paribus.errors import ParibusError, UserError
from paribus.files import is_special, path_fault
from paribus.models import ranks
from paribus.stopping import ending_on_signals, enduring, silence

if TYPE_CHECKING:
    from paribus.config.load import Loaded
    from paribus.design.matrix import Design


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    settle_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parse(words)
    errors = PlainConsole(file=enduring(sys.stderr), highlight=False, soft_wrap=True)
    try:
        _refuse_paths(options)
        with ending_on_signals(), _readers_may_leave():
            return _run_verb(options)
    except ParibusError as error:
        errors.print(f"[bold red]error:[/] {_plain(error.message)}")
        if error.remedy:
            errors.print(f"  → {_plain(error.remedy)}")
        return error.exit_code
    except KeyboardInterrupt as stop:
        if options.verb in ("run", "baseline", "merge"):
            where = getattr(stop, "text", "")
            errors.print(f"\nstopped. Finished runs are kept{_plain(where)}; resume with:")
            errors.print(f"  {_plain(shlex.join(['paribus', *words]))}")
        else:
            errors.print("\nstopped")
        return 128 + int(getattr(stop, "number", signal.SIGINT))
    except OSError as error:
        message, remedy, code = _system_fault(error)
        errors.print(f"[bold red]error:[/] {_plain(message)}")
        errors.print(f"  → {remedy}")
        return code


@contextmanager
def _readers_may_leave() -> Iterator[None]:
    """While the block runs, print on: who reads a part, as `head` does, changes no exit code."""
    out, errors = (enduring(stream, BrokenPipeError) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            yield
        finally:
            sys.stdout.flush()  # at exit it would be too late to find that nobody reads


def _system_fault(error: OSError) -> tuple[str, str, int]:
    """Return what the system refused, what to do, and the exit code. Raises what is our fault."""
    if error.filename is None:  # no file of ours: what is printed
        silence(sys.stdout)  # else Python would try once more at exit
        remedy = "free disk space, or redirect the output"
        return f"the output cannot be written: {error.strerror}", remedy, 1
    if isinstance(error, PermissionError):
        remedy = "ask its owner, or give yourself permission (chmod)"
        return f"no permission for {error.filename}", remedy, 2
    # Found late: what paribus adds made the path too long, or a part of it is a file.
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
        return f"{str(error.filename)[:80]}…: {error.strerror}", "name another path", 2
    raise error


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """Return the options. argparse alone takes no `key=value` behind an option."""
    options, rest = parser().parse_known_args(words)
    more: list[str] | None = getattr(options, "words", getattr(options, "values", None))
    if rest and (more is None or any(word.startswith("-") for word in rest)):
        options.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if options.verb == "plan":
        _refuse_pairs(options)
    if more is not None:
        more += rest
    return options


def _refuse_pairs(options: argparse.Namespace) -> None:
    """End with the usage of `plan` where one option would make another mean nothing."""
    for option, others in {"explain": ("json", "probe", "details"), "details": ("json",)}.items():
        for other in others:
            if getattr(options, option) and getattr(options, other):
                options.parser.error(f"argument --{option}: not allowed with argument --{other}")
    if options.probe and options.ranks > 1:
        options.parser.error("argument --probe: not allowed with argument --ranks: it measures one")


_NAMES = {
    "id": "rule",
    "untuned": "arm",
    "group_by": "key",
    "device": "device",
    "protocols": "protocol",
    "name": "experiment",
    "model": "model",
}
"""Options that take no path, and what they name."""


def _refuse_paths(options: argparse.Namespace) -> None:
    """Raise UserError on a path that nothing can have, and on a pipe: before slow imports.

    What holds "=" is looked at by its verb, but for a pipe that is named behind it.
    """
    given = [(key, item) for key, value in vars(options).items()
             for item in (value if isinstance(value, list) else [value])]  # fmt: skip
    names = _NAMES | ({"words": "model"} if options.verb == "baseline" else {})
    for key, item in given:
        if isinstance(item, Path) or (isinstance(item, str) and "=" not in item):
            fault = path_fault(str(item))
            if fault and key in names:
                what = names[key]
                raise UserError(f"{str(item)[:60]!r}… names no {what}", f"name another {what}")
            if fault:
                raise UserError(f"{str(item)[:60]!r}… {fault}", "name another path")
        named = str(item).rpartition("=")[2] if isinstance(item, Path | str) else ""
        if named and is_special(named):
            remedy = "name a regular file; save what comes through a pipe to one first"
            raise UserError(f"{named} is a pipe, a socket or a device", remedy)


_MODULES = {"compare": "score", "unpack": "publish"}
"""The module of a verb that has none of its own name in `paribus.cli`."""


def _run_verb(options: argparse.Namespace) -> int:
    """Run the verb, where a launcher started several processes on all of them together."""
    if not ranks.launched():
        if options.verb == "run" and options.parallel != "auto":
            options.parser.error("argument --parallel: for processes that torchrun started")
        return _run_here(options)
    if options.verb != "run":
        raise UserError(
            f"paribus {options.verb} was started as one of several processes",
            "start it without a launcher: `paribus run` alone computes on several ranks",
        )
    ranks.join(options.parallel)
    import paribus.running.preload  # noqa: F401  # quiet libraries, as a run's own process has them
    from paribus.running.ranks import dismiss, follow

    try:
        return follow() if ranks.rank() else _run_here(options)
    finally:
        dismiss()


def _run_here(options: argparse.Namespace) -> int:
    """Import the verb's module, as `--help` must not wait for it, and run the verb."""
    # What is wrong with an experiment file is reported before the slow imports.
    experiment = _experiment(options) if options.verb in {"plan", "run"} else ()
    module = import_module(f"paribus.cli.{_MODULES.get(options.verb, options.verb)}")
    return int(module.from_options(options, *experiment))


def _experiment(options: argparse.Namespace) -> "tuple[Loaded, Design]":
    """Return the experiment that is to be planned or run. Raises ConfigError."""
    from paribus.config.load import load
    from paribus.design.matrix import expand
    from paribus.store.layout import ExperimentFolder

    loaded = load(options.file, options.values)
    return loaded, expand(loaded, ExperimentFolder(options.runs / loaded.config.name).arms())


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def entry() -> int:
    """Run the verb of this process; once its end is reported, Ctrl-C is ignored."""
    # Imports and tokenizers make a million objects that stay. To look through them after every 700
    # new ones took a tenth of a verb's time.
    gc.set_threshold(200_000)
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


if __name__ == "__main__":
    sys.exit(entry())
