import json

import pytest
from sklearn.metrics import accuracy_score, log_loss

from spamgpt.data.tables import read_table
from spamgpt.errors import BadDataError, IntegrityError, MissingInputError
from spamgpt.reporting import Reporter
from spamgpt.stages import evaluate, fetch, prepare
from spamgpt.stages.evaluate import EvaluateSettings
from spamgpt.workspace import Workspace


@pytest.fixture
def workspace(trained_workspace) -> Workspace:
    return Workspace(trained_workspace)


def test_metrics_and_predictions_agree_with_each_other_and_with_scikit_learn(workspace):
    artifact, metrics = evaluate.run(EvaluateSettings(device="cpu"), workspace)
    assert json.loads((artifact.folder / "metrics.json").read_text()) == metrics
    table = read_table(artifact.folder / "predictions.csv")
    test = read_table(workspace.root / "prepared" / "v1" / "test.csv")
    assert list(table["text"]) == list(test["text"])
    assert list(table["label"]) == list(test["label"])
    assert metrics["messages"] == len(test) == 24
    assert metrics["accuracy"] == accuracy_score(table["label"], table["predicted"])
    spam = table["probability_spam"].astype(float)
    assert metrics["loss"] == pytest.approx(log_loss(table["label"] == "spam", spam))
    assert ((spam >= 0.5) == (table["predicted"] == "spam")).all()


def test_the_splits_are_chosen_by_name(workspace):
    for split, messages in (("train", 84), ("validation", 12), ("test", 24)):
        _, metrics = evaluate.run(EvaluateSettings(split=split), workspace)
        assert (metrics["split"], metrics["messages"]) == (split, messages)


def test_newer_data_is_not_taken_unasked(workspace):
    # Its test split may hold messages that the classifier was trained on.
    prepare.run(prepare.PrepareSettings(seed=7), workspace)
    artifact, _ = evaluate.run(EvaluateSettings(), workspace)
    assert artifact.manifest["inputs"][1]["artifact"] == "prepared/v1"
    artifact, _ = evaluate.run(EvaluateSettings(prepared="v2"), workspace)
    assert artifact.manifest["inputs"][1]["artifact"] == "prepared/v2"


def test_messages_of_other_data_that_were_trained_on_are_told(workspace):
    heard = []

    class Listener(Reporter):
        def warn(self, text: str) -> None:
            heard.append(text)

    prepare.run(prepare.PrepareSettings(seed=7), workspace)
    evaluate.run(EvaluateSettings(), workspace, Listener())
    assert heard == []
    evaluate.run(EvaluateSettings(prepared="v2"), workspace, Listener())
    assert "classifiers/v1 was trained on" in heard[0]


def test_labels_that_the_classifier_does_not_know_are_named(workspace, tmp_path):
    file = tmp_path / "other.tsv"
    rows = "".join(f"{'good' if n % 2 else 'ham'}\tmessage {n}\n" for n in range(30))
    file.write_text(rows)
    model = workspace.root / "models" / "tiny" / "v1"
    fetch.run(fetch.FetchSettings(str(file), str(model)), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    with pytest.raises(BadDataError, match="does not know: good"):
        evaluate.run(EvaluateSettings(prepared="v2"), workspace)


def test_a_damaged_split_is_named(workspace):
    path = workspace.root / "prepared" / "v1" / "test.csv"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"test\.csv"):
        evaluate.run(EvaluateSettings(), workspace)


def test_without_a_classifier_the_hint_says_finetune(tmp_path):
    with pytest.raises(MissingInputError) as caught:
        evaluate.run(EvaluateSettings(), Workspace(tmp_path / "nothing"))
    assert "spamgpt finetune" in caught.value.hint
