/** What a person has set on this browser, and what the server's operator has set for the page. */

import { remembered } from "./storage.js";

export const THEMES = ["system", "light", "dark"];
export const ENTER_KEYS = ["send", "break"];

const DEFAULTS = { theme: "system", enter: null, notify: false, sound: false, asked: false, muted: [] };

export class Settings {
  #values;

  constructor(values = remembered.settings.get()) {
    this.#values = { ...DEFAULTS, ...values };
  }

  get theme() {
    return THEMES.includes(this.#values.theme) ? this.#values.theme : DEFAULTS.theme;
  }

  /** What Enter does. On a phone it begins a line, as its keyboard has no Shift to hold, unless one chose. */
  enter(touch) {
    const { enter } = this.#values;
    return ENTER_KEYS.includes(enter) ? enter : touch ? "break" : "send";
  }

  get notify() {
    return this.#values.notify === true;
  }

  get sound() {
    return this.#values.sound === true;
  }

  /** Whether notifications were offered before. */
  get asked() {
    return this.#values.asked === true;
  }

  /** Keys of the conversations that are muted. */
  get muted() {
    return new Set(this.#values.muted);
  }

  change(values) {
    this.#values = { ...this.#values, ...values };
    remembered.settings.set(this.#values);
  }

  mute(key, muted) {
    const others = [...this.muted].filter((other) => other !== key);
    this.change({ muted: muted ? [...others, key] : others });
  }
}

/** The operator's: {title, color, logo, rooms}, each "" or [] where it was not set. */
export function pageConfig(root = document) {
  let found = {};
  try {
    found = JSON.parse(root.querySelector('meta[name="threadchat"]').content);
  } catch {
    // A page that stands alone has none.
  }
  return { title: "", color: "", logo: "", rooms: [], ...found };
}
