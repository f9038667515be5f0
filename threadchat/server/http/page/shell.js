/** What is around the conversation: its heading, the state of the connection, notices, the tab's title. */

import { $, named, setText } from "./dom.js";
import { badge, closing, people } from "./words.js";

const BACK_SHOWN = 3_000; // ms
const TOAST_SHOWN = 7_000; // ms

export class Shell {
  #model;
  #handlers;
  #back = 0;
  #toast = 0;
  #shownStatus = null;

  /** `handlers`: reconnect(), again(room), close(direct). */
  constructor(model, handlers) {
    this.#model = model;
    this.#handlers = handlers;
    $("banner-button").addEventListener("click", () => handlers.reconnect());
    $("toast-close").addEventListener("click", () => ($("toast").hidden = true));
    $("notice-button").addEventListener("click", () => this.#resolve());
    setInterval(() => this.#countDown(), 500);
  }

  /** Tells the person of a problem, for a while. */
  report(text) {
    clearTimeout(this.#toast);
    $("toast").hidden = false;
    setText($("toast-text"), text);
    this.#toast = setTimeout(() => ($("toast").hidden = true), TOAST_SHOWN);
  }

  update() {
    this.#heading();
    this.#connection();
    this.#notice();
    const { current, unread } = this.#model;
    const place = current ? `${current.kind === "room" ? "#" : ""}${current.title} · ` : "";
    document.title = `${unread ? `(${badge(unread)}) ` : ""}${place}threadchat`;
    $("menu-badge").hidden = unread - (current?.timeline.unread ?? 0) === 0;
  }

  #heading() {
    const { current } = this.#model;
    const isRoom = current?.kind === "room";
    const sign = current?.key ?? "";
    if ($("title").dataset.sign !== sign || !sign) {
      $("title").dataset.sign = sign;
      $("title").replaceChildren(isRoom ? "#" : "", current ? named(current.title) : "No room open");
    }
    setText($("subtitle"), subtitle(current));
    $("leave").hidden = !current;
    $("leave").setAttribute("aria-label", isRoom ? "Leave this room" : "Close this conversation");
    $("leave")
      .querySelector("use")
      .setAttribute("href", isRoom ? "#i-leave" : "#i-close");
    $("leave").title = isRoom ? "Leave this room" : "Close this conversation";
    $("people-toggle").hidden = !isRoom;
    $("app").classList.toggle("no-people", !isRoom);
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
      this.#banner("away", "Connection lost. What you write now is sent as soon as it is back.", "Try now");
    } else if (phase === "ended") {
      this.#banner("ended", closing(status.code, status.reason), "Connect again");
    } else if (phase === "online" && status.back) {
      this.#banner("back", "You are connected again.", "");
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
    const text = seconds > 0 ? `Trying again in ${seconds} s` : "Trying…";
    setText($("banner-countdown"), phase === "away" ? text : "");
  }

  /** What stands in the place of the message box where nothing can be written. */
  #notice() {
    const { current } = this.#model;
    const [text, button] = this.#obstacle(current);
    $("notice").hidden = !text;
    setText($("notice-text"), text);
    setText($("notice-button"), button);
  }

  #obstacle(current) {
    if (current?.ended) {
      return ["You came back as somebody new to the server, so this conversation has ended.", "Close it"];
    }
    if (current?.phase === "closed") {
      return ["This room was closed.", "Open it again"];
    }
    return current?.phase === "refused" ? [current.problem, "Try again"] : ["", ""];
  }

  #resolve() {
    const { current } = this.#model;
    current.ended ? this.#handlers.close(current) : this.#handlers.again(current);
  }
}

function subtitle(current) {
  if (current?.kind === "direct") {
    return "Private conversation";
  }
  if (current?.phase === "joining" && !current.peopleKnown) {
    return "Joining…";
  }
  return current?.peopleKnown ? `${people(current.people.size)} here` : "";
}
