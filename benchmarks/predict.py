"""Prediction: the whole command against the text-classification pipeline of transformers."""

import json
import time
from collections.abc import Iterator

import torch
import transformers

from benchmarks.world import World, precisions, spamgpt
from spamgpt.classifier.model import SpamClassifier

MESSAGES = 5_000
# Messages that the pipeline is timed on; the others are taken to be like them.
SAMPLE = 128
BATCH_SIZES = (1, 8, 32)


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

    texts = lines.read_text(encoding="utf-8").splitlines()[:: MESSAGES // SAMPLE][:SAMPLE]
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        best, size = max((_pipeline_rate(world, texts, dtype, n), n) for n in BATCH_SIZES)
        yield (
            f"transformers pipeline, {precision}, best batch size ({size})",
            f"{best:,.1f} messages/s (from {SAMPLE})",
        )
        for ours, rate in rates.items():
            yield f"  spamgpt in {ours} is faster by", f"{rate / best:.1f} times"


def _pipeline_rate(world: World, texts: list[str], dtype: torch.dtype, batch_size: int) -> float:
    """Messages a second of the pipeline, with the same weights."""
    ours = SpamClassifier.from_pretrained(
        world.folder / "workspace", device="cpu", precision="fp32"
    )
    theirs = transformers.GPT2ForSequenceClassification.from_pretrained(
        world.model, num_labels=2, dtype=dtype
    )
    theirs.transformer.load_state_dict(ours.model.gpt2.state_dict())
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
