"""Checks the house: imports go down the wings only, outside libraries keep their place, files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import threadchat

PACKAGE = Path(threadchat.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
MODULE_SET = frozenset(MODULES)
LONGEST = 300

# The wings from the ground up. A module imports from its own wing and from those on lower floors: never from
# one above, nor from another wing on its own floor. A wing is a folder, or a module that lies in none.
FLOORS = (
    ("errors", "normalize", "version"),
    ("callbacks",),
    ("config",),
    ("docs", "logs"),
    ("wire/protocol", "wire/threads"),
    ("wire",),
    ("wire/connecting",),
    ("chat/log",),
    ("chat/access",),
    ("chat/delivery", "chat/eventlog"),
    ("chat",),
    ("broker/redis", "broker/sqlite"),
    ("broker",),
    ("publisher", "server/http", "server/protocol"),
    ("server/auth", "server/budgets"),
    ("server/session",),
    ("server/admin",),
    ("server",),
    ("plain",),
    ("client",),
    ("testing",),
    ("cli",),
    ("__init__", "__main__"),
)
FLOOR = {wing: floor for floor, wings in enumerate(FLOORS) for wing in wings}
MOST_MODULES = 20
"""Modules side by side in one folder, `__init__` not counted."""

# Where an outside library, or a part of Python that stands for one, may be imported at all.
PLACES = {
    "simple_websocket": ("wire/protocol/state_machine.py", "wire/protocol/compatible.py"),
    "flask": ("plain/flask_sock.py",),
    "werkzeug": ("plain/flask_sock.py", "plain/websockets/sync/router.py"),
    "websockets": ("plain/websockets/exceptions.py",),
    "socks": ("plain/websockets/proxy.py",),
    "wsproto": (
        "wire/protocol/state_machine.py",
        "wire/protocol/client_handshake.py",
        "wire/protocol/parser.py",
    ),
    "h11": ("server/*",),
    "socket": ("wire/*", "server/*", "plain/*", "broker/redis/*", "client/*", "testing/*", "cli/*"),
    "ssl": ("wire/*", "server/*", "plain/*", "client/*", "testing/*"),
    "pytest": ("testing/plugin.py",),
    "sqlite3": ("broker/sqlite/*",),
    "redis": ("broker/redis/*",),
    "jwt": ("server/auth/tokens.py",),
    "cryptography": ("server/auth/tokens.py", "server/auth/jwks.py"),
    "argparse": ("cli/*",),
    "signal": ("cli/*",),
    "prompt_toolkit": ("cli/terminal/screen.py",),
    "prometheus_client": ("server/admin/metrics.py",),
    "asyncio": (),
    "gevent": (),
    "eventlet": (),
    "greenlet": (),
}
# Neither reads nor writes anything: text in, text out.
WITHOUT_SOCKET = ("server/protocol/encoding.py",)


def wing(module: str) -> str:
    """The wing of a module, given by its path below the package; the innermost folder that is one."""
    path = module.removesuffix(".py")
    while path not in FLOOR and "/" in path:
        path = path.rpartition("/")[0]
    return path


def imports(module: str, source: str) -> Iterator[str]:
    """Dotted names of all that a module imports, wherever it does so; relative ones are made absolute."""
    package = ["threadchat", *module.split("/")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def climbs(module: str, source: str) -> list[str]:
    """The imports of a module that go up."""
    return [name for name in imports(module, source) if not is_allowed(module, name)]


def is_allowed(module: str, name: str) -> bool:
    target = module_of(name)
    if target is None or module == "__init__.py":  # the package's own names are of every wing
        return True
    here, there = wing(module), wing(target)
    return here == there or FLOOR[there] < FLOOR[here]


def module_of(name: str) -> str | None:
    """The path below the package of the module that a dotted name is, or is defined in; None for others."""
    root, *parts = name.split(".")
    if root != "threadchat":
        return None
    while parts:
        path = "/".join(parts)
        for candidate in (f"{path}.py", f"{path}/__init__.py"):
            if candidate in MODULE_SET:
                return candidate
        parts.pop()
    return "__init__.py"


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, by whatever way round: strongly connected components."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for target in graph.get(module, ()):
            if target not in number:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], number[target])
        if low[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in number:
            visit(module)
    return found


def graph_of(sources: dict[str, str]) -> dict[str, set[str]]:
    """Who imports whom; what is imported for type checkers alone counts."""
    return {
        module: {target for name in imports(module, source) if (target := module_of(name))} - {module}
        for module, source in sources.items()
    }


def strays(module: str, source: str) -> list[str]:
    """The outside libraries that a module imports although it is not their place."""
    found = {name.split(".")[0] for name in imports(module, source)}
    return sorted(library for library in found & set(PLACES) if not is_place_of(module, library))


def is_place_of(module: str, library: str) -> bool:
    if library == "socket" and module in WITHOUT_SOCKET:
        return False
    return any(fnmatch(module, pattern) for pattern in PLACES[library])


def read(module: str) -> str:
    return (PACKAGE / module).read_text(encoding="utf-8")


# -- the package -------------------------------------------------------------------------------------


def test_every_module_is_in_a_wing() -> None:
    assert {wing(module) for module in MODULES} == set(FLOOR)


@pytest.mark.parametrize("folder", sorted({module.rpartition("/")[0] for module in MODULES}))
def test_a_folder_can_be_taken_in_at_a_glance(folder: str) -> None:
    beside = [it for it in MODULES if it.rpartition("/")[0] == folder and not it.endswith("__init__.py")]
    assert len(beside) <= MOST_MODULES


def test_nothing_imports_in_a_circle() -> None:
    assert circles(graph_of({module: read(module) for module in MODULES})) == []


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    assert climbs(module, read(module)) == []


@pytest.mark.parametrize("module", MODULES)
def test_outside_libraries_have_their_place(module: str) -> None:
    assert strays(module, read(module)) == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_opens_with_one_sentence(module: str) -> None:
    docstring = ast.get_docstring(ast.parse(read(module)))
    assert docstring
    assert docstring.splitlines()[0].endswith("."), "the first line is a sentence"


@pytest.mark.parametrize("module", MODULES)
def test_a_file_has_one_job(module: str) -> None:
    assert len(read(module).splitlines()) <= LONGEST


def test_no_module_is_called_utils() -> None:
    assert not [module for module in MODULES if "util" in module or "helper" in module]


# -- the checks themselves ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("wire/outbox.py", "from threadchat.chat.room import Room", ["threadchat.chat.room.Room"]),
        (
            "wire/outbox.py",
            "def f():\n    import threadchat.server.http.server",
            ["threadchat.server.http.server"],
        ),
        ("chat/room.py", "from ..broker import memory", ["threadchat.broker.memory"]),
        ("chat/room.py", "from .. import server", ["threadchat.server"]),
        ("chat/room.py", "from threadchat import Room", ["threadchat.Room"]),
        ("chat/room.py", "import threadchat", ["threadchat"]),
        ("server/http/routes.py", "from threadchat.cli.main import main", ["threadchat.cli.main.main"]),
        ("config/settings.py", "from threadchat import wire", ["threadchat.wire"]),
        ("chat/room.py", "from . import events", []),
        ("chat/room.py", "from .events import Event", []),
        ("chat/room.py", "from threadchat.wire import outbox", []),
        ("server/http/routes.py", "from threadchat import __version__", ["threadchat.__version__"]),
        (
            "server/http/routes.py",
            "from threadchat.server.auth import users",
            ["threadchat.server.auth.users"],
        ),
        ("server/http/routes.py", "from threadchat.server.chat import Chat", ["threadchat.server.chat.Chat"]),
        (
            "server/http/routes.py",
            "import threadchat.server.protocol.commands",
            ["threadchat.server.protocol.commands"],
        ),
        (
            "broker/redis/log.py",
            "from threadchat.broker.sqlite import schema",
            ["threadchat.broker.sqlite.schema"],
        ),
        ("server/http/routes.py", "from threadchat import errors, version", []),
        ("server/http/routes.py", "from threadchat.chat import hub\nimport os", []),
        ("cli/main.py", "from threadchat.server.chat import Chat", []),
        ("__init__.py", "from threadchat.chat.room import Room", []),
    ],
)
def test_an_import_that_goes_up_is_found(module: str, source: str, found: list[str]) -> None:
    assert climbs(module, source) == found


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("chat/room.py", "import socket", ["socket"]),
        ("chat/room.py", "def f():\n    from socket import socket", ["socket"]),
        ("config/settings.py", "import socket", ["socket"]),
        ("server/protocol/encoding.py", "import socket", ["socket"]),
        ("server/wsgi.py", "from simple_websocket import Server", ["simple_websocket"]),
        ("wire/connection.py", "import wsproto.events", ["wsproto"]),
        ("wire/protocol/state_machine.py", "import h11, asyncio", ["asyncio", "h11"]),
        ("testing/live.py", "import pytest", ["pytest"]),
        ("wire/protocol/state_machine.py", "import socket, ssl, simple_websocket, wsproto", []),
        ("server/http/request.py", "import h11\nimport socket", []),
    ],
)
def test_a_library_out_of_its_place_is_found(module: str, source: str, found: list[str]) -> None:
    assert strays(module, source) == found


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"chat/log/tail.py": "from threadchat.chat import room", "chat/room.py": ""}, []),
        (
            {
                "chat/log/tail.py": "from threadchat.chat import room",
                "chat/room.py": "if TYPE_CHECKING:\n    from threadchat.chat.log.events import Event",
                "chat/log/events.py": "def f():\n    from threadchat.chat.log.tail import Log",
                "chat/hub.py": "from threadchat.chat import room",
            },
            [["chat/log/events.py", "chat/log/tail.py", "chat/room.py"]],
        ),
    ],
)
def test_a_circle_is_found(sources: dict[str, str], found: list[list[str]]) -> None:
    assert circles(graph_of(sources)) == found
