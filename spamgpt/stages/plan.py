"""The plan of a fine-tuning: its settings, its inputs, and what it would train."""

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from spamgpt.device import Device, TrainingPrecision
from spamgpt.errors import UsageError
from spamgpt.gpt2.pooling import AttentionPattern, Pooling
from spamgpt.reporting import Reporter
from spamgpt.training.hyperparameters import (
    Hyperparameters,
    read_recommendations,
    with_recommendations,
)
from spamgpt.training.schedule import Schedule
from spamgpt.training.variants import LORA_TARGETS, check_padding, lora_config
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace

if TYPE_CHECKING:
    from spamgpt.training.policy import Part, TrainingPolicy

Select = Literal["best", "last"]


@dataclass(frozen=True)
class FinetuneSettings:
    """`prepared` and `model` are references; None takes the newest.

    Hyper-parameters that are None are those that the model recommends for what is trained, or else
    the published recipe's. `select` keeps the epoch with the lowest validation loss ("best") or the
    final one ("last"). `positive_label` is what precision and recall are about; None takes `spam`
    if there is one, else the last label. `max_false_positive_rate` (`0.5%`) is the share of
    validation messages of the other label that the threshold may give it; None takes the threshold
    of the best F1. `cache_limit` is in GiB.

    `unfreeze` None is last-block, or all with `lora_rank`, which trains those blocks through
    adapters. `padding` is none, longest (as long as the longest training message), context, or a
    number of tokens. `lora_alpha` None is the rank, `lora_targets` None LORA_TARGETS.
    """

    prepared: str | None = None
    model: str | None = None
    unfreeze: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    schedule: Schedule | None = None
    seed: int = 123
    select: Select = "best"
    precision: TrainingPrecision = "auto"
    pooling: Pooling = "last"
    padding: str = "none"
    attention: AttentionPattern = "causal"
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_targets: str | None = None
    positive_label: str | None = None
    max_false_positive_rate: str | None = None
    cache_limit: float | None = field(default=None, metadata=NO_EFFECT)
    device: Device = field(default="auto", metadata=NO_EFFECT)


def _unfreeze(settings: FinetuneSettings) -> str:
    return settings.unfreeze or ("last-block" if settings.lora_rank is None else "all")


def resolve_hyperparameters(settings: FinetuneSettings, model: Artifact) -> Hyperparameters:
    """Those of the settings, the others as the model recommends or the published recipe has them.

    Raises UsageError or, for the model's recommendations, BadDataError.
    """
    from spamgpt.gpt2.folder import FINETUNING_FILE

    recommended = {}
    if FINETUNING_FILE in model.files:
        recommended = read_recommendations(model.file(FINETUNING_FILE), _unfreeze(settings))
    return with_recommendations(
        asdict(settings), recommended, settings.seed, keep_best=settings.select == "best"
    )


def with_hyperparameters(settings: FinetuneSettings, chosen: Hyperparameters) -> FinetuneSettings:
    """The settings with every hyper-parameter filled in, as an artifact records them."""
    if (rank := settings.lora_rank) is not None:
        alpha, targets = settings.lora_alpha, settings.lora_targets
        settings = replace(
            settings,
            lora_alpha=float(rank) if alpha is None else alpha,
            lora_targets=LORA_TARGETS if targets is None else targets,
        )
    return replace(
        settings,
        unfreeze=_unfreeze(settings),
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
        schedule=chosen.schedule,
    )


@dataclass(frozen=True)
class Plan:
    """What a fine-tuning would train: the parts of the classifier, and from what.

    `settings` are those asked for, with every hyper-parameter filled in.
    """

    settings: FinetuneSettings
    hyperparameters: Hyperparameters
    prepared: Artifact
    model: Artifact
    labels: list[str]
    positive_label: str
    policy: "TrainingPolicy"
    parts: "list[Part]"

    @property
    def trained_parameters(self) -> int:
        """How many numbers training changes."""
        return sum(part.parameters for part in self.parts if part.trained)

    @property
    def all_parameters(self) -> int:
        """How many numbers the classifier has."""
        return sum(part.parameters for part in self.parts)


def plan(settings: FinetuneSettings, workspace: Workspace) -> Plan:
    """Finds the inputs and what would be trained, without reading the weights.

    Raises UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    import torch

    from spamgpt.classifier.config import positive_label
    from spamgpt.evaluation.thresholds import parse_share
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.config import GPT2Config
    from spamgpt.gpt2.folder import CONFIG_FILE
    from spamgpt.gpt2.model import GPT2
    from spamgpt.training.policy import TrainingPolicy

    prepared = workspace.newest("prepared", settings.prepared)
    model = workspace.newest("models", settings.model)
    labels = list(prepared.metadata["labels"])
    config = GPT2Config.from_file(model.file(CONFIG_FILE))
    check_padding(settings.padding, settings.pooling, config.n_positions)
    lora = lora_config(
        settings.lora_rank, settings.lora_alpha, settings.lora_targets, config.n_embd
    )
    policy = TrainingPolicy.from_name(_unfreeze(settings), config.n_layer, lora)
    with torch.device("meta"):
        parts = policy.apply(GPT2Classifier(GPT2(config), len(labels)))
    positive = settings.positive_label or positive_label(labels)
    if positive not in labels:
        raise UsageError(
            f"`positive_label` {positive!r} is no label of {prepared.reference}.",
            f"It has {', '.join(labels)}.",
        )
    if settings.max_false_positive_rate is not None:
        parse_share(settings.max_false_positive_rate)
        if len(labels) > 2:
            raise UsageError(
                "`max_false_positive_rate` is for two labels; "
                f"{prepared.reference} has {', '.join(labels)}.",
                "Leave it out: the answer is the most probable label.",
            )
    chosen = resolve_hyperparameters(settings, model)
    filled = with_hyperparameters(settings, chosen)
    return Plan(filled, chosen, prepared, model, labels, positive, policy, parts)


def show_plan(planned: Plan, reporter: Reporter) -> None:
    """The table of what is trained."""
    from spamgpt.training.policy import show_parts

    show_parts(planned.parts, reporter)
    share = planned.trained_parameters / planned.all_parameters
    reporter.note(
        f"Trains {planned.trained_parameters:,} of {planned.all_parameters:,} parameters "
        f"({share:.2%}) {planned.hyperparameters}."
    )
