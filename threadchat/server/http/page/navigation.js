/**
 * Goes from one conversation to another, by choice and by the address. That names a room: #garden; a message in it:
 * #garden/17; a private conversation: #@7; or a token: #token=… or #token=…&garden, which is taken out of it, as
 * addresses are passed on.
 */

import { remembered } from "./storage.js";
import { W } from "./text/words.js";

export class Navigation {
  #model;
  #chat;
  #handlers;

  /** `handlers`: changed(), arrived() once there is another conversation to be seen, reveal(key) of a message. */
  constructor(model, chat, handlers) {
    this.#model = model;
    this.#chat = chat;
    this.#handlers = handlers;
    window.addEventListener("popstate", ({ state }) => this.#follow(state));
  }

  /** The address may name a room; otherwise one goes on where one was, or into `room`. */
  begin(room) {
    const model = this.#model;
    const asked = addressed(location.hash);
    const wanted = asked?.room || (asked && model.directs.has(asked.key)) ? asked : null;
    if (wanted?.room || !model.rooms.size) {
      model.room(wanted?.room ?? room);
    }
    this.#show(wanted?.key ?? (model.current ? model.currentKey : model.conversations[0].key), true);
    this.#chat.connect();
    if (wanted?.event) {
      this.find(model.current, wanted.event);
    }
  }

  /** Opens a conversation that there is. */
  choose(key) {
    this.#show(key);
    this.#handlers.arrived();
  }

  /** Opens a room, where one is or not. */
  join(name) {
    const known = this.#model.rooms.has(name);
    const room = this.#model.room(name);
    if (!known) {
      this.#chat.enter(room).then(() => this.#chat.rooms.list());
    }
    this.choose(room.key);
  }

  /** Goes to a message of a room, which may have to be loaded. */
  async find(room, event) {
    await this.#chat.rooms.loader.around(room, event);
    if (room === this.#model.current) {
      this.#handlers.reveal(`${room.epoch}:${event}`);
    }
  }

  /** Leaves a room; hides a private conversation, which comes back with the next message. */
  close(conversation) {
    const { directs, conversations } = this.#model;
    if (conversation.kind === "room") {
      this.#chat.rooms.leave(conversation);
    } else {
      conversation.hidden = true;
      conversation.ended && directs.delete(conversation.key);
    }
    const other = conversations.find((one) => one !== conversation && !one.hidden);
    this.#show(other?.key ?? null, true);
    this.#handlers.arrived();
  }

  /** What came in a conversation since one looked there last is set off by a line. */
  #show(key, replace = false) {
    const { current } = Object.assign(this.#model, { currentKey: key });
    if (current) {
      current.unfolded = false;
      current.timeline.attend();
      this.#chat.rooms.loader.unread(current);
    }
    const hash = key ? addressOf(key) : "";
    const how = replace || location.hash === hash ? "replaceState" : "pushState";
    history[how]({ key }, "", hash || location.pathname);
    this.#handlers.changed();
  }

  /** The address changed: by a link, by hand, or by going back, which never joins a room that was left. */
  #follow(state) {
    if (location.hash.startsWith("#token=")) {
      location.reload(); // no room: somebody followed a link with a token into this tab
      return;
    }
    const { status, current, currentKey } = this.#model;
    const asked = addressed(location.hash);
    if (!asked || status.phase === "starting" || status.phase === "unwelcome") {
      return;
    }
    if (this.#model.find(asked.key)) {
      asked.key === currentKey || this.choose(asked.key);
    } else if (asked.room && !state) {
      this.join(asked.room);
    } else if (currentKey) {
      this.#show(currentKey, true);
    }
    if (asked.event && asked.key === currentKey) {
      this.find(current, asked.event);
    }
  }
}

/** The fragment for a conversation. */
export const addressOf = (key) => {
  const encoded = encodeURIComponent(key.slice(1));
  return key.startsWith("#") ? `#${encoded}` : `#@${encoded}`;
};

/** {key} of a private conversation, {key, room, event} of a room, where `event` may be 0; or null. */
export function addressed(hash) {
  const text = hash.slice(1);
  try {
    if (text.startsWith("@")) {
      return { key: `@${decodeURIComponent(text.slice(1))}` };
    }
    const [, name, event = "0"] = /^([^/]*)(?:\/(\d{1,15}))?$/.exec(text) ?? [];
    const room = decodeURIComponent(name ?? text).trim().normalize();
    return room ? { key: `#${room}`, room, event: Number(event) } : null;
  } catch {
    return null; // a stray % names no room
  }
}

const SHOWN = 64; // characters of a name in the question

/** {token, fresh}: the tab's token or null, and whether the address brought it just now. */
export function takeToken() {
  const [, token, room] = /^#token=([^&]+)(?:&(.*))?$/.exec(location.hash) ?? [];
  const former = remembered.token.get();
  if (!token) {
    return { token: former, fresh: false };
  }
  history.replaceState(null, "", room ? `#${room}` : location.pathname + location.search);
  if (token === former || !mayReplace(token, former)) {
    return { token: former, fresh: false };
  }
  remembered.token.set(token);
  remembered.user.set(String(claimsOf(token).sub));
  return { token, fresh: true };
}

/** Anybody can send a link: it makes nobody somebody else who was somebody before, unless they agree. */
function mayReplace(token, former) {
  const claims = claimsOf(token);
  const user = former === null ? remembered.user.get() : String(claimsOf(former).sub);
  const session = remembered.session.get();
  if (user === String(claims.sub) || (user === null && !session)) {
    return true;
  }
  const before = session?.me.nickname || (user === null ? W.withoutAccount : W.user(user));
  const after = W.named(nicknameIn(token) || W.somebody, claims.sub ?? W.unknown);
  return confirm(W.linkSignsIn(after.slice(0, SHOWN), before.slice(0, SHOWN)));
}

/** What a token says, which may be anything: the server decides what it is worth. */
function claimsOf(token) {
  try {
    const bytes = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)))) ?? {};
  } catch {
    return {};
  }
}

/** The nickname that a token gives, or "". */
export function nicknameIn(token) {
  const { nickname } = claimsOf(token);
  return typeof nickname === "string" ? nickname.trim() : "";
}
