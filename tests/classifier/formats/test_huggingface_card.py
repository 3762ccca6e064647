from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.formats.huggingface_card import with_transformers

TWO = ClassifierConfig(["ham", "spam"], "spam", 0.7, "all")


def test_a_classifier_without_a_card_gets_one_that_the_hub_reads():
    card = with_transformers(None, TWO, 512).decode()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "at least **0.7000**" in card
    assert "first 512 tokens" in card


def test_with_more_labels_there_is_no_threshold():
    card = with_transformers(None, ClassifierConfig(["a", "b", "c"], "c", 0.7, "all"), 512)
    assert b"0.7000" not in card
    assert b"the most probable label" in card


def test_a_label_cannot_break_out_of_its_place():
    label = "spam`\n# <b>"
    card = with_transformers(None, ClassifierConfig(["ham", label], label, 0.7, "all"), 512)
    assert "`spam'\\u000a# <b>`" in card.decode()


def test_the_card_of_a_classifier_tells_of_transformers_before_its_other_uses():
    own = b"---\nlibrary_name: spamgpt\n---\n# A classifier\n\n## Use\nas ever\n\n## Training\n"
    card = with_transformers(own, TWO, 512).decode()
    assert card.startswith("---\nlibrary_name: transformers\n---\n# A classifier\n\n## Use with ")
    assert card.endswith("\n\n## Use\nas ever\n\n## Training\n")
