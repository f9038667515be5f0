"""Runs Autobahn's cases through kosoku, in a process of its own: kosoku changes what it finds in Python.

python fuzzer.py URL CASE...      against a server; prints a line of JSON for each case
python fuzzer.py - CASE...        against a client; prints the port first, the lines when it is done
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import kosoku

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


def main(url: str, *cases: str) -> None:
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
