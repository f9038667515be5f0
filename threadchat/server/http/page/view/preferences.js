/** How the page looks and behaves, as its operator and its reader chose, and the dialog in which the reader does. */

import { ENTER_KEYS, THEMES } from "../settings.js";
import { W } from "../text/words.js";
import { ask, checkbox, choice } from "./overlays.js";
import { $, fillWords, h, setText } from "./dom.js";

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

/** `changed()` is called once something was saved; `touch` says that the keyboard is a screen's. */
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
