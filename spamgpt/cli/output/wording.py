"""Messages name settings in backticks (`seed=1`); here they become the command's options.

Hints that end with a command get the workspace that the user named.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Also several values, as in `unsure=0.2 0.8`.
_SETTING = re.compile(r"`([a-z_][a-z0-9_]*)(?:=([^`]+))?`")

_COMMAND = re.compile(r": spamgpt (?:(?!: ).)+\Z")

_parameters: dict[str, Any] = {}


def speak_of(parameters: Iterable[Any]) -> None:
    """Sets the parameters, click's, of the command under way: the only ones a user can give."""
    _parameters.clear()
    _parameters.update((parameter.name, parameter) for parameter in parameters)


def in_options(text: str) -> str:
    """The text as a user of the command reads it.

    `learning_rate` becomes --learning-rate, `unfreeze=head` --unfreeze head, `stratify=False`
    --no-stratify. What the command has no option for is left as it is.
    """
    return _SETTING.sub(_as_option, text)


def in_workspace(hint: str, workspace: Path) -> str:
    """The hint with the workspace added to the command at its end, if there is one."""
    return f"{hint} -w {shlex.quote(str(workspace))}" if _COMMAND.search(hint) else hint


def _as_option(setting: re.Match[str]) -> str:
    name, value = setting.groups()
    parameter = _parameters.get(name)
    if parameter is None:
        return setting[0]
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or name.upper())
    option = next(name for name in parameter.opts if name.startswith("--"))
    if value is None or (parameter.is_flag and value == "True"):
        return str(option)
    if parameter.is_flag:
        return str(parameter.secondary_opts[0]) if parameter.secondary_opts else setting[0]
    return f"{option} {value}"
