"""A classifier from labelled messages of many sources, by the stages of spamgpt."""

import random
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from recipes.disguise import disguised
from recipes.labelled import sample, sources
from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.batches import tokenize
from spamgpt.data.rows import LABEL, SOURCE, TEXT
from spamgpt.data.tables import write_table
from spamgpt.evaluation.calibration import fit_temperature
from spamgpt.gpt2.ngrams import NGrams
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages import fetch, finetune, prepare
from spamgpt.training.ngrams import fit_ngrams
from spamgpt.workspace import Artifact, Workspace

# So many messages of every source and label, so that no large source rules; of each so many
# characters: what makes a message spam stands in its beginning.
MOST, CHARACTERS = 300, 1000
# N-grams are right the more often, the more they have seen; that takes minutes.
NGRAMS_MOST, NGRAMS_CHARACTERS = 3000, 1000
# Of sources unknown GPT-2 is too sure: n-grams count so much more than where one source is learnt.
NGRAMS_WEIGHT = 2.0
# Of the messages, so many are disguised as spammers do it: half of them would be too many.
DISGUISED_SHARE = 0.3
# A second epoch learns the sources by heart, and so does the last token: the scores on others fall.
SETTINGS = finetune.FinetuneSettings(
    unfreeze="all",
    epochs=1,
    batch_size=16,
    learning_rate=2e-4,
    weight_decay=0.05,
    schedule="linear",
    clip=1.0,
    pooling="mean",
    precision="bf16",
    ngrams=False,
)
# Of the ham of a source left out, at most the one share is lost in the median, and never more than
# the other.
LOST_IN_THE_MEDIAN, LOST_AT_MOST = 0.01, 0.05
# What is tested is of sources left out.
SPLIT = "89/10/1"


def lessons(messages: pd.DataFrame, most: int, characters: int, seed: int) -> pd.DataFrame:
    """What is learnt of messages with the columns `source`, `label` and `text`, some disguised."""
    chosen = sample(messages, most, seed)[[LABEL, TEXT, SOURCE]]
    draw = random.Random(seed)
    chosen[TEXT] = [
        disguised(text, draw) if draw.random() < DISGUISED_SHARE else text
        for text in chosen[TEXT].str.slice(0, characters)
    ]
    return chosen


def train(
    messages: pd.DataFrame, seed: int, workspace: Workspace, reporter: Reporter = SILENT
) -> Artifact:
    """Trains mini on messages with the columns `source`, `label` and `text`, without n-grams."""
    file = workspace.root / "many-sources.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_table(lessons(messages, MOST, CHARACTERS, seed), file)
    fetched, _ = fetch.run(fetch.FetchSettings(str(file), "mini"), workspace, reporter)
    prepared = prepare.run(
        prepare.PrepareSettings(fetched.reference, seed=seed, split=SPLIT), workspace, reporter
    )
    settings = replace(SETTINGS, prepared=prepared.reference, seed=seed)
    return finetune.run(settings, workspace, reporter)


@torch.no_grad()
def fit(messages: pd.DataFrame, seed: int, classifier: SpamClassifier) -> NGrams:
    """The n-grams to go beside a classifier that was trained on the same messages."""
    learnt = lessons(messages, NGRAMS_MOST, NGRAMS_CHARACTERS, seed)
    tokens = tokenize(list(learnt[TEXT]), classifier.tokenizer, NGRAMS_CHARACTERS)
    labels = torch.tensor([classifier.labels.index(label) for label in learnt[LABEL]])
    ngrams = fit_ngrams(classifier.tokenizer.spellings, tokens, labels, len(classifier.labels))
    ngrams.weight.mul_(NGRAMS_WEIGHT)
    ngrams.bias.mul_(NGRAMS_WEIGHT)
    # It is asked about languages that it was not trained on.
    torch.nn.init.ones_(ngrams.caution)
    return ngrams


def decision(left_out: pd.DataFrame, column: str) -> tuple[float, float]:
    """Temperature and threshold for log-odds of spam of messages whose sources were left out.

    They hold for messages unlike those trained on, which a validation split has none of.
    Transcripts of calls, which it is not for, decide nothing.
    """
    calls = [name for name, source in sources().items() if source.kind == "call"]
    left_out = left_out[~left_out[SOURCE].isin(calls)]
    odds = left_out[column].to_numpy()
    logits = np.stack([np.zeros_like(odds), odds], axis=1)
    spam = (left_out[LABEL] == "spam").to_numpy()
    temperature = fit_temperature(logits, spam.astype(np.intp))
    ham = left_out[~spam].groupby(SOURCE)[column]
    limits = [ham.quantile(1 - share, "higher") for share in (LOST_IN_THE_MEDIAN, LOST_AT_MOST)]
    limit = max(float(limits[0].median()), float(limits[1].max()))
    # Of a message at the threshold it is said that it is spam.
    return temperature, float(np.nextafter(1 / (1 + np.exp(-limit / temperature)), 1))
