"""What the threshold of a classifier of two labels is chosen for, and how that is told."""

from collections.abc import Mapping
from typing import Any, Literal

# false-positive-rate: the highest recall among the thresholds that lose few enough of the other
# label; f1: the best F1 to be expected; accuracy: 0.5, the more probable label.
ThresholdGoal = Literal["false-positive-rate", "f1", "accuracy"]
# A filter that loses one harmless message in a hundred is still used; one that loses more is not.
MAX_FALSE_POSITIVE_RATE = "1%"


def threshold_in_words(record: Mapping[str, Any]) -> str:
    """What a threshold is for and does, from what `fit_decision` recorded of it.

    `for at most 1% of ham lost: catches 90.20% of spam, loses 1 of 154 ham (95% interval 0.1% to
    3.6%)`
    """
    most, other = record["max_false_positive_rate"], record["other_label"]
    goal = {
        "false-positive-rate": f"at most {most} of {other} lost",
        "f1": "the best F1",
        "accuracy": "accuracy",
    }[record["threshold_for"]]
    others = record["others"]
    words = (
        f"for {goal}: catches {record['recall']:.2%} of {record['positive_label']}, "
        f"loses {record['false_positives']} of {others} {other}"
    )
    told = []
    if record["false_positive_interval"]:
        low, high = record["false_positive_interval"]
        told.append(f"95% interval {low:.1%} to {high:.1%}")
    if record["allowed"] == 0:
        told.append(f"{most} of {others} is less than one message, so none may be lost")
    return f"{words} ({'; '.join(told)})" if told else words
