"""The site, built strictly: its pages, the filter in the browser, what is kept for offline."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from website import demo
from website.links import broken_links

ROOT = Path(__file__).parents[1]
# Pages that stand elsewhere in the repository, and where they are in the site.
ALSO = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "recipes/README.md": "explanation/recipes.md",
}
# Nothing is loaded from elsewhere, and no script runs but those of the site. The theme sets the
# attribute `style`; onnxruntime compiles WebAssembly.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' {hashes}; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'"
)


def build(output: Path) -> None:
    """Builds the site into a folder, which is replaced. Exits with what is wrong, if anything."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        shutil.copytree(ROOT / "docs", source / "docs")
        shutil.copy(ROOT / "zensical.toml", source)
        for page in (source / "docs").rglob("*.md"):
            up = "../" * (len(page.relative_to(source).parts) - 2)
            text = page.read_text(encoding="utf-8")
            for other, place in ALSO.items():
                text = text.replace(f"](../{up}{other}", f"]({up}{place}")
            page.write_text(text, encoding="utf-8")
        for name, place in ALSO.items():
            text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
            (source / "docs" / place).write_text(text, encoding="utf-8")
        program = Path(sys.executable).with_name("zensical")
        done = subprocess.run(
            [program, "build", "--strict"],
            cwd=source,
            env=os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        site = source / "site"
        demo.write(site / "demo")
        for file in site.rglob("*.html"):
            secure(file)
        if broken := broken_links(site):
            sys.exit("\n".join(["Links that lead nowhere:", *broken]))
        keep(site)
        if output.exists():
            if any(output.iterdir()) and not (output / "kept.js").exists():
                sys.exit(f"{output} holds something else than a site.")
            shutil.rmtree(output)
        shutil.move(site, output)


def secure(page: Path) -> None:
    """Gives a page its Content-Security-Policy, which knows the inline scripts of the theme."""
    html = page.read_text(encoding="utf-8")
    scripts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", html, re.DOTALL)
    digests = {hashlib.sha256(script.encode()).digest() for script in scripts}
    hashes = " ".join(sorted(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests))
    policy = POLICY.format(hashes=hashes)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    page.write_text(html.replace("<head>", f"<head>{meta}", 1), encoding="utf-8")


def keep(site: Path) -> None:
    """Writes which files the service worker keeps: all, under a name that tells this build."""
    files = sorted(path for path in site.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    names = [path.relative_to(site).as_posix() for path in files]
    # A page is asked for by the address of its folder.
    names = [re.sub(r"(^|/)index\.html$", r"\1", name) or "./" for name in names]
    kept = {"version": digest.hexdigest()[:16], "files": names}
    (site / "kept.js").write_text(f"self.KEPT = {json.dumps(kept)};\n", encoding="utf-8")
