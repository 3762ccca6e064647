"""Who may import whom, and what each layer may know: so that the core can be lifted out."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import spamgpt

ROOT = Path(spamgpt.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# What is no layer: used by all of them but gpt2, which stands alone.
BASE = {
    "addresses",
    "errors",
    "extras",
    "reporting",
    "printable",
    "markdown",
    "device",
    "workspace",
    "bundled",
    "style",
    "version",
}
# Each layer and those it may import, besides itself and BASE.
BELOW = {
    "cli": {"stages", "serve", "evaluation", "training", "cards", "classifier", "data", "gpt2"},
    "stages": {"serve", "evaluation", "training", "cards", "sources", "classifier", "data", "gpt2"},
    # The estimator of scikit-learn: a thin caller, like a stage without a workspace.
    "estimator": {"training", "classifier", "data", "gpt2"},
    "serve": {"classifier", "data", "gpt2"},
    "evaluation": {"classifier", "data", "gpt2"},
    "training": {"classifier", "data", "gpt2"},
    # A card tells what training and evaluation recorded.
    "cards": {"evaluation", "training", "classifier", "data", "gpt2"},
    "sources": {"data", "gpt2"},
    "classifier": {"data", "gpt2"},
    "data": {"gpt2"},
    "gpt2": set(),
}


def module_of(file: Path) -> str:
    """`spamgpt.data.rows` for a file of the package."""
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


def imports_of(file: Path) -> Iterator[str]:
    """The modules of the package that a file imports, wherever in it, also for types alone."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            # `from package import module` is an import of the module.
            names = [name if name in MODULES else str(node.module) for name in whole]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "spamgpt")


def layer_of(module: str) -> str:
    """The layer or base module that a module belongs to; the package itself is none."""
    return module.removeprefix("spamgpt").removeprefix(".").split(".")[0]


def test_imports_point_down_only():
    upwards = []
    for module, file in MODULES.items():
        layer = layer_of(module)
        if layer in BASE:
            # A base module knows its like and, for the error of its files, the core.
            allowed = BASE | {"gpt2"}
        else:
            # What is no layer: `spamgpt` itself, and `python -m spamgpt`.
            allowed = BELOW.get(layer, set(BELOW)) | {layer} | BASE
        if layer == "gpt2":
            allowed = {"gpt2"}
        upwards += [
            f"{module} imports {name}"
            for name in imports_of(file)
            if name != "spamgpt" and layer_of(name) not in allowed
        ]
    assert upwards == []


def test_imports_go_in_no_circle():
    # An import of the package itself is one of its version.
    graph = {
        module: {name for name in imports_of(file) if name not in ("spamgpt", module)}
        for module, file in MODULES.items()
        if module != "spamgpt"
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_core_imports_nothing_else_of_the_package():
    used = {
        name
        for file in (ROOT / "gpt2").rglob("*.py")
        for name in imports_of(file)
        if layer_of(name) != "gpt2"
    }
    assert used == set()


def test_no_file_is_too_long_to_be_read():
    long = {
        str(file.relative_to(ROOT)): lines
        for file in FILES
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


def strings_of(file: Path) -> list[str]:
    """The literal parts of a file's strings, without its docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


def test_only_the_command_line_knows_how_options_are_written():
    # A hint may give a whole command, such as `spamgpt predict --save`.
    whole_command = re.compile(r"spamgpt [a-z]+( --[a-z-]+)*")
    # The names of colours in a style sheet look the same.
    report = ROOT / "evaluation" / "report"
    found = {
        str(file.relative_to(ROOT)): options
        for file in FILES
        if not file.is_relative_to(ROOT / "cli") and not file.is_relative_to(report)
        if (
            options := [
                text
                for text in strings_of(file)
                if re.search(r"(?<![-!\w])--[a-z]|\s--\Z", whole_command.sub("", text))
            ]
        )
    }
    assert found == {}
