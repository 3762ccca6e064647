import ast
import inspect
from dataclasses import dataclass, fields
from types import ModuleType

import pytest

from spamgpt.cli import SUMMARIES, module_of
from spamgpt.cli.options import settings_from
from spamgpt.stages.prepare import PrepareSettings

# What is no setting of a stage: how a command behaves, whatever it does.
OF_EVERY_COMMAND = {"context", "threads", "workspace", "quiet", "json", "debug"}
OF_ONE_COMMAND = {
    "artifacts": {"name", "verify"},
    "cache": {"clear", "checkpoints"},
    "fetch": {"spam", "ham"},
    "finetune": {"resume", "dry_run"},
    "learn": {"spam", "ham", "forget", "train"},
    "predict": {"files", "only", "exit_code", "add_header", "watch", "escape_formulas", "engine"},
    "pretrain": {"resume", "weight", "size"},
    "run": {"spam", "ham"},
    "sweep": {"dry_run"},
}


@dataclass(frozen=True)
class Settings:
    epochs: int = 5
    seed: int = 123


def test_settings_are_made_of_the_options_of_their_names():
    options = {"epochs": 2, "seed": 1, "quiet": True}
    assert settings_from(Settings, options) == Settings(epochs=2, seed=1)
    assert settings_from(Settings, options, seed=7) == Settings(epochs=2, seed=7)


def test_a_misspelt_option_does_not_silently_become_its_default():
    with pytest.raises(TypeError, match="Settings gets no epochs"):
        settings_from(Settings, {"epoch": 2, "seed": 1})


def settings_of(module: ModuleType) -> list[tuple[set[str], set[str]]]:
    """For each call of settings_from in a command's file: the fields, and those not of options."""
    found = []
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "settings_from":
            kind = getattr(module, node.args[0].id)
            keywords = {keyword.arg for keyword in node.keywords}
            found.append(({field.name for field in fields(kind)}, keywords))
    return found


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_option_of_a_command_is_a_setting_or_known_not_to_be_one(command):
    module = module_of(command)
    parameters = set(inspect.signature(module.command).parameters)
    settings = settings_of(module)
    for names, keywords in settings:
        assert keywords <= names
        assert names - keywords <= parameters
    known = set().union(*(names for names, _ in settings), OF_EVERY_COMMAND)
    assert parameters - known - OF_ONE_COMMAND.get(command, set()) == set()


def test_a_misspelt_keyword_is_no_setting():
    with pytest.raises(TypeError, match="has no prepaired"):
        settings_from(PrepareSettings, vars(PrepareSettings()), prepaired=True)
