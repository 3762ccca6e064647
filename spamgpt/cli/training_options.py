"""The options of how a classifier is trained, beyond those of the published recipe."""

from typing import Annotated

import typer

from spamgpt.device import TrainingPrecision
from spamgpt.training.hyperparameters import ClassWeights

WarmupOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SHARE",
        help="Share of the steps in which the learning rate rises from 0, whatever the schedule.",
        show_default="recommended by the model, else 0.06; 0 for constant",
    ),
]
AccumulateOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Add up the gradients of N batches before each step: exactly the gradient of one "
        "batch N times as large, in the memory of a small one. There are N times fewer steps.",
        show_default="recommended by the model, else 1",
    ),
]
ClassWeightsOption = Annotated[
    ClassWeights | None,
    typer.Option(
        help="balanced: messages of rare labels count more in the loss, so that every label counts "
        "the same, as class_weight='balanced' in scikit-learn. The losses shown are not weighted.",
        show_default="recommended by the model, else none",
    ),
]
ClipOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="NORM",
        help="Shrink gradients whose norm is larger than this, so that an odd batch cannot throw "
        "training off; 1 is usual. 0: never.",
        show_default="recommended by the model, else 0",
    ),
]
DropoutOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SHARE",
        help="Share of activations to drop at random while training, against overfitting, in what "
        "is trained: embeddings, attention weights, and outputs of attention and MLP. GPT-2 was "
        "made with 0.1.",
        show_default="recommended by the model, else 0",
    ),
]
LabelSmoothingOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SHARE",
        help="Train towards this share of probability spread over all labels instead of certainty; "
        "makes a classifier less sure of itself and less hurt by wrong labels.",
        show_default="recommended by the model, else 0",
    ),
]
FinetunePrecisionOption = Annotated[
    TrainingPrecision,
    typer.Option(
        "--precision",
        help="Precision of matrix products. auto: where the hardware supports it, bf16 in frozen "
        "blocks and, if everything is trained, in that; else fp32. bf16, fp32: everywhere.",
    ),
]
NgramsOption = Annotated[
    bool | None,
    typer.Option(
        "--ngrams/--no-ngrams",
        help="Fit a linear model on n-grams of the messages' bytes, tokens and words beside "
        "GPT-2, and add its logits. It takes seconds and 6 MB: it knows spellings where GPT-2 "
        "reads on, and both together are right more often than either.",
        show_default="recommended by the model, else --no-ngrams",
    ),
]
PatienceOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Stop after N epochs in a row without a better validation loss. 0: train all epochs.",
        show_default="recommended by the model, else 0",
    ),
]
ShardOption = Annotated[
    bool,
    typer.Option(
        "--shard",
        help="Spread weights, gradients and moments over the processes of torchrun (FSDP2), for "
        "--unfreeze all of models that do not fit on one GPU.",
    ),
]
CheckpointActivationsOption = Annotated[
    bool,
    typer.Option(
        "--checkpoint-activations",
        help="Compute each block a second time instead of keeping its activations: far less "
        "memory, a third more work.",
    ),
]
