import json

import pytest

from spamgpt.gpt2.config import ModelFormatError
from spamgpt.gpt2.folder import MODEL_FILES, load_folder
from spamgpt.gpt2.packing import pack


def test_a_folder_gives_a_model_and_the_tokenizer_that_feeds_it(make_model):
    model, tokenizer = load_folder(make_model())
    token_ids = tokenizer.encode(["free entry", ""])
    assert model.last_hidden_states(pack(token_ids)).shape == (2, 32)


def test_the_model_may_have_more_embeddings_than_the_tokenizer_has_tokens(make_model):
    model, tokenizer = load_folder(make_model(vocab_size=320))
    assert (model.config.vocab_size, tokenizer.vocab_size) == (320, 262)


def test_a_tokenizer_with_tokens_that_the_model_does_not_know_is_refused(make_model):
    folder = make_model(vocab_size=261)
    with pytest.raises(ModelFormatError) as caught:
        load_folder(folder)
    assert str(caught.value) == (
        f"{folder}: the tokenizer has token ids up to 261, the model has embeddings for 261"
    )


def test_weights_of_another_shape_are_refused(make_model):
    folder = make_model()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 3}))
    with pytest.raises(ModelFormatError, match=r"model\.safetensors .* missing h\.2\."):
        load_folder(folder)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_missing_file_is_told_by_name(name, make_model):
    folder = make_model()
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_folder(folder)
    assert str(caught.value.filename) == str(folder / name)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_damaged_file_is_told_by_name(name, make_model):
    folder = make_model()
    (folder / name).write_bytes(b"\xff\xfe damaged")
    with pytest.raises(ModelFormatError) as caught:
        load_folder(folder)
    assert str(folder / name) in str(caught.value)
