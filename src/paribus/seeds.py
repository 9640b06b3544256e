"""Named random streams derived by hash, so that neighbouring seeds share nothing.

Trainers commonly seed epoch e of run s with `s + e`: run 42's second epoch then sees the
order of run 43's first. Here every stream has its own key.
"""

import hashlib


def derive(base: int, *path: str | int) -> int:
    """Return a seed in [0, 2**63) for the stream named by `path` under `base`.

    derive(0, "order", 1) and derive(1, "order", 0) are unrelated.
    """
    key = "/".join([str(base), *map(str, path)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1
