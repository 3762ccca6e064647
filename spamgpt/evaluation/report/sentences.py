"""The sentences of a report: the verdict, what to beware of, and a note on each table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spamgpt.data.rows import SOURCE
from spamgpt.evaluation.metrics import ECE
from spamgpt.evaluation.report.numbers import p_value, percent
from spamgpt.evaluation.slices import FEWEST, Slice
from spamgpt.evaluation.thresholds import PointAtLimit

if TYPE_CHECKING:
    from spamgpt.evaluation.report.record import Report

# A label with fewer messages tells little.
_FEW_MESSAGES = 100


@dataclass(frozen=True)
class Verdict:
    """What someone who runs a filter wants to know first."""

    headline: str
    detail: str


@dataclass(frozen=True)
class Caution:
    """What to beware of; an alarm is a reason not to believe the scores."""

    text: str
    alarm: bool = False


@dataclass(frozen=True)
class Captions:
    """What to look for in each chart."""

    roc: str
    precision_recall: str
    calibration: str
    scores: str


def verdict(report: "Report") -> Verdict:
    """How much is caught and how much is lost; with several labels, which it knows best."""
    scores = report.scores
    if not scores.binary:
        recalls = {name: each.recall for name, each in scores.labels.items() if each.messages}
        weakest, best = min(recalls, key=recalls.__getitem__), max(recalls, key=recalls.__getitem__)
        return Verdict(
            f"It gets {percent(scores.accuracy)} of the messages right.",
            f"It knows {best} best, of which it finds {percent(recalls[best])}, "
            f"and {weakest} least, of which it finds {percent(recalls[weakest])}.",
        )
    positive, other = report.positive_label, report.other_label
    positives, others = scores.labels[positive].messages, scores.negatives
    caught, lost = scores.count(positive, positive), scores.count(other, positive)
    parts = []
    if positives:
        parts.append(f"catches {percent(caught / positives)} of {positive}")
    if others:
        parts.append(f"loses {percent(lost / others)} of {other}")
    detail = (
        f"Of {positives:,} {positive} messages it caught {caught:,}; of {others:,} {other} "
        f"messages it took {lost:,} for {positive}."
    )
    if points := report.evaluation.operating_points:
        # The strictest limit that so many messages can tell from none lost.
        point = next(
            (each for each in points if others * each.max_false_positive_rate >= 1), points[-1]
        )
        detail += (
            f" With a threshold that loses at most {limit(point)} of {other}, it would catch "
            f"{percent(point.recall)} of {positive}."
        )
    return Verdict("It " + " and ".join(parts) + ".", detail)


def limit(point: PointAtLimit) -> str:
    """The share that may be lost."""
    return f"{point.max_false_positive_rate * 100:g}%"


def cautions(report: "Report") -> list[Caution]:
    """What flatters the scores or makes them unsure, and what stood in for what was wanted."""
    found = []
    seen, split = report.evaluation.seen_in_training, report.evaluation.split
    if seen:
        text = (
            f"{seen:,} of these messages were in the classifier's training data: "
            "the scores flatter it."
        )
        found.append(Caution(text, alarm=True))
    elif split != "test":
        text = f"The {split} split had a part in training: the scores flatter it."
        found.append(Caution(text, alarm=True))
    if seen is None:
        text = "The classifier keeps no record of which messages it was trained on."
        found.append(Caution(text))
    messages, rarest = min((each.messages, label) for label, each in report.scores.labels.items())
    if messages < _FEW_MESSAGES:
        found.append(Caution(f"There are only {messages:,} {rarest} messages to judge by."))
    return found + [Caution(text) for text in report.substitutions]


def interval_note(report: "Report") -> str:
    """What the intervals are."""
    intervals = report.evaluation.intervals
    return (
        "Another sample of such messages would give other scores: the interval says how far they "
        f"may lie apart (bootstrap over the messages, {intervals.resamples:,} resamples, seed "
        f"{intervals.seed})."
    )


def point_note(report: "Report") -> str:
    """What the table of thresholds cannot say, with so many messages."""
    note = (
        "These thresholds were found on the messages of this page; expect to lose a little more "
        "on new ones."
    )
    limits = [point.max_false_positive_rate for point in report.evaluation.operating_points]
    others = report.scores.negatives
    if limits and others * min(limits) < 1:
        note += (
            f" With {others:,} {report.other_label} messages, {min(limits) * 100:g}% is less "
            "than one: that row stands for none lost."
        )
    return note


def calibration_note(report: "Report") -> str:
    """How far probabilities are off."""
    temperature = report.evaluation.temperature
    scaled = "" if temperature == 1 else f", after temperature scaling by {temperature:.2f}"
    return (
        f"A stated probability is off by {percent(report.scores[ECE])} on average{scaled} "
        "(expected calibration error)."
    )


def kind(each: Slice) -> str:
    """`with a link` says enough; the name of a source does not."""
    return f"source {each.value}" if each.slice == SOURCE else each.value


def worst_slice(report: "Report") -> str:
    """Where the classifier is weakest."""
    worst = report.evaluation.worst_slice
    if worst is None:
        return f"No kind with {FEWEST} messages or more stands out."
    return (
        f"Worst of those with {FEWEST} messages or more: {kind(worst)}, with "
        f"{worst.errors:,} of {worst.messages:,} wrong."
    )


def baseline_note(report: "Report") -> str:
    """Whether a simpler model does as well; honest also when it wins.

    McNemar's test against the most accurate of them decides.
    """
    if not report.evaluation.baselines:
        return ""
    best = max(report.evaluation.baselines, key=lambda baseline: baseline.scores.accuracy)
    told = "Trained on the same messages, scored on the same messages. "
    test = f"(McNemar's test against {best.name}: {p_value(best.mcnemar.p_value)})"
    if not best.mcnemar.significant:
        return told + (
            f"Chance alone could explain the difference to {best.name}: these messages do not say "
            f"which is better {test}."
        )
    if best.mcnemar.only_first > best.mcnemar.only_second:
        return told + (
            f"The classifier is ahead of all of them, by more than chance explains {test}."
        )
    return told + (
        f"{best.name} is ahead, by more than chance explains: it is the better choice here {test}."
    )


def mistakes_note(report: "Report") -> str:
    """How many of the mistakes are shown."""
    wrong, shown = int((~report.outcome.correct).sum()), len(report.mistakes)
    return (
        f"All {wrong:,}."
        if shown == wrong
        else f"{shown:,} of {wrong:,}: the surest of each answer."
    )


def explanation_note(report: "Report") -> str:
    """How the marked words were found, or that nobody looked."""
    if report.explained_by is None:
        return "Which words drove these answers was not worked out: that was turned off."
    return f"{report.explained_by}."


def suspects_note(report: "Report", shown: int) -> str:
    """How the labels of the training data were checked, and how many are doubtful."""
    check = report.label_check
    if check.not_checked is not None:
        return f"Not checked: {check.not_checked}."
    how = (
        "A linear model was trained on four fifths of the training data at a time and asked about "
        "the rest (confident learning, Northcutt et al. 2021)."
    )
    found = len(check.suspects)
    if not found:
        return f"{how} It doubts none of the {check.labels:,} labels."
    told = f" The {shown} it doubts most:" if found > shown else ""
    return (
        f"{how} It doubts {found:,} of {check.labels:,} labels. Some are wrong labels; others are "
        f"hard messages, rightly labelled.{told}"
    )


def captions(report: "Report") -> Captions:
    """What to look for in the charts."""
    positive, other = report.positive_label, report.other_label
    if not report.scores.binary:
        return Captions(
            "Each label against the rest. Up and to the left is better; the dashed line is chance.",
            "Each label against the rest. Up and to the right is better.",
            "Dots on the dashed line: probabilities mean what they say. Bars: 95% intervals.",
            "Messages by the probability of their answer, on a logarithmic scale.",
        )
    return Captions(
        f"How much {positive} is caught for how much {other} is lost. The dot is the threshold in "
        "use, the dashed line chance.",
        f"How much of what is called {positive} is. The dashed line is the share of {positive} "
        "among the messages.",
        f"Of the messages said to be {positive} with some probability, how many are. Dots on the "
        "dashed line mean what they say. Bars: 95% intervals.",
        f"Upward {positive}, downward {other}, on a logarithmic scale. The dashed line is the "
        "threshold.",
    )


def training_captions(kept_epoch: int, epochs: int) -> tuple[str, str]:
    """What to look for in the charts of loss and of accuracy."""
    kept = f"Epoch {kept_epoch} of {epochs} was kept."
    return (
        f"{kept} Validation loss that rises again means learning by heart.",
        "Over both splits whole, after each epoch.",
    )
