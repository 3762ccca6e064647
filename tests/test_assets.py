"""What the package brings along: the messages, the model mini, and the classifier."""

import json
import logging
import re
import zlib
from collections import defaultdict
from pathlib import Path

import pytest
from safetensors import safe_open

import spamgpt
from recipes.labelled import sources
from spamgpt import SpamClassifier
from spamgpt.bundled import CLASSIFIER_FOLDER, MESSAGES_FILE, MINI_FOLDER
from spamgpt.classifier.config import TRAINED_FILE, ClassifierConfig
from spamgpt.data.tables import read_labelled_file
from spamgpt.gpt2.folder import FINETUNING_FILE, WEIGHTS_FILE, load_folder
from spamgpt.gpt2.language_model import next_token_loss
from spamgpt.gpt2.packing import pack
from spamgpt.training.hyperparameters import PUBLISHED_RECIPE


@pytest.fixture(scope="module")
def messages():
    return read_labelled_file(MESSAGES_FILE)


def trigrams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)}


def letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())


def test_there_are_many_and_two_in_five_are_spam(messages):
    assert len(messages) >= 1200
    assert 0.35 < (messages["label"] == "spam").mean() < 0.45
    assert messages["kind"].nunique() > 50


def test_no_two_share_more_than_half_of_their_word_trigrams(messages):
    seen: dict[tuple[str, ...], list[int]] = defaultdict(list)
    all_trigrams = [trigrams(text) for text in messages["text"]]
    for index, own in enumerate(all_trigrams):
        shared: dict[int, int] = defaultdict(int)
        for trigram in own:
            for earlier in seen[trigram]:
                shared[earlier] += 1
            seen[trigram].append(index)
        for earlier, count in shared.items():
            fewer = min(len(own), len(all_trigrams[earlier]))
            assert count / fewer <= 0.5, messages["text"].iloc[[earlier, index]].tolist()


def test_transformers_loads_mini_without_a_warning(caplog):
    import transformers

    logger = logging.getLogger("transformers")  # which hands nothing on to its parents
    logger.addHandler(caplog.handler)

    model = transformers.AutoModelForCausalLM.from_pretrained(MINI_FOLDER)
    tokenizer = transformers.AutoTokenizer.from_pretrained(MINI_FOLDER)
    assert model.config.eos_token_id == model.config.bos_token_id == tokenizer.eos_token_id
    logger.removeHandler(caplog.handler)
    assert not caplog.records


def test_addresses_are_of_domains_that_nobody_owns(messages):
    addresses = re.compile(r"(?:https?://|www\.)(\S+)")
    for text in messages["text"]:
        for address in addresses.findall(text):
            assert re.match(r"[\w.-]+\.example\b", address), text


def test_none_is_of_the_sms_spam_collection(messages, sms_collection):
    lines = sms_collection.read_text(encoding="utf-8").split("\n")[:-1]
    collection = {letters(line.split("\t", 1)[1]) for line in lines}
    own = {letters(text) for text in messages["text"]}
    # Very short talk ("ok", "on my way") is everybody's.
    assert not {text for text in own & collection if len(text) > 20}


def test_the_package_stays_small():
    package = Path(spamgpt.__file__).parent
    files = [
        path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) < 27_000_000
    assert sum(path.stat().st_size for path in MINI_FOLDER.iterdir()) < 16_000_000


def test_mini_has_learnt_how_people_write():
    model, tokenizer = load_folder(MINI_FOLDER)
    assert 7_500 <= tokenizer.vocab_size <= 8_500

    def loss(text: str) -> float:
        return next_token_loss(model, pack(tokenizer.encode([text]))).item()

    sentences = [
        "Thank you for your help, I will call you when I get home.",
        "Please let me know if you have any questions.",
        "do you want to go to the movies with me tomorrow night",
    ]
    for sentence in sentences:
        words = sentence.split()
        assert loss(sentence) < 5.5
        assert loss(sentence) < loss(" ".join(words[::-1])) - 1


def test_mini_recommends_how_to_be_trained():
    recommended = json.loads((MINI_FOLDER / FINETUNING_FILE).read_text())
    assert set(recommended) >= {"last-block", "all", "lora"}
    for values in recommended.values():
        assert set(values) <= set(PUBLISHED_RECIPE)


def test_the_card_of_mini_tells_how_it_was_made():
    card = (MINI_FOLDER / "README.md").read_text()
    for word in ("nus_sms", "CC BY 4.0", "perplexity", "seed", "spamgpt pretrain", "not good for"):
        assert word in card


def test_the_classifier_holds_only_what_training_changed():
    config = ClassifierConfig.from_file(CLASSIFIER_FOLDER / "config.json")
    assert config.labels == ["ham", "spam"]
    with (
        safe_open(CLASSIFIER_FOLDER / TRAINED_FILE, "pt") as trained,
        safe_open(MINI_FOLDER / WEIGHTS_FILE, "pt") as mini,
    ):
        for name in trained.keys():  # noqa: SIM118
            if not name.startswith(("head.", "ngrams.")):
                before = mini.get_tensor(name.removeprefix("gpt2."))
                assert (trained.get_tensor(name) != before).any(), name


def test_the_classifier_decides_as_its_card_says():
    config = ClassifierConfig.from_file(CLASSIFIER_FOLDER / "config.json")
    card = " ".join((CLASSIFIER_FOLDER / "README.md").read_text().split())
    assert config.temperature != 1
    assert config.threshold != 0.5
    assert f"Temperature ({config.temperature:.3f})" in card
    assert f"threshold ({config.threshold:.4f})" in card


def test_the_classifier_answers_as_its_card_says():
    card = (CLASSIFIER_FOLDER / "README.md").read_text()
    rows = re.findall(r"^\| (.+?) +\| (ham|spam) +\| +([01]\.\d{3}) \|$", card, re.MULTILINE)
    assert len(rows) == 10
    classifier = SpamClassifier.bundled("cpu", "fp32")
    texts, labels, told = zip(*rows, strict=True)
    assert tuple(classifier.predict(texts)) == labels
    spam = classifier.predict_proba(texts)[:, 1]
    # The other processor's rounding.
    assert spam == pytest.approx([float(value) for value in told], abs=0.002)


def test_the_classifier_was_not_trained_on_what_is_not_for_everybody():
    card = (CLASSIFIER_FOLDER / "README.md").read_text()
    for source in sources().values():
        found = re.search(rf"^\| {source.name} .*\| (.+?) +\|$", card, re.MULTILINE)
        assert found, source.name
        scored = "yes" if source.scored else "yes, not scored"
        assert found[1] == (scored if source.trained_on else "no, scored only")
        if "NC" in source.licence or "research" in source.licence:
            assert not source.trained_on
