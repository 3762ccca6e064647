"""The classifier's forward pass in numpy, for who has few messages and no time to load torch.

It computes what `GPT2Classifier` computes in float32, for a causal GPT-2 whose head reads the last
token or the mean over the tokens. Nothing here is trained.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from spamgpt.gpt2.config import PROJECTIONS, GPT2Config
from spamgpt.gpt2.ngram_counts import ALL_BUCKETS, BUCKETS, KINDS, NGramCounter

# Numbers in whatever precision a file has them, and what is computed from them, in float32.
Stored = npt.NDArray[np.floating[Any]]
Array = npt.NDArray[Any]

# Of tanh's approximation to GELU (Hendrycks & Gimpel 2016).
_GELU = np.float32(0.7978845608028654), np.float32(0.044715)


def shapes(config: GPT2Config, labels: int, ngrams: bool) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a classifier, named as those of `GPT2Classifier`."""
    n_embd = config.n_embd
    found: dict[str, tuple[int, ...]] = {
        "gpt2.wte.weight": (config.vocab_size, n_embd),
        "gpt2.wpe.weight": (config.n_positions, n_embd),
        "head.weight": (labels, n_embd),
        "head.bias": (labels,),
    }
    norms = ["gpt2.ln_f"]
    for block in range(config.n_layer):
        for name, inputs, outputs in zip(PROJECTIONS, (1, 1, 1, 4), (3, 1, 4, 1), strict=True):
            found[f"gpt2.h.{block}.{name}.weight"] = (inputs * n_embd, outputs * n_embd)
            found[f"gpt2.h.{block}.{name}.bias"] = (outputs * n_embd,)
        norms += [f"gpt2.h.{block}.ln_1", f"gpt2.h.{block}.ln_2"]
    found |= {f"{name}.{kind}": (n_embd,) for name in norms for kind in ("weight", "bias")}
    if ngrams:
        found["ngrams.weight"] = (ALL_BUCKETS, labels - 1)
        found["ngrams.idf"] = (ALL_BUCKETS,)
        found["ngrams.bias"] = (labels - 1,)
        found["ngrams.caution"] = (1,)
    return found


class NumpyClassifier:
    """A GPT-2 with the head of a classifier and, if there is one, its linear model on n-grams.

    `tensors` are those of `shapes`. The head reads the last token or, with `mean`, the mean over
    all. `counter` is for the model on n-grams.
    """

    def __init__(
        self,
        config: GPT2Config,
        tensors: Mapping[str, Stored],
        mean: bool,
        counter: NGramCounter | None = None,
    ) -> None:
        self.config = config
        self.mean = mean
        self.counter = counter
        # Of tables a few rows are read; what all tokens meet is widened once.
        tables = {"gpt2.wte.weight", "gpt2.wpe.weight", "ngrams.weight", "ngrams.idf"}
        self.tensors = {
            name: tensor if name in tables else tensor.astype(np.float32, copy=False)
            for name, tensor in tensors.items()
        }

    def logits(self, messages: Sequence[Sequence[int]]) -> Array:
        """(messages, labels): the logits of each message, given by its token ids, none empty."""
        token_ids = np.fromiter(chain.from_iterable(messages), np.int64)
        offsets = np.array([0, *accumulate(map(len, messages))])
        lengths = np.diff(offsets)
        position = np.arange(len(token_ids)) - offsets[:-1].repeat(lengths)
        x = self._rows("gpt2.wte.weight", token_ids) + self._rows("gpt2.wpe.weight", position)
        for block in range(self.config.n_layer - 1):
            x = self._block(x, block, offsets)
        x = self._block(x, self.config.n_layer - 1, offsets, last_only=not self.mean)
        x = self._norm(x, "gpt2.ln_f")
        if self.mean:
            x = np.add.reduceat(x, offsets[:-1]) / lengths[:, None].astype(np.float32)
        logits: Array = x @ self.tensors["head.weight"].T + self.tensors["head.bias"]
        if self.counter is not None:
            message = np.arange(len(messages)).repeat(lengths)
            if caution := self.tensors["ngrams.caution"].item():
                logits *= self.counter.trust(token_ids, message, caution)[:, None]
            logits[:, 1:] += self._ngram_logits(self.counter, token_ids, message)
        return logits

    def _block(
        self, x: Array, number: int, offsets: npt.NDArray[np.int64], last_only: bool = False
    ) -> Array:
        """(tokens, n_embd) -> the same, or (messages, n_embd): the last token of each message."""
        name, n_embd = f"gpt2.h.{number}", self.config.n_embd
        rows = self._projected(self._norm(x, f"{name}.ln_1"), f"{name}.attn.c_attn")
        if last_only:
            x = x[offsets[1:] - 1]
        attended = np.empty_like(x)
        for message, (start, end) in enumerate(pairwise(offsets.tolist())):
            query, key, value = (
                part.reshape(end - start, self.config.n_head, -1).transpose(1, 0, 2)
                for part in np.split(rows[start:end], 3, axis=1)
            )
            own = slice(start, end)
            if last_only:
                query, own = query[:, -1:], slice(message, message + 1)
            attended[own] = _attention(query, key, value).transpose(1, 0, 2).reshape(-1, n_embd)
        x = x + self._projected(attended, f"{name}.attn.c_proj")
        hidden = _gelu(self._projected(self._norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc"))
        return x + self._projected(hidden, f"{name}.mlp.c_proj")

    def _projected(self, x: Array, name: str) -> Array:
        product: Array = x @ self.tensors[f"{name}.weight"]
        product += self.tensors[f"{name}.bias"]
        return product

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(1, keepdims=True)
        variance = (centred * centred).mean(1, keepdims=True)
        centred /= np.sqrt(variance + np.float32(self.config.layer_norm_epsilon))
        normed: Array = centred * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]
        return normed

    def _rows(self, table: str, places: npt.NDArray[np.int64]) -> Array:
        return self.tensors[table][places].astype(np.float32)

    def _ngram_logits(
        self,
        counter: NGramCounter,
        token_ids: npt.NDArray[np.int64],
        message: npt.NDArray[np.int64],
    ) -> Array:
        """(messages, labels - 1): as `NGrams` has them."""
        counts = counter.count(token_ids, message)
        idf = self._rows("ngrams.idf", counts.bucket)
        values = (1 + np.log(counts.count.astype(np.float32))) * idf
        messages = int(message[-1]) + 1
        group = KINDS * counts.message + counts.bucket // BUCKETS
        squares = np.bincount(group, values * values, KINDS * messages).astype(np.float32)
        values /= np.sqrt(np.maximum(squares, np.float32(1e-12)))[group]
        weighted = values[:, None] * self._rows("ngrams.weight", counts.bucket)
        columns = [np.bincount(counts.message, column, messages) for column in weighted.T]
        logits: Array = np.stack(columns, axis=1).astype(np.float32) + self.tensors["ngrams.bias"]
        return logits


def _attention(query: Array, key: Array, value: Array) -> Array:
    """(n_head, tokens, width) each -> the same: causal, the queries being those of the last tokens.

    The scores of a token that is not seen are those of softmax's 0.
    """
    scores = query @ key.transpose(0, 2, 1)
    scores *= np.float32(query.shape[2] ** -0.5)
    first = key.shape[1] - query.shape[1]
    unseen = np.arange(key.shape[1]) > first + np.arange(query.shape[1])[:, None]
    scores[:, unseen] = -np.inf
    scores -= scores.max(2, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(2, keepdims=True)
    attended: Array = scores @ value
    return attended


def _gelu(x: Array) -> Array:
    scale, cubic = _GELU
    inner = x * x
    inner *= cubic
    inner += 1
    inner *= x
    inner *= scale
    np.tanh(inner, out=inner)
    inner += 1
    inner *= x
    inner *= np.float32(0.5)
    return inner
