"""learn: trains the classifier in use onward with the corrections; a better one replaces it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from spamgpt.classifier.finding import BUNDLED
from spamgpt.device import Device
from spamgpt.errors import MissingInputError, UsageError
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.evaluate import is_from_here
from spamgpt.stages.finetune import FinetuneSettings, NotKept, run_or_go_on
from spamgpt.stages.pipeline import prepare_from
from spamgpt.stages.plan import resolve_hyperparameters
from spamgpt.stages.prepare import PrepareSettings
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from spamgpt.classifier.config import ClassifierConfig
    from spamgpt.classifier.model import SpamClassifier

# Of the learning rate that the classifier was trained with: what it knows is to be kept.
_RATE_ONWARD = 0.5
# The bundled classifier is judged on the bundled messages, of which more than a tenth are needed.
_BUNDLED_SPLIT = "60/30/10"
_LOCK = ".learning.lock"


@dataclass(frozen=True)
class LearnSettings:
    """How to train onward.

    `replay` is the most messages of the data set, drawn by the seed, that are trained on again
    beside the corrections. `learning_rate` None is half of the one that the classifier in use was
    trained with or that its model recommends.
    """

    replay: int = 5000
    epochs: int = 3
    learning_rate: float | None = None
    seed: int = 123
    cache_limit: float | None = field(default=None, metadata=NO_EFFECT)
    device: Device = field(default="auto", metadata=NO_EFFECT)


@dataclass(frozen=True)
class Judged:
    """How many of some messages two classifiers get right, and what chance says.

    `p_value` is McNemar's: the probability that equally good classifiers differ at least this much.
    `loss_before` and `loss_after` are in nats a message.
    """

    messages: int
    right_before: int
    right_after: int
    loss_before: float
    loss_after: float
    p_value: float


@dataclass(frozen=True)
class Learnt:
    """What came of it: `classifier` is the new one in use, or None and `before` stays.

    `reason` says in a sentence why the new one was not taken.
    """

    before: Artifact
    prepared: Artifact
    corrections: Judged
    validation: Judged
    classifier: Artifact | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "before": self.before.reference,
            "classifier": self.classifier.reference if self.classifier else None,
            "reason": self.reason,
            "prepared": self.prepared.reference,
            "corrections": asdict(self.corrections),
            "validation": asdict(self.validation),
        }


def run(
    settings: LearnSettings, workspace: Workspace, reporter: Reporter = SILENT
) -> Learnt | None:
    """Trains the newest classifier onward on its training messages and all corrections.

    What comes out becomes an artifact, and thus the newest, only if it is not worse on the
    validation split by more than chance (McNemar's test) and better on the corrections: more of
    them right, or as many with a lower loss. Where the workspace has no classifier, the bundled one
    is brought in first, with the bundled messages for training and validation unless there are
    prepared ones.

    Returns None if the classifier in use has learnt all corrections already. Raises
    MissingInputError if there are none, UsageError while another process does the same, and what
    `finetune.run` raises.
    """
    from spamgpt.data.corrections import Corrections

    if not len(Corrections(workspace)):
        raise MissingInputError(
            f"There are no corrections in {workspace.root}.",
            "Teach some: spamgpt learn --spam",
        )
    try:
        with FileLock(workspace.root / _LOCK, timeout=0):
            return _learn(settings, workspace, reporter)
    except Timeout:
        raise UsageError(
            f"Another process is learning in {workspace.root}.", "Wait until it has ended."
        ) from None


def labels_in_use(workspace: Workspace) -> list[str]:
    """The labels of the classifier that `run` would start from."""
    from spamgpt.bundled import CLASSIFIER_FOLDER
    from spamgpt.classifier.config import CONFIG_FILE, ClassifierConfig

    if not workspace.folders("classifiers"):
        return ClassifierConfig.from_file(CLASSIFIER_FOLDER / CONFIG_FILE).labels
    return _config_of(workspace.newest("classifiers")).labels


def _learn(settings: LearnSettings, workspace: Workspace, reporter: Reporter) -> Learnt | None:
    from spamgpt.classifier.folder import read_trained
    from spamgpt.classifier.model import SpamClassifier, load_model
    from spamgpt.data.corrected import CORRECTED, YES
    from spamgpt.data.tables import read_table
    from spamgpt.device import resolve_device

    current = _in_use(workspace)
    model = workspace.input_of(current, "models")
    dataset, preparing = _old_messages(current, workspace, reporter)
    prepared = prepare_from(dataset, preparing, workspace, reporter).artifact
    train, validation = (
        read_table(prepared.file(f"{name}.csv")) for name in ("train", "validation")
    )
    corrected = train[train[CORRECTED] == YES] if CORRECTED in train else train[:0]
    if corrected.empty:
        raise MissingInputError(
            f"None of the corrections is of a message that {current.reference} can be trained on.",
            f"Its labels are {', '.join(_config_of(current).labels)}; messages of its validation "
            "and test splits are not trained on.",
        )
    if any(entry["digest"] == prepared.digest for entry in current.manifest["inputs"]):
        return None
    before = SpamClassifier.from_artifact(workspace, current, settings.device)
    finetuning = _onward(settings, current, prepared, model)
    judged: dict[str, Judged] = {}
    reasons: list[str] = []

    def keep(folder: Path) -> bool:
        files = read_trained(folder, load_model(model), model.folder)
        after = SpamClassifier(files, resolve_device(settings.device))
        for name, table in (("corrections", corrected), ("validation", validation)):
            judged[name] = _judge(before, after, table)
        newest = workspace.newest("classifiers")
        if newest.reference != current.reference:
            reasons.append(f"{newest.reference} has come meanwhile.")
        reasons.extend(_against(judged["corrections"], judged["validation"]))
        return not reasons

    try:
        classifier: Artifact | None = run_or_go_on(finetuning, workspace, reporter, keep)
    except NotKept:
        classifier = None
    return Learnt(
        current,
        prepared,
        judged["corrections"],
        judged["validation"],
        classifier,
        " ".join(reasons) or None,
    )


def _in_use(workspace: Workspace) -> Artifact:
    """The newest classifier; where there is none, the bundled one becomes the first."""
    from spamgpt.stages import import_

    if workspace.folders("classifiers"):
        return workspace.newest("classifiers")
    return import_.run(import_.ImportSettings(BUNDLED), workspace)


def _old_messages(
    current: Artifact, workspace: Workspace, reporter: Reporter
) -> tuple[Artifact, PrepareSettings]:
    """The data set that a classifier was trained on and how that was prepared, but for corrections.

    For one that was trained elsewhere it is what the workspace has, or else the bundled messages.
    """
    from spamgpt.bundled import MESSAGES_NAME
    from spamgpt.stages import fetch

    if is_from_here(current):
        prepared: Artifact | None = workspace.input_of(current, "prepared")
    else:
        labels = sorted(_config_of(current).labels)
        newest_first = reversed(workspace.artifacts("prepared"))
        prepared = next((a for a in newest_first if a.metadata["labels"] == labels), None)
    if prepared is None:
        bundled = fetch.FetchSettings(dataset=MESSAGES_NAME, offline=True)
        dataset, _ = fetch.run(bundled, workspace, reporter)
        return dataset, PrepareSettings(split=_BUNDLED_SPLIT)
    settings = PrepareSettings(**_known(PrepareSettings, prepared.settings))
    return workspace.input_of(prepared, "datasets"), replace(settings, corrections="train")


def _onward(
    settings: LearnSettings,
    current: Artifact,
    prepared: Artifact,
    model: Artifact,
) -> FinetuneSettings:
    """The fine-tuning that goes on from a classifier as it was made.

    The threshold is chosen anew, for what that of the classifier was chosen for. What that was of
    one that was trained elsewhere is not known: the default of `finetune` then. That keeps its
    promise on the validation split, while one that may lose no more than the classifier before
    loses catches little where that lost none.
    """
    if not is_from_here(current):
        config = _config_of(current)
        made = FinetuneSettings(
            unfreeze=config.unfreeze,
            pooling=config.pooling,
            attention=config.attention,
            padding=str(config.padding or "none"),
            ngrams=config.ngrams,
            positive_label=config.positive_label,
        )
    else:
        made = FinetuneSettings(**_known(FinetuneSettings, current.settings))
    chosen = replace(
        made,
        prepared=prepared.reference,
        model=None,
        start_from=current.reference,
        recipe=None,
        replay=settings.replay,
        # Enough to learn, and little to forget with; what is frozen runs once.
        unfreeze="head" if made.unfreeze == "head" else "last-block",
        lora_rank=None,
        lora_alpha=None,
        lora_targets=None,
        epochs=settings.epochs,
        patience=0,
        seed=settings.seed,
        cache_limit=settings.cache_limit,
        device=settings.device,
    )
    rate = settings.learning_rate
    if rate is None:
        rate = resolve_hyperparameters(chosen, model).learning_rate
        # One that was trained onward before has the lower rate already.
        rate *= 1 if made.replay is not None else _RATE_ONWARD
    return replace(chosen, learning_rate=rate)


def _judge(before: "SpamClassifier", after: "SpamClassifier", table: "pd.DataFrame") -> Judged:
    from spamgpt.evaluation.intervals import mcnemar

    right_before, loss_before = _score(before, table)
    right_after, loss_after = _score(after, table)
    return Judged(
        len(table),
        int(right_before.sum()),
        int(right_after.sum()),
        loss_before,
        loss_after,
        mcnemar(right_before, right_after).p_value,
    )


def _score(
    classifier: "SpamClassifier", table: "pd.DataFrame"
) -> "tuple[npt.NDArray[np.bool_], float]":
    """Which messages a classifier gets right, (messages,), and its mean loss in nats."""
    import numpy as np

    from spamgpt.data.rows import LABEL, TEXT
    from spamgpt.evaluation.calibration import log_losses

    probabilities = classifier.predict_proba(list(table[TEXT]))
    truth = np.array([classifier.labels.index(label) for label in table[LABEL]], dtype=np.intp)
    right = np.array(classifier.config.decide(probabilities)) == table[LABEL].to_numpy()
    return right, float(log_losses(truth, probabilities).mean())


def _against(corrections: Judged, validation: Judged) -> list[str]:
    """What speaks against a new classifier, each in a sentence."""
    from spamgpt.evaluation.intervals import LEVEL

    found = []
    if validation.right_after < validation.right_before and validation.p_value < 1 - LEVEL:
        found.append(
            f"It is worse on the validation split by more than chance: {validation.right_after:,} "
            f"of {validation.messages:,} right instead of {validation.right_before:,} "
            f"(p = {validation.p_value:.2g})."
        )
    if (-corrections.right_after, corrections.loss_after) >= (
        -corrections.right_before,
        corrections.loss_before,
    ):
        found.append(
            f"It is not better on the corrections: {corrections.right_after:,} of "
            f"{corrections.messages:,} right, as before {corrections.right_before:,}."
        )
    return found


def _config_of(classifier: Artifact) -> "ClassifierConfig":
    from spamgpt.classifier.config import CONFIG_FILE, ClassifierConfig

    return ClassifierConfig.from_file(classifier.file(CONFIG_FILE))


def _known(kind: type[Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded settings that this version has, too."""
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in recorded.items() if name in names}
