"""The pictures of the documents, drawn from a real run on what is bundled.

Their ink is that of the reader's screen, dark on light or light on dark.
"""

import re
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from spamgpt import SpamClassifier
from spamgpt.data.tables import read_labelled_file
from spamgpt.gpt2.config import GPT2Config
from spamgpt.stages import fetch, finetune, prepare
from spamgpt.training.policy import TrainingPolicy
from spamgpt.workspace import Workspace

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
FROZEN, TRAINED, SPAM, HAM = "#8a8f98", "#d9822b", "#d0603a", "#3f8fae"
_INK = "#010203"  # stands for the ink of the page
_STYLE = "<style>svg{color:#1d1c1a}@media(prefers-color-scheme:dark){svg{color:#e4e2dc}}</style>"
MESSAGE = "Your parcel is held. Pay the fee now at http://parcel.example"


def draw() -> None:
    """Draws all of them into docs/pictures."""
    PICTURES.mkdir(exist_ok=True)
    with rc_context(
        {
            "text.color": _INK,
            "axes.edgecolor": _INK,
            "axes.labelcolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    ):
        _draw()


def _draw() -> None:
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name) / "workspace")
        fetch.run(fetch.FetchSettings(offline=True), workspace)
        prepare.run(prepare.PrepareSettings(), workspace)
        artifact = finetune.run(finetune.FinetuneSettings(threshold_for="f1"), workspace)
        classifier = SpamClassifier.from_artifact(workspace, artifact, "cpu", "fp32")
        history = pd.read_csv(artifact.file("history.csv"))
        validation = read_labelled_file(workspace.newest("prepared").file("validation.csv"))
        kept = int(history["validation_loss"].argmin())
    _save("tokens", tokens(classifier))
    _save("parts", parts(classifier))
    _save("mask", mask(classifier))
    _save("last-token", last_token(classifier))
    _save("curves", curves(history, kept))
    _save("threshold", threshold(classifier, validation))
    _save("architecture", architecture(classifier.model.gpt2.config))


def tokens(classifier: SpamClassifier) -> Figure:
    """Messages cut into tokens, each with its id."""
    figure = Figure(figsize=(8, 2.4))
    axes = _canvas(figure, 100, 3)
    messages = (
        "can u get milk on ur way home",
        "Your parcel is held. Pay the fee",
        "tracking: RX-77193",
    )
    for row, message in enumerate(messages):
        (ids,) = classifier.tokenizer.encode([message])
        left = 0.0
        for place, token_id in enumerate(ids):
            piece = classifier.tokenizer.decode([token_id])
            width = 1.9 + 1.45 * max(len(piece), 3)
            _box(axes, left, 2.34 - row, width, 0.5, (HAM, SPAM)[place % 2], 0.28)
            # A space at the front is part of the token.
            axes.text(
                left + width / 2,
                2.59 - row,
                piece.replace(" ", "\u2423"),
                ha="center",
                va="center",
                family="monospace",
                fontsize=10,
            )
            axes.text(
                left + width / 2, 2.2 - row, str(token_id), ha="center", va="center", fontsize=7.5
            )
            left += width + 0.5
    return figure


def parts(classifier: SpamClassifier) -> Figure:
    """The stack before and after the head swap, with what of it is trained."""
    model = classifier.model
    config = model.gpt2.config
    policy = TrainingPolicy.from_name("last-block", config.n_layer)
    counts = {part.name: part.parameters for part in policy.apply(model)}
    block = (counts["blocks 1-3"]) // 3
    vocabulary = f"vocabulary: {config.vocab_size:,} scores, one a token"
    rows = [
        ("embeddings of tokens and places", counts["embeddings"], False),
        *(
            (f"block {number}", block, number == config.n_layer)
            for number in range(1, config.n_layer + 1)
        ),
        ("final layer norm", counts["final layer norm"], True),
    ]
    figure = Figure(figsize=(8, 3.9))
    axes = _canvas(figure, 100, len(rows) + 1.7)
    for left, tuned in ((1, False), (53, True)):
        head = (
            ("head: 2 scores, ham and spam", counts["head"], True)
            if tuned
            else (vocabulary, None, False)
        )
        for level, (name, count, trained) in enumerate([*rows, head]):
            width = (26 if tuned else 46) if level == len(rows) else 46
            colour = TRAINED if trained and tuned else FROZEN
            _box(
                axes,
                left + (46 - width) / 2,
                level + 0.12,
                width,
                0.76,
                colour,
                0.55 if colour == TRAINED else 0.22,
            )
            axes.text(left + 23, level + 0.5, name, ha="center", va="center", fontsize=9)
            if count and tuned:
                axes.text(
                    left + 45,
                    level + 0.5,
                    f"{count:,}" if width == 46 else "",
                    ha="right",
                    va="center",
                    fontsize=7.5,
                )
        title = "spamgpt: what is orange is trained" if tuned else "GPT-2: predicts the next token"
        axes.text(
            left + 23, len(rows) + 1.35, title, ha="center", va="center", fontsize=10, weight="bold"
        )
    axes.annotate("", (52.4, 4), (47.6, 4), arrowprops={"arrowstyle": "->", "color": _INK})
    return figure


def mask(classifier: SpamClassifier) -> Figure:
    """Which tokens each token sees."""
    (ids,) = classifier.tokenizer.encode(["can u get milk on ur way"])
    names = [classifier.tokenizer.decode([token_id]).strip() for token_id in ids]
    count = len(names)
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for reader in range(count):
        for seen in range(reader + 1):
            last = reader == count - 1
            _box(
                axes,
                seen + 0.06,
                count - reader - 0.94,
                0.88,
                0.88,
                TRAINED if last else FROZEN,
                0.7 if last else 0.3,
            )
    axes.set(xlim=(0, count), ylim=(0, count), aspect="equal", xlabel="is seen", ylabel="reads")
    axes.set_xticks(np.arange(count) + 0.5, names)
    axes.set_yticks(np.arange(count) + 0.5, names[::-1])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def last_token(classifier: SpamClassifier) -> Figure:
    """The probability of spam had the message ended with each of its tokens."""
    (ids,) = classifier.tokenizer.encode([MESSAGE])
    ends = [classifier.tokenizer.decode(ids[: place + 1]) for place in range(len(ids))]
    spam = classifier.predict_proba(ends)[:, classifier.labels.index("spam")]
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(spam, "o-", color=SPAM, markersize=4)
    axes.plot(len(ids) - 1, spam[-1], "o", color=TRAINED, markersize=10, zorder=0, alpha=0.6)
    axes.axhline(classifier.config.threshold, color=_INK, linewidth=0.8, linestyle=":")
    axes.text(len(ids) - 1, classifier.config.threshold - 0.07, "threshold", fontsize=8, ha="right")
    names = [classifier.tokenizer.decode([token_id]).strip() for token_id in ids]
    axes.set_xticks(range(len(ids)), names, rotation=50, ha="right", fontsize=8)
    axes.set(ylim=(0, 1), ylabel="probability of spam", xlabel="the message up to this token")
    _bare(axes)
    return figure


def curves(history: pd.DataFrame, kept: int) -> Figure:
    """Loss and accuracy after each epoch; `kept` is the row that was kept."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, colour in (("training", TRAINED), ("validation", HAM)):
            axes.plot(
                history["epoch"],
                history[f"{split}_{measure}"],
                "o-",
                color=colour,
                markersize=4,
                label=split,
            )
        axes.axvline(history["epoch"][kept], color=_INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel="epoch", title=measure, ylim=(0, None) if measure == "loss" else None)
        _bare(axes)
        axes.legend(frameon=False, fontsize=8)
    return figure


def threshold(classifier: SpamClassifier, validation: pd.DataFrame) -> Figure:
    """The validation messages by their probability of spam, and where the threshold stands."""
    spam = classifier.predict_proba(list(validation["text"]))[:, classifier.labels.index("spam")]
    is_spam = (validation["label"] == "spam").to_numpy()
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    bins = np.linspace(0, 1, 26).tolist()
    axes.hist(
        [spam[~is_spam], spam[is_spam]],
        bins,
        stacked=True,
        color=[HAM, SPAM],
        label=["ham", "spam"],
    )
    best = classifier.config.threshold
    # The highest of the ham: what loses none.
    strict = spam[~is_spam].max()
    top = axes.get_ylim()[1] * 1.12
    for place, name, side in ((best, "best F1", "right"), (strict, "loses no ham", "left")):
        axes.axvline(place, color=_INK, linewidth=1, linestyle="--")
        axes.text(
            place + (0.01 if side == "left" else -0.01),
            top * 0.95,
            name,
            ha=side,
            va="top",
            fontsize=9,
        )
    axes.set(xlim=(0, 1), ylim=(0, top), xlabel="probability of spam", ylabel="validation messages")
    _bare(axes)
    axes.legend(frameon=False, loc="center right")
    return figure


def architecture(config: GPT2Config) -> Figure:
    """A classifier from the bottom to the top, one block opened."""
    width = config.n_embd
    figure = Figure(figsize=(8, 5.4))
    axes = _canvas(figure, 100, 12)
    stack = [
        (0.2, "message: bytes, cut into tokens", FROZEN),
        (
            1.5,
            f"token embedding ({config.vocab_size:,} x {width}) "
            f"+ position ({config.n_positions} x {width})",
            FROZEN,
        ),
        (
            2.8,
            f"blocks 1 to {config.n_layer - 1}: the trunk, frozen, computed once and kept",
            FROZEN,
        ),
        (4.1, f"block {config.n_layer}: only what the last token needs", TRAINED),
        (7.1, "final layer norm, of the last token", TRAINED),
        (8.4, f"head: {width} x labels", TRAINED),
        (9.7, "divided by the temperature, softmax", HAM),
        (11.0, "threshold: a label", HAM),
    ]
    for level, text, colour in stack:
        _box(axes, 1, level, 56, 0.85, colour, 0.3)
        axes.text(29, level + 0.42, text, ha="center", va="center", fontsize=8.5)
        if level < 11:
            above = min(other for other, *_ in stack if other > level)
            axes.annotate(
                "", (29, above), (29, level + 0.85), arrowprops={"arrowstyle": "->", "color": _INK}
            )
    inside = [
        (1.5, "layer norm"),
        (
            2.8,
            f"attention, {config.n_head} heads of {width // config.n_head}:\n"
            "queries, keys, values, projection",
        ),
        (4.4, "+ what came in"),
        (5.7, "layer norm"),
        (7.0, f"MLP: {width} to {4 * width}, GELU, to {width}"),
        (8.4, "+ what came in"),
    ]
    for level, text in inside:
        height = 1.1 if "\n" in text else 0.85
        _box(axes, 66, level, 33, height, TRAINED, 0.2)
        axes.text(82.5, level + height / 2, text, ha="center", va="center", fontsize=8.5)
    for (level, text), (above, _) in pairwise(inside):
        start = level + (1.1 if "\n" in text else 0.85)
        axes.annotate(
            "", (82.5, above), (82.5, start), arrowprops={"arrowstyle": "->", "color": _INK}
        )
    axes.text(82.5, 9.7, "inside a block", ha="center", fontsize=9, weight="bold")
    axes.plot([57, 66], [4.5, 1.5], [57, 66], [4.9, 9.25], color=_INK, linewidth=0.6, linestyle=":")
    _box(axes, 66, 10.6, 33, 1.25, SPAM, 0.2)
    axes.text(
        82.5,
        11.22,
        "beside GPT-2: a linear model\non n-grams, whose logits are added",
        ha="center",
        va="center",
        fontsize=8,
    )
    axes.annotate("", (57, 8.9), (66, 11.1), arrowprops={"arrowstyle": "->", "color": _INK})
    return figure


def _canvas(figure: Figure, width: float, height: float) -> Axes:
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return axes


def _box(
    axes: Axes, left: float, bottom: float, width: float, height: float, colour: str, alpha: float
) -> None:
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(
        FancyBboxPatch(
            (left, bottom), width, height, style, facecolor=colour, alpha=alpha, linewidth=0
        )
    )


def _bare(axes: Axes) -> None:
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)


def _save(name: str, figure: Figure) -> None:
    """Writes an SVG of the same bytes for the same figure, in the ink of the page."""
    path = PICTURES / f"{name}.svg"
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None, "Creator": None}, transparent=True)
    svg = path.read_text(encoding="utf-8").replace(_INK, "currentColor")
    svg = re.sub(r"font: [^;\"]*?([\d.]+)px[^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    path.write_text(re.sub(r"(<svg[^>]*>)", rf"\1{_STYLE}", svg, count=1), encoding="utf-8")
