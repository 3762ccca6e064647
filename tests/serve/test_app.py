import gzip
import http.client
import json
import re
import socket
import threading
import time
import zlib
from collections.abc import Sequence
from copy import copy
from urllib.parse import urlencode

import pytest
import requests

from spamgpt.classifier.predictor import Prediction, Predictor
from spamgpt.serve.access import Access
from spamgpt.serve.service import Serving
from tests.serve.conftest import HAM, SPAM

MAIL = f"Subject: {SPAM}\nFrom: Zoe <zoe@mail.example>\n\ncall now\n"
LINES = "application/x-ndjson"

# The same in each process that collects the tests.
PACKED = gzip.compress(b"abc", mtime=0)


def test_texts_are_answered_as_predict_answers_them(server, serving):
    response = server.post("/v1/classify", json.dumps({"texts": [SPAM, HAM, "", "\ud800"]}))
    assert response.status_code == 200
    assert response.headers["spamgpt-classifier"] == "classifiers/v1"
    answers = response.json()["answers"]
    assert [answer["label"] for answer in answers[:2]] == ["spam", "ham"]
    assert [answer["text"] for answer in answers] == [SPAM, HAM, "", "\ud800"]
    expected = Predictor(serving.predictor.classifier).predict([SPAM])[0]
    assert answers[0].keys() == {"label", "probability", "probabilities", "text"}
    assert answers[0]["probability"] == pytest.approx(expected.probability, abs=1e-4)


def test_an_explanation_covers_the_text(server):
    answer = server.post("/v1/classify", json.dumps({"texts": [SPAM], "explain": True})).json()[
        "answers"
    ][0]
    assert "".join(span["text"] for span in answer["explanation"]) == SPAM
    of_plain = server.post("/v1/classify?explain=true", SPAM, "text/plain").json()
    assert of_plain["explanation"] == answer["explanation"]


def test_a_text_is_one_message(server):
    answer = server.post("/v1/classify", f"\ufeff{SPAM}\nsecond line\n", "text/plain").json()
    assert (answer["label"], answer["text"]) == ("spam", f"{SPAM}\nsecond line")
    odd = server.post("/v1/classify", b"caf\xe9", "text/plain; format=flowed; charset=utf-8").json()
    assert odd["text"] == "caf\ufffd"


def test_a_mail_is_read_as_predict_reads_it(server):
    answer = server.post("/v1/classify", MAIL, "message/rfc822").json()
    assert answer["text"] == f"{SPAM}\ncall now"
    assert (answer["from"], answer["subject"]) == ("Zoe <zoe@mail.example>", SPAM)
    large = MAIL + "x" * 40_000
    assert server.post("/v1/classify", large, "message/rfc822").json()["label"] in ("spam", "ham")


def test_lines_are_answered_in_order_with_their_other_fields(server):
    rows = [{"text": SPAM if n % 3 else HAM, "id": n, "label": "x"} for n in range(500)]
    body = "".join(json.dumps(row) + "\n\n" for row in rows)
    response = server.post("/v1/classify", body.rstrip("\n"), LINES)
    assert response.headers["content-type"] == LINES
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer["id"] for answer in answers] == list(range(500))
    assert [answer["label"] for answer in answers] == [
        "spam" if n % 3 else "ham" for n in range(500)
    ]
    assert answers[0]["input_label"] == "x"


def test_a_line_that_cannot_be_used_is_told_and_the_others_are_answered(server):
    body = b'{"text": "see you"}\n{"text": 5}\nnot json\n["a"]\n\xff\n{"text": "later"}\n'
    answers = [
        json.loads(line) for line in server.post("/v1/classify", body, LINES).text.split("\n")[:-1]
    ]
    assert [answer.get("line") for answer in answers] == [None, 2, 3, 4, 5, None]
    assert [answer["text"] for answer in (answers[0], answers[-1])] == ["see you", "later"]
    assert "not json" not in json.dumps(answers)


def test_a_stream_is_answered_before_it_ends(server):
    client = http.client.HTTPConnection("127.0.0.1", server.http, timeout=20)
    client.putrequest("POST", "/v1/classify")
    client.putheader("content-type", LINES)
    client.putheader("transfer-encoding", "chunked")
    client.endheaders()
    response = None
    for text in (SPAM, HAM, SPAM):
        line = json.dumps({"text": text}).encode() + b"\n"
        client.send(b"%x\r\n%s\r\n" % (len(line), line))
        response = response or client.getresponse()
        assert json.loads(response.readline())["text"] == text
    client.send(b"0\r\n\r\n")
    assert response.read() == b""
    client.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_is_read(server, encoding):
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    body = pack(json.dumps({"texts": [SPAM]}).encode())
    answer = server.post("/v1/classify", body, content_encoding=encoding)
    assert answer.json()["answers"][0]["label"] == "spam"
    lines = pack(b"".join(json.dumps({"text": f"{HAM} {n}"}).encode() + b"\n" for n in range(2000)))
    assert (
        server.post("/v1/classify", lines, LINES, content_encoding=encoding).text.count("\n")
        == 2000
    )


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status", "said"),
    [
        ("{", "application/json", {}, 400, "not JSON"),
        (b"\xff\xfe", "application/json", {}, 400, "not JSON"),
        ("[" * 100_000, "application/json", {}, 400, "not JSON"),
        ("[]", "application/json", {}, 422, "not a JSON object"),
        ("{}", "application/json", {}, 422, "`texts`"),
        ('{"text": "secret words"}', "application/json", {}, 422, "`texts` is missing"),
        ('{"texts": "secret words"}', "application/json", {}, 422, "`texts`"),
        ('{"texts": ["a", 5]}', "application/json", {}, 422, "`texts`"),
        ('{"texts": [], "explain": "secret words"}', "application/json", {}, 422, "`explain`"),
        (json.dumps({"texts": ["a"] * 1001}), "application/json", {}, 413, "1,001 messages"),
        (json.dumps({"texts": ["a" * 200_001]}), "application/json", {}, 413, "200,001 characters"),
        ("a", "text/html", {}, 415, "content type"),
        ("a", "", {}, 415, "content type"),
        ("a", "text/plain; charset=utf-16", {}, 415, "UTF-8"),
        ("a", "text/plain; format=flowed; charset=latin-1", {}, 415, "UTF-8"),
        ("a", "text/plain", {"content_encoding": "br"}, 415, "gzip"),
        ("secret words", "text/plain", {"content_encoding": "gzip"}, 400, "damaged"),
        (PACKED[:-4], "text/plain", {"content_encoding": "gzip"}, 400, "ends"),
        (PACKED + b"x", "text/plain", {"content_encoding": "gzip"}, 400, "behind"),
        (
            gzip.compress(bytes(50_000_000), mtime=0),
            "text/plain",
            {"content_encoding": "gzip"},
            413,
            "8,388,608 bytes",
        ),
        (bytes(9_000_000), "text/plain", {}, 413, "8,388,608 bytes"),
    ],
)  # fmt: skip
def test_a_refusal_is_json_that_says_why(server, body, kind, headers, status, said):
    response = server.post("/v1/classify", body, kind, **headers)
    assert response.status_code == status
    assert said in response.json()["error"]["message"]
    assert "secret" not in response.text


def test_what_is_not_there_is_told_as_json(server):
    assert server.get("/nothing").status_code == 404
    assert "/docs" in server.get("/nothing").json()["error"]["message"]
    assert server.get("/v1/classify").status_code == 405
    assert server.get("/v1/classify").json()["error"]["type"]


def answers_to_file(server, name: str, content: bytes, **parameters: str) -> list[dict]:
    query = urlencode({"name": name, **parameters})
    response = server.post(f"/v1/classify/file?{query}", content, "application/octet-stream")
    assert response.status_code == 200
    assert response.headers["spamgpt-classifier"] == "classifiers/v1"
    return [json.loads(line) for line in response.text.splitlines()]


def test_a_file_is_read_as_predict_reads_one_of_its_name(server):
    table = f'id,body\n1,"{SPAM}, ""now"""\n2,{HAM}\n'.encode()
    first, second = answers_to_file(server, "C:\\mails\\A.CSV", table, column="body")
    assert (first["label"], first["text"], first["id"]) == ("spam", f'{SPAM}, "now"', "1")
    assert second["label"] == "ham"
    begin = b"From zoe@mail.example Mon Jan  1 12:00:00 2024\n"
    mbox = begin + MAIL.encode() + b"\n" + begin + b"Subject: later\n\nok\n"
    assert [each["subject"] for each in answers_to_file(server, "a.txt", mbox)] == [SPAM, "later"]
    assert [each["subject"] for each in answers_to_file(server, "a.eml", MAIL.encode())] == [SPAM]
    assert answers_to_file(server, "a.txt", b"") == []


def test_rows_of_a_file_that_cannot_be_read_are_told_and_the_others_answered(server):
    lines = b'{"text": "see you", "n": NaN}\n{"text": 5\nnot json\n{"text": "later"}\n'
    answers = answers_to_file(server, "a.jsonl", lines)
    assert [each.get("line") for each in answers] == [None, 2, 3, None]
    assert answers[0]["n"] is None
    assert "not json" not in json.dumps(answers)
    first, second = answers_to_file(server, "a.csv", b"text,my secret\none\nsee you,y\n")
    assert first["error"]["message"] == "a.csv, line 2: has 1 fields, not 2."
    assert second["text"] == "see you"
    (long,) = answers_to_file(server, "a.txt", b"x" * 200_001)
    assert long["error"]["type"] == "too_large"


@pytest.mark.parametrize(
    ("name", "content", "column", "reason"),
    [
        ("a.csv", b"id,body\n1,secret\n2,secret\n", "text", "No column is named 'text'."),
        ("a.csv", b"my secret\n1\n", "text", "No column is named 'text'."),
        ("a.tsv", b"1\tsecret\n2\tsecret\n", "body", "No column is named 'body'."),
        ("a.csv", b"secret,secret\n1,2\n", "secret", "a.csv, line 1: names a column twice."),
    ],
)
def test_a_table_without_the_column_is_refused_as_a_whole(server, name, content, column, reason):
    query = urlencode({"name": name, "column": column})
    response = server.post(f"/v1/classify/file?{query}", content, "application/octet-stream")
    assert response.status_code == 422
    assert response.json()["error"]["message"].startswith(reason)
    assert "my secret" not in response.text


@pytest.mark.parametrize("name", ["", "a", "a.exe", "a.csv.gz", "a.parquet", ".."])
def test_a_file_of_another_kind_is_refused(server, name):
    response = server.post(f"/v1/classify/file?{urlencode({'name': name})}", "x")
    assert response.status_code == 415
    assert ".mbox" in response.json()["error"]["message"]


def test_a_file_of_many_messages_is_answered_while_others_ask(server):
    lines = b"".join(b"see you at %d\n" % n for n in range(5_000))
    found: list[list[dict]] = []
    asking = threading.Thread(target=lambda: found.append(answers_to_file(server, "a.txt", lines)))
    asking.start()
    assert server.post("/v1/classify", SPAM, "text/plain").status_code == 200
    asking.join()
    assert [each["text"] for each in found[0]] == [f"see you at {n}" for n in range(5_000)]


def test_a_file_is_answered_by_one_classifier_also_if_a_newer_one_comes(start, serving):
    server = start()

    class Newer:
        labels, threshold = ("no", "yes"), 0.5

        def predict(self, texts: Sequence[str]) -> None:
            raise AssertionError("the file was begun by another")

    predictor = copy(serving.predictor)
    real = predictor.predict

    def predict(texts: Sequence[str]) -> list[Prediction]:
        server.service.serving = Serving("classifiers/v2", Newer())
        return real(texts)

    predictor.predict = predict
    server.service.use(Serving("classifiers/v1", predictor))
    lines = b"".join(b"see you at %d\n" % n for n in range(300))
    assert {each["label"] for each in answers_to_file(server, "a.txt", lines)} == {"ham"}


def test_the_classifier_is_described(server):
    found = server.get("/v1/classifier").json()
    assert found["classifier"] == "classifiers/v1"
    assert found["labels"] == ["ham", "spam"]
    assert found["positive_label"] == "spam"
    assert 0 <= found["threshold"] <= 1
    assert found["card"].startswith("---\n")


def test_corrections_are_passed_on_and_checked(start):
    server = start()
    for label in ("spam", None):
        response = server.post("/v1/feedback", json.dumps({"text": HAM, "label": label}))
        assert (response.status_code, response.json()) == (200, {"label": label})
    assert server.taught == [(HAM, "spam"), (HAM, None)]
    for wrong in ({"text": HAM, "label": "eggs"}, {"text": HAM}, {"label": "ham"}, {"text": 1}):
        assert server.post("/v1/feedback", json.dumps(wrong)).status_code == 422
    # Such a request a page of another site could send.
    assert server.post("/v1/feedback", "{}", "text/plain").status_code == 415
    assert len(server.taught) == 2


def test_a_correction_that_the_disk_does_not_take_in_time_is_refused(start):
    server = start(teach=lambda text, label: time.sleep(0.5), timeout=0.1)
    response = server.post("/v1/feedback", json.dumps({"text": HAM, "label": "ham"}))
    assert response.status_code == 503
    assert "took longer than 0.1 seconds" in response.json()["error"]["message"]


def test_without_a_place_for_corrections_they_are_refused(start):
    response = start(can_learn=False).post(
        "/v1/feedback", json.dumps({"text": HAM, "label": "spam"})
    )
    assert response.status_code == 501
    assert "does not take corrections" in response.json()["error"]["message"]


def test_metrics_count_and_name_no_message(server):
    server.post("/v1/classify", json.dumps({"texts": ["zebra crossing"]}))
    server.get("/some/zebra")
    text = server.get("/metrics").text
    assert re.search(r'spamgpt_answers_total\{label="ham"\} [1-9]', text)
    assert 'endpoint="/v1/classify",protocol="http",status="200"' in text
    assert 'endpoint="other",protocol="http",status="404"' in text
    assert 'spamgpt_classifier{name="classifiers/v1"} 1.0' in text
    assert "zebra" not in text
    assert "_created" not in text


def test_the_documentation_names_every_endpoint_and_loads_nothing(server):
    page = server.get("/docs")
    schema = server.get("/openapi.json").json()
    assert {"/v1/classify", "/v1/feedback", "/v1/chat/completions"} <= schema["paths"].keys()
    for path in schema["paths"]:
        assert path in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"https?:|src=|<script|<style|@import|url\(", page.text)
    assert "<code>?explain=true</code> adds" in page.text
    assert re.findall('stylesheet" href="([^"]*)"', page.text) == ["style.css", "page.css"]


TOKEN = "correct-horse-battery"


def test_with_a_token_only_who_brings_it_is_answered(start):
    server = start(Access(TOKEN))
    for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        response = server.get("/v1/classifier", **given)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert server.get("/metrics", **given).status_code == 401
        assert server.get("/healthz", **given).status_code == 200
        assert server.get("/readyz", **given).status_code == 200
    assert server.get("/v1/classifier", authorization=f"Bearer {TOKEN}").status_code == 200


def test_pages_of_other_sites_are_refused(start):
    server = start(Access(local=True))
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},  # whose name points to this machine
        {"host": "evil.example", "origin": "http://evil.example"},
        {"host": "["},
    ):
        assert server.get("/v1/classifier", **headers).status_code == 403
    own = f"127.0.0.1:{server.http}"
    assert server.get("/v1/classifier", origin=f"http://{own}").status_code == 200
    assert server.get("/v1/classifier", host="localhost").status_code == 200
    assert server.get("/v1/classifier", host="[::1]:80").status_code == 200


def test_an_error_of_the_program_is_a_500_without_the_text(start, monkeypatch, caplog):
    server = start()

    def broken(texts):
        raise ValueError(f"cannot read {texts}")

    class Broken:
        classifier = server.service.serving.predictor.classifier
        predict = staticmethod(broken)

    monkeypatch.setattr(
        server.service, "serving", type("S", (), {"name": "x", "predictor": Broken})
    )
    response = server.post("/v1/classify", json.dumps({"texts": ["secret words"]}))
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "unexpected"
    assert "secret" not in response.text + caplog.text
    assert "ValueError" in caplog.text


def test_many_clients_at_once_each_get_their_own_answer(server):
    wrong = []

    def ask(number):
        text = f"{SPAM if number % 2 else HAM} {number}"
        with requests.Session() as session:
            for _ in range(5):
                answer = session.post(
                    server.url + "/v1/classify", json={"texts": [text]}, timeout=30
                ).json()["answers"][0]
                if answer["text"] != text or answer["label"] != ("spam" if number % 2 else "ham"):
                    wrong.append(answer)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_client_that_has_closed_its_side_is_answered(server):
    body = json.dumps({"texts": [SPAM]}).encode()
    head = b"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    answer = server.raw(head + b"content-length: %d\r\n\r\n" % len(body) + body, close=True)
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["answers"][0]["label"] == "spam"
    cut = server.raw(head + b"content-length: 100\r\n\r\n" + body, close=True)
    assert cut == b""  # nobody knows what it would have asked


def test_pipelined_requests_are_answered_in_order(server):
    request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer = server.raw(request * 3 + last)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200", b"200", b"404"]


def test_the_order_of_headers_and_a_socket_left_open_do_not_matter(server):
    with socket.create_connection(("127.0.0.1", server.http)):
        assert server.get("/healthz").status_code == 200
