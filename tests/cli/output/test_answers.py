from collections import Counter

from spamgpt.cli.output.answers import Summary


def test_a_summary_that_is_stopped_within_its_first_batch_has_no_rate():
    assert str(Summary(Counter(ham=2, spam=1))) == "3 messages: 2 ham, 1 spam"
    assert str(Summary(Counter(ham=4), seconds=2)) == "4 messages: 4 ham (2 messages/s)"
