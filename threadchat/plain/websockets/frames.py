"""Close codes, opcodes and what a Close frame says, by the names of `websockets.frames`."""

from __future__ import annotations

from enum import IntEnum

from threadchat.errors import CloseFrame as Close

__all__ = ["Close", "CloseCode", "Opcode"]


class CloseCode(IntEnum):
    """The registered close codes (RFC 6455 7.4.1 and the registry that it opened)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


class Opcode(IntEnum):
    """The kinds of frames (RFC 6455 5.2)."""

    CONT = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA
