"""Rebuilds the bundled model mini: python recipes/mini.py CORPUS WORKSPACE

CORPUS is a folder with the sources below as NAME.jsonl.gz (a JSON object with `text` a line). The
pre-training takes about an hour and a quarter on two cores; where WORKSPACE holds its result
already, only the files of `spamgpt/assets/mini` are written.
"""

import shutil
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import torch
from huggingface_hub import ModelCardData

from spamgpt.bundled import MINI_FOLDER
from spamgpt.cards.pretrained import PretrainedCard, corpus, history, shape
from spamgpt.cards.rendering import render
from spamgpt.cli.output.screen import ScreenReporter
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.folder import CARD_FILE, CONFIG_FILE, MODEL_FILES
from spamgpt.gpt2.model import GPT2
from spamgpt.markdown import Markdown
from spamgpt.stages import pretrain
from spamgpt.training.pretraining import PretrainingRecord
from spamgpt.workspace import Artifact, Workspace

TEMPLATES = Path(__file__).parent / "templates"

# How often an epoch goes through a source, what it is, and the licence that it states. Text that
# resembles messages counts more than reviews and books. Left out: what is for non-commercial use.
SOURCES: dict[str, tuple[float, str, str]] = {
    "nus_sms": (6, "SMS, mostly from Singapore (Chen & Kan 2013)", "free for research"),
    "spamassassin_mails": (3, "e-mail, ham and spam", "CC0 / ODC PDDL (data)"),
    "enron_spam_mails": (1, "e-mail, ham and spam (Metsis et al. 2006)", "none stated"),
    "tweets": (2, "tweets (TweetEval, conversations)", "unrestricted, platform's terms"),
    "nltk_webtext": (2, "overheard talk, bug titles, singles ads, wine notes", "none stated"),
    "topical_chat": (1, "crowd-sourced chat", "CDLA-Sharing-1.0"),
    "taskmaster4": (1, "dialogues that order coffee", "CC BY 4.0"),
    "schema_guided_dialogues": (0.3, "assistant dialogues", "CC BY-SA 4.0"),
    "intent_queries": (2, "short user queries", "CC BY 4.0, CC BY 3.0"),
    "tatoeba_sentences": (2, "single sentences", "CC BY 2.0 FR"),
    "reddit_posts": (0.5, "posts of 2013", "ODC PDDL 1.0"),
    "reddit_titles": (1, "post titles of 2013", "ODC PDDL 1.0"),
    "imdb_reviews": (0.2, "film reviews (Maas et al. 2011)", "none stated"),
    "nltk_movie_reviews": (0.2, "film reviews (Pang & Lee 2004)", "CC BY 4.0"),
    "nltk_polarity_sentences": (0.3, "sentences of reviews (Pang & Lee)", "CC BY 4.0"),
    "nltk_product_reviews": (1, "product reviews (Hu & Liu)", "CC BY 4.0"),
    "nltk_switchboard": (2, "telephone conversations", "Open Content License"),
    "nltk_masc": (1, "letters, e-mail, blogs, essays, fiction, spoken", "free, incl. commercial"),
    "nltk_problem_reports": (0.3, "bug-report titles", "none stated"),
    "nltk_abc_news": (0.3, "rural and science news of 2006", "none stated"),
    "nltk_speeches": (0.2, "presidential addresses", "public domain"),
    "classic_books": (0.15, "48 books of the 19th and early 20th century", "public domain"),
}  # fmt: skip
LEFT_OUT = ("nltk_nps_chat", "dailydialog_pp", "nltk_brown", "ag_news_sample")


def settings(texts: str) -> pretrain.PretrainSettings:
    """Of the one long run; the shorter ones before it are in recipes/README.md."""
    return pretrain.PretrainSettings(
        texts=(texts,),
        weights=(
            *((name, float(weight)) for name, (weight, _, _) in SOURCES.items()),
            *((name, 0.0) for name in LEFT_OUT),
        ),
        name="mini",
        n_layer=4,
        tokens=24_000_000,
        batch_tokens=4096,
        optimizer="adamw",
        learning_rate=0.002,
        held_out=0.002,
        store_as="float16",
    )


def command() -> str:
    """The same as a command line."""
    chosen = settings("CORPUS")
    weights = " ".join(f"--weight {name}={weight:g}" for name, weight in chosen.weights)
    return (
        f"spamgpt pretrain CORPUS {weights} --n-layer {chosen.n_layer} --tokens {chosen.tokens} "
        f"--batch-tokens {chosen.batch_tokens} --optimizer {chosen.optimizer} "
        f"--learning-rate {chosen.learning_rate} "
        f"--held-out {chosen.held_out:g} --store-as {chosen.store_as}"
    )


def card(artifact: Artifact) -> str:
    """The model card, from the record of the run."""
    config = GPT2Config.from_file(artifact.file(CONFIG_FILE))
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in GPT2(config).parameters())
    columns = [field.name for field in fields(PretrainingRecord)]
    records = pd.read_csv(artifact.file("history.csv"))[columns].itertuples(index=False)
    told = PretrainedCard(
        name="mini",
        config=config,
        parameters=parameters,
        tokens=artifact.metadata["tokens"],
        epochs=artifact.metadata["epochs"],
        seed=artifact.settings["seed"],
        sources=artifact.metadata["sources"],
        history=[PretrainingRecord(*record) for record in records],
        settings=artifact.settings,
    )
    front_matter = ModelCardData(
        license="mit",
        language="en",
        library_name="spamgpt",
        pipeline_tag="text-generation",
        tags=["gpt2", "sms", "e-mail"],
        model_name="mini",
    )
    return render(
        "mini.md.jinja",
        front_matter,
        folder=TEMPLATES,
        card=told,
        shape=shape(told),
        corpus=corpus(
            told, {name: (what, licence) for name, (_, what, licence) in SOURCES.items()}
        ),
        history=history(told),
        left_out=LEFT_OUT,
        minutes=round(artifact.metadata["training_seconds"] / 60),
        command=Markdown(command()),
    )


def main(texts: str, folder: str) -> None:
    """Pre-trains mini, unless the folder holds it already, and puts it into the package."""
    workspace = Workspace(Path(folder))
    if not workspace.folders("models"):
        pretrain.run(settings(texts), workspace, ScreenReporter())
    artifact = workspace.newest("models", "mini")
    for name in MODEL_FILES:
        shutil.copyfile(artifact.file(name), MINI_FOLDER / name)
    (MINI_FOLDER / CARD_FILE).write_text(card(artifact), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
