"""Fine-tuning: the whole command against the published recipe and against transformers."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
import transformers

from benchmarks.world import Run, World, fastest, pad, spamgpt
from spamgpt.data.batches import shuffled_batches
from spamgpt.data.tables import read_table
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.workspace import Workspace

EPOCHS, BATCH_SIZE, PADDED_TO = 5, 8, 120
# Steps of a peer that are timed, after one that is not; the others are taken to be like them.
STEPS = 6
# Everything is done so many times, and the fewest seconds count: what disturbs only adds.
TIMES = 3


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    folder = world.folder
    spamgpt("fetch", "--dataset", world.messages, "--model", world.model, folder=folder)
    spamgpt("prepare", "--balance", folder=folder)
    options = ("finetune", "--epochs", EPOCHS, "--batch-size", BATCH_SIZE, "--select", "last")
    runs: dict[str, list[Run]] = {"cold": [], "warm": []}
    for _ in range(TIMES):
        spamgpt("cache", "--clear", folder=folder)
        runs["cold"].append(spamgpt(*options, folder=folder))
        runs["warm"].append(spamgpt(*options, "--learning-rate", 1e-4, folder=folder))

    workspace = Workspace(folder / "workspace")
    train = read_table(workspace.newest("prepared").file("train.csv"))
    token_ids = Tokenizer.from_folder(world.model).encode(list(train["text"]))
    labels = torch.tensor((train["label"] == train["label"].iloc[0]).to_numpy()).long()
    steps = EPOCHS * -(-len(token_ids) // BATCH_SIZE)
    recipe = steps * _seconds_a_step(world, token_ids, labels, lambda ids: PADDED_TO)
    dynamic = steps * _seconds_a_step(world, token_ids, labels, lambda ids: max(map(len, ids)))
    yield "messages, steps", f"{len(token_ids):,}, {steps:,}"
    yield (
        "published recipe (padded to 120, its steps alone)",
        f"{recipe:,.0f} s (from {STEPS} steps)",
    )
    yield (
        "transformers, dynamic padding (its steps alone)",
        f"{dynamic:,.0f} s (from {STEPS} steps)",
    )
    for name, repeated in runs.items():
        seconds, most = min(run.seconds for run in repeated), max(run.seconds for run in repeated)
        yield f"spamgpt finetune, whole command, {name} cache", f"{seconds:,.1f} s (to {most:,.1f})"
        yield "  faster than the published recipe", f"{recipe / seconds:.0f} times"
        yield "  faster than transformers, dynamic padding", f"{dynamic / seconds:.0f} times"
        yield "  peak memory", f"{max(run.peak_bytes for run in repeated) / 1e9:.2f} GB"


def _seconds_a_step(
    world: World,
    token_ids: list[list[int]],
    labels: torch.Tensor,
    length_of: Callable[[list[list[int]]], int],
) -> float:
    """Seconds that a step of the plain way takes: padded, every position, nothing kept."""
    model = transformers.GPT2ForSequenceClassification.from_pretrained(world.model, num_labels=2)
    padding = model.config.vocab_size - 1
    model.config.pad_token_id = padding
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in (model.transformer.h[-1], model.transformer.ln_f, model.score):
        module.requires_grad_(True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.1)
    model.train()
    batches = shuffled_batches(len(token_ids), BATCH_SIZE, seed=1, epoch=1)[: STEPS + 1]

    def step(batch: list[int]) -> None:
        chosen = [token_ids[index] for index in batch]
        logits = model(input_ids=pad(chosen, length_of(chosen), padding)).logits
        loss = F.cross_entropy(logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step(batches[0])
    return sum(fastest(TIMES, partial(step, batch)) for batch in batches[1:]) / STEPS
