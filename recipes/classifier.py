"""Rebuilds the bundled classifier: python recipes/classifier.py LABELLED COLLECTION WORKSPACE

WORKSPACE is that of a finished `python -m benchmarks.generalization LABELLED COLLECTION`: the
temperature and the threshold are those of its messages of sources left out, and the card has its
table. Trains as that does, on all sources, and writes the files of `spamgpt/assets/classifier`.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from huggingface_hub import ModelCardData
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))  # the recipes and the benchmarks

from benchmarks.generalization import BOTH, read_folds, results, summary, table
from recipes.labelled import read_messages, sources
from recipes.many_sources import CHARACTERS, MOST, decision, train
from spamgpt.bundled import CLASSIFIER_FOLDER
from spamgpt.cards.rendering import Markdown, render, settings_table
from spamgpt.cards.rendering import table as markdown
from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.folder import CONFIG_FILE, TRAINED_FILE
from spamgpt.cli.output.screen import ScreenReporter
from spamgpt.gpt2.folder import CARD_FILE
from spamgpt.gpt2.weights import write_weights
from spamgpt.workspace import Artifact, Workspace

TEMPLATES = Path(__file__).parent / "templates"
SEED = 1
# Of the table of the benchmark, so that a card stays readable.
COLUMNS = ("AUC, better linear", "AUC, spamgpt", "ham lost", "spam caught", "calibration error")


def origins() -> Markdown:
    """What the classifier was trained on, and the licence that each source states."""
    return markdown(
        ("source", "kind", "content", "licence as stated", "trained on"),
        [
            (
                source.name,
                source.kind,
                source.description,
                source.licence,
                "yes" if source.trained_on else "no, scored only",
            )
            for source in sources().values()
        ],
        left=5,
    )


def card(classifier: Artifact, config: ClassifierConfig, by_fold: dict[int, pd.DataFrame]) -> str:
    """The model card, from the record of the run and the benchmark's."""
    settings, found = classifier.settings, results(by_fold)
    told = ("unfreeze", "pooling", "epochs", "batch_size", "learning_rate", "weight_decay")
    front_matter = ModelCardData(
        license="mit",
        language="en",
        library_name="spamgpt",
        base_model="mini",
        pipeline_tag="text-classification",
        tags=["spam", "sms", "e-mail", "chat", "comments"],
        metrics=["roc_auc"],
    )
    return render(
        "bundled.md.jinja",
        front_matter,
        folder=TEMPLATES,
        most=MOST,
        characters=CHARACTERS,
        origins=origins(),
        config=config,
        settings_table=settings_table(
            {name: settings[name] for name in (*told, "schedule", "clip", "precision", "seed")}
        ),
        scores=Markdown("\n".join(table(found, COLUMNS))),
        summary=summary(found),
    )


def main(labelled: str, collection: str, kept: str) -> None:
    """Trains the bundled classifier and puts it into the package."""
    by_fold = read_folds(Path(kept))
    left_out = pd.concat(list(by_fold.values()))
    temperature, threshold = decision(left_out[~left_out["paired"]], BOTH)
    messages = read_messages(Path(labelled), Path(collection))
    allowed = [name for name, source in sources().items() if source.trained_on]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "workspace")
        chosen = messages[messages["source"].isin(allowed)]
        classifier = train(chosen, SEED, workspace, ScreenReporter())
        config = replace(
            ClassifierConfig.from_file(classifier.file(CONFIG_FILE)),
            temperature=temperature,
            threshold=float(np.round(threshold, 4)),
        )
        CLASSIFIER_FOLDER.mkdir(exist_ok=True)
        config.write(CLASSIFIER_FOLDER / CONFIG_FILE)
        trained = load_file(classifier.file(TRAINED_FILE))
        halves = {name: tensor.to(torch.float16) for name, tensor in trained.items()}
        write_weights(halves, CLASSIFIER_FOLDER / TRAINED_FILE)
        text = card(classifier, config, by_fold)
        (CLASSIFIER_FOLDER / CARD_FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
