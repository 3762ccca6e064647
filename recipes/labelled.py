"""The labelled messages that the bundled classifier learns from and is judged on.

`labelled.csv` tells what each source is. Most messages are no part of the project: they lie in a
folder as NAME.jsonl.gz (a JSON object with `label` and `text` a line).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recipes.patterns import written
from spamgpt.bundled import MESSAGES_FILE, MESSAGES_NAME
from spamgpt.data.rows import LABEL, SOURCE, TEXT
from spamgpt.data.tables import read_labelled_file

ABOUT = Path(__file__).with_suffix(".csv")
COLLECTION = "sms-spam-collection"


@dataclass(frozen=True)
class LabelledSource:
    """`origin` names what is alike: to leave a source out means to leave out all of its origin.

    What is for non-commercial use or for research only is scored and never trained on; what was
    written for training (`patterns.py`) is not scored.
    """

    name: str
    origin: str
    kind: str
    description: str
    licence: str
    trained_on: bool
    scored: bool


def sources() -> dict[str, LabelledSource]:
    """All sources by their names."""
    rows = pd.read_csv(ABOUT, true_values=["yes"], false_values=["no"]).itertuples(index=False)
    return {row[0]: LabelledSource(*row) for row in rows}


def read_messages(folder: Path, collection: Path) -> pd.DataFrame:
    """The columns `source`, `label` and `text` of all messages; of equal texts the first is kept.

    `collection` is the raw SMSSpamCollection.
    """
    whole = {COLLECTION: collection, MESSAGES_NAME: MESSAGES_FILE}
    tables = [written()]
    for name, source in sources().items():
        if not source.scored:
            continue
        if name in whole:
            table = read_labelled_file(whole[name])
        else:
            path = folder / f"{name}.jsonl.gz"
            table = pd.read_json(path, lines=True, dtype=False, convert_dates=False)
        tables.append(table[[LABEL, TEXT]].assign(**{SOURCE: name}))
    messages = pd.concat(tables, ignore_index=True)
    return messages.drop_duplicates(TEXT, ignore_index=True)


def sample(messages: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most so many messages of every source and label, drawn by the seed, in random order."""
    parts = [
        part.sample(min(most, len(part)), random_state=seed)
        for _, part in messages.groupby([SOURCE, LABEL], sort=True)
    ]
    return pd.concat(parts).sample(frac=1, random_state=seed, ignore_index=True)


def folds(count: int, seed: int = 1) -> Iterator[set[str]]:
    """The names of the sources that are left out together, whole origins each time.

    Origins of one kind are dealt to different folds, as far as there are enough: others of its kind
    are then trained on.
    """
    known = [source for source in sources().values() if source.scored]
    kinds = {source.origin: source.kind for source in reversed(known)}
    origins = sorted(kinds)
    random.Random(seed).shuffle(origins)
    origins.sort(key=kinds.__getitem__)
    for fold in range(count):
        chosen = set(origins[fold::count])
        yield {source.name for source in known if source.origin in chosen}
