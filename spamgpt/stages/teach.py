"""teach: messages that were labelled wrong, from files or a stream, become corrections."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spamgpt.errors import UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.learn import labels_in_use
from spamgpt.stages.predict import InputFormat
from spamgpt.workspace import Workspace

if TYPE_CHECKING:
    from spamgpt.data.corrections import Changes

# The most messages that are written together.
_MOST_AT_ONCE = 256


@dataclass(frozen=True)
class TeachSettings:
    """`labelled` are pairs of a label and a path, `-` for standard input.

    What was taught of messages whose label is None is taken back. `input_format` and `text_column`
    are those of `predict`.
    """

    labelled: Sequence[tuple[str | None, str]]
    input_format: InputFormat = "auto"
    text_column: str = "text"


def run(settings: TeachSettings, workspace: Workspace, reporter: Reporter = SILENT) -> "Changes":
    """Records the right labels of messages. They are on the disk when this returns.

    Messages of a stream are recorded as they come; those recorded before an error or Ctrl-C stay.
    Raises UsageError for a label that the classifier in use does not know, MissingInputError or
    BadDataError for what cannot be read, and what `Corrections.change` raises.
    """
    from spamgpt.data.corrections import Changes, Corrections
    from spamgpt.data.prefetch import prefetch
    from spamgpt.sources.labelled import read_labelled

    wanted = {label for label, _ in settings.labelled if label is not None}
    known = labels_in_use(workspace) if wanted else []
    if unknown := sorted(wanted - set(known)):
        raise UsageError(
            f"The classifier in use has no label {', '.join(map(repr, unknown))}.",
            f"Its labels are {', '.join(known)}.",
        )
    paths = [(label, Path(path)) for label, path in settings.labelled]
    corrections = Corrections(workspace)
    messages = read_labelled(paths, reporter, settings.input_format, settings.text_column)
    counts: Counter[str] = Counter()
    for batch in prefetch(messages, _MOST_AT_ONCE):
        counts.update(asdict(corrections.change((text, label) for label, text in batch)))
    return Changes(**counts)
