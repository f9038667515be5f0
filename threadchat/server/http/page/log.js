/** Shows one conversation's messages, and keeps the place that the person is reading while others come in. */

import { $, Keyed, avatar, h, named, setText } from "./dom.js";
import { rowsOf } from "./rows.js";
import { badge, fullTime, timeOfDay } from "./words.js";

const AT_END = 48; // px from the end that still count as there
const NEAR_TOP = 240; // px from the top at which older messages are asked for
const LONG = 2_400; // characters, and
const TALL = 24; // lines from which on a message is folded

export class Log {
  #model;
  #handlers;
  #log = $("log");
  #rows = null;
  #conversation = null;
  #places = new WeakMap(); // conversation → where one was in it: {anchor, offset}, or nothing for its end
  atEnd = true;

  /** `handlers`: older(room), read(), retry(message), discard(message). */
  constructor(model, handlers) {
    this.#model = model;
    this.#handlers = handlers;
    this.#log.addEventListener("scroll", () => this.#scrolled());
    new ResizeObserver(() => this.atEnd && this.toEnd()).observe(this.#log);
    $("jump").addEventListener("click", () => {
      this.toEnd();
      this.#handlers.read();
      $("message").focus();
    });
  }

  toEnd() {
    this.atEnd = true;
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  update() {
    const { current, me } = this.#model;
    this.#log.setAttribute("aria-busy", String(current?.older === "loading"));
    this.#updateStart(current);
    if (!current) {
      return;
    }
    const anchor = this.#anchor();
    this.#rows.update(rowsOf(current.timeline, me, Date.now() / 1000));
    if (this.atEnd) {
      this.toEnd();
    } else {
      this.#restore(anchor);
    }
    const { unread } = current.timeline;
    $("jump").hidden = this.atEnd;
    setText($("jump-text"), unread ? `${badge(unread)} new` : "Newest messages");
    this.#wantOlder();
  }

  /** Turns to a conversation, at the place where it was left. */
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
    if (place) {
      this.#rows.update(rowsOf(conversation.timeline, this.#model.me, Date.now() / 1000));
      this.#restore(place);
    }
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    const atEnd = scrollHeight - scrollTop - clientHeight < AT_END;
    if (atEnd !== this.atEnd) {
      this.atEnd = atEnd;
      this.#handlers.read();
    }
    this.#wantOlder();
  }

  #wantOlder() {
    if (this.#conversation?.older === "more" && this.#log.scrollTop < NEAR_TOP) {
      this.#handlers.older(this.#conversation);
    }
  }

  /** The topmost message in sight: whatever is added above, it stays where it is. */
  #anchor() {
    const top = this.#log.getBoundingClientRect().top;
    for (const node of $("messages").children) {
      const box = node.getBoundingClientRect();
      if (node.dataset.key && box.bottom > top) {
        return { key: node.dataset.key, offset: box.top - top };
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
    const start = startOf(conversation);
    const sign = `${conversation?.key} ${conversation?.older} ${conversation?.phase} ${start.text}`;
    if ($("start").dataset.sign !== sign) {
      $("start").dataset.sign = sign;
      $("start").replaceChildren(...start.nodes(() => this.#handlers.older(conversation)));
    }
  }
}

/** What stands above the oldest message. */
function startOf(conversation) {
  if (!conversation) {
    const text = "Choose a room on the left, or type a name to start a new one.";
    return { text, nodes: () => [h("p", { class: "lead" }, text)] };
  }
  if (conversation.kind === "direct") {
    const text = `Only you and ${conversation.title} see this. It stays in this tab only.`;
    return {
      text,
      nodes: () => [avatar(conversation.title), h("h2", {}, named(conversation.title)), h("p", {}, text)],
    };
  }
  if (conversation.older === "loading") {
    return { text: "", nodes: () => [h("p", { class: "soft" }, "Loading older messages…")] };
  }
  if (conversation.older === "more") {
    const older = (load) =>
      h(
        "button",
        { type: "button", class: "quiet", "data-testid": "older", onclick: load },
        "Load older messages",
      );
    return { text: "", nodes: (load) => [older(load)] };
  }
  if (conversation.older === "unknown") {
    return { text: "", nodes: () => [] };
  }
  const text =
    conversation.first <= 1
      ? "This is where the room begins. Say hello."
      : "The server keeps nothing older than this.";
  return { text, nodes: () => [h("h2", {}, "#", named(conversation.title)), h("p", {}, text)] };
}

function rowNode(row, handlers) {
  if (row.kind === "message") {
    return messageNode(row, handlers);
  }
  const classes = { day: "line day", new: "line new", quiet: "quiet-line", notice: "line notice" };
  const text = row.kind === "new" ? "New" : row.text;
  const testid = row.kind === "notice" ? "gap" : row.kind;
  return h("li", { class: classes[row.kind], "data-testid": testid }, h("span", { dir: "auto" }, text));
}

function messageNode(row, handlers) {
  const { key, head, name, userId, mine, at, state, deleted } = row;
  const text = deleted ? "This message was deleted." : row.text;
  const stamp = h(
    "time",
    { datetime: new Date(at * 1000).toISOString(), title: fullTime(at) },
    timeOfDay(at),
  );
  const long = text.length > LONG || text.split("\n", TALL + 1).length > TALL;
  const attributes = {
    class: ["message", head && "head", mine && "mine", deleted && "deleted", state, long && "folded"].filter(Boolean).join(" "),
    "data-testid": "message-row",
    "data-key": key,
    "data-state": state || "delivered",
  };
  const byline = h(
    "p",
    { class: head ? "byline" : "byline brief" },
    named(name, { class: "name", title: `user ${userId}` }),
    stamp,
  );
  return h(
    "li",
    attributes,
    head ? avatar(name) : null,
    h(
      "div",
      { class: "body" },
      byline,
      h("p", { class: "text", dir: "auto", "data-testid": "text" }, text),
      long ? unfold() : null,
      progress(row, handlers),
    ),
  );
}

function unfold() {
  const onclick = ({ target }) => {
    target.closest(".message").classList.remove("folded");
    target.remove();
    $("log").focus({ preventScroll: true });
  };
  const attributes = { type: "button", class: "text-button unfold", "data-testid": "unfold", onclick };
  return h("button", attributes, "Show all of it");
}

/** What became of an own message that is not confirmed yet. */
function progress({ key, state, problem, final }, handlers) {
  if (state === "waiting") {
    return h("p", { class: "progress" }, "Waiting for the connection");
  }
  if (state !== "failed") {
    return null;
  }
  return h(
    "p",
    { class: "progress problem", "data-testid": "failed" },
    h("span", {}, problem),
    final
      ? null
      : h(
          "button",
          {
            type: "button",
            class: "text-button",
            "data-testid": "retry",
            onclick: () => handlers.retry(key),
          },
          "Send again",
        ),
    h(
      "button",
      {
        type: "button",
        class: "text-button",
        "data-testid": "discard",
        onclick: () => handlers.discard(key),
      },
      "Delete",
    ),
  );
}
