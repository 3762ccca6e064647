"""Takes the README's pictures, of report and terminal, from a real run on what is bundled.

python -m benchmarks.pictures
"""

import argparse
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REPORT_PICTURE, TERMINAL_PICTURE = DOCS / "report.webp", DOCS / "terminal.svg"
BEFORE = "spamgpt run --offline --threshold-for f1 --quiet"
SHOWN = ("spamgpt evaluate", "spamgpt predict --explain messages.txt")
REPORTED = "spamgpt evaluate --baseline"
MESSAGES = (
    "WINNER! Claim your free prize now, call 09061701461",
    "see you at 7 then x",
    "Your parcel is held, pay the fee at http://x.example",
    "can u get milk on ur way home",
)
COLUMNS = 84
DESKTOP, PHONE, HEIGHT, GAP = 1280, 390, 1500, 48
PICTURE_WIDTH = 1400
MOST_BYTES = 150_000


def main() -> None:
    """Draws the pictures into the folder of the documents."""
    argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__).parse_args()
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "messages.txt").write_text("\n".join(MESSAGES) + "\n", encoding="utf-8")
        _run(BEFORE, folder)
        screens = [(command, _run(command, folder)) for command in SHOWN]
        TERMINAL_PICTURE.write_text(terminal_picture(screens), encoding="utf-8")
        _run(REPORTED, folder)
        pages = (folder / "workspace" / "evaluations").glob("v*/report.html")
        newest = max(pages, key=lambda page: page.stat().st_mtime_ns)
        REPORT_PICTURE.write_bytes(report_picture(newest, folder / "profile"))
    for picture in (REPORT_PICTURE, TERMINAL_PICTURE):
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
    """The page on a desk in light, its mistakes on a phone in the dark, side by side, as WebP."""
    from PIL import Image

    from benchmarks.browser import Browser

    browser = Browser(profile)
    browser.look(page, DESKTOP, "light", height=HEIGHT)
    desktop = Image.open(io.BytesIO(browser.picture()))
    browser.look(page, PHONE, "dark", height=HEIGHT)
    browser.run("document.getElementById('mistakes').scrollIntoView()")
    phone = Image.open(io.BytesIO(browser.picture()))
    browser.quit()
    whole = Image.new("RGB", (DESKTOP + GAP + PHONE + 2 * GAP, HEIGHT + 2 * GAP), "#d9d5cb")
    whole.paste(desktop, (GAP, GAP))
    whole.paste(phone, (DESKTOP + 2 * GAP, GAP))
    scale = PICTURE_WIDTH / whole.width
    whole = whole.resize((PICTURE_WIDTH, round(whole.height * scale)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    whole.save(buffer, "WEBP", quality=82, method=6)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
