/** Menus and dialogs, built when they are needed and one at a time. */

import { W } from "../text/words.js";
import { $, h, icon, setText } from "./dom.js";

/** A menu beside what opened it: arrows move in it, Escape and a click elsewhere close it. */
export class Popup {
  #opener = null;

  constructor() {
    const box = $("popup");
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("toggle", ({ newState }) => newState === "closed" && this.#closed());
  }

  get isOpen() {
    return $("popup").matches(":popover-open");
  }

  /**
   * Opens a menu at an element, which gets the focus back. `entries`: {label, act, icon?, testid?, danger?},
   * or {row: entries} for some that stand beside each other; null is skipped.
   */
  open(opener, entries, label) {
    const wanted = entries.filter(Boolean);
    $("popup").replaceChildren(
      ...wanted.map((entry) =>
        entry.row ? h("div", { class: "popup-row", role: "none" }, ...entry.row.map((one) => this.#item(one))) : this.#item(entry),
      ),
    );
    $("popup").setAttribute("aria-label", label);
    this.#opener = opener;
    $("popup").showPopover();
    this.#put(opener.getBoundingClientRect());
    this.#items[0]?.focus();
  }

  close() {
    if (this.isOpen) {
      $("popup").hidePopover();
    }
  }

  get #items() {
    return [...$("popup").querySelectorAll("button")];
  }

  #item({ label, text = label, act, icon: name, testid, danger }) {
    return h(
      "button",
      {
        role: "menuitem",
        class: danger ? "danger" : null,
        tabindex: -1,
        "data-testid": testid,
        "aria-label": text === label ? null : label,
        onclick: () => {
          this.close();
          act();
        },
      },
      name ? icon(name) : null,
      text,
    );
  }

  /** Below the opener where there is room, else above; inside the window in any case. */
  #put({ left, right, top, bottom }) {
    const box = $("popup");
    const { offsetWidth: width, offsetHeight: height } = box;
    const fromLeft = getComputedStyle(box).direction === "rtl" ? left : right - width;
    const above = bottom + height + 8 > innerHeight;
    box.style.left = `${Math.max(8, Math.min(fromLeft, innerWidth - width - 8))}px`;
    box.style.top = `${Math.max(8, above ? Math.min(top, innerHeight) - height - 4 : bottom + 4)}px`;
  }

  #key(event) {
    const items = this.#items;
    const place = items.indexOf(document.activeElement);
    const steps = {
      ArrowDown: place + 1,
      ArrowRight: place + 1,
      ArrowUp: place - 1,
      ArrowLeft: place - 1,
      Home: 0,
      End: items.length - 1,
    };
    if (event.key in steps) {
      event.preventDefault();
      items[(steps[event.key] + items.length) % items.length].focus();
    } else if (event.key === "Tab") {
      event.preventDefault();
      this.close();
    } else if (event.key === "Escape") {
      event.stopPropagation(); // the page's own Escape would go to the message box
    }
  }

  #closed() {
    const { activeElement } = document;
    if (this.#opener?.isConnected && (activeElement === document.body || $("popup").contains(activeElement))) {
      this.#opener.focus();
    }
    this.#opener = null;
  }
}

/**
 * Shows a dialog. `content` is a list of nodes; `save`, the label of the button that calls `act()`, which may be
 * a promise: a rejection with an Error keeps the dialog open and shows its message. Resolves as it is closed.
 */
export function ask({ title, content = [], save = "", danger = false, act = () => {}, cancel = W.cancel, testid = null }) {
  const dialog = $("dialog");
  const opener = document.activeElement;
  const problem = h("p", { class: "problem", "data-testid": "dialog-problem", role: "alert" });
  const form = h(
    "form",
    { autocomplete: "off", novalidate: true, "data-testid": testid },
    h("h2", { id: "dialog-heading" }, title),
    ...content,
    problem,
    h(
      "div",
      { class: "buttons" },
      h("button", { class: "quiet", "data-testid": "dialog-cancel", onclick: () => dialog.close() }, cancel),
      save ? h("button", { type: "submit", class: danger ? "primary danger" : "primary", "data-testid": "dialog-save" }, save) : null,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setText(problem, "");
    try {
      await act();
      dialog.close();
    } catch (error) {
      setText(problem, error.message);
    }
  });
  dialog.replaceChildren(form);
  return new Promise((resolve) => {
    const closed = () => {
      dialog.replaceChildren();
      opener?.isConnected && opener.focus();
      resolve();
    };
    dialog.addEventListener("close", closed, { once: true });
    dialog.showModal();
  });
}

let fields = 0;

/** A labelled field: {node, value}. `make(id)` builds the control. */
export function field(label, make) {
  const id = `field-${(fields += 1)}`;
  const control = make(id);
  return { nodes: [h("label", { for: id }, label), control], control };
}

/** A choice of one: `options` are [value, label]. */
export const choice = (label, options, chosen, attributes = {}) =>
  field(label, (id) =>
    h(
      "select",
      { id, ...attributes },
      ...options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text)),
    ),
  );

export const text = (label, value, attributes = {}) => field(label, (id) => h("input", { id, value, ...attributes }));

export function checkbox(label, checked, attributes = {}) {
  const control = h("input", { type: "checkbox", checked, ...attributes });
  return { nodes: [h("label", { class: "check" }, control, " ", label)], control };
}
