import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.in_numpy import NumpyClassifier, shapes
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.ngrams import NGrams
from spamgpt.gpt2.packing import pack

SHAPE = GPT2Config(n_layer=3, n_head=2, n_embd=24, vocab_size=6, n_positions=12)
SPELLINGS = [b"Win", b" cash", b"!", b"\n", "é".encode(), b""]
MESSAGES = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=12), min_size=1, max_size=5)


def classifier(pooling: str, labels: int, ngrams: bool) -> GPT2Classifier:
    """One in which every tensor shows."""
    model = GPT2Classifier(GPT2(SHAPE), labels, pooling=pooling)
    model.ngrams = NGrams(SPELLINGS, labels) if ngrams else None
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    return model.eval()


MODELS = [classifier("last", 2, False), classifier("mean", 2, True), classifier("last", 4, True)]


@pytest.mark.parametrize("model", MODELS, ids=["last", "mean, n-grams", "four labels, n-grams"])
@given(messages=MESSAGES)
def test_it_computes_what_the_model_in_torch_computes(model, messages):
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    counter = model.ngrams.counter if model.ngrams else None
    found = NumpyClassifier(SHAPE, tensors, model.pooling == "mean", counter).logits(messages)
    with torch.no_grad():
        expected = model(pack(messages)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", MODELS, ids=["last", "mean, n-grams", "four labels, n-grams"])
def test_its_shapes_are_those_of_the_model_in_torch(model):
    found = shapes(SHAPE, model.head.out_features, model.ngrams is not None)
    assert found == {name: tuple(t.shape) for name, t in model.state_dict().items()}
