"""Spell measured figures with their units. What is not known is "–", never 0.

duration(61.2)                  "1 min 1 s"
accuracy_cell(0.31, interval)   "31 % [22.8 to 40.6]"
"""

from paribus.analysis.wording import percent, percent_range, points_range, signed
from paribus.statistics.intervals import Interval

UNKNOWN = "–"
GB = 10**9
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


def gb(value: float | None) -> str:
    """Bytes as GB, without the unit: the heading has it."""
    return UNKNOWN if value is None else rounded(value / GB)


def rate(value: float | None) -> str:
    """A learning rate as people write it: 0.00002 is "2e-5", 0.001 is "1e-3"."""
    if value is None:
        return UNKNOWN
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def nats(value: float | None) -> str:
    """Three decimals up to 10, one above: 0.612, 64.1."""
    if value is None:
        return UNKNOWN
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def signed_nats(value: float) -> str:
    """A difference of nats, with its sign: +2.060, −40.0."""
    return ("+" if value > 0 else "") + nats(value).replace("-", "−")


def accuracy_cell(accuracy: float | None, interval: Interval | None) -> str:
    """A share with its interval, "31 % [22.8 to 40.6]"; where it has none, "31 %"."""
    share = percent(accuracy)
    return share if interval is None else f"{share} [{percent_range(interval)}]"


def points_cell(difference: float | None, interval: Interval | None) -> str:
    """A difference of shares with its interval, "−5 [−16.1 to +6.2]"; where it has none, "−5"."""
    if difference is None:
        return UNKNOWN
    size = signed(difference)
    return size if interval is None else f"{size} [{points_range(interval)}]"
