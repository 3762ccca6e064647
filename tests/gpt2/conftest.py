"""The reference: GPT-2s of transformers, saved as it saves them, and messages to feed both."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

Shape = dict[str, int | float]
MakeReference = Callable[..., tuple[torch.nn.Module, Path]]


@pytest.fixture(
    params=[
        {"n_layer": 2, "n_head": 2, "n_embd": 32, "vocab_size": 60, "n_positions": 16},
        {"n_layer": 3, "n_head": 5, "n_embd": 40, "vocab_size": 97, "n_positions": 33},
        {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 9, "layer_norm_epsilon": 0.1},
    ],
    ids=["2x2x32", "3x5x40", "1x1x8"],
)
def shape(request: pytest.FixtureRequest) -> Shape:
    return {"vocab_size": 50} | request.param


@pytest.fixture
def make_reference(shape: Shape, tmp_path: Path) -> MakeReference:
    """Makes a model of one of transformers' GPT-2 classes and the folder that it saves."""
    import transformers

    def make(kind: str = "GPT2Model", **options: object) -> tuple[torch.nn.Module, Path]:
        last = shape["vocab_size"] - 1
        config = transformers.GPT2Config(
            **shape, bos_token_id=last, eos_token_id=last, pad_token_id=last, **options
        )
        model = getattr(transformers, kind)(config).eval()
        # As initialised, biases and attention hardly matter; here every tensor shows.
        generator = torch.Generator().manual_seed(8)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.3, generator=generator)
        model.save_pretrained(tmp_path / kind)
        return model, tmp_path / kind

    return make


@pytest.fixture
def messages(shape: Shape) -> list[list[int]]:
    """Token ids of messages of every kind of length: one token, some, the full context."""
    draw = random.Random(4)
    lengths = [5, 1, shape["n_positions"], 2, 7, 1, shape["n_positions"] - 1]
    # The last id is kept for the padding of the reference.
    return [[draw.randrange(shape["vocab_size"] - 1) for _ in range(length)] for length in lengths]


@pytest.fixture(scope="session")
def published_gpt2() -> Path:
    """The folder of the real gpt2 (548 MB, from the Hub or its cache); for `network` tests."""
    from huggingface_hub import constants, hf_hub_download

    from spamgpt.gpt2.folder import MODEL_FILES
    from spamgpt.sources.models import PUBLISHED_MODELS

    model = PUBLISHED_MODELS["gpt2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        paths = [
            hf_hub_download(model.repository, name, revision=model.revision) for name in MODEL_FILES
        ]
    # The Hub's cache lays the files of one revision side by side.
    (folder,) = {Path(path).parent for path in paths}
    return folder
