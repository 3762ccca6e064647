"""A classifier from labelled messages of many sources, by the stages of spamgpt."""

import random
from dataclasses import replace

import numpy as np
import pandas as pd

from recipes.disguise import disguised
from recipes.labelled import sample
from spamgpt.data.rows import LABEL, SOURCE, TEXT
from spamgpt.data.tables import write_table
from spamgpt.evaluation.calibration import fit_temperature
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages import fetch, finetune, prepare
from spamgpt.workspace import Artifact, Workspace

# So many messages of every source and label, so that no large source rules; of each so many
# characters: what makes a message spam stands in its beginning, and training takes half as long.
MOST, CHARACTERS = 300, 500
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
    ngrams=True,
)
# Of the ham of a source left out, at most the one share is lost in the median, the other ever.
LOST_IN_THE_MEDIAN, LOST_AT_MOST = 0.01, 0.05
# What is tested is of sources left out.
SPLIT = "89/10/1"


def train(
    messages: pd.DataFrame, seed: int, workspace: Workspace, reporter: Reporter = SILENT
) -> Artifact:
    """Trains a classifier on messages with the columns `source`, `label` and `text`."""
    chosen = sample(messages, MOST, seed)[[LABEL, TEXT, SOURCE]]
    draw = random.Random(seed)
    chosen[TEXT] = [
        disguised(text, draw) if draw.random() < DISGUISED_SHARE else text
        for text in chosen[TEXT].str.slice(0, CHARACTERS)
    ]
    file = workspace.root / "many-sources.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_table(chosen, file)
    fetched, _ = fetch.run(fetch.FetchSettings(str(file), "mini"), workspace, reporter)
    prepared = prepare.run(
        prepare.PrepareSettings(fetched.reference, seed=seed, split=SPLIT), workspace, reporter
    )
    settings = replace(SETTINGS, prepared=prepared.reference, seed=seed)
    return finetune.run(settings, workspace, reporter)


def decision(left_out: pd.DataFrame, column: str) -> tuple[float, float]:
    """Temperature and threshold for log-odds of spam of messages whose sources were left out.

    They hold for messages unlike those trained on, which a validation split has none of.
    """
    odds = left_out[column].to_numpy()
    logits = np.stack([np.zeros_like(odds), odds], axis=1)
    spam = (left_out[LABEL] == "spam").to_numpy()
    temperature = fit_temperature(logits, spam.astype(np.intp))
    ham = left_out[~spam].groupby(SOURCE)[column]
    limits = [ham.quantile(1 - share, "higher") for share in (LOST_IN_THE_MEDIAN, LOST_AT_MOST)]
    limit = max(limits[0].median(), limits[1].max())
    # Of a message at the threshold it is said that it is spam.
    return temperature, float(np.nextafter(1 / (1 + np.exp(-limit / temperature)), 1))
