"""Resolves every setting: from flags, environment, a TOML file and the defaults, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from threadchat.config.settings import SETTINGS, Config, check_relations
from threadchat.config.sources import resolve


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
    values, origins = resolve(SETTINGS, flags, environ, config_file)
    check_relations(values, origins)
    return Resolved(Config(**values), {name: origin.label for name, origin in origins.items()})
