"""Rebuilds the bundled classifier: python -m recipes.classifier LABELLED COLLECTION WORKSPACE

WORKSPACE is that of `python -m benchmarks.generalization LABELLED COLLECTION`: the temperature and
the threshold are chosen on its messages of sources left out, and the card has its table. Trains as
that does, on all sources, and writes the files of `spamgpt/assets/classifier`.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from huggingface_hub import ModelCardData
from safetensors.torch import load_file

from benchmarks.generalization import BOTH, DISGUISED, FOLDS, read_folds, results, summary, table
from recipes.labelled import read_messages, sources
from recipes.many_sources import (
    CHARACTERS,
    DISGUISED_SHARE,
    MOST,
    NGRAMS_CHARACTERS,
    NGRAMS_MOST,
    SETTINGS,
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
from spamgpt.workspace import Workspace

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
# What a source is used for, by whether it is trained on and scored.
USES = {
    (True, True): "yes",
    (True, False): "yes, not scored",
    (False, True): "no, scored only",
}
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
                USES[source.trained_on, source.scored],
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


def card(config: ClassifierConfig, by_fold: Mapping[int, pd.DataFrame]) -> str:
    """The model card, from the settings of the recipe and the benchmark's scores."""
    settings, found = asdict(SETTINGS) | {"seed": SEED}, results(by_fold)
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
        summary=summary(by_fold, found),
        folds=f"{len(by_fold)} of {FOLDS}",
        answers=answers(SpamClassifier.bundled("cpu", "fp32")),
    )


def weights(labelled: Path, collection: Path) -> None:
    """Trains the bundled classifier and puts its weights into the package."""
    messages = read_messages(labelled, collection)
    allowed = [name for name, source in sources().items() if source.trained_on]
    chosen = messages[messages["source"].isin(allowed)]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "workspace")
        classifier = train(chosen, SEED, workspace, ScreenReporter())
        ngrams = fit(chosen, SEED, SpamClassifier.from_artifact(workspace, classifier))
        config = replace(ClassifierConfig.from_file(classifier.file(CONFIG_FILE)), ngrams=True)
        trained = load_file(classifier.file(TRAINED_FILE)) | stored(ngrams)
    CLASSIFIER_FOLDER.mkdir(exist_ok=True)
    config.write(CLASSIFIER_FOLDER / CONFIG_FILE)
    halves = {name: tensor.to(torch.float16) for name, tensor in trained.items()}
    write_weights(halves, CLASSIFIER_FOLDER / TRAINED_FILE)


def decide(kept: Path) -> None:
    """Chooses the temperature and the threshold for these weights, and writes the card."""
    by_fold = read_folds(kept)
    left_out = pd.concat(list(by_fold.values()))
    temperature, threshold = decision(left_out[~left_out["paired"]], BOTH)
    config = replace(
        ClassifierConfig.from_file(CLASSIFIER_FOLDER / CONFIG_FILE),
        temperature=temperature,
        threshold=float(np.ceil(10_000 * threshold) / 10_000),
    )
    config.write(CLASSIFIER_FOLDER / CONFIG_FILE)
    (CLASSIFIER_FOLDER / CARD_FILE).write_text(card(config, by_fold), encoding="utf-8")


def main() -> None:
    """Makes the bundled classifier, or only its decisions and its card."""
    parser = argparse.ArgumentParser(prog="python -m recipes.classifier", description=__doc__)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--decide", action="store_true", help="keep the weights that there are")
    options = parser.parse_args()
    if not options.decide:
        weights(options.labelled, options.collection)
    decide(options.workspace)


if __name__ == "__main__":
    main()
