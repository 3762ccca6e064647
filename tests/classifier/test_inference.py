import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from spamgpt.classifier import inference
from spamgpt.classifier.inference import predict_logits
from spamgpt.data.batches import TokenizedMessages
from spamgpt.errors import SpamgptError
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.packing import PackedTokens

CPU = torch.device("cpu")
LENGTHS = [3, 9, 1, 7, 5, 5, 2, 8, 4, 6] * 5
MESSAGES = TokenizedMessages([[index] * n for index, n in enumerate(LENGTHS)], [False] * 50)

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
APPLE = RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB)")
CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
MACHINE = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")


class Small(nn.Module):
    """Gives each message its first token and its length; has memory for so many tokens."""

    def __init__(self, tokens: int, error: Exception = CUDA) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)
        self.gpt2 = SimpleNamespace(config=GPT2Config(n_layer=1, n_head=1, n_embd=8))
        self.tokens, self.error = tokens, error
        self.sizes: list[int] = []
        self.threads = set[int]()

    def forward(self, packed: PackedTokens) -> torch.Tensor:
        tokens = len(packed.token_ids)
        self.sizes.append(tokens)
        self.threads.add(torch.get_num_threads())
        if tokens > self.tokens:
            raise self.error
        return torch.stack([packed.token_ids[packed.last], packed.lengths], dim=1).float()


EXPECTED = torch.tensor([[index, n] for index, n in enumerate(LENGTHS)]).float()


@pytest.mark.parametrize("error", [CUDA, APPLE, CUBLAS, MACHINE, MemoryError()])
def test_batches_are_halved_where_memory_runs_out(error):
    model = Small(20, error)
    done: list[int] = []
    logits = predict_logits(model, MESSAGES, CPU, done.append, max_batch_tokens=100)
    assert torch.equal(logits, EXPECTED)
    assert sum(done) == len(MESSAGES)
    # What does not fit is not tried again: the limit is learnt once.
    failed = [size for size in model.sizes if size > 20]
    assert failed == sorted(failed, reverse=True)
    assert len(failed) <= 3


def test_one_message_that_does_not_fit_is_a_clear_error():
    with pytest.raises(SpamgptError, match="not enough memory for one message of 9 tokens"):
        predict_logits(Small(8), MESSAGES, CPU)


def test_other_errors_are_not_swallowed():
    with pytest.raises(RuntimeError, match="shape mismatch"):
        predict_logits(Small(8, RuntimeError("shape mismatch")), MESSAGES, CPU)


def test_a_batch_has_at_most_the_tokens_given():
    model = Small(10**6)
    assert torch.equal(predict_logits(model, MESSAGES, CPU, max_batch_tokens=30), EXPECTED)
    assert max(model.sizes) <= 30
    assert len(model.sizes) < len(MESSAGES)
    model.sizes.clear()
    predict_logits(model, MESSAGES, CPU, max_batch_tokens=1)
    assert len(model.sizes) == len(MESSAGES)


def test_a_few_tokens_are_computed_by_one_thread_and_many_by_all(monkeypatch):
    monkeypatch.setattr(inference, "_WORTH_WAKING", 12 * 8**2 * 20)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for lengths, threads, room in (([4, 5], 1, 99), ([9, 12], 2, 99), ([4, 5], 1, 1)):
            messages = TokenizedMessages([[7] * n for n in lengths], [False] * 2)
            model = Small(room)
            with suppress(SpamgptError):
                predict_logits(model, messages, CPU)
            assert model.threads == {threads}
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def two_threads(monkeypatch):
    """Two threads, which share batches of at most 20 tokens."""
    monkeypatch.setattr(inference, "_WORTH_WAKING", 0)
    monkeypatch.setattr(inference, "_FEWEST_PER_THREAD", 20)
    monkeypatch.setattr(inference, "_NUMBERS_PER_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


class Met(Small):
    """Waits at its first batch until two threads are computing one each."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(10**6)
        self.barrier = threading.Barrier(2)
        self.failing = error
        self.seen = threading.local()
        self.states = set[tuple[int, bool, bool]]()

    def forward(self, packed: PackedTokens) -> torch.Tensor:
        if not hasattr(self.seen, "before"):
            self.seen.before = True
            self.barrier.wait(timeout=60)
            if self.failing and threading.current_thread() is not threading.main_thread():
                raise self.failing
        low, inference = torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()
        self.states.add((torch.get_num_threads(), low, inference))
        return super().forward(packed)


@pytest.mark.parametrize("low", [False, True])
def test_threads_share_batches_and_each_computes_alone(two_threads, low):
    model, done = Met(), []
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        assert torch.equal(predict_logits(model, MESSAGES, CPU, done.append), EXPECTED)
    assert sum(done) == len(MESSAGES)
    assert max(model.sizes) <= 20
    assert model.states == {(1, low, True)}


def test_what_fails_in_another_thread_ends_it_all(two_threads):
    model = Met(RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        predict_logits(model, MESSAGES, CPU)
