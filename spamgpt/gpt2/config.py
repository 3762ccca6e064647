"""The shape of a GPT-2, read from the `config.json` that Hugging Face writes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

# The projections of a block, by their names in it.
PROJECTIONS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


class ModelFormatError(ValueError):
    """A model folder holds something that is not a GPT-2 this package can run."""


@dataclass(frozen=True)
class GPT2Config:
    """The hyper-parameters of one GPT-2, under the names of its `config.json`.

    `n_positions` is the context length in tokens, `n_embd` the width of the hidden states.
    `eos_token_id` is the id of `<|endoftext|>`, which also begins a text; None if it is not known.
    """

    n_layer: int
    n_head: int
    n_embd: int
    vocab_size: int = 50257
    n_positions: int = 1024
    layer_norm_epsilon: float = 1e-5
    eos_token_id: int | None = None

    @classmethod
    def from_file(cls, path: Path) -> "GPT2Config":
        """Reads a `config.json`; raises ModelFormatError for anything but a plain GPT-2."""
        values = read_json_object(path)
        try:
            return cls.from_dict(values)
        except ModelFormatError as error:
            raise ModelFormatError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "GPT2Config":
        """Takes the values of a `config.json`; raises ModelFormatError naming what does not fit."""
        _refuse_other_architectures(values)
        vocab_size = _positive_integer(values, "vocab_size", default=cls.vocab_size)
        config = cls(
            n_layer=_positive_integer(values, "n_layer", most=1_000),
            n_head=_positive_integer(values, "n_head"),
            n_embd=_positive_integer(values, "n_embd"),
            vocab_size=vocab_size,
            n_positions=_positive_integer(values, "n_positions", default=cls.n_positions),
            layer_norm_epsilon=_small_number(
                values, "layer_norm_epsilon", default=cls.layer_norm_epsilon
            ),
            eos_token_id=_token_id(values, "eos_token_id", vocab_size),
        )
        if config.n_embd % config.n_head:
            raise ModelFormatError(
                f"n_embd {config.n_embd} is not a multiple of n_head {config.n_head}"
            )
        return config

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        block = 12 * self.n_embd**2 + 13 * self.n_embd
        embeddings = (self.vocab_size + self.n_positions) * self.n_embd
        return embeddings + self.n_layer * block + 2 * self.n_embd

    def products(self, tokens: int) -> int:
        """How many pairs of numbers the projections of the blocks multiply for so many tokens."""
        return 12 * self.n_layer * self.n_embd**2 * tokens

    def to_dict(self) -> dict[str, object]:
        """The values of a `config.json` that `transformers` reads as the same model."""
        return {
            "model_type": "gpt2",
            "activation_function": "gelu_new",
            **asdict(self),
            "bos_token_id": self.eos_token_id,
        }

    def write(self, path: Path) -> None:
        """Writes the `config.json`."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class LoraConfig:
    """The low-rank adapters of a model (gpt2.adapters): their rank, their scale, where they are.

    What an adapter adds is scaled by `alpha` / `rank`. `targets` are some of PROJECTIONS.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]

    @property
    def scale(self) -> float:
        """What the product of an adapter's two matrices is multiplied by."""
        return self.alpha / self.rank


def read_json_object(path: Path) -> dict[str, object]:
    """The object that a JSON file holds; raises ModelFormatError if it holds none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    # Beside what is not JSON: brackets nested too deep, and numbers of thousands of digits.
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ModelFormatError(f"{path} does not hold a JSON object")
    return values


# Options of transformers' GPT-2 that change what the network computes. Files that set one to
# anything else describe another network, and running them as GPT-2 would be silently wrong.
_FIXED_OPTIONS: Mapping[str, tuple[object, ...]] = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}


def _refuse_other_architectures(values: Mapping[str, object]) -> None:
    model_type = values.get("model_type", "gpt2")
    if model_type != "gpt2":
        raise ModelFormatError(f"architecture {model_type!r} is not supported, only 'gpt2' is")
    architectures = values.get("architectures") or []
    for name in architectures if isinstance(architectures, list) else [architectures]:
        if not str(name).startswith("GPT2"):
            raise ModelFormatError(f"architecture {name!r} is not supported, only GPT-2 is")
    for option, allowed in _FIXED_OPTIONS.items():
        if option in values and values[option] not in allowed:
            raise ModelFormatError(
                f"{option} is {values[option]!r}; GPT-2 has {' or '.join(map(repr, allowed))}"
            )
    n_embd, n_inner = values.get("n_embd"), values.get("n_inner")
    if n_inner is not None and isinstance(n_embd, int) and n_inner != 4 * n_embd:
        raise ModelFormatError(f"n_inner is {n_inner}; GPT-2 has 4 * n_embd = {4 * n_embd}")


def _positive_integer(
    values: Mapping[str, object],
    name: str,
    *,
    most: int = 10_000_000,
    default: int | None = None,
) -> int:
    """A size; `most` is beyond every GPT-2, and keeps nonsense from filling the memory."""
    value = values.get(name, default)
    if value is None:
        raise ModelFormatError(f"{name} is missing")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelFormatError(f"{name} is {value!r}, not a positive whole number")
    if value > most:
        raise ModelFormatError(f"{name} is more than {most}")
    return value


def _small_number(values: Mapping[str, object], name: str, *, default: float) -> float:
    value = values.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
        raise ModelFormatError(f"{name} is {value!r}, not a number between 0 and 1")
    return float(value)


def _token_id(values: Mapping[str, object], name: str, vocab_size: int) -> int | None:
    """An id of the vocabulary; None for anything else, since no answer depends on it."""
    value = values.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < vocab_size:
        return value
    return None
