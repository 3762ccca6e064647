"""The model card of a classifier that leaves for transformers: how it is used there."""

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.formats.agreement import Agreement
from spamgpt.printable import printable

_FRONT_MATTER = """---
library_name: transformers
pipeline_tag: text-classification
tags:
- gpt2
- text-classification
---
# A classifier made with spamgpt
"""
_USE = """## Use with transformers
```python
from transformers import pipeline

classify = pipeline("text-classification", "PATH OR REPOSITORY")
classify(["see you at 7?"], truncation=True, top_k=None)
```

{answer}

- transformers reads the first {context:,} tokens of a message, with `truncation=True`; spamgpt
  reads longer ones in windows.
- The tokenizer gives no token for an empty message, and the model of transformers then fails;
  spamgpt answers it.

With spamgpt: `spamgpt predict --classifier FOLDER`, `SpamClassifier.from_pretrained("FOLDER")`.

"""
_THRESHOLD = (
    "transformers answers with the more probable label. This classifier calls a message "
    "`{positive}` if its probability of `{positive}` is at least **{threshold:.4f}**, which "
    "transformers has no place for: compare the score of `{positive}` with it. It stands in "
    "`spamgpt.json`."
)
_WITHOUT_NGRAMS = """

This is GPT-2 alone. The classifier adds a linear model on n-grams to it, for which transformers has
no place. Compared with both together: {agreement}. The scores in this card are those of both."""


def with_transformers(
    card: bytes | None,
    config: ClassifierConfig,
    context: int,
    without_ngrams: Agreement | None = None,
) -> bytes:
    """The card of a classifier, or a new one, with a section on its use with transformers.

    `without_ngrams` is how it agrees with the classifier if it lacks that one's n-grams.
    """
    positive = printable(config.positive_label).replace("`", "'")
    answer = "The answer is the most probable label."
    if len(config.labels) == 2:
        answer = _THRESHOLD.format(positive=positive, threshold=config.threshold)
    if without_ngrams is not None:
        answer += _WITHOUT_NGRAMS.format(agreement=without_ngrams)
    use = _USE.format(answer=answer, context=context)
    text = card.decode("utf-8", "replace") if card is not None else _FRONT_MATTER
    text = text.replace("library_name: spamgpt\n", "library_name: transformers\n", 1)
    before, heading, after = text.partition("## Use\n")
    return f"{before.rstrip()}\n\n{use}{heading}{after}".rstrip("\n").encode() + b"\n"
