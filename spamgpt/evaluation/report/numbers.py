"""Numbers as the page shows them."""

from spamgpt.evaluation.intervals import Interval
from spamgpt.evaluation.metrics import Metric

_MINUS = "\N{MINUS SIGN}"


def percent(value: float | None) -> str:
    """A share in per cent; `none` where there is none."""
    return "none" if value is None else f"{value:.1%}"


def decimals(value: float | None) -> str:
    """A score that is no share."""
    return "none" if value is None else f"{value:.3f}".replace("-", _MINUS)


def probability(value: float | None) -> str:
    """A probability, fine enough to tell thresholds apart."""
    return "none" if value is None else f"{value:.4f}"


def threshold(value: float) -> str:
    """A threshold; above 1, no message reaches it."""
    return "never" if value > 1 else probability(value)


def points(difference: float) -> str:
    """A difference of two shares, in percentage points."""
    return f"{difference * 100:+.1f}".replace("-", _MINUS)


def p_value(value: float) -> str:
    """The p of a test; a tiny one is shown as a bound."""
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.2g}"


def score(metric: Metric, value: float | None) -> str:
    """A score as its metric is shown."""
    return percent(value) if metric.is_share else decimals(value)


def score_interval(metric: Metric, pair: Interval | None) -> str:
    """The interval of a score; nothing where it has none."""
    return f"{score(metric, pair[0])} \N{EN DASH} {score(metric, pair[1])}" if pair else ""
