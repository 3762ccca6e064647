"""Rebuilds the bundled model mini: python recipes/mini.py CORPUS WORKSPACE

CORPUS is a folder with the sources below as NAME.jsonl.gz (a JSON object with `text` a line). The
pre-training takes about an hour and a quarter on two cores; where WORKSPACE holds its result
already, only the files of `spamgpt/assets/mini` are written.
"""

import math
import shutil
import sys
from pathlib import Path

import pandas as pd
import torch

from spamgpt.bundled import MINI_FOLDER
from spamgpt.cli.output.screen import ScreenReporter
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.folder import CARD_FILE, CONFIG_FILE, MODEL_FILES
from spamgpt.gpt2.model import GPT2
from spamgpt.stages import pretrain
from spamgpt.workspace import Artifact, Workspace

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


def settings(corpus: str) -> pretrain.PretrainSettings:
    """Of the one long run; the shorter ones before it are in recipes/README.md."""
    return pretrain.PretrainSettings(
        texts=(corpus,),
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
    counts = artifact.counts
    sources = "\n".join(
        f"| {source['source']} | {SOURCES[source['source']][1]} | {SOURCES[source['source']][2]} "
        f"| {source['tokens']:,} | {source['weight']:g} | {source['share']:.1%} |"
        for source in counts["sources"]
    )
    history = pd.read_csv(artifact.file("history.csv"))
    rows = "\n".join(
        f"| {record.tokens:,} | {record.epochs:.2f} | {record.training_loss:.3f} "
        f"| {record.held_out_loss:.3f} | {math.exp(record.held_out_loss):.1f} |"
        for record in history.itertuples()
    )
    config = GPT2Config.from_file(artifact.file(CONFIG_FILE))
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in GPT2(config).parameters())
    return f"""---
license: mit
language: en
pipeline_tag: text-generation
tags: [gpt2, sms, e-mail]
---
# mini

A small GPT-2 that knows how people write to each other, pre-trained for spamgpt as a start for
classifiers of messages. {parameters:,} parameters, stored in float16: {config.n_layer} blocks,
{config.n_head} heads, width {config.n_embd}, context {config.n_positions} tokens, and
{config.vocab_size:,} tokens of byte-level BPE learnt from the corpus. MIT licence.

## What it is not good for
It writes no sensible text and answers no questions. It has seen English only, much of it from
2002 to 2015, and knows of nothing later. It has the biases of its sources, which hold real spam
and some coarse language.

## Corpus
{counts["tokens"]:,} tokens were seen, {counts["epochs"]:.2f} passes over the weighted corpus. No
message of the SMS Spam Collection is in it, as `tests/test_corpus.py` checks. Left out because they
or what they are made of is for non-commercial use: {", ".join(LEFT_OUT)}.

| source | content | licence as stated | tokens | weight | share of an epoch |
|---|---|---|---:|---:|---:|
{sources}

## Training
{counts["training_seconds"] / 60:.0f} minutes on two processor cores, bfloat16 matrix products, seed
{artifact.settings["seed"]}. Losses are in nats a token, the held-out ones over the same
{artifact.settings["held_out"]:.1%} of the documents of every source, unweighted.

| tokens | epochs | training loss | held-out loss | perplexity |
|---:|---:|---:|---:|---:|
{rows}

The exact command (`recipes/mini.py` runs it):
```
{command()}
```

## How to fine-tune it
`finetuning.json` beside this card holds what suits it, chosen on validation splits;
`spamgpt finetune` takes its defaults from there.
"""


def main(corpus: str, folder: str) -> None:
    """Pre-trains mini, unless the folder holds it already, and puts it into the package."""
    workspace = Workspace(Path(folder))
    if not workspace.folders("models"):
        pretrain.run(settings(corpus), workspace, ScreenReporter())
    artifact = workspace.newest("models", "mini")
    for name in MODEL_FILES:
        shutil.copyfile(artifact.file(name), MINI_FOLDER / name)
    (MINI_FOLDER / CARD_FILE).write_text(card(artifact), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
