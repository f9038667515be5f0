/** Asks for a nickname: the welcome at the start, and the dialog in which to change it later. */

import { $, avatar, h, named, setText } from "./dom.js";
import { refusal } from "./words.js";

export class SignIn {
  #model;

  /** `enter(nickname)` starts the chat; `rename(nickname)` is a promise that rejects if refused. */
  constructor(model, { enter, rename }) {
    this.#model = model;
    $("welcome-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const nickname = $("nickname").value.trim();
      if (nickname) {
        setText($("welcome-problem"), "");
        enter(nickname);
      }
    });
    $("me").addEventListener("click", () => this.#ask());
    $("rename-cancel").addEventListener("click", () => $("rename").close());
    $("rename-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#rename($("new-nickname").value.trim(), rename);
    });
  }

  /** Shows the welcome instead of the chat; `room` is where the person will land. */
  welcome(nickname, room, problem = "") {
    $("app").hidden = true;
    $("welcome").hidden = false;
    if (room) {
      $("welcome-text").replaceChildren(
        "Pick the name that others will see, and step into ",
        named(`#${room}`),
        ".",
      );
    }
    $("nickname").value ||= nickname;
    setText($("welcome-problem"), problem);
    $("nickname").select();
    $("nickname").focus();
  }

  /** Shows the chat. True where the welcome was there until now. */
  done() {
    const wasShown = !$("welcome").hidden;
    $("welcome").hidden = true;
    $("app").hidden = false;
    return wasShown;
  }

  update() {
    const { nickname } = this.#model.me;
    if ($("me").dataset.name !== nickname) {
      $("me").dataset.name = nickname;
      $("me").replaceChildren(
        avatar(nickname),
        named(nickname, { class: "name" }),
        h("span", { class: "action" }, "Rename"),
      );
      $("me").setAttribute("aria-label", `You are ${nickname}. Change your nickname`);
    }
  }

  #ask() {
    setText($("rename-problem"), "");
    $("new-nickname").value = this.#model.me.nickname;
    $("rename").showModal();
    $("new-nickname").select();
  }

  async #rename(nickname, rename) {
    if (!nickname) {
      return;
    }
    try {
      await rename(nickname);
      $("rename").close();
    } catch (error) {
      setText($("rename-problem"), refusal(error, "The server did not accept this nickname"));
    }
  }
}
