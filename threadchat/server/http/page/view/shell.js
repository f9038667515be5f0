/** What is around the conversation: look, heading, the state of the connection, notices, the tab's title. */

import { badge, closing } from "../text/phrases.js";
import { W } from "../text/words.js";
import { $, fillWords, h, named, setText } from "./dom.js";

const BACK_SHOWN = 3_000; // ms
const TOAST_SHOWN = 7_000; // ms

const root = document.documentElement;

export function showTheme(theme) {
  root.dataset.theme = theme;
}

/** Words, title, colour and logo. Returns the page's title. */
export function dress({ title, color, logo }) {
  const page = title || W.page;
  root.lang = W.language;
  root.dir = W.direction;
  fillWords();
  setText($("welcome-heading"), W.welcome(page));
  setText($("brand-name"), page);
  if (color) {
    root.style.setProperty("--brand", color); // the stylesheet makes it readable
  }
  if (logo) {
    for (const place of document.querySelectorAll(".brand-mark")) {
      place.replaceChildren(h("img", { class: "mark", src: logo, alt: "" }));
    }
  }
  return page;
}

export class Shell {
  #model;
  #settings;
  #page;
  #handlers;
  #act = () => {};
  #remedy = () => {};
  #back = 0;
  #toast = 0;
  #shownStatus = null;

  /** `page` is its title; `handlers`: reconnect(), again(room), close(direct), unblock(direct). */
  constructor(model, settings, page, handlers) {
    this.#model = model;
    this.#settings = settings;
    this.#page = page;
    this.#handlers = handlers;
    $("banner-button").addEventListener("click", () => handlers.reconnect());
    $("toast-close").addEventListener("click", () => ($("toast").hidden = true));
    $("toast-act").addEventListener("click", () => {
      $("toast").hidden = true;
      this.#act();
    });
    $("notice-button").addEventListener("click", () => this.#remedy(this.#model.current));
    setInterval(() => this.#countDown(), 500);
  }

  /** Tells the person something, for a while; with a `button`, until it is pressed or dismissed. */
  report(text, button = "", act = () => {}) {
    clearTimeout(this.#toast);
    $("toast").hidden = false;
    setText($("toast-text"), text);
    setText($("toast-act"), button);
    $("toast-act").hidden = !button;
    this.#act = act;
    if (!button) {
      this.#toast = setTimeout(() => ($("toast").hidden = true), TOAST_SHOWN);
    }
  }

  update() {
    this.#heading();
    this.#connection();
    this.#notice();
    const { current } = this.#model;
    const unread = this.#model.unread(this.#settings.muted);
    const place = current ? `${current.kind === "room" ? "#" : ""}${current.title} · ` : "";
    document.title = `${unread ? `(${badge(unread)}) ` : ""}${place}${this.#page}`;
    $("menu-badge").hidden = unread - (current?.timeline.unread.messages ?? 0) <= 0;
  }

  #heading() {
    const { current } = this.#model;
    const isRoom = current?.kind === "room";
    const sign = current?.key ?? "";
    if ($("title").dataset.sign !== sign || !sign) {
      $("title").dataset.sign = sign;
      $("title").replaceChildren(current ? named(`${isRoom ? "#" : ""}${current.title}`) : W.noRoom);
    }
    setText($("subtitle"), subtitle(current));
    $("leave").hidden = !current;
    const leave = isRoom ? W.leaveRoom : W.hideDirect;
    $("leave").setAttribute("aria-label", leave);
    $("leave")
      .querySelector("use")
      .setAttribute("href", isRoom ? "#i-leave" : "#i-close");
    $("leave").title = leave;
    $("about").hidden = !current;
    const peopled = isRoom && current.phase !== "refused";
    $("people-toggle").hidden = !peopled;
    $("app").classList.toggle("no-people", !peopled);
  }

  #connection() {
    const { status } = this.#model;
    if (status === this.#shownStatus) {
      return;
    }
    this.#shownStatus = status;
    const { phase } = status;
    clearTimeout(this.#back);
    if (phase === "away") {
      this.#banner("away", W.lost, W.tryNow);
    } else if (phase === "ended") {
      this.#banner("ended", closing(status.code, status.reason), W.connectAgain);
    } else if (phase === "online" && status.back) {
      this.#banner("back", W.back, "");
      this.#back = setTimeout(() => this.#banner("none", "", ""), BACK_SHOWN);
    } else if (phase === "online") {
      this.#banner("none", "", "");
    }
    this.#countDown();
  }

  #banner(state, text, button) {
    $("banner").dataset.state = state;
    $("banner").hidden = state === "none";
    setText($("banner-text"), text);
    setText($("banner-button"), button);
    $("banner-button").hidden = !button;
  }

  #countDown() {
    const { phase, retryAt } = this.#model.status;
    const seconds = Math.ceil(((retryAt || 0) - performance.now()) / 1000);
    const text = seconds > 0 ? W.retryIn(seconds) : W.trying;
    setText($("banner-countdown"), phase === "away" ? text : "");
  }

  /** What stands in the place of the message box where nothing can be written. */
  #notice() {
    const { current, obstacle } = this.#model;
    const { again, close, unblock } = this.#handlers;
    const [text, button, remedy] = {
      "": ["", ""],
      ended: [W.cameBackAnew, W.closeIt, close],
      blocked: [W.youBlock(current?.title), W.unblock, unblock],
      closed: [W.roomClosed, W.openAgain, again],
      refused: [current?.problem, W.tryAgain, again],
    }[obstacle];
    this.#remedy = remedy;
    $("notice").hidden = !text;
    setText($("notice-text"), text);
    setText($("notice-button"), button);
  }
}

function subtitle(current) {
  if (current?.kind === "direct") {
    return W.private;
  }
  if (current?.phase === "joining" && !current.peopleKnown) {
    return W.joining;
  }
  return current?.peopleKnown ? W.here(current.people.size) : "";
}
