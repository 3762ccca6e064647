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
from spamgpt.training.loop import TrainingInterrupted
from spamgpt.training.pretraining import (
    MEASUREMENTS,
    Budget,
    Pretraining,
    PretrainingRecipe,
    learning_rate_factor,
)
from spamgpt.training.vocabulary import learn_vocabulary

CPU = torch.device("cpu")
CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=262, n_positions=64)


@pytest.fixture
def corpora(tmp_path, make_model):
    tokenizer = Tokenizer.from_folder(make_model(weights=False))
    texts = [f"the number is {n} and so on" for n in range(400)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return read_corpus([Source("a", path)], tokenizer, CONFIG.n_positions, held_out=0.1)


def start(tokens: int = 20_000, **changes) -> Pretraining:
    model = GPT2(CONFIG)
    model.load_state_dict(random_weights(CONFIG, seed=1))
    recipe = {
        "budget": Budget(tokens=tokens),
        "tokens_per_batch": 512,
        "learning_rate": 5e-3,
        "weight_decay": 0.1,
        "seed": 1,
    }
    return Pretraining(model, PretrainingRecipe(**recipe | changes), CPU, bfloat16=False)


def run(training: Pretraining, corpora, should_stop=lambda: False, after_step=lambda: None) -> list:
    records = []
    training.run(*corpora, [1.0], SILENT, records.append, after_step, should_stop)
    return records


def test_pretraining_learns_and_measures_along_the_way(corpora):
    records = run(start(), corpora)
    assert len(records) == MEASUREMENTS
    assert records[0].held_out_loss > 4
    assert records[-1].held_out_loss < 2
    assert records[-1].tokens >= 20_000
    assert records[-1].epochs == pytest.approx(
        records[-1].tokens / len(corpora[0].token_ids), rel=1e-6
    )


def test_the_held_out_loss_is_the_mean_over_its_predicted_tokens(corpora):
    training = start(tokens=2_000)
    records = run(training, corpora)
    with torch.no_grad():
        loss = next_token_loss(training.model, corpora[1].pack(range(len(corpora[1]))))
    assert records[-1].held_out_loss == pytest.approx(loss.item(), abs=1e-5)


def test_the_learning_rate_warms_up_and_falls_to_a_tenth():
    factors = [learning_rate_factor(spent / 100) for spent in range(101)]
    assert factors[0] == 0
    assert max(factors) == factors[2] == 1
    assert factors[2:] == sorted(factors[2:], reverse=True)
    assert factors[100] == pytest.approx(0.1)


def test_weight_decay_is_for_matrices_only():
    decayed, others = start().optimizer.param_groups
    assert decayed["weight_decay"] == 0.1
    assert all(parameter.dim() == 2 for parameter in decayed["params"])
    assert others["weight_decay"] == 0
    assert all(parameter.dim() == 1 for parameter in others["params"])


@pytest.mark.parametrize("stop_after", [1, 10, 25])
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(corpora, stop_after):
    whole = start()
    run(whole, corpora)
    steps = 0

    def should_stop() -> bool:
        nonlocal steps
        steps += 1
        return steps == stop_after

    interrupted = start()
    with pytest.raises(TrainingInterrupted):
        run(interrupted, corpora, should_stop)
    state = copy.deepcopy(interrupted.state_dict())
    resumed = start()
    resumed.load_state_dict(state)
    run(resumed, corpora)
    assert resumed.history == whole.history
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name


def test_minutes_are_a_budget_too(corpora):
    training = start(budget=Budget(minutes=0.02))
    records = run(training, corpora)
    assert training.seconds >= 1.2
    assert records


def test_a_loss_that_is_no_number_ends_training_with_a_hint(corpora):
    with pytest.raises(SpamgptError, match="diverged"):
        run(start(learning_rate=1e30), corpora)


def test_bfloat16_trains_almost_as_float32(corpora):
    half, full = start(), start()
    half.bfloat16 = True
    run(half, corpora)
    run(full, corpora)
    assert half.history[-1].held_out_loss == pytest.approx(full.history[-1].held_out_loss, abs=0.05)
    assert math.isfinite(half.history[0].training_loss)


def test_a_learnt_vocabulary_is_one_that_the_models_tokenizer_reads(tmp_path):
    texts = [f"see you at {n}, then we eat" for n in range(200)]
    learn_vocabulary(iter(texts), 300, tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.vocab_size == 300
    (ids,) = tokenizer.encode(["see you"])
    assert len(ids) < 7
    assert tokenizer.encoding.decode(ids) == "see you"
