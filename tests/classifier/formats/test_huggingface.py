import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spamgpt import SpamClassifier
from spamgpt.classifier.config import ClassifierConfig
from spamgpt.errors import BadDataError, MissingInputError, UsageError
from tests.classifier.formats.conftest import MESSAGES


@pytest.fixture
def load():
    """The model and the tokenizer as transformers loads them from a folder."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()

    def from_folder(folder):
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        return model, AutoTokenizer.from_pretrained(folder)

    return from_folder


@torch.no_grad()
def probabilities_of(model, tokenizer, texts: list[str]) -> np.ndarray:
    inputs = tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
    return model(**inputs).logits.softmax(-1).numpy()


@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize("unfreeze", ["last-block", "all"])
def test_transformers_answers_as_the_classifier_and_so_does_what_comes_back(
    train, load, tmp_path, unfreeze, labels
):
    classifier = train(unfreeze, labels)
    expected = classifier.predict_proba(MESSAGES)
    classifier.to_huggingface(tmp_path / "out")
    model, tokenizer = load(tmp_path / "out")
    together = probabilities_of(model, tokenizer, MESSAGES)
    np.testing.assert_allclose(together, expected, atol=1e-4)
    for text, row in zip(MESSAGES, expected, strict=True):
        np.testing.assert_allclose(probabilities_of(model, tokenizer, [text])[0], row, atol=1e-4)
    assert model.config.id2label == dict(enumerate(classifier.labels))

    # transformers saves it in its own way, without the threshold and without vocab.json.
    model.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    for folder, threshold in (("out", 0.6), ("theirs", 0.5)):
        back = SpamClassifier.from_pretrained(tmp_path / folder, device="cpu", precision="fp32")
        np.testing.assert_allclose(back.predict_proba(MESSAGES), expected, atol=1e-4)
        assert (back.labels, back.config.threshold) == (classifier.labels, threshold)
    back.to_huggingface(tmp_path / "again")
    again = probabilities_of(*load(tmp_path / "again"), MESSAGES)
    np.testing.assert_allclose(again, expected, atol=1e-4)


def test_every_length_agrees_up_to_the_whole_context(train, load, tmp_path):
    classifier = train()
    texts = [("ok, " * 20)[:length] for length in range(1, classifier.context + 1)]
    classifier.to_huggingface(tmp_path / "out")
    found = probabilities_of(*load(tmp_path / "out"), texts)
    np.testing.assert_allclose(found, classifier.predict_proba(texts), atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_pipeline_agrees_in_every_batch(train, tmp_path, batch_size):
    from transformers import pipeline

    classifier = train()
    classifier.to_huggingface(tmp_path / "out")
    classify = pipeline("text-classification", str(tmp_path / "out"), device="cpu")
    answers = classify(MESSAGES, top_k=None, batch_size=batch_size, truncation=True)
    found = [{each["label"]: each["score"] for each in answer} for answer in answers]
    for answer, row in zip(found, classifier.predict_proba(MESSAGES), strict=True):
        assert answer == pytest.approx(dict(zip(classifier.labels, row, strict=True)), abs=1e-4)


def test_the_tokenizer_cuts_texts_as_ours_and_takes_none_for_padding(train, load, tmp_path):
    classifier = train()
    classifier.to_huggingface(tmp_path / "out")
    _, tokenizer = load(tmp_path / "out")
    texts = [
        *MESSAGES,
        "a\x1c\x1c b",
        "it's 12 o'clock, isn't it?",
        "<|endoftext|>",
        "a  b\t\t\nc ",
    ]
    for text, expected in zip(texts, classifier.tokenizer.encode(texts), strict=True):
        found = tokenizer(text)["input_ids"]
        assert found == expected
        assert tokenizer.pad_token_id not in found
    assert tokenizer.padding_side == "right"
    assert tokenizer.model_max_length == classifier.context


def test_the_threshold_and_the_use_stand_in_the_card_and_in_spamgpt_json(train, tmp_path):
    from huggingface_hub import ModelCard

    classifier = train(threshold=0.7)
    classifier.to_huggingface(tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-classification"
    assert "**0.7000**" in card.text
    config = ClassifierConfig.from_file(tmp_path / "out" / "spamgpt.json")
    assert config == replace(classifier.config, temperature=1.0)


def test_the_head_without_a_bias_gives_the_logits_of_the_one_with(train, tmp_path):
    classifier = train(temperature=2.0)
    classifier.to_huggingface(tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert "score.bias" not in tensors
    head = classifier.model.head
    x = torch.randn(5, 32)
    norm = classifier.model.gpt2.ln_f
    expected = head(x * norm.weight + norm.bias) / 2
    weight, bias = tensors["transformer.ln_f.weight"], tensors["transformer.ln_f.bias"]
    found = (x * weight + bias) @ tensors["score.weight"].T
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [0.0, 1e-7])
def test_a_bias_that_cannot_be_moved_is_refused(train, tmp_path, scale):
    classifier = train()
    tensors = dict(classifier._sources.tensors)
    tensors["head.weight"] = torch.ones(2, 32) + scale * torch.randn(2, 32)
    tensors["head.bias"] = torch.tensor([1.0, -1.0])
    classifier._sources = replace(classifier._sources, tensors=tensors)
    with pytest.raises(UsageError, match=r"head\.weight"):
        classifier.to_huggingface(tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


def test_what_is_there_is_not_overwritten(train, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(UsageError, match="already exists"):
        train().to_huggingface(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.fixture
def theirs(train, load, tmp_path):
    """A folder as transformers saves it."""
    train().to_huggingface(tmp_path / "out")
    model, tokenizer = load(tmp_path / "out")
    model.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def change_json(path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_labels_without_names_are_numbered_as_transformers_numbers_them(theirs):
    values = json.loads((theirs / "config.json").read_text())
    del values["id2label"], values["label2id"]
    (theirs / "config.json").write_text(json.dumps(values))
    assert SpamClassifier.from_pretrained(theirs).labels == ["LABEL_0", "LABEL_1"]


@pytest.mark.parametrize(
    ("file", "values", "told"),
    [
        ("config.json", {"problem_type": "multi_label_classification"}, "problem_type"),
        ("config.json", {"problem_type": "regression"}, "problem_type"),
        ("config.json", {"id2label": {"1": "a", "2": "b"}}, "id2label"),
        ("config.json", {"id2label": {"0": "only"}}, "labels is"),
        ("config.json", {"id2label": {"0": "a", "1": "b", "2": "c"}}, "wrong shapes"),
        ("tokenizer_config.json", {"add_prefix_space": True}, "add_prefix_space"),
        ("tokenizer_config.json", {"add_bos_token": True}, "add_bos_token"),
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "changes text"),
        ("tokenizer.json", {"post_processor": {"type": "RobertaProcessing"}}, "adds tokens"),
        (
            "tokenizer.json",
            {"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {}}]}},
            "adds tokens",
        ),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}, "does not cut"),
        ("tokenizer.json", {"model": {"type": "Unigram"}}, "does not cut"),
        ("tokenizer.json", {"model": 3}, "not as expected"),
    ],
)
def test_what_spamgpt_cannot_read_as_transformers_does_is_refused_by_name(
    theirs, file, values, told
):
    change_json(theirs / file, **values)
    with pytest.raises(BadDataError, match=told) as caught:
        SpamClassifier.from_pretrained(theirs)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(theirs, file):
    (theirs / file).unlink()
    with pytest.raises(MissingInputError, match=re.escape(file)):
        SpamClassifier.from_pretrained(theirs)


def test_a_language_model_is_no_classifier(theirs):
    path = theirs / "model.safetensors"
    tensors = load_file(path)
    del tensors["score.weight"]
    save_file(tensors, path)
    with pytest.raises(BadDataError, match=r"no score\.weight"):
        SpamClassifier.from_pretrained(theirs)


def test_n_grams_are_left_out_where_that_is_wished_and_the_card_tells_the_difference(
    train, tmp_path
):
    classifier = train(ngrams=True)
    with pytest.raises(UsageError, match="linear model on n-grams") as caught:
        classifier.to_huggingface(tmp_path / "out")
    assert "`without_ngrams`" in caught.value.hint
    agreement = classifier.to_huggingface(tmp_path / "out", without_ngrams=True, texts=MESSAGES)
    alone = SpamClassifier.from_pretrained(tmp_path / "out", device="cpu", precision="fp32")
    assert not alone.config.ngrams
    found, both = alone.predict_proba(MESSAGES), classifier.predict_proba(MESSAGES)
    assert agreement.messages == len(MESSAGES)
    assert agreement.largest_difference == pytest.approx(np.abs(found - both).max(), abs=1e-4)
    assert agreement.largest_difference > 1e-3
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"Compared with both together: {agreement}." in card
    # It stays as it was.
    np.testing.assert_array_equal(classifier.predict_proba(MESSAGES), both)


def test_without_n_grams_there_is_nothing_to_leave_out(train, tmp_path):
    assert train().to_huggingface(tmp_path / "out", without_ngrams=True) is None
    assert "n-grams" not in (tmp_path / "out" / "README.md").read_text()
