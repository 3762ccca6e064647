import contextlib
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spamgpt.gpt2.config import ModelFormatError
from spamgpt.gpt2.tokenizer import END_OF_TEXT, Tokenizer


def reference_encoder(folder: Path) -> Callable[[list[str]], list[list[int]]]:
    """The tokenizer of transformers, made from the same two files."""
    from transformers import GPT2Tokenizer

    reference = GPT2Tokenizer(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        # Otherwise `<|endoftext|>` in a text becomes the special token.
        split_special_tokens=True,
    )
    return lambda texts: reference(texts)["input_ids"]


@pytest.fixture(scope="module")
def gpt2(gpt2_tokenizer_folder) -> Tokenizer:
    return Tokenizer.from_folder(gpt2_tokenizer_folder)


@pytest.fixture(scope="module")
def reference(gpt2_tokenizer_folder) -> Callable[[list[str]], list[list[int]]]:
    return reference_encoder(gpt2_tokenizer_folder)


# Agreement with transformers

texts = st.lists(
    st.text(max_size=30)
    # What GPT-2's regular expressions tell apart, in any order and number.
    | st.text(st.sampled_from("aZé漢5٣²'s!_-\u0301\u200d😀\0\x1c\x85 \t\n\r\xa0\u2003\u3000"))
    | st.sampled_from(["'ll", "'S", " 're", END_OF_TEXT, "\n" * 5, " " * 9])
    | st.tuples(st.characters(exclude_categories=["Cs"]), st.integers(2, 1200)).map(
        lambda run: run[0] * run[1]
    ),
    max_size=8,
).map("".join)


def test_every_message_of_the_collection_has_the_token_ids_of_transformers(
    gpt2, reference, sms_collection
):
    lines = sms_collection.read_bytes().decode().split("\n")
    messages = [line.split("\t", 1)[1] for line in lines if line]
    assert len(messages) == 5_574
    assert gpt2.encode(messages) == reference(messages)


@settings(deadline=None, max_examples=300)
@given(texts.filter(bool))
def test_any_text_has_the_token_ids_of_transformers(gpt2, reference, text):
    assert gpt2.encode([text]) == reference([text])
    assert gpt2.encoding.decode(gpt2.encode([text])[0]) == text


@pytest.mark.parametrize("space", [*" \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u3000"])
@pytest.mark.parametrize("length", [999, 1_000, 1_001])
def test_long_runs_of_whitespace_have_the_token_ids_of_transformers(gpt2, reference, space, length):
    run = space * length
    messages = [run, run + "a", "a" + run, f"a{run}b{run}\n{run} c", f" {run}!", f"{run}\0{run}1"]
    assert gpt2.encode(messages) == reference(messages)


@pytest.mark.parametrize("separator", [*"\x1c\x1d\x1e\x1f"])
def test_separators_are_no_whitespace_however_long_the_run(separator, scratch_folder):
    # Python takes them for whitespace, Unicode and GPT-2 do not: a run is one piece, and its pairs
    # are joined from the start to the end.
    byte = chr(256 + ord(separator))
    write_byte_level([(byte, byte)], scratch_folder)
    (token_ids,) = Tokenizer.from_folder(scratch_folder).encode([separator * 1_000 + "a"])
    assert [token_ids] == reference_encoder(scratch_folder)([separator * 1_000 + "a"])
    assert len(token_ids) == 501


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("special_first", [True, False])
def test_a_tokenizer_trained_on_the_spot_is_reproduced(seed, special_first, tmp_path):
    draw = random.Random(seed)
    words = ["".join(draw.choices("aabcé'", k=draw.randint(1, 6))) for _ in range(60)]
    corpus = [" ".join(draw.choices(words, k=10)) for _ in range(80)]
    train_tokenizer(corpus, special_first, tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.encoding.eot_token == (0 if special_first else 320)
    others = ["".join(draw.choices("abcé' ", k=30)) for _ in range(80)]
    assert tokenizer.encode(corpus + others) == reference_encoder(tmp_path)(corpus + others)


def train_tokenizer(corpus: list[str], special_first: bool, folder: Path) -> None:
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320 + special_first,
        special_tokens=[END_OF_TEXT] * special_first,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.model.save(str(folder))
    if not special_first:
        vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        (folder / "vocab.json").write_text(json.dumps(vocabulary | {END_OF_TEXT: 320}))


# Text is text


def test_an_empty_text_is_the_end_of_text_token(gpt2):
    assert gpt2.encode(["", "a", ""]) == [[50256], [64], [50256]]


@pytest.mark.parametrize("text", [END_OF_TEXT, f"win{END_OF_TEXT}now", f" {END_OF_TEXT}" * 3])
def test_text_never_becomes_the_special_token(gpt2, text):
    (token_ids,) = gpt2.encode([text])
    assert 50256 not in token_ids
    assert gpt2.encoding.decode(token_ids) == text


@settings(deadline=None)
@given(texts)
def test_every_text_has_tokens_and_only_an_empty_one_the_special_token(gpt2, text):
    (token_ids,) = gpt2.encode([text])
    assert token_ids
    assert (50256 in token_ids) == (text == "")


@given(text=st.text())
def test_the_first_tokens_of_a_text_are_its_first_characters(gpt2, text):
    (token_ids,) = gpt2.encode([text or "a"])
    starts = [gpt2.decode(token_ids[:place]) for place in range(len(token_ids) + 1)]
    assert starts[-1] == (text or "a")
    assert all(starts[-1].startswith(start) for start in starts)


def test_the_vocabulary_has_50257_tokens(gpt2):
    assert gpt2.vocab_size == 50257


# Hostile text

MILLION = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "a" * MILLION,
        " " * MILLION,
        " " * MILLION + "a",
        "\n" * MILLION,
        "\n" * MILLION + "a",
        " \n\t\u2003" * (MILLION // 4) + "a",
        (" " * 999 + "a") * 1000,
        "\0" * MILLION,
        "1" * MILLION,
        "'" * MILLION,
        "漢😀" * (MILLION // 2),
        "\ud800" * MILLION,
    ],
    ids=lambda text: ascii(text[:3] + text[-1]),
)
def test_a_megabyte_of_anything_is_tokenized_in_seconds(gpt2, text):
    start = time.perf_counter()
    (token_ids,) = gpt2.encode([text])
    assert time.perf_counter() - start < 10
    # Every byte is there.
    assert gpt2.encoding.decode(token_ids).rstrip("\ufffd") == text.rstrip("\ud800")


@pytest.mark.parametrize(
    ("text", "meant"),
    [("\ud800", "\ufffd"), ("a\udc00 b", "a\ufffd b"), ("\ud83d\ude00", "\U0001f600")],
)
def test_surrogates_are_paired_or_replaced(gpt2, text, meant):
    assert gpt2.encode([text]) == gpt2.encode([meant])


@settings(deadline=None)
@given(st.text(st.characters(categories=["Cs"]) | st.characters(), max_size=20))
def test_lone_surrogates_never_crash(gpt2, text):
    assert all(gpt2.encode([text]))


# Damaged files


@pytest.fixture
def folder(make_model) -> Path:
    """A tokenizer of 256 bytes, five merges (ee, Ġf, pr, Ġfr, Ġfree) and the special token."""
    return make_model(weights=False)


def edit_vocabulary(folder: Path, **changes: object) -> None:
    """Sets tokens of vocab.json; `...` removes one."""
    path = folder / "vocab.json"
    vocabulary = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {token: token_id for token, token_id in vocabulary.items() if token_id is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")


def refusal(folder: Path) -> str:
    with pytest.raises(ModelFormatError) as caught:
        Tokenizer.from_folder(folder)
    return str(caught.value)


def test_the_small_tokenizer_is_sound_before_it_is_damaged(folder):
    assert Tokenizer.from_folder(folder).encode([" free"]) == [[260]]
    assert reference_encoder(folder)([" free"]) == [[260]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b'{"a": ', "is not JSON"),
        (b'{"\xff": 1}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "is not JSON"),
        (b"[]", "does not hold a JSON object"),
        (b"{}", f"has no {END_OF_TEXT} token"),
        (b'{"<|endoftext|>": 0}', "is not a byte-level vocabulary: it has no '!'"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(content, reason, folder):
    (folder / "vocab.json").write_bytes(content)
    message = refusal(folder)
    assert message.startswith(str(folder / "vocab.json"))
    assert reason in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ee": 257}, "'ee' and 'Ġf' share an id"),
        ({END_OF_TEXT: 5}, "'&' and '<|endoftext|>' share an id"),
        ({"ee": "256"}, "the id of 'ee' is '256', not a whole number from 0 to 261"),
        ({"ee": 256.0}, "the id of 'ee' is 256.0, not a whole number"),
        ({"ee": -1}, "the id of 'ee' is -1, not a whole number"),
        ({"ee": True}, "the id of 'ee' is True, not a whole number"),
        ({"ee": None}, "the id of 'ee' is None, not a whole number"),
        ({"ee": [256]}, r"the id of 'ee' is [256], not a whole number"),
        ({"ee": 262}, "the id of 'ee' is 262, not a whole number from 0 to 261"),
        ({"ee": 2**70}, "the id of 'ee' is 1180591620717411303424"),
        ({"!": ...}, "the id of '<|endoftext|>' is 261, not a whole number from 0 to 260"),
        ({END_OF_TEXT: ...}, "has no <|endoftext|> token"),
        ({"!": ..., "日": 0}, "is not a byte-level vocabulary: it has no '!'"),
    ],
)
def test_a_damaged_vocabulary_is_refused_with_the_token(changes, reason, folder):
    edit_vocabulary(folder, **changes)
    message = refusal(folder)
    assert message.startswith(str(folder / "vocab.json"))
    assert reason in message


@pytest.mark.parametrize("token", ["日本", "two words", "", "frfr", "\ud800", "<pad>"])
def test_a_token_that_no_merge_makes_is_refused(token, folder):
    edit_vocabulary(folder, **{token: 262})
    assert refusal(folder) == (
        f"{folder / 'merges.txt'}, line 7: no merge makes {token!r} of {folder / 'vocab.json'}"
    )


@pytest.mark.parametrize(
    ("merges", "line", "text"),
    [
        ("Ġ f\ne e\np r\nĠf r\nĠfr ee\n", 3, "e e"),
        ("e e\np r\nĠ f\nĠf r\nĠfr ee\n", 4, "Ġ f"),
        ("e e\ne e\nĠ f\np r\nĠf r\nĠfr ee\n", 3, "e e"),
        ("e e\nĠ f\np r\nĠfr ee\nĠf r\n", 5, "Ġfr ee"),
        ("e e\nĠ f\np r\nĠf r\nĠfre e\n", 6, "Ġfre e"),
        ("e e\nĠ f\np r\nĠfr\nĠfr ee\n", 5, "Ġfr"),
        ("ee\nĠ f\np r\nĠf r\nĠfr ee\n", 2, "ee"),
        ("e  e\nĠ f\np r\nĠf r\nĠfr ee\n", 2, "e  e"),
        ("e e \nĠ f\np r\nĠf r\nĠfr ee\n", 2, "e e "),
        ("e e\nĠ f\np r\nĠ fr\nĠfr ee\n", 5, "Ġ fr"),
        ("e e\nĠ f\np r\nĠf r\nĠfr ee\nx y\n", 7, "x y"),
        ("e e\nĠ f\np r\nĠf r\nĠfr ee\n日 本\n", 7, "日 本"),
        ("junk", 2, "junk"),
    ],
)
def test_a_damaged_merge_is_refused_with_its_line(merges, line, text, folder):
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    assert refusal(folder) == (
        f"{folder / 'merges.txt'}, line {line}: {text!r} does not make the next token of "
        f"{folder / 'vocab.json'}"
    )


@pytest.mark.parametrize("merges", ["", "#version: 0.2\n", "e e\nĠ f\np r\n"])
def test_missing_merges_are_refused(merges, folder):
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    message = refusal(folder)
    assert message.startswith(f"{folder / 'merges.txt'}, line ")
    assert "no merge makes" in message


def test_merges_that_are_not_utf_8_are_refused(folder):
    (folder / "merges.txt").write_bytes(b"#version: 0.2\n\xff\xfe\n")
    assert refusal(folder).startswith(f"{folder / 'merges.txt'} is not UTF-8")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("version", ["#version: 0.2\n", ""])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_merges_may_lack_the_version_and_end_their_lines_in_either_way(
    newline, version, end, folder
):
    path = folder / "merges.txt"
    merges = path.read_text(encoding="utf-8").removeprefix("#version: 0.2\n").rstrip("\n")
    path.write_bytes((version + merges + end).replace("\n", newline).encode())
    assert Tokenizer.from_folder(folder).encode([" free"]) == [[260]]


@settings(deadline=None)
@given(
    name=st.sampled_from(["vocab.json", "merges.txt"]),
    start=st.floats(0, 1),
    length=st.integers(0, 40),
    patch=st.binary(max_size=20) | st.text(' \n\\"{}[]:,-.019eéĠ日', max_size=20).map(str.encode),
)
def test_damage_anywhere_is_a_model_format_error_if_any(scratch_folder, name, start, length, patch):
    write_byte_level([("a", "b"), ("ab", "c"), ("Ġ", "abc")], scratch_folder)
    path = scratch_folder / name
    content = path.read_bytes()
    place = int(start * len(content))
    path.write_bytes(content[:place] + patch + content[place + length :])
    with contextlib.suppress(ModelFormatError):
        Tokenizer.from_folder(scratch_folder).encode([" abc"])


@pytest.fixture(scope="module")
def scratch_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tokenizer")


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), max_size=10))
def test_merges_are_followed_to_the_letter_or_refused(scratch_folder, choices):
    # tiktoken joins what makes a token, the merges join pairs of tokens. The two part ways over a
    # merge that can never apply, such as `ab c` after `b c`: only such files are refused.
    tokens, merges = ["a", "b", "c"], []
    for left, right in choices:
        pair = tokens[left % len(tokens)], tokens[right % len(tokens)]
        if "".join(pair) not in tokens:
            tokens.append("".join(pair))
            merges.append(pair)
    write_byte_level(merges, scratch_folder)
    encode = reference_encoder(scratch_folder)
    all_apply = all(len(token_ids) == 1 for token_ids in encode(tokens))
    if all_apply:
        draw = random.Random(1)
        messages = ["".join(draw.choices("abc", k=draw.randint(1, 20))) for _ in range(100)]
        assert Tokenizer.from_folder(scratch_folder).encode(messages) == encode(messages)
    else:
        assert "can never apply" in refusal(scratch_folder)


def write_byte_level(merges: list[tuple[str, str]], folder: Path) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*sorted(ByteLevel.alphabet()), *map("".join, merges), END_OF_TEXT]
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = "".join(f"{left} {right}\n" for left, right in merges)
    (folder / "merges.txt").write_text("#version: 0.2\n" + lines)
