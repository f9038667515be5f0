"""Resolves every setting: from flags, environment, a TOML file and the defaults, in this order."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, Final

from threadchat.config.container_environment import container_redis
from threadchat.config.settings import SETTINGS, Config, Origin, check_relations, check_value, shown
from threadchat.errors import ConfigError

_PREFIX: Final = "THREADCHAT_"
FILE_VARIABLE: Final = "THREADCHAT_CONFIG"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration, and for each setting the flag, variable or file it came from, or "default"."""

    config: Config
    origins: Mapping[str, str]


def load(
    flags: Mapping[str, str], environ: Mapping[str, str], config_file: str | PathLike[str] | None = None
) -> Resolved:
    """Resolves every setting: flags before the environment, that before the file, that before the defaults.

    `flags` maps names of settings to the text given; of `environ` only `THREADCHAT_...` counts, and
    THREADCHAT_CONFIG names the file where `config_file` does not. What is overridden is checked all the same.
    Where nothing names a broker, REDIS_HOST and REDIS_PORT may.
    Raises ConfigError, whose message names the flag, the variable or the file and key.
    """
    path = config_file or environ.get(FILE_VARIABLE)
    from_file = _from_file(Path(path)) if path else {}
    given = {**_defaults(), **_from_links(environ), **from_file}
    given |= {**_from_environ(environ), **_from_flags(flags)}
    values = {name: value for name, (value, _) in given.items()}
    origins = {name: origin for name, (_, origin) in given.items()}
    check_relations(values, origins)
    return Resolved(Config(**values), {name: origin.label for name, origin in origins.items()})


Given = dict[str, tuple[Any, Origin]]


def _defaults() -> Given:
    return {
        name: (setting.default, Origin("default", name, "=", " (the default)"))
        for name, setting in SETTINGS.items()
    }


def _from_flags(flags: Mapping[str, str]) -> Given:
    given: Given = {}
    for name, text in flags.items():
        setting = SETTINGS.get(name)
        if setting is None:
            raise ConfigError(f"{name} is not a setting{suggestion(name, SETTINGS)}")
        origin = Origin(setting.flag, setting.flag, " ")
        given[name] = (check_value(setting.rule.parse, setting, text, origin), origin)
    return given


def _from_links(environ: Mapping[str, str]) -> Given:
    found = container_redis(environ)
    return {"broker": (found.url, Origin(found.variable, "broker", "="))} if found else {}


def _from_environ(environ: Mapping[str, str]) -> Given:
    by_variable = {setting.variable: setting for setting in SETTINGS.values()}
    given: Given = {}
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or variable == FILE_VARIABLE:
            continue
        setting = by_variable.get(variable)
        if setting is None:
            raise ConfigError(
                f"{variable} is not a setting" + suggestion(variable, [*by_variable, FILE_VARIABLE])
            )
        origin = Origin(variable, variable, "=")
        given[setting.name] = (check_value(setting.rule.parse, setting, text, origin), origin)
    return given


def _from_file(path: Path) -> Given:
    given: Given = {}
    for key, raw in _read_toml(path).items():
        setting = SETTINGS.get(key)
        if setting is None:
            hint = suggestion(key, SETTINGS)
            if not hint and isinstance(raw, dict):
                hint = "; settings stand at the top level, in no table"
            raise ConfigError(f"{path}: {shown(key)} is not a setting{hint}")
        origin = Origin(shown(path), f"{path}: {key}", " = ")
        given[key] = (check_value(setting.rule.coerce, setting, raw, origin), origin)
    return given


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, a NUL in the path
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or nothing."""
    nearest = get_close_matches(word, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
