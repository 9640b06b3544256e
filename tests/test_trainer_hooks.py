"""Names that training takes over from transformers' Trainer: a renamed one would be left uncalled.

All are read from our code, so a hook that is overridden tomorrow is tested tomorrow.
"""

import ast
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from inspect import Parameter
from pathlib import Path

import pytest
from transformers import Trainer, TrainerCallback, trainer, trainer_callback, training_args

import paribus.training

FILES = sorted(Path(paribus.training.__file__).parent.glob("*.py"))
THEIRS = (trainer, trainer_callback, training_args)


def subclasses() -> Iterator[type]:
    """Classes of paribus.training that inherit from transformers."""
    for module in pkgutil.iter_modules(paribus.training.__path__, "paribus.training."):
        for _, cls in inspect.getmembers(import_module(module.name), inspect.isclass):
            if cls.__module__ == module.name and list(bases(cls)):
                yield cls


def bases(cls: type) -> Iterator[type]:
    return (base for base in cls.__mro__ if base.__module__.startswith("transformers."))


@cache
def read_by_transformers() -> frozenset[str]:
    """Names of attributes that the Trainer, its callbacks and arguments read or call."""
    return frozenset(
        node.attr
        for module in THEIRS
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    )


def dead_overrides(cls: type) -> list[str]:
    """Methods of `cls` that transformers lacks, never calls, or calls with other arguments."""
    dead = []
    for name, method in vars(cls).items():
        if not inspect.isfunction(method) or name.startswith("__"):
            continue
        hook = next((vars(base)[name] for base in bases(cls) if name in vars(base)), None)
        if hook is None:
            dead.append(f"{cls.__name__}.{name} overrides nothing")
        elif name not in read_by_transformers():
            dead.append(f"{cls.__name__}.{name} is never called by transformers")
        elif not fits(inspect.signature(method).parameters.values(), hook):
            dead.append(f"{cls.__name__}.{name} takes other arguments than transformers'")
    return dead


def fits(ours: Iterable[Parameter], hook: object) -> bool:
    """Whether a call that `hook` takes, by place or by name, is one that `ours` take."""
    assert callable(hook)
    theirs = [one for one in inspect.signature(hook).parameters.values() if one.kind not in _STARS]
    named = [one for one in ours if one.kind not in _STARS]
    further = named[len(theirs) :]
    return [one.name for one in named[: len(theirs)]] == [one.name for one in theirs] and all(
        one.default is not Parameter.empty for one in further
    )


_STARS = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def private_names(sources: Iterable[str]) -> set[str]:
    """Private attributes that the sources use and do not define themselves."""
    used, own = set(), set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)  # a dataclass's field
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            (own if of_self and isinstance(node.ctx, ast.Store) else used).add(node.attr)
    return {name for name in used - own if not name.startswith("__")}


def test_overridden_hooks_are_called_by_transformers():
    classes = list(subclasses())
    assert {base for cls in classes for base in (Trainer, TrainerCallback) if base in cls.__mro__}
    assert [dead for cls in classes for dead in dead_overrides(cls)] == []


def test_private_attributes_are_read_by_transformers():
    names = private_names(file.read_text("utf-8") for file in FILES)
    assert sorted(names - read_by_transformers()) == []


class Renamed(Trainer):
    def _load_rng_states(self, checkpoint): ...


class Uncalled(Trainer):
    def hyperparameter_search(self): ...


class Reordered(Trainer):
    def _save_checkpoint(self, trial, model): ...


class Demanding(Trainer):
    def _load_rng_state(self, checkpoint, device): ...


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (Renamed, "Renamed._load_rng_states overrides nothing"),
        (Uncalled, "Uncalled.hyperparameter_search is never called by transformers"),
        (Reordered, "Reordered._save_checkpoint takes other arguments than transformers'"),
        (Demanding, "Demanding._load_rng_state takes other arguments than transformers'"),
    ],
)
def test_a_dead_hook_is_named(cls, fault):
    assert dead_overrides(cls) == [fault]


def test_a_private_attribute_is_found_in_code():
    source = "class A:\n  _field: int\n  def f(self): self._own = made._n_gpus; self._own(a._field)"
    assert private_names([source]) == {"_n_gpus"}
