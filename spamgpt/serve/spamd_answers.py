"""What spamd's commands are answered with: a score, words as symbols, headers, a report."""

from collections.abc import Mapping
from dataclasses import dataclass

from spamgpt.classifier.predictor import Prediction
from spamgpt.data.mail import split_head, with_header
from spamgpt.data.rows import TEXT
from spamgpt.serve.classify import aside, mail_fields
from spamgpt.serve.limits import Refused, unusable
from spamgpt.serve.service import Service, Serving
from spamgpt.serve.verdicts import REQUIRED, in_words, is_spam, score, strongest_words
from spamgpt.version import __version__

# Commands that name words. CHECK does not, and so needs no explanation.
_NAMING = ("SYMBOLS", "REPORT", "REPORT_IFSPAM", "PROCESS", "HEADERS")
COMMANDS = ("CHECK", *_NAMING, "TELL")
# Commands that are answered with the mail.
_GIVING_MAIL = ("PROCESS", "HEADERS")
# From this version of the protocol on a client takes any headers in an answer; earlier ones, which
# Exim speaks, take the one that their command is about.
_MANY_HEADERS = (1, 3)
_STARS = 50


@dataclass(frozen=True)
class SpamdRequest:
    """A command, the protocol's version, its headers by their names in lower case, and the mail."""

    command: str
    version: tuple[int, int]
    headers: Mapping[str, str]
    mail: bytes


async def answer(request: SpamdRequest, service: Service) -> bytes:
    """The response to any command but PING and SKIP. Raises Refused."""
    if request.command == "TELL":
        return await _tell(request, service)
    serving = service.serving
    explain = service.explain_mails and request.command in _NAMING
    text = (await mail_fields(request.mail))[TEXT]
    (prediction,) = await service.classify([text], explain, serving)
    spam = is_spam(prediction, serving.predictor)
    points = score(prediction, serving.predictor)
    body = b""
    match request.command:
        case "SYMBOLS":
            body = ",".join(_words(prediction)).encode()
        case "PROCESS":
            body = await aside(_marked, request.mail, prediction, serving)
        case "HEADERS":
            body = _head_of(await aside(_marked, request.mail, prediction, serving))
        case "REPORT":
            body = _report(prediction, serving)
        case "REPORT_IFSPAM" if spam:
            body = _report(prediction, serving)
    length = f"Content-length: {len(body)}"
    verdict = f"Spam: {spam} ; {points:.1f} / {REQUIRED:.1f}"
    if request.version >= _MANY_HEADERS:
        return _response(length, verdict, body=body)
    return _response(length if request.command in _GIVING_MAIL else verdict, body=body)


def _response(*headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["SPAMD/1.1 0 EX_OK", *headers, "", ""]).encode() + body


def _words(prediction: Prediction) -> list[str]:
    return [word for word, _ in strongest_words(prediction)]


def _report(prediction: Prediction, serving: Serving) -> bytes:
    """What a person may read, such as Exim's $spam_report; without empty lines it fits a header."""
    points = score(prediction, serving.predictor)
    lines = [
        f"spamgpt {__version__}, {serving.name}: {in_words(prediction, serving.predictor)}",
        f"Content analysis details: ({points:.1f} points, {REQUIRED:.1f} required)",
        " pts word",
        "---- ----",
        # The weight of a word is of the answer that was given; points are of spam.
        *(
            f"{weight if is_spam(prediction, serving.predictor) else -weight:4.1f} {word}"
            for word, weight in strongest_words(prediction)
        ),
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")


def _marked(mail: bytes, prediction: Prediction, serving: Serving) -> bytes:
    """The mail with SpamAssassin's headers; those of that name that it came with are left out."""
    spam = is_spam(prediction, serving.predictor)
    points = score(prediction, serving.predictor)
    words = ",".join(_words(prediction)) or "none"
    probability = prediction.probabilities[serving.predictor.positive_label]
    headers = {
        "X-Spam-Checker-Version": f"spamgpt {__version__} ({serving.name})",
        "X-Spam-Level": "*" * max(0, min(int(points), _STARS)),
        "X-Spam-Status": f"{'Yes' if spam else 'No'}, score={points:.1f} "
        f"required={REQUIRED:.1f} tests={words} probability={probability:.4f}",
        "X-Spam-Flag": "YES" if spam else "NO",
    }
    for name, value in reversed(headers.items()):
        mail = with_header(mail, name, value)
    return mail


def _head_of(mail: bytes) -> bytes:
    """The headers of a mail and the empty line behind them."""
    head, rest = split_head(mail)
    empty_line, newline, _ = rest.partition(b"\n")
    return head + empty_line + newline


async def _tell(request: SpamdRequest, service: Service) -> bytes:
    """Learns or forgets a mail. Databases of others (`remote`) are none of this server's."""
    to_set, to_remove = (
        "local" in request.headers.get(each, "").lower() for each in ("set", "remove")
    )
    if to_set == to_remove:
        raise unusable("TELL wants `Set: local` or `Remove: local`.")
    label = _label_of(request.headers, service) if to_set else None
    await service.teach((await mail_fields(request.mail))[TEXT], label)
    return _response("Content-length: 0", f"{'DidSet' if to_set else 'DidRemove'}: local")


def _label_of(headers: Mapping[str, str], service: Service) -> str:
    """The label that a class of spamd stands for: the positive one or the other."""
    predictor = service.serving.predictor
    kind = headers.get("message-class", "").lower()
    if kind not in ("spam", "ham"):
        raise unusable("TELL wants `Message-class: spam` or `Message-class: ham`.")
    if kind == "spam":
        return predictor.positive_label
    others = [each for each in predictor.classifier.labels if each != predictor.positive_label]
    if len(others) > 1:
        raise Refused(501, "not_available", "There are more than two labels: which is ham?")
    return others[0]
