"""python -m website [site]: builds the site; python -m website PART: remakes a part.

`commands` writes docs/reference/commands.md from the program, `figures` draws the pictures of the
tutorial from a run on what is bundled, `console` runs the commands that README and documents show
and writes down what they print, and `notebook` runs the notebook. These are kept in the
repository; the site is not.
"""

import argparse
from pathlib import Path

PARTS = ("site", "commands", "figures", "console", "notebook")


def main() -> None:
    """Makes what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m website", description=__doc__)
    parser.add_argument("part", nargs="?", default="site", choices=PARTS)
    parser.add_argument("--output", type=Path, default=Path("site"), help="the folder of the site")
    options = parser.parse_args()
    if options.part == "commands":
        from website.commands import PAGE, page

        PAGE.write_text(page(), encoding="utf-8")
    elif options.part == "figures":
        from website.figures import draw

        draw()
    elif options.part == "console":
        from website.console import rewrite

        rewrite()
    elif options.part == "notebook":
        from website.notebook import rewrite as rewrite_notebook

        rewrite_notebook()
    else:
        from website.build import build

        build(options.output)


if __name__ == "__main__":
    main()
