/** Keeps a stretch of a conversation in order and each item once; own unconfirmed messages follow it. */

export const KEPT = 300; // items that a trim leaves, of a conversation that is followed to its end
const TRIM_ABOVE = 360; // items that start one
const MOST = 800; // items kept while somebody reads further up: what is newer than them goes

const none = () => ({ messages: 0, mentions: 0 });
const counts = (item) => ({ messages: item.unread ? 1 : 0, mentions: item.unread && item.mention ? 1 : 0 });
const plus = (a, b) => ({ messages: a.messages + b.messages, mentions: a.mentions + b.mentions });

export class Timeline {
  items = []; // {key, kind: "message"|"presence"|"notice", epoch, id, userId, name, text, at, mine, unread, …}
  pending = []; // own messages that the server has not confirmed, oldest first; see `write`
  read = null; // {epoch, id}: everything up to here was seen
  newFrom = null; // key of the first item that was new when the person last looked here
  newCount = 0; // how many there were then
  lineSeen = false; // the line before them was on the screen since
  below = none(); // unread messages that are older than the items
  ahead = none(); // unread messages that are newer than the items
  cut = false; // newer items than these exist, and are not here
  #counted = null;

  get oldest() {
    return this.items[0] ?? null;
  }

  get newest() {
    return this.items.at(-1) ?? null;
  }

  /** How many messages, and mentions among them, were not seen yet. */
  get unread() {
    this.#counted ??= this.items.reduce((sum, item) => (item.unread ? plus(sum, counts(item)) : sum), none());
    return plus(plus(this.below, this.#counted), this.ahead);
  }

  /** Puts an item at its place by epoch and id. False where it is there already. */
  insert(item) {
    let place = this.items.length;
    while (place > 0 && this.items[place - 1].epoch === item.epoch && this.items[place - 1].id > item.id) {
      place -= 1;
    }
    const before = this.items[place - 1];
    if (before && before.epoch === item.epoch && before.id === item.id) {
      return false;
    }
    const seen = this.read?.epoch === item.epoch && item.id <= this.read.id;
    const unread = item.kind === "message" && !item.mine && !seen && !item.deleted && !item.silent;
    const whole = { ...item, key: `${item.epoch}:${item.id}`, unread };
    if (this.cut && place === this.items.length) {
      this.ahead = plus(this.ahead, counts(whole)); // it is loaded once somebody gets there
    } else {
      this.items.splice(place, 0, whole);
      this.#counted = null;
    }
    this.#confirm(item);
    return true;
  }

  /** Lets `insert` be called for what follows the items of a stretch that was cut. */
  extend(insert) {
    const { ahead } = this;
    this.cut = false;
    const before = this.unread;
    insert();
    const { messages, mentions } = this.unread;
    this.ahead = {
      messages: Math.max(0, ahead.messages - (messages - before.messages)),
      mentions: Math.max(0, ahead.mentions - (mentions - before.mentions)),
    };
  }

  /** The message of this id, or undefined where it is not here. */
  find(epoch, id) {
    return this.items.findLast((each) => each.id === id && each.epoch === epoch && each.kind === "message");
  }

  /** Changes a message at its place. False where it is not here. */
  change(epoch, id, changes) {
    const item = this.find(epoch, id);
    if (item) {
      Object.assign(item, changes);
      this.#counted = null;
    }
    return Boolean(item);
  }

  /** A message was deleted: its place stays, and no attempt to send it. False where it is not here. */
  erase(epoch, id) {
    this.pending = this.pending.filter(({ offset, matched }) => offset !== id && matched !== id);
    return this.change(epoch, id, { text: "", deleted: true, unread: false, reactions: [], reply: null });
  }

  /** A person looks here again: what came meanwhile is set off by a line. */
  attend() {
    const first = this.items.find((item) => (this.below.messages ? item.kind === "message" : item.unread));
    this.newFrom = first?.key ?? null;
    this.newCount = this.unread.messages;
    this.lineSeen = false;
  }

  /** Everything up to an item was on the screen. False where that was known, or what is before it was not. */
  markRead(key = this.newest?.key) {
    if (this.below.messages) {
      return false;
    }
    const last = this.items.findIndex((item) => item.key === key);
    if (last < 0 || !this.#isNews(this.items[last])) {
      return false;
    }
    for (const item of this.items.slice(0, last + 1)) {
      item.unread = false;
    }
    const { epoch, id } = this.items[last];
    this.read = { epoch, id };
    this.#counted = null;
    return true;
  }

  #isNews({ epoch, id }) {
    return !this.read || this.read.epoch !== epoch || id > this.read.id;
  }

  /** Another tab, or an earlier visit, saw everything up to a position. */
  learn(read) {
    if (!this.#isNews(read)) {
      return;
    }
    this.read = { epoch: read.epoch, id: read.id };
    for (const item of this.items) {
      item.unread &&= item.epoch === read.epoch && item.id > read.id;
    }
    if (this.oldest && this.oldest.id <= read.id) {
      this.below = none();
    }
    if (this.cut && this.newest && read.id > this.newest.id) {
      this.ahead = none();
    }
    this.#counted = null;
  }

  /** Forgets the items, but not what was read, to begin at another stretch. */
  clear({ ahead = false } = {}) {
    const { unread } = this;
    this.items = [];
    this.#counted = null;
    this.below = ahead ? none() : unread;
    this.ahead = ahead ? unread : none();
    this.cut = ahead;
  }

  /**
   * Lets go of old items of a long conversation; of new ones, where somebody reads further up.
   * True where the oldest item is another one now.
   */
  trim(readingUp = false) {
    const excess = this.items.length - KEPT;
    if (readingUp ? this.items.length > MOST : this.items.length > TRIM_ABOVE) {
      const gone = readingUp ? this.items.splice(MOST - 100) : this.items.splice(0, excess);
      const unread = gone.map(counts).reduce(plus, none());
      this.ahead = readingUp ? plus(this.ahead, unread) : this.ahead;
      this.below = readingUp ? this.below : plus(this.below, unread);
      this.cut ||= readingUp;
      this.#counted = null;
      return !readingUp;
    }
    return false;
  }

  /** Adds an own message; by its key the server tells a second attempt from a second message. */
  write(text, at, { key = newKey(), ...details } = {}) {
    const message = {
      key,
      text,
      at,
      state: "waiting", // or "sending", where there is a connection; "sent" until its event arrives; or "failed"
      problem: "",
      final: false, // it can't be sent any more
      offset: null, // the event's id, once the server said it
      matched: null, // id of an event that looks like this message
      ...details,
    };
    this.pending.push(message);
    return message;
  }

  discard(message) {
    this.pending = this.pending.filter((other) => other !== message);
  }

  /** The server confirmed a message as event `offset`; it stops being pending when that event is here. */
  acknowledge(message, epoch, offset) {
    message.state = "sent";
    message.matched = null;
    message.offset = offset;
    if (this.cut || this.items.some((item) => item.epoch === epoch && item.id === offset)) {
      this.discard(message);
    }
  }

  /** Event and confirmation come in either order; an event that comes first hides its pending twin. */
  #confirm(item) {
    if (!item.mine || item.kind !== "message") {
      return;
    }
    const confirmed = this.pending.find((message) => message.offset === item.id);
    const twin = this.pending.find(
      (message) => message.state === "sending" && message.matched === null && message.text === item.text,
    );
    if (confirmed) {
      this.discard(confirmed);
    } else if (twin) {
      twin.matched = item.id;
    }
  }
}

const newKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");
