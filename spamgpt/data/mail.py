"""Mails: one or an mbox of them out of a stream, the text that their reader sees, an added header.

Nothing here fails on a mail, however broken it is: what cannot be parsed is read as plain text.
"""

import base64
import binascii
import html
import quopri
import re
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from email.message import Message
from html.parser import HTMLParser
from typing import Any

from spamgpt.data.records import Excerpt, Record, pieces
from spamgpt.data.rows import TEXT, Row

EML, MBOX = "eml", "mbox"
MAIL_FORMATS = (EML, MBOX)

# What is passed on with a mail's answer, so that one can tell which mail it was.
_FIELDS = ("from", "date", "subject", "message-id")


def read_mails(
    lines: Iterable[bytes], format: str, source: str, record: Record | None = None
) -> Iterator[Row]:
    """Yields the one mail of a stream (`eml`) or each mail of an mbox (`mbox`).

    The field `text` is what a reader sees; `file` is the source, the others are headers. `raw` is
    the mail byte for byte, in an mbox with its From line and the empty line after it: all of them
    after each other are the stream again. Of a mail beyond the limit of `record` the beginning and
    the end are read.
    """
    record = record or Record()
    mails = split_mbox(lines, record) if format == MBOX else _one_mail(lines, record)
    for line, raw in mails:
        yield Row(line, raw, {"file": source, **fields_of(raw)}, end=b"")


def _one_mail(lines: Iterable[bytes], record: Record) -> Iterator[tuple[int, bytes]]:
    for piece in pieces(lines, record.limit):
        record.add(piece)
    yield 1, record.take()


def split_mbox(lines: Iterable[bytes], record: Record | None = None) -> Iterator[tuple[int, bytes]]:
    """The mails of an mbox and the lines they begin at, reading no further than each mail's end.

    A mail begins at every line that starts with `From `, as for Python's mailbox.mbox and as
    programs that write an mbox expect, which put `>` before such a line of a text. What stands
    before the first of them is a mail, too, unless it is blank; then it belongs to the first.
    """
    record = record or Record()
    begin = number = 1
    blank = line_begins = True
    for piece in pieces(lines, record.limit):
        if line_begins and not blank and piece.startswith(b"From "):
            yield begin, record.take()
            begin = number
        record.add(piece)
        blank = blank and not piece.strip()
        line_begins = piece.endswith(b"\n")
        number += line_begins
    if not blank:
        yield begin, record.take()


_FROM_LINE = re.compile(rb"(?:\s*\n)?From [^\n]*(?:\n|\Z)")
_DATED_FROM_LINE = re.compile(
    rb"From \S+ +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) "
    rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} +\d\d:\d\d"
)


def begins_an_mbox(line: bytes) -> bool:
    """Whether a line is surely the first of an mbox: sender, day, time."""
    return bool(_DATED_FROM_LINE.match(line))


_KNOWN_HEADER = re.compile(
    rb"^(?:From|To|Cc|Subject|Date|Received|Return-Path|Delivered-To|Message-ID|MIME-Version|"
    rb"Content-Type|Reply-To|Sender|DKIM-Signature|X-[\w-]+)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)


def looks_like_mail(data: bytes) -> bool:
    """Whether bytes begin with a mail's headers, and not just with a text that has a colon."""
    head, body = split_head(data)
    known = len(_KNOWN_HEADER.findall(head))
    only_headers = all(map(_HEADER_LINE.match, head.splitlines()))
    return begins_an_mbox(data) or known > 1 or (known == 1 and only_headers and bool(body.strip()))


def looks_like_header(line: bytes) -> bool:
    """Whether a first line may be one of a mail's headers."""
    return bool(_HEADER_LINE.match(line))


_HEADER_LINE = re.compile(rb"[^:\s]+[ \t]*:|[ \t]")


def with_header(mail: bytes, name: str, value: str) -> bytes:
    """The mail with one header more, right after its From line, if it has one; else unchanged.

    Headers of that name which it came with are left out, so that none can be forged. First comes
    the new header so that no damaged line stands before it, at which readers might stop. Its line
    end is that of the mail. Where an excerpt's headers go on into what it leaves out, in which one
    could be forged, they become a part of the text.
    """
    if isinstance(mail, Excerpt):
        begin, end = mail.parts
        headed = _with_header(begin, name, value, sealed=not split_head(begin)[1])
        return Excerpt.of(headed, end, mail.length, mail.middle)
    return _with_header(mail, name, value)


def _with_header(mail: bytes, name: str, value: str, sealed: bool = False) -> bytes:
    match = _FROM_LINE.match(mail)
    start = match.end() if match else 0
    head, body = split_head(mail[start:])
    opening = mail[:start]
    line_end = b"\r\n" if re.match(rb"[^\n]*\r\n", head or body or opening) else b"\n"
    # The rest of a header whose beginning is lost must not become the rest of the new one.
    rest = _CONTINUATION.sub(b"", head)
    opening, head = opening + head[: len(head) - len(rest)], rest
    if opening and not opening.endswith((b"\n", b"\r")):
        opening += line_end
    forged = re.compile(
        _ONE_HEADER.replace(b"%s", re.escape(name.encode())), re.IGNORECASE | re.VERBOSE
    )
    header = f"{name}: {value}".encode("ascii", "replace") + line_end
    if sealed or (head and not any(map(_HEADER_LINE.match, head.splitlines()))):
        header += line_end  # a text without headers begins here
    return opening + header + forged.sub(b"", head) + body


# A header with its further lines. A line ends at a lone carriage return, too: some readers see it
# so. Where one stands before the header, it goes and the header's own line end stays; were it the
# other way round, it could make an empty line with what follows.
_ONE_HEADER = rb"""
    \r %s [ \t]*: [^\r\n]* (?: (?:\r?\n|\r) [ \t] [^\r\n]* )*
    | (?: \A | (?<=[\r\n]) ) %s [ \t]*: [^\r\n]* (?:\r?\n|\r|\Z)
      (?: [ \t] [^\r\n]* (?:\r?\n|\r|\Z) )*
"""

_CONTINUATION = re.compile(rb"\A(?:[ \t][^\r\n]*(?:\r?\n|\r|\Z))+")
_HEAD_END = re.compile(rb"^\r?$", re.MULTILINE)


def split_head(mail: bytes) -> tuple[bytes, bytes]:
    """A mail's headers and the rest, which begins with the empty line."""
    end = _HEAD_END.search(mail)
    return (mail[: end.start()], mail[end.start() :]) if end else (mail, b"")


def fields_of(mail: bytes) -> dict[str, str]:
    """The headers that identify a mail, if it has them, and as `text` what its reader sees.

    That is the subject and the body, without attachments. If the body comes in several
    versions, the plain one is read, else the HTML one as text.
    """
    match = _FROM_LINE.match(mail)
    mail = mail[match.end() :] if match else mail
    try:
        if len(_MULTIPART.findall(mail)) * mail.count(b"\n") > _MOST_LOOKS:
            raise ValueError("as many lines in as many multiparts would take minutes")
        message = message_from_bytes(mail, _Mail)
        headers = {name: value for name in _FIELDS if (value := _header(message, name))}
        text = _body(message)
    # Python's email package has raised nearly everything on broken mails, RecursionError included.
    except Exception:
        headers, text = {}, _decoded(mail, None)
    parts = (headers.get("subject", ""), text.replace("\r\n", "\n").strip())
    return {**headers, TEXT: "\n".join(part for part in parts if part)}


# Python looks at each line once for each multipart that it stands in. So many take seconds.
_MULTIPART = re.compile(rb"multipart/", re.IGNORECASE)
_MOST_LOOKS = 20_000_000
# Python takes time that grows with the square of a header's parameters.
_LONGEST_STRUCTURAL_HEADER = 10_000


class _Mail(Message):
    def get(self, name: str, failobj: Any = None) -> Any:
        """A header that says how the mail is built, such as its type; a long one is cut."""
        value = super().get(name, failobj)
        return value if value is failobj else str(value)[:_LONGEST_STRUCTURAL_HEADER]


def _header(message: Message, name: str) -> str:
    """A header as people read it: encoded words and raw bytes decoded, on one line."""
    value = next((value for key, value in message.raw_items() if key.lower() == name), "")
    plain = " ".join(_decoded(str(value).encode("utf-8", "surrogateescape"), None).split())
    return " ".join(_without_encoded_words(plain).split()) if "=?" in plain else plain


_ENCODED_WORD = re.compile(r"=\?([^?\s]+)\?([bq])\?", re.IGNORECASE)


def _without_encoded_words(text: str) -> str:
    """The text with its encoded words (RFC 2047) decoded, in linear time unlike `decode_header`.

    Words that follow each other are one text, also where a character is cut between two of them.
    """
    seen: list[str] = []
    words: list[bytes] = []  # of one charset that follow each other
    charset = ""
    end = 0

    def join_words() -> None:
        seen.append(_decoded(b"".join(words), charset))
        words.clear()

    while begin := _ENCODED_WORD.search(text, end):
        close = text.find("?=", begin.end())
        if close < 0:
            break
        between = text[end : begin.start()]
        word = _decoded_word(begin[2], text[begin.end() : close])
        of_word = begin[1].partition("*")[0]  # RFC 2231 adds the language
        if word is None:
            join_words()
            seen.append(text[end : close + 2])
        else:
            if not words or between.strip():
                join_words()
                seen.append(between)
            elif of_word != charset:
                join_words()
            charset = of_word
            words.append(word)
        end = close + 2
    join_words()
    return "".join([*seen, text[end:]])


def _decoded_word(encoding: str, encoded: str) -> bytes | None:
    """The bytes of an encoded word; None if it is damaged."""
    data = encoded.encode("utf-8", "replace")
    if encoding in "qQ":
        return quopri.decodestring(data, header=True)
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4))
    except binascii.Error:
        return None


def _body(part: Message) -> str:
    """What is to be read of a part of a mail, in the order in which it is shown."""
    if part.get_content_disposition() == "attachment":
        return ""
    if part.is_multipart():
        children: list[Message] = part.get_payload()  # type: ignore[assignment]
        if part.get_content_type() == "multipart/alternative":
            plain = [child for child in children if child.get_content_type() == "text/plain"]
            versions = (_body(child) for child in [*plain, *children])
            return next((text for text in versions if text.strip()), "")
        texts = [_body(child) for child in children]
        if part.get_content_maintype() == "message":
            texts = [_header(child, "subject") for child in children] + texts
        return "\n".join(text for text in texts if text.strip())
    if part.get_content_maintype() in ("image", "audio", "video", "application", "font", "model"):
        return ""
    data = part.get_payload(decode=True)
    text = _decoded(data if isinstance(data, bytes) else b"", part.get_param("charset"))
    return text_of_html(text) if part.get_content_type() == "text/html" else text


# Python's codecs that no mail is written in; some take time that grows with the square of a text.
_NO_CHARSETS = re.compile(r"idna|punycode|.*unicode.escape|undefined|utf.?7", re.IGNORECASE)


def _decoded(data: bytes, charset: object) -> str:
    """Bytes as text: in the charset they are said to be in, else UTF-8, else Windows-1252."""
    if isinstance(charset, tuple):  # RFC 2231: charset, language, value
        charset = charset[2]
    if isinstance(charset, str) and charset and not _NO_CHARSETS.fullmatch(charset.strip()):
        try:
            return data.decode(charset.strip())
        except (LookupError, ValueError):
            pass
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def text_of_html(document: str) -> str:
    """The text of an HTML document as its reader sees it, with a line end where a block ends."""
    reader = _HtmlText()
    # html.parser takes hours for some documents of tags that never end; these it is not shown.
    document = _LONG_TAG.sub(" ", _UNENDED_TAG.sub("&lt;", _without_comments(document)))
    try:
        reader.feed(document)
        reader.close()
    except AssertionError:  # how html.parser tells some broken declarations
        return html.unescape(_TAG.sub(" ", document))
    lines = (" ".join(line.split()) for line in "".join(reader.pieces).split("\0"))
    return "\n".join(line for line in lines if line)


_TAG = re.compile(r"<[^<>]*>")
# Such as a picture that stands in its own address.
_LONG_TAG = re.compile(r"<[^<>]{4000,}>")
_UNENDED_TAG = re.compile(r"<(?=[^<>]*(?:<|\Z))")


def _without_comments(document: str) -> str:
    seen, *pieces = document.split("<!--")
    return seen + "".join(piece.partition("-->")[2] for piece in pieces)


class _HtmlText(HTMLParser):
    """Gathers the text; a block's begin and end is a zero byte."""

    _INLINE = re.compile(
        "a|abbr|acronym|b|bdi|bdo|big|cite|code|dfn|em|font|i|img|ins|kbd|mark|q|s|samp|small|span|"
        "strike|strong|sub|sup|tt|u|var|wbr"
    )
    _UNSEEN = ("script", "style", "title", "template")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._unseen: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._unseen is None and tag in self._UNSEEN:
            self._unseen = tag
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = None
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._unseen is None:
            self.pieces.append(data.replace("\0", ""))

    def _break(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.pieces.append(" ")
        elif not self._INLINE.fullmatch(tag):
            self.pieces.append("\0")
