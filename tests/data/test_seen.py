import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spamgpt.data.seen import seen, write_more_seen, write_seen

SALT = bytes(range(16))


def test_what_was_kept_is_known_again_however_it_is_spelt(tmp_path):
    path = tmp_path / "seen.npz"
    write_seen(["WIN a  FREE prize\n", "see you", "caf\u00e9", "see you"], SALT, path)
    texts = ["win a free prize", "See you ", "cafe\u0301", "see you!", "", "seeyou"]
    assert list(seen(texts, path)) == [True, True, True, False, False, False]


@given(st.lists(st.text()), st.lists(st.text()))
@settings(max_examples=25)
def test_any_text_can_be_kept(tmp_path_factory, kept, asked):
    path = tmp_path_factory.mktemp("seen") / "seen.npz"
    write_seen(kept, SALT, path)
    assert seen(kept, path).all()
    assert seen(asked, path).shape == (len(asked),)


def test_the_file_is_small_repeatable_and_without_a_text(tmp_path):
    texts = [f"message number {n}" for n in range(1000)]
    write_seen(texts, SALT, tmp_path / "a.npz")
    write_seen(texts[::-1], SALT, tmp_path / "b.npz")
    content = (tmp_path / "a.npz").read_bytes()
    assert content == (tmp_path / "b.npz").read_bytes()
    assert len(content) < 1000 * 8 + 1000
    assert b"message" not in content


def test_more_can_be_kept_beside_what_was_kept_before(tmp_path):
    before, path = tmp_path / "before.npz", tmp_path / "seen.npz"
    write_seen(["see you", "WIN"], SALT, before)
    write_more_seen(["a third", "win"], before, path)
    assert list(seen(["see you", "win", "a third", "other"], path)) == [True, True, True, False]
    assert list(seen(["a third"], before)) == [False]


def test_another_salt_gives_other_hashes(tmp_path):
    for name, salt in (("a", SALT), ("b", bytes(16))):
        write_seen(["see you"], salt, tmp_path / f"{name}.npz")
    one, other = (np.load(tmp_path / f"{name}.npz")["hashes"] for name in "ab")
    assert one != other
