/** The card of a person, and what a moderator may do about them. */

import { fullTime, refusal } from "../text/phrases.js";
import { W } from "../text/words.js";
import { ask, choice, text } from "./overlays.js";
import { $, avatar, h, named, setText } from "./dom.js";

/**
 * Shows who somebody is. `person`: {id, nickname, about, rooms, self}; `actions` are {label, act, danger?, testid?}.
 */
export function showProfile({ id, nickname, about, rooms, self }, actions) {
  const button = ({ label, act, danger, testid }) =>
    h(
      "button",
      {
        type: "button",
        class: danger ? "quiet danger" : "quiet",
        "data-testid": testid,
        onclick: () => {
          $("dialog").addEventListener("close", act, { once: true });
          $("dialog").close();
        },
      },
      label,
    );
  return ask({
    title: W.profile,
    testid: "profile",
    cancel: W.close,
    content: [
      h(
        "div",
        { class: "person-card" },
        avatar(nickname),
        h("div", {}, named(nickname, { class: "name" }), h("p", { class: "soft" }, self ? W.you : W.number(id))),
      ),
      about ? h("p", { class: "about", dir: "auto" }, about) : null,
      rooms.length ? h("p", { class: "soft" }, `${W.roomsShared}: `, ...rooms.map((room) => named(`#${room} `))) : null,
      actions.length ? h("div", { class: "card-actions" }, ...actions.map(button)) : null,
    ].filter(Boolean),
  });
}

/** Asks for reason and time. `act({reason, seconds})` is a promise; `timed` sanctions end by themselves. */
export function askSanction(title, { timed, name }, act) {
  const reason = text(W.reason, "", { "data-testid": "reason" });
  const time = choice(W.howLong, W.times, 3_600, { "data-testid": "how-long" });
  const until = h("p", { class: "soft", "data-testid": "until" });
  const show = () => {
    const seconds = Number(time.control.value);
    setText(until, seconds ? W.until(fullTime(Date.now() / 1000 + seconds)) : "");
  };
  time.control.addEventListener("change", show);
  show();
  return ask({
    title: `${title}: ${name}`,
    testid: "sanction",
    content: [...reason.nodes, ...(timed ? [...time.nodes, until] : [])],
    save: title,
    danger: true,
    act: async () => {
      const seconds = timed ? Number(time.control.value) : 0;
      await act({ reason: reason.control.value.trim() || undefined, seconds: seconds || undefined }).catch((error) => {
        throw new Error(refusal(error, W.failedTo.moderate));
      });
    },
  });
}
