import pytest

from spamgpt.cli.dataset_options import labelled_from
from spamgpt.errors import UsageError
from spamgpt.workspace import Workspace


def test_spam_and_ham_are_short_for_labels(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert labelled_from(["a", "b"], ["c"], ["bills = ~/x=y"]) == [
        ("spam", "a"),
        ("spam", "b"),
        ("ham", "c"),
        ("bills", str(tmp_path / "x=y")),
    ]
    assert labelled_from(None, None, None) == []


@pytest.mark.parametrize("given", ["bills", "=x", "bills=", ""])
def test_a_label_needs_a_path(given):
    with pytest.raises(UsageError, match="is not a label and a path"):
        labelled_from(None, None, [given])


def test_mailboxes_and_files_are_fetched_together(spamgpt, tmp_path, make_model):
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk/1.eml").write_text("Subject: WIN\n\na prize\n")
    (tmp_path / "inbox.txt").write_text("see you\nat 7\n")
    (tmp_path / "sms.csv").write_text("label,text\nham,ok\nspam,FREE\n")
    model = make_model()
    paths = "--spam", tmp_path / "junk", "--ham", tmp_path / "inbox.txt"
    result = spamgpt("fetch", *paths, "--model", model, "-w", tmp_path / "w")
    assert result.status == 0, result.err
    assert "datasets/ham-spam/v1  3 messages: 2 ham, 1 spam" in result.out
    result = spamgpt(
        "fetch", *paths, "--dataset", tmp_path / "sms.csv", "--model", model, "-w", tmp_path / "w"
    )
    assert "datasets/sms-ham-spam/v1  5 messages: 3 ham, 2 spam" in result.out
    assert Workspace(tmp_path / "w").newest("datasets").metadata["columns"] == [
        "label",
        "text",
        "source",
    ]


def test_a_single_mailbox_is_told_to_have_one_label(spamgpt, tmp_path):
    (tmp_path / "junk.txt").write_text("WIN\n")
    result = spamgpt("fetch", "--spam", tmp_path / "junk.txt", "-w", tmp_path / "w")
    assert result.status == 4
    assert "has only the label 'spam'" in result.err.splitlines()[0]
    assert not (tmp_path / "w").exists()


def test_a_maildir_without_labels_is_answered_with_the_options_to_use(spamgpt, tmp_path):
    for name in ("cur", "new", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    result = spamgpt("fetch", "--dataset", tmp_path / "mail", "-w", tmp_path / "w")
    assert result.status == 3
    assert "--spam PATH, --ham PATH" in result.err
