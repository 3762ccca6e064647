"""A folder for transformers, and from it: GPT2ForSequenceClassification with its tokenizer.

Its head has no bias and it knows no temperature and no threshold. The bias goes into the final
layer norm's, the temperature into the head; the threshold stands in `spamgpt.json` and in the card.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from spamgpt.classifier.config import SAVED_CONFIG_FILE, ClassifierConfig, positive_label
from spamgpt.classifier.folder import (
    ClassifierFiles,
    Sources,
    card_in,
    named_as_here,
    named_as_in_files,
    new_folder,
)
from spamgpt.classifier.formats.agreement import Agreement
from spamgpt.classifier.formats.contents import from_contents
from spamgpt.classifier.formats.expressible import require_plain
from spamgpt.classifier.formats.huggingface_card import with_transformers
from spamgpt.errors import BadDataError, MissingInputError, UsageError
from spamgpt.gpt2.config import GPT2Config, read_json_object
from spamgpt.gpt2.folder import CARD_FILE, CONFIG_FILE, TOKENIZER_FILES, WEIGHTS_FILE
from spamgpt.gpt2.paths import utf8_path
from spamgpt.gpt2.tokenizer import END_OF_TEXT
from spamgpt.gpt2.weights import read_tensors, write_weights

ARCHITECTURE = "GPT2ForSequenceClassification"
TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
# What a folder may have of which a classifier is made.
FILES = (
    *(CONFIG_FILE, WEIGHTS_FILE, *TOKENIZER_FILES, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE),
    *(SAVED_CONFIG_FILE, CARD_FILE),
)
# By so much a logit may differ because of where its bias went.
_TOLERANCE = 1e-5


def write_huggingface(
    folder: Path,
    shape: GPT2Config,
    config: ClassifierConfig,
    sources: Sources,
    without_ngrams: Agreement | None = None,
) -> None:
    """Writes a folder that `AutoModelForSequenceClassification` and `pipeline` load.

    The card tells `without_ngrams`, if given: how GPT-2 alone agrees with the classifier. Raises
    UsageError if there is something already or transformers has no way to say what the classifier
    does, OSError if it cannot be written; then nothing is left behind.
    """
    require_plain(config, "transformers")
    if config.ngrams:
        raise UsageError(
            "transformers cannot express this classifier's linear model on n-grams.",
            "Leave it out with `without_ngrams`, which measures the difference; export a bundle "
            "or ONNX, which keep it; or train without it: spamgpt finetune --no-ngrams",
        )
    tensors = _without_bias(named_as_in_files(sources.tensors), config.temperature)
    vocabulary, merges = (sources.tokenizer_file(name) for name in TOKENIZER_FILES)
    token_ids = json.loads(vocabulary)
    exported = replace(config, temperature=1.0)
    files = {
        CONFIG_FILE: _as_json(_model_config(shape, config, token_ids[END_OF_TEXT])),
        SAVED_CONFIG_FILE: exported.to_json().encode(),
        **dict(zip(TOKENIZER_FILES, (vocabulary, merges), strict=True)),
        TOKENIZER_FILE: _as_json(_tokenizer(token_ids, merges.decode())),
        TOKENIZER_CONFIG_FILE: _as_json(_tokenizer_config(shape)),
        SPECIAL_TOKENS_FILE: _as_json({f"{kind}_token": END_OF_TEXT for kind in _SPECIAL}),
        CARD_FILE: with_transformers(sources.card, exported, shape.n_positions, without_ngrams),
    }
    with new_folder(folder) as draft:
        write_weights(tensors, draft / WEIGHTS_FILE)
        for name, content in files.items():
            (draft / name).write_bytes(content)


def _without_bias(tensors: Mapping[str, Tensor], temperature: float) -> dict[str, Tensor]:
    """The tensors with a head that has neither bias nor temperature, and equal logits.

    The head sees W (g x + b) + c, where g and b are the final layer norm's: a change d of b with
    W d = c, the smallest there is, stands in for c.
    """
    weights = {name: tensor.float() for name, tensor in tensors.items()}
    head, bias = weights.pop("head.weight"), weights.pop("head.bias")
    change = (torch.linalg.pinv(head.double()) @ bias.double()).float()
    # As transformers computes it, in float32; a head of nearly equal rows asks for a large change.
    error = (head @ change - bias).abs().max() + 2**-24 * (head.abs() @ change.abs()).max()
    if not error <= _TOLERANCE:
        raise UsageError(
            "transformers has no bias in its head, and this classifier's cannot be expressed "
            "without one: the rows of its `head.weight` are not independent.",
            "Export a bundle or ONNX, or train the classifier for longer.",
        )
    weights["transformer.ln_f.bias"] = weights["transformer.ln_f.bias"] + change
    weights["score.weight"] = head / temperature
    return weights


def _model_config(shape: GPT2Config, config: ClassifierConfig, end_of_text: int) -> dict[str, Any]:
    return shape.to_dict() | {
        "architectures": [ARCHITECTURE],
        "id2label": {str(number): label for number, label in enumerate(config.labels)},
        "label2id": {label: number for number, label in enumerate(config.labels)},
        "problem_type": "single_label_classification",
        # What is read is the last token that is not this one. No text has it: see `_tokenizer`.
        "pad_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "bos_token_id": end_of_text,
        "dtype": "float32",
    }


_SPECIAL = ("bos", "eos", "unk", "pad")


def _tokenizer_config(shape: GPT2Config) -> dict[str, Any]:
    return {
        # Not GPT2Tokenizer, which would build one of its own.
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{kind}_token": END_OF_TEXT for kind in _SPECIAL},
        # Text is only ever text: one that spells the end-of-text token does not become it.
        "split_special_tokens": True,
        "padding_side": "right",
        "model_max_length": shape.n_positions,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }


def _tokenizer(vocabulary: Mapping[str, int], merges: str) -> dict[str, Any]:
    """The `tokenizer.json` of GPT-2's byte-level BPE."""
    lines = merges.split("\n")
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": vocabulary[END_OF_TEXT],
                "content": END_OF_TEXT,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level | {"add_prefix_space": False},
        "post_processor": None,
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [line for line in lines if line and not line.startswith("#version")],
        },
    }


def _as_json(values: object) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def is_huggingface(folder: Path) -> bool:
    """Whether a folder holds a sequence classifier of transformers."""
    path = folder / CONFIG_FILE
    return path.is_file() and ARCHITECTURE in str(read_json_object(path).get("architectures"))


def read_huggingface(folder: Path, labels: Sequence[str] | None = None) -> ClassifierFiles:
    """The classifier of a folder that transformers wrote, or `write_huggingface`.

    `labels` replace those of the folder. With two labels, the threshold is 0.5, which is what
    transformers answers by, unless a `spamgpt.json` has another. Raises MissingInputError,
    ModelFormatError, UsageError, or BadDataError naming what cannot be read.
    """
    if not (folder / WEIGHTS_FILE).is_file():
        raise MissingInputError(
            f"{folder} has no {WEIGHTS_FILE}.",
            "Save the model as one safetensors file: model.save_pretrained(FOLDER, "
            'max_shard_size="100GB")',
        )
    values = read_json_object(folder / CONFIG_FILE)
    GPT2Config.from_file(folder / CONFIG_FILE)
    with (
        utf8_path(folder / WEIGHTS_FILE) as reachable,
        safe_open(reachable, framework="pt") as file,
    ):
        if "score.weight" not in file.keys():  # noqa: SIM118 - the file is no mapping
            raise BadDataError(
                f"{folder / WEIGHTS_FILE} has no score.weight: it is no sequence classifier.",
                "A pretrained model comes with: spamgpt fetch --model FOLDER",
            )
        head = file.get_tensor("score.weight")
    tensors = named_as_here(read_tensors(folder / WEIGHTS_FILE))
    tensors |= {"head.weight": head, "head.bias": torch.zeros(len(head))}
    contents = _tokenizer_contents(folder)
    contents[CONFIG_FILE] = (folder / CONFIG_FILE).read_bytes()
    contents[SAVED_CONFIG_FILE] = _config(folder, values, labels).to_json().encode()
    if (card := card_in(folder)) is not None:
        contents[CARD_FILE] = card
    return from_contents(contents, tensors, folder / WEIGHTS_FILE, folder)


def _config(
    folder: Path, values: Mapping[str, Any], labels: Sequence[str] | None
) -> ClassifierConfig:
    if values.get("problem_type") not in (None, "single_label_classification"):
        raise BadDataError(
            f"{folder / CONFIG_FILE}: problem_type is {values['problem_type']!r}; spamgpt gives "
            "each message one label.",
            "Give a classifier of one label a message.",
        )
    if (folder / SAVED_CONFIG_FILE).is_file():
        config = ClassifierConfig.from_file(folder / SAVED_CONFIG_FILE)
    else:
        names = values.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
        try:
            found = [str(names[str(number)]) for number in range(len(names))]
        except (KeyError, TypeError) as error:
            raise BadDataError(
                f"{folder / CONFIG_FILE}: id2label does not number the labels from 0.",
                "Correct it, or save the model again.",
            ) from error
        config = ClassifierConfig(found, positive_label(found), 0.5, "imported")
    return config if labels is None else relabelled(config, labels)


def relabelled(config: ClassifierConfig, labels: Sequence[str]) -> ClassifierConfig:
    """The same with other names; raises UsageError if they are not as many, or not different."""
    if len(labels) != len(config.labels) or len(set(labels)) < len(labels):
        raise UsageError(
            f"`labels` is {','.join(labels)}; the classifier has {len(config.labels)} labels: "
            f"{', '.join(config.labels)}.",
            "Give as many different ones, in this order.",
        )
    named = dict(zip(config.labels, labels, strict=True))
    positive = "spam" if "spam" in labels else named[config.positive_label]
    return replace(config, labels=list(labels), positive_label=positive)


def _tokenizer_contents(folder: Path) -> dict[str, bytes]:
    """The vocabulary and the merges, out of `tokenizer.json` where the files are not there."""
    if (folder / TOKENIZER_CONFIG_FILE).is_file():
        settings = read_json_object(folder / TOKENIZER_CONFIG_FILE)
        for name in ("add_bos_token", "add_prefix_space"):
            if settings.get(name):
                raise _unfit_tokenizer(folder / TOKENIZER_CONFIG_FILE, f"{name} is set")
    if all((folder / name).is_file() for name in TOKENIZER_FILES):
        return {name: (folder / name).read_bytes() for name in TOKENIZER_FILES}
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise MissingInputError(
            f"{folder} has neither {' and '.join(TOKENIZER_FILES)} nor {TOKENIZER_FILE}.",
            "Save the tokenizer into the folder as well: tokenizer.save_pretrained(FOLDER)",
        )
    values: dict[str, Any] = read_json_object(path)
    try:
        model, cut = values["model"], values["pre_tokenizer"]
        plain = model["type"] == "BPE" and cut["type"] == "ByteLevel"
        if not plain or cut["add_prefix_space"] or not cut.get("use_regex", True):
            raise _unfit_tokenizer(path, "it does not cut text as GPT-2's does")
        if values.get("normalizer") or _adds_tokens(values.get("post_processor")):
            raise _unfit_tokenizer(path, "it changes text or adds tokens")
        merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
        vocabulary = model["vocab"]
    except (KeyError, TypeError) as error:
        raise _unfit_tokenizer(path, f"{error} is not as expected") from error
    contents = _as_json(vocabulary), "\n".join([*merges, ""]).encode()
    return dict(zip(TOKENIZER_FILES, contents, strict=True))


def _adds_tokens(post_processor: Mapping[str, Any] | None) -> bool:
    if not post_processor or post_processor["type"] == "ByteLevel":
        return False
    # What transformers writes for a tokenizer without special tokens is a template of the text.
    return any("Sequence" not in part for part in post_processor.get("single", [{}]))


def _unfit_tokenizer(path: Path, problem: str) -> BadDataError:
    return BadDataError(
        f"{path}: this tokenizer is not plain GPT-2's: {problem}.",
        "Give a folder whose tokenizer is that of GPT-2.",
    )
