from huggingface_hub import ModelCard, ModelCardData

from spamgpt.cards.rendering import render, settings_table


def test_settings_without_a_value_are_left_out_and_paths_are_names():
    settings = {
        "texts": ("/home/zoe/chat.jsonl", "books/", "."),
        "weights": (("chat", 3.0), ("books", 0.5)),
        "minutes": None,
        "learning_rate": 1e-05,
        "balance": True,
    }
    assert settings_table(settings).splitlines()[2:] == [
        "| texts | chat.jsonl, books, a folder |",
        "| weights | chat=3, books=0.5 |",
        "| learning rate | 1e-05 |",
        "| balance | yes |",
    ]


def test_a_template_of_ones_own_extends_the_family(tmp_path):
    (tmp_path / "own.md.jinja").write_text(
        "{% extends 'base.md.jinja' %}"
        "{% block title %}{{ name }}{% endblock %}"
        "{% block limits %}\nEverything.\n{% endblock %}"
    )
    text = render("own.md.jinja", ModelCardData(license="mit"), folder=tmp_path, name="<own>")
    assert ModelCard(text).data.license == "mit"
    assert text.endswith("---\n# \\<own\\>\n\n## What it is not good for\nEverything.\n")
