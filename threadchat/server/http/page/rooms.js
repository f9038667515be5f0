/** Keeps rooms in step with the server: joins and resumes them, loads history and people, takes events. */

import { Loader } from "./history.js";
import { refusal, sentence } from "./text/phrases.js";
import { W } from "./text/words.js";

const ASK_AGAIN = 1_000; // ms before people are asked for again where somebody came or went meanwhile
const TYPING_SHOWN = 5_000; // ms that a typist is shown after each sign of life
const READ_AFTER = 1_000; // ms in which what was read is gathered
const TYPING_SENT = 3_000; // ms between two such signs sent

const EVENTS = [
  ...["message", "edit", "delete", "react", "unreact"],
  ...["join", "add", "remove", "leave", "rename", "close"],
];

export class Rooms {
  #model;
  #client;
  #attempt;
  #changed;
  #heard;
  #typingSent = 0;
  #told = new Set(); // rooms of which the server is yet to be told what was read
  #telling = 0;

  /**
   * `client()` is the connection's; `attempt` never rejects, and can tell the person instead; `heard(room, event)`
   * is called with each message that has just been said.
   */
  constructor(model, { client, attempt, changed, heard }) {
    this.#model = model;
    this.#client = client;
    this.#attempt = attempt;
    this.#changed = changed;
    this.#heard = heard;
    this.loader = new Loader(model, { attempt, changed });
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
      hear("read", ({ target, epoch }) => room.timeline.learn({ epoch, id: target })),
      hear("typing", (frame) => this.typist(room, frame)),
      hear("kicked", ({ reason }) => room.refuse(sentence(reason))),
      hear("refused", (error) => room.refuse(refusal(error, W.cantJoin))),
    ];
    return () => ends.forEach((end) => end());
  }

  #joined(room, { offset, epoch, recovered }) {
    const since = room.epoch === null ? undefined : { offset: room.last, epoch: room.epoch };
    room.phase = "joined";
    if (!recovered) {
      room.epoch = epoch;
      room.last = offset;
      this.learnRead();
      room.timeline.read ??= { epoch, id: offset };
      room.loaded = false;
    }
    if (!room.loaded) {
      // Refused, they will not come; where the connection broke, they are asked for again.
      this.#attempt(this.loader.begin(room, since)).then(() => (room.loaded ||= room.phase !== "joining"));
    }
    this.loadPeople(room);
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

  /** Somebody types in a room, or in a private conversation. */
  typist(conversation, { userId, from }) {
    if (this.#model.blocked.has(userId)) {
      return;
    }
    conversation.typing.set(userId, { name: from || W.Somebody, until: Date.now() + TYPING_SHOWN });
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
      if (event.type === "message") {
        this.#heard(room, event);
      }
    }
    if (event.type === "close") {
      room.phase = "closed";
    }
  }

  /** What was seen here is known to one's other tabs, and after days, where the server keeps it. */
  tellRead(room) {
    if (this.#client().me?.known && room.kind === "room") {
      this.#told.add(room);
      this.#telling ||= setTimeout(() => this.#tellAll(), READ_AFTER);
    }
  }

  #tellAll() {
    this.#telling = 0;
    for (const { source, timeline, epoch } of this.#told) {
      if (timeline.read?.epoch === epoch) {
        this.#attempt(source.read(Math.floor(timeline.read.id), { epoch }));
      }
    }
    this.#told.clear();
  }

  /** What the server kept of that: it comes with hello, before any room is joined. */
  learnRead() {
    for (const [name, { offset, epoch }] of Object.entries(this.#client().unread ?? {})) {
      this.#model.rooms.get(name)?.timeline.learn({ epoch, id: offset });
    }
  }

  /** Whether one may moderate a room; the server is asked once a connection. */
  async askModerated(room) {
    if (room.moderated === null && room.phase === "joined") {
      room.moderated = false;
      const reply = await this.#attempt(room.source.request("sanctions"));
      room.moderated = reply !== undefined;
      this.#changed();
    }
  }

  /** Tells a room, or a person, that one types, seldom enough not to be a burden. */
  typing({ kind, phase, source, id: to }) {
    const now = Date.now();
    if ((kind === "direct" || phase === "joined") && now - this.#typingSent > TYPING_SENT) {
      this.#typingSent = now;
      this.#attempt(kind === "direct" ? this.#client().request("typing_to", { to }) : source.request("typing"));
    }
  }

  stoppedTyping() {
    this.#typingSent = 0;
  }
}
