"""The plan of a fine-tuning: its settings, its inputs, and what it would train."""

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from spamgpt.device import Device, TrainingPrecision
from spamgpt.errors import UsageError
from spamgpt.evaluation.goals import MAX_FALSE_POSITIVE_RATE, ThresholdGoal
from spamgpt.gpt2.pooling import AttentionPattern, Pooling
from spamgpt.reporting import SILENT, Reporter
from spamgpt.stages.prepare import Recipe
from spamgpt.training.hyperparameters import (
    PUBLISHED_RECIPE,
    ClassWeights,
    Hyperparameters,
    read_recommendations,
    with_recommendations,
)
from spamgpt.training.schedule import Schedule
from spamgpt.training.variants import LORA_TARGETS, check_padding, lora_config
from spamgpt.workspace import NO_EFFECT, Artifact, Workspace

if TYPE_CHECKING:
    from spamgpt.classifier.config import ClassifierConfig
    from spamgpt.training.policy import Part, TrainingPolicy

Select = Literal["best", "last"]


@dataclass(frozen=True)
class FinetuneSettings:
    """`prepared` and `model` are references; None takes the newest.

    `start_from` is the reference of a classifier whose weights and head training starts from; its
    model and labels are those of this one. None starts from the model, with a new head. `replay`
    is the most training messages that no correction names (None: all of them), drawn by the seed.
    Hyper-parameters that are None are those that the model recommends for what is trained, or else
    the published recipe's. `select` keeps the epoch with the lowest validation loss ("best") or the
    final one ("last"). `positive_label` is what precision and recall are about; None takes `spam`
    if there is one, else the last label. With two labels `threshold_for` tells how the threshold is
    chosen. None is "false-positive-rate": at most a share `max_false_positive_rate` (None: `1%`) of
    the validation messages of the other label get the positive one. `cache_limit` is in GiB.

    `unfreeze` None is last-block, or all with `lora_rank`, which trains those blocks through
    adapters. `padding` is none, longest (as long as the longest training message), context, or a
    number of tokens. `pooling`, `padding` and `attention` None are those of the classifier to start
    from, or else of Reading. `lora_alpha` None is the rank, `lora_targets` None LORA_TARGETS.

    `recipe` "published" takes the published experiment's order of batches and hyper-parameters,
    whatever the model recommends, and its measurements; `as_published` gives the rest of it.

    `shard` spreads the model over the processes of torchrun, and `checkpoint_activations` computes
    blocks twice instead of keeping what happens in them: both are for models that do not fit.
    """

    prepared: str | None = None
    model: str | None = None
    start_from: str | None = None
    replay: int | None = None
    unfreeze: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    schedule: Schedule | None = None
    warmup: float | None = None
    accumulate: int | None = None
    class_weights: ClassWeights | None = None
    clip: float | None = None
    dropout: float | None = None
    label_smoothing: float | None = None
    patience: int | None = None
    ngrams: bool | None = None
    seed: int = 123
    select: Select = "best"
    precision: TrainingPrecision = "auto"
    pooling: Pooling | None = None
    padding: str | None = None
    attention: AttentionPattern | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_targets: str | None = None
    positive_label: str | None = None
    threshold_for: ThresholdGoal | None = None
    max_false_positive_rate: str | None = None
    recipe: Recipe | None = None
    cache_limit: float | None = field(default=None, metadata=NO_EFFECT)
    shard: bool = field(default=False, metadata=NO_EFFECT)
    checkpoint_activations: bool = field(default=False, metadata=NO_EFFECT)
    device: Device = field(default="auto", metadata=NO_EFFECT)


@dataclass(frozen=True)
class Reading:
    """How messages are read, as in FinetuneSettings, with the defaults of a new classifier."""

    pooling: Pooling = "last"
    padding: str = "none"
    attention: AttentionPattern = "causal"


# What the published experiment does besides its order of batches.
PUBLISHED: Mapping[str, Any] = {
    "pooling": "last-position",
    "padding": "longest",
    "select": "last",
    "precision": "fp32",
    "threshold_for": "accuracy",
}


def as_published(settings: FinetuneSettings, given: Set[str]) -> FinetuneSettings:
    """The settings of the published experiment, but for those that were `given`."""
    others = {name: value for name, value in PUBLISHED.items() if name not in given}
    if "max_false_positive_rate" in given:
        others.pop("threshold_for", None)
    return replace(settings, recipe="published", **others)


def _unfreeze(settings: FinetuneSettings) -> str:
    return settings.unfreeze or ("last-block" if settings.lora_rank is None else "all")


def resolve_hyperparameters(settings: FinetuneSettings, model: Artifact) -> Hyperparameters:
    """Those of the settings, the others as the model recommends or the published recipe has them.

    Raises UsageError or, for the model's recommendations, BadDataError.
    """
    from spamgpt.gpt2.folder import FINETUNING_FILE

    recommended = {}
    if FINETUNING_FILE in model.files and not settings.recipe:
        rank, alpha = settings.lora_rank, settings.lora_alpha
        lora = rank is not None and alpha in (None, rank)
        path = model.file(FINETUNING_FILE)
        recommended = read_recommendations(path, _unfreeze(settings), lora)
    return with_recommendations(
        asdict(settings),
        recommended,
        settings.seed,
        keep_best=settings.select == "best",
        published_order=settings.recipe is not None,
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
    hyperparameters = {name: getattr(chosen, name) for name in PUBLISHED_RECIPE}
    return replace(settings, unfreeze=_unfreeze(settings), **hyperparameters)


def resolve_reading(settings: FinetuneSettings, usual: Reading | None = None) -> Reading:
    """That of the settings; what they leave open is `usual`, or that of a new classifier."""
    chosen = {name: getattr(settings, name) for name in asdict(Reading())}
    given = {name: value for name, value in chosen.items() if value is not None}
    return replace(usual or Reading(), **given)


def with_reading(settings: FinetuneSettings, reading: Reading) -> FinetuneSettings:
    """The settings with how messages are read filled in, as an artifact records them."""
    return replace(settings, **asdict(reading))


def with_threshold_goal(settings: FinetuneSettings, prepared: Artifact) -> FinetuneSettings:
    """The settings with what a threshold is chosen for filled in, if there are two labels.

    Raises UsageError for choices that contradict each other or the labels.
    """
    from spamgpt.evaluation.thresholds import parse_share

    labels = prepared.metadata["labels"]
    goal, most = settings.threshold_for, settings.max_false_positive_rate
    if len(labels) > 2:
        if goal or most:
            name = "threshold_for" if goal else "max_false_positive_rate"
            raise UsageError(
                f"`{name}` is for two labels; {prepared.reference} has {', '.join(labels)}.",
                "Leave it out: the answer is the most probable label.",
            )
        return settings
    if goal not in (None, *get_args(ThresholdGoal)):
        choices = ", ".join(get_args(ThresholdGoal))
        raise UsageError(f"`threshold_for` is {goal!r}.", f"It has to be one of {choices}.")
    if most is not None:
        parse_share(most)
        if goal not in (None, "false-positive-rate"):
            raise UsageError(
                f"`max_false_positive_rate={most}` and `threshold_for={goal}` contradict each "
                "other: there is one threshold.",
                "Give one of them.",
            )
    goal = goal or "false-positive-rate"
    if goal == "false-positive-rate":
        most = most or MAX_FALSE_POSITIVE_RATE
    return replace(settings, threshold_for=goal, max_false_positive_rate=most)


@dataclass(frozen=True)
class Plan:
    """What a fine-tuning would train: the parts of the classifier, and from what.

    `settings` are those asked for, with everything filled in.
    """

    settings: FinetuneSettings
    hyperparameters: Hyperparameters
    reading: Reading
    prepared: Artifact
    model: Artifact
    start: Artifact | None
    labels: list[str]
    positive_label: str
    policy: "TrainingPolicy"
    parts: "list[Part]"

    @property
    def inputs(self) -> list[Artifact]:
        """What the classifier is made from."""
        return [self.prepared, self.model, *([self.start] if self.start else [])]

    @property
    def trained_parameters(self) -> int:
        """How many numbers training changes."""
        return sum(part.parameters for part in self.parts if part.trained)

    @property
    def all_parameters(self) -> int:
        """How many numbers the classifier has."""
        return sum(part.parameters for part in self.parts)


def plan(settings: FinetuneSettings, workspace: Workspace, reporter: Reporter = SILENT) -> Plan:
    """Finds the inputs and what would be trained, without reading the weights.

    Raises UsageError, MissingInputError, IntegrityError or BadDataError.
    """
    import torch

    from spamgpt.classifier.config import positive_label
    from spamgpt.gpt2.classifier import GPT2Classifier
    from spamgpt.gpt2.config import GPT2Config
    from spamgpt.gpt2.folder import CONFIG_FILE
    from spamgpt.gpt2.model import GPT2
    from spamgpt.training.policy import TrainingPolicy
    from spamgpt.training.sharding import check_shardable

    prepared = workspace.newest("prepared", settings.prepared, reporter)
    if settings.start_from is None:
        start, model = None, workspace.newest("models", settings.model, reporter)
        labels = list(prepared.metadata["labels"])
        reading = resolve_reading(settings)
        usual = positive_label(labels)
    else:
        start = workspace.newest("classifiers", settings.start_from)
        model, of_start = _onward(settings, start, prepared, workspace)
        reading = resolve_reading(settings, _reading_of(of_start))
        labels, usual = of_start.labels, of_start.positive_label
    config = GPT2Config.from_file(model.file(CONFIG_FILE))
    check_padding(reading.padding, reading.pooling, config.n_positions)
    lora = lora_config(
        settings.lora_rank, settings.lora_alpha, settings.lora_targets, config.n_embd
    )
    policy = TrainingPolicy.from_name(_unfreeze(settings), config.n_layer, lora)
    if settings.shard:
        check_shardable(policy)
    with torch.device("meta"):
        parts = policy.apply(GPT2Classifier(GPT2(config), len(labels)))
    positive = settings.positive_label or usual
    if positive not in labels:
        raise UsageError(
            f"`positive_label` {positive!r} is no label of {prepared.reference}.",
            f"It has {', '.join(labels)}.",
        )
    chosen = resolve_hyperparameters(settings, model)
    if chosen.dropout and policy.name == "head":
        raise UsageError(
            f"`dropout={chosen.dropout:g}` is for blocks that are trained; `unfreeze=head` trains "
            "none.",
            "Leave it out, or train a block: `unfreeze=last-block`.",
        )
    filled = with_reading(with_hyperparameters(settings, chosen), reading)
    filled = with_threshold_goal(filled, prepared)
    return Plan(filled, chosen, reading, prepared, model, start, labels, positive, policy, parts)


def _onward(
    settings: FinetuneSettings, start: Artifact, prepared: Artifact, workspace: Workspace
) -> "tuple[Artifact, ClassifierConfig]":
    """The model that a classifier to start from stands on, and the classifier's configuration.

    Raises UsageError if the model, the labels or the way to read messages wanted are others.
    """
    from spamgpt.classifier.config import CONFIG_FILE, ClassifierConfig

    model = workspace.input_of(start, "models")
    if settings.model is not None:
        wanted = workspace.newest("models", settings.model)
        if wanted.digest != model.digest:
            raise UsageError(
                f"{start.reference} was made from {model.reference}, not {wanted.reference}.",
                "Leave `model` out.",
            )
    config = ClassifierConfig.from_file(start.file(CONFIG_FILE))
    labels = list(prepared.metadata["labels"])
    if sorted(labels) != sorted(config.labels):
        raise UsageError(
            f"{start.reference} tells {', '.join(config.labels)} apart; {prepared.reference} has "
            f"{', '.join(labels)}.",
            "Train from the model: leave `start_from` out.",
        )
    for name, value in asdict(_reading_of(config)).items():
        given = getattr(settings, name)
        # Padded to another length is still padded.
        if given not in (None, value) and (name != "padding" or "none" in (given, value)):
            raise UsageError(
                f"{start.reference} reads messages with `{name}={value}`, not {given}.",
                f"Leave `{name}` out.",
            )
    return model, config


def _reading_of(config: "ClassifierConfig") -> Reading:
    return Reading(config.pooling, str(config.padding or "none"), config.attention)


def show_plan(planned: Plan, reporter: Reporter) -> None:
    """The table of what is trained."""
    from spamgpt.training.policy import show_parts

    show_parts(planned.parts, reporter)
    share = planned.trained_parameters / planned.all_parameters
    reporter.note(
        f"Trains {planned.trained_parameters:,} of {planned.all_parameters:,} parameters "
        f"({share:.2%}) {planned.hyperparameters}."
    )
