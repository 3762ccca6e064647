import json
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from spamgpt.cards.classifier import ClassifierCard, license_of, render_card
from spamgpt.markdown import as_markdown
from spamgpt.stages import fetch, finetune, prepare
from spamgpt.training.finetuning import EpochRecord
from spamgpt.workspace import Workspace

CARD = ClassifierCard(
    labels=["ham", "spam"],
    positive_label="spam",
    threshold=0.5,
    threshold_choice="for accuracy: catches 80.00% of spam, loses 1 of 80 ham",
    temperature=1.0,
    model="models/tiny/v1",
    model_origin="a folder",
    model_digest="ab" * 32,
    shape="2 blocks, 2 heads, width 32",
    license="mit",
    start=None,
    dataset="datasets/chat/v1",
    prepared="prepared/v1",
    prepared_digest="cd" * 32,
    splits={"train": {"messages": 1200, "labels": {"ham": 1100, "spam": 100}}},
    settings={"unfreeze": "all", "select": "best"},
    trained_parameters=1,
    all_parameters=2,
    history=[EpochRecord(1, 0.5, 0.75, 0.625, 0.8)],
    kept_epoch=1,
    validation={"accuracy": 0.8, "loss": 0.625},
    context=64,
    padded=False,
    ngrams=False,
    substitutions=[],
    versions={"torch": "2"},
)


def test_the_hub_reads_what_the_run_recorded():
    data = ModelCard(render_card(CARD)).data
    assert (data.license, data.pipeline_tag) == ("mit", "text-classification")
    assert (data.base_model, data.datasets) == ("tiny", ["chat"])
    scores = {result.metric_type: result.metric_value for result in data.eval_results}
    assert scores == {"accuracy": 0.8, "loss": 0.625}
    assert {result.dataset_split for result in data.eval_results} == {"validation"}


def test_the_card_says_how_messages_are_read_where_that_is_not_as_usual():
    usual = replace(CARD, settings=CARD.settings | {"pooling": "last", "attention": "causal"})
    assert "The head reads" not in render_card(usual)
    assert "end-of-text" not in render_card(usual)
    settings = CARD.settings | {"pooling": "mean-positions", "attention": "full"}
    text = render_card(replace(CARD, settings=settings, padded=True))
    assert "The head reads the mean of all positions of a padded message." in text
    assert "Every token of a message sees all of it." in text
    assert "Messages are filled up to 64 tokens with the end-of-text token" in text


def test_the_card_says_what_was_chosen_on_the_messages_it_scores():
    assert "the epoch was chosen on these messages" in render_card(CARD)
    fitted = replace(CARD, threshold=0.7, temperature=1.5)
    text = render_card(fitted)
    assert "the epoch and the threshold and the temperature were chosen" in text
    assert "at least 0.7000" in text
    assert "temperature 1.5000" in text
    last = replace(CARD, settings={"select": "last"})
    assert "chosen" not in render_card(last)


@pytest.mark.parametrize(
    ("origin", "base"),
    [
        ("some-Owner/tiny_2@main", "some-Owner/tiny_2"),
        ("openai-community/gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e", "openai-community/gpt2"),
        ("the spamgpt package", "tiny"),
        ("/home/zoe/models/tiny", "tiny"),
    ],
)
def test_the_base_model_is_the_repository_that_it_came_from(origin, base):
    # `fetch` keeps a repository under a name of its own, owner--name.
    model = "models/some-owner--tiny_2/v1" if "/tiny_2@" in origin else "models/tiny/v1"
    data = ModelCard(render_card(replace(CARD, model_origin=origin, model=model))).data
    assert data.base_model == base


@pytest.mark.parametrize("origin", ["/home/zoe/tiny", "../zoe/tiny", "~/zoe/tiny", "C:\\zoe\\tiny"])
def test_of_a_folder_only_the_name_is_told(origin):
    text = render_card(replace(CARD, model_origin=origin))
    assert "width 32), from tiny |" in text
    assert "zoe" not in text


def test_the_card_says_that_long_messages_are_read_in_windows():
    two = " ".join(render_card(CARD).split())
    assert "more than 64 tokens is read in windows: as few as cover it, at most four" in two
    assert "those of the first window and those of the one that is most likely spam" in two
    assert "up to 64 tokens of a message" not in two
    several = render_card(replace(CARD, labels=["a", "b", "c"], positive_label="c"))
    assert "the mean of their probabilities decides" in several


def test_the_card_names_the_classifier_that_was_trained_onward():
    assert "onward" not in render_card(CARD)
    text = render_card(replace(CARD, start=("classifiers/v3", "ef" * 32)))
    assert "| trained onward from | classifiers/v3 | efefefefefefefef |" in text


def test_scores_have_the_names_of_the_registry():
    text = render_card(replace(CARD, validation={"f1": 0.9, "ece": 0.05}))
    assert "| F1 of spam | 0.9000 |" in text
    assert "| calibration error | 0.0500 |" in text
    assert ModelCard(text).data.metrics == ["f1", "ece"]


@pytest.mark.parametrize("label", ["a|b", "<script>x</script>", "two\nlines", "*bold*", "\x1b[2J"])
def test_no_label_can_break_the_card(label):
    plain = render_card(replace(CARD, labels=["ham", "other"]))
    card = replace(
        CARD,
        labels=["ham", label],
        splits={"train": {"messages": 3, "labels": {"ham": 2, label: 1}}},
    )
    text = render_card(card)
    body = text.split("\n---\n", 1)[1]
    assert body.count("\n") == plain.split("\n---\n", 1)[1].count("\n")
    assert f" {as_markdown(label)} |" in body
    assert label not in body
    assert label in ModelCard(text).data.tags


@pytest.mark.parametrize(
    "card", ["# no front matter", "---\nlicense: [a, b]\n---\n", "---\n: : :\n - x\n---\n", ""]
)
def test_a_card_without_a_licence_gives_none(card):
    assert license_of(card) is None


def test_a_card_without_metadata_names_no_licence_and_nothing_is_said_of_it(caplog):
    assert license_of("# tiny\n") is None
    assert not caplog.records


def test_a_classifier_has_the_card_of_its_run(tmp_path, make_model, messages_file):
    model = make_model()
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# tiny\n")
    workspace = Workspace(tmp_path / "workspace")
    fetch.run(fetch.FetchSettings(dataset=str(messages_file), model=str(model)), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    settings = finetune.FinetuneSettings(epochs=2, device="cpu")
    first, second = (finetune.run(settings, workspace) for _ in range(2))
    text = first.file("README.md").read_text()
    assert text == second.file("README.md").read_text()
    data = ModelCard(text).data
    assert data.license == "apache-2.0"
    scores = {result.metric_type: result.metric_value for result in data.eval_results}
    assert scores["f1"] == pytest.approx(first.metadata["calibration"]["f1"], abs=1e-6)
    assert scores["ece"] == pytest.approx(first.metadata["calibration"]["ece"], abs=1e-6)
    assert workspace.newest("models").digest[:16] in text
    splits = workspace.newest("prepared").metadata["splits"]
    for name, split in splits.items():
        ham, spam = split["labels"]["ham"], split["labels"]["spam"]
        assert f"| {name} | {split['messages']} | {ham} | {spam} |" in text
    config = json.loads(first.file("config.json").read_text())
    assert f"at least {config['threshold']:.4f}" in text


def test_the_card_says_that_a_linear_model_is_added():
    assert "n-grams" not in render_card(CARD)
    text = " ".join(render_card(replace(CARD, ngrams=True)).split())
    assert "a linear model on n-grams of the message's bytes, tokens and words" in text
