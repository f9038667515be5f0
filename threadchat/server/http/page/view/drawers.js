/** Opens and closes the side panels: drawers where the window is narrow, columns where it is wide. */

import { $ } from "./dom.js";

const narrow = matchMedia("(max-width: 760px)");
const middling = matchMedia("(max-width: 1080px)");

const PANELS = {
  sidebar: { opener: "menu", drawer: narrow },
  people: { opener: "people-toggle", drawer: middling },
};

export class Drawers {
  #open = null; // name of the panel that lies over the conversation

  constructor() {
    $("menu").addEventListener("click", () => this.#show("sidebar"));
    $("people-toggle").addEventListener("click", () => this.#togglePeople());
    $("sidebar-close").addEventListener("click", () => this.close());
    $("people-close").addEventListener("click", () => this.close());
    $("shade").addEventListener("click", () => this.close());
    for (const query of [narrow, middling]) {
      query.addEventListener("change", () => this.close({ focus: false }));
    }
    this.#announce();
  }

  get isOpen() {
    return this.#open !== null;
  }

  /** Closes the open drawer, if any; focus goes back to the button that opened it. */
  close({ focus = true } = {}) {
    const name = this.#open;
    this.#open = null;
    this.#apply();
    if (name && focus) {
      $(PANELS[name].opener).focus();
    }
  }

  #show(name) {
    this.#open = name;
    this.#apply();
    const wanted = ["[aria-current]", "button.nav-item", "button"].map((one) => $(name).querySelector(one));
    wanted.find(Boolean).focus();
  }

  #togglePeople() {
    if (middling.matches) {
      this.#show("people");
    } else {
      $("app").classList.toggle("people-off");
      this.#announce();
    }
  }

  #apply() {
    for (const name of Object.keys(PANELS)) {
      $(name).classList.toggle("open", name === this.#open);
    }
    $("shade").hidden = this.#open === null;
    document.querySelector(".conversation").inert = this.#open !== null;
    $("sidebar").inert = this.#open === "people";
    this.#announce();
  }

  #announce() {
    $("menu").setAttribute("aria-expanded", String(this.#open === "sidebar"));
    const shown = middling.matches ? this.#open === "people" : !$("app").classList.contains("people-off");
    $("people-toggle").setAttribute("aria-expanded", String(shown));
  }
}
