/** The box in which a message is written: grows with it, keeps a draft per conversation, sends on Enter. */

import { $, setText } from "./dom.js";
import { listing } from "./words.js";

const SHOWN = 40; // characters of a name in the empty box, which would wrap it out of sight

/** The beginning of a name that is too long, and never half a character. */
const cut = (name) => ([...name].length > SHOWN ? `${[...name].slice(0, SHOWN).join("")}…` : name);

export class Composer {
  #model;
  #box = $("message");
  #conversation = null;

  /** `send(conversation, text)`, `typing(conversation)`, `stopped()`. */
  constructor(model, { send, typing, stopped }) {
    this.#model = model;
    const submit = () => {
      const text = this.#box.value.trim();
      if (text && this.#conversation) {
        this.#box.value = this.#conversation.draft = "";
        this.#grow();
        stopped();
        send(this.#conversation, text);
      }
      this.#box.focus();
    };
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
    });
    this.#box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        submit();
      }
    });
    window.addEventListener("resize", () => this.#grow());
    this.#box.addEventListener("input", () => {
      this.#conversation.draft = this.#box.value;
      this.#grow();
      if (this.#box.value.trim()) {
        typing(this.#conversation);
      }
    });
  }

  focus() {
    this.#box.focus();
  }

  update() {
    const { current } = this.#model;
    const writable = Boolean(current) && !current.ended && !["closed", "refused"].includes(current.phase);
    $("composer").hidden = !writable;
    if (current !== this.#conversation) {
      this.#conversation = current;
      this.#box.value = current?.draft ?? "";
      this.#grow();
    }
    if (current) {
      const name = current.kind === "room" ? `#${current.title}` : current.title;
      this.#box.placeholder = `Write to ${cut(name)}`;
    }
    const typists = current?.kind === "room" ? current.typists(Date.now()) : [];
    const verb = typists.length > 1 ? "are" : "is";
    setText($("typing"), typists.length ? `${listing(typists)} ${verb} typing…` : "");
  }

  #grow() {
    this.#box.style.height = "auto";
    const { scrollHeight } = this.#box;
    this.#box.style.height = `${scrollHeight}px`;
    this.#box.style.overflowY = scrollHeight > this.#box.clientHeight ? "auto" : "hidden";
    $("send").disabled = !this.#box.value.trim();
    const { length } = this.#box.value;
    const full = length >= this.#box.maxLength; // the browser cuts off what is pasted beyond
    setText($("composer-limit"), full ? `Full: ${length.toLocaleString()} characters is the most` : "");
  }
}
