"""The published experiment's order and losses, against a plain re-implementation of it."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from transformers import GPT2Config as ReferenceConfig
from transformers import GPT2Model

from spamgpt.data.batches import TokenizedMessages
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.weights import random_weights
from spamgpt.reporting import SILENT
from spamgpt.training.finetuning import EpochRecord, LabelledMessages, finetuning
from spamgpt.training.hyperparameters import Hyperparameters
from spamgpt.training.objective import TrainingInterrupted
from spamgpt.training.policy import TrainingPolicy
from spamgpt.training.published import published_order
from spamgpt.training.trainer import Trainer

CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=40, n_positions=16)
PADDING = 12
# 25 batches of an epoch and three messages more, so that the third epoch begins with step 51.
TRAINING, VALIDATION, EPOCHS = 203, 45, 3


def token_ids(messages: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(
            1, 40, (int(torch.randint(2, PADDING + 1, (), generator=generator)),),
            generator=generator,
        ).tolist()
        for _ in range(messages)
    ]  # fmt: skip


def split(messages: int, seed: int) -> LabelledMessages:
    ids = token_ids(messages, seed)
    labels = torch.tensor([sum(each) % 2 for each in ids])
    return LabelledMessages(TokenizedMessages(ids, [False] * messages).padded(PADDING, 0), labels)


TRAIN, VALID = split(TRAINING, 1), split(VALIDATION, 2)


def trainer(learning_rate: float = 1e-3) -> Trainer[EpochRecord]:
    gpt2 = GPT2(CONFIG)
    gpt2.load_state_dict(random_weights(CONFIG, seed=3))
    model = GPT2Classifier(gpt2, 2, seed=123, pooling="last-position")
    policy = TrainingPolicy.from_name("last-block", CONFIG.n_layer)
    policy.apply(model)
    chosen = Hyperparameters(
        EPOCHS, 8, learning_rate, 0.1, "constant", 123, False, published_order=True
    )
    return finetuning(model, policy, chosen, TRAIN, VALID, torch.device("cpu"))


class Published:
    """The experiment in plain torch and transformers; `losses` are those of the steps."""

    def __init__(self, learning_rate: float = 1e-3) -> None:
        self.losses: list[float] = []
        self.measured: list[tuple[str, int, float, float]] = []
        torch.manual_seed(123)
        size = {"batch_size": 8, "num_workers": 0}
        self.train = DataLoader(tensors(TRAIN), shuffle=True, drop_last=True, **size)
        self.valid = DataLoader(tensors(VALID), **size)
        shape = {name: getattr(CONFIG, name) for name in ("n_layer", "n_head", "n_embd")}
        config = ReferenceConfig(
            **shape, vocab_size=40, n_positions=16, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
        )
        self.gpt2 = GPT2Model(config)
        self.gpt2.load_state_dict(random_weights(CONFIG, seed=3))
        self.gpt2.requires_grad_(False)
        torch.manual_seed(123)
        self.head = torch.nn.Linear(CONFIG.n_embd, 2)
        self.gpt2.h[-1].requires_grad_(True)
        self.gpt2.ln_f.requires_grad_(True)
        torch.manual_seed(123)
        parameters = [*self.gpt2.parameters(), *self.head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.1)
        step = -1
        for _ in range(EPOCHS):
            for inputs, labels in self.train:
                optimizer.zero_grad()
                loss = cross_entropy(self.logits(inputs), labels)
                loss.backward()
                optimizer.step()
                self.losses.append(loss.item())
                step += 1
                if step % 50 == 0:
                    self.measure("loss", step + 1)
            self.measure("accuracy", step + 1)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.gpt2(inputs).last_hidden_state)[:, -1]

    @torch.no_grad()
    def measure(self, measure: str, step: int) -> None:
        values = []
        for loader in (self.train, self.valid):
            found = []
            for number, (inputs, labels) in enumerate(loader):
                if number == 5:
                    break
                logits = self.logits(inputs)
                right = (logits.argmax(-1) == labels).double().mean()
                found.append(cross_entropy(logits, labels) if measure == "loss" else right)
            values.append(sum(found).item() / len(found))
        self.measured.append((measure, step, *values))


def tensors(messages: LabelledMessages) -> TensorDataset:
    return TensorDataset(torch.tensor(messages.messages.token_ids), messages.labels)


@pytest.fixture(scope="module")
def published() -> Published:
    with torch.random.fork_rng(devices=[]):
        return Published()


def test_the_losses_of_the_steps_are_those_of_the_published_experiment(published):
    losses: list[float] = []
    ours = trainer()
    # What is measured after an epoch clears the losses of its steps.
    ours._keep = lambda record: (  # type: ignore[method-assign]
        losses.extend(ours.state.losses),
        ours.history.append(record),
        ours.state.losses.clear(),
    )
    ours.run(SILENT, lambda record: None, lambda: None, lambda: False)
    assert len(losses) == len(published.losses) == 75
    assert losses == pytest.approx(published.losses, abs=1e-3)
    # Not because nothing changes.
    assert max(losses) - min(losses) > 0.1


def test_it_measures_when_and_what_the_published_experiment_does(published):
    ours = trainer()
    ours.run(SILENT, lambda record: None, lambda: None, lambda: False)
    found = ours.state.periodic
    assert [(each["measure"], each["step"]) for each in found] == [
        (measure, step) for measure, step, _, _ in published.measured
    ]
    for each, (_, _, training, validation) in zip(found, published.measured, strict=True):
        assert each["training"] == pytest.approx(training, abs=1e-3)
        assert each["validation"] == pytest.approx(validation, abs=1e-3)
    assert [(each["epoch"], each["messages_seen"]) for each in found] == [
        (1, 8), (1, 200), (2, 400), (3, 408), (3, 600),
    ]  # fmt: skip


def test_an_interrupted_run_goes_on_as_if_never_stopped():
    whole = trainer()
    whole.run(SILENT, lambda record: None, lambda: None, lambda: False)
    stopped = trainer()
    with pytest.raises(TrainingInterrupted):
        stopped.run(SILENT, lambda record: None, lambda: None, lambda: stopped.state.epoch == 2)
    resumed = trainer()
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    resumed.run(SILENT, lambda record: None, lambda: None, lambda: False)
    assert resumed.state.periodic == whole.state.periodic
    for name, tensor in whole.trained_tensors().items():
        assert torch.equal(tensor, resumed.trained_tensors()[name])


def test_the_order_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(7)
    first = torch.rand(3)
    torch.manual_seed(7)
    order = published_order(20, 4, 8, 2, 123)
    assert torch.equal(torch.rand(3), first)
    assert [len(batch) for batch in order.epochs[0]] == [8, 8]
    assert order.epochs[0] != order.epochs[1]


def test_fewer_messages_than_a_batch_are_one_batch():
    assert [sorted(batch) for batch in published_order(3, 1, 8, 1, 123).epochs[0]] == [[0, 1, 2]]
