/** Remembers a little between visits and over a reload, and does without where the browser refuses to store. */

import { Direct, Room } from "./model.js";

const NICKNAME = "threadchat.nickname";
const SESSION = "threadchat.session";
const TOKEN = "threadchat.token";
const VISIT = "threadchat.visit";
const SETTINGS = "threadchat.settings";
const USER = "threadchat.user";

function read(area, key) {
  try {
    return window[area].getItem(key);
  } catch {
    return null;
  }
}

function write(area, key, value) {
  try {
    window[area].setItem(key, value);
  } catch {
    // Storage is full or forbidden: the chat still works, it only forgets on reload.
  }
}

/** The nickname belongs to the browser: every tab offers it. */
export const rememberedNickname = () => read("localStorage", NICKNAME) ?? "";
export const rememberNickname = (nickname) => write("localStorage", NICKNAME, nickname);

function parsed(area, key) {
  try {
    return JSON.parse(read(area, key)) ?? null;
  } catch {
    return null;
  }
}

/** So do the settings. */
export const rememberedSettings = () => parsed("localStorage", SETTINGS) ?? {};
export const rememberSettings = (settings) => write("localStorage", SETTINGS, JSON.stringify(settings));

/** The session belongs to the tab: it outlives a reload, and a second tab has its own. */
export const rememberedSession = () => parsed("sessionStorage", SESSION);
export const rememberSession = (session) => write("sessionStorage", SESSION, JSON.stringify(session));

/** The token, too, is the tab's; the address hands it over only once. */
export const rememberedToken = () => read("sessionStorage", TOKEN);
export const rememberToken = (token) => write("sessionStorage", TOKEN, token);

/** Whom the last token named belongs to the browser: a new tab has to ask before it becomes somebody else. */
export const rememberedUser = () => read("localStorage", USER);
export const rememberUser = (user) => write("localStorage", USER, String(user));

/** When there was a page here last, in seconds of Unix time. */
export const rememberedVisit = () => parsed("localStorage", VISIT) ?? 0;
export const rememberVisit = (time) => write("localStorage", VISIT, JSON.stringify(time));

/** Who signs out leaves nothing behind but the settings. */
export function forgetMe() {
  for (const [area, key] of [
    ["sessionStorage", SESSION],
    ["sessionStorage", TOKEN],
    ["localStorage", NICKNAME],
    ["localStorage", VISIT],
    ["localStorage", USER],
  ]) {
    try {
      window[area].removeItem(key);
    } catch {
      // It is forbidden, so there is nothing.
    }
  }
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
    const room = new Room(name);
    room.draft = draft;
    restore(room.timeline, pending, read);
    model.rooms.set(name, room);
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
