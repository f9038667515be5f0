/**
 * The browser's client of a threadchat server: rooms, the application's events and commands, the inbox.
 *
 * It keeps one connection and reconnects by itself. Events arrive in order and once, messages are sent in order
 * and once. It runs wherever there is a WebSocket. The types are in threadchat.d.ts, an introduction in README.md.
 */

/** @import * as Api from "./threadchat.js" */

const ATTEMPT = 10_000; // ms that one attempt may take: token, socket and hello
const FIRST_PAUSE = 500; // ms that the first pause lasts at most; doubles up to LONGEST_PAUSE
const LONGEST_PAUSE = 15_000;
const STEADY = 10_000; // ms after which a connection was a good one: the pauses start over
const TICK = 5_000; // ms between two looks at the silence
const QUIET = 25_000; // ms of silence after which the server is asked whether it is there
const ANSWER = 10_000; // ms that it has to say so
const FIRST_RETRY = 1_000; // ms before a temporary refusal is tried again; doubles up to LONGEST_RETRY
const LONGEST_RETRY = 8_000;
const ATTEMPTS = 5; // at a message, or a request with `retry`; at a subscription there is no limit
const KEY_LIFE = 270_000; // ms for which a key surely stands for the first attempt (the server: 300 s)
const CLAIM = 1_000; // ms that the former page of a reloaded tab has to let go of what waits
const SAVE_AFTER = 100; // ms from a change to its being stored

/** Codes below 3000 after which trying again makes sense. 1009 is one: only a frame was too long. */
const PASSING = new Set([1001, 1005, 1006, 1009, 1011, 1012, 1013, 1014]);
const TOO_BIG = 1009;
const INVALID_TOKEN = 3500;
const UNKNOWN_ROOM = 102;
const PERMISSION_DENIED = 103;
const ALREADY = 105;
const SESSIONS_KEPT = 50; // of this tab: what they said is not heard again

/** What `on` reserves: types of frames, and what the client tells. An event named so is heard as `event` only. */
const TYPES = new Set([
  ...[
    "message",
    "join",
    "add",
    "remove",
    "leave",
    "rename",
    "edit",
    "react",
    "unreact",
    "read",
    "delete",
    "close",
    "event",
    "direct",
    "typing",
    "live",
    "kicked",
  ],
  ...["joined", "subscribed", "left", "unsubscribed", "gap", "reset", "refused"],
]);

/** Milliseconds that never go back, and go on over a reload of the page. */
const now = () => performance.timeOrigin + performance.now();

/** @param {number} code */
const comesBack = (code) => PASSING.has(code) || (code >= 3000 && code < 3500);

export class ChatError extends Error {
  name = "ChatError";

  /** @param {Api.ErrorCode} code @param {string} reason */
  constructor(code, reason, temporary = false) {
    super(reason);
    this.code = code;
    this.reason = reason;
    this.temporary = temporary;
  }
}

const lost = () => new ChatError("lost", "the connection was lost before the answer came");

/** @param {unknown} error @param {Api.ErrorCode} code */
const failedBy = (error, code) => error instanceof ChatError && error.code === code;

/** JSON in which half a surrogate pair, which is no text, has become U+FFFD. @param {object} command */
function encode(command) {
  const mend = (/** @type {string} */ escape) => (escape === "\\\\" ? escape : "\ufffd");
  return JSON.stringify(command).replace(/\\\\|\\ud[89a-f][0-9a-f]{2}/g, mend);
}

/** A room's name as the server has it: "é" is one room, however it is written. @param {string} name */
const normalize = (name) => name.replace(/\p{Surrogate}/gu, "\ufffd").normalize();

/** @template T */
class Deferred {
  constructor() {
    /** @type {Promise<T>} */
    this.promise = new Promise((resolve, reject) => {
      /** @type {(value: T | PromiseLike<T>) => void} */
      this.resolve = resolve;
      /** @type {(error: unknown) => void} */
      this.reject = reject;
    });
  }

  /** A rejection that nobody looks at is no error. */
  optional() {
    this.promise.catch(() => {});
    return this;
  }
}

// --- listeners ---

/** Who hears what. One that throws is reported, and disturbs nobody else. */
class Listeners {
  /** @type {Map<string, Set<{call: Function}>>} */
  #heard = new Map();

  get any() {
    return this.#heard.size > 0;
  }

  /** Returns what takes the listener away. @param {string} what @param {Function} call */
  add(what, call) {
    const entry = { call };
    const entries = this.#heard.get(what) ?? new Set();
    this.#heard.set(what, entries.add(entry));
    return () => {
      entries.delete(entry);
      if (!entries.size && this.#heard.get(what) === entries) {
        this.#heard.delete(what);
      }
    };
  }

  /** @param {string} what @param {unknown[]} details */
  tell(what, ...details) {
    for (const { call } of [...(this.#heard.get(what) ?? [])]) {
      try {
        call(...details);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
}

// --- one connection ---

/** One WebSocket: matches replies to commands, and notices silence, as browsers hide the server's pings. */
class Connection {
  /** @type {Api.SocketLike | null} */
  #socket = null;
  /** @type {Map<number, {deferred: Deferred<any>, size: number, onReply?: (reply: any) => void}>} */
  #pending = new Map();
  #lastId = 0;
  #ended = false;
  #received;
  #closed;
  #opening = setTimeout(() => this.drop(), ATTEMPT);
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;
  #lastTick = 0;
  #lastFrame = 0;
  #probedAt = 0; // when the question was sent that waits for its answer; 0: there is none

  /**
   * @param {{
   *   received: (frame: Api.Frame) => void,
   *   closed: (code: number, reason: string) => void,
   * }} handlers
   */
  constructor({ received, closed }) {
    this.#received = received;
    this.#closed = closed;
  }

  /** Resolves when the socket is open. @param {Api.SocketLike} socket @returns {Promise<void>} */
  open(socket) {
    this.#socket = socket;
    const { id, promise } = this.#expect(0);
    socket.onopen = () => this.#settle(id);
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.drop(code, reason);
    socket.onerror = () => {}; // the close that follows says more
    return promise;
  }

  /** The hello was answered: from here on silence counts. */
  established() {
    clearTimeout(this.#opening);
    this.#lastTick = now();
    this.#watch = setInterval(() => this.#tick(), TICK);
  }

  /**
   * Resolves with the reply; rejects with a ChatError. `onReply` is called with the reply before the next frame
   * is read; a promise may settle only after that.
   * @param {object} command @param {(reply: any) => void} [onReply] @returns {Promise<any>}
   */
  request(command, onReply) {
    if (this.#ended || !this.#socket) {
      return Promise.reject(lost());
    }
    const text = encode({ ...command, id: this.#lastId + 1 });
    const { promise } = this.#expect(text.length, onReply);
    this.#socket.send(text);
    return promise;
  }

  /** Waits, but rejects where the connection does not last so long. @param {number} ms */
  pause(ms) {
    const { id, promise } = this.#expect(0);
    setTimeout(() => this.#settle(id), ms);
    return promise;
  }

  /** Asks whether the server is there; without an answer the connection ends. */
  probe() {
    if (!this.#probedAt && this.#watch) {
      this.#probedAt = now();
      this.request({ type: "ping" });
    }
  }

  /** Gives it up, without waiting for a close handshake that nobody may answer. */
  drop(code = 1006, reason = "") {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    clearTimeout(this.#opening);
    clearInterval(this.#watch);
    if (this.#socket) {
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close(1000);
    }
    const pending = [...this.#pending.values()];
    const longest = Math.max(1, ...pending.map(({ size }) => size));
    for (const { deferred, size } of pending) {
      const tooBig = code === TOO_BIG && size === longest;
      deferred.reject(tooBig ? new ChatError(TOO_BIG, reason || "message too big") : lost());
    }
    this.#closed(code, reason);
  }

  /** @param {number} size @param {(reply: any) => void} [onReply] */
  #expect(size, onReply) {
    const id = (this.#lastId += 1);
    const deferred = new Deferred().optional();
    this.#pending.set(id, { deferred, size, onReply });
    return { id, promise: deferred.promise };
  }

  /** @param {number} id @param {any} [reply] */
  #settle(id, reply) {
    const expected = this.#pending.get(id);
    this.#pending.delete(id);
    if (reply?.type === "error") {
      expected?.deferred.reject(new ChatError(reply.code, reply.reason, reply.temporary));
    } else {
      expected?.onReply?.(reply);
      expected?.deferred.resolve(reply);
    }
  }

  /** @param {any} frame */
  #receive(frame) {
    this.#lastFrame = now();
    this.#probedAt = 0;
    if (frame.re !== undefined) {
      this.#settle(frame.re, frame);
    } else {
      this.#received(frame);
    }
  }

  #tick() {
    // A late tick: the page was frozen, and what came meanwhile is not read yet. So the silence begins now.
    const frozen = now() - this.#lastTick > 2 * TICK;
    this.#lastTick = now();
    if (frozen) {
      this.#probedAt = 0;
      this.probe();
    } else if (this.#probedAt && now() - this.#probedAt > ANSWER) {
      this.drop();
    } else if (now() - this.#lastFrame > QUIET) {
      this.probe();
    }
  }
}

// --- what a tab keeps ---

/**
 * Stores what outlives a reload: who the user is, the position in the inbox, unsent messages. Duplicating a tab
 * copies all of it, so a lock decides which of the two pages sends the messages. Where there are no locks (plain
 * http), messages are stored only while the page is being left, so that there are none to be copied before.
 */
class Tab {
  #storage;
  #name;
  #release = () => {};

  /** @param {Api.Options["storage"]} storage @param {string} url */
  constructor(storage, url) {
    this.#storage = storage;
    this.#name = `threadchat ${url}`;
  }

  /** @returns {any} */
  load() {
    try {
      return JSON.parse(this.#storage?.getItem(this.#name) ?? "{}");
    } catch {
      return {}; // storage is forbidden
    }
  }

  /** @param {object} kept */
  save(kept) {
    try {
      this.#storage?.setItem(this.#name, JSON.stringify(kept));
    } catch {
      // Storage is full or forbidden: the chat still works, it only forgets on reload.
    }
  }

  forget() {
    try {
      this.#storage?.removeItem(this.#name);
    } catch {
      // It is forbidden, so there is nothing.
    }
  }

  get #locks() {
    return globalThis.navigator?.locks;
  }

  get hasLocks() {
    return Boolean(this.#locks);
  }

  /**
   * Takes the lock of the tab `id`. False where another page holds it.
   * @param {string} id @returns {Promise<boolean>}
   */
  claim(id) {
    const locks = this.#locks;
    if (!locks || !this.#storage) {
      return Promise.resolve(true);
    }
    this.release();
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), CLAIM);
    return new Promise((resolve) => {
      const hold = () =>
        new Promise((/** @type {(value?: unknown) => void} */ release) => {
          clearTimeout(timer);
          this.#release = release;
          resolve(true);
        });
      this.#release = () => patience.abort();
      locks.request(`${this.#name} ${id}`, { signal: patience.signal }, hold).catch(() => resolve(false));
    });
  }

  /** Gives the lock back: the page is being left. */
  release() {
    this.#release();
    this.#release = () => {};
  }
}

// --- the session: connections one after the other ---

/** Keeps a connection: back-off, hello, and what the browser tells of network, tab and page. */
class Session {
  /** @type {Api.State} */
  state = { phase: "connecting" };
  /** @type {Api.Me | null} */
  me = null;
  /** @type {string | undefined} */
  resume;
  /** @type {string | undefined} */
  nickname;
  #url;
  #options;
  #handlers;
  /** @type {Connection | null} */
  #connection = null;
  #online = new Deferred().optional();
  #requests = 0;
  #attempts = 0;
  #since = 0; // when the present connection was established
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  #tokenRefused = false;
  #hidden = false; // the page lies in the browser's back/forward cache
  #closing = new AbortController();

  /**
   * @param {string} url @param {Api.Options} options
   * @param {{
   *   greeting: () => object,
   *   welcomed: (reply: any, before: Api.Me | null) => void,
   *   received: (frame: Api.Frame) => void,
   *   turned: (state: Api.State) => void,
   *   left: () => void,
   *   returned: () => void,
   * }} handlers
   */
  constructor(url, options, handlers) {
    this.#url = url;
    this.#options = options;
    this.#handlers = handlers;
    this.nickname = options.nickname;
    this.#listen(globalThis, "online", () => this.#wake());
    this.#listen(globalThis, "offline", () => this.#connection?.probe());
    this.#listen(globalThis, "pagehide", () => this.#leave());
    this.#listen(globalThis, "pageshow", ({ persisted }) => persisted && this.#return());
    this.#listen(globalThis.document, "visibilitychange", () => document.hidden || this.#wake());
  }

  get online() {
    return this.state.phase === "online";
  }

  /** Opens now, whatever the back-off says; does nothing while there is a connection or an attempt at one. */
  async connect() {
    if (this.#connection || this.#hidden) {
      return;
    }
    clearTimeout(this.#retry);
    const connection = new Connection({
      received: this.#handlers.received,
      closed: (code, reason) => this.#closed(connection, code, reason),
    });
    this.#connection = connection;
    this.#turn({ phase: this.state.phase === "away" ? "away" : "connecting" });
    try {
      const token = await this.#token();
      if (this.#connection !== connection) {
        return; // it took too long, or the page was left
      }
      await connection.open(new (this.#options.WebSocket ?? WebSocket)(this.#url));
      const { nickname, resume } = this;
      const hello = {
        type: "hello",
        nickname: nickname || undefined,
        resume,
        token,
        ...this.#handlers.greeting(),
      };
      await connection.request(hello, (reply) => this.#welcome(connection, reply));
    } catch (error) {
      if (error instanceof ChatError && error.code !== "lost" && !error.temporary) {
        this.end(error);
      } else {
        connection.drop(); // no token was to be had, or the server is busy
      }
    }
  }

  /** Ends it, and no longer listens to the page. */
  close() {
    this.#closing.abort();
    this.end(new ChatError(1000, "the chat was closed"));
  }

  /** Nothing is tried again, unless `connect` is called. @param {ChatError} error */
  end(error) {
    const connection = this.#connection;
    this.#connection = null;
    clearTimeout(this.#retry);
    connection?.drop();
    this.#turn({ phase: "ended", code: Number(error.code), reason: error.reason });
    this.#online.reject(new ChatError("ended", error.reason));
    this.#online = new Deferred().optional();
  }

  /**
   * Sends a command once there is a connection. @param {object} command @param {Api.RequestOptions} [options]
   * @returns {Promise<any>}
   */
  async request(command, { timeout = this.#options.timeout ?? 10_000, retry = false } = {}) {
    if (this.#requests >= (this.#options.queue ?? 200)) {
      throw new ChatError("full", "too many commands wait already");
    }
    if (this.state.phase === "ended") {
      throw new ChatError("ended", this.state.reason ?? "");
    }
    this.#requests += 1;
    const late = new Deferred().optional();
    const timer = setTimeout(
      () => late.reject(new ChatError("timeout", `no reply within ${timeout} ms`)),
      timeout,
    );
    try {
      while (!this.online) {
        await Promise.race([this.#online.promise, late.promise]);
      }
      const reply = retry ? this.persist(command, ATTEMPTS) : this.#connection?.request(command);
      return await Promise.race([reply, late.promise]);
    } finally {
      clearTimeout(timer);
      this.#requests -= 1;
    }
  }

  /**
   * Does a command that may be repeated: a temporary refusal is tried again, on the same connection only.
   * @param {object} command @param {number} attempts @param {(reply: any) => void} [onReply]
   * @returns {Promise<any>}
   */
  async persist(command, attempts, onReply) {
    const connection = this.#connection;
    if (!connection) {
      throw lost();
    }
    for (let attempt = 1, wait = FIRST_RETRY; ; attempt += 1, wait = Math.min(2 * wait, LONGEST_RETRY)) {
      try {
        return await connection.request(command, onReply);
      } catch (error) {
        if (!(error instanceof ChatError && error.temporary) || attempt >= attempts) {
          throw error;
        }
      }
      await connection.pause(wait * (0.5 + Math.random() / 2));
    }
  }

  async #token() {
    const { token } = this.#options;
    return typeof token === "function" ? token() : token;
  }

  /** @param {Connection} connection @param {any} reply */
  #welcome(connection, reply) {
    connection.established();
    this.#since = now();
    this.#tokenRefused = false;
    const before = this.me;
    const { user, session, known = false, resumed = false } = reply;
    this.nickname = reply.nickname ?? this.nickname ?? before?.nickname;
    this.resume = reply.resume;
    const same = resumed || (known && before?.known === true && before.user === user);
    this.me = { user, session, nickname: this.nickname ?? "", known, same };
    this.#turn({ phase: "online" });
    this.#handlers.welcomed(reply, before);
    this.#online.resolve(undefined);
    this.#online = new Deferred().optional();
  }

  /** @param {Connection} connection @param {number} code @param {string} reason */
  #closed(connection, code, reason) {
    if (this.#connection !== connection) {
      return; // it was given up before
    }
    this.#connection = null;
    if (this.#since && now() - this.#since > STEADY) {
      this.#attempts = 0;
    }
    this.#since = 0;
    // A token may have grown old: where it can be fetched anew, it is, once.
    const again = code === INVALID_TOKEN && typeof this.#options.token === "function" && !this.#tokenRefused;
    this.#tokenRefused = code === INVALID_TOKEN;
    if (this.#hidden) {
      this.#turn({ phase: "away", code, reason });
    } else if (again || comesBack(code)) {
      // Drawn from 0 up, so that those who lost their server together do not come back together.
      const retryIn = Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#attempts++);
      this.#retry = setTimeout(() => this.connect(), retryIn);
      this.#turn({ phase: "away", code, reason, retryIn });
    } else {
      this.end(new ChatError(code, reason));
    }
  }

  /** The network or the tab came back: try at once, or find out whether the connection survived. */
  #wake() {
    if (this.#connection) {
      this.#connection.probe();
    } else if (this.state.phase === "away") {
      this.connect();
    }
  }

  /** The page is left, maybe for the back/forward cache, which takes none that has a connection. */
  #leave() {
    this.#hidden = true;
    clearTimeout(this.#retry);
    this.#connection?.drop(1001, "the page was left");
    this.#handlers.left();
  }

  #return() {
    this.#hidden = false;
    this.#handlers.returned();
    this.#wake();
  }

  /**
   * @param {Partial<EventTarget> | undefined} target @param {string} event
   * @param {(event: any) => void} listener
   */
  #listen(target, event, listener) {
    target?.addEventListener?.(event, listener, { signal: this.#closing.signal });
  }

  /** @param {Api.State} state */
  #turn(state) {
    this.state = state;
    this.#handlers.turned(state);
  }
}

// --- what is said ---

/**
 * @typedef {object} Item what was said and is not confirmed yet
 * @property {string} target the conversation that it belongs to
 * @property {{type: "message", room: string, message: string, key: string, reply_to?: number, epoch?: string} |
 *   {type: "direct", to: Api.UserId, message: string, key: string}} command
 * @property {number} at
 * @property {{user: Api.UserId, epoch: string | null, at: number} | null} tried the first attempt
 * @property {boolean} kept it comes from storage, or from a page that was left: another tab may have it, too
 * @property {Deferred<any>} deferred
 */

/** Sends what is said: in order, one at a time for each conversation, and each once. */
class Outbox {
  /** @type {Map<string, Item[]>} */
  #queues = new Map();
  /** @type {Set<string>} */
  #busy = new Set();
  #limit;
  #handlers;

  /**
   * @param {number} limit
   * @param {{
   *   ready: (item: Item) => boolean,
   *   closed: () => boolean,
   *   attempt: (item: Item) => NonNullable<Item["tried"]> & {keyed: boolean},
   *   send: (command: Item["command"]) => Promise<any>,
   *   changed: () => void,
   * }} handlers `attempt` says as which user, and into which log, an item would be sent now; `keyed`, whether
   *   the server recognises its key there
   */
  constructor(limit, handlers) {
    this.#limit = limit;
    this.#handlers = handlers;
  }

  get items() {
    return [...this.#queues.values()].flat();
  }

  /** @param {string} target @returns {Api.Waiting[]} */
  waiting(target) {
    return (this.#queues.get(target) ?? []).map(
      ({ command: { key, message }, at, deferred: { promise: done } }) => {
        return { key, message, at, done };
      },
    );
  }

  /** @param {Omit<Item, "deferred">} item @returns {Promise<any>} */
  add(item) {
    if (this.#handlers.closed()) {
      return Promise.reject(new ChatError("ended", "there is no connection any more"));
    }
    if (this.items.length >= this.#limit) {
      return Promise.reject(new ChatError("full", "too many messages wait already"));
    }
    const deferred = new Deferred();
    this.#queues.set(item.target, [...(this.#queues.get(item.target) ?? []), { ...item, deferred }]);
    this.#handlers.changed();
    this.flush(item.target);
    return deferred.promise;
  }

  /** Sends what can be sent. @param {string} target */
  async flush(target) {
    if (this.#busy.has(target)) {
      return;
    }
    this.#busy.add(target);
    for (let item; (item = this.#queues.get(target)?.[0]) && this.#handlers.ready(item);) {
      await this.#deliver(item);
    }
    this.#busy.delete(target);
  }

  flushAll() {
    for (const target of this.#queues.keys()) {
      this.flush(target);
    }
  }

  /** Rejects some of what waits. @param {(item: Item) => boolean} which @param {ChatError} error */
  giveUp(which, error) {
    for (const item of this.items.filter(which)) {
      this.#remove(item);
      item.deferred.reject(item.tried && error.code !== "taken" ? lost() : error);
    }
  }

  /** @param {Item} item */
  async #deliver(item) {
    const { keyed, user, epoch, at } = this.#handlers.attempt(item);
    const { tried } = item;
    // Sending it again is safe into another log, or while the server remembers the user's key in this one.
    const elsewhere = tried?.epoch && epoch && tried.epoch !== epoch;
    if (tried && !elsewhere && !(keyed && tried.user === user && at - tried.at < KEY_LIFE)) {
      this.#remove(item);
      item.deferred.reject(lost());
      return;
    }
    item.tried ??= { user, epoch, at };
    this.#handlers.changed();
    try {
      const { type, re, ...reply } = await this.#handlers.send(item.command);
      this.#remove(item);
      item.deferred.resolve(item.command.type === "message" ? { ...reply, epoch } : reply);
    } catch (error) {
      if (!failedBy(error, "lost")) {
        this.#remove(item);
        item.deferred.reject(error);
      }
    }
  }

  /** @param {Item} item */
  #remove(item) {
    const left = (this.#queues.get(item.target) ?? []).filter((other) => other !== item);
    left.length ? this.#queues.set(item.target, left) : this.#queues.delete(item.target);
    this.#handlers.changed();
  }
}

// --- what is heard ---

/** A log that is followed: takes each event once, in order, and tells what is missing. */
class Feed {
  /** @type {Api.Position | null} */
  position = null;
  #listeners = new Listeners();

  get isHeard() {
    return this.#listeners.any;
  }

  /** @param {string} what @param {Function} listener */
  on(what, listener) {
    return this.#listeners.add(what, listener);
  }

  /** @param {string} what @param {unknown[]} details */
  tell(what, ...details) {
    this.#listeners.tell(what, ...details);
  }

  /**
   * The server goes on after `since`, if it still can; else from where it says.
   * @param {Api.Position | null} since @param {Api.Subscribed} reply
   */
  follow(since, { offset, epoch, recovered }) {
    this.position = { offset: since && recovered ? since.offset : offset, epoch };
    if (since && !recovered) {
      this.tell(since.epoch === epoch ? "gap" : "reset", { before: since, after: this.position });
    }
  }

  /** @param {any} frame @param {boolean} [skipped] */
  receive(frame, skipped = false) {
    if (frame.id !== undefined && this.position) {
      if (frame.id <= this.position.offset) {
        return; // it came before
      }
      this.position = { offset: frame.id, epoch: this.position.epoch };
    }
    if (skipped) {
      return;
    }
    if (frame.type !== "event") {
      this.tell(frame.type, frame, frame);
      return;
    }
    this.tell("event", frame.data, frame);
    if (!TYPES.has(frame.name)) {
      this.tell(frame.name, frame.data, frame);
    }
  }
}

/** @implements {Api.Room} */
class Room extends Feed {
  #session;
  #outbox;
  #filter;
  /** @type {"" | "subscribe" | "join"} what `join` or the application asked for; listeners count beside it */
  #requested = "";
  #excluded = false; // the server let one in no more
  /** @type {Promise<void> | null} */
  #settling = null;
  /** @type {"" | "subscribe" | "join"} what the present connection has */
  #active = "";
  /** @type {Deferred<any> | null} */
  #joining = null;
  /** @type {Api.Position | null} up to where the server was told that one has read */
  #read = null;

  /** @param {string} name @param {Api.Filter} filter @param {Session} session @param {Outbox} outbox */
  constructor(name, filter, session, outbox) {
    super();
    this.name = name;
    this.target = `#${name}`;
    this.#filter = filter;
    this.#session = session;
    this.#outbox = outbox;
  }

  /** @param {string} what @param {Function} listener */
  on(what, listener) {
    const off = super.on(what, listener);
    this.#excluded = false;
    this.settle();
    return () => {
      off();
      this.settle();
    };
  }

  /** @returns {Promise<Api.Subscribed>} */
  join() {
    this.#requested = "join";
    this.#excluded = false;
    if (this.#session.state.phase === "ended") {
      return Promise.reject(new ChatError("ended", "there is no connection any more"));
    }
    if (this.#active === "join" && this.position) {
      return Promise.resolve(this.position);
    }
    this.#joining ??= new Deferred();
    this.settle();
    return this.#joining.promise;
  }

  async leave() {
    this.#requested = "";
    this.#joining?.reject(new ChatError("changed", "the room was left"));
    this.#joining = null;
    await this.settle();
  }

  /** @param {string} text @param {{key?: string, reply_to?: number, epoch?: string}} [options] */
  message(text, { key = newKey(), reply_to, epoch = this.position?.epoch } = {}) {
    const reply = reply_to ? { reply_to, epoch } : {};
    const command = { type: /** @type {const} */ ("message"), room: this.name, message: text, key, ...reply };
    return this.#outbox.add({ target: this.target, command, at: Date.now(), tried: null, kept: false });
  }

  get waiting() {
    return this.#outbox.waiting(this.target);
  }

  /** @param {string} type @param {object} [fields] @param {Api.RequestOptions} [options] */
  request(type, fields, options) {
    return this.#session.request({ ...fields, type, room: this.name }, options);
  }

  /** @param {number} event @param {string} text @param {{epoch?: string}} [options] */
  edit(event, text, options) {
    return this.#change("edit", event, { message: text }, options);
  }

  /** @param {number} event @param {{epoch?: string}} [options] */
  remove(event, options) {
    return this.#change("delete", event, {}, options);
  }

  /** @param {number} event @param {string} emoji @param {{epoch?: string}} [options] */
  react(event, emoji, options) {
    return this.#change("react", event, { emoji }, options);
  }

  /** @param {number} event @param {string} emoji @param {{epoch?: string}} [options] */
  unreact(event, emoji, options) {
    return this.#change("unreact", event, { emoji }, options);
  }

  /** @param {number} event @param {{epoch?: string}} [options] */
  async read(event, { epoch = this.position?.epoch } = {}) {
    if (this.#read && this.#read.epoch === epoch && this.#read.offset >= event) {
      return; // the server knows
    }
    this.#read = { offset: event, epoch: epoch ?? "" };
    try {
      await this.request("read", { event, epoch: epoch ?? "" }, { retry: true });
    } catch (error) {
      this.#read = null;
      throw error;
    }
  }

  /**
   * A message is named by its id and its log: the same id in another log is another message.
   * @param {string} type @param {number} event @param {object} fields @param {{epoch?: string}} [options]
   */
  async #change(type, event, fields, { epoch = this.position?.epoch } = {}) {
    const reply = await this.request(type, { event, epoch, ...fields }, { retry: true });
    return { offset: reply.offset ?? null };
  }

  /** Whether what is said here may be sent: not before one is in, where one wants to be. */
  get isSettled() {
    return this.#session.online && this.#active === this.#wanted;
  }

  get #wanted() {
    if (this.#excluded) {
      return "";
    }
    return this.#requested || (this.isHeard ? "subscribe" : "");
  }

  /** Goes in or out, until the server has what is wanted. A connection has one subscription for each room. */
  settle() {
    this.#settling ??= this.#reconcile().finally(() => {
      this.#settling = null;
      this.#outbox.flush(this.target);
    });
    return this.#settling;
  }

  async #reconcile() {
    await null; // listeners and `join` that come together make one subscription
    while (this.#session.online && this.#active !== this.#wanted) {
      try {
        await (this.#active ? this.#exit() : this.#enter());
      } catch (error) {
        // 105 while active: the application put the user in first, and its notice came before this error.
        const overtaken = this.#active && failedBy(error, ALREADY);
        if (error instanceof ChatError && error.code !== "lost" && !overtaken) {
          this.#exclude(error);
          this.tell("refused", error);
        }
      }
    }
  }

  /** The connection is gone; `error` is given where no other will follow. @param {ChatError} [error] */
  lost(error) {
    this.#active = "";
    if (error) {
      this.#joining?.reject(error);
      this.#joining = null;
    }
  }

  /** @param {any} frame @param {boolean} [skipped] */
  receive(frame, skipped) {
    const { type, reason, offset, epoch } = frame;
    if (type === "joined" || type === "subscribed") {
      const mode = type === "joined" ? "join" : "subscribe";
      this.#requested = this.#requested === "join" ? "join" : mode;
      this.#excluded = false;
      this.#entered(mode, null, { offset, epoch });
      this.settle();
      return;
    }
    super.receive(frame, skipped);
    if (type === "kicked") {
      this.#exclude(new ChatError(PERMISSION_DENIED, reason));
    } else if (type === "close") {
      this.#exclude(new ChatError(UNKNOWN_ROOM, "the room was closed"));
    } else if (type === "left" || type === "unsubscribed") {
      this.#exclude(new ChatError(UNKNOWN_ROOM, "the application had one leave the room"));
    }
  }

  async #enter() {
    const mode = /** @type {"subscribe" | "join"} */ (this.#wanted);
    const since = this.position;
    const command = { ...this.#filter, type: mode, room: this.name, since: since ?? undefined };
    await this.#session.persist(command, Infinity, ({ offset, epoch, recovered }) =>
      this.#entered(mode, since, { offset, epoch, recovered }),
    );
  }

  /**
   * The server let one in.
   * @param {"subscribe" | "join"} mode @param {Api.Position | null} since @param {Api.Subscribed} reply
   */
  #entered(mode, since, reply) {
    this.#active = mode;
    this.follow(since, reply);
    this.tell("subscribed", reply);
    if (mode === "join") {
      this.#joining?.resolve(reply);
      this.#joining = null;
    }
  }

  async #exit() {
    try {
      const type = this.#active === "join" ? "leave" : "unsubscribe";
      await this.#session.persist({ type, room: this.name }, Infinity);
    } catch (error) {
      if (!failedBy(error, UNKNOWN_ROOM)) {
        throw error; // otherwise one was out already
      }
    }
    this.#active = "";
    if (!this.#wanted) {
      this.position = null; // whoever listens again begins with what is new then
    }
  }

  /** @param {ChatError} error */
  #exclude(error) {
    const { target } = this;
    if (this.#requested === "join") {
      this.#outbox.giveUp((item) => item.target === target, error);
    }
    this.#active = "";
    this.#excluded = true;
    this.#requested = "";
    this.#joining?.reject(error);
    this.#joining = null;
  }
}

// --- all of it ---

/** A key tells a second attempt from a second message. */
const newKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

/** @param {Api.UserId} user */
const targetOf = (user) => `@${JSON.stringify(user)}`; // 7 is not "7"

/** @implements {Api.Chat} */
class Chat {
  inbox = new Feed();
  /** @type {Record<string, Api.Unread>} */
  unread = {};
  #listeners = new Listeners();
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  #session;
  #outbox;
  #tab;
  #id = newKey();
  /** @type {string[]} ids of this tab's sessions; an event that skips one of them is skipped for the tab */
  #sessions = [];
  #claimed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #saving;

  /** @param {string} url @param {Api.Options} options */
  constructor(url, options) {
    this.#tab = new Tab(options.storage === undefined ? sessionStorageOf(globalThis) : options.storage, url);
    this.#session = new Session(url, options, {
      greeting: () => ({ inbox: this.inbox.position ?? undefined }),
      welcomed: (reply, before) => this.#welcomed(reply, before),
      received: (frame) => this.#received(frame),
      turned: (state) => this.#turned(state),
      left: () => this.#left(),
      returned: () => this.#open(),
    });
    this.#outbox = new Outbox(options.queue ?? 200, {
      ready: (item) => this.#mayBeSent(item),
      closed: () => this.state.phase === "ended",
      attempt: ({ command }) => {
        const inRoom = command.type === "message";
        const epoch = inRoom ? this.room(command.room).position?.epoch : null;
        const keyed = inRoom || this.#hasInbox(command.to);
        return { keyed, user: this.me?.user ?? 0, epoch: epoch ?? null, at: now() };
      },
      send: (command) => this.#session.persist(command, ATTEMPTS),
      changed: () => this.#changed(),
    });
    this.#restore();
    this.#open();
    this.connect();
  }

  get state() {
    return this.#session.state;
  }

  get me() {
    return this.#session.me;
  }

  /** @param {string} what @param {Function} listener */
  on(what, listener) {
    return this.#listeners.add(what, listener);
  }

  /** @param {string} name @param {Api.Filter} [filter] @returns {Room} */
  room(name, filter = {}) {
    const normal = normalize(name);
    const room = this.#rooms.get(normal) ?? new Room(normal, filter, this.#session, this.#outbox);
    this.#rooms.set(normal, room);
    return room;
  }

  /** @param {string} name @param {unknown} [data] @param {{timeout?: number}} [options] */
  async call(name, data, options) {
    const reply = await this.request("call", { name, data }, options);
    return reply.data;
  }

  /** @param {Api.UserId} to @param {string} text */
  direct(to, text, { key = newKey() } = {}) {
    const command = { type: /** @type {const} */ ("direct"), to, message: text, key };
    return this.#outbox.add({ target: targetOf(to), command, at: Date.now(), tried: null, kept: false });
  }

  /** @param {Api.UserId} to */
  waitingFor(to) {
    return this.#outbox.waiting(targetOf(to));
  }

  /** @param {string} type @param {object} [fields] @param {Api.RequestOptions} [options] */
  request(type, fields, options) {
    return this.#session.request({ ...fields, type }, options);
  }

  /** @param {string} nickname */
  async rename(nickname) {
    const { resume } = await this.request("profile", { nickname });
    const session = this.#session;
    Object.assign(session, { nickname, resume, me: session.me && { ...session.me, nickname } });
    this.#changed();
  }

  /** @param {Api.UserId} user */
  async block(user) {
    await this.request("block", { user });
  }

  /** @param {Api.UserId} user */
  async unblock(user) {
    await this.request("unblock", { user });
  }

  /** @returns {Promise<Api.UserId[]>} */
  async blocked() {
    return (await this.request("blocked")).users;
  }

  async logout() {
    try {
      await this.request("logout");
    } finally {
      this.close();
    }
  }

  /** @param {string} [nickname] */
  connect(nickname = this.#session.nickname) {
    this.#session.nickname = nickname;
    this.#session.connect();
  }

  close() {
    this.#session.close();
    clearTimeout(this.#saving);
    this.#tab.forget();
    this.#tab.release();
  }

  /** @param {any} reply @param {Api.Me | null} before */
  #welcomed(reply, before) {
    const { me } = this;
    if (before && me && !me.same) {
      // Nobody's words go out under another name. And a stranger's id may be another stranger's by now.
      const which = (/** @type {Item} */ { command }) =>
        me.known || before.known || command.type === "direct";
      this.#outbox.giveUp(which, new ChatError("changed", "one came back as somebody else"));
    }
    this.#sessions = [...this.#sessions, reply.session].slice(-SESSIONS_KEPT);
    if (reply.inbox) {
      this.inbox.follow(this.inbox.position, reply.inbox);
    } else {
      this.inbox.position = null;
    }
    this.unread = reply.unread ?? {};
    this.#listeners.tell("hello", me);
    this.#changed();
    this.#rooms.forEach((room) => room.settle());
    this.#outbox.flushAll();
  }

  /** @param {any} frame */
  #received(frame) {
    const skipped = frame.skip !== undefined && this.#sessions.includes(frame.skip);
    if (frame.type === "error") {
      this.#listeners.tell("error", new ChatError(frame.code, frame.reason, frame.temporary));
    } else if (frame.type === "inbox") {
      this.inbox.follow(null, frame); // there was none yet when hello was answered
    } else if (frame.chatroomId === undefined) {
      this.inbox.receive(frame, skipped);
      this.#changed();
    } else if (frame.type === "joined" || frame.type === "subscribed") {
      this.room(frame.chatroomId).receive(frame);
    } else {
      this.#rooms.get(frame.chatroomId)?.receive(frame, skipped);
    }
  }

  /**
   * Only the known have inboxes; where the server knows people, the ids of strangers are below 0.
   * @param {Api.UserId} user
   */
  #hasInbox(user) {
    const { me } = this;
    const here = me?.known ? this.inbox.position !== null : Number(me?.user) < 0;
    return here && (typeof user === "string" || user > 0);
  }

  /** @param {Api.State} state */
  #turned(state) {
    const ended = state.phase === "ended" ? new ChatError("ended", state.reason ?? "") : undefined;
    if (state.phase !== "online") {
      this.#rooms.forEach((room) => room.lost(ended));
    }
    if (ended) {
      this.#outbox.giveUp(() => true, ended);
    }
    this.#listeners.tell("state", state);
  }

  /** @param {Item} item */
  #mayBeSent({ command }) {
    const { online } = this.#session;
    return online && this.#claimed && (command.type === "direct" || this.room(command.room).isSettled);
  }

  // What the tab keeps

  #restore() {
    const { id, me, nickname, resume, inbox, sessions = [], waiting = [] } = this.#tab.load();
    this.#id = id ?? this.#id;
    this.#session.me = me ?? null;
    this.#session.nickname ??= nickname;
    this.#session.resume = resume;
    this.inbox.position = inbox ?? null;
    this.#sessions = sessions;
    for (const item of waiting) {
      this.#outbox.add({ ...item, kept: true }).catch(() => {}); // the page that said it is gone
    }
  }

  #changed() {
    this.#saving ??= setTimeout(() => this.#save(), SAVE_AFTER);
  }

  #save(leaving = false) {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    const { me, nickname, resume } = this.#session;
    const items = leaving || this.#tab.hasLocks ? this.#outbox.items : [];
    const waiting = items.map(({ target, command, at, tried }) => ({ target, command, at, tried }));
    const [id, inbox, sessions] = [this.#id, this.inbox.position, this.#sessions];
    this.#tab.save({ id, me, nickname, resume, inbox, sessions, waiting });
  }

  #left() {
    this.#save(true);
    this.#outbox.items.forEach((item) => (item.kept = true));
    this.#claimed = false;
    this.#tab.release();
  }

  /** The page begins, or is back: it sends what waits, unless another one does. */
  async #open() {
    this.#save();
    if (!(await this.#tab.claim(this.#id))) {
      this.#outbox.giveUp(({ kept }) => kept, new ChatError("taken", "another tab sends it"));
      this.#sessions = this.me ? [this.me.session] : [];
      this.#id = newKey();
      await this.#tab.claim(this.#id);
    }
    this.#claimed = true;
    this.#outbox.flushAll();
  }
}

/** @param {{sessionStorage?: Storage}} scope */
function sessionStorageOf(scope) {
  try {
    return scope.sessionStorage ?? null;
  } catch {
    return null; // forbidden
  }
}

/** @type {typeof Api.connect} */
export function connect(url, options = {}) {
  const address = new URL(url, globalThis.document?.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = "";
  return new Chat(address.href, options);
}
