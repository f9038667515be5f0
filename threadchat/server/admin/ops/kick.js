// The dialog that shows a connection's rooms and kicks its user, out of one of them or out of the chat.

import { make } from "./charts.js";
import { several } from "./words.js";

const find = (id) => document.getElementById(id);

export class KickDialog {
  #user = null;

  /** `call` does a call of the HTTP API: it takes a name and fields, and returns {ok, status, answer}. */
  constructor(call) {
    this.call = call;
    find("kick-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#kick();
    });
    find("kick-cancel").addEventListener("click", () => find("kick").close());
  }

  open(it) {
    this.#user = it.user;
    this.name = it.nickname ? `${it.nickname} (user ${it.user})` : `user ${it.user}`;
    find("kick-heading").textContent = `Kick ${this.name}`;
    const rooms = it.rooms.map((name) => choice(name, `out of room ${name}`));
    find("kick-rooms").replaceChildren(
      make("legend", { textContent: it.room_count ? `In ${several(it.room_count, "room")}` : "In no room" }),
      choice("", "out of the chat: closes all connections of this user", true),
      ...rooms);
    find("kick-reason").value = "";
    find("kick-problem").textContent = "";
    find("kick").showModal();
  }

  close() {
    if (find("kick").open) find("kick").close();
  }

  async #kick() {
    const room = new FormData(find("kick-form")).get("room");
    const reason = find("kick-reason").value.trim();
    const button = find("kick-do");
    button.disabled = true;
    const { ok, answer } = await this.call("kick", { user: this.#user, room, reason });
    button.disabled = false;
    if (!ok) {
      find("kick-problem").textContent = answer?.error?.reason ? `Not done: ${answer.error.reason}.` : "Not done: the server does not answer.";
      return;
    }
    find("kick").close();
    const ended = room ? several(answer.ended, "session") + ` left room ${room}` : several(answer.ended, "connection") + " closed";
    find("told").textContent = `Kicked ${this.name}: ${ended}.`;
  }
}

function choice(value, text, checked = false) {
  return make("label", { className: "choice" }, make("input", { type: "radio", name: "room", value, checked }), make("span", { textContent: text }));
}
