/** The buttons at the message that the mouse or the keyboard is on, and its menu. */

import { W } from "../text/words.js";
import { $, h, icon } from "./dom.js";

export const EMOJI = [..."👍❤️😂🎉😮😢👀🙏🔥✅❌👎".matchAll(/\p{Extended_Pictographic}\ufe0f?/gu)].map(([emoji]) => emoji);

export class Tools {
  #popup;
  #handlers;
  #bar;
  #row = null;

  /**
   * `handlers`: entries(key) for the menu, may(key, "reply" | "react"), reply(key), react(key, emoji). `popup` shows
   * menus.
   */
  constructor(popup, handlers) {
    this.#popup = popup;
    this.#handlers = handlers;
    const button = (name, label, act) =>
      h("button", { class: "icon-button", "data-testid": `tool-${name}`, "aria-label": label, onclick: act }, icon(name));
    this.#bar = h(
      "div",
      { class: "tools", role: "group", "aria-label": W.actions },
      button("react", W.react, ({ currentTarget }) => this.pick(this.#row, currentTarget)),
      button("reply", W.reply, () => this.#handlers.reply(this.#row.dataset.key)),
      button("more", W.moreActions, ({ currentTarget }) => this.menu(this.#row, currentTarget)),
    );
    $("messages").addEventListener("mouseover", ({ target }) => this.#attach(target.closest(".message")));
    $("messages").addEventListener("focusin", ({ target }) => this.#attach(target.closest(".message"), true));
    $("messages").addEventListener("keydown", (event) => this.#key(event));
    $("messages").addEventListener("contextmenu", (event) => {
      const row = event.target.closest(".message");
      if (row && event.target === row) {
        event.preventDefault();
        this.menu(row, row);
      }
    });
  }

  /** Offers the emoji. */
  pick(row, opener) {
    const { key } = row.dataset;
    const entries = EMOJI.map((emoji) => ({
      label: W.reactWith(emoji),
      text: emoji,
      testid: "emoji",
      act: () => this.#handlers.react(key, emoji),
    }));
    this.#popup.open(opener, [{ row: entries }], W.react);
  }

  menu(row, opener) {
    const entries = this.#handlers.entries(row.dataset.key, () => this.pick(row, row));
    if (entries.length) {
      this.#popup.open(opener, entries, W.actions);
    }
  }

  #attach(row, focused = false) {
    if (!row || row === this.#row || (!focused && this.#bar.contains(document.activeElement))) {
      return;
    }
    const { key, state } = row.dataset;
    this.#controls(this.#row, -1);
    this.#row = row;
    this.#controls(row, 0);
    if (state !== "delivered" || row.classList.contains("deleted")) {
      this.#bar.remove();
      return;
    }
    const [react, reply] = this.#bar.children;
    react.hidden = !this.#handlers.may(key, "react");
    reply.hidden = !this.#handlers.may(key, "reply");
    row.append(this.#bar);
  }

  /** What is in a message can be reached by Tab only from that message. */
  #controls(row, tabIndex) {
    row?.querySelectorAll(".name, .reaction, .quote").forEach((control) => (control.tabIndex = tabIndex));
  }

  #key(event) {
    const row = event.target;
    if (!row.matches?.(".message")) {
      return;
    }
    const opens = event.key === "Enter" || event.key === " " || event.key === "ContextMenu";
    if (opens || (event.key === "F10" && event.shiftKey)) {
      event.preventDefault();
      this.menu(row, row);
    }
  }
}
