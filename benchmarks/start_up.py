"""Start-up: the command's against that of the libraries it cannot do without."""

import sys
from collections.abc import Iterator

from benchmarks.world import World, command, spamgpt

TIMES = 5


def measure(world: World) -> Iterator[tuple[str, str]]:
    """Yields a figure's name and its value."""
    world.make_classifier()
    folder = world.folder
    line = folder / "hi.txt"
    line.write_text("hi\n")

    def python(code: str) -> float:
        return min(command(sys.executable, "-c", code, folder=folder).seconds for _ in range(TIMES))

    screen, torch = python("import typer, rich"), python("import torch")
    helped = min(spamgpt("--help", folder=folder).seconds for _ in range(TIMES))
    first = min(spamgpt("predict", folder=folder, stdin=line).seconds for _ in range(TIMES))
    yield "spamgpt --help", f"{helped:.2f} s, {helped / screen:.1f} times `import typer, rich`"
    yield "echo hi | spamgpt predict", f"{first:.2f} s, {first / torch:.2f} times `import torch`"
