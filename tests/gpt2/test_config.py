import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spamgpt.gpt2.config import GPT2Config, ModelFormatError

SMALL = {"n_layer": 2, "n_head": 4, "n_embd": 32}

# The config.json of openai-community/gpt2, byte for byte (SHA-256 0daed774...).
PUBLISHED = (Path(__file__).parents[1] / "gpt2_config.json").read_text()


def test_the_published_file_is_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(PUBLISHED)
    assert GPT2Config.from_file(path) == GPT2Config(
        n_layer=12,
        n_head=12,
        n_embd=768,
        vocab_size=50257,
        n_positions=1024,
        layer_norm_epsilon=1e-5,
        eos_token_id=50256,
    )


def test_what_transformers_saves_is_read(make_reference, shape):
    _, folder = make_reference()
    assert GPT2Config.from_file(folder / "config.json") == GPT2Config(
        **shape, eos_token_id=shape["vocab_size"] - 1
    )


def test_transformers_reads_what_is_written_as_the_same_model(tmp_path, shape):
    import transformers

    config = GPT2Config(**shape, eos_token_id=3)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    reread = transformers.AutoConfig.from_pretrained(tmp_path)
    assert isinstance(reread, transformers.GPT2Config)
    assert {name: getattr(reread, name) for name in shape} == shape
    assert reread.activation_function == "gelu_new"
    assert (reread.bos_token_id, reread.eos_token_id) == (3, 3)


def test_the_id_of_the_end_token_is_read_if_it_is_one_and_written_even_if_it_is_not():
    for value in (50, -1, True, "7", [7], None):
        config = GPT2Config.from_dict(SMALL | {"vocab_size": 50, "eos_token_id": value})
        assert config.eos_token_id is None
        # What is missing would be GPT-2's own for transformers.
        assert config.to_dict().items() >= {"eos_token_id": None, "bos_token_id": None}.items()
    assert GPT2Config.from_dict(SMALL | {"eos_token_id": 7}).eos_token_id == 7


def test_what_is_written_is_read_again(shape):
    config = GPT2Config(**shape, eos_token_id=0)
    assert GPT2Config.from_dict(config.to_dict()) == config


def test_sizes_left_out_are_those_of_gpt2():
    assert GPT2Config.from_dict(SMALL) == GPT2Config(2, 4, 32, 50257, 1024, 1e-5)


@pytest.mark.parametrize(
    "values",
    [
        {"activation_function": "gelu_pytorch_tanh"},
        {"n_inner": None},
        {"n_inner": 128},
        {"architectures": None},
        {"architectures": ["GPT2ForSequenceClassification"]},
        {"reorder_and_upcast_attn": True},
    ],
)
def test_options_that_change_nothing_are_accepted(values):
    assert GPT2Config.from_dict(SMALL | values) == GPT2Config.from_dict(SMALL)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model_type": "llama"}, "architecture 'llama' is not supported"),
        ({"model_type": None}, "architecture None is not supported"),
        ({"architectures": ["BertModel"]}, "architecture 'BertModel' is not supported"),
        ({"architectures": "BertModel"}, "architecture 'BertModel' is not supported"),
        ({"architectures": ["GPT2Model", 5]}, "architecture 5 is not supported"),
        ({"activation_function": "relu"}, "activation_function is 'relu'"),
        ({"scale_attn_weights": False}, "scale_attn_weights is False"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"n_inner": 100}, "n_inner is 100"),
        ({"n_layer": None}, "n_layer is missing"),
        ({"n_layer": 0}, "n_layer is 0, not a positive whole number"),
        ({"n_head": -4}, "n_head is -4, not a positive whole number"),
        ({"n_embd": 32.0}, "n_embd is 32.0, not a positive whole number"),
        ({"vocab_size": "50257"}, "vocab_size is '50257', not a positive whole number"),
        ({"n_positions": True}, "n_positions is True, not a positive whole number"),
        ({"n_layer": 10**9}, "n_layer is more than 1000"),
        ({"n_embd": 10**30}, "n_embd is more than 10000000"),
        ({"n_head": 5}, "n_embd 32 is not a multiple of n_head 5"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon is 0, not a number between 0 and 1"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon is nan"),
        ({"layer_norm_epsilon": float("inf")}, "layer_norm_epsilon is inf"),
        ({"layer_norm_epsilon": 10**400}, "layer_norm_epsilon is 1000"),
        ({"layer_norm_epsilon": "1e-5"}, "layer_norm_epsilon is '1e-5'"),
    ],
)
def test_anything_but_a_plain_gpt2_is_refused_by_name(values, reason):
    with pytest.raises(ModelFormatError) as caught:
        GPT2Config.from_dict(SMALL | values)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("name", ["n_layer", "n_head", "n_embd"])
def test_a_size_that_has_no_default_must_be_there(name):
    values = {key: value for key, value in SMALL.items() if key != name}
    with pytest.raises(ModelFormatError, match=f"{name} is missing"):
        GPT2Config.from_dict(values)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"n_layer": \xff}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"n_layer": ' + b"9" * 5_000 + b"}", "is not JSON"),
        (b"[1, 2]", "does not hold a JSON object"),
        (b"{}", "n_layer is missing"),
    ],
)
def test_a_damaged_file_is_named(content, reason, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError) as caught:
        GPT2Config.from_file(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


def test_a_missing_file_is_told_by_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        GPT2Config.from_file(tmp_path / "config.json")


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=5,
)
names = st.sampled_from(
    [
        *json.loads(PUBLISHED),
        "n_inner",
        "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx",
        "add_cross_attention",
    ]
)


@settings(deadline=None)
@given(st.dictionaries(names | st.text(max_size=5), junk | st.integers(1, 64), max_size=8))
def test_junk_is_refused_and_never_crashes(values):
    for tampered in (values, SMALL | values):
        try:
            config = GPT2Config.from_dict(tampered)
        except ModelFormatError:
            continue
        assert config.n_embd % config.n_head == 0
        assert 0 < config.layer_norm_epsilon < 1


@pytest.fixture(scope="module")
def scratch_file(tmp_path_factory):
    return tmp_path_factory.mktemp("config") / "config.json"


@settings(deadline=None)
@given(st.binary(max_size=50) | junk.map(lambda value: json.dumps(value).encode()))
def test_a_junk_file_is_refused_and_never_crashes(scratch_file, content):
    scratch_file.write_bytes(content)
    with pytest.raises(ModelFormatError):
        GPT2Config.from_file(scratch_file)
