import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from spamgpt.bundled import MINI_FOLDER
from spamgpt.data.batches import tokenize
from spamgpt.gpt2.ngram_counts import ALL_BUCKETS
from spamgpt.gpt2.tokenizer import Tokenizer
from spamgpt.training.ngrams import fit_ngrams, fit_ngrams_onward

TEXTS = [
    "win a prize now",
    "see you at seven",
    "WIN CASH NOW",
    "shall we meet at the station?",
    "claim your prize",
    "the meeting is at ten",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(MINI_FOLDER, merges_checked=True)


@pytest.mark.parametrize("labels", [[1, 0, 1, 0, 1, 0], [2, 0, 2, 0, 1, 1]])
def test_logits_are_those_of_scikit_learn_on_the_same_features(tokenizer, labels):
    messages = tokenize(TEXTS, tokenizer, 64)
    count = max(labels) + 1
    model = fit_ngrams(tokenizer.spellings, messages, torch.tensor(labels), count)
    packed = messages.pack(range(len(TEXTS)))
    message, bucket, value = (part.numpy() for part in model.features(packed))
    features = csr_array(
        (value.astype(np.float64), (message.astype(np.int32), bucket.astype(np.int32))),
        shape=(len(TEXTS), ALL_BUCKETS),
    )
    features = features[:, np.unique(bucket)]  # the others get a weight of 0
    theirs = LogisticRegression(C=10, tol=1e-8, max_iter=10_000).fit(features, labels)
    with torch.no_grad():
        # They are doubled, to count beside GPT-2's.
        ours = (model(packed).double() / 2).softmax(dim=1).numpy()
    # liblinear penalises the intercept, too.
    np.testing.assert_allclose(ours, theirs.predict_proba(features), atol=0.05)
    assert ours.argmax(axis=1).tolist() == labels


def test_rare_n_grams_count_more_and_unseen_ones_nothing(tokenizer):
    messages = tokenize(TEXTS, tokenizer, 64)
    model = fit_ngrams(tokenizer.spellings, messages, torch.tensor([1, 0, 1, 0, 1, 0]), 2)
    packed = messages.pack(range(len(TEXTS)))
    documents = torch.bincount(model.counts(packed)[1], minlength=ALL_BUCKETS)
    once, thrice = model.idf[documents == 1], model.idf[documents == 3]
    assert once.unique().tolist() == pytest.approx([1 + np.log(7 / 2)], rel=1e-3)
    assert thrice.unique().tolist() == pytest.approx([1 + np.log(7 / 4)], rel=1e-3)
    assert not model.idf[documents == 0].any()
    assert not model.weight[documents == 0].any()


@pytest.mark.parametrize("labels", [[1, 0, 1, 0, 1, 0], [2, 0, 2, 0, 1, 1]])
def test_learning_onward_remembers_and_learns(tokenizer, labels):
    messages = tokenize(TEXTS, tokenizer, 64)
    count = max(labels) + 1
    before = fit_ngrams(tokenizer.spellings, messages, torch.tensor(labels), count)
    kept = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    more = tokenize(["bonjour, votre colis", "shall we meet at the station?"], tokenizer, 64)
    after = fit_ngrams_onward(before, more, torch.tensor([count - 1, count - 1]))
    with torch.no_grad():
        old = after(messages.pack(range(len(TEXTS)))).argmax(dim=1).tolist()
        new = after(more.pack(range(2))).argmax(dim=1).tolist()
    assert new == [count - 1, count - 1]
    # Of what was not at hand any more nothing is forgotten, but for what was taught otherwise.
    expected = [*labels[:3], count - 1, *labels[4:]]
    assert old == expected
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.state_dict().items())
    first_seen = (kept["idf"] == 0) & (after.idf > 0)
    assert first_seen.any()
    assert after.idf[first_seen].unique().tolist() == [kept["idf"].max().item()]


def test_learning_onward_from_nothing_is_fitting(tokenizer):
    messages, labels = tokenize(TEXTS, tokenizer, 64), torch.tensor([1, 0, 1, 0, 1, 0])
    fitted = fit_ngrams(tokenizer.spellings, messages, labels, 2)
    nothing = fit_ngrams(tokenizer.spellings, messages, labels, 2)
    for parameter in (nothing.weight, nothing.bias):
        parameter.data.zero_()
    onward = fit_ngrams_onward(nothing, messages, labels)
    packed = messages.pack(range(len(TEXTS)))
    with torch.no_grad():
        torch.testing.assert_close(onward(packed), fitted(packed), atol=0.02, rtol=0)


@pytest.mark.parametrize("labels", [[3, 0, 2, 0, 3, 2], [2, 3, 2, 3, 2, 3], [0, 2, 0, 2, 0, 2]])
def test_of_a_label_without_messages_they_say_nothing(tokenizer, labels):
    messages = tokenize(TEXTS, tokenizer, 64)
    model = fit_ngrams(tokenizer.spellings, messages, torch.tensor(labels), 5)
    # The same as without it, where the labels that are there come one after the other.
    present = sorted(set(labels))
    dense = torch.tensor([present.index(label) for label in labels])
    alone = fit_ngrams(tokenizer.spellings, messages, dense, len(present))
    packed = messages.pack(range(len(TEXTS)))
    with torch.no_grad():
        found, expected = model(packed), alone(packed)
    shares = found[:, present].softmax(dim=1)
    torch.testing.assert_close(shares, expected.softmax(dim=1), atol=0.01, rtol=0)


def test_of_messages_of_one_label_they_say_nothing(tokenizer):
    messages = tokenize(TEXTS, tokenizer, 64)
    model = fit_ngrams(tokenizer.spellings, messages, torch.ones(len(TEXTS), dtype=torch.long), 2)
    assert not model(messages.pack(range(len(TEXTS)))).any()
