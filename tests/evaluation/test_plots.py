import pandas as pd

from spamgpt.evaluation.plots import draw_curves

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2],
        "training_loss": [0.5, 0.2],
        "training_accuracy": [0.8, 0.95],
        "validation_loss": [0.4, 0.3],
        "validation_accuracy": [0.85, 0.9],
    }
)


def test_the_same_history_gives_the_same_picture(tmp_path):
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    for path in (first, second):
        draw_curves(HISTORY, 2, path)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG")


def test_another_history_gives_another_picture(tmp_path):
    draw_curves(HISTORY, 2, tmp_path / "a.png")
    draw_curves(HISTORY, 1, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
