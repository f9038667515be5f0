/** The box in which a message is written: grows with it, keeps a draft per conversation, answers and edits. */

import { mended } from "../text/format.js";
import { listing } from "../text/phrases.js";
import { W } from "../text/words.js";
import { Completion } from "./completion.js";
import { $, h, setText } from "./dom.js";

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
    const { current } = this.#model;
    const writable = Boolean(current) && !current.ended && !["closed", "refused"].includes(current.phase);
    $("composer").hidden = !writable;
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
    const typists = current?.typists?.(Date.now()) ?? [];
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
