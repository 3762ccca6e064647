from pathlib import Path

import pytest

from spamgpt.errors import BadDataError, MissingInputError
from spamgpt.stages.grid import Grid, find_grid, read_grid


@pytest.fixture
def grid(tmp_path):
    def make(text: str) -> Grid:
        (tmp_path / "grid.toml").write_text(text)
        return read_grid(tmp_path / "grid.toml")

    return make


def test_a_run_has_the_settings_above_and_its_own(grid):
    read = grid(
        "seeds = [1, 2]\nepochs = 3\nunfreeze = 'head'\n[[run]]\nname = 'a'\n"
        "[[run]]\nname = 'b'\nunfreeze = 'all'\nlearning_rate = 1\nmodel = 'mini'\n"
    )
    assert (read.name, list(read.seeds), read.prepare) == ("grid", [1, 2], None)
    first, second = read.rows
    assert (first.name, first.settings.unfreeze, first.settings.epochs) == ("a", "head", 3)
    assert (second.settings.unfreeze, second.settings.learning_rate) == ("all", 1)
    assert (first.model, second.model) == (None, "mini")


def test_lists_are_tried_in_every_combination(grid):
    read = grid("unfreeze = ['head', 'all']\n[[run]]\nlearning_rate = [0.1, 0.2]\n")
    assert [row.name for row in read.rows] == [
        "unfreeze=head, learning_rate=0.1",
        "unfreeze=head, learning_rate=0.2",
        "unfreeze=all, learning_rate=0.1",
        "unfreeze=all, learning_rate=0.2",
    ]
    assert {row.settings.learning_rate for row in read.rows} == {0.1, 0.2}


def test_without_runs_the_settings_above_are_the_run(grid):
    (row,) = grid("epochs = 2").rows
    assert row.settings.epochs == 2
    assert [row.name for row in grid("epochs = [1, 2]").rows] == ["epochs=1", "epochs=2"]


def test_data_may_be_prepared(grid):
    read = grid("[prepare]\nrecipe = 'published'\nseed = 5\n")
    assert read.prepare
    assert (read.prepare.recipe, read.prepare.seed, read.prepare.balance) == ("published", 5, True)


def test_a_recipe_fills_in_what_is_not_given(grid):
    (row,) = grid("recipe = 'published'\npooling = 'last'").rows
    assert (row.settings.pooling, row.settings.padding) == ("last", "longest")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "grid.toml, epoch is no setting."),
        ("[[run]]\nname = 'a'\nepoch = 3", "grid.toml, run 'a': epoch is no setting."),
        ("[[run]]\ndevice = 'cpu'", "grid.toml, run 1: device is no setting."),
        ("epochs = '3'", "grid.toml, epochs is '3', not a whole number."),
        ("epochs = true", "grid.toml, epochs is True, not a whole number."),
        ("epochs = [1, 2.5]", "grid.toml, epochs is 2.5, not a whole number."),
        ("epochs = []", "grid.toml, epochs is an empty list."),
        ("pooling = 'lats'", "grid.toml, pooling is 'lats', not 'last' or 'first'"),
        ("weights = 1", "grid.toml, weights is 1, not 'pretrained' or 'random'."),
        ("seeds = 3", "grid.toml, seeds is 3, not a list"),
        ("seeds = [1, 1]", "grid.toml, seeds is"),
        ("seed = 3", "grid.toml, seed is not for one run."),
        ("prepared = 1", "grid.toml, prepared is 1, not a string."),
        ("prepared = 'v1'\n[prepare]", "grid.toml, prepared stands beside [prepare]."),
        ("[prepare]\nsplits = 1", "grid.toml, prepare.splits is no setting."),
        ("[prepare]\nbalance = 'yes'", "grid.toml, prepare.balance is 'yes', not true or false."),
        ("run = 3", "grid.toml, run is not a list of tables."),
        ("[[run]]\nname = 3", "grid.toml, run 3: name is 3, not a string."),
        ("[[run]]\nname = 'a'\n[[run]]\nname = 'a'", "'a' is the name of two runs."),
        ("[[run]]\npublished = 3", "published is not a table"),
        ("epochs = ", "grid.toml is not TOML"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(grid, text, said):
    with pytest.raises(BadDataError) as caught:
        grid(text)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_bundled_sweep_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_grid("published") == find_grid("published.toml")
    Path("published.toml").write_text("epochs = 1")
    assert find_grid("published.toml") == Path("published.toml")
    with pytest.raises(MissingInputError, match=r"There is no file other\.toml"):
        find_grid("other.toml")


def test_the_published_sweep_has_the_nineteen_rows():
    read = read_grid(find_grid("published"))
    assert [int(row.name.split()[0]) for row in read.rows] == list(range(1, 20))
    assert all(row.published for row in read.rows)
    by_number = {int(row.name.split()[0]): row for row in read.rows}
    # The published adapters are not divided by the rank: alpha 16 and 8, 16 times.
    assert by_number[11].settings.lora_alpha == 16 * 16
    assert by_number[12].settings.lora_alpha == 16 * 8
    assert by_number[18].settings == by_number[1].settings
    assert by_number[10].weights == "random"
    assert by_number[8].model == "gpt2-xl"
