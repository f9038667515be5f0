/** Loads stretches of rooms' histories: the newest, what is before and after what is here, and what is unread. */

const PAGE = 50; // events loaded at once, on entering a room and on scrolling up
const STRETCH = 200; // events loaded at once where one goes down again, or to what is unread
const CATCH_UP = 1_000; // events asked for after a resume that failed; the server's own limit
const CONTEXT = 10; // events shown above the first unread one

export class Loader {
  #model;
  #attempt;
  #changed;
  #busy = new WeakSet(); // rooms for which a stretch is on its way

  constructor(model, { attempt, changed }) {
    this.#model = model;
    this.#attempt = attempt;
    this.#changed = changed;
  }

  /** The newest events of a room; after a resume that failed, with a notice where some are missing. */
  async begin(room, since) {
    const { read } = room.timeline;
    if (!since && read?.epoch === room.epoch && room.last - read.id > PAGE) {
      room.timeline.ahead = { messages: room.last - read.id, mentions: 0 }; // what it comes to, is seen by and by
      await this.#load(room, read.id - CONTEXT);
      this.#arrived(room);
      return;
    }
    const limit = since ? CATCH_UP : PAGE;
    const { events } = await room.source.request("history", { limit }, { retry: true });
    const first = events[0]?.id ?? room.last + 1;
    const sameLog = since?.epoch === room.epoch;
    if (since && !(sameLog && first <= since.offset + 1)) {
      const id = sameLog ? since.offset + 0.5 : 0; // before the first event that is here again
      room.gap(id, Date.now() / 1000);
    }
    this.#take(room, events);
    if (!sameLog || room.older === "unknown") {
      room.first = first;
      room.older = first > 1 ? "more" : "none";
      this.#countBelow(room);
    }
    this.#arrived(room);
  }

  #arrived(room) {
    room.loaded = true;
    if (room === this.#model.current) {
      room.timeline.attend();
    }
    room.arrive();
    this.#changed();
  }

  /** Loads what came before the oldest event that is here. */
  async older(room) {
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
      const { events } = await this.#history(room, { since, reverse: true, limit: PAGE });
      const { messages } = room.timeline.below;
      room.timeline.below = { messages: 0, mentions: 0 };
      this.#take(room, events);
      room.first = events.at(-1)?.id ?? room.first;
      room.older = events.length && room.first > 1 ? "more" : "none";
      messages && this.#countBelow(room);
    } catch (error) {
      room.older = error.code === 112 ? "none" : "more";
    }
    this.#changed();
  }

  /** Loads what follows the newest event that is here, where the timeline is cut. */
  newer(room) {
    return this.#once(room, async () => {
      const { timeline } = room;
      const since = { offset: room.loadedTo, epoch: room.epoch };
      const { events } = await this.#history(room, { since, limit: STRETCH });
      this.#extend(room, events);
      if (timeline.cut) {
        room.trim(false);
      }
    });
  }

  /** Goes back to the newest events, where the timeline is cut. */
  newest(room) {
    return this.#once(room, async () => {
      const { timeline } = room;
      const { events } = await this.#history(room, { limit: PAGE });
      timeline.clear({ ahead: true });
      this.#extend(room, events);
      this.#began(room, events);
    });
  }

  /** Goes to the first unread event, where it is not here. */
  unread(room) {
    const { timeline } = room;
    if (room.kind !== "room" || !timeline.below.messages || timeline.read?.epoch !== room.epoch) {
      return undefined;
    }
    return this.#once(room, async () => {
      await this.#load(room, timeline.read.id - CONTEXT);
      timeline.attend();
    });
  }

  /** Begins at another stretch of the log, after `offset`. */
  async #load(room, offset) {
    const since = { offset: Math.max(0, offset), epoch: room.epoch };
    const { events } = await this.#history(room, { since, limit: STRETCH });
    room.timeline.clear({ ahead: true });
    this.#extend(room, events);
    this.#began(room, events);
  }

  /** Goes to where an event is, if it is not here. */
  async around(room, event) {
    await room.arrived;
    const { timeline } = room;
    if (timeline.find(room.epoch, event) || room.kind !== "room") {
      return;
    }
    await this.#once(room, () => this.#load(room, event - CONTEXT - 1));
  }

  #history(room, query) {
    return room.source.request("history", query, { retry: true });
  }

  #take(room, events) {
    events.forEach((event) => room.take(event, this.#model.me.user, { live: false }));
  }

  #extend(room, events) {
    const { timeline } = room;
    timeline.extend(() => this.#take(room, events));
    const last = events.at(-1)?.id ?? room.last;
    timeline.cut = last < room.last;
    if (!timeline.cut) {
      timeline.ahead = { messages: 0, mentions: 0 }; // it was counted in events, of which not each is a message
    }
    room.loadedTo = timeline.cut ? last : Infinity;
  }

  #began(room, events) {
    room.first = events[0]?.id ?? room.last + 1;
    room.older = room.first > 1 ? "more" : "none";
  }

  /** Of what is unread before the oldest event here, one only knows how many events there are. */
  #countBelow(room) {
    const { timeline } = room;
    const { read } = timeline;
    const missing = read?.epoch === room.epoch ? room.first - 1 - read.id : 0;
    timeline.below = { messages: Math.max(0, missing), mentions: 0 };
  }

  async #once(room, load) {
    if (this.#busy.has(room) || room.phase !== "joined") {
      return;
    }
    this.#busy.add(room);
    await this.#attempt(load());
    this.#busy.delete(room);
    this.#changed();
  }
}
