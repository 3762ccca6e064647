"""What the filter on the front page needs besides its scripts: the classifier and onnxruntime."""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from spamgpt import SpamClassifier

RUNTIME = "onnxruntime-web@1.30.0"
# The smallest of its builds: for processors alone. The file and its SHA-256.
RUNTIME_FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
}
CACHE = Path(__file__).parents[1] / ".cache" / RUNTIME


def write(folder: Path) -> None:
    """Writes the bundled classifier with 8-bit weights, what to read it with, and the runtime."""
    folder.mkdir(exist_ok=True)
    classifier = SpamClassifier.bundled("cpu", "fp32")
    with tempfile.TemporaryDirectory() as name:
        classifier.to_onnx(Path(name) / "classifier.onnx", int8=True)
        # The metadata of the graph, where onnxruntime-web does not look.
        graph = (Path(name) / "classifier.onnx").read_bytes()
    (folder / "classifier.onnx").write_bytes(graph)
    about = json.dumps(about_classifier(classifier), ensure_ascii=False)
    (folder / "classifier.json").write_text(about, encoding="utf-8")
    for file in RUNTIME_FILES:
        (folder / file).write_bytes((runtime() / file).read_bytes())


def about_classifier(classifier: SpamClassifier) -> dict[str, object]:
    """What docs/demo/classifier.js has to know; a token's bytes are the characters so numbered."""
    tokenizer, config = classifier.tokenizer, classifier.config
    return {
        "labels": config.labels,
        "positive_label": config.positive_label,
        "threshold": config.threshold,
        "context": classifier.context,
        "end_of_text": tokenizer.end_of_text,
        "tokens": [spelling.decode("latin-1") for spelling in tokenizer.spellings],
    }


def runtime() -> Path:
    """The folder of onnxruntime-web's files, fetched by npm where they are not there yet."""
    if not all((CACHE / file).is_file() for file in RUNTIME_FILES):
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            subprocess.run(
                ["npm", "pack", "--silent", RUNTIME], cwd=name, check=True, stdout=sys.stderr
            )
            (archive,) = Path(name).glob("*.tgz")
            with tarfile.open(archive) as packed:
                for file in RUNTIME_FILES:
                    packed.extract(f"package/dist/{file}", name, filter="data")
                    (Path(name) / "package" / "dist" / file).replace(CACHE / file)
    for file, expected in RUNTIME_FILES.items():
        if hashlib.sha256((CACHE / file).read_bytes()).hexdigest() != expected:
            sys.exit(f"{CACHE / file} is not the file that was expected; delete it.")
    return CACHE
