import json
from copy import deepcopy

import numpy as np
import pytest

from spamgpt.errors import BadDataError
from spamgpt.evaluation.baselines import score_baselines
from spamgpt.evaluation.evaluation import Evaluation
from spamgpt.evaluation.metrics import ACCURACY, LOSS, METRICS, Metric
from spamgpt.evaluation.outcome import Outcome
from spamgpt.evaluation.slices import FEWEST

TEXTS = [f"win a prize {n}" if n % 3 == 0 else f"see you at {n} then" for n in range(60)]


def evaluated(labels=("ham", "spam"), baselines=False) -> Evaluation:
    draw = np.random.default_rng(2)
    truth = draw.integers(len(labels), size=60)
    probabilities = draw.dirichlet(np.ones(len(labels)), 60) + 0.3 * np.eye(len(labels))[truth]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    answers = [labels[place] for place in probabilities.argmax(axis=1)]
    outcome = Outcome(
        [labels[place] for place in truth],
        answers,
        list(labels),
        labels[-1],
        probabilities,
        probabilities,
    )
    known = {"train_texts": TEXTS, "train_truth": outcome.truth}
    return Evaluation.of(
        outcome,
        TEXTS,
        ["mail", "phone"] * 30,
        split="test",
        threshold=0.4,
        temperature=1.5,
        seen_in_training=None,
        baselines=score_baselines(outcome, TEXTS, **known) if baselines else None,
    )


@pytest.mark.parametrize("labels", [("ham", "spam"), ("a", "b", "c")])
@pytest.mark.parametrize("baselines", [True, False])
def test_an_evaluation_is_the_same_after_json(labels, baselines):
    evaluation = evaluated(labels, baselines)
    content = evaluation.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert Evaluation.from_dict(json.loads(json.dumps(content))) == evaluation


def test_the_scores_stand_at_the_top_by_their_keys():
    evaluation = evaluated()
    content = evaluation.to_dict()
    for key, metric in METRICS.items():
        assert content[key] == evaluation.scores[metric]
        assert tuple(content["intervals"][key]) == evaluation.intervals[metric]
    assert content["labels"]["spam"]["recall"] == content["recall"]
    assert content["fewest_in_worst_slice"] == FEWEST
    assert "baselines" not in content
    for point in content["operating_points"]:
        assert {"max_false_positive_rate", "false_positive_rate", "false_positives"} <= set(point)


def test_several_labels_have_no_threshold_and_no_operating_points():
    evaluation = evaluated(("a", "b", "c"))
    assert evaluation.threshold is None
    assert evaluation.operating_points == ()


def test_a_new_metric_is_in_the_json_and_an_older_evaluation_can_still_be_read(monkeypatch):
    older = evaluated().to_dict()
    metric = Metric("said", "said", "how much {positive} is said", lambda outcome: 0.25)
    monkeypatch.setitem(METRICS, metric.key, metric)
    content = evaluated().to_dict()
    assert content["said"] == 0.25
    assert content["intervals"]["said"] is None
    found = Evaluation.from_dict(older)
    assert found.scores[metric] is None
    assert found.scores[ACCURACY] == older["accuracy"]


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("accuracy",), "high", "accuracy cannot be 'high'"),
        (("messages",), True, "messages cannot be True"),
        (("labels", "spam"), {"recall": 1.0}, "spam has no precision, f1, messages"),
        (("intervals", "accuracy"), [0.5], "accuracy has 1 values, not 2"),
        (("slices",), {}, "slices cannot be {}"),
        (("baselines",), [3], "a baseline cannot be 3"),
        (("baselines",), 3, "baselines cannot be 3"),
    ],
)
def test_what_is_no_evaluation_is_told_in_a_line(place, value, said):
    content = deepcopy(evaluated().to_dict())
    *outer, last = place
    inner = content
    for name in outer:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(BadDataError, match=r"metrics\.json is not an evaluation") as caught:
        Evaluation.from_dict(content, "metrics.json")
    assert said in caught.value.message
    assert "spamgpt evaluate" in caught.value.hint


@pytest.mark.parametrize("content", [[], 3, None, {}, {"split": "test"}])
def test_other_json_is_no_evaluation(content):
    with pytest.raises(BadDataError, match="not an evaluation"):
        Evaluation.from_dict(content)


def test_a_score_without_probabilities_stays_none():
    baseline = evaluated(baselines=True).baselines[0]
    assert baseline.scores[LOSS] is None
    assert baseline.intervals[LOSS] is None
