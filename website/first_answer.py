"""How soon the filter in the browser answers, from the click to the answer, with nothing cached.

python -m website.first_answer SITE, for a site that `python -m website` built.
"""

import argparse
import contextlib
import functools
import http.server
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.browser import Browser

_RUNS = 5


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        # A browser that has quit reads no further.
        with contextlib.suppress(ConnectionError):
            super().copyfile(source, outputfile)


def main() -> None:
    """Prints the seconds of each run."""
    parser = argparse.ArgumentParser(prog="python -m website.first_answer", description=__doc__)
    parser.add_argument("site", type=Path, nargs="?", default=Path("site"))
    handler = functools.partial(_Quiet, directory=parser.parse_args().site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seconds = []
    for _ in range(_RUNS):
        # A new profile has nothing cached.
        with tempfile.TemporaryDirectory() as profile:
            browser = Browser(Path(profile))
            try:
                browser.look(f"http://127.0.0.1:{server.server_port}/")
                # The page notes the time since it was asked for.
                while not (found := browser.run("return Number(demo.dataset.milliseconds) || 0")):
                    time.sleep(0.02)
                seconds.append(found / 1000)
            finally:
                browser.quit()
    print("first answer after", ", ".join(f"{each:.2f} s" for each in sorted(seconds)))


if __name__ == "__main__":
    main()
