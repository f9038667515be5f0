"""The command `token`: creates a token for trying things out, signed with the server's key."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Final

from threadchat.chat.log.events import UserId
from threadchat.chat.log.ids import ID_RULE, is_user_id
from threadchat.cli.parser import EXIT_USAGE, Help, Parser
from threadchat.config.load import load
from threadchat.config.settings import SETTINGS
from threadchat.errors import BadToken, ConfigError

DAY: Final = 86_400
LONGEST: Final = 366 * DAY
SHARED: Final = ("token_key", "token_audience", "token_issuer")
"""The settings that a token depends on; they are read from the same sources as the server's."""

DESCRIPTION: Final = """\
Creates a token (JWT) that a server with the same token_key accepts, and prints it. It is meant for trying
things out: in production, your own application signs a token when somebody has logged in."""

EPILOG: Final = """\
token_key is best kept in the environment (THREADCHAT_TOKEN_KEY) or in the file, where nobody else sees it."""


def main(argv: Sequence[str]) -> int:
    """Runs `token`, the first word of `argv`; returns the exit code: 0, or 2 for wrong arguments."""
    arguments = parser().parse_args(argv[1:])
    flags = {name: text for name, text in vars(arguments).items() if name in SHARED}
    try:
        config = load(flags, os.environ, arguments.config).config
        from threadchat.server.auth.tokens import sign

        token = sign(config, arguments.user, arguments.nickname, arguments.rooms, seconds=arguments.expires)
    except (ConfigError, BadToken) as error:
        why = f"the server would refuse this token: {error}" if isinstance(error, BadToken) else error
        print(f"threadchat: {why}", file=sys.stderr)
        return EXIT_USAGE
    print(token, flush=True)
    return 0


def parser() -> Parser:
    """The arguments of `token`."""
    made = Parser(
        prog="threadchat token",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=Help,
        allow_abbrev=False,
    )
    made.add_argument(
        "--user",
        type=_user,
        required=True,
        metavar="ID",
        help="id of the user: a whole number from 1, or text such as a UUID",
    )
    made.add_argument("--nickname", default="", metavar="NAME", help="a nickname that the user cannot change")
    made.add_argument(
        "--rooms",
        type=_rooms,
        metavar="ROOMS",
        help="what the user may do in which rooms: lobby:rw,ops:rwm,team-*:r,*:dc (r read, w write, m "
        "moderate; a name alone means rw; for * also d private messages, c commands of the application); "
        "without it, the user may do everything except moderate",
    )
    made.add_argument(
        "--expires",
        type=_seconds,
        default=3600,
        metavar="SECONDS",
        help="how long the token is valid (default: %(default)s)",
    )
    made.add_argument("--config", metavar="FILE", help="TOML file of settings (or THREADCHAT_CONFIG)")
    for name in SHARED:
        setting = SETTINGS[name]
        made.add_argument(setting.flag, dest=name, default=argparse.SUPPRESS, help=setting.reason)
    return made


def _user(text: str) -> UserId:
    user: UserId = int(text) if re.fullmatch("[0-9]{1,16}", text) else text
    if not is_user_id(user):
        raise argparse.ArgumentTypeError(f"{text!r} is not a user id, which is {ID_RULE}")
    return user


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= LONGEST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1 to {LONGEST}")
    return int(text)


def _rooms(text: str) -> dict[str, str]:
    """The permission letters of each room; a colon is part of a room's name unless letters follow it."""
    rooms: dict[str, str] = {}
    for item in text.split(","):
        name, colon, letters = item.strip().rpartition(":")
        if not colon or set(letters) - set("rwmdc" if name == "*" else "rwm"):
            name, letters = item.strip(), "rw"
        if not name or name in rooms:
            raise argparse.ArgumentTypeError(f"{text!r} must look like lobby:rw,ops:rwm, with each room once")
        rooms[name] = letters
    return rooms
