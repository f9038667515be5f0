/** What every view needs: builds and updates elements, where text only enters as text; keeps the focus; draws. */

import { W } from "../text/words.js";

const SVG = "http://www.w3.org/2000/svg";
const HUES = 12; // that are told apart

export const $ = (id) => document.getElementById(id);

/** h("p", {class: "soft", onclick: f, hidden: false}, "text", child, …) */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (tag === "button") {
    element.type = "button"; // sends no form, unless it says so
  }
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (value !== false && value !== undefined && value !== null) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A square with a name's initials, in a colour that always is the same for the same name. */
export function avatar(name) {
  const words = name
    .trim()
    .split(/[\s_.-]+/u)
    .filter(Boolean);
  const initials = words
    .slice(0, 2)
    .map((word) => [...word][0].toLocaleUpperCase())
    .join("");
  const square = h("span", { class: "avatar", "aria-hidden": "true" }, initials || "?");
  square.style.setProperty("--hue", hue(name));
  return square;
}

/** FNV-1a: near names get far colours. */
function hue(name) {
  let hash = 0x811c9dc5;
  for (const character of name) {
    hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  }
  return ((((hash ^ (hash >>> 15)) >>> 0) % HUES) * 360) / HUES + 20; // degrees
}

/** A name that somebody chose: kept apart from the text around it, whichever way it is written. */
export const named = (name, attributes = {}) => h("bdi", attributes, name || W.somebody);

export function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

/** Puts the page's own words where the document names them. */
export function fillWords(root = document) {
  for (const element of root.querySelectorAll("[data-w]")) {
    element.textContent = W[element.dataset.w];
  }
  for (const [data, attribute] of [
    ["wLabel", "aria-label"],
    ["wPlaceholder", "placeholder"],
  ]) {
    for (const element of root.querySelectorAll(`[data-${data.replace("L", "-l").replace("P", "-p")}]`)) {
      element.setAttribute(attribute, W[element.dataset[data]]);
    }
  }
}

/** Whether two rows of plain data say the same. */
export function alike(a, b) {
  const keys = Object.keys(b);
  return keys.length === Object.keys(a).length && keys.every((key) => same(a[key], b[key]));
}

const same = (a, b) =>
  a === b || (typeof a === "object" && typeof b === "object" && JSON.stringify(a) === JSON.stringify(b));

/** A parent whose children follow a list of rows; those that stay the same stay untouched. */
export class Keyed {
  #parent;
  #create;
  #shown = new Map(); // key → {row, node}

  /** `create(row)` builds the node of a row of plain data; handlers depend on nothing but its `key`. */
  constructor(parent, create) {
    this.#parent = parent;
    this.#create = create;
  }

  update(rows) {
    const next = new Map();
    for (const row of rows) {
      const old = this.#shown.get(row.key);
      this.#shown.delete(row.key);
      next.set(row.key, old && alike(old.row, row) ? old : { row, node: this.#renew(old?.node, row) });
    }
    for (const { node } of this.#shown.values()) {
      node.remove();
    }
    this.#shown = next;
    let place = this.#parent.firstChild;
    for (const { node } of next.values()) {
      if (node === place) {
        place = place.nextSibling;
      } else {
        this.#parent.insertBefore(node, place);
      }
    }
  }

  node(key) {
    return this.#shown.get(key)?.node;
  }

  #renew(old, row) {
    const node = this.#create(row);
    if (!old) {
      return node;
    }
    if (
      old.firstElementChild instanceof HTMLButtonElement &&
      node.firstElementChild instanceof HTMLButtonElement
    ) {
      become(old.firstElementChild, node.firstElementChild);
      return old;
    }
    const hadFocus = old.contains(document.activeElement);
    old.replaceWith(node);
    if (hadFocus) {
      (node.tabIndex >= -1 && node.hasAttribute("tabindex") ? node : node.querySelector("button"))?.focus();
    }
    return node;
  }
}

/** Makes a button look like another one: it keeps the focus, and the click that is just under way. */
function become(button, model) {
  for (const name of button.getAttributeNames()) {
    button.toggleAttribute(name, model.hasAttribute(name));
  }
  for (const { name, value } of model.attributes) {
    button.setAttribute(name, value);
  }
  button.replaceChildren(...model.childNodes);
}

/**
 * Makes the elements that match `selector` one tab stop: arrows, Home and End move through them. Returns a function
 * to call when they have changed. `entered(element)` is called as one gets the focus.
 */
export function roving(container, selector, { last = false, entered = () => {} } = {}) {
  let active = null;
  const items = () => [...container.querySelectorAll(selector)];
  const activate = (element) => {
    if (active !== element) {
      active?.setAttribute("tabindex", "-1");
      active = element;
    }
    active?.setAttribute("tabindex", "0");
  };
  container.addEventListener("focusin", ({ target }) => {
    const element = target.closest(selector);
    if (element && container.contains(element)) {
      activate(element);
      entered(element);
    }
  });
  container.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !event.target.matches(selector)) {
      return;
    }
    const shown = items().filter((item) => item.offsetParent);
    const place = shown.indexOf(event.target);
    const steps = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: shown.length - 1 };
    const target = shown[steps[event.key]];
    if (target) {
      event.preventDefault();
      target.focus();
    }
  });
  return () => {
    const all = items();
    if (!active?.isConnected || !active.matches(selector)) {
      active = container.querySelector(`${selector}[aria-current]`) ?? (last ? all.at(-1) : all[0]) ?? null;
    }
    for (const item of all) {
      const index = item === active ? "0" : "-1";
      if (item.getAttribute("tabindex") !== index) {
        item.setAttribute("tabindex", index);
      }
    }
  };
}

/** Watches where the focus is. The returned function brings it back, or to `fallback()`, where it was lost. */
export function guardFocus(fallback) {
  let last = null;
  document.addEventListener("focusin", ({ target }) => (last = target));
  return () => {
    const nowhere = !document.activeElement || document.activeElement === document.body;
    if (nowhere && last && !(last.isConnected && last.getClientRects().length && !last.closest("[inert]"))) {
      last = null;
      fallback();
    }
  };
}

const SHARE = 3; // times as long as a drawing takes, the next one waits
const LONGEST = 250; // ms that it waits at most
const HIDDEN = 50; // ms between two drawings of a page that is not in sight, whose title still counts

/** Decides when the page is drawn: once a frame at most, and seldom enough that the keyboard gets its turn. */
export class Screen {
  #draw;
  #asked = false;
  #notBefore = 0;

  constructor(draw) {
    this.#draw = draw;
  }

  ask() {
    if (this.#asked) {
      return;
    }
    this.#asked = true;
    const wait = this.#notBefore - performance.now();
    if (document.hidden) {
      setTimeout(() => this.#run(), HIDDEN); // a hidden page gets no animation frames
    } else if (wait > 1) {
      setTimeout(() => requestAnimationFrame(() => this.#run()), wait);
    } else {
      requestAnimationFrame(() => this.#run());
    }
  }

  #run() {
    this.#asked = false;
    const begun = performance.now();
    this.#draw();
    const done = performance.now();
    this.#notBefore = done + Math.min(LONGEST, (done - begun) * SHARE);
  }
}
