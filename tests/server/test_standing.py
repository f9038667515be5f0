"""Tests of what bans and mutes mean for one session, and how seldom it looks at them."""

from __future__ import annotations

import pytest

from threadchat.chat.sanctions import BAN, MUTE, Sanction, Sanctions
from threadchat.errors import CommandError, ErrorCode
from threadchat.server.standing import Standing


@pytest.fixture
def table() -> Sanctions:
    return Sanctions(clock=lambda: 100.0)


@pytest.fixture
def standing(table: Sanctions) -> Standing:
    standing = Standing(table, "192.0.2.7")
    standing.belong_to(7)
    return standing


def why_not(standing: Standing, what: str, room: str = "") -> str:
    with pytest.raises(CommandError) as caught:
        getattr(standing, what)(room)
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    return caught.value.reason


def test_whoever_has_nothing_against_them_may_do_all(table: Sanctions, standing: Standing) -> None:
    for sanction in (Sanction(BAN, 8), Sanction(MUTE, "192.0.2.8"), Sanction(BAN, 7, until=100)):
        table.impose(sanction)
    assert standing.may_speak("lobby")
    standing.check_banned("lobby")
    standing.check_muted()


@pytest.mark.parametrize("subject", [7, "192.0.2.7", "192.0.2.0/24"])
def test_a_ban_of_a_room_keeps_out_of_it_and_silent(
    table: Sanctions, standing: Standing, subject: int | str
) -> None:
    table.impose(Sanction(BAN, subject, "lobby", reason="spam"))
    assert not standing.clean
    assert not standing.may_speak("lobby")
    assert standing.may_speak("other")
    reason = "you are banned from room lobby: spam"
    assert why_not(standing, "check_banned", "lobby") == why_not(standing, "check_muted", "lobby") == reason
    standing.check_banned()
    standing.check_banned("other")


def test_a_mute_keeps_silent_only(table: Sanctions, standing: Standing) -> None:
    table.impose(Sanction(MUTE, 7))
    assert not standing.may_speak("lobby")
    assert why_not(standing, "check_muted") == why_not(standing, "check_muted", "lobby") == "you are muted"
    standing.check_banned("lobby")
    table.lift(MUTE, 7)
    assert standing.clean
    assert standing.may_speak("lobby")


def test_it_is_about_whoever_has_the_session(table: Sanctions) -> None:
    table.impose(Sanction(BAN, 7))
    standing = Standing(table, "")
    assert standing.clean
    standing.belong_to(7)
    assert not standing.clean
    standing.belong_to(None)
    assert standing.clean
