/** Joins the model to the server, through the client that anybody's page may use. */

import { connect } from "../threadchat.js";
import { directKey } from "./model.js";
import { Outbox } from "./outbox.js";
import { Rooms } from "./rooms.js";
import { remembered } from "./storage.js";
import { refusal } from "./text/phrases.js";
import { W } from "./text/words.js";

const BEGINNING = { offset: 0, epoch: "" }; // of an inbox
const JUST_NOW = 60; // seconds for which a private message counts as just said

export class Chat {
  #model;
  #url;
  #token;
  #report;
  #changed;
  #heard;
  #client = null;
  #wasAway = false;
  #lastVisit = remembered.visit.get(); // Unix time up to which this browser had the private messages

  /**
   * `token`, if there is one, says who the person is. `report(text)` tells the person of a problem; `changed()`
   * asks for the screen to be drawn; `heard(conversation, message)` is called with each message that was just said:
   * {userId, name, text, mention, mine}.
   */
  constructor(model, url, token, { report, changed, heard }) {
    this.#model = model;
    this.#url = url;
    this.#token = token ?? undefined;
    this.#report = report;
    this.#changed = changed;
    this.#heard = heard;
    const client = () => this.#client;
    const attempt = (asking, what) => this.#attempt(asking, what);
    this.outbox = new Outbox(model, client, changed);
    const told = (room, { id }) => {
      const item = room.timeline.find(room.epoch, id);
      item && heard(room, item);
    };
    this.rooms = new Rooms(model, { client, attempt, changed, heard: told });
  }

  /** Comes in, under the nickname of the model; does nothing where one is in. */
  connect() {
    if (this.#client) {
      this.#client.connect(this.#model.me.nickname);
      return;
    }
    this.#client = connect(this.#url, { nickname: this.#model.me.nickname, token: this.#token });
    this.#client.inbox.position ??= BEGINNING; // a tab that knows nothing asks for all that is there
    this.#client.on("state", (state) => this.#turned(state));
    this.#client.on("hello", (me) => this.#welcomed(me));
    this.#client.on("error", (error) => this.#report(refusal(error, W.serverProblem)));
    this.#client.inbox.on("direct", (direct) => this.#received(direct));
    this.#client.inbox.on("typing", (frame) => this.#typist(frame));
    this.#turned(this.#client.state);
    this.#model.conversations.forEach((conversation) => this.outbox.adopt(conversation));
    this.#model.rooms.forEach((room) => this.rooms.join(room));
  }

  /** Joins a room now, or as soon as there is a connection. */
  enter(room) {
    return this.rooms.join(room);
  }

  /** Takes another nickname. Rejects with a ChatError. */
  async rename(nickname) {
    const { me, rooms } = this.#model;
    await this.#client.rename(nickname);
    me.nickname = nickname;
    rooms.forEach((room) => this.rooms.loadPeople(room));
    this.#changed();
  }

  #welcomed({ user, nickname, known, same }) {
    Object.assign(this.#model.me, { user, nickname, known });
    if (!same) {
      this.#model.endDirects();
    }
    this.rooms.learnRead();
    this.rooms.list();
    this.#learnBlocked();
  }

  /** The server keeps whom one blocks. */
  async #learnBlocked() {
    const { blocked } = this.#model;
    const users = await this.#attempt(this.#client.blocked());
    if (users) {
      blocked.clear();
      users.forEach((user) => blocked.add(user));
      this.#changed();
    }
  }

  /** Takes no more private messages from somebody; or does again. The person is told of a failure. */
  async block(user, blocks) {
    const { blocked } = this.#model;
    const done = (blocks ? this.#client.block(user) : this.#client.unblock(user)).then(
      () => void (blocks ? blocked.add(user) : blocked.delete(user)),
    );
    await this.#attempt(done, W.failedTo.moderate);
    this.#changed();
  }

  #turned({ phase, code, reason, retryIn }) {
    const refused = phase === "ended" && code < 1000; // it is an error's: the hello was not accepted
    if (phase === "online") {
      this.#turn({ phase, back: this.#wasAway });
      this.#wasAway = false;
    } else if (refused) {
      const why = { name: "ChatError", code, reason };
      const problem = code === 101 ? W.needsToken : refusal(why, W.nameRefused);
      this.#turn({ phase: "unwelcome", problem });
    } else if (phase === "connecting") {
      this.#turn({ phase: this.#wasAway ? "away" : "trying", retryAt: 0 });
    } else {
      this.#wasAway = true;
      this.#model.rooms.forEach((room) => room.interrupt());
      this.#turn({ phase, code, reason, retryAt: retryIn === undefined ? 0 : performance.now() + retryIn });
    }
  }

  #turn(status) {
    this.#model.status = status;
    this.outbox.review();
    this.#changed();
  }

  #received({ from, to, nickname, message: text, unixTime: at }) {
    const { me } = this.#model;
    const mine = from === me.user && to !== me.user; // said in another tab
    const name = nickname ?? this.#model.nameOf(from);
    const direct = mine ? this.#model.direct(to, this.#model.nameOf(to)) : this.#model.direct(from, name);
    direct.add({ userId: from, name, text, at, mine });
    if (at <= this.#lastVisit) {
      direct.timeline.markRead(); // another tab had it
    } else if (Date.now() / 1000 - at < JUST_NOW) {
      this.#heard(direct, { userId: from, name, text, mine, mention: true });
    }
    this.#changed();
  }

  #typist(frame) {
    const direct = this.#model.directs.get(directKey(frame.userId));
    if (direct) {
      this.rooms.typist(direct, frame);
      this.#changed();
    }
  }

  /** Does something to a message of a room: "edit", "remove", "react" or "unreact". The person is told of a failure. */
  async alter(room, how, { id, epoch }, detail) {
    const options = { epoch };
    const doing = detail === undefined ? room.source[how](id, options) : room.source[how](id, detail, options);
    const what = { edit: W.failedTo.edit, remove: W.failedTo.delete }[how] ?? W.failedTo.react;
    await this.#attempt(doing, what);
  }

  /** A moderator's command. Rejects with a ChatError. */
  moderate(type, fields) {
    return this.#client.request(type, fields);
  }

  /** Ends the visit, and forgets who one is. */
  async signOut() {
    try {
      await this.#client?.logout?.();
    } catch {
      // The server is away: this side forgets all the same.
    }
    this.#client?.close();
  }

  /** What was asked for, or undefined where it fails; the person is told where `what` is given. */
  async #attempt(asking, what) {
    try {
      return await asking;
    } catch (error) {
      if (what && typeof error.code === "number") {
        this.#report(refusal(error, what));
      }
      return undefined;
    }
  }
}
