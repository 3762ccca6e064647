import copy
import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from transformers import get_cosine_schedule_with_warmup

from spamgpt.data.batches import TokenizedMessages, shuffled_batches
from spamgpt.errors import SpamgptError
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.weights import random_weights
from spamgpt.reporting import SILENT
from spamgpt.training.finetuning import (
    EpochRecord,
    LabelledMessages,
    balanced_class_weights,
    finetuning,
)
from spamgpt.training.hyperparameters import Hyperparameters
from spamgpt.training.objective import TrainingInterrupted
from spamgpt.training.policy import TrainingPolicy
from spamgpt.training.trainer import Trainer

CPU = torch.device("cpu")
CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=40, n_positions=16)


def classifier() -> GPT2Classifier:
    gpt2 = GPT2(CONFIG)
    gpt2.load_state_dict(random_weights(CONFIG, seed=3))
    return GPT2Classifier(gpt2, labels=2)


def some_split(messages: int, seed: int) -> LabelledMessages:
    """Messages of random tokens; the label tells whether token 7 is among them."""
    generator = torch.Generator().manual_seed(seed)
    token_ids, labels = [], []
    for number in range(messages):
        length = int(torch.randint(2, 12, (), generator=generator))
        ids = torch.randint(10, 40, (length,), generator=generator).tolist()
        if number % 2:
            ids[length // 2] = 7
        token_ids.append(ids)
        labels.append(number % 2)
    return LabelledMessages(TokenizedMessages(token_ids, [False] * messages), torch.tensor(labels))


TRAIN, VALIDATION = some_split(40, seed=1), some_split(20, seed=2)


def training(
    policy: str = "all",
    train: LabelledMessages = TRAIN,
    double: bool = False,
    precision: str = "fp32",
    **changes,
) -> Trainer[EpochRecord]:
    chosen = {
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "weight_decay": 0.1,
        "schedule": "constant",
        "seed": 1,
        "keep_best": True,
    }
    model = classifier().double() if double else classifier()
    what = TrainingPolicy.from_name(policy, CONFIG.n_layer)
    what.apply(model)
    hyperparameters = Hyperparameters(**chosen | changes)
    return finetuning(model, what, hyperparameters, train, VALIDATION, CPU, precision)


def run(training: Trainer, should_stop=lambda: False) -> list:
    records = []
    training.run(SILENT, records.append, lambda: None, should_stop)
    return records


def types_of_products(of: Trainer) -> set[torch.dtype]:
    """Filled, as the last block's MLP is computed, with the types of what it gives."""
    found: set[torch.dtype] = set()
    linear = of.objective.model.gpt2.h[-1].mlp.c_fc
    linear.register_forward_hook(lambda module, inputs, output: found.add(output.dtype))
    return found


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_training_learns():
    records = run(training(epochs=12))
    assert records[-1].training_loss < 0.3 < records[0].training_loss
    assert records[-1].training_accuracy > 0.9


def test_products_in_bfloat16_give_nearly_the_same_losses_and_float32_weights():
    exact, rounded = training(epochs=2), training(epochs=2, precision="bf16")
    dtypes = types_of_products(rounded)
    for one, other in zip(run(exact), run(rounded), strict=True):
        assert other.training_loss == pytest.approx(one.training_loss, abs=0.02)
        assert other.training_loss != one.training_loss
    assert dtypes == {torch.bfloat16}
    assert all(t.dtype == torch.float32 for t in rounded.trained_tensors().values())


@pytest.mark.parametrize(
    ("policy", "fast", "expected"),
    [
        ("all", True, torch.bfloat16),
        ("all", False, torch.float32),
        ("last-block", True, torch.float32),
    ],
)
def test_auto_is_bfloat16_where_that_is_fast_and_everything_is_trained(
    monkeypatch, policy, fast, expected
):
    monkeypatch.setattr("spamgpt.device._bfloat16_is_fast", lambda device: fast)
    one = training(policy, epochs=1, precision="auto")
    dtypes = types_of_products(one)
    run(one)
    assert dtypes == {expected}


@pytest.mark.parametrize("policy", ["head", "last-block", "all"])
def test_only_what_is_unfrozen_changes(policy):
    one = training(policy)
    before = copy.deepcopy(one.objective.model.state_dict())
    run(one)
    changed = {
        n for n, t in one.objective.model.state_dict().items() if not torch.equal(t, before[n])
    }
    assert changed == one.trained_tensors().keys()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = training(), training(), training(seed=2)
    for each in (first, again, other):
        run(each)
    assert_same(first.trained_tensors(), again.trained_tensors())
    assert not torch.equal(first.objective.model.head.weight, other.objective.model.head.weight)


def test_the_first_step_is_the_textbook_step_of_adamw():
    one = training(epochs=1, batch_size=40, keep_best=False)
    plain = copy.deepcopy(one.objective.model)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=3e-3, weight_decay=0.1, fused=False)
    logits = plain(TRAIN.messages.pack(range(40)))
    log_probabilities = logits.log_softmax(dim=1)
    loss = -log_probabilities[torch.arange(40), TRAIN.labels].mean()
    loss.backward()
    optimizer.step()
    run(one)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(
            one.objective.model.get_parameter(name), parameter, atol=2e-5, rtol=0
        )


def test_records_are_over_the_whole_splits():
    one = training(epochs=1)
    (record,) = run(one)
    with torch.no_grad():
        for split, loss, accuracy in (
            (TRAIN, record.training_loss, record.training_accuracy),
            (VALIDATION, record.validation_loss, record.validation_accuracy),
        ):
            logits = one.objective.model(split.messages.pack(range(len(split))))
            expected = torch.nn.functional.cross_entropy(logits, split.labels)
            assert loss == pytest.approx(expected.item(), abs=1e-5)
            right = (logits.argmax(dim=1) == split.labels).float().mean()
            assert accuracy == pytest.approx(right.item())


def test_the_epoch_with_the_best_validation_loss_is_kept_unless_the_last_is_asked_for():
    # A learning rate this large makes later epochs worse.
    best = training(learning_rate=0.05, epochs=3)
    last = training(learning_rate=0.05, epochs=3, keep_best=False)
    records = run(best)
    run(last)
    losses = [record.validation_loss for record in records]
    assert best.kept.epoch == 1 + losses.index(min(losses)) < 3 == last.kept.epoch
    kept = training(epochs=best.kept.epoch, learning_rate=0.05, keep_best=False)
    run(kept)
    assert_same(best.trained_tensors(), kept.trained_tensors())
    assert not torch.equal(best.objective.model.head.weight, last.objective.model.head.weight)


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "constant"},
        {"schedule": "linear", "warmup": 0.06},
        {"batch_size": 3, "accumulate": 3, "dropout": 0.2, "schedule": "cosine", "warmup": 0.2},
        {"clip": 0.5, "class_weights": "balanced", "label_smoothing": 0.1, "patience": 2},
    ],
    ids=lambda options: " ".join(options),
)
@pytest.mark.parametrize("stop_after", [1, 5, 6, 7, 13])
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(stop_after, options):
    whole = training(**options)
    run(whole)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == stop_after

    interrupted = training(**options)
    with pytest.raises(TrainingInterrupted):
        run(interrupted, should_stop)
    state = copy.deepcopy(interrupted.state_dict())
    torch.manual_seed(9)
    resumed = training(**options)
    resumed.load_state_dict(state)
    run(resumed)
    assert resumed.history == whole.history
    assert_same(resumed.trained_tensors(), whole.trained_tensors())


def test_the_linear_schedule_rises_and_falls_to_nothing():
    one = training(epochs=10, batch_size=2, schedule="linear", warmup=0.06, learning_rate=1e-3)
    rates = []
    run(one, lambda: bool(rates.append(one.optimizer.learning_rate)))
    highest = max(rates)
    assert rates[0] < 0.1 * highest
    assert 0.9e-3 < highest <= 1e-3
    assert 0 < rates[-1] < 0.01 * highest
    peak = rates.index(highest)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_constant_schedule_is_constant():
    one = training(epochs=2)
    rates = set()
    run(one, lambda: bool(rates.add(one.optimizer.learning_rate)))
    assert rates == {3e-3}


def test_a_loss_that_is_no_number_ends_training_with_a_hint():
    one = training(learning_rate=1e30)
    with pytest.raises(SpamgptError, match="diverged") as caught:
        run(one)
    assert "`learning_rate`" in caught.value.hint


def test_a_model_that_diverged_in_its_last_step_is_not_kept():
    one = training(epochs=1, batch_size=40, learning_rate=1e30)
    with pytest.raises(SpamgptError, match="diverged"):
        run(one)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_nothing_is_random_but_the_seed(dropout):
    torch.manual_seed(1)
    first = training(dropout=dropout)
    run(first)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = training(dropout=dropout)
    run(second)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(first.trained_tensors(), second.trained_tensors())
    assert math.isfinite(first.history[-1].validation_loss)


UNBALANCED = LabelledMessages(
    TokenizedMessages(TRAIN.messages.token_ids[:35], [False] * 35),
    torch.tensor([number % 5 == 1 for number in range(35)]).long(),
)


def plain_training(one: Trainer[EpochRecord], train: LabelledMessages, **chosen) -> dict:
    """The parameters after the same steps by torch, scikit-learn and transformers alone."""
    model = copy.deepcopy(one.objective.model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    weights = compute_class_weight(
        chosen["class_weights"], classes=np.array([0, 1]), y=train.labels.numpy()
    )
    size = chosen["batch_size"] * chosen["accumulate"]
    epochs, batches = chosen["epochs"], -(-len(train) // size)
    schedule = get_cosine_schedule_with_warmup(
        optimizer, chosen["warmup"] * epochs * batches, epochs * batches
    )
    (factor,) = schedule.lr_lambdas
    step = 0
    for epoch in range(epochs):
        for batch in shuffled_batches(len(train), size, seed=1, epoch=epoch + 1):
            optimizer.param_groups[0]["lr"] = 3e-3 * factor(step + 0.5)
            loss = torch.nn.functional.cross_entropy(
                model(train.messages.pack(batch)),
                train.labels[batch],
                weight=torch.from_numpy(weights),
                label_smoothing=chosen["label_smoothing"],
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), chosen["clip"])
            optimizer.step()
            step += 1
    return dict(model.named_parameters())


@pytest.mark.parametrize(("batch_size", "accumulate"), [(8, 1), (3, 4), (1, 8)])
def test_all_options_together_take_the_steps_of_plain_torch(batch_size, accumulate):
    options = {
        "epochs": 3,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "class_weights": "balanced",
        "schedule": "cosine",
        "warmup": 1 / 3,
        "clip": 0.5,
        "label_smoothing": 0.1,
    }
    one = training(train=UNBALANCED, double=True, keep_best=False, **options)
    expected = plain_training(one, UNBALANCED, **options)
    run(one)
    for name, tensor in one.trained_tensors().items():
        torch.testing.assert_close(tensor, expected[name].detach(), atol=1e-8, rtol=0)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_accumulated_batches_are_one_batch_whatever_their_sizes(class_weights):
    options = {"epochs": 2, "class_weights": class_weights, "keep_best": False}
    accumulated, whole = (
        training(train=UNBALANCED, double=True, batch_size=size, accumulate=times, **options)
        for size, times in ((4, 3), (12, 1))
    )
    # The last step of an epoch is made of batches of 4, 4 and 3.
    assert [len(batch) for batch in accumulated.objective.batches(0)] == [12, 12, 11]
    run(accumulated)
    run(whole)
    for name, tensor in whole.trained_tensors().items():
        torch.testing.assert_close(accumulated.trained_tensors()[name], tensor, atol=1e-9, rtol=0)


def test_the_weights_of_the_labels_are_those_of_scikit_learn():
    labels = torch.tensor([0, 2, 2, 2, 1, 2, 0])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    assert balanced_class_weights(labels, 3).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("patience", "losses", "trained"),
    [
        (0, [0.5, 0.6, 0.7, 0.8, 0.9], 5),
        (1, [0.5, 0.4, 0.3, 0.31, 0.2], 4),
        (2, [0.5, 0.4, 0.6, 0.4, 0.1], 4),  # as low is not lower
        (2, [0.5, 0.6, 0.4, 0.6, 0.3], 5),
    ],
)
def test_patience_ends_training_after_epochs_without_a_lower_validation_loss(
    patience, losses, trained, monkeypatch
):
    one = training(patience=patience, epochs=5)

    def measured(state, *others):
        return EpochRecord(state.epoch + 1, 0.1, 1.0, losses[state.epoch], 1.0)

    monkeypatch.setattr(one.objective, "measure", measured)
    assert len(run(one)) == trained
    assert one.kept.validation_loss == min(losses[:trained])


def test_dropout_is_drawn_from_the_seed_and_off_where_epochs_are_measured():
    without, one, again, other = (
        training(dropout=share, seed=seed)
        for share, seed in ((0.0, 1), (0.3, 1), (0.3, 1), (0.3, 2))
    )
    for each in (without, one, again, other):
        run(each)
    assert_same(one.trained_tensors(), again.trained_tensors())
    names = one.trained_tensors().keys()
    for different in (without, other):
        assert any(
            not torch.equal(one.trained_tensors()[name], different.trained_tensors()[name])
            for name in names
        )
    model = one.objective.model
    assert not model.training
    packed = VALIDATION.messages.pack(range(20))
    assert torch.equal(model(packed), model(packed))
    loss = torch.nn.functional.cross_entropy(model(packed), VALIDATION.labels)
    assert one.kept.validation_loss == pytest.approx(loss.item(), abs=1e-5)
