"""Prediction: the whole command, and its model against other engines on the same messages."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
import transformers

from benchmarks.engines import Engine, Inputs, batches, engines
from benchmarks.world import World, fastest, precisions, spamgpt
from spamgpt.classifier.inference import predict_logits
from spamgpt.classifier.model import SpamClassifier
from spamgpt.data.batches import TokenizedMessages, tokenize
from spamgpt.device import Precision
from spamgpt.gpt2.classifier import GPT2Classifier

MESSAGES = 1_000
# Messages that the pipeline is timed on; the others are taken to be like them.
SAMPLE = 64
BATCH_SIZES = (1, 8, 32)
# Messages that models and engines are timed on, and how often; the engines at batches of these.
TIMED = {"gpt2's shape": 100, "mini": 500}
ROUNDS = 3
ENGINES_BATCH_SIZES = (16, 64)


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    folder, lines = world.folder, world.write_lines(MESSAGES)
    world.make_classifier()
    rates = {}
    answers = {}
    for precision in precisions():
        run = spamgpt("predict", "--precision", precision, "--json", folder=folder, stdin=lines)
        rates[precision] = MESSAGES / run.seconds
        answers[precision] = [json.loads(line) for line in run.out.splitlines()]
        yield f"spamgpt predict, {precision}, whole command", f"{rates[precision]:,.0f} messages/s"
        yield "  peak memory", f"{run.peak_bytes / 1e9:.2f} GB"
    for precision in precisions()[1:]:
        pairs = list(zip(answers["fp32"], answers[precision], strict=True))
        same = sum(a["label"] == b["label"] for a, b in pairs)
        apart = max(
            abs(a["probabilities"][a["label"]] - b["probabilities"][a["label"]]) for a, b in pairs
        )
        yield (
            f"  {precision} against fp32",
            f"{same / MESSAGES:.2%} equal labels, probabilities at most {apart:.4f} apart",
        )

    for name in TIMED:
        yield from _against_engines(world, name)
    texts = lines.read_text(encoding="utf-8").splitlines()[:: MESSAGES // SAMPLE][:SAMPLE]
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        best, size = max((_pipeline_rate(world, texts, dtype, n), n) for n in BATCH_SIZES)
        yield (
            f"transformers pipeline, {precision}, best batch size ({size})",
            f"{best:,.1f} messages/s (from {SAMPLE})",
        )
        for ours, rate in rates.items():
            yield f"  spamgpt in {ours} is faster by", f"{rate / best:.1f} times"


def _against_engines(world: World, name: str) -> Iterator[tuple[str, str]]:
    """The models alone, tokens to logits; each of the others at its best batch size."""
    count = TIMED[name]
    exact, texts = _classifier(world, name, "fp32"), world.texts[:count]
    messages = tokenize(texts, exact.tokenizer, exact.context)
    runs: dict[str, list[Callable[[], np.ndarray]]] = {}
    for precision in precisions():
        model = _classifier(world, name, precision).model
        runs[f"spamgpt, {precision}"] = [partial(_labels_of_model, model, messages)]
    folder = world.folder / name
    folder.mkdir()
    padded = [batches(messages.token_ids, size) for size in ENGINES_BATCH_SIZES]
    for engine, compute in engines(exact, texts, folder).items():
        runs[engine] = [partial(_labels_of_engine, compute, some) for some in padded]
    best = {}
    for run, ways in runs.items():
        best[run] = min((fastest(2, way), number, way) for number, way in enumerate(ways))
    # In turns: what disturbs the machine for a while disturbs all.
    seconds = {run: [found[0]] for run, found in best.items()}
    for _ in range(ROUNDS - 1):
        for run, (*_, way) in best.items():
            seconds[run].append(fastest(1, way))
    labels = {run: way() for run, (*_, way) in best.items()}
    for run in runs:
        told = f"{count / min(seconds[run]):,.0f} messages/s"
        peer = run.replace("spamgpt", "ONNX Runtime")
        if peer != run and peer in runs:
            told += f", {min(seconds[peer]) / min(seconds[run]):.2f} times ONNX Runtime"
        same = (labels[run] == labels["spamgpt, fp32"]).mean()
        yield f"{name}, model alone: {run}", f"{told}; {same:.1%} equal labels"


def _labels_of_model(model: GPT2Classifier, messages: TokenizedMessages) -> np.ndarray:
    return predict_logits(model, messages, torch.device("cpu")).argmax(1).numpy()


def _labels_of_engine(compute: Engine, padded: list[tuple[list[int], Inputs]]) -> np.ndarray:
    labels = np.empty(sum(len(batch) for batch, _ in padded), np.int64)
    for batch, inputs in padded:
        labels[batch] = compute(inputs).argmax(1)
    return labels


def _classifier(world: World, name: str, precision: Precision) -> SpamClassifier:
    if name == "mini":
        return SpamClassifier.bundled("cpu", precision)
    return SpamClassifier.from_pretrained(
        world.folder / "workspace", device="cpu", precision=precision
    )


def _pipeline_rate(world: World, texts: list[str], dtype: torch.dtype, batch_size: int) -> float:
    """Messages a second of the pipeline, with the same weights."""
    ours = SpamClassifier.from_pretrained(
        world.folder / "workspace", device="cpu", precision="fp32"
    )
    # From the files: those that it computes with are in a layout of their own.
    weights = ours.full_precision().model.gpt2.state_dict()
    theirs = transformers.GPT2ForSequenceClassification.from_pretrained(
        world.model, num_labels=2, dtype=dtype
    )
    theirs.transformer.load_state_dict(weights)
    tokenizer = transformers.AutoTokenizer.from_pretrained(world.model)
    tokenizer.pad_token = tokenizer.eos_token
    theirs.config.pad_token_id = tokenizer.pad_token_id
    pipeline = transformers.pipeline(
        "text-classification", model=theirs, tokenizer=tokenizer, device="cpu"
    )
    pipeline(texts[:batch_size], batch_size=batch_size)
    started = time.perf_counter()
    pipeline(texts, batch_size=batch_size)
    return len(texts) / (time.perf_counter() - started)
