"""Tests of what bans and mutes mean for one session, and how seldom it looks at them."""

from __future__ import annotations

import pytest

from threadchat.chat.access.sanctions import BAN, MUTE, Sanction, Sanctions
from threadchat.errors import CommandError, ErrorCode
from threadchat.server.auth.sanction_check import SanctionCheck


@pytest.fixture
def table() -> Sanctions:
    return Sanctions(clock=lambda: 100.0)


@pytest.fixture
def sanction_check(table: Sanctions) -> SanctionCheck:
    sanction_check = SanctionCheck(table, "192.0.2.7")
    sanction_check.belong_to(7)
    return sanction_check


def why_not(sanction_check: SanctionCheck, what: str, room: str = "") -> str:
    with pytest.raises(CommandError) as caught:
        getattr(sanction_check, what)(room)
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    return caught.value.reason


def test_whoever_has_nothing_against_them_may_do_all(table: Sanctions, sanction_check: SanctionCheck) -> None:
    for sanction in (Sanction(BAN, 8), Sanction(MUTE, "192.0.2.8"), Sanction(BAN, 7, until=100)):
        table.impose(sanction)
    assert sanction_check.may_speak("lobby")
    sanction_check.check_banned("lobby")
    sanction_check.check_muted()


@pytest.mark.parametrize("subject", [7, "192.0.2.7", "192.0.2.0/24"])
def test_a_ban_of_a_room_keeps_out_of_it_and_silent(
    table: Sanctions, sanction_check: SanctionCheck, subject: int | str
) -> None:
    table.impose(Sanction(BAN, subject, "lobby", reason="spam"))
    assert not sanction_check.clean
    assert not sanction_check.may_speak("lobby")
    assert sanction_check.may_speak("other")
    reason = "you are banned from room lobby: spam"
    assert (
        why_not(sanction_check, "check_banned", "lobby")
        == why_not(sanction_check, "check_muted", "lobby")
        == reason
    )
    sanction_check.check_banned()
    sanction_check.check_banned("other")


def test_a_mute_keeps_silent_only(table: Sanctions, sanction_check: SanctionCheck) -> None:
    table.impose(Sanction(MUTE, 7))
    assert not sanction_check.may_speak("lobby")
    assert (
        why_not(sanction_check, "check_muted")
        == why_not(sanction_check, "check_muted", "lobby")
        == "you are muted"
    )
    sanction_check.check_banned("lobby")
    table.lift(MUTE, 7)
    assert sanction_check.clean
    assert sanction_check.may_speak("lobby")


def test_it_is_about_whoever_has_the_session(table: Sanctions) -> None:
    table.impose(Sanction(BAN, 7))
    sanction_check = SanctionCheck(table, "")
    assert sanction_check.clean
    sanction_check.belong_to(7)
    assert not sanction_check.clean
    sanction_check.belong_to(None)
    assert sanction_check.clean
