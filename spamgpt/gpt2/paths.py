"""Paths for libraries that only take those which are text."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """The path or, if it is not UTF-8, one through a link, good within the block.

    Names of files are bytes on Linux; safetensors and tokenizers open none that is not UTF-8.
    """
    if _is_utf8(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        if _is_utf8(Path(path.name)):
            # Through its folder, as the file may not be there yet.
            link.symlink_to(path.parent.absolute(), target_is_directory=True)
            yield link / path.name
        else:
            link.symlink_to(path.absolute())
            yield link


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
