"""prepare: cleans, de-duplicates, balances and splits a data set, and takes in corrections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from spamgpt.errors import BadDataError, UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.workspace import Artifact, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from spamgpt.data.corrections import Correction

# Where corrections go that the data set does not have: into the training split, into all splits in
# their proportion, or nowhere.
TakeCorrections = Literal["train", "split", "none"]
# "published": all as the published experiment did it (data/published.py).
Recipe = Literal["published"]


@dataclass(frozen=True)
class PrepareSettings:
    """`dataset` is a reference such as `sms-spam-collection/v1`; None takes the newest.

    `split` holds the training, validation and test shares in percent. With `recipe` the data is
    read with quotes, keeps its repeats, is balanced and not stratified. `corrections` None is
    "train", with `recipe` "none".
    """

    dataset: str | None = None
    balance: bool = False
    split: str = "70/10/20"
    seed: int = 123
    keep_duplicates: bool = False
    stratify: bool = True
    text_column: str = "text"
    label_column: str = "label"
    corrections: TakeCorrections | None = None
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        """Lets the settings say what the recipe does."""
        if self.corrections is None:
            object.__setattr__(self, "corrections", "none" if self.recipe else "train")
        if self.recipe:
            for name, value in (("balance", True), ("keep_duplicates", True), ("stratify", False)):
                object.__setattr__(self, name, value)


def run(settings: PrepareSettings, workspace: Workspace, reporter: Reporter = SILENT) -> Artifact:
    """Writes `train.csv`, `validation.csv` and `test.csv`.

    Repeats are dropped before anything is split, so that no test message was seen in training. A
    corrected message that the data set has stays in its split, with the corrected label; the others
    are added after the split, which is thus the same with and without corrections. Those whose
    label the data set lacks are left out.

    Raises UsageError, MissingInputError, IntegrityError, or BadDataError naming file and line.
    """
    from spamgpt.data import published, splits
    from spamgpt.data.corrected import correct
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
    corrections, taken_in = _corrections(settings, workspace, set(messages[LABEL]), reporter)
    if settings.recipe:
        messages = published.balance_spam(messages, settings.seed)
        parts = published.shuffle_and_cut(messages, shares, settings.seed)
    else:
        if settings.balance:
            messages = splits.balance(messages, settings.seed)
        parts = splits.split(messages, shares, settings.seed, settings.stratify)
    if corrections:
        found = correct(parts, corrections, shares if settings.corrections == "split" else None)
        parts = dict(found.parts)
        taken_in |= {"relabelled": found.relabelled, "added": found.added}
    with workspace.new("prepared", settings, inputs=[dataset]) as draft:
        for name, part in parts.items():
            write_table(part, draft.folder / f"{name}.csv")
        draft.metadata.update(
            read=read,
            repeats_dropped=repeats,
            conflicting_texts=conflicting,
            messages=sum(map(len, parts.values())),
            labels=sorted(messages[LABEL].unique()),
            **({"corrections": taken_in} if taken_in else {}),
            splits={
                name: {
                    "messages": len(part),
                    "labels": part[LABEL].value_counts().sort_index().to_dict(),
                }
                for name, part in parts.items()
            },
        )
    return draft.artifact


def takes_in(artifact: Artifact, workspace: Workspace) -> bool:
    """Whether prepared data has the corrections of the workspace as they are now, if it has any."""
    from spamgpt.data.corrections import Corrections

    digest = None
    if artifact.settings.get("corrections") != "none":
        digest = Corrections(workspace).digest
    return bool(artifact.metadata.get("corrections", {}).get("digest") == digest)


def _corrections(
    settings: PrepareSettings, workspace: Workspace, labels: set[str], reporter: Reporter
) -> "tuple[Sequence[Correction], dict[str, Any]]":
    """The corrections that fit the labels, and what is recorded of them; nothing of none."""
    from spamgpt.data.corrections import Corrections, digest_of

    every = list(Corrections(workspace)) if settings.corrections != "none" else []
    if not every:
        return [], {}
    fitting = [each for each in every if each.label in labels]
    if left_out := sorted({each.label for each in every} - labels):
        reporter.warn(
            f"Corrections left out because the data set has no label {', '.join(left_out)}: "
            f"{len(every) - len(fitting):,}."
        )
    found = {"digest": digest_of(every), "taken": len(fitting), "relabelled": 0, "added": 0}
    return fitting, found


def _labelled_messages(dataset: Artifact, settings: PrepareSettings) -> "pd.DataFrame":
    """The data set with its columns `label` and `text` first and under these names."""
    from spamgpt.data.labels import refuse_label_columns, require_labels
    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.data.tables import missing_column, read_table

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
                missing_column(table, column, str(path)),
                f"Name the column that holds the {role}: `{role}_column=NAME`",
            )
    require_labels(table, settings.label_column, str(path))
    others = [column for column in table.columns if column not in (*chosen, *chosen.values())]
    return table[[*chosen, *others]].rename(columns=chosen)
