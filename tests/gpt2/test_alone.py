"""gpt2/ can be lifted out: it works where nothing else of spamgpt is."""

import shutil
import subprocess
import sys
from pathlib import Path

import spamgpt.gpt2

PROGRAM = """
import importlib, pkgutil, sys
from pathlib import Path
import torch
import spamgpt.gpt2

assert Path(spamgpt.gpt2.__file__).is_relative_to(sys.argv[1]), spamgpt.gpt2.__file__
for module in pkgutil.walk_packages(spamgpt.gpt2.__path__, "spamgpt.gpt2."):
    importlib.import_module(module.name)

from spamgpt.gpt2.backends.precision import lowered
from spamgpt.gpt2.classifier import GPT2Classifier
from spamgpt.gpt2.folder import load_folder
from spamgpt.gpt2.packing import pack

gpt2, tokenizer = load_folder(Path(sys.argv[2]))
packed = pack(tokenizer.encode(["see you at 7?", "free"]))
classifier = GPT2Classifier(gpt2, labels=2)
classifier(packed).sum().backward()
classifier.gpt2 = lowered(gpt2, gpt2.config.n_layer, torch.bfloat16)
assert classifier(packed).shape == (2, 2)
print(*sorted(name for name in sys.modules if name.split(".")[0] == "spamgpt"))
"""


def test_the_package_works_where_nothing_else_of_spamgpt_is(make_model, tmp_path):
    folder = Path(spamgpt.gpt2.__file__).parent
    lifted = tmp_path / "lifted"
    shutil.copytree(folder, lifted / "spamgpt" / "gpt2")
    (lifted / "spamgpt" / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(lifted), str(make_model())],
        env={"PYTHONPATH": str(lifted), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    modules = [name.removeprefix("spamgpt.gpt2.") for name in done.stdout.split()]
    assert {"model", "classifier", "tokenizer", "backends.precision"} <= set(modules)
