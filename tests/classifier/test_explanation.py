import dataclasses
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spamgpt import SpamClassifier
from spamgpt.bundled import MESSAGES_FILE
from spamgpt.classifier.explanation import MOST, explain, top
from spamgpt.stages import finetune
from spamgpt.stages.finetune import FinetuneSettings
from spamgpt.workspace import Workspace


@pytest.fixture(scope="module")
def bundled() -> SpamClassifier:
    return SpamClassifier.bundled(device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def quick(trained_workspace_template) -> SpamClassifier:
    return SpamClassifier.from_pretrained(trained_workspace_template, device="cpu")


def log_odds(probability):
    clipped = np.clip(probability, 1e-9, 1 - 1e-9)
    return np.log(clipped / (1 - clipped))


def test_leaving_out_the_top_words_changes_the_answer_more_than_leaving_out_others(bundled):
    texts = pd.read_csv(MESSAGES_FILE)["text"].sample(16, random_state=1)
    draw = random.Random(1)
    lost_top, lost_random = [], []
    for text in texts:
        label = bundled.predict([text])[0]
        spans = explain(bundled, text, label)
        chosen = top(spans, 3)
        if len(spans) < 6 or not chosen:
            continue

        def without(left_out, text=text, spans=spans):
            return "".join(text[s.start : s.end] for s in spans if s not in left_out)

        others = [without(draw.sample(spans, len(chosen))) for _ in range(4)]
        scored = bundled.predict_proba([text, without(chosen), *others])
        odds = log_odds(scored[:, bundled.labels.index(label)])
        lost_top.append(odds[0] - odds[1])
        lost_random.append(odds[0] - odds[2:].mean())
    assert len(lost_top) >= 10
    assert np.mean(lost_top) > 3 * max(np.mean(lost_random), 0.1)
    assert np.mean(np.array(lost_top) > np.array(lost_random)) > 0.9


def test_the_word_that_gives_spam_away_is_named(bundled):
    text = "WINNER! Claim your free prize now, call 09061701461"
    spans = explain(bundled, text, "spam")
    best = top(spans, 1)[0]
    assert text[best.start : best.end] == "WINNER!"
    # Against the other label the same words weigh the opposite.
    opposite = explain(bundled, text, "ham")
    assert [s.weight for s in opposite] == pytest.approx([-s.weight for s in spans], abs=1e-4)


@settings(max_examples=25)
@given(text=st.text(max_size=130) | st.text(" ab", min_size=150, max_size=300))
def test_spans_cover_the_text_in_order(quick, text):
    spans = explain(quick, text, "ham")
    assert "".join(text[s.start : s.end] for s in spans) == text
    assert all(s.start < s.end for s in spans)
    assert len(spans) <= 2 * MOST


@pytest.mark.parametrize(("context", "before", "after"), [(48, 6, 5), (96, 25, 0)])
def test_of_a_long_message_the_window_that_decided_is_explained(
    monkeypatch, context, before, after
):
    classifier = SpamClassifier.bundled(device="cpu", precision="fp32")
    gpt2 = classifier.model.gpt2
    gpt2.config = dataclasses.replace(gpt2.config, n_positions=context)  # to be quick
    harmless = "see you at seven then, i will bring the bread "
    spam = "WINNER! Claim your free prize now, call 09061701461 "
    text = harmless * before + spam + harmless * after
    predictions, read = classifier.predictions, []
    monkeypatch.setattr(
        classifier, "predictions", lambda texts: read.extend(texts) or predictions(texts)
    )
    spans = explain(classifier, text, "spam")
    assert "".join(text[s.start : s.end] for s in spans) == text
    best = top(spans, 1)[0]
    assert text[best.start : best.end].strip() in spam.split()
    assert spans[0].weight == 0
    # The cost is that of the window, whatever the length of the message.
    assert len(read) <= 2 * (MOST + 1)
    assert max(len(ids) for ids in classifier.tokenizer.encode(read)) <= context + 2


def test_an_address_is_blamed_as_a_whole(bundled):
    text = "WIN a prize, claim at http://x.example"
    spans = explain(bundled, text, "spam")
    assert " http://x.example" in [text[s.start : s.end] for s in spans]


def test_the_answer_itself_is_explained_unless_a_label_is_given(bundled):
    text = "WINNER! Claim your free prize now, call 09061701461"
    assert bundled.explain(text) == explain(bundled, text, "spam")
    assert bundled.explain(text, "ham") == explain(bundled, text, "ham")
    with pytest.raises(ValueError, match="maybe"):
        bundled.explain(text, "maybe")


def test_what_n_grams_add_is_explained_like_what_gpt2_adds(trained_workspace):
    workspace = Workspace(trained_workspace)
    run_finetune = FinetuneSettings(epochs=1, ngrams=True, device="cpu")
    classifier = SpamClassifier.from_pretrained(
        finetune.run(run_finetune, workspace).folder, device="cpu", precision="fp32"
    )
    text = "see you at home for FREE"

    def odds(*texts):
        return log_odds(classifier.predict_proba(texts)[:, classifier.labels.index("spam")])

    for head in (classifier.model.head.weight.data, None):
        for span in classifier.explain(text, "spam"):
            whole, without = odds(text, text[: span.start] + text[span.end :])
            assert span.weight == pytest.approx(whole - without, abs=1e-4)
        if head is not None:
            head.zero_()  # then all that is left are the n-grams
    best = top(classifier.explain(text, "spam"), 1)[0]
    assert text[best.start : best.end] == " FREE"
