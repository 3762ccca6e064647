"""The page at `/` as Chromium shows it."""

import csv
import io
import json
import re
import time
from pathlib import Path

import pytest

from spamgpt.classifier.model import SpamClassifier
from spamgpt.classifier.predictor import Predictor
from spamgpt.data.corrections import Correction, Corrections
from spamgpt.serve.access import Access
from spamgpt.serve.service import Serving
from spamgpt.stages import fetch, finetune, prepare
from spamgpt.workspace import Workspace
from tests.serve.conftest import HAM, SPAM

MARKUP = (
    "<script>document.title = 'owned'</script><img src=x onerror=alert(1)><b>bold</b> \u202egnp"
)
REQUESTS = Path(__file__).parents[2] / "docs" / "how-to" / "requests.csv"
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Corrections:
    return Corrections(Workspace(tmp_path_factory.mktemp("workspace")))


@pytest.fixture(scope="module")
def server(start, taught):
    return start(teach=lambda text, label: taught.change([(text, label)]))


class Visitor:
    """What a person does on the page and sees there."""

    def __init__(self, browser, url: str) -> None:
        self.browser = browser
        self.page = browser.look(f"{url}/")

    def run(self, script: str, *values: object):
        """What a script returns; `$0` and so on stand for values."""
        for place, value in enumerate(values):
            script = script.replace(f"${place}", json.dumps(value))
        return self.browser.run(script)

    def wait_for(self, script: str, *values: object):
        deadline = time.monotonic() + 60
        while not (found := self.run(f"return {script}", *values)):
            assert time.monotonic() < deadline, self.text("body")
            time.sleep(0.05)
        return found

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector($0).innerText", selector)

    def texts(self, selector: str) -> list[str]:
        return self.run(
            "return [...document.querySelectorAll($0)].map(each => each.textContent)", selector
        )

    def click(self, selector: str) -> None:
        self.run("document.querySelector($0).click()", selector)

    def set(self, selector: str, value: object, event: str) -> None:
        self.run(
            "const each = document.querySelector($0); each.value = $1;"
            "each.dispatchEvent(new Event($2))",
            selector,
            value,
            event,
        )

    def paste(self, text: str, whole: bool = False) -> None:
        """Pastes messages, and waits for their answers."""
        self.click(f"[value={'whole' if whole else 'lines'}]")
        self.set("#paste", text, "input")
        self.click("#ask [type=submit]")
        self.wait_for(
            "document.getElementById('stop').hidden && document.querySelector('#messages li')"
        )

    def drop(self, name: str, content: str) -> None:
        """Drops a file on the page."""
        self.run(
            "const all = new DataTransfer(); all.items.add(new File([$1], $0));"
            "document.dispatchEvent(new DragEvent('drop', {dataTransfer: all}))",
            name,
            content,
        )
        self.wait_for("document.getElementById('stop').hidden")


@pytest.fixture
def visit(browser, server):
    visitors = []

    def visit(url: str = server.url) -> Visitor:
        visitors.append(Visitor(browser, url))
        return visitors[-1]

    yield visit
    # What was complained of meanwhile, and what was loaded from elsewhere.
    complaints = browser.complaints() + visitors[-1].page.console
    # Chromium logs what the server refuses, whatever the page makes of it.
    refused = re.compile(r"the server responded with a status of (401|422|501) ")
    assert [said for said in complaints if not refused.search(said)] == []
    assert all(url.startswith(("http://127.0.0.1:", "data:")) for url in visitors[-1].page.requests)


def test_what_is_pasted_is_answered_and_explained(visit):
    visitor = visit()
    visitor.paste(f"{SPAM}\n\n{HAM}\n")
    assert visitor.texts("#messages b") == ["spam", "ham"]
    assert visitor.text("#status") == "2 messages: 1 ham, 1 spam."
    assert visitor.wait_for("document.querySelectorAll('#messages mark').length")
    assert visitor.texts("blockquote") == [SPAM, HAM]
    visitor.paste(f"{SPAM}\n\n{HAM}\n", whole=True)
    assert visitor.texts("blockquote")[2:] == [f"{SPAM}\n\n{HAM}\n"]


def test_markup_is_shown_and_does_nothing(visit):
    visitor = visit()
    visitor.paste(MARKUP)
    visitor.wait_for("!document.querySelector('.acts button:disabled')")
    assert visitor.texts("blockquote") == [MARKUP.replace("\u202e", r"\u202e")]
    visitor.drop(
        "<img src=x onerror=alert(1)>.csv",
        'text,parts,<b>\n"<a href=//evil.example><style>*{display:none}</style>",x,y\n',
    )
    visitor.drop("<i>.csv", "<s>\nhello\n")
    assert "<i>.csv: No column is named 'text'." in visitor.text("#problem")
    assert visitor.page.title == visitor.run("return document.title") == "Is it spam? spamgpt"
    assert (
        visitor.run("return document.querySelectorAll('li img, li a, li style, i *, s').length")
        == 0
    )


def test_a_very_long_message_is_shortened(visit):
    visitor = visit()
    visitor.paste("long " * 20_000)
    assert len(visitor.texts("blockquote")[0]) < 600
    assert visitor.text(".acts button") == "Show all 100,000 characters"
    visitor.click(".acts button")
    assert visitor.texts("blockquote") == ["long " * 20_000]
    visitor.click(".acts button")
    assert len(visitor.texts("blockquote")[0]) < 600


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", f"{SPAM}\n{HAM}\n"),
        ("a.csv", f'id,text\n1,"{SPAM}"\n2,{HAM}\n'),
        ("a.jsonl", f'{{"text": "{SPAM}", "parts": 1}}\n{{"text": "{HAM}"}}\n'),
        ("a.mbox", f"From a\nSubject: x\n\n{SPAM}\n\nFrom b\nSubject: y\n\n{HAM}\n"),
    ],
)
def test_files_are_read_as_predict_reads_them(visit, name, content):
    visitor = visit()
    visitor.drop(name, content)
    assert visitor.texts("#messages b") == ["spam", "ham"]


def test_the_threshold_shows_what_would_change(visit):
    visitor = visit()
    visitor.paste(f"{SPAM}\n{HAM}\n")
    visitor.set("#threshold", 0, "input")
    visitor.wait_for("document.getElementById('effect').textContent.startsWith('1 answer')")
    assert visitor.text("#effect") == "1 answer would change: 1 to spam."
    assert visitor.text("#status") == "2 messages: 2 spam."
    assert visitor.texts("#messages small") == ["", "was ham"]
    visitor.set("#filter", "changed", "change")
    assert visitor.texts("blockquote") == [HAM]
    visitor.click("#reset")
    visitor.set("#filter", "label spam", "change")
    assert visitor.texts("blockquote") == [SPAM]
    visitor.set("#filter", "all", "change")
    visitor.set("#sort", "low", "change")
    assert visitor.texts("blockquote") == [HAM, SPAM]


def test_what_is_downloaded_is_no_formula(visit):
    visitor = visit()
    visitor.paste(f'=HYPERLINK("http://evil.example")\n{SPAM}, "now"\n')
    visitor.run(
        "window.saved = null; HTMLAnchorElement.prototype.click = function () {"
        "fetch; window.name = this.download; };"
        "const make = URL.createObjectURL; URL.createObjectURL = (blob) => {"
        "blob.text().then((text) => { window.saved = text; }); return make.call(URL, blob); };"
    )
    visitor.click("#download")
    # `text()` leaves the byte order mark out.
    rows = list(csv.DictReader(io.StringIO(visitor.wait_for("window.saved").lstrip("\ufeff"))))
    assert [row["text"] for row in rows] == [
        '\'=HYPERLINK("http://evil.example")',
        f'{SPAM}, "now"',
    ]
    assert rows[1]["label"] == "spam"
    assert visitor.run("return window.name") == "spamgpt.csv"


def test_a_button_teaches_and_takes_back(visit, taught):
    visitor = visit()
    visitor.paste(HAM)
    visitor.click(".teach [value=spam]")
    visitor.wait_for("document.querySelector('.teach [aria-pressed=true]')?.value === 'spam'")
    assert list(taught) == [Correction(HAM, "spam")]
    visitor.set("#filter", "taught", "change")
    assert visitor.texts("blockquote") == [HAM]
    visitor.click(".teach [value=spam]")
    visitor.wait_for("!document.querySelector('.teach [aria-pressed=true]')")
    assert list(taught) == []


def test_where_nothing_is_learnt_there_is_no_button(start, visit):
    visitor = visit(start(can_learn=False).url)
    visitor.paste(HAM)
    assert visitor.texts(".teach") == []


@pytest.fixture
def five_labels(tmp_path, make_model) -> Serving:
    """A classifier that tells requests to a shop apart, hardly trained."""
    workspace = Workspace(tmp_path / "workspace")
    fetch.run(fetch.FetchSettings(str(REQUESTS), str(make_model())), workspace)
    prepare.run(prepare.PrepareSettings(), workspace)
    finetune.run(finetune.FinetuneSettings(epochs=1, device="cpu"), workspace)
    classifier = SpamClassifier.from_pretrained(workspace.root, device="cpu")
    return Serving("classifiers/v1", Predictor(classifier))


def test_more_than_two_labels_have_no_threshold_and_a_list_to_teach_with(start, visit, five_labels):
    labels = five_labels.predictor.labels
    server = start(answering=five_labels)
    visitor = visit(server.url)
    visitor.paste("where is my parcel\nthe bill is wrong")
    assert visitor.text("h1") == "Which label fits?"
    assert visitor.run("return document.title") == "Which label fits? spamgpt"
    assert all(label in labels for label in visitor.texts("#messages b"))
    assert visitor.text("#status").startswith("2 messages: ")
    # The probability is that of the answer, the highest of five.
    assert all(1 / 5 < float(n.strip("< %")) / 100 < 1 for n in visitor.texts(".number"))
    assert visitor.run("return document.getElementById('threshold-box').hidden")
    assert visitor.texts("#filter option") == ["all", *labels, "corrected"]
    assert visitor.texts("#sort option:enabled") == ["as they came", "least sure first"]
    visitor.set("#sort", "unsure", "change")
    first, second = map(float, (n.strip("< %") for n in visitor.texts(".number")))
    assert first <= second
    assert visitor.wait_for("document.querySelectorAll('#messages mark').length")
    assert visitor.texts(".teach button") == []
    assert visitor.texts("li:first-child option") == ["\u2026", *labels]
    text = visitor.texts("blockquote")[0]
    for label in (labels[3], ""):
        visitor.set(".teach select", label, "change")
        visitor.wait_for("!document.querySelector('.teach select').disabled")
        assert server.taught[-1] == (text, label or None)
    assert visitor.texts("li:first-child [role=status]") == ["forgotten"]
    # What was not kept is not shown as if it were.
    server.service._teach = None
    visitor.set(".teach select", labels[1], "change")
    visitor.wait_for("document.querySelector('.teach [role=status]').textContent === 'not kept'")
    assert visitor.run("return document.querySelector('.teach select').value") == ""
    assert "does not take corrections" in visitor.text("#problem")


def test_two_thousand_messages_stay_smooth(visit):
    visitor = visit()
    visitor.paste("\n".join(f"{SPAM if n % 3 else HAM} {n}" for n in range(2_000)))
    assert visitor.text("#status") == "2,000 messages: 667 ham, 1,333 spam."
    assert visitor.run("return document.querySelectorAll('#messages li').length") == 2_000
    # The longest that one step of the slider, a filter or a scroll keeps the page from answering.
    slowest = visitor.run(
        "const longest = []; const time = (act) => { const began = performance.now(); act();"
        "document.body.offsetHeight; longest.push(performance.now() - began); };"
        "const set = (id, value, event) => { const each = document.getElementById(id);"
        "each.value = value; each.dispatchEvent(new Event(event)); };"
        "time(() => set('threshold', 0.1, 'input'));"
        "time(() => set('sort', 'unsure', 'change'));"
        "time(() => set('filter', 'label ham', 'change'));"
        "time(() => set('filter', 'all', 'change'));"
        "for (let at = 0; at < 20; at += 1) time(() => scrollTo(0, at * 5000));"
        "return Math.max(...longest);"
    )
    print(f"slowest step: {slowest:.0f} ms")
    assert slowest < 1_000


def test_a_token_is_asked_for_and_kept_for_the_tab(start, visit):
    visitor = visit(start(Access(TOKEN)).url)
    visitor.wait_for("!document.getElementById('token-form').hidden")
    for token in ("wrong", TOKEN):
        visitor.set("#token", token, "input")
        visitor.click("#token-form button")
        visitor.wait_for("document.getElementById('token').value === ''")
        if token == "wrong":
            visitor.wait_for("document.getElementById('problem').textContent")
    visitor.wait_for("document.getElementById('classifier').textContent")
    visitor.paste(SPAM)
    assert visitor.texts("#messages b") == ["spam"]
    assert visitor.run("return document.getElementById('problem').hidden")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_everything_has_a_name(visit, server, width, scheme):
    visitor = visit()
    visitor.browser.look(f"{server.url}/", width, scheme)
    visitor.paste(f"{MARKUP}\n{'W' * 3000}\n")
    assert visitor.run("return document.documentElement.scrollWidth") <= width
    nameless = visitor.run(
        "return [...document.querySelectorAll('input, select, textarea, button')].filter(each =>"
        "!(each.ariaLabel || each.labels?.length || each.textContent.trim()))"
        ".map(each => each.outerHTML)"
    )
    assert nameless == []


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere(server):
    for path in ("/", "/page.js", "/rows.js", "/page.css", "/style.css"):
        response = server.get(path)
        policy = response.headers["content-security-policy"]
        assert response.status_code == 200
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert "http:" not in response.text.replace("http://www.w3.org", "")
