"""Fitting the linear model on n-grams: logistic regression, by scikit-learn."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from spamgpt.data.batches import TokenizedMessages
from spamgpt.gpt2.ngrams import BUCKETS, NGrams
from spamgpt.gpt2.packing import PackedTokens

# The inverse of the L2 penalty's strength, scikit-learn's C.
_STRENGTH = 10.0
_BATCH = 1024


@torch.no_grad()
def fit_ngrams(
    spellings: Sequence[bytes], messages: TokenizedMessages, labels: Tensor, label_count: int
) -> NGrams:
    """The model for `label_count` labels; `labels` (messages,) is the index of each message's.

    `spellings` are the bytes of every token id. All parameters are float16 numbers, in which they
    can be stored.
    """
    from scipy.sparse import csr_array, vstack
    from sklearn.linear_model import LogisticRegression

    model = NGrams(spellings, label_count)
    documents = torch.zeros(2 * BUCKETS)
    for packed in _batches(messages):
        documents += torch.bincount(model.counts(packed).bucket, minlength=2 * BUCKETS)
    # As scikit-learn has it; what no message has weighs nothing.
    model.idf.copy_((1 + ((1 + len(messages)) / (1 + documents)).log()) * (documents > 0))
    rows = []
    # Counted again: what is kept of all messages are the features alone.
    for packed in _batches(messages):
        message, bucket, value = model.features(packed)
        # scikit-learn takes 32-bit indices only.
        places = message.int().numpy(), bucket.int().numpy()
        rows.append(csr_array((value.double().numpy(), places), shape=(len(packed), 2 * BUCKETS)))
    # liblinear is the fastest for so many features, but knows two labels only.
    solver = "liblinear" if label_count == 2 else "lbfgs"
    fitted = LogisticRegression(C=_STRENGTH, solver=solver, max_iter=1000, random_state=0)
    fitted.fit(vstack(rows).tocsr(), labels.numpy())
    coefficients = torch.from_numpy(fitted.coef_).float()
    intercepts = torch.from_numpy(fitted.intercept_).float()
    if label_count > 2:
        coefficients, intercepts = (
            coefficients[1:] - coefficients[0],
            intercepts[1:] - intercepts[0],
        )
    model.weight.copy_(coefficients.T)
    model.bias.copy_(intercepts)
    for parameter in model.parameters():
        parameter.copy_(parameter.half())
    return model


def stored(model: NGrams) -> dict[str, Tensor]:
    """The tensors as a classifier keeps them, by their names there."""
    return {f"ngrams.{name}": tensor.half() for name, tensor in model.state_dict().items()}


def _batches(messages: TokenizedMessages) -> Iterator[PackedTokens]:
    for start in range(0, len(messages), _BATCH):
        yield messages.pack(range(start, min(start + _BATCH, len(messages))))
