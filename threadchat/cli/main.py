"""The command line: turns arguments into a configuration, then runs the server or prints the settings."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Final

from threadchat.cli.parser import EXIT_USAGE, Help, Parser
from threadchat.cli.serve import serve
from threadchat.config.exposure import exposed_files
from threadchat.config.load import Resolved, load
from threadchat.config.setting import HIDDEN, Group, Setting, shown, suggestion
from threadchat.config.settings import SETTINGS, Config
from threadchat.config.sources import FILE_VARIABLE
from threadchat.errors import ConfigError
from threadchat.version import __version__

COMMANDS: Final = ("serve", "config", "token", "redact", "connect", "tail", "docs", "example")
APART: Final = ("token", "redact", "connect", "tail", "docs", "example")
"""Commands with flags of their own."""

DESCRIPTION: Final = """\
serve, the default, runs the chat server. config prints the value of every setting and where it comes from.
token creates a token for trying things out, redact removes deleted messages from the event log, connect
opens a chat in the terminal, and tail shows the events of rooms. docs shows the documentation, and example
writes a complete program. All but the first two have flags of their own: see token --help, redact --help and
so on."""

EPILOG: Final = """\
Each flag is also an environment variable (THREADCHAT_HELLO_TIMEOUT for --hello-timeout) and a key in the TOML
file (hello_timeout). A flag overrides the environment, the environment overrides the file, and the file
overrides the default."""

TITLES: Final[dict[Group, str]] = {
    "address": "address",
    "identity": "identity; secrets are best kept in the environment, or in a file as file:PATH",
    "page": "the page",
    "deadlines": "deadlines, in seconds",
    "limits": "limits; bytes may be written as 64KiB or 4MiB",
    "rooms": "rooms",
    "operations": "operations",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code: 0, 1 for a failure, 2 for a wrong argument or value.

    `connect` and `tail` have further exit codes; see `threadchat.cli.terminal.arguments`.

    `argv` holds the arguments after the program's name; None stands for those in `sys.argv`. Runs on: the
    main thread, because the server sets signal handlers.
    """
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in APART:
        return _run_apart(words)
    arguments = _parse(words)
    flags = {name: text for name, text in vars(arguments).items() if name in SETTINGS}
    try:
        resolved = load(flags, os.environ, arguments.config)
        if arguments.command == "serve":
            for warning in exposed_files(resolved, arguments.config or os.environ.get(FILE_VARIABLE)):
                print(f"threadchat: warning: {warning}", file=sys.stderr)
            return _serve(resolved.config)
    except ConfigError as error:
        print(f"threadchat: {error}", file=sys.stderr)
        return EXIT_USAGE
    _print_for_a_pager(as_toml(resolved) if arguments.toml else as_table(resolved))
    return 0


def _run_apart(words: Sequence[str]) -> int:
    if words[0] == "token":
        from threadchat.cli.token import main as run
    elif words[0] == "redact":
        from threadchat.cli.redact import main as run
    elif words[0] == "docs":
        from threadchat.cli.docs import main as run
    elif words[0] == "example":
        from threadchat.cli.example import main as run
    else:
        from threadchat.cli.terminal.arguments import main as run
    return run(words)


def _serve(config: Config) -> int:
    if not (config.admits_anonymous or config.token_key or config.token_keys):
        raise ConfigError("anonymous=no requires a token from everybody; set token_key or token_keys as well")
    if config.workers == 1:
        return serve(config)
    from threadchat.cli.supervisor import serve_with_workers

    return serve_with_workers(config)


def _parser() -> Parser:
    parser = Parser(
        prog="threadchat",
        usage="%(prog)s [serve|config|token|redact|connect|tail|docs|example] [flags]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=Help,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("command", nargs="?", default="serve", help=argparse.SUPPRESS)
    general = parser.add_argument_group("general")
    general.add_argument("-h", "--help", action="help", help="show this and exit")
    general.add_argument("--version", action="version", version=__version__, help="show the version and exit")
    general.add_argument("--config", metavar="FILE", help="TOML file of settings (or THREADCHAT_CONFIG)")
    general.add_argument("--toml", action="store_true", help="with config: print such a TOML file")
    for name, title in TITLES.items():
        group = parser.add_argument_group(title)
        for setting in SETTINGS.values():
            if setting.group == name:
                _add_flag(group, setting)
    return parser


def _add_flag(group: argparse._ArgumentGroup, setting: Setting) -> None:
    # The value stays text here: the configuration parses it, in the same way for every source.
    group.add_argument(
        setting.flag,
        dest=setting.name,
        default=argparse.SUPPRESS,
        metavar=setting.rule.unit.upper() or None,
        help=f"{setting.reason} (default: {_readable(setting.default)})".replace("%", "%%"),
    )


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    # Intermixed, so that the command may come before, between or after the flags.
    arguments, unknown = parser.parse_known_intermixed_args(argv)
    for word in unknown:
        if word.startswith("-"):
            flag = word.partition("=")[0]
            known = [*(setting.flag for setting in SETTINGS.values()), "--config", "--toml", "--version"]
            parser.error(f"{flag} is not a flag{suggestion(flag, known)}")
    if unknown or arguments.command not in COMMANDS:
        word = unknown[0] if unknown else arguments.command
        known_commands = f"{', '.join(COMMANDS[:-1])} and {COMMANDS[-1]}"
        parser.error(f"{shown(word)} is not expected here; the commands are {known_commands}")
    if arguments.command in APART:
        parser.error(f"{arguments.command} must come first, before its flags")
    if arguments.toml and arguments.command != "config":
        parser.error("--toml can be used with the command config only")
    return arguments


def _readable(value: object) -> str:
    return "none" if value == "" else shown(value)


def _print_for_a_pager(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # head, or a pager that was closed, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_table(resolved: Resolved) -> str:
    """The current settings, one a line: name, value, unit, and where the value comes from."""
    rows = [("setting", "value", "unit", "from")]
    for name, setting in SETTINGS.items():
        value = _readable(setting.told(getattr(resolved.config, name)))
        rows.append((name, value, setting.rule.unit, resolved.origins[name]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_toml(resolved: Resolved) -> str:
    """The current settings as a TOML file, each below a comment with its reason, unit and limits."""
    lines = ["# Settings of threadchat; to use this file, start threadchat with --config and its name."]
    for name, setting in SETTINGS.items():
        unit = f"{setting.rule.unit}, " if setting.rule.unit else ""
        lines += ["", f"# {setting.reason}", f"# {unit}{setting.rule.limits}; from: {resolved.origins[name]}"]
        value = getattr(resolved.config, name)
        hidden = setting.told(value) != value  # the file must not contain secrets
        lines.append(f"# {name} = {HIDDEN}" if hidden else f"{name} = {_toml_value(value)}")
    return "\n".join(lines)


def _toml_value(value: str | int | float) -> str:
    # The text of settings has no control characters, so a JSON string is a valid TOML string too.
    return json.dumps(value, ensure_ascii=False)
