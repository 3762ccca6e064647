import json
import re
import shutil
import sys

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from spamgpt import SpamClassifier
from spamgpt.classifier.explanation import explain
from spamgpt.data.tables import read_table
from spamgpt.errors import BadDataError, IntegrityError, MissingInputError
from spamgpt.evaluation.metrics import ACCURACY
from spamgpt.reporting import Reporter
from spamgpt.stages import evaluate, fetch, finetune, prepare
from spamgpt.stages.evaluate import EvaluateSettings
from spamgpt.stages.finetune import FinetuneSettings
from spamgpt.workspace import Workspace


@pytest.fixture
def workspace(trained_workspace) -> Workspace:
    return Workspace(trained_workspace)


def test_metrics_and_predictions_agree_with_each_other_and_with_scikit_learn(workspace):
    artifact, evaluation = evaluate.run(EvaluateSettings(device="cpu"), workspace)
    metrics = json.loads((artifact.folder / "metrics.json").read_text())
    assert evaluation.to_dict() == metrics
    assert evaluate.read_evaluation(artifact) == evaluation
    table = read_table(artifact.folder / "predictions.csv")
    test = read_table(workspace.root / "prepared" / "v1" / "test.csv")
    assert list(table["text"]) == list(test["text"])
    assert list(table["label"]) == list(test["label"])
    assert metrics["messages"] == len(test) == 24
    assert metrics["accuracy"] == accuracy_score(table["label"], table["predicted"])
    spam = table["probability_spam"].astype(float)
    assert metrics["loss"] == pytest.approx(log_loss(table["label"] == "spam", spam))
    assert ((spam >= metrics["threshold"]) == (table["predicted"] == "spam")).all()


def test_long_messages_score_as_in_predict(tmp_path, make_model):
    file = tmp_path / "mails.tsv"
    file.write_text(
        "".join(
            f"ham\tsee you {n} at home\nspam\tsee you {n}{' later' * 20} WIN\n" for n in range(20)
        )
    )
    workspace = Workspace(tmp_path / "workspace")
    fetch.run(fetch.FetchSettings(str(file), str(make_model())), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    finetune.run(FinetuneSettings(epochs=1, device="cpu"), workspace)

    class Listener(Reporter):
        def note(self, text):
            heard.append(text)

    heard = []
    artifact, _ = evaluate.run(EvaluateSettings(precision="fp32"), workspace, Listener())
    table = read_table(artifact.file("predictions.csv"))
    long = sum(len(text) > 64 for text in table["text"])
    assert 0 < long < len(table)
    assert heard == [f"Messages of more than 64 tokens, read in windows: {long}."]
    classifier = SpamClassifier.from_pretrained(workspace.root, precision="fp32")
    alone = [classifier.predict_proba([text])[0, 1] for text in table["text"]]
    np.testing.assert_allclose(table["probability_spam"].astype(float), alone, atol=1e-6)


def test_the_splits_are_chosen_by_name(workspace):
    for split, messages in (("train", 84), ("validation", 12), ("test", 24)):
        _, evaluation = evaluate.run(EvaluateSettings(split=split), workspace)
        assert (evaluation.split, evaluation.scores.messages) == (split, messages)


def test_newer_data_is_not_taken_unasked(workspace):
    # Its test split may hold messages that the classifier was trained on.
    prepare.run(prepare.PrepareSettings(seed=7), workspace)
    artifact, _ = evaluate.run(EvaluateSettings(), workspace)
    assert artifact.manifest["inputs"][1]["artifact"] == "prepared/v1"
    artifact, _ = evaluate.run(EvaluateSettings(prepared="v2"), workspace)
    assert artifact.manifest["inputs"][1]["artifact"] == "prepared/v2"


def test_every_evaluation_tells_how_many_messages_were_trained_on(workspace):
    prepare.run(prepare.PrepareSettings(seed=7), workspace)
    train, test = (
        {*read_table(workspace.root / "prepared" / path)["text"]}
        for path in ("v1/train.csv", "v2/test.csv")
    )
    for settings, seen in (
        (EvaluateSettings(), 0),
        (EvaluateSettings(split="train"), 84),
        (EvaluateSettings(prepared="v2"), len(train & test)),
    ):
        artifact, evaluation = evaluate.run(settings, workspace)
        assert evaluation.seen_in_training == artifact.metadata["seen_in_training"] == seen
    assert 0 < len(train & test) < 24


def test_a_classifier_of_an_older_version_still_answers(workspace):
    before, _ = evaluate.run(EvaluateSettings(device="cpu"), workspace)
    folder = workspace.root / "classifiers" / "v1"
    config = json.loads((folder / "config.json").read_text())
    temperature = config.pop("temperature")
    older = workspace.newest("classifiers")
    with workspace.new(
        "classifiers",
        FinetuneSettings(),
        [workspace.newest("prepared"), workspace.newest("models")],
    ) as draft:
        shutil.copy(older.file("trained.safetensors"), draft.folder)
        (draft.folder / "config.json").write_text(json.dumps(config))
    artifact, evaluation = evaluate.run(EvaluateSettings(device="cpu"), workspace)
    assert evaluation.seen_in_training is None
    assert evaluation.temperature == 1
    odds = [
        np.log(1 / read_table(made.file("predictions.csv"))["probability_ham"].astype(float) - 1)
        for made in (before, artifact)
    ]
    # Its probabilities are those before scaling.
    assert odds[1].to_numpy() == pytest.approx(temperature * odds[0].to_numpy(), rel=1e-6)


def test_operating_points_and_slices_are_of_the_predictions(workspace):
    artifact, evaluation = evaluate.run(EvaluateSettings(), workspace)
    table = read_table(artifact.file("predictions.csv"))
    spam, is_spam = table["probability_spam"].astype(float), table["label"] == "spam"
    for point in evaluation.operating_points:
        assert point.recall == (spam >= point.threshold)[is_spam].mean()
        assert point.false_positive_rate == (spam >= point.threshold)[~is_spam].mean()
    wrong = (table["label"] != table["predicted"]).sum()
    lengths = [each for each in evaluation.slices if each.slice == "length"]
    assert sum(each.messages for each in lengths) in (0, 24)
    assert sum(each.errors for each in lengths) in (0, wrong)
    low, high = evaluation.intervals[ACCURACY]
    assert low <= evaluation.scores.accuracy <= high


def test_sources_are_kept_by_prepare_and_told_apart(workspace, tmp_path):
    file = tmp_path / "two.csv"
    table = read_table(workspace.root / "datasets" / "chat" / "v1" / "messages.csv")
    table["source"] = ["mail", "phone", "phone"] * 40
    table.to_csv(file, index=False)
    model = workspace.root / "models" / "tiny" / "v1"
    fetch.run(fetch.FetchSettings(str(file), str(model)), workspace)
    prepared = prepare.run(prepare.PrepareSettings(), workspace)
    _, evaluation = evaluate.run(EvaluateSettings(prepared=prepared.reference), workspace)
    found = {each.value: each.messages for each in evaluation.slices if each.slice == "source"}
    test = read_table(prepared.file("test.csv"))
    assert found == test["source"].value_counts().to_dict()


def test_baselines_learn_from_the_same_data_and_only_when_asked(workspace, monkeypatch):
    _, evaluation = evaluate.run(EvaluateSettings(split="validation", baseline=True), workspace)
    ours, (svm, logistic, majority) = evaluation.scores[ACCURACY], evaluation.baselines
    assert majority.scores[ACCURACY] == pytest.approx(8 / 12)
    for baseline in evaluation.baselines:
        difference = baseline.differences["accuracy"]
        assert difference.value == ours - baseline.scores[ACCURACY]
        assert difference.interval[0] <= difference.value <= difference.interval[1]
        assert baseline.scores.messages == 12
    assert svm.scores[ACCURACY] == logistic.scores[ACCURACY] == 1  # the words give it away
    monkeypatch.setitem(sys.modules, "spamgpt.evaluation.baselines", None)
    _, evaluation = evaluate.run(EvaluateSettings(), workspace)
    assert evaluation.baselines is None


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


def test_every_evaluation_has_a_report_and_the_same_inputs_give_the_same_bytes(workspace):
    first, _ = evaluate.run(EvaluateSettings(device="cpu"), workspace)
    second, _ = evaluate.run(EvaluateSettings(device="cpu"), workspace)
    page = first.file("report.html").read_text(encoding="utf-8")
    assert page == second.file("report.html").read_text(encoding="utf-8")
    for kind in ("datasets", "models", "prepared", "classifiers"):
        artifact = workspace.newest(kind)
        assert artifact.reference in page
        assert artifact.digest[:12] in page
    assert "of 84 labels" in page or "none of the 84 labels" in page


def test_a_report_names_what_is_gone_and_says_why_labels_were_not_checked(workspace):
    prepare.run(prepare.PrepareSettings(seed=7), workspace)
    shutil.rmtree(workspace.root / "prepared" / "v1")
    artifact, _ = evaluate.run(EvaluateSettings(prepared="v2"), workspace)
    page = artifact.file("report.html").read_text(encoding="utf-8")
    assert "Not checked: the workspace no longer holds prepared/v1 as it was." in page
    assert "too few messages" not in page
    assert "gone" in page


def test_too_few_messages_to_check_labels_are_told_as_such(tmp_path, make_model):
    file = tmp_path / "few.tsv"
    file.write_text("spam\twin a prize\n" + "".join(f"ham\tsee you {n}\n" for n in range(30)))
    workspace = Workspace(tmp_path / "workspace")
    fetch.run(fetch.FetchSettings(str(file), str(make_model())), workspace)
    prepare.run(prepare.PrepareSettings(stratify=False, seed=2), workspace)
    finetune.run(FinetuneSettings(epochs=1, device="cpu"), workspace)
    artifact, _ = evaluate.run(EvaluateSettings(device="cpu"), workspace)
    page = artifact.file("report.html").read_text(encoding="utf-8")
    assert "Not checked: every label needs two messages" in page


def test_the_extras_of_the_report_can_be_turned_off(workspace, monkeypatch):
    for extra in ("classifier.explanation.explain", "evaluation.label_errors.find_label_errors"):
        monkeypatch.setattr(f"spamgpt.{extra}", None)  # a call would fail
    settings = EvaluateSettings(
        explain_mistakes=False, check_labels=False, split="validation", device="cpu"
    )
    artifact, evaluation = evaluate.run(settings, workspace)
    page = artifact.file("report.html").read_text(encoding="utf-8")
    assert "Not checked: that was turned off." in page
    wrong = evaluation.scores.accuracy < 1
    assert ("was not worked out: that was turned off" in page) == wrong


def test_the_report_marks_the_words_that_drove_the_mistakes(workspace, tmp_path):
    texts = {"ham": "WIN a FREE prize now!!", "spam": "see you at home"}
    rows = "".join(
        f"{label}\t{text} {number}\n" for number in range(30) for label, text in texts.items()
    )
    file = tmp_path / "swapped.tsv"
    file.write_text(rows)
    model = workspace.root / "models" / "tiny" / "v1"
    fetch.run(fetch.FetchSettings(str(file), str(model)), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    artifact, evaluation = evaluate.run(EvaluateSettings(prepared="v2"), workspace)
    assert evaluation.scores.accuracy < 0.5
    page = artifact.file("report.html").read_text(encoding="utf-8")
    assert "occlusion" in page
    scored = read_table(artifact.file("predictions.csv"))
    wrong = scored[scored["label"] != scored["predicted"]]
    text, predicted = wrong["text"].iloc[0], wrong["predicted"].iloc[0]
    classifier = SpamClassifier.from_pretrained(workspace.root, device="cpu")
    strongest = max(explain(classifier, text, predicted), key=lambda span: abs(span.weight))
    word = text[strongest.start : strongest.end].strip()
    assert re.search(rf'style="--weight:1.00">{re.escape(word)}</mark>', page)


def test_the_bundled_classifier_and_one_in_a_folder_are_scored_like_any_other(workspace, tmp_path):
    artifact, evaluation = evaluate.run(EvaluateSettings("bundled", baseline=True), workspace)
    assert [entry["artifact"] for entry in artifact.manifest["inputs"]] == ["prepared/v1"]
    assert artifact.metadata["classifier"] == "bundled"
    assert evaluation.scores.messages == 24
    assert evaluation.seen_in_training is None
    assert evaluation.baselines
    report = (artifact.folder / "report.html").read_text()
    assert "bundled on the test split" in report
    assert "the classifier was trained elsewhere" in report
    folder = tmp_path / "own"
    SpamClassifier.from_pretrained(workspace.root).save_pretrained(folder)
    _, alone = evaluate.run(EvaluateSettings(str(folder)), workspace)
    _, inside = evaluate.run(EvaluateSettings("v1"), workspace)
    assert alone.scores == inside.scores


def test_without_a_classifier_the_bundled_one_is_not_scored_unasked(workspace):
    shutil.rmtree(workspace.root / "classifiers")
    with pytest.raises(MissingInputError, match="no classifier"):
        evaluate.run(EvaluateSettings(), workspace)
