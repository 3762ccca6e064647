"""Reports to look at."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from spamgpt.evaluation.evaluation import Evaluation
from spamgpt.evaluation.label_errors import LabelCheck, Suspect
from spamgpt.evaluation.mistakes import Highlight, Mistake, surest_mistakes
from spamgpt.evaluation.outcome import Outcome
from spamgpt.evaluation.report.lineage import LineageStep
from spamgpt.evaluation.report.record import Report

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "training_loss": [0.5, 0.2, 0.1],
        "training_accuracy": [0.8, 0.95, 0.99],
        "validation_loss": [0.4, 0.3, 0.35],
        "validation_accuracy": [0.85, 0.9, 0.88],
    }
)


HOSTILE = (
    "<script>document.title = 'owned'; console.error('owned')</script>",
    "</style></blockquote><img src='http://127.0.0.1:9/pixel.png' onerror='document.title=1'>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css><style>body{display:none}</style>",
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; --> <!-- ]]>",
    "\x1b[2J\x00\x08 bell \x07 \u202egnp.exe\u2066 \ud800 half",
    "http://a.example/" + "long" * 400,
    "W" * 3000,
    "two\nlines\tand a tab",
    "",
)

MakeReport = Callable[..., Report]


@pytest.fixture(scope="session")
def make_report() -> MakeReport:
    return some_report


def some_report(
    labels: Sequence[str] = ("ham", "spam"), texts: Sequence[str] = HOSTILE, **changes: Any
) -> Report:
    """A report with something in every section; `texts` are among the mistakes in 90 messages."""
    draw = np.random.default_rng(7)
    truth = [labels[row % len(labels)] for row in range(90)]
    logits = draw.normal(0, 1.4, (90, len(labels)))
    logits[np.arange(90), [labels.index(label) for label in truth]] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predicted = [labels[row] for row in probabilities.argmax(axis=1)]
    wrong = [row for row in range(90) if truth[row] != predicted[row]]
    messages = [f"message {row}" for row in range(90)]
    for row, text in zip(wrong, texts, strict=False):
        messages[row] = text
        probabilities[row] = 0.01 / (len(labels) - 1)
        probabilities[row, labels.index(predicted[row])] = 0.99
    outcome = Outcome(truth, predicted, labels, labels[-1], probabilities, probabilities)
    mistakes = [mistake_with_highlights(mistake) for mistake in surest_mistakes(messages, outcome)]
    suspects = [Suspect(text, labels[0], labels[-1], 0.02, 0.98) for text in texts]
    values = {
        "classifier": "classifiers/v1",
        "prepared": "prepared/v1",
        "evaluation": Evaluation.from_dict(some_metrics(truth, predicted, labels)),
        "outcome": outcome,
        "mistakes": mistakes,
        "explained_by": "integrated gradients",
        "label_check": LabelCheck(suspects, 630),
        "history": HISTORY,
        "kept_epoch": 2,
        "lineage": [
            LineageStep("prepare", "prepared/v1", "ab" * 32, {"split": "70/10/20", "seed": 123})
        ],
        "versions": {"spamgpt": "0.1.0"},
        "substitutions": ["Bundled messages stand in for the collection."],
    }
    return Report(**(values | changes))  # type: ignore[arg-type]


def mistake_with_highlights(mistake: Mistake) -> Mistake:
    words = mistake.text.split(" ")
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])]).tolist()
    highlights = [
        Highlight(start, start + len(word), 1.0 - 0.7 * number)
        for number, (start, word) in enumerate(zip(starts, words, strict=True))
        if word
    ]
    return replace(mistake, highlights=highlights)


def some_metrics(
    truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> dict[str, Any]:
    """What metrics.json holds, with plausible values for what this does not compute."""
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=list(labels), zero_division=0.0
    )
    of_label = {
        label: {
            "precision": float(precision[place]),
            "recall": float(recall[place]),
            "f1": float(f1[place]),
            "messages": int(support[place]),
        }
        for place, label in enumerate(labels)
    }
    accuracy = float(np.mean([a == b for a, b in zip(truth, predicted, strict=True)]))
    scalars = {
        "accuracy": accuracy,
        "balanced_accuracy": accuracy,
        **{key: of_label[labels[-1]][key] for key in ("precision", "recall", "f1")},
        "macro_f1": float(f1.mean()),
        "roc_auc": 0.9,
        "average_precision": 0.91,
        "mcc": -0.1,
        "loss": 0.4,
        "brier": 0.1,
        "ece": 0.05,
    }
    worst = {
        "slice": "length",
        "value": "over 160 characters",
        "messages": 30,
        "accuracy": 0.5,
        "interval": [0.4, 0.6],
        "f1": None,
        "labels": {},
        "errors": 15,
    }
    binary = len(labels) == 2
    around = {key: [value - 0.05, min(1.0, value + 0.05)] for key, value in scalars.items()}
    scores = {
        "messages": len(truth),
        "positive_label": labels[-1],
        **scalars,
        "labels": of_label,
        "confusion_matrix": confusion_matrix(truth, predicted, labels=list(labels)).tolist(),
        "intervals": {
            "level": 0.95,
            "resamples": 1000,
            "seed": 123,
            **around,
            "labels": {
                label: {key: [0.1, 0.9] for key in ("precision", "recall", "f1")}
                for label in labels
            },
        },
    }
    return {
        "split": "test",
        "threshold": 0.5 if binary else None,
        "temperature": 1.25,
        **scores,
        "operating_points": [
            {
                "max_false_positive_rate": 0.001,
                "threshold": 1.0000001,
                "recall": 0.0,
                "recall_interval": [0.0, 0.0],
                "false_positive_rate": 0.0,
                "false_positives": 0,
                "false_positive_interval": [0.0, 0.08],
            },
            {
                "max_false_positive_rate": 0.01,
                "threshold": 0.97,
                "recall": 0.4,
                "recall_interval": [0.3, 0.5],
                "false_positive_rate": 0.0,
                "false_positives": 0,
                "false_positive_interval": [0.0, 0.08],
            },
        ]
        * binary,
        "slices": [worst | {"value": "to 160 characters", "accuracy": 0.8, "errors": 2}, worst],
        "worst_slice": worst,
        "fewest_in_worst_slice": 30,
        "seen_in_training": 0,
        "baselines": [
            {
                **scores,
                "name": "TF-IDF + linear SVM",
                "difference": {"accuracy": {"value": 0.02, "interval": [-0.01, 0.05]}},
                "mcnemar": {"only_first": 5, "only_second": 3, "p_value": 0.73},
            }
        ],
    }
