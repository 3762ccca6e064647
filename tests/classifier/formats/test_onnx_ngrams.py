"""The nodes alone, on a vocabulary of their own, against the model that they stand for."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spamgpt.classifier.formats.onnx_ngrams import ngram_logits
from spamgpt.classifier.formats.onnx_nodes import Graph
from spamgpt.gpt2.ngram_counts import ALL_BUCKETS
from spamgpt.gpt2.ngrams import NGrams
from spamgpt.gpt2.packing import pack

# The last is the end of a text, which has no bytes.
SPELLINGS = [b"Win", b" cash prize", "中奖".encode(), b"!", b"\n", "é".encode(), b" ", b""]
LABELS = 3
MESSAGES = st.lists(
    st.lists(st.integers(0, len(SPELLINGS) - 1), min_size=1, max_size=12), min_size=1, max_size=5
)


@pytest.fixture(scope="module")
def ngrams() -> NGrams:
    """A model all of whose numbers count, in half precision like those that are fitted."""
    model = NGrams(SPELLINGS, LABELS)
    generator = torch.Generator().manual_seed(1)
    model.weight.data.normal_(generator=generator)
    model.bias.data.normal_(generator=generator)
    model.idf.data.uniform_(1, 9, generator=generator)
    for parameter in model.parameters():
        parameter.data.copy_(parameter.data.half())
    return model


@pytest.fixture(scope="module")
def model(ngrams) -> onnx.ModelProto:
    graph = Graph(int8=False)
    graph("Identity", ngram_logits(graph, ngrams, temperature=2.0), output="logits")
    graph("Softmax", "logits", output="probabilities", axis=1)
    return graph.model(LABELS)


@pytest.fixture(scope="module")
def session(model) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString())


def answer(session, messages, padding: int) -> np.ndarray:
    longest = max(map(len, messages)) + padding
    # Padding is any token.
    ids = np.array([ids + [1] * (longest - len(ids)) for ids in messages])
    mask = np.array([[1] * len(ids) + [0] * (longest - len(ids)) for ids in messages])
    (logits,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
    return logits


@settings(max_examples=50)
@given(messages=MESSAGES, padding=st.integers(0, 3))
def test_it_answers_as_the_model_whatever_the_messages_and_their_padding(
    ngrams, session, messages, padding
):
    with torch.no_grad():
        expected = ngrams(pack(messages)).numpy() / 2.0
    np.testing.assert_allclose(answer(session, messages, padding), expected, atol=1e-5)


@pytest.mark.parametrize("messages", [[[7]], [[0]], [[7], [7, 7, 7, 7], [6]], [[0, 1] * 300, [2]]])
def test_it_answers_messages_that_have_few_n_grams_or_the_same_ones_often(
    ngrams, session, messages
):
    with torch.no_grad():
        expected = ngrams(pack(messages)).numpy() / 2.0
    np.testing.assert_allclose(answer(session, messages, 0), expected, atol=1e-5)


def test_the_tables_take_two_bytes_a_number(model):
    sizes = {tensor.name: len(tensor.raw_data) for tensor in model.graph.initializer}
    assert sizes["ngrams.idf"] == 2 * ALL_BUCKETS
    assert sizes["ngrams.weight"] == 2 * ALL_BUCKETS * (LABELS - 1)
