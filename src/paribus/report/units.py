"""Spell measured figures with their units. What is not known is "–", never 0.

duration(61.2)      "1 min 1 s"
gib(5_583_457_485)  "5.2"
"""

UNKNOWN = "–"
GIB = 2**30
"""Bytes."""


def duration(seconds: float | None) -> str:
    """61.2 is "1 min 1 s", 7384 is "2 h 3 min"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def count(value: float | None) -> str:
    """1319 is "1,319"."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def rounded(value: float | None) -> str:
    """Three significant digits; whole numbers from 100 on."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def millions(value: float | None) -> str:
    """3796992 is "3.8 M"."""
    return UNKNOWN if value is None else f"{rounded(value / 1e6)} M"


def gib(value: float | None) -> str:
    """Bytes as GiB, without the unit: the heading has it."""
    return UNKNOWN if value is None else rounded(value / GIB)
