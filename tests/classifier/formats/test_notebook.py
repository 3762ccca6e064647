"""The classifier of the published notebook is written out here as the book has it."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from spamgpt.classifier.formats.notebook import read_notebook
from spamgpt.classifier.model import SpamClassifier
from spamgpt.errors import BadDataError, UsageError
from tests.classifier.formats.conftest import MESSAGES

SHAPE = {"vocab_size": 262, "n_positions": 64, "n_embd": 32, "n_head": 2, "n_layer": 2}


class LayerNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(1 + torch.randn(width) / 10)
        self.shift = nn.Parameter(torch.randn(width) / 10)

    def forward(self, x):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return self.scale * (x - mean) / torch.sqrt(var + 1e-5) + self.shift


class GELU(nn.Module):
    def forward(self, x):
        inner = np.sqrt(2.0 / np.pi) * (x + 0.044715 * torch.pow(x, 3))
        return 0.5 * x * (1 + torch.tanh(inner))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, 4 * width), GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        return self.layers(x)


class MultiHeadAttention(nn.Module):
    def __init__(self, width: int, context: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.W_query = nn.Linear(width, width, bias=bias)
        self.W_key = nn.Linear(width, width, bias=bias)
        self.W_value = nn.Linear(width, width, bias=bias)
        self.out_proj = nn.Linear(width, width)
        self.register_buffer("mask", torch.triu(torch.ones(context, context), diagonal=1))

    def forward(self, x):
        batch, tokens, width = x.shape
        query, key, value = (
            project(x).view(batch, tokens, self.heads, -1).transpose(1, 2)
            for project in (self.W_query, self.W_key, self.W_value)
        )
        scores = query @ key.transpose(2, 3)
        scores.masked_fill_(self.mask.bool()[:tokens, :tokens], -torch.inf)
        weights = torch.softmax(scores / key.shape[-1] ** 0.5, dim=-1)
        return self.out_proj((weights @ value).transpose(1, 2).reshape(batch, tokens, width))


class TransformerBlock(nn.Module):
    def __init__(self, width: int, context: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.att = MultiHeadAttention(width, context, heads, bias)
        self.ff = FeedForward(width)
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)

    def forward(self, x):
        x = x + self.att(self.norm1(x))
        return x + self.ff(self.norm2(x))


class GPTModel(nn.Module):
    def __init__(self, labels: int = 2, bias: bool = True) -> None:
        super().__init__()
        width, context = SHAPE["n_embd"], SHAPE["n_positions"]
        self.tok_emb = nn.Embedding(SHAPE["vocab_size"], width)
        self.pos_emb = nn.Embedding(context, width)
        blocks = [
            TransformerBlock(width, context, SHAPE["n_head"], bias) for _ in range(SHAPE["n_layer"])
        ]
        self.trf_blocks = nn.Sequential(*blocks)
        self.final_norm = LayerNorm(width)
        self.out_head = nn.Linear(width, labels)

    def forward(self, ids):
        x = self.tok_emb(ids) + self.pos_emb(torch.arange(ids.shape[1]))
        return self.out_head(self.final_norm(self.trf_blocks(x)))


@pytest.fixture
def folder(make_model) -> Path:
    return make_model(weights=False, **SHAPE)


@pytest.fixture
def saved(tmp_path) -> tuple[GPTModel, Path]:
    torch.manual_seed(3)
    model = GPTModel().eval()
    torch.save(model.state_dict(), tmp_path / "review_classifier.pth")
    return model, tmp_path / "review_classifier.pth"


def loaded(
    path: Path, folder: Path, labels: tuple[str, ...] = ("ham", "spam"), padding: int | None = 60
) -> SpamClassifier:
    files = read_notebook(path, folder, labels, padding)
    return SpamClassifier(files, torch.device("cpu"), "fp32")


@torch.no_grad()
def classify_review(text: str, model: GPTModel, tokenizer, max_length: int) -> list[float]:
    """As the notebook has it, for a message that is not longer; it takes the larger of these."""
    ids = tokenizer.encode([text])[0] if text else []
    ids = ids + [tokenizer.end_of_text] * (max_length - len(ids))
    return model(torch.tensor(ids).unsqueeze(0))[:, -1, :].softmax(-1)[0].tolist()


@pytest.mark.parametrize("padding", [None, 60, 64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("labels", [2, 3])
def test_it_answers_as_the_notebook_does(folder, tmp_path, bias, labels, padding):
    torch.manual_seed(4)
    model = GPTModel(labels, bias).eval()
    torch.save(model.state_dict(), tmp_path / "model.pth")
    names = ("ham", "spam", "ads")[:labels]
    classifier = loaded(tmp_path / "model.pth", folder, names, padding)
    texts = MESSAGES if padding is None else [*MESSAGES, ""]
    for text, row in zip(texts, classifier.predict_proba(texts), strict=True):
        expected = classify_review(text, model, classifier.tokenizer, padding or 0)
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_the_padding_changes_its_answers(saved, folder):
    _, path = saved
    short, long = (loaded(path, folder, padding=n).predict_proba(MESSAGES) for n in (60, 64))
    assert np.abs(short - long).max() > 1e-4


def test_padding_beyond_the_context_is_told(saved, folder):
    _, path = saved
    with pytest.raises(BadDataError, match="padding is 120, and the model's context 64 tokens"):
        read_notebook(path, folder, ["ham", "spam"])


def test_the_old_format_of_torch_is_read_as_well(saved, folder, tmp_path):
    model, path = saved
    old = tmp_path / "old.pth"
    torch.save(model.state_dict(), old, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(
        loaded(old, folder).predict_proba(MESSAGES), loaded(path, folder).predict_proba(MESSAGES)
    )


class Hostile:
    def __reduce__(self):
        return print, ("the code of a pickle ran",)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save(GPTModel(), path),
        lambda path: torch.save({"model": Hostile()}, path),
        lambda path: path.write_bytes(pickle.dumps(Hostile())),
        lambda path: path.write_bytes(b"no pickle at all"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x03\x04" + bytes(200)),
        lambda path: torch.save([torch.ones(2)], path),
        lambda path: torch.save({"epoch": 3, "model": {"a": torch.ones(2)}}, path),
        lambda path: torch.save({3: torch.ones(2)}, path),
    ],
)
def test_nothing_but_tensors_is_loaded_and_no_code_is_run(folder, tmp_path, capsys, write):
    path = tmp_path / "review_classifier.pth"
    write(path)
    with pytest.raises(BadDataError, match=r"review_classifier\.pth") as caught:
        read_notebook(path, folder, ["ham", "spam"], None)
    assert "\n" not in caught.value.message
    assert "ran" not in capsys.readouterr().out


def test_a_truncated_file_gets_one_clear_line(saved, folder):
    _, path = saved
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadDataError, match=r"review_classifier\.pth") as caught:
        read_notebook(path, folder, ["ham", "spam"], None)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("out_head.bias"), r"has no out_head\.bias"),
        (lambda s: s.pop("trf_blocks.1.att.W_key.weight"), r"missing gpt2\.h\.1\.attn\.c_attn"),
        (
            lambda s: s.pop("trf_blocks.0.ff.layers.2.bias"),
            r"missing gpt2\.h\.0\.mlp\.c_proj\.bias",
        ),
        (lambda s: s.update(extra=torch.ones(2)), "surplus extra"),
        (lambda s: s.update({"tok_emb.weight": torch.ones(300, 32)}), "wrong shapes"),
    ],
)
def test_what_does_not_fit_is_named(saved, folder, change, told):
    model, path = saved
    state = model.state_dict()
    change(state)
    torch.save(state, path)
    with pytest.raises(BadDataError, match=told) as caught:
        read_notebook(path, folder, ["ham", "spam"], None)
    assert "\n" not in caught.value.message


def test_a_model_of_another_shape_is_told_with_what_to_name(saved, make_model):
    _, path = saved
    other = make_model("other", weights=False, **SHAPE | {"n_layer": 3})
    with pytest.raises(BadDataError, match="missing") as caught:
        read_notebook(path, other, ["ham", "spam"], None)
    assert "`model=gpt2`" in caught.value.hint


@pytest.mark.parametrize("labels", [["ham"], ["a", "a"], ["a", "b", "c"]])
def test_labels_have_to_be_as_many_as_the_head_has(saved, folder, labels):
    _, path = saved
    with pytest.raises(UsageError, match=re.escape(",".join(labels))):
        read_notebook(path, folder, labels)
