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
LONGEST = 300

# From the ground up. A module imports from its own wing and from those before it; what lies in no folder and
# is not ground is front.
GROUND = ("config.py", "loading.py", "linked.py", "texts.py", "rules.py", "errors.py", "rationing.py")
FLOORS = ("ground", "wire", "chat", "broker", "server", "plain", "front")
# Folders that are front, as the modules in no folder are.
FRONT = ("client", "terminal", "testing")

# Where an outside library, or a part of Python that stands for one, may be imported at all.
PLACES = {
    "simple_websocket": ("wire/protocol/state_machine.py", "wire/protocol/compatible.py"),
    "flask": ("plain/flask_sock.py",),
    "werkzeug": ("plain/flask_sock.py", "plain/websockets/sync/router.py"),
    "websockets": ("plain/websockets/exceptions.py",),
    "socks": ("plain/websockets/proxy.py",),
    "wsproto": ("wire/protocol/state_machine.py", "wire/protocol/parser.py"),
    "h11": ("server/*",),
    "socket": ("wire/*", "server/*", "plain/*", "broker/redis/*", "client/*", "testing/*", "standalone.py"),
    "ssl": ("wire/*", "server/*", "plain/*", "client/*", "testing/*"),
    "pytest": ("testing/plugin.py",),
    "sqlite3": ("broker/sqlite/*",),
    "redis": ("broker/redis/*",),
    "jwt": ("server/auth/tokens.py",),
    "cryptography": ("server/auth/tokens.py", "server/auth/jwks.py"),
    "argparse": ("cli.py", "minting.py", "terminal/*"),
    "signal": ("standalone.py", "workers.py"),
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
    """The wing of a module, given by its path below the package."""
    folder, slash, _ = module.partition("/")
    if slash:
        return "front" if folder in FRONT else folder
    return "ground" if module in GROUND else "front"


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
    root, _, inner = name.partition(".")
    if root != "threadchat" or inner == "__version__":
        return True
    if not inner:  # `import threadchat` brings in everything
        return wing(module) == "front"
    part = inner.split(".")[0]
    target = part if part in FLOORS else wing(f"{part}/" if part in FRONT else f"{part}.py")
    return FLOORS.index(target) <= FLOORS.index(wing(module))


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


def test_every_folder_is_a_wing() -> None:
    assert {wing(module) for module in MODULES} <= set(FLOORS)


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
        ("config.py", "from threadchat import wire", ["threadchat.wire"]),
        ("chat/room.py", "from . import events", []),
        ("chat/room.py", "from .events import Event", []),
        ("chat/room.py", "from threadchat.wire import outbox", []),
        ("server/http/routes.py", "from threadchat import __version__, errors", []),
        ("server/http/routes.py", "from threadchat.chat import hub\nimport os", []),
        ("cli.py", "from threadchat.server.chat import Chat", []),
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
        ("config.py", "import socket", ["socket"]),
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
