"""Keep the libraries' own chatter off the terminal; paribus says what matters itself."""

import logging
import os
import warnings


def quiet_libraries() -> None:
    """Silence progress bars, advice and deprecation notes of transformers, peft and bitsandbytes.

    Errors still raise, and non-finite losses stop a run: nothing that matters is a log line here.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
