"""prepare: cleans, de-duplicates, balances and splits a data set."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spamgpt.errors import BadDataError, UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import Artifact, Workspace

if TYPE_CHECKING:
    import pandas as pd

# "published": all as the published experiment did it (data/published.py).
Recipe = Literal["published"]


@dataclass(frozen=True)
class PrepareSettings:
    """`dataset` is a reference such as `sms-spam-collection/v1`; None takes the newest.

    `split` holds the training, validation and test shares in percent. With `recipe` the data is
    read with quotes, keeps its repeats, is balanced and not stratified.
    """

    dataset: str | None = None
    balance: bool = False
    split: str = "70/10/20"
    seed: int = 123
    keep_duplicates: bool = False
    stratify: bool = True
    text_column: str = "text"
    label_column: str = "label"
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        """Lets the settings say what the recipe does."""
        if self.recipe:
            for name, value in (("balance", True), ("keep_duplicates", True), ("stratify", False)):
                object.__setattr__(self, name, value)


def run(settings: PrepareSettings, workspace: Workspace, reporter: Reporter = SILENT) -> Artifact:
    """Writes `train.csv`, `validation.csv` and `test.csv`.

    Repeats are dropped before anything is split, so that no test message was seen in training.
    Raises UsageError, MissingInputError, IntegrityError, or BadDataError naming file and line.
    """
    from spamgpt.data import published, splits
    from spamgpt.data.labels import require_two_labels
    from spamgpt.data.rows import LABEL
    from spamgpt.data.tables import write_table

    shares = splits.Shares.parse(settings.split)
    dataset = workspace.newest("datasets", settings.dataset, reporter)
    messages = _labelled_messages(dataset, settings)
    if settings.recipe:
        messages = published.read_with_quotes(messages)
    read = len(messages)
    conflicting = splits.conflicting_texts(messages)
    if conflicting:
        reporter.warn(
            f"{conflicting} texts appear in {dataset.reference} with different labels"
            + ("." if settings.keep_duplicates else "; the first of each is kept.")
        )
    if not settings.keep_duplicates:
        messages = splits.drop_repeats(messages)
    repeats = read - len(messages)
    require_two_labels(messages, dataset.reference)
    if settings.recipe:
        messages = published.balance_spam(messages, settings.seed)
        parts = published.shuffle_and_cut(messages, shares, settings.seed)
    else:
        if settings.balance:
            messages = splits.balance(messages, settings.seed)
        parts = splits.split(messages, shares, settings.seed, settings.stratify)
    with workspace.new("prepared", settings, inputs=[dataset]) as draft:
        for name, part in parts.items():
            write_table(part, draft.folder / f"{name}.csv")
        draft.metadata.update(
            read=read,
            repeats_dropped=repeats,
            conflicting_texts=conflicting,
            messages=len(messages),
            labels=sorted(messages[LABEL].unique()),
            splits={
                name: {
                    "messages": len(part),
                    "labels": part[LABEL].value_counts().sort_index().to_dict(),
                }
                for name, part in parts.items()
            },
        )
    return draft.artifact


def _labelled_messages(dataset: Artifact, settings: PrepareSettings) -> "pd.DataFrame":
    """The data set with its columns `label` and `text` first and under these names."""
    from spamgpt.data.labels import refuse_label_columns, require_labels
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.data.tables import read_table

    path = dataset.file("messages.csv")
    table = read_table(path)
    chosen = {settings.label_column: LABEL, settings.text_column: TEXT}
    if len(chosen) < 2:
        raise UsageError(
            "`text_column` and `label_column` are the same.", "Name two different columns."
        )
    for column, role in chosen.items():
        if column not in table:
            if column == LABEL:
                refuse_label_columns(table, str(path))
            raise BadDataError(
                f"{path} has no column {column!r}; it has {', '.join(map(repr, table.columns))}.",
                f"Name the column that holds the {role}: `{role}_column=NAME`",
            )
    require_labels(table, settings.label_column, str(path))
    others = [column for column in table.columns if column not in (*chosen, *chosen.values())]
    return table[[*chosen, *others]].rename(columns=chosen)
