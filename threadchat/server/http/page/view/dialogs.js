/** What the page asks in dialogs: about a person, about oneself, and how the page behaves. */

import { ENTER_KEYS, THEMES } from "../settings.js";
import { fullTime, refusal } from "../text/phrases.js";
import { W } from "../text/words.js";
import { $, avatar, h, named, setText } from "./dom.js";
import { ask, checkbox, choice, text } from "./overlays.js";
import { showTheme } from "./shell.js";
import { problemOf } from "./signin.js";

/** Shows who somebody is; `rooms` are those in common, `actions` are {label, act, danger?, testid?}. */
export function showProfile({ id, nickname, about, rooms, self, blocked }, actions) {
  const button = ({ label, act, danger, testid }) =>
    h(
      "button",
      {
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
      blocked ? h("p", { class: "soft" }, W.youBlock(nickname)) : null,
      about ? h("p", { class: "about", dir: "auto" }, about) : null,
      rooms.length ? h("p", { class: "soft" }, `${W.roomsShared}: `, ...rooms.map((room) => named(`#${room} `))) : null,
      actions.length ? h("div", { class: "card-actions" }, ...actions.map(button)) : null,
    ].filter(Boolean),
  });
}

/** Says what blocking somebody does before `act()` does it. */
export function askBlock(name, act) {
  const content = [h("p", { class: "soft" }, W.blockMeans(name))];
  return ask({ title: `${W.block}: ${name}`, content, save: W.block, danger: true, testid: "block-sure", act });
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

/** Asks for another nickname. `rename(nickname)` is a promise that rejects if refused. */
export function askRename(nickname, rename) {
  const { nodes, control } = text(W.nickname, nickname, {
    "data-testid": "new-nickname",
    spellcheck: "false",
    autocapitalize: "off",
  });
  const act = async () => {
    const problem = problemOf(control.value);
    if (problem) {
      throw new Error(problem);
    }
    await rename(control.value.trim()).catch((error) => {
      throw new Error(refusal(error, W.nameRefused));
    });
  };
  ask({ title: W.rename, content: nodes, save: W.save, act });
  control.select();
}

/**
 * Asks how the page looks and behaves. `changed()` is called once something was saved; `touch` says that the keyboard
 * is a screen's.
 */
export function askPreferences(settings, notifier, { touch, changed }) {
  const named = (values, words) => values.map((value) => [value, words[value]]);
  const theme = choice(W.theme, named(THEMES, W.themes), settings.theme, { "data-testid": "theme" });
  const enter = choice(W.enterKey, named(ENTER_KEYS, W.enterKeys), settings.enter(touch), { "data-testid": "enter-key" });
  const disabled = !notifier.possible || notifier.denied;
  const notify = checkbox(W.notifications, settings.notify && !disabled, { disabled, "data-testid": "notify" });
  const sound = checkbox(W.sound, settings.sound, { "data-testid": "sound" });
  theme.control.addEventListener("change", () => showTheme(theme.control.value));
  const save = async () => {
    settings.change({ theme: theme.control.value, enter: enter.control.value, sound: sound.control.checked });
    if (notify.control.checked && !settings.notify && !(await notifier.allow())) {
      notify.control.checked = false;
      throw new Error(W.notificationsDenied);
    }
    settings.change({ notify: notify.control.checked, asked: true });
    changed();
  };
  const denied = disabled ? h("p", { class: "soft" }, W.notificationsDenied) : null;
  const content = [...theme.nodes, ...enter.nodes, ...notify.nodes, denied, ...sound.nodes].filter(Boolean);
  return ask({ title: W.settings, testid: "settings", content, save: W.save, act: save }).then(() =>
    showTheme(settings.theme),
  );
}
