"""What is installed and shipped: pinned, hashed, reproducible, and nothing but the package."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest
import yaml

from spamgpt.version import __version__

ROOT = Path(__file__).parents[1]
EPOCH = "1700000000"  # any moment that is the same for both builds


def pinned(text: str) -> dict[str, str]:
    """Versions by names as the registry compares them."""
    found = re.findall(r"^([\w.-]+)==([\w.+-]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_lock_has_a_hash_for_each_version_that_the_tests_pass_with():
    constraints = (ROOT / "constraints.txt").read_text()
    lock = (ROOT / "requirements.lock").read_text()
    assert pinned(lock) == pinned(constraints)
    requirements = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", each) for each in requirements)
    assert "--require-hashes" in (ROOT / ".ci" / "run").read_text()


FOR_A_WHEEL = ("spamgpt", "README.md", "LICENSE", "pyproject.toml")


def build(folder: Path, kind: str = "wheel", parts: Sequence[str] = FOR_A_WHEEL) -> Path:
    """A wheel or an sdist, built in a folder from a copy of what it is made of."""
    source = folder / "source"
    for name in parts:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        source.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, source / name)
    # What a working copy has besides is not shipped.
    (source / "spamgpt" / "__pycache__").mkdir(exist_ok=True)
    (source / "spamgpt" / "__pycache__" / "left.pyc").write_bytes(b"left")
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", folder]
    environment = {"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": EPOCH, "HOME": str(folder)}
    subprocess.run(
        [*map(str, command), str(source)], check=True, capture_output=True, env=environment
    )
    return next(folder.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> list[Path]:
    pytest.importorskip("hatchling")
    pytest.importorskip("build")
    return [build(tmp_path_factory.mktemp(name)) for name in ("one", "another")]


def test_two_builds_of_the_wheel_are_the_same_bytes(wheels):
    one, another = wheels
    assert one.name == another.name
    assert one.read_bytes() == another.read_bytes()


def test_the_wheel_holds_the_package_and_nothing_else(wheels):
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = set(wheel.namelist())
        assert wheel.testzip() is None
        assert all(not name.startswith("/") and ".." not in name for name in names)
    package = {name for name in names if name.startswith("spamgpt/")}
    kinds = {".py", ".typed", ".md", ".json", ".safetensors", ".csv", ".txt", ".toml", ".jinja"}
    assert {PurePosixPath(name).suffix for name in package} == {*kinds, ".css", ".html", ".js"}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "spamgpt").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package == here
    assert {name.partition(".dist-info/")[2] for name in names - package} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    pytest.importorskip("build")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    return build(tmp_path_factory.mktemp("sdist"), "sdist", [*parts, "pyproject.toml"])


def test_the_sdist_holds_what_it_takes_to_test_and_to_document(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "tests/conftest.py", "docs/tutorial.ipynb", "website/build.py"} <= names
    assert not {name for name in names if "__pycache__" in name or name.startswith("docs/site")}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_is_installed_from_it_answers(kind, wheels, sdist, tmp_path):
    package = wheels[0] if kind == "wheel" else sdist
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", tmp_path / "here"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", *options, package]
    subprocess.run([*map(str, pip)], check=True, capture_output=True, cwd=tmp_path)
    # -P: of this package no more than is installed there is seen.
    command = [sys.executable, "-P", "-m", "spamgpt"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "here")}

    def answer(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments],
            input="see you at 7 then x\n",
            env=environment,
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    assert answer("--version") == f"spamgpt {__version__}\n"
    assert answer("predict").startswith("ham\t")


def test_the_version_is_told_alike_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    assert released[0] == (__version__, str(citation["date-released"]))
    assert citation["version"] == __version__
