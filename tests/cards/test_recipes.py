"""The cards of what is bundled, as the recipes make them, of the same family."""

import json
import re

from huggingface_hub import ModelCard

from benchmarks.generalization import results, summary
from recipes import classifier as classifier_recipe
from recipes import mini as mini_recipe
from recipes.labelled import sources
from spamgpt.classifier.config import ClassifierConfig
from spamgpt.workspace import Workspace
from tests.test_generalization import left_out


def test_the_card_of_mini_has_its_sources_and_its_command(tmp_path):
    with Workspace(tmp_path).new("models", mini_recipe.settings("CORPUS"), name="mini") as draft:
        config = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 64, "vocab_size": 300}
        (draft.folder / "config.json").write_text(json.dumps({"model_type": "gpt2", **config}))
        (draft.folder / "history.csv").write_text(
            "tokens,epochs,training_loss,held_out_loss\n5000,0.5,4.5,4.25\n"
        )
        source = {"source": "nus_sms", "tokens": 9_000, "weight": 6.0, "share": 0.124}
        draft.metadata.update(tokens=5_000, epochs=0.5, training_seconds=120.0, sources=[source])
    text = mini_recipe.card(draft.artifact)
    assert ModelCard(text).data.license == "mit"
    what, licence = mini_recipe.SOURCES["nus_sms"][1:]
    assert f"| nus_sms | {what} | {licence} | 9,000 | 6 | 12.4% |" in text
    assert "| 5,000 | 0.50 | 4.500 | 4.250 | 70.1 |" in text
    assert f"\n{mini_recipe.command()}\n" in text
    assert "CORPUS --weight nus_sms=6" in text
    assert "0.2% of the documents" in text


def test_the_card_of_the_bundled_classifier_has_its_sources_and_the_benchmarks_figures(
    trained_workspace,
):
    classifier = Workspace(trained_workspace).newest("classifiers")
    config = ClassifierConfig.from_file(classifier.file("config.json"))
    by_fold = {0: left_out("thai_sms", 1), 3: left_out("turkish_sms", 2)}
    text = classifier_recipe.card(config, by_fold)
    data = ModelCard(text).data
    assert (data.license, data.base_model) == ("mit", "mini")
    for source in sources().values():
        assert f"| {source.name} | {source.kind} | " in text
    assert "2 of 10 folds" in text
    found = results(by_fold)
    for _, row in found.iterrows():
        assert f"| {row['left out']} | sms | 60 | {row['AUC, better linear']:.3f} | " in text
    assert summary(by_fold, found) in text
    assert len(re.findall(r"\| (?:ham|spam) \| [01]\.\d{3} \|", text)) == 10
