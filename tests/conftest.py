"""Shared by all tests: no network, one tiny model per session, and which tests run when."""

import gc
import os
from collections.abc import Iterator

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # beside others: a core each, and no more
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

from paribus.testing.tiny import tiny_tokenizer, write_tiny_model

# A slow machine is no failure.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

PROCESSES = {"subprocess", "outside", "interrupted", "killing"}
"""A test module that imports one of them, or a name of theirs, starts processes."""
SECONDS = {
    "test_alike", "test_bad_seeds", "test_batched_encoding", "test_browser", "test_calibration",
    "test_caveats", "test_claims", "test_config_fuzz", "test_crossed", "test_detectable",
    "test_effects", "test_equivalence", "test_facts", "test_family", "test_findings",
    "test_foresight", "test_generations_fuzz", "test_headroom", "test_looks", "test_losses",
    "test_memory", "test_page_is_inert", "test_power", "test_power_cli", "test_processor",
    "test_questions", "test_real_scores_benchmark", "test_report", "test_report_sections",
    "test_robustness", "test_score_power", "test_sequential_benchmark", "test_shipped_files",
    "test_source_keeps_the_rules", "test_streams", "test_strict", "test_tested_less",
    "test_texts_of_models",
    "test_yaml_of_others",
}  # fmt: skip
"""Modules that render whole pages, or simulate: measured to take two seconds and more."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share", metavar="N/OF", help="only every OF-th test, beginning with the N-th"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without the engine's tests, do not even import what is known to take seconds."""
    left_out = "not engine" in config.option.markexpr and collection_path.stem in SECONDS
    return left_out or None


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what takes seconds as `engine`, by what it uses."""
    module = item.getparent(pytest.Module)
    long = module and (module.path.stem in SECONDS or _starts_processes(module.obj))
    if long or "tiny" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.engine)


def _starts_processes(module: ModuleType) -> bool:
    names = {
        each.__name__ if isinstance(each, ModuleType) else getattr(each, "__module__", "")
        for each in vars(module).values()
    }
    return not PROCESSES.isdisjoint(names)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no GPU")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the share that was asked for, of what `-m` left."""
    if share := config.getoption("--share"):
        first, _, of = share.partition("/")
        chosen = items[int(first) % int(of) :: int(of)]
        config.hook.pytest_deselected(items=[one for one in items if one not in chosen])
        items[:] = chosen


def pytest_collection_finish() -> None:
    _freeze()


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> Iterator[None]:
    """Leave what a module imported out of the collections of the next."""
    yield
    _freeze()


def _freeze() -> None:
    """Leave what is there out of every later collection: with PyTorch it would be 0.4 s each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Gemma-3-shaped model with its tokenizer."""
    from paribus.models.quiet import quiet_libraries

    quiet_libraries()
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def real_store(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store with all that paribus writes; who changes it copies it."""
    from stores import real

    folder = tmp_path_factory.mktemp("real")
    real(folder, tiny)
    return folder


@pytest.fixture(scope="session")
def tokenizer():
    """The tiny model's tokenizer: one token per byte, Gemma's special tokens."""
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def taught(tiny, tokenizer):
    """A tiny model that has learnt `sums.SUMS` by heart, in fp32."""
    from sums import teach

    return teach(tiny, tokenizer)
