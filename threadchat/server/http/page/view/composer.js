/** The box in which a message is written: keeps a draft per conversation, answers, edits, and offers names. */

import { mended } from "../text/format.js";
import { listing } from "../text/phrases.js";
import { W } from "../text/words.js";
import { $, avatar, h, named, setText } from "./dom.js";

const SHOWN = 40; // characters of a name in the empty box, which would wrap it out of sight
export const MOST = 64_000; // characters of a message

/** Whether the box grows by itself; measuring it costs a layout for each key. */
const GROWS = globalThis.CSS?.supports("field-sizing", "content") ?? false;

/** The beginning of a name that is too long, and never half a character. */
const cut = (name) => ([...name].length > SHOWN ? `${[...name].slice(0, SHOWN).join("")}…` : name);

/** A key that an input method has taken: Enter, then, only confirms what it shows. */
export const composing = (event) => event.isComposing || event.keyCode === 229;

/** What is sent: without empty lines around it, but with the indentation of its first line. */
export const trimmed = (text) => mended(text.replace(/^(?:[^\S\n]*\n)+/, "").trimEnd());

export class Composer {
  #model;
  #handlers;
  #box = $("message");
  #completion;
  #conversation = null;
  #context = null; // {mode: "reply" | "edit", row}
  #kept = ""; // what stood in the box before an edit

  /**
   * `handlers`: send(conversation, text, {replyTo}), edit(conversation, row, text), editLast(), names(),
   * enterSends(), typing(conversation), stopped().
   */
  constructor(model, handlers) {
    this.#model = model;
    this.#handlers = handlers;
    this.#completion = new Completion(this.#box, handlers.names);
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#box.addEventListener("input", () => this.#written());
    this.#box.addEventListener("click", () => this.#completion.update());
    $("context-close").addEventListener("click", () => this.#leaveContext());
    window.addEventListener("resize", () => this.#grow());
    this.showKeys();
  }

  focus() {
    this.#box.focus();
  }

  /** Says which keys do what; call it when that has changed. */
  showKeys() {
    const sends = this.#handlers.enterSends();
    this.#box.enterKeyHint = sends ? "send" : "enter";
    const words = sends ? W.enterSends : W.enterBreaks;
    $("composer-hint").replaceChildren(...words.map((word) => (word.includes(" ") ? word : h("kbd", {}, word))));
  }

  reply(row) {
    this.#leaveContext({ focus: false });
    this.#context = { mode: "reply", row };
    this.#showContext();
    this.focus();
  }

  edit(row) {
    this.#leaveContext({ focus: false });
    this.#kept = this.#box.value;
    this.#context = { mode: "edit", row };
    this.#box.value = row.text;
    this.#showContext();
    this.#grow();
    this.focus();
    this.#box.setSelectionRange(row.text.length, row.text.length);
  }

  update() {
    const { current, obstacle } = this.#model;
    $("composer").hidden = !current || obstacle !== "";
    if (current !== this.#conversation) {
      this.#leaveContext({ focus: false });
      this.#completion.close();
      this.#conversation = current;
      this.#box.value = current?.draft ?? "";
      this.#grow();
    }
    if (current) {
      const name = current.kind === "room" ? `#${current.title}` : current.title;
      const placeholder = W.writeTo(cut(name));
      if (this.#box.placeholder !== placeholder) {
        this.#box.placeholder = placeholder;
      }
    }
    const typists = current?.typists(Date.now()) ?? [];
    setText($("typing"), typists.length ? W.typing(listing(typists), typists.length > 1) : "");
  }

  #key(event) {
    if (composing(event) || this.#completion.key(event)) {
      return;
    }
    const { key, shiftKey, ctrlKey, metaKey, altKey } = event;
    if (key === "Enter" && !shiftKey && !altKey && (ctrlKey || metaKey || this.#handlers.enterSends())) {
      event.preventDefault();
      this.#submit();
    } else if (key === "ArrowUp" && !this.#box.value && !this.#context && !altKey) {
      if (this.#handlers.editLast()) {
        event.preventDefault();
      }
    } else if (key === "Escape" && this.#context) {
      event.stopPropagation();
      this.#leaveContext();
    }
  }

  #written() {
    if (!this.#conversation) {
      return;
    }
    if (this.#context?.mode !== "edit") {
      this.#conversation.draft = this.#box.value;
    }
    this.#grow();
    this.#completion.update();
    if (this.#box.value.trim()) {
      this.#handlers.typing(this.#conversation);
    }
  }

  #submit() {
    const text = trimmed(this.#box.value);
    const conversation = this.#conversation;
    this.focus();
    if (!text.trim() || !conversation || text.length > MOST) {
      return;
    }
    const { mode, row } = this.#context ?? {};
    this.#handlers.stopped();
    if (mode === "edit") {
      this.#leaveContext();
      text !== row.text && this.#handlers.edit(conversation, row, text);
      return;
    }
    this.#box.value = conversation.draft = "";
    this.#leaveContext();
    this.#handlers.send(conversation, text, { replyTo: mode === "reply" ? row.id : 0 });
  }

  #leaveContext({ focus = true } = {}) {
    if (this.#context?.mode === "edit") {
      this.#box.value = this.#kept;
    }
    this.#context = null;
    this.#showContext();
    this.#grow();
    if (focus) {
      this.focus();
    }
  }

  #showContext() {
    const { mode, row } = this.#context ?? {};
    $("context").hidden = !mode;
    setText($("context-text"), mode === "edit" ? W.editing : mode === "reply" ? W.replying(row.name) : "");
  }

  #grow() {
    if (!GROWS) {
      this.#box.style.height = "auto";
      this.#box.style.height = `${this.#box.scrollHeight}px`;
    }
    const { length } = this.#box.value;
    $("send").disabled = !this.#box.value.trim() || length > MOST;
    setText($("composer-limit"), length > MOST ? W.tooLong(length, MOST) : "");
  }
}

const NAMES = 6; // that are offered at once
const BEGUN = /(?:^|[^\p{L}\p{N}_])@([^\s@]{0,64})$/u;

/** The names that fit what stands before the cursor: {begin, names}, or null. */
export function candidates(text, names) {
  const begun = BEGUN.exec(text);
  if (!begun) {
    return null;
  }
  const wanted = begun[1].toLocaleLowerCase();
  const fitting = names.filter((name) => name.toLocaleLowerCase().startsWith(wanted));
  const found = [...new Set(fitting)].sort((a, b) => a.localeCompare(b)).slice(0, NAMES);
  return found.length ? { begin: text.length - begun[1].length, names: found } : null;
}

/** Offers names where somebody writes "@": chosen by arrows and Enter, Tab or a click. */
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
