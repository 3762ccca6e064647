"""A classifier as an ONNX file, for onnxruntime in whatever language: export only.

The metadata of the file has the labels, the threshold and the tokenizer; beside the file stands an
example of its use. The graph is written node by node (`onnx_graph`): that is short, computes no
more than is read, and needs no exporter that traces the model.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spamgpt.classifier.config import ClassifierConfig
from spamgpt.classifier.folder import Sources, new_files
from spamgpt.classifier.formats.agreement import Agreement
from spamgpt.classifier.formats.expressible import require_plain
from spamgpt.errors import UsageError
from spamgpt.extras import require
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.ngrams import NGrams
from spamgpt.gpt2.tokenizer import Tokenizer

SUFFIX = ".onnx"
# A file of protocol buffers ends at 2 GiB; larger weights go into a second file beside it.
MOST_BYTES = 2_000_000_000
# Messages that are measured together, as many as a small machine has room for.
_AT_ONCE = 8

EXAMPLE = '''"""Classifies the messages given as arguments: python {name}.py 'see you at 7?'"""
import base64, json, pathlib, sys
import numpy, onnxruntime, tiktoken

session = onnxruntime.InferenceSession(pathlib.Path(__file__).with_name("{name}.onnx"))
about = session.get_modelmeta().custom_metadata_map
lines = map(str.split, about["tokens"].splitlines())
ranks = {{base64.b64decode(token): int(number) for token, number in lines}}
bpe = tiktoken.Encoding("", pat_str=about["pattern"], mergeable_ranks=ranks, special_tokens={{}})
for text in sys.argv[1:]:
    ids = bpe.encode_ordinary(text)[: int(about["context"])] or [int(about["end_of_text"])]
    inputs = {{"input_ids": numpy.array([ids]), "attention_mask": numpy.array([[1] * len(ids)])}}
    [[probabilities]] = session.run(["probabilities"], inputs)
    print(json.dumps(dict(zip(json.loads(about["labels"]), probabilities.tolist()))))
'''


def write_onnx(
    path: Path,
    shape: GPT2Config,
    config: ClassifierConfig,
    sources: Sources,
    ngrams: NGrams | None,
    tokenizer: Tokenizer,
    messages: Sequence[Sequence[int]],
    expected: npt.NDArray[np.float64],
    int8: bool = False,
) -> Agreement:
    """Writes the file and the example, and returns how well onnxruntime agrees.

    `messages` are token ids, none more than the context, and `expected` the classifier's own
    probabilities for them, against which the file is measured; it keeps the outcome. With `int8`
    the weights of the projections are 8-bit integers. Raises MissingInputError without the extra
    `onnx`, UsageError if there is something already or ONNX cannot express the classifier.
    """
    require("onnx", "onnx", "onnxruntime")
    require_plain(config, "ONNX", ("last", "mean"))
    if path.suffix != SUFFIX:
        raise UsageError(f"{path} is no name for an ONNX file.", "Give one that ends in .onnx.")
    import onnx

    from spamgpt.classifier.formats.onnx_graph import build

    example, data = path.with_suffix(".py"), path.with_name(f"{path.name}.data")
    with new_files(path, example, data) as draft:
        mean = config.pooling == "mean"
        model = build(shape, sources.tensors, ngrams, config.temperature, int8, mean)
        large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > MOST_BYTES
        onnx.save(model, draft / path.name, save_as_external_data=large, location=data.name)
        found = _probabilities(draft / path.name, messages, len(config.labels))
        agreement = Agreement.between(config, expected, found)
        about = _about(shape, config, tokenizer) | {"agreement": json.dumps(asdict(agreement))}
        onnx.helper.set_model_props(model, about)
        # Once more, and without the weights where they stand beside it.
        (draft / path.name).write_bytes(model.SerializeToString())
        text = EXAMPLE.format(name=path.stem)
        (draft / example.name).write_text(text, encoding="utf-8")
    return agreement


def _about(shape: GPT2Config, config: ClassifierConfig, tokenizer: Tokenizer) -> dict[str, str]:
    """What one needs to know to use the file, as the texts that its metadata is made of."""
    encoding, end_of_text = tokenizer.encoding, tokenizer.end_of_text
    ids = [number for number in range(tokenizer.vocab_size) if number != end_of_text]
    tokens = [b64encode(encoding.decode_single_token_bytes(n)).decode() + f" {n}" for n in ids]
    return {
        "labels": json.dumps(config.labels, ensure_ascii=False),
        "positive_label": config.positive_label,
        "threshold": repr(config.threshold),
        "context": str(shape.n_positions),
        "end_of_text": str(end_of_text),
        "pattern": tokenizer.pattern,
        "tokens": "\n".join(tokens),
    }


def _probabilities(
    path: Path, messages: Sequence[Sequence[int]], labels: int
) -> npt.NDArray[np.float64]:
    """(messages, labels): what onnxruntime answers from a file, padded batch by padded batch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = np.empty((len(messages), labels))
    order = sorted(range(len(messages)), key=lambda index: len(messages[index]))
    for start in range(0, len(order), _AT_ONCE):
        batch = order[start : start + _AT_ONCE]
        lengths = np.array([len(messages[index]) for index in batch])
        ids = np.zeros((len(batch), lengths.max()), np.int64)
        for row, index in zip(ids, batch, strict=True):
            row[: len(messages[index])] = messages[index]
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask}
        (found[batch],) = session.run(["probabilities"], inputs)
    return found
