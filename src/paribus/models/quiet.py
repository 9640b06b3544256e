"""Keep the libraries' own chatter off the terminal; paribus says what matters itself."""

import logging
import os
import warnings
from functools import partialmethod
from typing import Any


def quiet_libraries() -> None:
    """Silence progress bars, advice and deprecation notes of transformers, peft and bitsandbytes.

    Errors still raise, and non-finite losses stop a run: nothing that matters is a log line here.
    Downloads from the Hub keep their bars: nothing else says how far they are.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tqdm.auto import tqdm  # type: ignore[import-untyped]
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    # Where transformers reads GGUF it makes its bars by tqdm itself, past its own switch.
    bar: Any = tqdm
    bar.__init__ = partialmethod(bar.__init__, disable=True)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    warnings.filterwarnings("ignore", category=UserWarning, module="peft")
