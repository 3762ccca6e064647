import io
import json

import numpy as np
import pytest

from spamgpt import SpamClassifier
from spamgpt.classifier import predictor
from spamgpt.classifier.base import TextClassifier
from spamgpt.classifier.finding import BUNDLED
from spamgpt.errors import BadDataError, MissingInputError, UsageError
from spamgpt.stages import predict
from spamgpt.stages.predict import Answer, PredictSettings
from spamgpt.workspace import Workspace


@pytest.fixture
def workspace(trained_workspace) -> Workspace:
    return Workspace(trained_workspace)


def answers(workspace: Workspace, *inputs: tuple[str, str], **options) -> list[Answer]:
    streams = [(name, io.BytesIO(text.encode())) for name, text in inputs]
    result = predict.run(PredictSettings(device="cpu", **options), workspace, streams)
    return [answer for batch in result.batches for answer in batch]


def test_every_line_is_answered_in_order(workspace):
    lines = "".join(f"{'WIN a FREE prize' if n % 3 else 'see you'} {n}\n" for n in range(700))
    found = answers(workspace, ("a.txt", lines))
    assert [answer.prediction.text for answer in found] == lines.split("\n")[:-1]
    assert [answer.prediction.label for answer in found] == [
        "spam" if n % 3 else "ham" for n in range(700)
    ]


def test_an_empty_line_is_answered(workspace):
    (answer,) = answers(workspace, ("a.txt", "\n"))
    assert answer.prediction.text == ""
    assert answer.prediction.label in ("ham", "spam")


def test_files_of_several_formats_follow_each_other(workspace):
    found = answers(
        workspace,
        ("a.txt", "one\n"),
        ("b.csv", 'text,n\n"two\nlines",1\n'),
        ("c.jsonl", '{"text": "three"}\n'),
        ("d.tsv", "ham\tfour\n"),
    )
    assert [answer.prediction.text for answer in found] == ["one", "two\nlines", "three", "four"]


def test_the_text_column_is_chosen_by_name(workspace):
    (answer,) = answers(workspace, ("b.csv", "body\nhello\n"), text_column="body")
    assert answer.prediction.text == "hello"
    with pytest.raises(BadDataError, match=r"b\.csv, line 2: has no 'text'"):
        answers(workspace, ("b.csv", "body\nhello\n"), on_error="fail")


def test_the_input_format_can_be_given(workspace):
    (answer,) = answers(workspace, ("standard input", '{"text": "hi"}\n'), input_format="jsonl")
    assert answer.prediction.text == "hi"


def test_a_bad_row_ends_the_answers_after_those_before_it(workspace):
    stream = [("a.jsonl", io.BytesIO(b'{"text": "fine"}\nbroken\n'))]
    batches = predict.run(PredictSettings(on_error="fail"), workspace, stream).batches
    seen = []
    with pytest.raises(BadDataError, match="line 2"):
        for batch in batches:
            seen += [answer.prediction.text for answer in batch]
    assert seen == ["fine"]


def test_the_probability_is_that_of_the_given_label(workspace):
    (answer,) = answers(workspace, ("a.txt", "WIN a FREE prize now!!\n"))
    assert answer.prediction.label == "spam"
    assert answer.prediction.probability == answer.prediction.probabilities["spam"] > 0.5
    (answer,) = answers(workspace, ("a.txt", "WIN a FREE prize now!!\n"), threshold=1.0)
    assert answer.prediction.label == "ham"
    assert answer.prediction.probability == answer.prediction.probabilities["ham"] < 0.5


def test_answers_are_saved_when_asked(workspace):
    found = answers(workspace, ("a.txt", "one\nWIN a FREE prize\n"), save=True)
    artifact = workspace.newest("predictions")
    lines = (artifact.folder / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [answer.to_dict() for answer in found]
    assert artifact.metadata == {"messages": 2}
    assert artifact.manifest["inputs"][0]["artifact"] == "classifiers/v1"


def test_answers_of_a_stream_that_is_closed_are_kept(workspace):
    inputs = [("a.txt", io.BytesIO(b"see you\n" * 600))]
    found = predict.run(PredictSettings(device="cpu", save=True), workspace, inputs)
    first = next(found.batches)
    assert found.saved is None
    found.batches.close()
    assert found.saved is not None
    assert found.saved.metadata == {"messages": len(first), "stopped": True}
    lines = found.saved.file("predictions.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [answer.to_dict() for answer in first]


def test_answers_before_an_error_are_not_kept(workspace):
    inputs = [("a.jsonl", io.BytesIO(b'{"text": "fine"}\nbroken\n'))]
    settings = PredictSettings(device="cpu", save=True, on_error="fail")
    found = predict.run(settings, workspace, inputs)
    with pytest.raises(BadDataError, match="line 2"):
        list(found.batches)
    assert found.saved is None
    assert not (workspace.root / "predictions").exists()


def test_nothing_is_written_unasked(workspace):
    before = sorted(workspace.root.rglob("*"))
    answers(workspace, ("a.txt", "one\n"))
    assert sorted(workspace.root.rglob("*")) == before


def test_a_message_that_is_not_utf_8_is_answered(workspace):
    stream = [("a.txt", io.BytesIO(b"caf\xe9\n"))]
    ((answer,),) = predict.run(PredictSettings(), workspace, stream).batches
    assert answer.row.raw == b"caf\xe9"


def test_a_threshold_needs_two_labels(workspace, monkeypatch):
    monkeypatch.setattr(TextClassifier, "labels", ["a", "b", "c"])
    with pytest.raises(UsageError, match="a, b, c"):
        answers(workspace, threshold=0.3)


def test_a_named_classifier_that_is_not_there_is_told_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(MissingInputError) as caught:
        answers(Workspace(tmp_path / "nothing"), ("a.txt", "hi\n"), classifier="v1")
    assert "spamgpt finetune" in caught.value.hint


def test_without_a_classifier_the_bundled_one_answers_and_nothing_is_written(tmp_path):
    nothing = Workspace(tmp_path / "nothing")
    result = predict.run(
        PredictSettings(device="cpu"),
        nothing,
        [("a.txt", io.BytesIO(b"see you at 7 then x\nWIN a prize, claim at http://x.example\n"))],
    )
    assert result.classifier == BUNDLED
    (batch,) = result.batches
    assert [answer.prediction.label for answer in batch] == ["ham", "spam"]
    assert not nothing.root.exists()


def test_a_classifier_of_the_workspace_takes_precedence_unless_the_bundled_one_is_named(workspace):
    inputs = [("a.txt", io.BytesIO(b"hi\n"))]
    assert predict.run(PredictSettings(), workspace, inputs).classifier == "classifiers/v1"
    bundled = predict.run(PredictSettings(classifier=BUNDLED), workspace, inputs)
    assert bundled.classifier == BUNDLED


def test_a_text_that_came_before_is_not_scored_again(workspace, monkeypatch):
    scored: list[str] = []
    predictions = TextClassifier.predictions

    def listening(classifier, texts, *others):
        scored.extend(texts)
        return predictions(classifier, texts, *others)

    monkeypatch.setattr(TextClassifier, "predictions", listening)
    monkeypatch.setattr(predictor, "MOST_REMEMBERED", 300)
    lines = [f"line {n % 250}" for n in range(2000)] + [f"other {n}" for n in range(600)]
    lines += ["line 0", "line 1"]
    found = answers(workspace, ("a.txt", "\n".join(lines)))
    assert [answer.prediction.text for answer in found] == lines
    assert sorted(scored[:250]) == sorted(f"line {n}" for n in range(250))
    # Forgotten in the meantime.
    assert scored[250:] == [*lines[2000:2600], "line 0", "line 1"]
    monkeypatch.undo()
    exact = SpamClassifier.from_pretrained(workspace.root, device="cpu", precision="fp32")
    expected = exact.predict_proba(lines)
    probabilities = [
        [answer.prediction.probabilities[label] for label in ("ham", "spam")] for answer in found
    ]
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
