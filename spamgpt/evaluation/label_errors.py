"""Messages of the training data whose label may be wrong, found without the classifier.

The classifier was trained on these labels and would defend them. A small linear model is asked
instead, about each message only after it was trained on the others (confident learning; Northcutt,
Jiang, Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FOLDS = 5


@dataclass(frozen=True)
class Suspect:
    """A message, its label, and the label that a model trained on the others would give it."""

    text: str
    given: str
    suggested: str
    probability_of_given: float
    probability_of_suggested: float


@dataclass(frozen=True)
class LabelCheck:
    """The doubtful ones among so many labels, or in `not_checked` why they were not looked for."""

    suspects: Sequence[Suspect] = ()
    labels: int = 0
    not_checked: str | None = None


def check_labels(texts: Sequence[str], labels: Sequence[str]) -> LabelCheck:
    """What `find_label_errors` finds, or why it cannot."""
    try:
        return LabelCheck(find_label_errors(texts, labels), len(labels))
    except ValueError as error:
        return LabelCheck(not_checked=f"{error}")


def find_label_errors(texts: Sequence[str], labels: Sequence[str], seed: int = 0) -> list[Suspect]:
    """The messages that count as mislabelled in the confident joint, the surest first.

    The model is TF-IDF over words and characters with logistic regression; probabilities are out of
    fold, in five folds (fewer where a label has fewer messages). A message of label i counts as j
    if j is the most probable of the labels whose probability is at least its average over the
    messages that bear it (section 3.1). They are ordered by how much likelier j is than i.

    Raises ValueError, saying why, if the labels cannot be checked: a label has only one message,
    all messages have the same one, or they hold nothing to learn from.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_union

    names, given, counts = np.unique(np.array(labels), return_inverse=True, return_counts=True)
    if len(names) < 2 or counts.min() < 2:
        raise ValueError("every label needs two messages, and there must be two labels")
    words_and_characters = make_union(
        TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]"
        ),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
    )
    try:
        # Which words there are says nothing about labels: one vocabulary serves all folds.
        features = words_and_characters.fit_transform(texts)
    except ValueError as error:
        raise ValueError("the messages hold nothing to learn from") from error
    probabilities = cross_val_predict(
        LogisticRegression(C=10.0, max_iter=1000),
        features,
        given,
        cv=StratifiedKFold(min(_FOLDS, int(counts.min())), shuffle=True, random_state=seed),
        method="predict_proba",
    )
    rows = np.arange(len(given))
    averages = np.array([probabilities[given == j, j].mean() for j in range(len(names))])
    confident = np.where(probabilities >= averages, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    suspected = np.flatnonzero((confident.max(axis=1) >= 0) & (suggested != given))
    margin = probabilities[rows, suggested] - probabilities[rows, given]
    ordered = suspected[np.argsort(-margin[suspected], kind="stable")]
    return [
        Suspect(
            texts[row],
            str(names[given[row]]),
            str(names[suggested[row]]),
            float(probabilities[row, given[row]]),
            float(probabilities[row, suggested[row]]),
        )
        for row in ordered
        if margin[row] > 0
    ]
