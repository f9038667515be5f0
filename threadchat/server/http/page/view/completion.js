/** Offers names where somebody writes "@": chosen by arrows and Enter, Tab or a click. */

import { W } from "../text/words.js";
import { $, avatar, h, named } from "./dom.js";

const SHOWN = 6;
const BEGUN = /(?:^|[^\p{L}\p{N}_])@([^\s@]{0,64})$/u;

/** The names that fit what stands before the cursor: {begin, names}, or null. */
export function candidates(text, names) {
  const begun = BEGUN.exec(text);
  if (!begun) {
    return null;
  }
  const wanted = begun[1].toLocaleLowerCase();
  const fitting = names.filter((name) => name.toLocaleLowerCase().startsWith(wanted));
  const found = [...new Set(fitting)].sort((a, b) => a.localeCompare(b)).slice(0, SHOWN);
  return found.length ? { begin: text.length - begun[1].length, names: found } : null;
}

export class Completion {
  #box;
  #names;
  #found = null;
  #chosen = 0;

  /** `names()` are the nicknames that may be mentioned; `box` is the message box. */
  constructor(box, names) {
    this.#box = box;
    this.#names = names;
    box.addEventListener("blur", () => setTimeout(() => this.close(), 150)); // a click on a name comes first
  }

  get isOpen() {
    return this.#found !== null;
  }

  /** The text or the cursor moved. */
  update() {
    const { value, selectionStart, selectionEnd } = this.#box;
    const found = selectionStart === selectionEnd ? candidates(value.slice(0, selectionStart), this.#names()) : null;
    this.#chosen = 0;
    this.#found = found;
    this.#show();
  }

  close() {
    this.#found = null;
    this.#show();
  }

  /** True where the key was meant for the list. */
  key(event) {
    if (!this.#found) {
      return false;
    }
    const { names } = this.#found;
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) {
      this.#chosen = (this.#chosen + steps[event.key] + names.length) % names.length;
      this.#show();
    } else if (event.key === "Enter" || event.key === "Tab") {
      this.#take(names[this.#chosen]);
    } else if (event.key === "Escape") {
      this.close();
    } else {
      return false;
    }
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  #take(name) {
    const { begin } = this.#found;
    this.#box.setRangeText(`${name} `, begin, this.#box.selectionStart, "end");
    this.close();
    this.#box.focus();
    this.#box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  #show() {
    const names = this.#found?.names ?? [];
    $("completions").hidden = !names.length;
    $("completions").replaceChildren(
      ...names.map((name, at) =>
        h(
          "li",
          {
            id: `completion-${at}`,
            role: "option",
            "aria-selected": String(at === this.#chosen),
            "data-testid": "completion",
            onmousedown: (event) => {
              event.preventDefault(); // the message box keeps the focus
              this.#take(name);
            },
          },
          avatar(name),
          named(name),
          name === "room" ? h("span", { class: "count" }, W.everybody) : null,
        ),
      ),
    );
    names.length
      ? this.#box.setAttribute("aria-activedescendant", `completion-${this.#chosen}`)
      : this.#box.removeAttribute("aria-activedescendant");
  }
}
