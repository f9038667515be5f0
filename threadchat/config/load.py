"""Resolves every setting from the flags, the environment, a TOML file and the defaults, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from threadchat.config.relations import check_relations
from threadchat.config.settings import SETTINGS, Config
from threadchat.config.sources import resolve


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration, and for each setting the flag, variable or file it came from, or "default"."""

    config: Config
    origins: Mapping[str, str]


def load(
    flags: Mapping[str, str], environ: Mapping[str, str], config_file: str | PathLike[str] | None = None
) -> Resolved:
    """Resolves every setting. Flags override the environment, which overrides the file and the defaults.

    `flags` maps names of settings to the text given. Only the `THREADCHAT_...` variables of `environ` are
    read; THREADCHAT_CONFIG names the file if `config_file` is None. A value that is overridden is checked
    too. If nothing else names a broker, REDIS_HOST and REDIS_PORT do.
    Raises ConfigError, whose message names the flag, the variable, or the file and key.
    """
    values, origins = resolve(SETTINGS, flags, environ, config_file)
    check_relations(SETTINGS, values, origins)
    return Resolved(Config(**values), {name: origin.label for name, origin in origins.items()})
