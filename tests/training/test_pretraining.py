import copy
import json
import math

import pytest
import torch

from spamgpt.data.corpus import Source, read_corpus
from spamgpt.errors import SpamgptError
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.language_model import next_token_loss
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.gpt2.weights import random_weights
from spamgpt.reporting import SILENT
from spamgpt.training.objective import TrainingInterrupted
from spamgpt.training.pretraining import (
    MEASUREMENTS,
    Budget,
    PretrainingHyperparameters,
    PretrainingRecord,
    pretraining,
)
from spamgpt.training.trainer import Trainer

CPU = torch.device("cpu")
CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=262, n_positions=64)


@pytest.fixture
def corpora(tmp_path, make_model):
    tokenizer = Tokenizer.from_folder(make_model(weights=False))
    texts = [f"the number is {n} and so on" for n in range(400)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return read_corpus([Source("a", path)], tokenizer, CONFIG.n_positions, held_out=0.1)


def start(
    corpora, tokens: int = 20_000, bfloat16: bool = False, **changes
) -> Trainer[PretrainingRecord]:
    model = GPT2(CONFIG)
    model.load_state_dict(random_weights(CONFIG, seed=1))
    chosen = {
        "budget": Budget(tokens=tokens),
        "batch_tokens": 512,
        "learning_rate": 5e-3,
        "weight_decay": 0.1,
        "seed": 1,
        "optimizer": "adamw",
    }
    hyperparameters = PretrainingHyperparameters(**chosen | changes)
    return pretraining(model, hyperparameters, *corpora, [1.0], CPU, bfloat16)


def run(training: Trainer[PretrainingRecord], should_stop=lambda: False) -> list:
    records = []
    training.run(SILENT, records.append, lambda: None, should_stop)
    return records


def test_pretraining_learns_and_measures_along_the_way(corpora):
    records = run(start(corpora))
    assert len(records) == MEASUREMENTS
    assert records[0].held_out_loss > 4
    assert records[-1].held_out_loss < 2
    assert records[-1].tokens >= 20_000
    assert records[-1].epochs == pytest.approx(
        records[-1].tokens / len(corpora[0].token_ids), rel=1e-6
    )


def test_the_held_out_loss_is_the_mean_over_its_predicted_tokens(corpora):
    training = start(corpora, tokens=2_000)
    records = run(training)
    with torch.no_grad():
        loss = next_token_loss(training.objective.model, corpora[1].pack(range(len(corpora[1]))))
    assert records[-1].held_out_loss == pytest.approx(loss.item(), abs=1e-5)


def stopping_after(steps: int):
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == steps

    return should_stop


def assert_same(first: Trainer[PretrainingRecord], second: Trainer[PretrainingRecord]) -> None:
    for name, tensor in first.trained_tensors().items():
        assert torch.equal(second.trained_tensors()[name], tensor), name


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("stop_after", [1, 10, 25])
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    corpora, stop_after, optimizer
):
    rate = {"adamw": 5e-3, "muon": 3e-3}[optimizer]
    whole = start(corpora, optimizer=optimizer, learning_rate=rate)
    run(whole)
    interrupted = start(corpora, optimizer=optimizer, learning_rate=rate)
    with pytest.raises(TrainingInterrupted):
        run(interrupted, stopping_after(stop_after))
    state = copy.deepcopy(interrupted.state_dict())
    resumed = start(corpora, optimizer=optimizer, learning_rate=rate)
    resumed.load_state_dict(state)
    run(resumed)
    assert resumed.history == whole.history
    assert_same(resumed, whole)


def test_muon_learns(corpora):
    records = run(start(corpora, optimizer="muon", learning_rate=1e-2))
    assert records[0].held_out_loss > 4
    assert records[-1].held_out_loss < 2


@pytest.mark.parametrize("budget", [15_000, 40_000])
def test_the_budget_of_a_trapezoid_may_change_on_the_way(corpora, budget, monkeypatch):
    monkeypatch.setattr("spamgpt.training.pretraining.WARM_UP_TOKENS", 1_000)
    whole = start(corpora, tokens=budget, schedule="trapezoid")
    run(whole)
    interrupted = start(corpora, tokens=20_000, schedule="trapezoid")
    with pytest.raises(TrainingInterrupted):
        run(interrupted, stopping_after(20))
    resumed = start(corpora, tokens=budget, schedule="trapezoid")
    resumed.load_state_dict(copy.deepcopy(interrupted.state_dict()))
    run(resumed)
    assert_same(resumed, whole)
    assert resumed.history[-1].held_out_loss == whole.history[-1].held_out_loss
    marks = [record.tokens * MEASUREMENTS // budget for record in resumed.history]
    assert marks[-5:] == [16, 17, 18, 19, 20]


def test_a_trapezoid_warms_up_stays_and_falls_to_nothing(corpora, monkeypatch):
    monkeypatch.setattr("spamgpt.training.pretraining.WARM_UP_TOKENS", 2_000)
    training = start(corpora, schedule="trapezoid", learning_rate=1e-3)
    rates = []
    run(training, lambda: bool(rates.append(training.optimizer.learning_rate)))
    assert rates[0] == 0
    assert rates[1] < rates[2] < rates[6] == max(rates) == 1e-3
    assert set(rates[6:30]) == {1e-3}
    assert rates[34:] == sorted(rates[34:], reverse=True)
    assert rates[-1] < 3e-4


def test_minutes_are_a_budget_too(corpora):
    training = start(corpora, budget=Budget(minutes=0.02))
    records = run(training)
    assert training.state.seconds >= 1.2
    assert records


def test_a_step_that_takes_longer_than_the_budget_is_measured_once(corpora):
    training = start(corpora, budget=Budget(minutes=1e-6))
    (record,) = run(training)
    assert math.isfinite(record.training_loss)
    assert training.state.losses == []


def test_a_loss_that_is_no_number_ends_training_with_a_hint(corpora):
    with pytest.raises(SpamgptError, match="diverged"):
        run(start(corpora, learning_rate=1e30))


def test_bfloat16_trains_almost_as_float32(corpora):
    half, full = start(corpora, bfloat16=True), start(corpora)
    run(half)
    run(full)
    assert half.history[-1].held_out_loss == pytest.approx(full.history[-1].held_out_loss, abs=0.05)
    assert math.isfinite(half.history[0].training_loss)
