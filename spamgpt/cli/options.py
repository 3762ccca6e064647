"""The options that commands share, and what happens to the errors of all of them."""

import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from spamgpt.cli.command import NO_ANSWER
from spamgpt.cli.output.failure import show_error
from spamgpt.cli.output.streams import give_up_stdout
from spamgpt.cli.together import telling
from spamgpt.device import Device, Precision, TrainingPrecision
from spamgpt.errors import as_user_error
from spamgpt.evaluation.goals import ThresholdGoal
from spamgpt.gpt2.pooling import AttentionPattern, Pooling
from spamgpt.stages.evaluate import Split
from spamgpt.stages.fetch import Weights
from spamgpt.stages.finetune import Select
from spamgpt.stages.plan import Reading
from spamgpt.stages.prepare import Recipe, TakeCorrections
from spamgpt.training.schedule import Schedule
from spamgpt.training.variants import LORA_TARGETS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Parameters = ParamSpec("Parameters")
Settings = TypeVar("Settings", bound="DataclassInstance")

WORKSPACE_VARIABLE = "SPAMGPT_WORKSPACE"
WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        envvar=WORKSPACE_VARIABLE,
        help="Folder that holds all artifacts.",
        show_default="./workspace",
    ),
]
DEFAULT_WORKSPACE = Path("workspace")
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show results and warnings only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="Device to run on. auto: a GPU if there is one.")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="Number of CPU threads.",
        show_default="all cores; with more than four cores, all but one",
    ),
]
TrainingPrecisionOption = Annotated[
    TrainingPrecision,
    typer.Option("--precision", help="auto: bf16 where the hardware supports it, else fp32."),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="auto: bf16 where the hardware supports it, else fp32. int8: fastest on CPUs with "
        "AVX512-VNNI that lack AMX; probabilities can change by a few hundredths.",
    ),
]
MaxBatchTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-batch-tokens",
        min=1,
        help="Maximum number of tokens in a batch. Lower values need less memory.",
        show_default="depends on the device",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", min=0, max=2**31 - 1, help="Random seed. The same seed gives the same result."
    ),
]
RecipeOption = Annotated[
    Recipe | None,
    typer.Option(
        "--recipe",
        help="published: as in the published experiment (Raschka 2024): data read with quotes, "
        "balanced, split and shuffled by its seeds, padded messages, its order of batches. "
        "Other options take precedence.",
        show_default="spamgpt's own",
    ),
]

# What is fetched.
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="gpt2, gpt2-medium, gpt2-large, gpt2-xl, mini (bundled), a folder, or "
        "hf:owner/name@revision.",
        show_default="gpt2, else mini",
    ),
]
WeightsOption = Annotated[
    Weights,
    typer.Option(help="random: same architecture and tokenizer, randomly initialized weights."),
]
OfflineOption = Annotated[
    bool,
    typer.Option("--offline", help="Use the bundled data set and model; do not use the network."),
]

# How it is prepared.
BalanceOption = Annotated[
    bool,
    typer.Option("--balance", help="Downsample every label to the size of the rarest one."),
]
SplitOption = Annotated[
    str, typer.Option("--split", help="Percentages of messages for training, validation and test.")
]
KeepDuplicatesOption = Annotated[
    bool,
    typer.Option(
        "--keep-duplicates", help="Keep duplicate texts; they can leak into the test split."
    ),
]
StratifyOption = Annotated[
    bool, typer.Option(help="Keep the label proportions the same in every split.")
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Answer spam if its probability is at least this.",
        show_default="the classifier's",
    ),
]
TextColumnOption = Annotated[str, typer.Option(help="Column that holds the messages.")]
LabelColumnOption = Annotated[str, typer.Option(help="Column that holds the labels.")]
CorrectionsOption = Annotated[
    TakeCorrections | None,
    typer.Option(
        help="Where corrections (spamgpt learn) go that the data set does not have. train: into "
        "the training split; split: into all splits; none: nowhere, nor are labels changed.",
        show_default="train; with --recipe none",
    ),
]

# How it is trained.
UnfreezeOption = Annotated[
    str | None,
    typer.Option(
        help="What to train: head, last-block (with the final layer norm and the head), "
        "last-N-blocks, or all.",
        show_default="last-block; with --lora all",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Passes over the training split.",
        show_default="recommended by the model, else 5",
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Messages per batch.", show_default="recommended by the model, else 8"
    ),
]
LearningRateOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Learning rate of AdamW.",
        show_default="recommended by the model, else 5e-05",
    ),
]
WeightDecayOption = Annotated[
    float | None,
    typer.Option(
        min=0, help="Weight decay of AdamW.", show_default="recommended by the model, else 0.1"
    ),
]
ScheduleOption = Annotated[
    Schedule | None,
    typer.Option(
        help="Learning rate schedule. constant: no change; linear: warm-up and linear decay to 0; "
        "cosine: warm-up, then decay to 0 along half a cosine.",
        show_default="recommended by the model, else constant",
    ),
]
SelectOption = Annotated[
    Select, typer.Option(help="Keep the epoch with the best validation loss, or the last one.")
]
PositiveLabelOption = Annotated[
    str | None,
    typer.Option(
        metavar="LABEL",
        help="The label to detect; precision and recall refer to it.",
        show_default="spam if there is one, else the last",
    ),
]
ThresholdForOption = Annotated[
    ThresholdGoal | None,
    typer.Option(
        help="How the threshold is chosen on the validation split. false-positive-rate: the "
        "highest recall that the maximum false positive rate allows; f1: the best F1; accuracy: "
        "0.5, the more probable label. With more than two labels there is none.",
        show_default="false-positive-rate",
    ),
]
MaxFalsePositiveRateOption = Annotated[
    str | None,
    typer.Option(
        metavar="PERCENT",
        help="Highest share of the validation messages of the other label that may get the "
        "positive one (0.5%: one ham in 200 is lost). Where that is less than one message, none "
        "may.",
        show_default="1%",
    ),
]
CacheLimitOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="GIB",
        help="Cache size limit in GiB. The cache keeps the outputs of the frozen blocks for later "
        "epochs and runs.",
        show_default="4, or a quarter of the free disk space if that is less",
    ),
]

# How the classifier reads a message, and adapters.
PoolingOption = Annotated[
    Pooling | None,
    typer.Option(
        help="What of a message the head reads. last: its last token, which has seen all others; "
        "first: its first token; mean: the mean of its tokens; last-position, mean-positions: "
        "the same with the padding counted in.",
        show_default=Reading.pooling,
    ),
]
PaddingOption = Annotated[
    str | None,
    typer.Option(
        metavar="LENGTH",
        help="Fill every message up to the same length with end-of-text tokens, and cut longer "
        "ones to it: longest (the longest training message), context (the model's maximum), a "
        "number of tokens, or none. Slow; meant for comparing with published results.",
        show_default=Reading.padding,
    ),
]
AttentionOption = Annotated[
    AttentionPattern | None,
    typer.Option(
        help="What a token sees of its message. causal: the tokens before it, as in pretraining; "
        "full: all tokens, padding included.",
        show_default=Reading.attention,
    ),
]
LoraOption = Annotated[
    int | None,
    typer.Option(
        "--lora",
        min=1,
        metavar="RANK",
        help="Train low-rank adapters (LoRA) and the head, and freeze everything else. The blocks "
        "that --unfreeze names get adapters; a higher rank trains more parameters. The classifier "
        "takes little disk space, and predicts as fast as any other.",
        show_default="no adapters",
    ),
]
LoraAlphaOption = Annotated[
    float | None,
    typer.Option(
        "--lora-alpha",
        min=0,
        help="Scale of the adapters: what they add is multiplied by alpha / rank.",
        show_default="the rank",
    ),
]
LoraTargetsOption = Annotated[
    str | None,
    typer.Option(
        "--lora-targets",
        metavar="NAMES",
        help="Projections that get an adapter, separated by commas: c_attn, attn.c_proj, c_fc, "
        "mlp.c_proj, c_proj (both of that name), or all of them. The head needs none: it is "
        "trained in full.",
        show_default=LORA_TARGETS,
    ),
]


# What is scored.
SplitNameOption = Annotated[Split, typer.Option("--split", help="Split to score.")]
PreparedOption = Annotated[
    str | None,
    typer.Option(
        "--prepared",
        help="Prepared data to take the split from, such as v1.",
        show_default="what the classifier was trained on",
    ),
]


def given(context: typer.Context) -> set[str]:
    """The parameters of a command that were set by its user, not by their defaults."""
    return {
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    }


def settings_from(kind: type[Settings], options: Mapping[str, Any], **instead: object) -> Settings:
    """The settings made of a command's options, given as its `locals()`.

    What is given by keyword replaces an option. A field that is neither does not get its default,
    or a misspelt option would go unnoticed: it raises TypeError, as a keyword that is no field.
    """
    values = {**options, **instead}
    names = [f.name for f in fields(kind)]
    if unknown := sorted(instead.keys() - set(names)):
        raise TypeError(f"{kind.__name__} has no {', '.join(unknown)}")
    missing = [name for name in names if name not in values]
    if missing:
        raise TypeError(f"{kind.__name__} gets no {', '.join(missing)} from the command")
    return kind(**{name: values[name] for name in names})


def reports_errors(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Lets a command end as users expect: a line and a hint for an error, its exit status.

    With --json the error is an object on standard output, too. A closed pipe (`| head`) is no
    error; Ctrl-C ends with 130 (typer sees to that). Where --exit-code makes the status an answer,
    everything that is none has the status 3.
    """

    @functools.wraps(command)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except typer.Exit:
            raise
        except BrokenPipeError:
            give_up_stdout()
            if kwargs.get("exit_code"):
                raise typer.Exit(NO_ANSWER) from None
        except Exception as error:
            shown = as_user_error(error)
            named = kwargs.get("workspace")
            if isinstance(named, Path):
                shown.hint = in_its_workspace(shown.hint, named)
            status = NO_ANSWER if kwargs.get("exit_code") else shown.exit_status
            with telling(error) as mine:
                if mine:
                    show_error(shown, status, bool(kwargs.get("json")), bool(kwargs.get("debug")))
            raise typer.Exit(status) from error

    return wrapped


def in_its_workspace(hint: str, workspace: Path) -> str:
    """A hint that ends with a command, which names the workspace where it is not the usual one."""
    from spamgpt.cli.output.wording import in_workspace

    usual = Path(os.environ.get(WORKSPACE_VARIABLE) or DEFAULT_WORKSPACE)
    return hint if workspace == usual else in_workspace(hint, workspace)
