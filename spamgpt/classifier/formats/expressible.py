"""What of a classifier the formats of other tools have no way to say."""

from collections.abc import Collection

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.errors import UsageError


def require_plain(
    config: ClassifierConfig, tool: str, poolings: Collection[str] = ("last",)
) -> None:
    """Raises UsageError, naming the setting, if a tool cannot read messages as a classifier does.

    Other tools read a message by one of the `poolings`, without padding, each token seeing those
    before it.
    """
    expressible = {
        "pooling": (config.pooling, config.pooling in poolings),
        "attention": (config.attention, config.attention == "causal"),
        "padding": (config.padding, config.padding is None),
    }
    for name, (value, fits) in expressible.items():
        if not fits:
            raise UsageError(
                f"{tool} cannot express `{name}={value}` of this classifier.",
                "Export a bundle, which spamgpt reads anywhere.",
            )
