"""Libraries keep their bars and advice to themselves."""

from paribus.models.quiet import quiet_libraries


def test_bars_that_libraries_make_are_not_shown(capsys):
    """By tqdm itself, as where transformers reads GGUF, and by its own; asked for twice."""
    from tqdm.auto import tqdm
    from transformers.utils import logging

    quiet_libraries()
    quiet_libraries()
    assert list(tqdm(range(3), desc="Converting and de-quantizing GGUF tensors...")) == [0, 1, 2]
    assert list(logging.tqdm(range(3), desc="Loading weights")) == [0, 1, 2]
    assert tuple(capsys.readouterr()) == ("", "")
