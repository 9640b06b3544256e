"""Whether the Hugging Face Hub can be reached: asked once in a process, before anything is fetched.

    hub.settle()                      # no network: from here on as with HF_HUB_OFFLINE=1
    snapshot_download("owner/name")   # from the local cache at once, or an error at once

Left alone, the Hub's libraries try each file of each arm five times and print every try.
"""

import logging
from functools import lru_cache

_PATIENCE_SECONDS = 5.0


def settle() -> None:
    """Keep this process offline if the Hub does not answer; what is cached can still be had."""
    from huggingface_hub import constants

    # Its warnings are of retries; what fails in the end raises, and is told by whoever asked.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not constants.HF_HUB_OFFLINE and not _answers(constants.ENDPOINT):
        constants.HF_HUB_OFFLINE = True


@lru_cache
def _answers(address: str) -> bool:
    """Return whether a server answers at `address`: a refusal (403, 404) is an answer too."""
    from huggingface_hub import get_session

    try:
        return int(get_session().head(address, timeout=_PATIENCE_SECONDS).status_code) < 500
    except Exception:  # noqa: BLE001  # of whichever client the Hub's library uses
        return False
