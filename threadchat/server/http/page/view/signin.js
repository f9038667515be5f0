/** The welcome at the start, which asks for a nickname. */

import { W } from "../text/words.js";
import { $, avatar, named, setText } from "./dom.js";

const LONGEST = 64; // characters of a nickname

/** What is wrong with a name, or "". */
export function problemOf(name) {
  if (!name.trim()) {
    return W.emptyName;
  }
  return [...name.trim().normalize()].length > LONGEST ? W.longName(LONGEST) : "";
}

export class SignIn {
  #model;

  /** `enter(nickname)` starts the chat. */
  constructor(model, { enter }) {
    this.#model = model;
    $("welcome-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const problem = problemOf($("nickname").value);
      this.#tell(problem);
      problem ? $("nickname").focus() : enter($("nickname").value.trim());
    });
    $("nickname").addEventListener("input", () => {
      const problem = $("nickname").value ? problemOf($("nickname").value) : "";
      this.#tell(problem);
    });
  }

  #tell(problem) {
    setText($("welcome-problem"), problem);
    $("nickname").setAttribute("aria-invalid", String(Boolean(problem)));
  }

  /** Shows the welcome instead of the chat; `room` is where the person will land. */
  welcome(nickname, room, problem = "") {
    $("opening").hidden = $("app").hidden = true;
    $("welcome").hidden = false;
    if (room) {
      $("welcome-text").replaceChildren(W.pickNameFor, named(`#${room}`), ".");
    }
    $("nickname").value ||= nickname;
    this.#tell(problem);
    $("nickname").select();
    $("nickname").focus();
  }

  /** Shows the chat. True where the welcome was there until now. */
  done() {
    const wasShown = !$("welcome").hidden;
    $("opening").hidden = $("welcome").hidden = true;
    $("app").hidden = false;
    return wasShown;
  }

  update() {
    const { nickname } = this.#model.me;
    if ($("me").dataset.name !== nickname) {
      $("me").dataset.name = nickname;
      $("me").replaceChildren(avatar(nickname), named(nickname, { class: "name" }));
      $("me").setAttribute("aria-label", W.youAre(nickname));
    }
  }
}
