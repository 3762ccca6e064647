from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from spamgpt.cards.pretrained import PretrainedCard, render_card
from spamgpt.gpt2.config import GPT2Config
from spamgpt.training.pretraining import PretrainingRecord

CARD = PretrainedCard(
    name="mini",
    config=GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=64, vocab_size=300),
    parameters=36_928,
    tokens=20_480,
    epochs=1.25,
    seed=123,
    sources=[{"source": "chat_log", "tokens": 9_000, "weight": 3.0, "share": 0.75}],
    history=[PretrainingRecord(20_480, 1.25, 4.5, 4.25)],
    settings={"texts": ("/home/zoe/texts",), "learning_rate": 0.001, "model": None},
)


def test_a_card_tells_shape_corpus_and_training():
    text = render_card(CARD)
    assert "2 blocks, 2 heads, width 32, context 64 tokens, 300 byte-level BPE tokens" in text
    assert "20,480 tokens,\n1.25 passes over the corpus, seed 123." in text
    assert "| chat_log | 9,000 | 3 | 75.0% |" in text
    assert "| 20,480 | 1.25 | 4.500 | 4.250 | 70.1 |" in text
    assert "| learning rate | 0.001 |" in text
    assert "has the biases of its sources" in text
    assert ModelCard(text).data.pipeline_tag == "text-generation"


def test_where_the_texts_lie_is_not_told():
    text = render_card(CARD)
    assert "| texts | texts |" in text
    assert "zoe" not in text


@pytest.mark.parametrize(
    ("base", "name"), [("models/gpt2/v1", "gpt2"), ("models/owner--name/v1", None), (None, None)]
)
def test_the_base_is_named_where_its_name_is_known(base, name):
    text = render_card(replace(CARD, base=base))
    assert ModelCard(text).data.base_model == name
    assert (f"unlabelled text, from {base}:" in text) == (base is not None)
