import pytest
import torch
from torch.testing import assert_close

from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.config import GPT2Config
from spamgpt.gpt2.folder import load_folder
from spamgpt.gpt2.model import GPT2
from spamgpt.gpt2.packing import pack
from spamgpt.gpt2.weights import load_gpt2


def small_gpt2(n_embd: int = 16) -> GPT2:
    return GPT2(GPT2Config(n_layer=1, n_head=2, n_embd=n_embd, vocab_size=20, n_positions=8))


@pytest.fixture
def make_classifier(make_reference):
    """A classifier with the weights and head of a sequence classifier of transformers."""

    def make(labels: int) -> tuple[GPT2Classifier, torch.nn.Module]:
        reference, folder = make_reference("GPT2ForSequenceClassification", num_labels=labels)
        config = GPT2Config.from_file(folder / "config.json")
        classifier = GPT2Classifier(load_gpt2(config, folder / "model.safetensors"), labels)
        with torch.no_grad():
            classifier.head.weight.copy_(reference.score.weight)
            classifier.head.bias.zero_()
        return classifier, reference

    return make


@pytest.mark.parametrize("labels", [2, 5])
@torch.no_grad()
def test_logits_agree_with_the_sequence_classifier_of_transformers(
    labels, make_classifier, messages, shape
):
    classifier, reference = make_classifier(labels)
    padded = torch.full((len(messages), shape["n_positions"]), shape["vocab_size"] - 1)
    for row, message in zip(padded, messages, strict=True):
        row[: len(message)] = torch.tensor(message)
    assert_close(classifier(pack(messages)), reference(padded).logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_logits_do_not_depend_on_the_neighbours_or_the_order(make_classifier, messages):
    classifier, _ = make_classifier(3)
    alone = torch.cat([classifier(pack([message])) for message in messages])
    assert_close(classifier(pack(messages)), alone, atol=1e-5, rtol=0)
    assert_close(classifier(pack(messages[::-1])).flip(0), alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_bias_of_the_head_is_added(make_classifier, messages):
    classifier, _ = make_classifier(2)
    before = classifier(pack(messages))
    classifier.head.bias += torch.tensor([1.0, -2.0])
    assert_close(classifier(pack(messages)), before + torch.tensor([1.0, -2.0]))


@pytest.mark.parametrize("labels", [2, 3, 40])
def test_there_is_one_logit_for_each_label(labels):
    assert GPT2Classifier(small_gpt2(), labels)(pack([[1, 2], [3]])).shape == (2, labels)


@pytest.mark.parametrize("labels", [1, 0, -1])
def test_fewer_than_two_labels_are_refused(labels):
    with pytest.raises(ValueError, match="at least 2 labels"):
        GPT2Classifier(small_gpt2(), labels)


def test_an_unknown_pooling_is_refused():
    assert GPT2Classifier(small_gpt2(), 2, pooling="last").pooling == "last"
    with pytest.raises(ValueError, match="pooling 'middle' is none of last"):
        GPT2Classifier(small_gpt2(), 2, pooling="middle")


@pytest.mark.parametrize("seed", [123, 7])
def test_the_head_starts_as_a_linear_layer_made_right_after_seeding(seed):
    torch.manual_seed(seed)
    expected = torch.nn.Linear(768, 2)
    torch.rand(5)
    head = GPT2Classifier(small_gpt2(n_embd=768), labels=2, seed=seed).head
    assert torch.equal(head.weight, expected.weight)
    assert torch.equal(head.bias, expected.bias)


def test_the_default_seed_is_the_published_one():
    by_default = GPT2Classifier(small_gpt2(), labels=2).head
    assert torch.equal(by_default.weight, GPT2Classifier(small_gpt2(), 2, seed=123).head.weight)


def test_making_a_head_leaves_the_random_state_of_the_caller():
    gpt2 = small_gpt2()
    before = torch.get_rng_state()
    GPT2Classifier(gpt2, labels=2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_making_a_head_leaves_the_random_state_of_the_gpu():
    before = torch.cuda.get_rng_state()
    GPT2Classifier(small_gpt2(), labels=2)
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.network
@torch.no_grad()
def test_the_real_gpt2_with_a_fresh_head_gives_the_published_logits(published_gpt2):
    gpt2, tokenizer = load_folder(published_gpt2)
    (token_ids,) = tokenizer.encode(["Do you have time"])
    assert token_ids == [5211, 345, 423, 640]
    # What a causal model says at each token is what it says of the message that ends there.
    prefixes = [token_ids[:length] for length in range(1, 5)]
    logits = GPT2Classifier(gpt2, labels=2, seed=123)(pack(prefixes))
    expected = [[-1.5854, 0.9904], [-3.7235, 7.4548], [-2.2661, 6.6049], [-3.5983, 3.9902]]
    assert_close(logits, torch.tensor(expected), atol=1e-3, rtol=0)
