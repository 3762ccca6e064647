"""What the pages of the package look like: the report and the one that `serve` shows."""

from pathlib import Path

# Colours, fonts, messages and the marks in them, as CSS.
STYLE_FILE = Path(__file__).parent / "style.css"
