/** Joins the model to the server: signs in, resumes after an absence, sends commands, hands on what comes. */

import { Outbox } from "./outbox.js";
import { Rooms } from "./rooms.js";
import { Lost, Refused, Socket } from "./socket.js";
import { NEEDS_TOKEN, refusal } from "./words.js";

const RETRY_CEILING = 8_000; // ms; a temporary refusal that would have to wait longer is final

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Chat {
  #model;
  #token;
  #socket;
  #report;
  #changed;
  #wasAway = false;

  /**
   * `token`, if there is one, says who the person is. `report(text)` tells the person of a problem; `changed()`
   * asks for the screen to be drawn.
   */
  constructor(model, url, token, { report, changed }) {
    this.#model = model;
    this.#token = token ? { token } : {};
    this.#report = report;
    this.#changed = changed;
    const ask = (command) => this.#ask(command);
    const attempt = (command, what) => this.#attempt(command, what);
    this.outbox = new Outbox(model, ask, changed);
    this.rooms = new Rooms(model, { ask, attempt, outbox: this.outbox, changed });
    this.#socket = new Socket(url, {
      trying: () => this.#turn({ phase: this.#wasAway ? "away" : "trying", retryAt: 0 }),
      opened: () => this.#hello(),
      received: (frame) => this.#received(frame),
      away: ({ code, retryAt }) => this.#gone(code, { phase: "away", retryAt }),
      ended: ({ code, reason }) => this.#gone(code, { phase: "ended", code, reason }),
    });
  }

  connect() {
    this.#socket.connect();
  }

  wake() {
    this.#socket.wake();
  }

  /** Joins a room now, or as soon as there is a connection. */
  async enter(room) {
    room.phase = "joining";
    if (this.#model.status.phase !== "online") {
      return; // `#resume` does it
    }
    try {
      await this.rooms.join(room);
    } catch (error) {
      if (error.name === "Refused") {
        Object.assign(room, { phase: "refused", problem: refusal(error, "This room can't be joined") });
        this.#changed();
      }
    }
  }

  /** Takes another nickname. Throws `Refused` or `Lost`. */
  async rename(nickname) {
    const { me, rooms } = this.#model;
    const { resume } = await this.#ask({ type: "profile", nickname });
    Object.assign(me, { nickname, resume: resume ?? me.resume });
    rooms.forEach((room) => this.rooms.loadPeople(room));
    this.#changed();
  }

  /** Comes as somebody new. */
  async #arrive() {
    const { me } = this.#model;
    const { user, resume, nickname } = await this.#ask({ type: "hello", nickname: me.nickname, ...this.#token });
    Object.assign(me, { user, resume, nickname: nickname ?? me.nickname }); // a login has a name of its own
    return false;
  }

  /**
   * Comes back as who one was; false where the server did not know that person any more. Its reply does not
   * say so, and after a restart the same number may be given anew. But only somebody known has a nickname
   * before `profile`; whoever has none may not type (103), whereas others only are in no room yet (102).
   */
  async #return() {
    const { me } = this.#model;
    const { user, nickname } = await this.#ask({ type: "hello", resume: me.resume, ...this.#token });
    me.nickname = nickname ?? me.nickname;
    const [known, { resume }] = await Promise.all([
      this.#ask({ type: "typing", room: "any" }).then(
        () => true,
        (error) => error.code !== 103,
      ),
      this.#ask({ type: "profile", nickname: me.nickname }),
    ]);
    Object.assign(me, { user, resume });
    return known;
  }

  async #hello() {
    try {
      const known = this.#model.me.resume ? await this.#return() : await this.#arrive();
      if (!known) {
        this.#model.endDirects();
      }
    } catch (error) {
      if (error.name === "Refused") {
        this.#socket.close();
        this.#turn({
          phase: "unwelcome",
          problem: error.code === 101 ? NEEDS_TOKEN : refusal(error, "The server did not accept this nickname"),
        });
      }
      return;
    }
    this.#turn({ phase: "online", back: this.#wasAway });
    this.#wasAway = false;
    await this.#resume();
  }

  async #resume() {
    const { rooms, directs } = this.#model;
    for (const direct of directs.values()) {
      this.outbox.review(direct);
      this.outbox.flush(direct);
    }
    await Promise.all(
      [...rooms.values()].filter(({ phase }) => phase === "joining").map((room) => this.enter(room)),
    );
    await this.rooms.list();
  }

  #gone(code, status) {
    if (code === 1009) {
      this.outbox.giveUpOnCurrent();
    }
    for (const room of this.#model.rooms.values()) {
      room.phase = room.phase === "joined" ? "joining" : room.phase;
      room.typing.clear();
    }
    this.#wasAway = true;
    this.#turn(status);
  }

  #turn(status) {
    this.#model.status = status;
    this.#changed();
  }

  #received(frame) {
    const room = this.#model.rooms.get(frame.chatroomId);
    if (frame.type === "error") {
      this.#report(refusal(new Refused(frame), "The server reports a problem"));
    } else if (frame.type === "direct") {
      const direct = this.#model.direct(frame.from, frame.nickname);
      const { from: userId, nickname: name, message: text, unixTime: at } = frame;
      direct.add({ userId, name: name ?? direct.nickname, text, at, mine: false });
    } else if (room) {
      this.rooms.receive(room, frame);
    }
    this.#changed();
  }

  /** Like `#ask`, but answers undefined where it fails, and tells the person if `what` failed is given. */
  async #attempt(command, what) {
    try {
      return await this.#ask(command);
    } catch (error) {
      if (what && error.name === "Refused") {
        this.#report(refusal(error, what));
      }
      return undefined;
    }
  }

  /** Sends a command; a temporary refusal is tried again, on the same connection only. */
  async #ask(command) {
    const { generation } = this.#socket;
    for (let wait = 1_000; ; wait *= 2) {
      try {
        return await this.#socket.request(command);
      } catch (error) {
        if (!error.temporary || wait > RETRY_CEILING) {
          throw error;
        }
      }
      await pause(wait * (0.5 + Math.random() / 2));
      if (generation !== this.#socket.generation) {
        throw new Lost();
      }
    }
  }
}
