"""Takes the documents' pictures, of report, page and terminal, from real runs on what is bundled.

python -m benchmarks.pictures
"""

import argparse
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REPORT_PICTURE, TERMINAL_PICTURE = DOCS / "report.webp", DOCS / "terminal.svg"
PAGE_PICTURE = DOCS / "page.webp"
# The classifier that is bundled answers, since there is no other yet.
SHOWN = ("spamgpt predict --explain messages.txt",)
BEFORE = "spamgpt run --offline --threshold-for f1 --quiet"
REPORTED = "spamgpt evaluate --baseline"
MESSAGES = (
    "WINNER! Claim your free prize now, call 09061701461",
    "see you at 7 then x",
    "Your account has been locked. Verify your identity at http://secure.example/login",
    "can u get milk on ur way home",
    "Hi, it is Anna from the book club, shall we move Thursday to 8?",
)
COLUMNS = 84
DESKTOP, PHONE, HEIGHT, PAGE_HEIGHT, GAP = 1280, 390, 1500, 1240, 48
PICTURE_WIDTH = 1400
MOST_BYTES = 150_000


def main() -> None:
    """Draws the pictures into the folder of the documents."""
    argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__).parse_args()
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "messages.txt").write_text("\n".join(MESSAGES) + "\n", encoding="utf-8")
        screens = [(command, _run(command, folder)) for command in SHOWN]
        TERMINAL_PICTURE.write_text(terminal_picture(screens), encoding="utf-8")
        _run(BEFORE, folder)
        _run(REPORTED, folder)
        pages = (folder / "workspace" / "evaluations").glob("v*/report.html")
        newest = max(pages, key=lambda page: page.stat().st_mtime_ns)
        REPORT_PICTURE.write_bytes(report_picture(newest, folder / "profile"))
        PAGE_PICTURE.write_bytes(page_picture(folder))
    for picture in (REPORT_PICTURE, PAGE_PICTURE, TERMINAL_PICTURE):
        size = picture.stat().st_size
        print(f"{picture.relative_to(ROOT)}  {size / 1000:.0f} kB")
        if size > MOST_BYTES:
            sys.exit(f"{picture} has more than {MOST_BYTES / 1000:.0f} kB.")


def _run(command: str, folder: Path) -> str:
    """What a command writes to a terminal of so many columns, then its notes, without progress."""
    program, *options = shlex.split(command)
    ours, theirs = os.openpty()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "COLUMNS": str(COLUMNS),
    }
    with subprocess.Popen(
        [sys.executable, "-m", program, *options],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not piece:
                break
            written += piece
        os.close(ours)
        assert process.stderr is not None
        notes = process.stderr.read()
    if process.returncode:
        sys.exit(f"{command} ended with status {process.returncode}:\n{notes}")
    return written.decode().replace("\r\n", "\n") + notes


def terminal_picture(screens: list[tuple[str, str]]) -> str:
    """Commands and what they showed, as an SVG that loads nothing from elsewhere."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True)
    for number, (command, shown) in enumerate(screens):
        console.print(Text.assemble("\n" * bool(number), ("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(shown.rstrip()))
    svg = console.export_svg(title="spamgpt", unique_id="spamgpt")
    # rich names a font on a server of others.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def report_picture(page: Path, profile: Path) -> bytes:
    """The page on a desk in light, its mistakes on a phone in the dark."""
    from benchmarks.browser import Browser

    browser = Browser(profile)
    browser.look(page, DESKTOP, "light", height=HEIGHT)
    desktop = browser.picture()
    browser.look(page, PHONE, "dark", height=HEIGHT)
    browser.run("document.getElementById('mistakes').scrollIntoView()")
    phone = browser.picture()
    browser.quit()
    return _side_by_side(desktop, phone)


def page_picture(folder: Path) -> bytes:
    """The page of `spamgpt serve` in a folder, with its answers to the messages; as the report."""
    from benchmarks.browser import Browser
    from benchmarks.load import served

    pictures = []
    with served(folder) as server:
        browser = Browser(folder / "profile of the page")
        for width, scheme in ((DESKTOP, "light"), (PHONE, "dark")):
            browser.look(f"http://127.0.0.1:{server.http}/", width, scheme, height=PAGE_HEIGHT)
            browser.run(
                f"document.getElementById('paste').value = {json.dumps(chr(10).join(MESSAGES))};"
                "document.getElementById('ask').requestSubmit()"
            )
            # What is explained has lost its button.
            explained = (
                f"return document.querySelectorAll('#messages li').length === {len(MESSAGES)}"
                " && !document.querySelector('.acts > button')"
            )
            while not browser.run(explained):
                time.sleep(0.1)
            if width == PHONE:
                browser.run("document.getElementById('results').scrollIntoView()")
            pictures.append(browser.picture())
        browser.quit()
    return _side_by_side(*pictures)


def _side_by_side(desktop: bytes, phone: bytes) -> bytes:
    """Two pictures of one height as one, in WebP."""
    from PIL import Image

    left, right = (Image.open(io.BytesIO(picture)) for picture in (desktop, phone))
    whole = Image.new("RGB", (DESKTOP + PHONE + 3 * GAP, left.height + 2 * GAP), "#d9d5cb")
    whole.paste(left, (GAP, GAP))
    whole.paste(right, (DESKTOP + 2 * GAP, GAP))
    scale = PICTURE_WIDTH / whole.width
    whole = whole.resize((PICTURE_WIDTH, round(whole.height * scale)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    whole.save(buffer, "WEBP", quality=82, method=6)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
