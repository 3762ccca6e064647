"""Whether the links of a built site lead somewhere: files, folders and anchors in it."""

import posixpath
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The anchors of a page and the addresses that it names."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes up what an element names."""
        for name, value in attrs:
            if name in ("id", "name") and value and tag != "meta":
                self.anchors.add(value)
            if name in ("href", "src") and value:
                self.addresses.append(value)


def broken_links(site: Path) -> list[str]:
    """Each link or source within the site that leads nowhere, with the page that has it."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    broken = []
    for path, page in pages.items():
        for address in page.addresses:
            target, anchor = _target(site, path, address)
            if target is None:
                continue
            lost = not target.is_file()
            if lost or (target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.relative_to(site)}: {address}")
    return broken


def _target(site: Path, page: Path, address: str) -> tuple[Path | None, str]:
    """The file and the anchor that an address means; no file where it leads out of the site."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None, ""
    # The page of what is not found does not know where it is shown.
    base = "" if parts.path.startswith("/") else page.parent.relative_to(site).as_posix()
    path = posixpath.normpath(posixpath.join(base, unquote(parts.path).lstrip("/")))
    target = site / path if parts.path else page
    return target / "index.html" if target.is_dir() else target, unquote(parts.fragment)
