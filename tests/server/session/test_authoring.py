"""Tests of the commands about messages that exist: edit, delete, react, reply, and who is mentioned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.server.session_helpers import Json, Person, World, worlds
from threadchat.chat import message_changes
from threadchat.chat.access.sanctions import MUTE, Sanction
from threadchat.chat.log.alterations import MAX_EMOJI, MAX_REACTIONS
from threadchat.chat.log.events import Event, Position
from threadchat.server.auth.users import User

NOW = 1_800_000_000
THUMB = "\N{THUMBS UP SIGN}"
HEART = "\N{HEAVY BLACK HEART}\ufe0f"


@pytest.fixture
def world() -> Iterator[World]:
    with worlds(pong_timeout=3600, edit_window=60) as world:
        yield world


def moderated(world: World) -> None:
    """Lets user 90 moderate."""
    world.hooks.set("moderates", lambda user, room: user.id == 90)


def known(world: World, user: int | str, nickname: str) -> Person:
    person = world.connect(identity=User(user, nickname))
    assert person.ask("hello")["user"] == user
    return person


def logged(person: Person, event: int) -> Json:
    """A message as the log has it now."""
    page = person.ask("history", room="lobby", limit=1000)
    [found] = [item for item in page["events"] if item["id"] == event]
    return found


# -- edit --------------------------------------------------------------------------------------------


def test_an_edit_is_told_and_the_log_has_the_last_text(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    said = ann.ask("message", room="lobby", message="helo")["offset"]
    bob.unheard()
    edit = ann.ask("edit", room="lobby", event=said, message="hello")["offset"]
    [told] = bob.unheard()
    assert told == {
        "id": edit,
        "chatroomId": "lobby",
        "type": "edit",
        "userId": ann.welcome["user"],
        "from": "ann",
        "message": "hello",
        "target": said,
        "unixTime": told["unixTime"],
    }
    message = logged(bob, said)
    assert (message["message"], message["edited"]) == ("hello", edit)


def test_only_the_last_text_stays_in_the_log_and_none_of_a_deleted_message(world: World) -> None:
    ann = world.join("ann", "lobby")
    said = ann.ask("message", room="lobby", message="SECRET one")["offset"]
    first = ann.ask("edit", room="lobby", event=said, message="SECRET two")["offset"]
    second = ann.ask("edit", room="lobby", event=said, message="three")["offset"]
    assert "SECRET" not in str(ann.ask("history", room="lobby"))
    assert logged(ann, first)["deleted"] is True
    assert logged(ann, second)["message"] == "three"
    assert logged(ann, said)["edited"] == second
    ann.ask("delete", room="lobby", event=said)
    assert "three" not in str(ann.ask("history", room="lobby"))


def test_nobody_edits_the_message_of_another(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    assert bob.refused("edit", room="lobby", event=said, message="x") == 103
    assert logged(ann, said)["message"] == "hi"


@pytest.mark.parametrize("command", ["edit", "delete", "message"])
def test_a_log_that_begins_anew_after_the_message_was_found_keeps_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """The message with the same id in the new log is of somebody else."""
    ann, bob = world.enter("ann"), world.enter("bob")
    ann.ask("message", room="lobby", message="mine")
    find = world.hub.find_message

    def find_and_begin_anew(name: str, event: int, epoch: str = "") -> tuple[Position, Event]:
        found = find(name, event, epoch)
        world.hub.close_room("lobby")
        bob.ask("message", room="lobby", message="of bob")
        return found

    monkeypatch.setattr(world.hub, "find_message", find_and_begin_anew)
    name = "reply_to" if command == "message" else "event"
    assert ann.refused(command, room="lobby", message="changed", **{name: 1}) == 112
    assert [it["message"] for it in bob.ask("history", room="lobby")["events"]] == ["of bob"]


def test_a_text_id_and_the_number_are_two_people(world: World) -> None:
    world.hooks.set("authenticate", lambda environ: None)
    number, text = known(world, 7, "seven"), known(world, "7", "seven")
    said = number.ask("message", room="lobby", message="hi")["offset"]
    assert text.refused("edit", room="lobby", event=said, message="x") == 103
    assert text.refused("delete", room="lobby", event=said) == 103
    assert number.ask("edit", room="lobby", event=said, message="x")["type"] == "ok"


def test_an_edit_after_the_window_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = world.join("ann", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    wrote = logged(ann, said)["unixTime"]
    monkeypatch.setattr(message_changes, "time", lambda: wrote + 60)
    assert ann.ask("edit", room="lobby", event=said, message="x")["type"] == "ok"
    monkeypatch.setattr(message_changes, "time", lambda: wrote + 61)
    answer = ann.ask("edit", room="lobby", event=said, message="y")
    assert (answer["code"], answer["reason"]) == (103, "a message can be edited for 60 s (edit_window)")
    assert ann.ask("delete", room="lobby", event=said)["type"] == "ok"


def test_nothing_can_be_edited_with_a_window_of_zero() -> None:
    with worlds(edit_window=0) as world:
        ann = world.join("ann", "lobby")
        said = ann.ask("message", room="lobby", message="hi")["offset"]
        assert ann.refused("edit", room="lobby", event=said, message="x") == 103


@pytest.mark.parametrize("command", ["edit", "delete", "react", "unreact", "message"])
def test_what_is_no_message_is_not_changed(world: World, command: str) -> None:
    world.hooks.set("authenticate", lambda environ: None)
    moderated(world)
    mod = known(world, 90, "mod")
    joined = mod.ask("join", room="lobby")["offset"] + 1
    said = mod.ask("message", room="lobby", message="hi")["offset"]
    gone = mod.ask("message", room="lobby", message="hi")["offset"]
    mod.ask("delete", room="lobby", event=gone)
    fields: Json = {"message": {"message": "x"}, "edit": {"message": "x"}}.get(command, {"emoji": THUMB})
    name = "reply_to" if command == "message" else "event"
    for wrong in (joined, gone, 1000, *([] if command == "message" else [0, -1])):
        assert mod.refused(command, room="lobby", **{name: wrong}, **fields) == 107, wrong
    other_log = {name: said, "epoch": "another"}
    assert mod.refused(command, room="lobby", **other_log, **fields) == 112
    if command != "message":  # which creates its room
        assert mod.refused(command, room="nowhere", event=1, **fields) == 102


def test_the_hook_sees_what_a_message_becomes(world: World) -> None:
    world.hooks.set("on_message", lambda user, room, text: text.replace("damn", "d***"))
    ann = world.join("ann", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    ann.ask("edit", room="lobby", event=said, message="damn")
    assert logged(ann, said)["message"] == "d***"


def test_whoever_may_not_write_neither_edits_nor_reacts(world: World) -> None:
    ann = world.join("ann", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    world.hub.sanctions.impose(Sanction(MUTE, ann.welcome["user"], "lobby"))
    assert ann.refused("edit", room="lobby", event=said, message="x") == 103
    assert ann.refused("react", room="lobby", event=said, emoji=THUMB) == 103
    assert ann.refused("unreact", room="lobby", event=said, emoji=THUMB) == 103
    assert ann.ask("delete", room="lobby", event=said)["type"] == "ok"


def test_the_application_refuses_reactions_and_edits_as_it_refuses_messages(world: World) -> None:
    allowed = True
    world.hooks.set("authorize", lambda user, action, room: action != "message" or allowed)
    ann = world.join("ann", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    allowed = False
    assert ann.refused("edit", room="lobby", event=said, message="x") == 103
    assert ann.refused("react", room="lobby", event=said, emoji=THUMB) == 103


# -- delete ------------------------------------------------------------------------------------------


def test_everybody_deletes_their_own(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    ann.ask("react", room="lobby", event=said, emoji=THUMB)
    assert bob.refused("delete", room="lobby", event=said) == 103
    bob.unheard()
    deletion = ann.ask("delete", room="lobby", event=said)["offset"]
    [told] = bob.unheard()
    assert (told["type"], told["target"], told["id"]) == ("delete", said, deletion)
    assert set(logged(bob, said)) == {"id", "chatroomId", "type", "userId", "from", "deleted", "unixTime"}


# -- react -------------------------------------------------------------------------------------------


def test_reactions_are_told_and_counted_once_a_person(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    bob.unheard()
    first = ann.ask("react", room="lobby", event=said, emoji=THUMB)["offset"]
    assert "offset" not in ann.ask("react", room="lobby", event=said, emoji=THUMB)
    [told] = bob.unheard()
    assert (told["type"], told["id"], told["target"]) == ("react", first, said)
    assert (told["userId"], told["emoji"]) == (ann.welcome["user"], THUMB)
    bob.ask("react", room="lobby", event=said, emoji=THUMB)
    bob.ask("react", room="lobby", event=said, emoji=HEART)
    people = [ann.welcome["user"], bob.welcome["user"]]
    assert logged(bob, said)["reactions"] == {THUMB: people, HEART: people[1:]}
    assert "offset" in ann.ask("unreact", room="lobby", event=said, emoji=THUMB)
    assert "offset" not in ann.ask("unreact", room="lobby", event=said, emoji=THUMB)
    assert logged(bob, said)["reactions"] == {THUMB: people[1:], HEART: people[1:]}
    for emoji in (THUMB, HEART):
        bob.ask("unreact", room="lobby", event=said, emoji=emoji)
    assert "reactions" not in logged(bob, said)


def test_reactions_stay_with_an_edited_message(world: World) -> None:
    ann = world.join("ann", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    ann.ask("react", room="lobby", event=said, emoji=THUMB)
    ann.ask("edit", room="lobby", event=said, message="ho")
    assert logged(ann, said)["reactions"] == {THUMB: [ann.welcome["user"]]}


def test_a_message_has_a_limit_of_emoji_and_of_reactions(world: World) -> None:
    ann = world.join("ann", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    for number in range(MAX_EMOJI):
        assert ann.ask("react", room="lobby", event=said, emoji=chr(0x1F600 + number))["type"] == "ok"
    assert ann.refused("react", room="lobby", event=said, emoji=THUMB) == 106
    for user in range(1000, 1000 + MAX_REACTIONS - MAX_EMOJI):
        assert world.hub.react("lobby", said, chr(0x1F600), user=user)
    assert ann.refused("react", room="lobby", event=said, emoji=THUMB) == 106
    bob = world.join("bob", "lobby")
    assert bob.refused("react", room="lobby", event=said, emoji=chr(0x1F600)) == 106
    ann.ask("unreact", room="lobby", event=said, emoji=chr(0x1F600))
    assert bob.ask("react", room="lobby", event=said, emoji=chr(0x1F600))["type"] == "ok"


@pytest.mark.parametrize("emoji", ["a", "ok", "1", " ", "\n", f"{THUMB} ", "é", "\u200d", "", THUMB * 17])
def test_a_reaction_is_an_emoji(world: World, emoji: str) -> None:
    ann = world.join("ann", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    assert ann.refused("react", room="lobby", event=said, emoji=emoji) == 107


# -- reply -------------------------------------------------------------------------------------------


def test_a_reply_names_the_message_that_it_answers(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    said = ann.ask("message", room="lobby", message="hi?")["offset"]
    epoch = ann.ask("history", room="lobby")["epoch"]
    bob.unheard()
    reply = bob.ask("message", room="lobby", message="ho", reply_to=said, epoch=epoch)["offset"]
    [told] = bob.unheard()
    assert (told["id"], told["message"], told["reply_to"]) == (reply, "ho", said)
    assert logged(ann, reply)["reply_to"] == said


def test_replies_keep_their_place_among_the_messages_of_a_burst(world: World) -> None:
    ann = world.join("ann", "lobby")
    said = ann.ask("message", room="lobby", message="0")["offset"]
    burst = [{"type": "message", "room": "lobby", "message": str(number)} for number in range(1, 6)]
    burst[2]["reply_to"] = said
    ann.send_together(*burst)
    assert [ann.next()["message"] for _ in range(6)] == list("012345")


# -- mentions ----------------------------------------------------------------------------------------


def test_people_are_mentioned_by_their_nicknames(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("Bob Lee", "lobby")
    away = world.enter("carl")
    away.ask("message", room="lobby", message="bye")
    away.leave()
    ann.unheard()
    ann.ask("message", room="lobby", message="@bob lee, and @carl: hi; @nobody, x@ann")
    [told] = ann.unheard()
    assert told["mentions"] == [bob.welcome["user"], away.welcome["user"]]
    assert "everybody" not in told


def test_an_edit_mentions_whom_the_new_text_names(world: World) -> None:
    ann, bob = world.join("ann", "lobby"), world.join("bob", "lobby")
    said = ann.ask("message", room="lobby", message="hi")["offset"]
    bob.unheard()
    ann.ask("edit", room="lobby", event=said, message="hi @bob")
    assert bob.unheard()[0]["mentions"] == [bob.welcome["user"]]
    assert logged(bob, said)["mentions"] == [bob.welcome["user"]]
    ann.ask("edit", room="lobby", event=said, message="hi")
    assert "mentions" not in logged(bob, said)


def test_everybody_is_mentioned_only_by_those_who_moderate(world: World) -> None:
    world.hooks.set("authenticate", lambda environ: None)
    moderated(world)
    ann, mod = known(world, 7, "ann"), known(world, 90, "mod")
    for person, wanted in itertools.product((ann, mod), (True,)):
        said = person.ask("message", room="lobby", message="@room listen")["offset"]
        assert logged(mod, said).get("everybody", False) is (wanted and person is mod)
