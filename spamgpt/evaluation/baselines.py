"""What a classifier has to beat: linear models on TF-IDF, and the most frequent label."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.svm import LinearSVC

from spamgpt.errors import BadDataError
from spamgpt.evaluation.calibration import Floats
from spamgpt.evaluation.evaluation import Baseline
from spamgpt.evaluation.intervals import differences, intervals, mcnemar, resample
from spamgpt.evaluation.metrics import compute_metrics
from spamgpt.evaluation.outcome import Outcome

LINEAR_SVM = "TF-IDF, linear SVM"
LOGISTIC = "TF-IDF, logistic"
MAJORITY = "majority label"


def baselines(
    texts: Sequence[str],
    truth: Sequence[str],
    new_texts: Sequence[str],
    new_truth: Sequence[str],
    labels: Sequence[str],
    positive_label: str,
) -> Iterator[tuple[str, Outcome]]:
    """Learns from `texts` and answers `new_texts`: yields each baseline's name and outcome.

    TF-IDF is of words and word pairs and of 2 to 5 characters; the models are as scikit-learn
    has them. Raises BadDataError where there is nothing to learn from.
    """
    for name, model in (
        (LINEAR_SVM, _on_tf_idf(LinearSVC())),
        (LOGISTIC, _on_tf_idf(LogisticRegression(max_iter=1000))),
        (MAJORITY, DummyClassifier(strategy="prior")),
    ):
        try:
            model.fit(texts, truth)
        except ValueError as error:  # one label, or not one word
            raise BadDataError(
                f"The baseline {name!r} cannot learn from the training split: {error}",
                "Evaluate without `baseline`.",
            ) from error
        known = list(model.classes_)
        probabilities = None
        if hasattr(model, "predict_proba"):
            probabilities = _for_all(model.predict_proba(new_texts), known, labels, 0.0)
            scores = probabilities
        else:
            decisions = model.decision_function(new_texts)
            if decisions.ndim == 1:
                decisions = np.stack([-decisions, decisions], axis=1)
            scores = _for_all(decisions, known, labels, float(decisions.min()) - 1)
        predicted = [str(label) for label in model.predict(new_texts)]
        yield name, Outcome(new_truth, predicted, labels, positive_label, scores, probabilities)


def score_baselines(
    outcome: Outcome, texts: Sequence[str], train_texts: Sequence[str], train_truth: Sequence[str]
) -> tuple[Baseline, ...]:
    """The scores of each baseline on the messages `texts` of an outcome, and how far it is behind.

    They learn from `train_texts`. Raises BadDataError where there is nothing to learn from.
    """
    ours, resampled = compute_metrics(outcome), resample(outcome)
    found = []
    for name, theirs in baselines(
        train_texts, train_truth, texts, outcome.truth, outcome.labels, outcome.positive_label
    ):
        scores, theirs_resampled = compute_metrics(theirs), resample(theirs)
        found.append(
            Baseline(
                name,
                scores,
                intervals(scores, theirs_resampled),
                differences(ours, resampled, scores, theirs_resampled),
                mcnemar(outcome.correct, theirs.correct),
            )
        )
    return tuple(found)


def _on_tf_idf(model: Any) -> Pipeline:
    return make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        model,
    )


def _for_all(values: Floats, known: Sequence[str], labels: Sequence[str], missing: float) -> Floats:
    """(messages, labels): a column for each label, also for those that were not learnt."""
    columns = np.full((len(values), len(labels)), missing)
    columns[:, [list(labels).index(label) for label in known]] = values
    return columns
