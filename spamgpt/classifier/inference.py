"""The logits of many messages: what training measures with and what a classifier answers from."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor, nn

from spamgpt.data.batches import TokenizedMessages, batches_by_length, tokens_per_batch
from spamgpt.device import at_most_threads
from spamgpt.errors import SpamgptError, is_out_of_memory
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import GPT2Config

# Products of two numbers: with fewer of them than this, one thread is the fastest.
_WORTH_WAKING = 400_000_000
# The tokens of a batch that one of several threads computes: enough for a product to take longer
# than what surrounds it, and so few that, times n_embd, its numbers stay in the caches of a core.
_FEWEST_PER_THREAD, _NUMBERS_PER_THREAD = 256, 400_000
# All are about as large; by so much larger than their share, since messages fill them unevenly.
_UNEVEN = 17 / 16


class TrunkOutput(Protocol):
    """The output of the first `depth` blocks for messages, computed before."""

    @property
    def depth(self) -> int:
        """How many blocks were run."""

    def rows(self, messages: Sequence[int]) -> Tensor:
        """(rows, n_embd): their output for some messages, given by their indices."""


def logits_of(
    model: nn.Module,
    messages: TokenizedMessages,
    batch: Sequence[int],
    device: torch.device,
    trunk: TrunkOutput | None = None,
) -> Tensor:
    """(batch, labels): the logits of some messages, given by their indices.

    `model` is a GPT2Classifier or has one's arguments. With `trunk`, the output of the frozen
    blocks is read and not computed.
    """
    packed = messages.pack(batch).to(device)
    if trunk is None:
        logits: Tensor = model(packed)
    else:
        logits = model(packed, trunk.depth, trunk.rows(batch).to(device))
    return logits


@torch.inference_mode()
def predict_logits(
    model: GPT2Classifier,
    messages: TokenizedMessages,
    device: torch.device,
    after_batch: Callable[[int], None] = lambda messages: None,
    trunk: TrunkOutput | None = None,
    max_batch_tokens: int | None = None,
) -> Tensor:
    """(messages, labels): the logits of each message, in order, as float32 on the CPU.

    `after_batch` is called with the number of messages of each batch that is done. A batch has at
    most `max_batch_tokens` tokens; None chooses what suits the device. Where the memory does not
    suffice, batches get smaller; raises SpamgptError if it does not for one message.
    """
    logits = torch.empty(len(messages), model.head.out_features)
    telling = Lock()

    @torch.inference_mode()
    def compute(batch: Sequence[int]) -> None:
        found = logits_of(model, messages, batch, device, trunk).float().cpu()
        with telling:
            logits[batch] = found
            after_batch(len(batch))

    shape, tokens = model.gpt2.config, sum(map(len, messages.token_ids))
    most = max_batch_tokens or tokens_per_batch(device, shape.n_embd)
    with at_most_threads(_most_threads(tokens, shape)):
        threads = torch.get_num_threads() if device.type == "cpu" else 1
        if threads > 1:
            rounds = -(-tokens * shape.n_embd // (threads * _NUMBERS_PER_THREAD))
            share = int(_UNEVEN * tokens / (threads * rounds))
            most = min(most, max(_FEWEST_PER_THREAD, share))
        in_batches(compute, messages, most, threads)
    return logits


def _most_threads(tokens: int, shape: GPT2Config) -> int:
    """How many threads are worth it for so many tokens: one for a few, which are soon computed.

    Where messages come one at a time, as to a server, the other threads sleep between them, and to
    wake them for each product takes longer than they save.
    """
    return 1 if shape.products(tokens) < _WORTH_WAKING else torch.get_num_threads()


def in_batches(
    compute: Callable[[Sequence[int]], None],
    messages: TokenizedMessages,
    max_tokens: int,
    threads: int = 1,
) -> None:
    """Calls `compute` with the indices of messages of similar length until all are done.

    A batch that does not fit into memory is halved, and so are those after it that are as large.
    Raises SpamgptError if one message does not fit.

    With several `threads` as many call `compute`, each with its share of torch's own. None waits
    for another before all is done: beside a busy process, threads that compute one product
    together would wait at every product for the one that shares its core.
    """
    waiting = list(batches_by_length(messages, max_tokens))[::-1]
    limit: float = float("inf")

    def work() -> None:
        nonlocal limit
        while waiting:
            try:
                batch = waiting.pop()
            except IndexError:  # another thread was faster
                return
            tokens = sum(len(messages.token_ids[index]) for index in batch)
            if len(batch) == 1 or tokens <= limit:
                if _fits(compute, batch):
                    continue
                if len(batch) == 1:
                    raise SpamgptError(
                        f"There is not enough memory for one message of {tokens:,} tokens.",
                        "Close other programs, use a smaller model, or compute with `device=cpu`.",
                    )
                limit = tokens / 2
            middle = (len(batch) + 1) // 2
            waiting.extend([batch[middle:], batch[:middle]])

    workers = min(threads, len(waiting))
    if workers < 2:
        return work()
    of_each = torch.get_num_threads() // workers
    low, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def work_alone() -> None:
        # Both are settings of a thread.
        torch.set_num_threads(of_each)
        try:
            with torch.autocast("cpu", dtype, enabled=low):
                work()
        except BaseException:
            waiting.clear()
            raise

    with at_most_threads(of_each), ThreadPoolExecutor(workers - 1) as pool:
        others = [pool.submit(work_alone) for _ in range(workers - 1)]
        work_alone()
        for other in others:
            other.result()


def _fits(compute: Callable[[Sequence[int]], None], batch: Sequence[int]) -> bool:
    """Computes a batch; False if the memory did not suffice."""
    try:
        compute(batch)
        return True
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    # Only here, where the error no longer holds on to the tensors of the attempt.
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
    return False
