"""Who one is and what one may: beyond a token, with a `resume` after a logout, to people who block one."""

from __future__ import annotations

import time

import jwt

from abusing.abuse import abuse
from abusing.limits import KEY, outcomes
from abusing.stranger import Unanswered
from abusing.target import Answers, Target

WITH_TOKENS = ("--token-key", KEY, "--anonymous", "yes")


@abuse("more than a token grants", "103", flags=WITH_TOKENS)
def beyond_the_token(target: Target) -> Answers:
    """A token for nothing, and one of a room's moderator: no room, person, command or address beyond it."""
    somebody = target.enter().user
    total = Answers()
    for _ in range(target.size(50, 5)):
        for rooms in ({}, {"mine": "rwm"}):
            claims = {"sub": "7", "nickname": "mallory", "exp": time.time() + 600, "rooms": rooms}
            stranger = target.open()
            stranger.ask("hello", token=jwt.encode(claims, KEY, algorithm="HS256"))
            wanted = [
                {"type": "direct", "to": somebody, "message": "psst"},
                {"type": "call", "name": "anything"},
                {"type": "message", "room": "healthy", "message": "a"},
                {"type": "ban", "address": "127.0.0.0/8", "room": "mine"},
                {"type": "ban", "user": somebody, "room": "mine", "with_address": True},
            ]
            total += outcomes(stranger.ask_all(wanted))
    return total


@abuse("a resume after a logout", "somebody new")
def stolen_resumes(target: Target) -> Answers:
    """What somebody has who copied it before its owner logged out."""
    total = Answers()
    for _ in range(target.size(1_000, 30)):
        owner = target.open()
        welcome = owner.ask("hello", nickname="ann")
        if owner.ask("logout")["type"] != "ok" or owner.answer() != "1000":
            raise Unanswered("the logout was refused")
        owner.sock.close()
        thief = target.open()
        found = thief.ask("hello", nickname="mallory", resume=welcome["resume"])
        thief.sock.close()
        total["the same person" if found["user"] == welcome["user"] else "somebody new"] += 1
    return total


@abuse("messages to whom one is blocked by", "108")
def blocked_messages(target: Target) -> Answers:
    """The person hears nothing of it, and nothing of it is kept."""
    person = target.enter("ann")
    flood = [{"type": "direct", "to": person.user, "message": "buy"}] * 50
    total = Answers()
    for _ in range(target.size(100, 5)):
        stranger = target.enter()  # another one, before the last one counts as broken
        if person.ask("block", user=stranger.user)["type"] != "ok":
            raise Unanswered("nobody could be blocked")
        total += outcomes(stranger.ask_all(flood))
        person.ask("unblock", user=stranger.user)
        stranger.sock.close()
    person.texts.clear()
    if person.served() != "served" or any(b'"direct"' in it for it in person.texts):
        raise Unanswered("a blocked message arrived")
    return total


ALL = (beyond_the_token, stolen_resumes, blocked_messages)
