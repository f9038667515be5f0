/** One connection that heals itself: commands become promises, a lost socket opens again after a back-off. */

const FIRST_DELAY = 400; // ms before the first new attempt; doubles up to MAX_DELAY, each time jittered
const MAX_DELAY = 15_000;
const OPEN_TIMEOUT = 10_000; // ms that one attempt may take
const QUIET = 25_000; // ms of silence after which the page asks whether the server is still there
const ANSWER = 10_000; // ms that the server has to answer that
const STABLE = 5_000; // ms after which a connection counts as good and the back-off starts over

/** Codes after which trying again makes sense. 1009 is one: only the frame was too long, not the visit. */
const HEALABLE = new Set([1001, 1005, 1006, 1009, 1011, 1012, 1013, 1014]);

export const heals = (code) => HEALABLE.has(code) || (code >= 3000 && code < 3500);

/** The server answered a command with an error. */
export class Refused extends Error {
  name = "Refused";

  constructor({ code, reason, temporary }) {
    super(reason);
    Object.assign(this, { code, reason, temporary });
  }
}

/** The connection ended before the answer came: nobody knows whether the command was carried out. */
export class Lost extends Error {
  name = "Lost";
  temporary = false;
}

export class Socket {
  #url;
  #handlers;
  #socket = null;
  #waiting = new Map(); // id of a command → how to settle its promise
  #nextId = 1;
  #attempts = 0;
  #retryTimer = 0;
  #openTimer = 0;
  #stableTimer = 0;
  #heard = 0;
  #asked = 0;

  /** `handlers`: opened(), received(frame), away({code, retryAt}), trying(), ended({code, reason}). */
  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
    setInterval(() => this.#watch(), 5_000);
  }

  /** Grows by one with each attempt: tells an answer for this connection from one for an earlier. */
  generation = 0;

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Opens now, whatever the back-off says; does nothing while a socket is open or opening. */
  connect() {
    if (this.#socket) {
      return;
    }
    this.#forgetRetry();
    this.generation += 1;
    this.#handlers.trying();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#openTimer = setTimeout(() => this.#drop(), OPEN_TIMEOUT);
    socket.onopen = () => {
      clearTimeout(this.#openTimer);
      this.#heard = Date.now();
      this.#asked = 0;
      this.#stableTimer = setTimeout(() => (this.#attempts = 0), STABLE);
      this.#handlers.opened();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  /** Sends a command; resolves with its reply, rejects with `Refused` or `Lost`. */
  request(command) {
    if (!this.open) {
      return Promise.reject(new Lost());
    }
    const id = this.#nextId++;
    this.#socket.send(JSON.stringify({ ...command, id }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /** Ends the visit from this side; nothing is tried again. */
  close() {
    const socket = this.#detach();
    this.#forgetRetry();
    socket?.close(1000);
  }

  /** The network or the tab came back: try at once, or find out whether the connection survived. */
  wake() {
    if (this.open) {
      this.#ask();
    } else if (!this.#socket && this.#retryTimer) {
      this.connect();
    }
  }

  #receive(data) {
    this.#heard = Date.now();
    this.#asked = 0;
    const frame = JSON.parse(data);
    const settle = this.#waiting.get(frame.re);
    if (frame.type === "ok" || (frame.type === "error" && settle)) {
      this.#waiting.delete(frame.re);
      frame.type === "ok" ? settle?.resolve(frame) : settle.reject(new Refused(frame));
    } else {
      this.#handlers.received(frame);
    }
  }

  /** The browser hides the server's pings, so silence on a dead network has to be noticed here. */
  #watch() {
    const now = Date.now();
    if (!this.open) {
      return;
    }
    if (this.#asked && now - this.#asked > ANSWER) {
      this.#drop();
    } else if (!this.#asked && now - this.#heard > QUIET) {
      this.#ask();
    }
  }

  #ask() {
    this.#asked ||= Date.now();
    this.request({ type: "ping" }).catch(() => {});
  }

  /** Gives the socket up without waiting for a close handshake that nobody may answer. */
  #drop() {
    const socket = this.#detach();
    socket?.close();
    this.#lost(1006, "");
  }

  #closed(code, reason) {
    this.#detach();
    this.#lost(code, reason);
  }

  #detach() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#openTimer);
    clearTimeout(this.#stableTimer);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
    }
    for (const { reject } of this.#waiting.values()) {
      reject(new Lost());
    }
    this.#waiting.clear();
    return socket;
  }

  #forgetRetry() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
  }

  #lost(code, reason) {
    this.#forgetRetry();
    if (!heals(code)) {
      this.#handlers.ended({ code, reason });
      return;
    }
    const ceiling = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** this.#attempts++);
    const delay = ceiling * (0.5 + Math.random() / 2);
    this.#retryTimer = setTimeout(() => this.connect(), delay);
    this.#handlers.away({ code, retryAt: Date.now() + delay });
  }
}
