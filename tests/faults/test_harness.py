"""The harness of faults: a few kills in every run of the tests, all of it if wanted."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults import PARTS
from benchmarks.faults.tally import LOST, TRIED, Tally, write_page

COMMAND = (sys.executable, "-m", "benchmarks", "faults")


def tables(*arguments: object) -> dict[str, list[int]]:
    """The last row of each table that the script prints: tried, and what went wrong."""
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    titles = re.findall(r"^## (.+)$", done.stdout, re.MULTILINE)
    rows = re.findall(r"^\| \*\*all\*\* \| (.+) \|$", done.stdout, re.MULTILINE)
    counts = [[int(cell.replace(",", "")) for cell in row.split(" | ")] for row in rows]
    return dict(zip(titles, counts, strict=True))


def test_commands_survive_a_kill_and_go_on_to_the_same_digest():
    # fetch, prepare, finetune, and that one resumed.
    assert tables("kills", "--kills", 4) == {"Kills": [4, 0, 0, 0, 0]}


@pytest.mark.slow
def test_every_part_of_the_harness_finds_nothing(tmp_path):
    pytest.importorskip("atheris")
    page = tmp_path / "faults.md"
    found = tables("--kills", 26, "--inputs", 5000, "--lines", 50_000, "--write", page)
    assert len(found) == len(PARTS)
    assert all(tried and not any(wrong) for tried, *wrong in found.values())
    assert page.read_text().count("\n## ") == len(PARTS)


def test_what_goes_wrong_is_counted_and_a_page_keeps_the_parts_of_earlier_runs(tmp_path, capsys):
    tally = Tally("command", "Nothing is lost.")
    tally.tried("fetch", 1200)
    tally.wrong("fetch", LOST, "two\nlines")
    assert capsys.readouterr().err == "fetch: lost: two\\u000alines\n"
    assert (tally.total[TRIED], tally.went_wrong) == (1200, 1)
    assert "| fetch | 1,200 | 1 | 0 | 0 | 0 |" in tally.to_markdown()
    page = tmp_path / "page.md"
    write_page(page, {"Kills": "one", "Disks": "two"}, "# Title")
    write_page(page, {"Disks": tally.to_markdown()}, "# Title")
    assert page.read_text().startswith("# Title\n\n## Kills\none\n\n## Disks\nNothing is lost.\n")
