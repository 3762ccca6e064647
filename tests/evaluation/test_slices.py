import pytest

from spamgpt.evaluation.outcome import Outcome
from spamgpt.evaluation.slices import FEWEST, Slice, slices, worst

TEXTS = ["see you", "win £500 at http://x.example", "x" * 161, "naïve, isn't it", "call 07123"]


def judged(truth, predicted) -> Outcome:
    return Outcome(truth, predicted, ["ham", "spam"], "spam", None)


def names(scored) -> dict[tuple[str, str], Slice]:
    return {(each.slice, each.value): each for each in scored}


def test_each_message_is_in_one_slice_of_each_kind():
    truth = ["ham", "spam", "ham", "ham", "spam"]
    found = names(slices(TEXTS, judged(truth, ["ham", "spam", "ham", "spam", "ham"])))
    messages = {name: each.messages for name, each in found.items()}
    assert messages == {
        ("length", "up to 40 characters"): 4,
        ("length", "over 160 characters"): 1,
        ("links", "with a link"): 1,
        ("links", "without a link"): 4,
        ("digits", "with digits"): 2,
        ("digits", "without digits"): 3,
        ("currency", "with a currency sign"): 1,
        ("currency", "without a currency sign"): 4,
        ("characters", "with characters beyond ASCII"): 2,
        ("characters", "without characters beyond ASCII"): 3,
    }
    digits = found["digits", "with digits"]
    assert (digits.accuracy, digits.errors) == (0.5, 1)
    assert digits.f1 == pytest.approx(2 / 3)  # one of two caught, none taken wrongly
    assert digits.labels == {"ham": 0, "spam": 2}
    assert digits.interval[0] < 0.5 < digits.interval[1]
    assert found["length", "over 160 characters"].f1 is None


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("go to www.x.example", True),
        ("HTTPS://X", True),
        ("see bit.ly/abc", True),
        ("e.g. ok.", False),
    ],
)
def test_links_are_seen(text, link):
    found = slices([text, "none", "http://x"], judged(["ham"] * 3, ["ham"] * 3))
    assert names(found)["links", "with a link"].messages == 1 + link


def test_sources_are_told_apart_and_rare_ones_together():
    sources = [f"source {n}" for n in range(14) for _ in range(20 - n)]
    answers = ["ham"] * len(sources)
    found = names(slices(["text"] * len(sources), judged(answers, answers), sources))
    assert {kind for kind, _ in found} == {"source"}
    assert found["source", "source 0"].messages == 20
    assert found["source", "other sources"].messages == 8 + 7
    assert len(found) == 13


def test_a_slice_of_few_messages_is_not_named_the_worst():
    texts = ["call 1"] * FEWEST + ["see http://x"] * (FEWEST - 1) + ["ok"] * 100
    truth = ["spam"] * len(texts)
    predicted = ["ham"] * 10 + ["spam"] * (FEWEST - 10) + ["ham"] * (FEWEST - 1) + ["spam"] * 100
    found = worst(slices(texts, judged(truth, predicted)))
    assert (found.slice, found.value, found.messages) == ("digits", "with digits", FEWEST)


def test_without_a_mistake_no_slice_is_the_worst():
    texts = ["call 1"] * 40 + ["call me"] * 40
    assert worst(slices(texts, judged(["ham"] * 80, ["ham"] * 80))) is None
