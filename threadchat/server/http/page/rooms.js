/** Keeps rooms in step with the server: joins and resumes them, loads history and people, takes events. */

import { refusal, sentence } from "./words.js";

const PAGE = 50; // events loaded at once, on entering a room and on scrolling up
const CATCH_UP = 1_000; // events asked for after a resume that failed; the server's own limit
const ASK_AGAIN = 1_000; // ms before people are asked for again where somebody came or went meanwhile
const TYPING_SHOWN = 5_000; // ms that a typist is shown after each sign of life
const TYPING_SENT = 3_000; // ms between two such signs sent

const EVENTS = ["message", "join", "add", "remove", "leave", "delete", "close"];

export class Rooms {
  #model;
  #client;
  #attempt;
  #changed;
  #typingSent = 0;

  /** `client()` is the connection's; `attempt` never rejects, and can tell the person instead. */
  constructor(model, { client, attempt, changed }) {
    this.#model = model;
    this.#client = client;
    this.#attempt = attempt;
    this.#changed = changed;
  }

  /** Joins a room, and stays in it over every reconnect. Resolves when one is in, or is not let in. */
  join(room) {
    room.phase = "joining";
    const source = this.#client().room(room.name);
    if (!room.source) {
      room.source = source;
      room.deafen = this.#listen(room, source);
    }
    return this.#attempt(source.join());
  }

  /** Returns what takes all listeners away. */
  #listen(room, source) {
    const hear = (what, listener) => source.on(what, (thing) => (listener(thing), this.#changed()));
    const ends = [
      ...EVENTS.map((type) => hear(type, (event) => this.#event(room, event))),
      hear("subscribed", (reply) => this.#joined(room, reply)),
      hear("typing", (frame) => this.#typist(room, frame)),
      hear("kicked", ({ reason }) => room.refuse(sentence(reason))),
      hear("refused", (error) => room.refuse(refusal(error, "This room can't be joined"))),
    ];
    return () => ends.forEach((end) => end());
  }

  #joined(room, { offset, epoch, recovered }) {
    const since = room.epoch === null ? undefined : { offset: room.last, epoch: room.epoch };
    room.phase = "joined";
    if (!recovered) {
      room.epoch = epoch;
      room.last = offset;
      room.timeline.read ??= { epoch, id: offset };
      room.loaded = false;
    }
    if (!room.loaded) {
      this.#attempt(this.#loadNewest(room, since));
    }
    this.loadPeople(room);
  }

  /** The newest events of a room; after a resume that failed, with a notice where some are missing. */
  async #loadNewest(room, since) {
    const limit = since ? CATCH_UP : PAGE;
    const { events } = await room.source.request("history", { limit }, { retry: true });
    room.loaded = true;
    const first = events[0]?.id ?? room.last + 1;
    const sameLog = since?.epoch === room.epoch;
    if (since && !(sameLog && first <= since.offset + 1)) {
      const id = sameLog ? since.offset + 0.5 : 0; // before the first event that is here again
      room.gap(id, Date.now() / 1000);
    }
    events.forEach((event) => room.take(event, this.#model.me.user));
    if (!sameLog || room.older === "unknown") {
      room.first = first;
      room.older = first > 1 ? "more" : "none";
    }
    this.#changed();
  }

  /** Loads what came before the oldest event that is here. */
  async loadOlder(room) {
    if (room.older !== "more" || room.phase !== "joined") {
      return;
    }
    const { oldest } = room.timeline;
    if (oldest && oldest.epoch !== room.epoch) {
      room.older = "none"; // it is from a log that the server no longer has
      return;
    }
    room.older = "loading";
    this.#changed();
    try {
      const since = { offset: room.first, epoch: room.epoch };
      const query = { since, reverse: true, limit: PAGE };
      const { events } = await room.source.request("history", query, { retry: true });
      events.forEach((event) => room.take(event, this.#model.me.user));
      room.first = events.at(-1)?.id ?? room.first;
      room.older = events.length && room.first > 1 ? "more" : "none";
    } catch (error) {
      room.older = error.code === 112 ? "none" : "more";
    }
    this.#changed();
  }

  async leave(room) {
    this.#model.rooms.delete(room.name);
    this.#changed();
    room.deafen?.();
    await room.source?.leave();
    await this.list();
  }

  /** Which rooms there are on the server. */
  async list() {
    const reply = await this.#attempt(this.#client().request("rooms"));
    if (!reply) {
      return;
    }
    this.#model.listed = reply.rooms;
    this.#model.moreListed = reply.more === true;
    for (const { name, people } of reply.rooms) {
      const room = this.#model.rooms.get(name);
      if (room?.peopleKnown && room.people.size !== people) {
        this.loadPeople(room); // in very large rooms the server does not announce who comes and goes
      }
    }
    this.#changed();
  }

  /** Who is in the room; asked again where somebody came or went before the answer was here. */
  async loadPeople(room) {
    room.moves += 1;
    if (room.asking) {
      return; // the question under way finds that `moves` has changed
    }
    room.asking = true;
    for (let moves = 0; moves !== room.moves;) {
      moves = room.moves;
      const users = await this.#allPeople(room);
      if (!users) {
        break;
      }
      room.people = new Map(users.map((user) => [user.id, user]));
      room.peopleKnown = true;
      this.#changed();
      if (moves !== room.moves) {
        await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN));
      }
    }
    room.asking = false;
  }

  /** Everybody in a room, in as many parts as the server gives; undefined where it does not answer. */
  async #allPeople(room) {
    const users = [];
    for (let more = true; more;) {
      const asking = room.source.request("who", { after: users.at(-1)?.id }, { retry: true });
      const reply = await this.#attempt(asking);
      if (!reply) {
        return undefined;
      }
      users.push(...reply.users);
      more = reply.more === true;
    }
    return users;
  }

  #typist(room, { userId, from }) {
    room.typing.set(userId, { name: from || "Somebody", until: Date.now() + TYPING_SHOWN });
    setTimeout(this.#changed, TYPING_SHOWN + 50);
  }

  #event(room, event) {
    const logged = event.id !== undefined; // a flood of comings and goings is only seen in the list of people
    room.last = logged ? Math.max(room.last, event.id) : room.last;
    const moved = event.type === "add" || event.type === "remove";
    if (moved) {
      this.loadPeople(room); // one session more or less: only the server has counted them
    } else if (!logged || room.take(event, this.#model.me.user)) {
      room.follow(event);
    }
    if (event.type === "close") {
      room.phase = "closed";
    }
  }

  /** Tells a room that one types, seldom enough not to be a burden. */
  typing(room) {
    const now = Date.now();
    if (room.phase === "joined" && now - this.#typingSent > TYPING_SENT) {
      this.#typingSent = now;
      this.#attempt(room.source.request("typing"));
    }
  }

  stoppedTyping() {
    this.#typingSent = 0;
  }
}
