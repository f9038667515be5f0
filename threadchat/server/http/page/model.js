/** The page's picture of the chat: oneself, rooms, people, private conversations; no socket, no screen. */

import { Timeline } from "./timeline.js";

export const roomKey = (name) => `#${name}`;
export const directKey = (user) => `@${JSON.stringify(user)}`; // 7 is not "7"

/** A room that one is in, or on the way into. */
export class Room {
  kind = "room";
  timeline = new Timeline();
  source = null; // the client's room, once one was on the way into it
  deafen = null; // takes the page's listeners from it
  epoch = null; // the log that `last`, the id of the newest event, counts in
  last = 0;
  loaded = false; // its newest events are here
  phase = "joining"; // then "joined"; "closed" by the server; "refused" with a `problem`
  problem = "";
  first = 0; // id of the oldest event that was loaded
  older = "unknown"; // whether there is more to scroll up to: "more", "loading", "none"
  people = new Map(); // user id → {id, nickname, sessions}
  peopleKnown = false;
  moves = 0; // comings and goings seen, to notice those that overtake an answer to `who`
  asking = false; // such a question is under way
  typing = new Map(); // user id → {name, until}
  draft = "";

  constructor(name) {
    this.name = name;
    this.key = roomKey(name);
  }

  get title() {
    return this.name;
  }

  /** Takes an event of the room's stream or of its history. False for one that is here already. */
  take(event, me) {
    const { id, type, userId = 0, from = "", message = "", unixTime, deleted = false } = event;
    const item = {
      epoch: this.epoch,
      id,
      userId,
      name: from,
      text: message,
      at: unixTime,
      mine: userId === me,
      deleted,
    };
    if (type === "delete") {
      return this.timeline.erase(this.epoch, event.target);
    }
    if (type === "message") {
      this.typing.delete(userId);
      return this.timeline.insert({ ...item, kind: "message" });
    }
    if (type === "join" || type === "leave") {
      return this.timeline.insert({ ...item, kind: "presence", change: type });
    }
    return (
      type === "close" && this.timeline.insert({ ...item, kind: "notice", text: "This room was closed." })
    );
  }

  /** Marks the place where events are missing, before the one with the next higher id. */
  gap(id, at) {
    const text =
      "The server could not go on where the connection was lost. Some messages may be missing here.";
    this.timeline.insert({ kind: "notice", epoch: this.epoch, id, at, text });
  }

  /** Lets go of old events of a long visit; scrolling up loads them again. */
  trim() {
    if (this.timeline.trim() && this.timeline.oldest.epoch === this.epoch) {
      this.first = Math.ceil(this.timeline.oldest.id);
      this.older = "more";
    }
  }

  /** Keeps the list of people in step with an event that has just happened. */
  follow({ type, userId, from }) {
    if (type === "message" || type === "delete") {
      return;
    }
    this.moves += 1;
    if (type === "join") {
      this.people.set(userId, { id: userId, nickname: from, sessions: 1 });
    } else if (type === "leave") {
      this.people.delete(userId);
      this.typing.delete(userId);
    }
  }

  /** The connection is gone; the client comes back into the room by itself. */
  interrupt() {
    this.phase = this.phase === "joined" ? "joining" : this.phase;
    this.typing.clear();
  }

  /** The server does not let one in, or threw one out. */
  refuse(problem) {
    Object.assign(this, { phase: "refused", problem });
    this.typing.clear();
  }

  typists(now) {
    return [...this.typing.values()].filter(({ until }) => until > now).map(({ name }) => name);
  }
}

/** A private conversation. The server keeps none of it, so this tab does. */
export class Direct {
  kind = "direct";
  timeline = new Timeline();
  ended = false; // either side is somebody else now: to be read, not continued
  draft = "";
  #nextId = 1;

  constructor(id, nickname, key = directKey(id)) {
    this.id = id;
    this.nickname = nickname;
    this.key = key;
  }

  get title() {
    return this.nickname;
  }

  add(item) {
    this.timeline.insert({ ...item, kind: "message", epoch: this.key, id: this.#nextId++ });
  }
}

export class Model {
  me = { user: 0, nickname: "" };
  status = { phase: "starting" }; // "trying", "online", "away" {retryAt}, "ended" {code, reason}
  rooms = new Map(); // name → Room
  directs = new Map(); // key → Direct
  listed = []; // the rooms of the server, the fullest first: {name, people, offset}
  moreListed = false; // whether there are more of them
  currentKey = null;

  get current() {
    return this.find(this.currentKey);
  }

  get conversations() {
    return [...this.rooms.values(), ...this.directs.values()];
  }

  get unread() {
    return this.conversations.reduce((count, { timeline }) => count + timeline.unread, 0);
  }

  find(key) {
    return key?.startsWith("#") ? this.rooms.get(key.slice(1)) : this.directs.get(key);
  }

  room(name) {
    if (!this.rooms.has(name)) {
      this.rooms.set(name, new Room(name));
    }
    return this.rooms.get(name);
  }

  /** A nickname that somebody has in a room here, or their id. */
  nameOf(user) {
    const known = [...this.rooms.values()].map(({ people }) => people.get(user)?.nickname);
    return known.find(Boolean) ?? String(user);
  }

  direct(id, nickname) {
    const key = directKey(id);
    if (!this.directs.has(key)) {
      this.directs.set(key, new Direct(id, nickname));
    }
    const direct = this.directs.get(key);
    direct.nickname = nickname || direct.nickname;
    return direct;
  }

  /** One came back as another person: ids in private conversations no longer mean whom they meant. */
  endDirects() {
    const directs = [...this.directs.values()];
    this.directs.clear();
    for (const direct of directs) {
      const wasCurrent = direct.key === this.currentKey;
      direct.ended = true;
      direct.key = direct.key.startsWith("@past") ? direct.key : `@past-${Date.now()}-${direct.id}`;
      this.directs.set(direct.key, direct);
      if (wasCurrent) {
        this.currentKey = direct.key;
      }
    }
  }
}
