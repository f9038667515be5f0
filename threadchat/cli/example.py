"""The command `example`: writes a complete example program, or a file for deployment, into a folder."""

from __future__ import annotations

import importlib.resources
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from threadchat.cli.parser import EXIT_USAGE, Help, Parser
from threadchat.config.setting import suggestion


@dataclass(frozen=True, slots=True)
class Example:
    """An example: what it shows, its files (or folders), and the command that starts it."""

    what: str
    files: Sequence[str]
    start: str


EXAMPLES: Final[Mapping[str, Example]] = {
    "flask": Example(
        "a shop in Flask with a login and the chat in it",
        ["flask_app.py"],
        "python flask_app.py",
    ),
    "django": Example(
        "a Django project whose users chat, on a page of its own",
        [
            "django_app.py",
            "django_people",
            "gunicorn_conf.py",
            "pages/django_app.html",
            "pages/django_app.js",
            "pages/page.css",
        ],
        "python django_app.py && gunicorn -c gunicorn_conf.py django_app:application",
    ),
    "dashboard": Example(
        "live orders, a job's progress and notices in Flask",
        ["dashboard.py", "pages/dashboard.html", "pages/dashboard.js", "pages/page.css"],
        "python dashboard.py",
    ),
    "socketio": Example(
        "an application moved from Flask-SocketIO, with both ways side by side",
        ["from_socketio.py", "pages/from_socketio.html", "pages/from_socketio.js", "pages/page.css"],
        "python from_socketio.py",
    ),
    "worker": Example("background jobs that report their progress", ["worker.py"], "python worker.py"),
    "bot": Example("a bot that answers in a room", ["bot.py"], "python bot.py"),
    "window": Example("a chat in a window, with Tk", ["window.py"], "python window.py"),
    "rooms": Example("rooms and streams without a server", ["room_only.py"], "python room_only.py"),
    "echo": Example("a WebSocket server without a chat", ["echo_plain.py"], "python echo_plain.py"),
    "gunicorn": Example(
        "a configuration of gunicorn", ["gunicorn_conf.py"], "gunicorn -c gunicorn_conf.py myapp:app"
    ),
    "nginx": Example("nginx in front of several nodes", ["deploy/nginx.conf"], "nginx -c nginx.conf"),
    "systemd": Example(
        "a unit for systemd", ["deploy/threadchat.service"], "systemctl enable --now ./threadchat.service"
    ),
}

DESCRIPTION: Final = """\
Writes an example into a folder (the current one by default) and says how to start it; without a name, lists
the examples. Files that exist are not overwritten."""


def main(argv: Sequence[str]) -> int:
    """Runs `example`, the first word of `argv`. Returns 0, 1 if a file cannot be written, or 2."""
    arguments = parser().parse_args(argv[1:])
    if arguments.name is None:
        longest = max(map(len, EXAMPLES))
        for name, example in EXAMPLES.items():
            print(f"{name:{longest}}  {example.what}")
        print("\nWrite one with: python -m threadchat example NAME")
        return 0
    if arguments.name not in EXAMPLES:
        hint = suggestion(arguments.name, EXAMPLES) or f"; there are {', '.join(EXAMPLES)}"
        print(f"threadchat: there is no example {arguments.name}{hint}", file=sys.stderr)
        return EXIT_USAGE
    try:
        written = write(arguments.name, Path(arguments.folder))
    except OSError as error:
        print(f"threadchat: {error.filename} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    for path in written:
        print(f"wrote {path}")
    print(f"start it with: {EXAMPLES[arguments.name].start}")
    return 0


def parser() -> Parser:
    """The arguments of `example`."""
    made = Parser(
        prog="threadchat example", description=DESCRIPTION, formatter_class=Help, allow_abbrev=False
    )
    made.add_argument("name", nargs="?", metavar="NAME", help="such as flask; none lists all examples")
    made.add_argument(
        "folder", nargs="?", default=".", metavar="FOLDER", help="where to write (default: here)"
    )
    return made


def write(name: str, folder: Path) -> list[Path]:
    """Writes the files of an example into `folder` and returns their paths.

    Raises FileExistsError if one of them is there already, before any is written; and other OSErrors.
    """
    files = dict(_files_of(EXAMPLES[name]))
    targets = {folder / path: text for path, text in files.items()}
    for path in targets:
        if path.exists():
            raise FileExistsError(17, "it exists already", str(path))
    for path, text in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(targets)


def _files_of(example: Example) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in example.files:
        source = _source(name)
        inside = sorted(source.rglob("*.py")) if source.is_dir() else [source]
        for path in inside:
            here = (Path(name) / path.relative_to(source)).as_posix()
            text = path.read_text(encoding="utf-8")
            # In the source tree the files are run from its top, here from the folder that they are in.
            text = text.replace("--chdir scripts/examples ", "").replace("scripts/examples/", "")
            found.append((here.removeprefix("deploy/"), text))
    return found


def _source(name: str) -> Path:
    """Where a file of an example is: in the wheel below `threadchat`, in the source tree below `scripts`."""
    package = Path(str(importlib.resources.files("threadchat")))
    packed = package / "examples" / name
    if packed.exists():
        return packed
    scripts = package.parent / "scripts"
    return scripts / name if name.startswith("deploy/") else scripts / "examples" / name
