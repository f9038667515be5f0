/** The page's picture of the chat: oneself, rooms, people, private conversations; no socket, no screen. */

import { W } from "./text/words.js";
import { Timeline } from "./timeline.js";

export const roomKey = (name) => `#${name}`;
export const directKey = (user) => `@${JSON.stringify(user)}`; // 7 is not "7"

class Conversation {
  timeline = new Timeline();
  typing = new Map(); // user id → {name, until}
  draft = "";
  unfolded = false; // what blocked people wrote is shown

  typists(now) {
    return [...this.typing.values()].filter(({ until }) => until > now).map(({ name }) => name);
  }
}

/** A room that one is in, or on the way into. */
export class Room extends Conversation {
  kind = "room";
  source = null; // the client's room, once one was on the way into it
  deafen = null; // takes the page's listeners from it
  epoch = null; // the log that `last`, the id of the newest event, counts in
  last = 0;
  loaded = false; // its newest events are here, or the server does not give them
  phase = "joining"; // then "joined"; "closed" by the server; "refused" with a `problem`
  problem = "";
  first = 0; // id of the oldest event that was loaded
  loadedTo = Infinity; // id of the newest one, where the timeline is cut
  older = "unknown"; // whether there is more to scroll up to: "more", "loading", "none"
  people = new Map(); // user id → {id, nickname, sessions, about}
  names = new Map(); // user id → the nickname last seen here
  moderated = null; // whether one may moderate here; null: the server was not asked yet
  peopleKnown = false;
  moves = 0; // comings and goings seen, to notice those that overtake an answer to `who`
  asking = false; // such a question is under way
  arrive = () => {}; // to be called once the newest events are here; `arrived` is the promise of that
  arrived = new Promise((resolve) => (this.arrive = resolve));

  /** `blocked` are the ids of people whose messages count for nothing. */
  constructor(name, blocked = new Set()) {
    super();
    this.name = name;
    this.key = roomKey(name);
    this.blocked = blocked;
  }

  get title() {
    return this.name;
  }

  /**
   * Takes an event of the room's stream, or of its history, where messages show already what became of them.
   * False for one that is here.
   */
  take(event, me, { live = true } = {}) {
    const { id, type, userId, from = "", unixTime: at, target } = event;
    const silent = this.blocked.has(userId);
    const item = { epoch: this.epoch, id, userId, name: from, at, mine: userId === me, silent };
    if (userId !== undefined && from) {
      this.names.set(userId, from);
    }
    switch (type) {
      case "message": {
        this.typing.delete(userId);
        const message = { ...item, ...said(event, me), kind: "message" };
        return this.timeline.insert(message) || (!live && this.timeline.change(this.epoch, id, said(event, me)) && false);
      }
      case "delete":
        return this.timeline.erase(this.epoch, target);
      case "edit":
        return live && this.timeline.change(this.epoch, target, { ...spoken(event, me), edited: id });
      case "react":
      case "unreact":
        return live && this.#react(event);
      case "rename":
        return this.timeline.insert({ ...item, kind: "notice", quiet: true, text: W.isNow(event.was, from) });
      case "join":
      case "leave":
        return this.timeline.insert({ ...item, kind: "presence", change: type });
      default:
        return type === "close" && this.timeline.insert({ ...item, kind: "notice", text: W.roomClosed });
    }
  }

  #react({ type, target, emoji, userId }) {
    const reactions = new Map(this.timeline.find(this.epoch, target)?.reactions);
    const others = (reactions.get(emoji) ?? []).filter((user) => user !== userId);
    const users = type === "react" ? [...others, userId] : others;
    users.length ? reactions.set(emoji, users) : reactions.delete(emoji);
    return this.timeline.change(this.epoch, target, { reactions: [...reactions] });
  }

  /** The last nickname of somebody that was seen here, or their id. */
  nameOf(user) {
    return this.people.get(user)?.nickname ?? this.names.get(user) ?? String(user);
  }

  /** Marks the place where events are missing, before the one with the next higher id. */
  gap(id, at) {
    this.timeline.insert({ kind: "notice", epoch: this.epoch, id, at, text: W.gap });
  }

  /** Lets go of events of a long visit, of the newest where somebody reads further up; scrolling loads them again. */
  trim(readingUp = false) {
    if (this.timeline.trim(readingUp) && this.timeline.oldest.epoch === this.epoch) {
      this.first = Math.ceil(this.timeline.oldest.id);
      this.older = "more";
    } else if (this.timeline.cut) {
      this.loadedTo = Math.min(this.loadedTo, Math.floor(this.timeline.newest.id));
    }
  }

  /** Keeps the list of people in step with an event that has just happened. */
  follow({ type, userId, from }) {
    if (type === "rename") {
      const person = this.people.get(userId);
      this.people.set(userId, { sessions: 1, ...person, id: userId, nickname: from });
    } else if (type !== "join" && type !== "leave") {
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
    this.moderated = null;
    this.typing.clear();
  }

  /** The server does not let one in, or threw one out. */
  refuse(problem) {
    Object.assign(this, { phase: "refused", problem, people: new Map(), peopleKnown: false });
    this.typing.clear();
  }
}

/** What a message says: in its own event, or in one that edits it. */
function spoken({ userId, message = "", mentions = [], everybody = false }, me) {
  return { text: message, mentions, everybody, mention: userId !== me && (everybody || mentions.includes(me)) };
}

function said(event, me) {
  const { deleted = false, edited = 0, reply_to: replyTo = 0, reactions = {} } = event;
  return { ...spoken(event, me), deleted, edited, replyTo, reactions: Object.entries(reactions) };
}

/** A private conversation. */
export class Direct extends Conversation {
  kind = "direct";
  kept = false; // in an inbox on the server, too
  hidden = false; // from the list, until something new is said
  ended = false; // either side is somebody else now: to be read, not continued
  #nextId = 1;

  constructor(id, nickname, key = directKey(id)) {
    super();
    this.id = id;
    this.nickname = nickname;
    this.key = key;
  }

  get title() {
    return this.nickname;
  }

  nameOf(user) {
    return user === this.id ? this.nickname : String(user);
  }

  add(item) {
    this.hidden = false;
    this.typing.delete(item.userId);
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
  blocked = new Set(); // ids of people whose messages are folded

  get current() {
    return this.find(this.currentKey);
  }

  get conversations() {
    return [...this.rooms.values(), ...this.directs.values()];
  }

  /** What the tab's title counts: messages, but mentions only where a room is muted. */
  unread(muted = new Set()) {
    const counted = ({ key, timeline: { unread } }) => (muted.has(key) ? unread.mentions : unread.messages);
    return this.conversations.reduce((count, conversation) => count + counted(conversation), 0);
  }

  /** Why nothing can be written where one is: it is "ended", "blocked", "closed" or "refused"; or "". */
  get obstacle() {
    const { ended, id, phase } = this.current ?? {};
    return ended ? "ended" : this.blocked.has(id) ? "blocked" : ["closed", "refused"].includes(phase) ? phase : "";
  }

  /** The names that may be mentioned where one is. */
  get mentionable() {
    const { people = new Map(), moderated = false } = this.current ?? {};
    const names = [...people.values()].filter(({ id }) => id !== this.me.user).map(({ nickname }) => nickname);
    return moderated ? [...names, "room"] : names;
  }

  find(key) {
    return key?.startsWith("#") ? this.rooms.get(key.slice(1)) : this.directs.get(key);
  }

  room(name) {
    if (!this.rooms.has(name)) {
      this.rooms.set(name, new Room(name, this.blocked));
    }
    return this.rooms.get(name);
  }

  /** A nickname that somebody has in a room here, or their id. */
  nameOf(user) {
    const known = [...this.rooms.values()].map(({ people, names }) => people.get(user)?.nickname ?? names.get(user));
    return known.find(Boolean) ?? this.directs.get(directKey(user))?.nickname ?? String(user);
  }

  direct(id, nickname) {
    const key = directKey(id);
    if (!this.directs.has(key)) {
      this.directs.set(key, new Direct(id, nickname));
    }
    const direct = this.directs.get(key);
    direct.nickname = nickname || direct.nickname;
    direct.hidden = false;
    direct.kept = this.me.known === true && (typeof id === "string" || id > 0); // strangers have no inbox
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
