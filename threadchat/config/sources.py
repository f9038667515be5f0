"""Reads settings from their sources: flags, the environment, a TOML file and the defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Final

from threadchat.config.container_environment import container_redis, is_link
from threadchat.config.setting import FILE, Origin, Setting, check_value, shown, suggestion
from threadchat.config.values import Value
from threadchat.errors import ConfigError

_PREFIX: Final = "THREADCHAT_"
FILE_VARIABLE: Final = "THREADCHAT_CONFIG"


Settings = Mapping[str, Setting]
Given = dict[str, tuple[Any, Origin]]


def resolve(
    settings: Settings,
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    config_file: str | PathLike[str] | None = None,
) -> tuple[dict[str, Any], dict[str, Origin]]:
    """The value and the origin of every setting; see `load`. Raises ConfigError."""
    path = config_file or environ.get(FILE_VARIABLE)
    from_file = _from_file(settings, Path(path)) if path else {}
    given = {**_defaults(settings), **_from_links(environ), **from_file}
    given |= {**_from_environ(settings, environ), **_from_flags(settings, flags)}
    values = {name: value for name, (value, _) in given.items()}
    return values, {name: origin for name, (_, origin) in given.items()}


def _defaults(settings: Settings) -> Given:
    return {
        name: (setting.default, Origin("default", name, "=", " (the default)"))
        for name, setting in settings.items()
    }


def _from_flags(settings: Settings, flags: Mapping[str, str]) -> Given:
    given: Given = {}
    for name, text in flags.items():
        setting = settings.get(name)
        if setting is None:
            raise ConfigError(f"{name} is not a setting{suggestion(name, settings)}")
        origin = Origin(setting.flag, setting.flag, " ")
        given[name] = _checked(setting.rule.parse, setting, text, origin)
    return given


def _from_links(environ: Mapping[str, str]) -> Given:
    found = container_redis(environ)
    return {"broker": (found.url, Origin(found.variable, "broker", "="))} if found else {}


def _from_environ(settings: Settings, environ: Mapping[str, str]) -> Given:
    by_variable = {setting.variable: setting for setting in settings.values()}
    given: Given = {}
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or variable == FILE_VARIABLE:
            continue
        setting = by_variable.get(variable)
        if is_link(variable, text, environ):  # for example THREADCHAT_PORT=tcp://10.0.0.5:80
            continue
        if setting is None:
            raise ConfigError(
                f"{variable} is not a setting" + suggestion(variable, [*by_variable, FILE_VARIABLE])
            )
        origin = Origin(variable, variable, "=")
        given[setting.name] = _checked(setting.rule.parse, setting, text, origin)
    return given


def _from_file(settings: Settings, path: Path) -> Given:
    given: Given = {}
    for key, raw in _read_toml(path).items():
        setting = settings.get(key)
        if setting is None:
            hint = suggestion(key, settings)
            if not hint and isinstance(raw, dict):
                hint = "; settings belong at the top level, not in a table"
            raise ConfigError(f"{path}: {shown(key)} is not a setting{hint}")
        origin = Origin(shown(path), f"{path}: {key}", " = ")
        given[key] = _checked(setting.rule.coerce, setting, raw, origin)
    return given


def _checked(
    read: Callable[[Any], Value], setting: Setting, raw: object, origin: Origin
) -> tuple[Any, Origin]:
    """The value and its origin, which is the file for a secret in a file."""
    value = check_value(read, setting, raw, origin)
    if setting.secret and isinstance(raw, str) and raw.startswith(FILE):
        return value, replace(origin, label=raw)
    return value, origin


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, a NUL in the path
        raise ConfigError(f"{path}: is not TOML: {error}") from None
