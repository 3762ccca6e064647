"""The cards of what is bundled, as the recipes make them, of the same family."""

import json

from huggingface_hub import ModelCard

from recipes import classifier as classifier_recipe
from recipes import mini as mini_recipe
from spamgpt.stages import evaluate
from spamgpt.workspace import Workspace


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


def test_the_card_of_the_bundled_classifier_has_both_evaluations(trained_workspace):
    workspace = Workspace(trained_workspace)
    settings = evaluate.EvaluateSettings(split="validation", check_labels=False, device="cpu")
    made, evaluation = evaluate.run(settings, workspace)
    classifier = workspace.newest("classifiers")
    text = classifier_recipe.card(classifier, [made, made])
    data = ModelCard(text).data
    assert (data.license, data.base_model) == ("mit", "mini")
    assert data.metrics == ["accuracy", "precision", "recall", "f1"]
    accuracy = f"{evaluation.scores.accuracy:.2%}"
    for name in ("SMS Spam Collection", "bundled messages"):
        assert f"| {name} | 12 | {accuracy} | " in text
    assert f"Epoch {classifier.metadata['kept_epoch']} of 3 was kept" in text
    assert "- ham taken for spam, by kind: none" in text
