import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamgpt.classifier.parts import LONGEST, parts


def split(text: str) -> list[str]:
    return [text[first:last] for first, last in parts(text)]


@given(st.text(max_size=200) | st.text("ab.@:/ 1你ก", max_size=200))
def test_the_parts_cover_the_text_in_order(text):
    assert "".join(split(text)) == text
    assert all(split(text))


@given(st.text("ab. 1你", max_size=100), st.integers(0, 100), st.integers(0, 100))
def test_a_piece_of_a_text_is_covered_as_well(text, start, end):
    start, end = sorted((min(start, len(text)), min(end, len(text))))
    assert "".join(text[a:b] for a, b in parts(text, start, end)) == text[start:end]


@pytest.mark.parametrize(
    "address",
    [
        "http://x.example",
        "HTTPS://very.long.example/a/rather/long/path/that/goes/on?and=on&and=on#" + "a1-" * 100,
        "ftp://x.example:21/a.zip",
        "www.free-prizes-for-everybody.example/claim/now/before/it/is/too/late",
        "somebody.with.a.long.name+and.more@a-rather-long-name-of-a-host.example",
        "a-rather-long-name-of-a-host.co.example:8080/with/a/path",
        "http://bücher.example/größe",
    ],
)
def test_an_address_is_one_part(address):
    assert split(f"claim at {address} now") == ["claim", " at", f" {address}", " now"]
    assert split(f"claim ({address}), now") == ["claim", f" ({address}),", " now"]


def test_an_address_behind_a_word_is_told_apart_from_it():
    assert split("FREE!!http://x.example/y") == ["FREE!!", "http://x.example/y"]
    assert split("点击http://x.example领取") == ["点击", "http://x.example", "领取"]


@pytest.mark.parametrize(
    "number", ["09061701461", "0906 170 1461", "+44 (0)7911-123456", "1,000,000.50", "12/05 14:30"]
)
def test_a_number_is_one_part(number):
    assert split(f"call {number} now") == ["call", f" {number}", " now"]


def test_numbers_in_a_long_list_are_not_all_one():
    assert max(map(len, split("12 34 56 " * 30))) <= LONGEST
    assert split("7\n8  9") == ["7", "\n8", "  9"]


def test_a_word_keeps_its_punctuation_and_the_space_before_it():
    assert split("WIN, a  'prize'!\n") == ["WIN,", " a", "  'prize'!", "\n"]
    assert split("Donaudampfschifffahrtsgesellschaft") == ["Donaudampfschifffahrtsgesellschaft"]


def test_a_long_run_is_cut_behind_its_punctuation():
    run = "free_prize_claim_now_call_this_number_or_write_to_us_today"
    assert split(run) == ["free_prize_claim_now_call_this_", "number_or_write_to_us_today"]


def test_scripts_without_spaces_are_cut_into_a_few_characters():
    assert split("恭喜您中奖了、请点击链接。") == ["恭喜您中", "奖了、", "请点击链", "接。"]
    thai = split("ขอแสดงความยินดี คุณถูกรางวัล")
    assert 4 < len(thai) < 12
    # No mark stands apart from its letter.
    assert not any(part.strip()[0] in "ัิีึืุู็่้๊๋์" for part in thai)


def test_a_hostile_text_takes_no_long_time():
    for text in ("a." * 50_000, "http://" * 15_000, "w" * 100_000, "1 " * 50_000, "(0" * 50_000):
        assert parts(text)[-1][1] == len(text)
