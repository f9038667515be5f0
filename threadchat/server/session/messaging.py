"""The part of a session that publishes messages: those of one burst together."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from threadchat.chat.log.events import MESSAGE, Details, Draft
from threadchat.chat.log.keys import client_key
from threadchat.errors import CommandError, ConnectionClosed, ErrorCode, RoomClosed
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.protocol import commands, encoding
from threadchat.server.protocol.all_commands import AnyCommand
from threadchat.server.protocol.commands import CommandId
from threadchat.server.session import authoring, room_creation
from threadchat.server.session.application import ApplicationSession
from threadchat.wire.protocol.requests import Text

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())


class MessagingSession(ApplicationSession):
    """A session that decodes commands, answers them, and publishes messages.

    Messages to one room that arrived in one burst are published together, which takes the lock of the room
    and of each outbox once. Everything runs on the connection's reader thread.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        config = self._config
        self._unpublished: list[commands.Message] = []
        self._unpublished_bytes = 0
        self._may_mention = False  # an unpublished message has an at sign
        self._checked_room = ""  # the room that was named last and whose name is allowed
        # A quarter of an outbox: one that is not three quarters full (HIGH) still has space for it.
        self._max_batch = max(1, config.outbox_messages // 4)
        if self.identity.hooks.see_messages:
            self._max_batch = 1  # a message that a hook accepted must not wait for the hook's next call
        self._max_batch_bytes = config.outbox_bytes // 4

    @abstractmethod
    def do(self, command: AnyCommand) -> dict[str, Any] | None:
        """Carries out a command; returns the fields of the reply. Raises CommandError.

        None means that the reply is sent already, or later.
        """

    def handle(self, text: str) -> None:
        """See Session. Handles one command, or keeps a message until the burst ends."""
        try:
            command = encoding.decode_command(text)
        except encoding.BadCommand as error:
            self._publish()
            self._refuse(error, error.id)
            return
        if type(command) is commands.Message and not command.reply_to and self._may_speak(command.room):
            self._keep(command)
            return
        self._publish()
        self._answer(command)

    def burst_ended(self) -> None:
        """Publishes the messages of the burst."""
        self._publish()

    # Replies

    def _answer(self, command: AnyCommand) -> None:
        """Carries a command out, and replies with its fields or an error."""
        command_id = command.id
        try:
            fields = self.do(command)
        except ConnectionClosed:
            raise
        except Exception as failure:
            self._refuse(self._as_error(failure), command_id)
        else:
            if fields is not None:
                self.reply(command_id, fields)

    def _as_error(self, failure: Exception) -> CommandError:
        if isinstance(failure, CommandError):
            return failure
        if isinstance(failure, RoomClosed):
            return CommandError(ErrorCode.NOT_AVAILABLE, "the server is closing")
        number, label = self.connection.number, self.connection.label
        log.error("connection %d (%s): a command failed", number, label, exc_info=failure)
        return CommandError(ErrorCode.INTERNAL)

    def _refuse(self, error: CommandError, command_id: CommandId) -> None:
        self.connection.send(encoding.error_text(error, command_id))
        self.count_error(error.code)

    def _refuse_all(self, messages: Sequence[commands.Message], error: CommandError) -> None:
        for item in messages:
            self._refuse(error, item.id)

    def refuse_excess(self, text: str, error: CommandError) -> None:
        """See Session."""
        self.connection.send(encoding.error_text(error, encoding.command_id(text)))

    # Messages

    def _may_speak(self, room: str) -> bool:
        return (
            self.user is not None
            and self.nickname != ""
            and room == self._checked_room  # so it is not the reserved room
            and self.sanction_check.may_speak(room)
        )

    def _keep(self, command: commands.Message) -> None:
        size = len(command.message)
        kept = self._unpublished
        if kept and (
            kept[0].room != command.room
            or len(kept) >= self._max_batch
            or self._unpublished_bytes + size > self._max_batch_bytes
        ):
            self._publish()
        self._unpublished.append(command)
        self._unpublished_bytes += size
        if "@" in command.message:
            self._may_mention = True

    def _publish(self) -> None:
        kept = self._unpublished
        if not kept:
            return
        self._unpublished = []
        self._unpublished_bytes = 0
        may_mention, self._may_mention = self._may_mention or self.screens, False  # a hook may put one in
        if self.screens and not (kept := self.identity.screen_all(self.person, kept, self._refuse)):
            return
        room, source = kept[0].room, self.budget.source
        try:
            self._check_creation(room)
            found: Iterable[Details | None] = repeat(None)
            if may_mention:
                found = authoring.mentions(self, room, [item.message for item in kept])
            drafts = [
                Draft(
                    MESSAGE,
                    self.user,
                    self.nickname,
                    item.message,
                    key=client_key(item.key),
                    source=source,
                    details=details,
                )
                for item, details in zip(kept, found, strict=False)
            ]
            positions = self.hub.publish(room, drafts, self.budget.openers)
        except Exception as failure:
            # No variable here keeps the error: its traceback refers to this frame, which has the messages.
            self._refuse_all(kept, self._as_error(failure))
            return
        replies = [
            encoding.ok_frame(item.id, offset=position.offset)
            for item, position in zip(kept, positions, strict=True)
            if item.id is not None
        ]
        if replies:
            self.connection.send(Text(b"".join(replies), len(replies)))

    def _check_creation(self, room: str) -> None:
        if self._config.create_rooms != "yes":
            room_creation.check_message(self, room, self._config.create_rooms)

    def message(self, command: commands.Message) -> dict[str, Any] | None:
        """Publishes a message that `handle` did not keep: its room is new here, or it answers another one."""
        if not command.reply_to:
            self._keep(command)
            return None
        room, text = command.room, command.message
        self._check_creation(room)
        if self.screens:
            text = self.identity.screen(self.person, room, text)
        reply_to, _ = self.hub.find_message(room, command.reply_to, command.epoch)
        details = authoring.details(self, room, text, reply_to)
        key, source = client_key(command.key), self.budget.source
        draft = Draft(MESSAGE, self.user, self.nickname, text, key=key, source=source, details=details)
        return {"offset": self.hub.publish(room, [draft], self.budget.openers)[0].offset}
