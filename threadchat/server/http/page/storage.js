/** Remembers a little between visits and over a reload, and does without where the browser refuses to store. */

import { Direct } from "./model.js";

/** A value in one of the browser's stores; `missing` stands for it where there is none. */
class Remembered {
  #area;
  #key;
  #missing;

  constructor(area, name, missing = null) {
    this.#area = area;
    this.#key = `threadchat.${name}`;
    this.#missing = missing;
  }

  get() {
    return this.#try((store) => JSON.parse(store.getItem(this.#key))) ?? this.#missing;
  }

  set(value) {
    this.#try((store) => store.setItem(this.#key, JSON.stringify(value)));
  }

  forget() {
    this.#try((store) => store.removeItem(this.#key));
  }

  /** Where storage is full or forbidden, the chat still works, and only forgets on reload. */
  #try(act) {
    try {
      return act(window[this.#area]);
    } catch {
      return null;
    }
  }
}

export const remembered = {
  // The browser's: every tab offers the nickname, and a new tab has to ask before it becomes somebody else.
  nickname: new Remembered("localStorage", "nickname", ""),
  settings: new Remembered("localStorage", "settings", {}),
  user: new Remembered("localStorage", "user"), // whom the last token named, as a string
  visit: new Remembered("localStorage", "visit", 0), // when there was a page here last, in seconds of Unix time
  // The tab's: they outlive a reload, and a second tab has its own. The address hands a token over only once.
  session: new Remembered("sessionStorage", "session"),
  token: new Remembered("sessionStorage", "token"),
};

/** Who signs out leaves nothing behind but the settings. */
export function forgetMe() {
  const { settings, ...rest } = remembered;
  Object.values(rest).forEach((one) => one.forget());
}

// --- what a tab has to know after a reload ---

const KEPT_DIRECT = 200; // messages kept of each private conversation

/** What is still on its way, the client keeps; what failed, the person decides about. */
const packTimeline = ({ pending, read }) => ({
  pending: pending.filter(({ state }) => state === "failed"),
  read,
});

/** A plain object for `unpack`; rooms go without their messages, which the server has. */
export function pack(model) {
  return {
    me: model.me,
    current: model.currentKey,
    rooms: [...model.rooms.values()].map(({ name, draft, timeline }) => ({
      name,
      draft,
      ...packTimeline(timeline),
    })),
    directs: [...model.directs.values()].map(({ id, nickname, key, kept, hidden, ended, draft, timeline }) => ({
      id,
      nickname,
      key,
      kept,
      hidden,
      ended,
      draft,
      items: timeline.items.slice(-KEPT_DIRECT),
      ...packTimeline(timeline),
    })),
  };
}

export function unpack(session, model) {
  model.me = session.me;
  model.currentKey = session.current;
  for (const { name, draft, pending, read } of session.rooms) {
    const room = model.room(name);
    room.draft = draft;
    restore(room.timeline, pending, read);
  }
  for (const { id, nickname, key, kept, hidden, ended, draft, items, pending } of session.directs) {
    const direct = new Direct(id, nickname, key);
    items.forEach((item) => direct.add(item));
    Object.assign(direct, { kept, hidden, ended, draft });
    // The ids are counted anew, what was read is known by each item.
    direct.timeline.items.forEach((item, index) => (item.unread = items[index].unread));
    restore(direct.timeline, pending, null);
    model.directs.set(key, direct);
  }
}

function restore(timeline, pending, read) {
  timeline.pending = pending;
  timeline.read = read;
}
