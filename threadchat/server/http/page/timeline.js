/** Keeps what one conversation consists of in order and each once, own unconfirmed messages among it. */

const KEPT = 400; // items kept after a trim
const TRIM_ABOVE = 600; // items that start one

export class Timeline {
  items = []; // {key, kind: "message"|"presence"|"notice", epoch, id, userId, name, text, at, mine, unread}
  pending = []; // own messages that the server has not confirmed, oldest first; see `write`
  read = null; // {epoch, id}: everything up to here was seen
  newFrom = null; // key of the first item that was new when the person last looked here

  get oldest() {
    return this.items[0] ?? null;
  }

  get unread() {
    return this.items.reduce((count, item) => count + (item.unread ? 1 : 0), 0);
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
    const unread = item.kind === "message" && !item.mine && !seen;
    this.items.splice(place, 0, { ...item, key: `${item.epoch}:${item.id}`, unread });
    this.#confirm(item);
    return true;
  }

  /** A message was deleted: its place stays, and no attempt to send it. False where it is not here. */
  erase(epoch, id) {
    this.pending = this.pending.filter(({ offset, matched }) => offset !== id && matched !== id);
    const item = this.items.find((each) => each.epoch === epoch && each.id === id && each.kind === "message");
    if (item) {
      Object.assign(item, { text: "", deleted: true, unread: false });
    }
    return Boolean(item);
  }

  /** A person looks here again: what came meanwhile is set off by a line. */
  attend() {
    this.newFrom = this.items.find((item) => item.unread)?.key ?? null;
  }

  markRead() {
    for (const item of this.items) {
      item.unread = false;
    }
    const last = this.items.at(-1);
    if (last) {
      this.read = { epoch: last.epoch, id: last.id };
    }
  }

  /** Lets go of the oldest items of a long conversation. True where it did. */
  trim() {
    if (this.items.length <= TRIM_ABOVE) {
      return false;
    }
    this.items.splice(0, this.items.length - KEPT);
    return true;
  }

  /** Adds an own message; by its key the server tells a second attempt from a second message. */
  write(text, at, key = crypto.getRandomValues(new Uint32Array(4)).join("-")) {
    const message = {
      key,
      text,
      at,
      state: "waiting", // or "sending", where there is a connection; "sent" until its event arrives; or "failed"
      problem: "",
      final: false, // it can't be sent any more
      offset: null, // the event's id, once the server said it
      matched: null, // id of an event that looks like this message
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
    if (this.items.some((item) => item.epoch === epoch && item.id === offset)) {
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
