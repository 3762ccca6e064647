"""What several processes train in `test_distributed.py`, and what one trains alone to compare.

As a program it is one of four processes: `together.py RANK FOLDER`. When all have trained, the
first two meet again and train as two.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from spamgpt.classifier import inference
from spamgpt.data.batches import TokenizedMessages
from spamgpt.data.corpus import Corpus
from spamgpt.gpt2.classifier import GPT2Classifier, hidden_states_for
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import PackedTokens
from spamgpt.gpt2.pooling import Pooling
from spamgpt.gpt2.weights import random_weights
from spamgpt.reporting import SILENT
from spamgpt.training import distributed, measuring, trunk
from spamgpt.training.cache import ArrayCache
from spamgpt.training.finetuning import LabelledMessages, finetuning, with_trunks
from spamgpt.training.hyperparameters import Hyperparameters
from spamgpt.training.objective import TrainingInterrupted
from spamgpt.training.policy import TrainingPolicy
from spamgpt.training.pretraining import Budget, PretrainingHyperparameters, pretraining
from spamgpt.training.trainer import Trainer
from spamgpt.training.trunk import TrunkSpecification

CPU = torch.device("cpu")
CONFIG = GPT2Config(n_layer=3, n_head=2, n_embd=16, vocab_size=60, n_positions=40)
# Of very different lengths; the last batch of 4 holds one message, fewer than there are processes.
LENGTHS = [3, 38, 1, 7, 12, 40, 2, 5, 25, 1, 9, 33, 4, 17, 2, 6, 30]
IDS = [
    [7 + n % 2, *((n * 5 + k * 3) % 60 for k in range(length))] for n, length in enumerate(LENGTHS)
]
IDS = [ids[:40] for ids in IDS]
SPLIT = LabelledMessages(
    TokenizedMessages(IDS, [False] * len(IDS)), torch.arange(len(IDS)) % 3 // 2
)


@dataclass(frozen=True)
class Run:
    """A fine-tuning: the options of `finetuning` and of its hyper-parameters."""

    unfreeze: str = "all"
    dtype: torch.dtype = torch.float32
    shard: bool = False
    checkpoint_activations: bool = False
    options: tuple[tuple[str, Any], ...] = ()


ALL = tuple({"accumulate": 2, "class_weights": "balanced", "label_smoothing": 0.1}.items())
RUNS = {
    "float32": Run(options=(*ALL, ("clip", 0.5), ("dropout", 0.3))),
    "float64": Run(dtype=torch.float64),
    "sharded": Run(
        dtype=torch.float64,
        shard=True,
        checkpoint_activations=True,
        options=(*ALL, ("clip", 0.5), ("dropout", 0.3)),
    ),
    "trunk": Run(unfreeze="last-block"),
}


@contextmanager
def small_batches(ran: list[int]) -> Iterator[None]:
    """Lets what is no training be computed in many batches; counts the messages of the trunk's."""

    def counted(pooling: Pooling, gpt2: GPT2, packed: PackedTokens, *rest: Any) -> torch.Tensor:
        ran.append(len(packed))
        return hidden_states_for(pooling, gpt2, packed, *rest)

    with ExitStack() as stack:
        for module in (inference, measuring, trunk):
            stack.enter_context(patch.object(module, "tokens_per_batch", lambda *_: 60))
        stack.enter_context(patch.object(trunk, "hidden_states_for", counted))
        yield


def finetune(run: Run, folder: Path, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """Trains for two epochs; in the middle of the second its state is kept."""
    ran: list[int] = []
    with small_batches(ran):
        return _finetune(run, folder, state) | {"ran": sum(ran)}


def _finetune(run: Run, folder: Path, state: dict[str, Any] | None) -> dict[str, Any]:
    gpt2 = GPT2(CONFIG)
    gpt2.load_state_dict(random_weights(CONFIG, seed=3))
    model = GPT2Classifier(gpt2, labels=2).to(run.dtype)
    policy = TrainingPolicy.from_name(run.unfreeze, CONFIG.n_layer)
    policy.apply(model)
    splits = {"train": SPLIT, "validation": SPLIT}
    if run.unfreeze != "all":
        specification = TrunkSpecification("m", policy.frozen_blocks, torch.float32, CPU)
        cache = ArrayCache(folder / f"cache-{distributed.size()}")
        splits = with_trunks(splits, gpt2, specification, cache, SILENT, None)
    chosen = Hyperparameters(
        2, 4, 1e-3, 0.1, "linear", seed=1, keep_best=True, warmup=0.06, **dict(run.options)
    )
    trainer = finetuning(
        model,
        policy,
        chosen,
        splits["train"],
        splits["validation"],
        CPU,
        shard=run.shard and distributed.size() > 1,
        checkpoint_activations=run.checkpoint_activations and distributed.size() > 1,
    )
    return trained(trainer, state, middle=5 if run.options else 7)


def pretrain() -> dict[str, Any]:
    """Pre-trains in float64 on pieces of very different lengths."""
    lengths = np.array([2 + length for length in LENGTHS * 3])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = (np.arange(offsets[-1]) * 7 % 11 + np.arange(offsets[-1]) % 3).astype(np.int32)
    corpus = Corpus(ids, offsets, np.zeros(len(lengths), dtype=np.int16))
    config = GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=20, n_positions=42)
    model = GPT2(config)
    model.load_state_dict(random_weights(config, seed=3))
    chosen = PretrainingHyperparameters(Budget(tokens=2500), 120, 0.01, 0.1, seed=1)
    return trained(pretraining(model.double(), chosen, corpus, corpus, [1.0], CPU, False), None, 9)


def trained(trainer: Trainer[Any], state: dict[str, Any] | None, middle: int) -> dict[str, Any]:
    """What a run came to: its losses, step for step, its measurements and weights.

    Without a state to go on from, also its state after `middle` steps.
    """
    losses: list[float] = []
    trainer._after_step = lambda state: losses.append(state.losses[-1])
    found: dict[str, Any] = {}
    if state is not None:
        trainer.load_state_dict(state)
    else:
        # All are stopped although only one is told to stop.
        last = distributed.rank() == distributed.size() - 1
        try:
            run(trainer, lambda: last and len(losses) == middle)
        except TrainingInterrupted:
            found["state"] = copy.deepcopy(trainer.state_dict())
    run(trainer, lambda: False)
    records = [asdict(record) for record in trainer.history]
    return found | {"losses": losses, "records": records, "weights": trainer.trained_tensors()}


def run(trainer: Trainer[Any], should_stop: Callable[[], bool]) -> None:
    trainer.run(SILENT, lambda record: None, lambda: None, should_stop)


def all_runs(folder: Path) -> dict[str, Any]:
    # Importing what shards costs seconds: two processes do.
    runs = {n: run for n, run in RUNS.items() if not run.shard or distributed.size() < 4}
    found = {name: finetune(run, folder) for name, run in runs.items()}
    return found | {"pretraining": pretrain()}


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    for size in (4, 2):
        if rank >= size:
            return
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/meeting-{size}", rank=rank, world_size=size
        )
        found = all_runs(folder)
        torch.save(found, folder / f"{size}-{rank}.pt")
        if size == 2:
            # What four processes left goes on in two; what was sharded, the main one has whole.
            torch.distributed.barrier()
            left = torch.load(folder / "2-0.pt") | torch.load(folder / "4-0.pt")
            found["resumed"] = {
                name: finetune(RUNS[name], folder, left[name]["state"]) for name in RUNS
            }
            torch.save(found, folder / f"{size}-{rank}.pt")
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
