"""Fitting the linear model on n-grams: logistic regression, anew or onward from another."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spamgpt.data.batches import TokenizedMessages
from spamgpt.gpt2.ngram_counts import ALL_BUCKETS
from spamgpt.gpt2.ngrams import NGrams
from spamgpt.gpt2.packing import PackedTokens

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# The inverse of the L2 penalty's strength, scikit-learn's C.
_STRENGTH = 10.0
# The penalty keeps these logits small, and nothing does so with GPT-2's: added as they are, GPT-2
# decides alone. Doubled, both together are right more often, on messages like those trained on
# and on others (recipes/README.md).
_WEIGHT = 2.0
_BATCH = 1024


@torch.no_grad()
def fit_ngrams(
    spellings: Sequence[bytes], messages: TokenizedMessages, labels: Tensor, label_count: int
) -> NGrams:
    """The model for `label_count` labels; `labels` (messages,) is the index of each message's.

    `spellings` are the bytes of every token id. The logits are twice those of the regression. Of a
    label that no message has they say nothing. All parameters are float16 numbers, in which they
    can be stored.
    """
    from sklearn.linear_model import LogisticRegression

    model = NGrams(spellings, label_count)
    documents = torch.zeros(ALL_BUCKETS)
    for packed in _batches(messages):
        documents += torch.bincount(model.counts(packed)[1], minlength=ALL_BUCKETS)
    # As scikit-learn has it; what no message has weighs nothing.
    model.idf.copy_((1 + ((1 + len(messages)) / (1 + documents)).log()) * (documents > 0))
    present = labels.unique()
    if len(present) < 2:
        return _stored_precision(model)
    # liblinear is the fastest for so many features, above all by the dual, which has a variable
    # for each message and not for each feature; but it knows two labels only.
    solver, dual = ("liblinear", True) if len(present) == 2 else ("lbfgs", False)
    fitted = LogisticRegression(
        C=_STRENGTH, solver=solver, dual=dual, max_iter=1000, random_state=0
    )
    # What is in no message would get a weight of 0, and makes up nearly all columns.
    active = np.flatnonzero(documents.numpy())
    fitted.fit(_features(model, messages)[:, active], labels.numpy())
    # Of two labels the regression has the second's logits alone.
    present = present[-len(fitted.coef_) :]
    coefficients, intercepts = torch.zeros(label_count, len(active)), torch.zeros(label_count)
    coefficients[present] = torch.from_numpy(fitted.coef_).float()
    intercepts[present] = torch.from_numpy(fitted.intercept_).float()
    model.weight[active] = _WEIGHT * (coefficients[1:] - coefficients[0]).T
    model.bias.copy_(_WEIGHT * (intercepts[1:] - intercepts[0]))
    return _stored_precision(model)


@torch.no_grad()
def fit_ngrams_onward(before: NGrams, messages: TokenizedMessages, labels: Tensor) -> NGrams:
    """The model `before` after learning from messages and their labels, as those of `fit_ngrams`.

    What the messages say nothing about stays as it is: the weights are drawn towards those before
    as `fit_ngrams` draws them towards 0 (a Gaussian prior around them). So it remembers messages
    that are not at hand any more. N-grams that were new count as much as the rarest before.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    model = deepcopy(before)
    model.weight.div_(_WEIGHT)
    model.bias.div_(_WEIGHT)
    unseen = torch.zeros(ALL_BUCKETS, dtype=torch.bool)
    for packed in _batches(messages):
        unseen[model.counts(packed)[1]] = True
    unseen &= model.idf == 0
    model.idf[unseen] = model.idf.max() if model.idf.any() else 1.0
    features = _features(model, messages)
    # Most n-grams are in none of the messages: their weights stay.
    active = np.flatnonzero(features.sum(axis=0))
    features = features[:, active]
    outputs = model.weight.shape[1]
    offset = torch.cat([model(packed) for packed in _batches(messages)]).double().numpy()
    truth = np.eye(outputs + 1)[labels.numpy()]

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        """The penalised loss of a change of the weights and, last, of the bias; its gradient."""
        change = flat.reshape(len(active) + 1, outputs)
        logits = offset.copy()
        logits[:, 1:] += features @ change[:-1] + change[-1]
        logits -= logsumexp(logits, axis=1, keepdims=True)
        error = (np.exp(logits) - truth)[:, 1:]
        gradient = np.vstack([features.T @ error, error.sum(axis=0)]) + change / _STRENGTH
        value = -(truth * logits).sum() + (change**2).sum() / (2 * _STRENGTH)
        return float(value), gradient.ravel()

    start = np.zeros((len(active) + 1) * outputs)
    change = minimize(loss, start, jac=True, method="L-BFGS-B").x.reshape(-1, outputs)
    model.weight[active] += torch.from_numpy(change[:-1]).float()
    model.bias.add_(torch.from_numpy(change[-1]).float())
    model.weight.mul_(_WEIGHT)
    model.bias.mul_(_WEIGHT)
    return _stored_precision(model)


def stored(model: NGrams) -> dict[str, Tensor]:
    """The tensors as a classifier keeps them, by their names there."""
    return {f"ngrams.{name}": tensor.half() for name, tensor in model.state_dict().items()}


def _features(model: NGrams, messages: TokenizedMessages) -> "csr_array":
    """(messages, ALL_BUCKETS): the features of each message."""
    from scipy.sparse import csr_array, vstack

    rows = []
    for packed in _batches(messages):
        message, bucket, value = model.features(packed)
        # scikit-learn takes 32-bit indices only.
        places = message.int().numpy(), bucket.int().numpy()
        rows.append(csr_array((value.double().numpy(), places), shape=(len(packed), ALL_BUCKETS)))
    return vstack(rows).tocsr()


def _stored_precision(model: NGrams) -> NGrams:
    """The model with its parameters rounded to float16, in which they can be stored."""
    for parameter in model.parameters():
        parameter.copy_(parameter.half())
    return model


def _batches(messages: TokenizedMessages) -> Iterator[PackedTokens]:
    for start in range(0, len(messages), _BATCH):
        yield messages.pack(range(start, min(start + _BATCH, len(messages))))
