/** A clock that a test moves, a server that says what a test wants, and as much of a browser as is used. */

import "./crypto.js";
import { connect } from "../../threadchat/server/browser/threadchat.js";

/** Lets all that promises have to do be done. */
export const settle = () => new Promise(setImmediate);

const NAMES = ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance", "navigator"];
const ABSENT = { value: undefined, configurable: true, writable: true };
const real = Object.fromEntries(
  NAMES.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name) ?? ABSENT]),
);

/** Stands in for timers, for the monotonic clock, and for a browser that has no locks, until `restore`. */
export class Clock {
  #timers = new Map();
  #now = 0;
  #number = 0;

  constructor() {
    const add = (call, after, every = 0) => {
      this.#timers.set((this.#number += 1), { call, at: this.#now + after, every });
      return this.#number;
    };
    const drop = (number) => this.#timers.delete(number);
    const stands = {
      setTimeout: add,
      clearTimeout: drop,
      setInterval: (call, every) => add(call, every, every),
      clearInterval: drop,
      performance: { timeOrigin: 1.7e12, now: () => this.#now },
      navigator: {},
    };
    for (const [name, value] of Object.entries(stands)) {
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
  }

  restore() {
    Object.defineProperties(globalThis, real);
  }

  get pending() {
    return this.#timers.size;
  }

  /** Lets time pass, with all that is due in it. */
  async pass(ms) {
    const end = this.#now + ms;
    for (let due; (due = this.#due(end));) {
      const [number, timer] = due;
      this.#now = Math.max(this.#now, timer.at);
      timer.every ? (timer.at += timer.every) : this.#timers.delete(number);
      timer.call();
      await settle();
    }
    this.#now = end;
  }

  /** The page is frozen: time passes, and nothing happens. */
  freeze(ms) {
    this.#now += ms;
  }

  #due(end) {
    const due = [...this.#timers].filter(([, { at }]) => at <= end);
    return due.sort(([, a], [, b]) => a.at - b.at)[0];
  }
}

/** What the client opened: `sent` is what it said there. */
export class FakeSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  sent = [];
  closed = false;

  constructor(url) {
    this.url = url;
    FakeSocket.all.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  // What the test does

  get last() {
    return this.sent.at(-1);
  }

  async say(...frames) {
    // All at once, as when they came in one packet: no promise is settled in between.
    frames.forEach((frame) => this.onmessage?.({ data: JSON.stringify(frame) }));
    await settle();
  }

  /** Answers a command: the last one, unless it is given. */
  async ok(fields = {}, command = null) {
    await settle();
    const { id } = command ?? this.last;
    await this.say({ type: "ok", re: id, ...fields });
  }

  async refuse(code, more = {}) {
    await settle();
    await this.say({ type: "error", re: this.last.id, code, reason: "because", temporary: false, ...more });
  }

  async open() {
    await settle();
    this.onopen?.({});
    await settle();
  }

  /** Opens, and answers the hello. */
  async welcome(fields = {}) {
    await this.open();
    await this.ok({ user: 1, session: "s", resume: "r", version: "0", ...fields });
  }

  async hangUp(code = 1006, reason = "") {
    this.onclose?.({ code, reason });
    await settle();
  }
}
FakeSocket.all = [];

export class FakeStorage {
  #items;

  constructor(items = {}) {
    this.#items = { ...items };
  }

  getItem(name) {
    return this.#items[name] ?? null;
  }

  setItem(name, value) {
    this.#items[name] = value;
  }

  removeItem(name) {
    delete this.#items[name];
  }

  /** What a browser does for a tab that is duplicated. */
  copy() {
    return new FakeStorage(this.#items);
  }
}

/** Web Locks, as far as they are used. */
export class FakeLocks {
  #held = new Map();

  async request(name, { signal }, hold) {
    const before = this.#held.get(name) ?? Promise.resolve();
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const turn = Promise.race([before, aborted]);
    const held = turn.then(hold);
    this.#held.set(name, Promise.allSettled([before, held]));
    return held;
  }
}

/** A chat on fake sockets, and the one that it opens first. */
export async function open(options = {}) {
  const chat = connect("ws://test/chat", {
    nickname: "ann",
    WebSocket: FakeSocket,
    storage: null,
    ...options,
  });
  await settle();
  return [chat, FakeSocket.all.at(-1)];
}

export const newest = () => FakeSocket.all.at(-1);
