"""The application's commands: their names, the type of data that each takes, and the thread it runs on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar, get_type_hints

import msgspec

from threadchat.callbacks import check_callback, is_unrun
from threadchat.chat.emitting import check_name, encode_data
from threadchat.errors import CommandError, ConfigError, ErrorCode
from threadchat.server.session.caller import Caller
from threadchat.wire.threads.worker_pool import WorkerPool

POOL_THREADS: Final = 16
MAX_POOL_WAITING: Final = 1024
"""Commands that may wait for a thread of the pool. Further ones are refused."""

Function = TypeVar("Function", bound=Callable[..., object])


class Handler:
    """One command: its name, its function, and the decoder of its data."""

    __slots__ = ("_decode", "_function", "name", "pooled")

    def __init__(self, name: str, function: Callable[..., object], *, pooled: bool) -> None:
        """Raises ConfigError for a function that does not take a caller and, optionally, data."""
        self.name = name
        self.pooled = pooled
        self._function = function
        self._decode = _decoder_for(name, function)

    def run(self, caller: Caller, data: msgspec.Raw) -> dict[str, Any]:
        """Calls the function and returns the fields of the reply. May block.

        Raises what the function raises, and CommandError 107 for data that cannot be decoded. Runs on: the
        connection's reader, or a thread of the pool.
        """
        if self._decode is None:
            result = self._function(caller)
        else:
            result = self._function(caller, self._read(self._decode, data))
        if is_unrun(result):
            raise TypeError(f"{self.name} returned a coroutine or a generator: its body did not run")
        if result is None:
            return {}
        try:
            return {"data": msgspec.Raw(encode_data(result))}
        except CommandError as error:  # the application's mistake, not the client's
            raise TypeError(f"{self.name} returned what cannot be sent: {error.reason}") from None

    def _read(self, decode: Callable[[msgspec.Raw], Any], data: msgspec.Raw) -> Any:
        try:
            return decode(data)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise CommandError(ErrorCode.BAD_REQUEST, f"{self.name}: {error}") from None


class Calls:
    """The commands of one chat. Add them before the first client connects; any thread may look them up."""

    def __init__(self) -> None:
        self.pool: Final = WorkerPool("command", POOL_THREADS, MAX_POOL_WAITING)
        self._handlers: dict[str, Handler] = {}

    def __bool__(self) -> bool:
        return bool(self._handlers)

    def add(self, name: str, function: Callable[..., object], *, pooled: bool = False) -> None:
        """Adds a command. Raises ConfigError for a name that is invalid or taken, and as `Handler` does."""
        try:
            check_name(name)
        except CommandError as error:
            raise ConfigError(f"command({name!r:.80}): {error.reason}") from None
        if name in self._handlers:
            raise ConfigError(f"command({name!r}) exists already; give this one another name")
        self._handlers[name] = Handler(name, function, pooled=pooled)

    def find(self, name: str) -> Handler:
        """The command of that name. Raises CommandError 104."""
        handler = self._handlers.get(name)
        if handler is None:
            raise CommandError(ErrorCode.UNKNOWN_COMMAND, f"the application has no command {name!r:.80}")
        return handler


NO_CALLS: Final = Calls()


class WithCommands:
    """The decorator that adds commands to `calls`."""

    calls: Calls

    def command(
        self, name: str, *, thread: Literal["reader", "pool"] = "reader"
    ) -> Callable[[Function], Function]:
        """Adds an application command, which clients `call` by its name (of a-z, 0-9 and _ . : -).

        The function receives the Caller and, if it takes a second argument, the data. The data is decoded
        into the type in the annotation: a `msgspec.Struct`, a dataclass, a TypedDict, a `list[int]`. The
        result is sent back as JSON. The client receives the reason of a `Refuse` or CommandError; any other
        exception is logged and answered with error 100.

        A connection's commands run one after the other on its reader thread, which may block. Commands with
        `thread="pool"` run on a few separate threads, and their replies may come in another order. Raises
        ConfigError. Runs on: any thread.
        """
        if callable(name):  # the decorator without its parentheses
            raise ConfigError('command has no name; write @chat.command("name")')
        if thread not in ("reader", "pool"):
            raise ConfigError(f"command({name!r:.80}, thread={thread!r:.40}): thread must be reader or pool")

        def add(function: Function) -> Function:
            self.calls.add(name, function, pooled=thread == "pool")
            return function

        return add


def _decoder_for(name: str, function: Callable[..., object]) -> Callable[[msgspec.Raw], Any] | None:
    """The decoder of a command's data; None for a function that takes no data."""
    check_callback(f"command({name!r})", function)
    kinds = inspect.Parameter
    places = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.VAR_POSITIONAL)
    ]
    if not places or len([one for one in places if one.default is kinds.empty]) > 2:
        raise ConfigError(f"command({name!r}): its function must take a caller, and may take data")
    if len(places) == 1 and places[0].kind is not kinds.VAR_POSITIONAL:
        return None
    parameter = places[min(1, len(places) - 1)]
    if parameter.annotation is kinds.empty or parameter.kind is kinds.VAR_POSITIONAL:
        return msgspec.json.Decoder().decode
    try:
        return msgspec.json.Decoder(_resolved(function, parameter.annotation)).decode
    except (TypeError, NameError) as error:
        raise ConfigError(
            f"command({name!r}): its data cannot be read as {parameter.annotation}: {error}"
        ) from None


def _resolved(function: Callable[..., object], annotation: Any) -> Any:
    """The type of one annotation. The other annotations may use names that only type checkers import."""
    holder = type("Holder", (), {"__annotations__": {"data": annotation}})
    return get_type_hints(holder, getattr(inspect.unwrap(function), "__globals__", {}))["data"]
