"""Rebuilds the bundled model mini: python recipes/mini.py CORPUS WORKSPACE

CORPUS is a folder with the sources below as NAME.jsonl.gz (a JSON object with `text` a line). The
pre-training takes two runs of an hour or more each; what WORKSPACE holds already is not run again.
Writes the files of `spamgpt/assets/mini`.
"""

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from spamgpt.cli.screen import ScreenReporter
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.folder import CARD_FILE, CONFIG_FILE, MODEL_FILES
from spamgpt.gpt2.model import GPT2
from spamgpt.sources.bundled import MINI_FOLDER
from spamgpt.stages import pretrain
from spamgpt.workspace import Artifact, Workspace

# How often an epoch of the first and of the second run goes through a source, what it is, and the
# licence that it states. Text that resembles messages counts more than reviews and books, and in
# the second run nearly alone. Left out: what is for non-commercial use.
SOURCES: dict[str, tuple[float, float, str, str]] = {
    "nus_sms": (6, 4, "SMS, mostly from Singapore (Chen & Kan 2013)", "free for research"),
    "spamassassin_mails": (3, 3, "e-mail, ham and spam", "CC0 / ODC PDDL (data)"),
    "enron_spam_mails": (1, 1, "e-mail, ham and spam (Metsis et al. 2006)", "none stated"),
    "tweets": (2, 3, "tweets (TweetEval, conversations)", "unrestricted, platform's terms"),
    "nltk_webtext": (2, 2, "overheard talk, bug titles, singles ads, wine notes", "none stated"),
    "topical_chat": (1, 1, "crowd-sourced chat", "CDLA-Sharing-1.0"),
    "taskmaster4": (1, 1, "dialogues that order coffee", "CC BY 4.0"),
    "schema_guided_dialogues": (0.3, 0.3, "assistant dialogues", "CC BY-SA 4.0"),
    "intent_queries": (2, 1, "short user queries", "CC BY 4.0, CC BY 3.0"),
    "tatoeba_sentences": (2, 1, "single sentences", "CC BY 2.0 FR"),
    "reddit_posts": (0.5, 0.5, "posts of 2013", "ODC PDDL 1.0"),
    "reddit_titles": (1, 1, "post titles of 2013", "ODC PDDL 1.0"),
    "imdb_reviews": (0.2, 0, "film reviews (Maas et al. 2011)", "none stated"),
    "nltk_movie_reviews": (0.2, 0, "film reviews (Pang & Lee 2004)", "CC BY 4.0"),
    "nltk_polarity_sentences": (0.3, 0, "sentences of reviews (Pang & Lee)", "CC BY 4.0"),
    "nltk_product_reviews": (1, 0.5, "product reviews (Hu & Liu)", "CC BY 4.0"),
    "nltk_switchboard": (2, 2, "telephone conversations", "Open Content License"),
    "nltk_masc": (1, 1, "letters, e-mail, blogs, fiction, spoken", "free, incl. commercial"),
    "nltk_problem_reports": (0.3, 0, "bug-report titles", "none stated"),
    "nltk_abc_news": (0.3, 0, "rural and science news of 2006", "none stated"),
    "nltk_speeches": (0.2, 0, "presidential addresses", "public domain"),
    "classic_books": (0.15, 0, "48 books of the 19th and early 20th century", "public domain"),
}  # fmt: skip
LEFT_OUT = ("nltk_nps_chat", "dailydialog_pp", "nltk_brown", "ag_news_sample")


def settings(corpus: str) -> tuple[pretrain.PretrainSettings, pretrain.PretrainSettings]:
    """Of the two runs; the shorter ones before them are in recipes/README.md."""
    broad = pretrain.PretrainSettings(
        texts=(corpus,),
        weights=_weights(0),
        name="mini-broad",
        layers=4,
        tokens=24_000_000,
        batch_tokens=4096,
        learning_rate=0.002,
        held_out=0.002,
        store_as="float16",
    )
    onward = replace(
        broad,
        weights=_weights(1),
        model=broad.name,
        name="mini",
        tokens=20_000_000,
        learning_rate=0.0015,
    )
    return broad, onward


def _weights(run: int) -> tuple[tuple[str, float], ...]:
    chosen = {name: float(source[run]) for name, source in SOURCES.items()}
    return tuple({**chosen, **dict.fromkeys(LEFT_OUT, 0.0)}.items())


def command(chosen: pretrain.PretrainSettings) -> str:
    """The settings as a command line."""
    weights = " ".join(f"--weight {name}={weight:g}" for name, weight in chosen.weights)
    start = f"--model {chosen.model}" if chosen.model else f"--layers {chosen.layers}"
    return (
        f"spamgpt pretrain CORPUS {weights} {start} --name {chosen.name} "
        f"--tokens {chosen.tokens} --batch-tokens {chosen.batch_tokens} "
        f"--learning-rate {chosen.learning_rate:g} --held-out {chosen.held_out:g} "
        f"--store-as {chosen.store_as}"
    )


def card(runs: Sequence[Artifact]) -> str:
    """The model card, from the records of the two runs."""
    first, second = ({source["source"]: source for source in run.counts["sources"]} for run in runs)
    sources = "\n".join(
        f"| {name} | {content} | {licence} | {first[name]['tokens']:,} "
        f"| {first[name]['weight']:g} ({first[name]['share']:.1%}) | {_share(second.get(name))} |"
        for name, (_, _, content, licence) in sorted(SOURCES.items())
    )
    config = GPT2Config.from_file(runs[-1].file(CONFIG_FILE))
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in GPT2(config).parameters())
    tokens = sum(run.counts["tokens"] for run in runs)
    tables = "\n\n".join(_training(run) for run in runs)
    commands = "\n".join(map(command, settings("CORPUS")))
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
{tokens:,} tokens were seen in two runs, the second over text that resembles messages. No message of
the SMS Spam Collection is in it, as `tests/test_corpus.py` checks. Left out because they or what
they are made of is for non-commercial use: {", ".join(LEFT_OUT)}.

Weight says how often an epoch goes through a source, share what part of the epoch that is.

| source | content | licence as stated | tokens | weight (share), first run | second run |
|---|---|---|---:|---:|---:|
{sources}

## Training
On two processor cores (the second run on one), bfloat16 matrix products, seed
{runs[-1].settings["seed"]}. Losses are in nats a token, the held-out ones over
{runs[-1].settings["held_out"]:.1%} of the documents of every source that a run used, unweighted:
what the two runs are measured on is not the same.

{tables}

The exact commands (`recipes/mini.py` runs them):
```
{commands}
```

## How to fine-tune it
`finetuning.json` beside this card holds what suits it, chosen on validation splits;
`spamgpt finetune` takes its defaults from there.
"""


def _share(source: Mapping[str, Any] | None) -> str:
    return f"{source['weight']:g} ({source['share']:.1%})" if source else "0"


def _training(run: Artifact) -> str:
    history = pd.read_csv(run.file("history.csv"))
    rows = "\n".join(
        f"| {record.tokens:,} | {record.epochs:.2f} | {record.training_loss:.3f} "
        f"| {record.held_out_loss:.3f} | {math.exp(record.held_out_loss):.1f} |"
        for record in history.itertuples()
    )
    return f"""{run.counts["training_seconds"] / 60:.0f} minutes, {run.counts["tokens"]:,} tokens,
{run.counts["epochs"]:.2f} passes over its weighted corpus:

| tokens | epochs | training loss | held-out loss | perplexity |
|---:|---:|---:|---:|---:|
{rows}"""


def write(runs: Sequence[Artifact]) -> None:
    """Writes the files of the bundled model from the two runs."""
    for name in MODEL_FILES:
        shutil.copyfile(runs[-1].file(name), MINI_FOLDER / name)
    (MINI_FOLDER / CARD_FILE).write_text(card(runs), encoding="utf-8")


def main(corpus: str, folder: str) -> None:
    workspace = Workspace(Path(folder))
    for chosen in settings(corpus):
        if not (workspace.root / "models" / str(chosen.name)).exists():
            pretrain.run(chosen, workspace, ScreenReporter())
    write([workspace.newest("models", chosen.name) for chosen in settings(corpus)])


if __name__ == "__main__":
    main(*sys.argv[1:])
