"""The site: built without a warning, loading nothing from elsewhere, with a filter that works."""

import functools
import http.server
import json
import re
import subprocess
import threading
import time
import tomllib

import numpy as np
import pytest

from spamgpt import SpamClassifier
from spamgpt.bundled import MESSAGES_FILE
from spamgpt.data.tables import read_labelled_file
from website import demo
from website.build import ALSO, build

# How far the filter's probabilities may be from those of `spamgpt predict`: its weights are 8-bit.
TOLERANCE = 0.02


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The whole site, built as for its readers."""
    pytest.importorskip("zensical")
    try:
        demo.runtime()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"onnxruntime-web is not here yet, and npm cannot fetch it: {error}")
    folder = tmp_path_factory.mktemp("built") / "site"
    build(folder)
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(site):
    handler = functools.partial(Quiet, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def address(server) -> str:
    return f"http://127.0.0.1:{server.server_port}/"


def until(browser, condition: str) -> object:
    """What a script returns, once it is not false."""
    end = time.monotonic() + 60
    while not (found := browser.run(f"return {condition}")):
        assert time.monotonic() < end, browser.run("return document.body.innerText")
        time.sleep(0.02)
    return found


STATE = "document.getElementById('demo').dataset"


def ask(browser, text: str) -> float:
    """The probability of spam that the page shows for a text."""
    before = until(browser, f"{STATE}.answered")
    browser.run(
        "const field = document.getElementById('demo-text');"
        f"field.value = {json.dumps(text)}; field.dispatchEvent(new Event('input'));"
    )
    until(browser, f"{STATE}.answered !== {json.dumps(before)}")
    return browser.run("return document.getElementById('demo-bar').value")


def test_every_page_has_a_policy_that_lets_nothing_in_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        html = page.read_text(encoding="utf-8")
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
        assert policy.startswith(
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' 'sha256-"
        )
        assert "http" not in policy.replace("http-equiv", "")
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]*)"', html)
        loaded += re.findall(r'<link[^>]*rel="(?:stylesheet|preload)"[^>]*href="([^"]*)"', html)
        assert not [each for each in loaded if re.match(r"(https?:)?//", each)], page


def test_the_service_worker_keeps_all_there_is(site):
    kept = json.loads((site / "kept.js").read_text().removeprefix("self.KEPT = ").rstrip(";\n"))
    assert {"./", "tutorial/", "demo/classifier.onnx", "demo/ort-wasm-simd-threaded.wasm"} <= set(
        kept["files"]
    )
    for name in kept["files"]:
        file = site / name
        assert (file / "index.html" if file.is_dir() else file).is_file(), name


def test_the_filter_answers_as_predict_does(site, address, browser):
    page = browser.look(address)
    assert page.console == []
    assert all(each.startswith((address, "data:")) for each in page.requests)
    until(browser, f"{STATE}.explained")
    assert browser.run("return document.querySelector('#demo-marked mark').className") == "for"
    texts = list(read_labelled_file(MESSAGES_FILE)["text"][::130])
    texts += ["", "a\n\nb", " ".join(texts * 4), "ünï 你好 🎉"]
    classifier = SpamClassifier.bundled("cpu", "fp32")
    expected = classifier.predict_proba(texts)[:, 1]
    found = [ask(browser, text) for text in texts]
    assert np.abs(found - expected).max() < TOLERANCE
    assert np.ptp(expected) > 0.5
    assert browser.complaints() == []


def test_words_are_marked_as_predict_explains_them(address, browser):
    browser.look(address)
    until(browser, f"{STATE}.explained")
    text = "Your account is locked, verify it at http://secure.example now"
    ask(browser, text)
    until(browser, f"{STATE}.explained === {STATE}.answered")
    shown = browser.run(
        "return [...document.querySelectorAll('#demo-marked mark')]"
        ".map((mark) => [mark.textContent, Number(mark.title.split(': ')[1])])"
    )
    spans = SpamClassifier.bundled("cpu", "fp32").explain(text, "spam")
    ours = {text[span.start : span.end].strip(): abs(span.weight) for span in spans}
    assert shown
    assert browser.run("return document.getElementById('demo-marked').textContent") == text
    for word, weight in shown:
        assert weight == pytest.approx(ours[word], abs=0.15)


def test_what_a_message_holds_is_never_markup(address, browser):
    browser.look(address)
    text = "<img src=x onerror='document.title=1'> <b>free</b> prize <script>1</script>"
    ask(browser, text)
    until(browser, f"{STATE}.explained === {STATE}.answered")
    assert browser.run("return document.getElementById('demo-marked').textContent") == text
    assert browser.run("return document.querySelectorAll('#demo-marked :not(mark)').length") == 0
    assert browser.complaints() == []


def test_the_site_works_without_a_network_after_the_first_visit(server, address, browser):
    browser.look(address)
    until(browser, "navigator.serviceWorker.controller !== null")
    server.shutdown()
    server.server_close()
    browser.look(address)
    assert until(browser, f"{STATE}.answered")
    assert 0.9 < ask(browser, "WINNER! Claim your free prize now, call 09061701461") < 1
    assert "Tutorial" in browser.look(f"{address}tutorial/").title


def test_every_page_is_in_the_navigation():
    navigation = tomllib.loads((demo.CACHE.parents[1] / "zensical.toml").read_text())["project"]
    named = set(re.findall(r"[\w/-]+\.md", str(navigation["nav"])))
    docs = demo.CACHE.parents[1] / "docs"
    assert named == {
        *(page.relative_to(docs).as_posix() for page in docs.rglob("*.md")),
        *ALSO.values(),
    }


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
@pytest.mark.parametrize("name", ["", "tutorial/", "reference/commands/"])
def test_pages_fit_a_desk_and_a_phone(address, browser, name, width, scheme):
    page = browser.look(address + name, width, scheme)
    assert page.scroll_width <= width
    assert page.console == []
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper)[:3])) > 400
    assert light == (scheme == "light")
