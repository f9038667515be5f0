"""Runs Autobahn's cases through kosoku, in a process of its own: kosoku changes what it finds in Python.

python fuzzer.py URL COUNT CASE...      against a server; prints a line of JSON for each case
python fuzzer.py - COUNT CASE...        against a client; prints the port first, the lines when it is done

COUNT is the number of messages that each case of compression sends: 1,000 in the original.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

import kosoku
from kosoku import _caseindex

AT_ONCE = 4
PATIENCE = 1000
"""Milliseconds that a case waits for its peer; a few wait for longer."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def against_server(url: str, cases: list[str]) -> list[Any]:
    return list(await kosoku.run_fuzzingclient(url, cases, None, concurrency=AT_ONCE))


async def against_client(cases: list[str]) -> list[Any]:
    async with kosoku.run_fuzzingserver(cases, host="127.0.0.1", port=0) as server:
        say(str(server.port))
        return list(await server.get_result())


def prepare(count: int) -> None:
    """Has each case of sections 12 and 13 send so many messages, and take what comes back uncompressed.

    That is allowed (RFC 7692 6), and the original takes it; but kosoku has it as text where the cases expect
    bytes.
    """
    _caseindex.initialize_shims()
    compression = importlib.import_module("case12_x_x")
    judge = compression.onMessage

    def take(self: Any, message: str | bytes, binary: bool) -> None:
        judge(self, message.encode("latin-1") if isinstance(message, str) else message, binary)

    for case in (*compression.Case12_X_X, *compression.Case13_X_X):
        case.COUNT = count
        case.onMessage = take


def main(url: str, count: str, *cases: str) -> None:
    prepare(int(count))
    try:
        results = asyncio.run(against_client(list(cases)) if url == "-" else against_server(url, list(cases)))
    except kosoku.FailureError as failure:
        results = failure.results
    for result in results:
        told = {
            "case": result.case_id,
            "verdict": result.behavior.value,
            "close": result.behavior_close.value,
            "why": f"{result.result} {result.result_close}",
            "expected": str(result.expected)[:500],
            "received": str(result.received)[:500],
            "code": result.remote_close_code,
            "gave_up": result.failed_by_me and result.duration >= PATIENCE,
        }
        say(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
