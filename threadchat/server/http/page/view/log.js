/** Shows one conversation's messages, and keeps the place that the person is reading while others come in. */

import { badge } from "../text/phrases.js";
import { W } from "../text/words.js";
import { $, Keyed, avatar, h, named, roving, setText } from "./dom.js";
import { rowNode } from "./message.js";
import { rowsOf } from "./rows.js";

const AT_END = 48; // px from the end that still count as there
const NEAR = 240; // px from either end of what is here at which more is asked for
const LANDING = 80; // px above the line where one lands at what is new

export class Log {
  #model;
  #loader;
  #handlers;
  #log = $("log");
  #rows = null;
  #conversation = null;
  #places = new WeakMap(); // conversation → where one was in it: {key, offset}, or null for its end
  #landing = false; // the line before what is new is yet to be gone to
  #refresh;
  atEnd = true;

  /** `loader` loads `older`, `newer`, `newest` and `unread` events; `handlers`: changed(), and those of `rowNode`. */
  constructor(model, loader, handlers) {
    this.#model = model;
    this.#loader = loader;
    this.#handlers = handlers;
    this.#refresh = roving($("messages"), ".message", { last: true });
    this.#log.addEventListener("scroll", () => this.#scrolled());
    new ResizeObserver(() => this.atEnd && this.#scrollToEnd()).observe(this.#log);
    $("jump").addEventListener("click", () => {
      this.toEnd();
      this.#handlers.changed();
      $("message").focus();
    });
    $("first-unread").addEventListener("click", () => {
      this.land();
      this.#loader.unread(this.#conversation);
      this.#log.focus({ preventScroll: true });
    });
  }

  /** Goes to the newest message, which may have to be loaded. */
  toEnd() {
    this.atEnd = true;
    this.#landing = false;
    if (this.#conversation?.timeline.cut) {
      this.#loader.newest(this.#conversation);
    }
    this.#scrollToEnd();
  }

  /** With the next update, goes to the first message that is new. */
  land() {
    this.#landing = true;
  }

  /** Goes to a message, if it is here. */
  goTo(key) {
    const node = this.#rows?.node(key);
    if (node) {
      node.scrollIntoView({ block: "center" });
      node.focus({ preventScroll: true });
      node.classList.add("found");
      setTimeout(() => node.classList.remove("found"), 2_000);
    }
    return Boolean(node);
  }

  update() {
    const { current } = this.#model;
    this.#log.setAttribute("aria-busy", String(current?.older === "loading"));
    this.#updateStart(current);
    if (!current) {
      return;
    }
    const anchor = this.atEnd ? null : this.#anchor();
    this.#rows.update(rowsOf(current, this.#model, Date.now() / 1000));
    this.#refresh();
    if (!this.#landed()) {
      this.atEnd ? this.#scrollToEnd() : this.#restore(anchor);
    }
    this.#wantMore();
  }

  /**
   * Marks as read what is on the screen; call it after `update`. True where something was new. While a room's history
   * is on its way, nothing is read: an event that has just happened would stand for all that is missing before it.
   */
  read() {
    const { timeline, loaded } = this.#conversation;
    return loaded !== false && (timeline.unread.messages > 0 || timeline.read === null || this.atEnd)
      ? timeline.markRead(this.atEnd && !timeline.cut ? timeline.newest?.key : this.#lastSeen())
      : false;
  }

  updateButtons() {
    const timeline = this.#conversation?.timeline;
    const unread = timeline?.unread.messages ?? 0;
    $("jump").hidden = !timeline || (this.atEnd && !timeline.cut);
    setText($("jump-text"), unread ? W.newCount(badge(unread)) : W.newest);
    const above = this.#unreadAbove(timeline);
    $("first-unread").hidden = !above;
    setText($("first-unread-text"), above ? W.firstUnread(badge(above)) : "");
  }

  /** Turns to a conversation, at the place where it was left, or at what is new in it. */
  open(conversation) {
    if (conversation === this.#conversation) {
      return;
    }
    if (this.#conversation) {
      this.#places.set(this.#conversation, this.atEnd ? null : this.#anchor());
    }
    this.#conversation = conversation;
    $("messages").replaceChildren();
    this.#rows = new Keyed($("messages"), (row) => rowNode(row, this.#handlers));
    const place = conversation && this.#places.get(conversation);
    this.atEnd = !place;
    this.#landing = Boolean(conversation) && (conversation.timeline.newFrom !== null || !conversation.loaded);
    if (place) {
      this.#rows.update(rowsOf(conversation, this.#model, Date.now() / 1000));
      this.#restore(place);
    }
  }

  #scrollToEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #landed() {
    const line = this.#landing && this.#rows.node("new");
    if (this.#landing && this.#conversation.loaded !== false) {
      this.#landing = false;
    }
    if (!line) {
      return false;
    }
    this.#log.scrollTop += line.getBoundingClientRect().top - this.#log.getBoundingClientRect().top - LANDING;
    this.atEnd = this.#isAtEnd();
    return true;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < AT_END;
  }

  #scrolled() {
    this.atEnd = this.#isAtEnd();
    this.#wantMore();
    this.#handlers.changed();
  }

  #wantMore() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    if (this.#conversation?.older === "more" && scrollTop < NEAR) {
      this.#loader.older(this.#conversation);
    } else if (this.#conversation?.timeline.cut && scrollHeight - scrollTop - clientHeight < NEAR) {
      this.#loader.newer(this.#conversation);
    }
  }

  /** How many unread messages begin above what is on the screen; 0 where the line before them was seen. */
  #unreadAbove(timeline) {
    if (!timeline || (!timeline.below.messages && timeline.newFrom === null)) {
      return 0;
    }
    if (timeline.below.messages) {
      return timeline.unread.messages;
    }
    const line = this.#rows.node("new");
    const above = line && line.getBoundingClientRect().bottom < this.#log.getBoundingClientRect().top;
    if (line && !above) {
      timeline.lineSeen = true;
    }
    return above && !timeline.lineSeen ? timeline.newCount : 0;
  }

  /** The first row for which `reached(box)` holds, where it holds for all that follow. */
  #search(reached) {
    const { children } = $("messages");
    let [low, high] = [0, children.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      reached(children[middle].getBoundingClientRect()) ? (high = middle) : (low = middle + 1);
    }
    return low;
  }

  /** The topmost message in sight: whatever is added above, it stays where it is. */
  #anchor() {
    const { top } = this.#log.getBoundingClientRect();
    const { children } = $("messages");
    for (let at = this.#search(({ bottom }) => bottom > top); at < children.length; at += 1) {
      const { key } = children[at].dataset;
      if (key) {
        return { key, offset: children[at].getBoundingClientRect().top - top };
      }
    }
    return null;
  }

  /** The last message of which enough was in sight. */
  #lastSeen() {
    const { bottom, height } = this.#log.getBoundingClientRect();
    const { children } = $("messages");
    const enough = (box) => box.top + Math.min(box.height, height / 2) <= bottom + 1;
    for (let at = this.#search((box) => !enough(box)) - 1; at >= 0; at -= 1) {
      const { key, state } = children[at].dataset;
      if (key && state === "delivered") {
        return key;
      }
    }
    return null;
  }

  #restore(anchor) {
    const node = anchor && this.#rows.node(anchor.key);
    if (node) {
      const top = this.#log.getBoundingClientRect().top;
      this.#log.scrollTop += node.getBoundingClientRect().top - top - anchor.offset;
    }
  }

  #updateStart(conversation) {
    const nodes = startOf(conversation, () => this.#loader.older(conversation));
    const sign = [conversation?.key, ...nodes.map(({ textContent }) => textContent)].join("\n");
    if ($("start").dataset.sign !== sign) {
      $("start").dataset.sign = sign;
      $("start").replaceChildren(...nodes);
    }
  }
}

/** What stands above the oldest message; `load()` loads what came before it. */
function startOf(conversation, load) {
  const { kind, title, older, kept, first } = conversation ?? {};
  if (!conversation) {
    return [h("p", { class: "lead" }, W.chooseRoom)];
  }
  if (older === "loading") {
    return [h("p", { class: "soft" }, W.loadingOlder)];
  }
  if (older === "more") {
    return [h("button", { class: "quiet", "data-testid": "older", onclick: load }, W.loadOlder)];
  }
  if (kind === "direct") {
    return [avatar(title), h("h2", {}, named(title)), h("p", {}, (kept ? W.directKept : W.directHere)(title))];
  }
  const text = first <= 1 ? W.roomBegins : W.nothingOlder;
  return older === "unknown" ? [] : [h("h2", {}, named(`#${title}`)), h("p", {}, text)];
}
