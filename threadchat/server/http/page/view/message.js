/** Builds the row of a message, and the lines between messages. What somebody wrote only enters as text. */

import { blocksOf } from "../text/format.js";
import { fullTime, timeOfDay } from "../text/phrases.js";
import { W } from "../text/words.js";
import { avatar, h, named } from "./dom.js";

const LONG = 2_400; // characters, and
const TALL = 24; // lines from which on a message is folded

/** `handlers`: profile(user, name), goTo(row), react(key, emoji), retry(key), discard(key), unfold(). */
export function rowNode(row, handlers) {
  if (row.kind === "message") {
    return messageNode(row, handlers);
  }
  const { kind, text = W.new } = row;
  const quiet = kind === "quiet" || kind === "blocked";
  const attributes = { class: quiet ? "quiet-line" : `line ${kind}`, "data-testid": kind === "notice" ? "gap" : kind };
  const content =
    kind === "blocked"
      ? h("button", { class: "text-button", "data-testid": "unfold-blocked", onclick: handlers.unfold }, text)
      : h("span", { dir: "auto" }, text);
  return h("li", attributes, content);
}

function messageNode(row, handlers) {
  const { key, head, name, mine, state, deleted, mention } = row;
  const text = deleted ? W.deleted : row.text;
  const long = text.length > LONG || text.split("\n", TALL + 1).length > TALL;
  const classes = ["message", head && "head", mine && "mine", deleted && "deleted", mention && "mentioned", state];
  const attributes = {
    class: [...classes, long && "folded"].filter(Boolean).join(" "),
    tabindex: -1,
    "data-testid": "message-row",
    "data-key": key,
    "data-state": state || "delivered",
  };
  const content = deleted ? [h("p", {}, text)] : formatted(text, row.names ?? [], row.me);
  return h(
    "li",
    attributes,
    head ? avatar(name) : null,
    h(
      "div",
      { class: "body" },
      row.reply ? quote(row, handlers) : null,
      byline(row, handlers),
      h("div", { class: "text", dir: "auto", "data-testid": "text" }, ...content),
      row.edited && !deleted ? h("span", { class: "edited", title: W.editedAt }, `(${W.edited})`) : null,
      long ? unfold() : null,
      row.reactions ? reactions(row, handlers) : null,
      progress(row, handlers),
    ),
  );
}

function byline({ head, name, userId, at, twin, mine }, handlers) {
  const stamp = h("time", { datetime: new Date(at * 1000).toISOString(), title: fullTime(at) }, timeOfDay(at));
  const who = head && !mine
    ? h(
        "button",
        { class: "name", tabindex: -1, "data-testid": "author", onclick: () => handlers.profile(userId, name) },
        named(name),
      )
    : named(name, { class: "name" });
  const which = head && twin ? h("span", { class: "which", "data-testid": "which" }, W.number(userId)) : null;
  return h("p", { class: head ? "byline" : "byline brief" }, who, which, stamp);
}

function quote({ reply, key }, handlers) {
  return h(
    "button",
    { class: "quote", tabindex: -1, "data-testid": "quote", onclick: () => handlers.goTo(reply, key) },
    h("span", { class: "hidden" }, W.answers("")),
    named(reply.name, { class: "name" }),
    h("span", { class: "quoted", dir: "auto" }, ` ${reply.text}`),
  );
}

function reactions({ key, reactions }, handlers) {
  return h(
    "p",
    { class: "reactions" },
    ...reactions.map(({ emoji, count, mine, names }) =>
      h(
        "button",
        {
          class: "reaction",
          tabindex: -1,
          "data-testid": "reaction",
          "data-emoji": emoji,
          "aria-pressed": String(mine),
          "aria-label": W.reacted(emoji, names),
          title: names,
          onclick: () => handlers.react(key, emoji),
        },
        emoji,
        h("span", {}, String(count)),
      ),
    ),
  );
}

function unfold() {
  const onclick = ({ target }) => {
    const row = target.closest(".message");
    row.classList.remove("folded");
    target.remove();
    row.focus({ preventScroll: true });
  };
  const attributes = { class: "text-button unfold", "data-testid": "unfold", onclick };
  return h("button", attributes, W.unfold);
}

/** What became of an own message that is not confirmed yet. */
function progress({ key, state, problem, final }, handlers) {
  if (state === "waiting" || state === "sending") {
    return h("p", { class: state === "waiting" ? "progress" : "progress late" }, W.waiting);
  }
  if (state !== "failed") {
    return null;
  }
  const button = (testid, text, onclick) =>
    h("button", { class: "text-button", "data-testid": testid, onclick }, text);
  return h(
    "p",
    { class: "progress problem", "data-testid": "failed", role: "alert" },
    h("span", {}, problem),
    final ? null : button("retry", W.resend, () => handlers.retry(key)),
    button("discard", W.discard, () => handlers.discard(key)),
  );
}

/** The nodes of a text; `names` are those that may be mentioned in it, `mine` the one to be set off. */
function formatted(text, names = [], mine = "") {
  const block = (part) => {
    switch (part.type) {
      case "code":
        return h("pre", { tabindex: 0 }, h("code", {}, part.text));
      case "quote":
        return h("blockquote", {}, ...part.blocks.map(block));
      case "list":
        return h(
          part.start === null ? "ul" : "ol",
          { start: part.start },
          ...part.items.map((item) => h("li", { dir: "auto" }, ...item.map(inline))),
        );
      default:
        return h("p", { dir: "auto" }, ...part.inline.map(inline));
    }
  };
  const inline = (part) => {
    switch (part.type) {
      case "code":
        return h("code", {}, part.text);
      case "link":
        return h("a", { href: part.href, target: "_blank", rel: "noopener noreferrer" }, part.text);
      case "mention":
        return h("span", { class: part.text === `@${mine}` ? "mention me" : "mention" }, part.text);
      case "strong":
      case "em":
        return h(part.type, {}, ...part.inline.map(inline));
      default:
        return part;
    }
  };
  return blocksOf(text, names).map(block);
}
