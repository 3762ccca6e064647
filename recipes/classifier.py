"""Rebuilds the bundled classifier: python -m recipes.classifier LABELLED COLLECTION WORKSPACE

WORKSPACE is that of `python -m benchmarks.generalization LABELLED COLLECTION`: the temperature and
the threshold are chosen on its messages of sources left out, and the card has its table. Trains as
that does, on all sources, and writes the files of `spamgpt/assets/classifier`.
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

from benchmarks.generalization import BOTH, DISGUISED, read_folds, results, summary, table
from recipes.labelled import read_messages, sources
from recipes.many_sources import (
    CHARACTERS,
    DISGUISED_SHARE,
    MOST,
    NGRAMS_CHARACTERS,
    NGRAMS_MOST,
    decision,
    fit,
    train,
)
from spamgpt.bundled import CLASSIFIER_FOLDER
from spamgpt.cards.rendering import render, settings_table
from spamgpt.classifier.config import CONFIG_FILE, TRAINED_FILE, ClassifierConfig
from spamgpt.classifier.model import SpamClassifier
from spamgpt.cli.output.screen import ScreenReporter
from spamgpt.gpt2.folder import CARD_FILE
from spamgpt.gpt2.weights import write_weights
from spamgpt.markdown import Markdown
from spamgpt.markdown import table as markdown
from spamgpt.training.ngrams import stored
from spamgpt.workspace import Artifact, Workspace

TEMPLATES = Path(__file__).parent / "templates"
SEED = 1
# What a newcomer might try, written for this card.
EXAMPLES = (
    "Congratulations! You have been drawn as the winner of a 1,000 gift card. Claim it within 24 "
    "hours at http://prize-desk.example/claim",
    "Your parcel could not be delivered. Pay the customs fee of 1.99 to reschedule: "
    "http://parcel-fee.example",
    "Northbank: a card payment of 42.10 to City Groceries was made on 14 May. Not you? Call the "
    "number on the back of your card.",
    "483920 is your sign-in code. It expires in 10 minutes. We will never ask you for it.",
    "Hi love, are you coming for dinner on Sunday? Dad is making his soup. Mum x",
    "The gardening letter, May: what to sow now, three recipes for rhubarb, and the dates of our "
    "open days. You can unsubscribe at any time.",
    "Invoice 2026-0417 for the repair of your bicycle is attached. Please transfer 86.50 within 14 "
    "days. Thank you for your custom.",
    "Thank you for applying for the post of librarian. We would like to invite you to an interview "
    "on Thursday at 10.",
    "Earn 500 a day from home, no experience needed! Just like videos on your phone. Message our "
    "manager on WhatsApp now, only 20 places left.",
    "I still think of our walk by the river. I miss you and cannot wait to hold your hand again.",
)
# Of the table of the benchmark, so that a card stays readable.
COLUMNS = (
    *(f"AUC, {name}" for name in ("better linear", BOTH, DISGUISED)),
    *("ham lost", "spam caught", "calibration error"),
)


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


def answers(classifier: SpamClassifier) -> Markdown:
    """What it says of the examples, a row each."""
    spam = classifier.labels.index("spam")
    probabilities = classifier.predict_proba(EXAMPLES)
    rows = zip(EXAMPLES, classifier.config.decide(probabilities), probabilities, strict=True)
    return markdown(
        ("message", "answer", "probability of spam"),
        [(text, label, f"{values[spam]:.3f}") for text, label, values in rows],
        left=2,
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
        ngrams_most=NGRAMS_MOST,
        ngrams_characters=NGRAMS_CHARACTERS,
        disguised=DISGUISED_SHARE,
        origins=origins(),
        config=config,
        settings_table=settings_table(
            {name: settings[name] for name in (*told, "schedule", "clip", "precision", "seed")}
        ),
        scores=table(found, COLUMNS),
        summary=summary(found),
        folds=len(by_fold),
        answers=answers(SpamClassifier.bundled("cpu", "fp32")),
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
        ngrams = fit(chosen, SEED, SpamClassifier.from_artifact(workspace, classifier))
        config = replace(
            ClassifierConfig.from_file(classifier.file(CONFIG_FILE)),
            ngrams=True,
            temperature=temperature,
            threshold=float(np.ceil(10_000 * threshold) / 10_000),
        )
        CLASSIFIER_FOLDER.mkdir(exist_ok=True)
        config.write(CLASSIFIER_FOLDER / CONFIG_FILE)
        trained = load_file(classifier.file(TRAINED_FILE)) | stored(ngrams)
        halves = {name: tensor.to(torch.float16) for name, tensor in trained.items()}
        write_weights(halves, CLASSIFIER_FOLDER / TRAINED_FILE)
        text = card(classifier, config, by_fold)
        (CLASSIFIER_FOLDER / CARD_FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
