/** The few helpers that every view needs: find, build and update elements; text only ever enters as text. */

const SVG = "http://www.w3.org/2000/svg";
const HUES = 12; // as many as the stylesheet names

export const $ = (id) => document.getElementById(id);

/** h("p", {class: "soft", onclick: f, hidden: false}, "text", child, …) */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
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
  return h("span", { class: "avatar", "data-hue": hue(name), "aria-hidden": "true" }, initials || "?");
}

/** FNV-1a: near names get far colours. */
function hue(name) {
  let hash = 0x811c9dc5;
  for (const character of name) {
    hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  }
  return ((hash ^ (hash >>> 15)) >>> 0) % HUES;
}

/** A name that somebody chose: kept apart from the text around it, whichever way it is written. */
export const named = (name, attributes = {}) => h("bdi", attributes, name || "somebody");

export function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

/** A parent whose children follow a list of rows; those that stay the same stay untouched. */
export class Keyed {
  #parent;
  #create;
  #shown = new Map(); // key → {sign, node}

  /** `create(row)` builds the node of a row of plain data; handlers depend on nothing but its `key`. */
  constructor(parent, create) {
    this.#parent = parent;
    this.#create = create;
  }

  update(rows) {
    const next = new Map();
    for (const row of rows) {
      const sign = JSON.stringify(row);
      const old = this.#shown.get(row.key);
      this.#shown.delete(row.key);
      next.set(row.key, old?.sign === sign ? old : { sign, node: this.#renew(old?.node, row) });
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
      node.querySelector("button")?.focus();
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

/** Up and down move through the buttons of a list, Home and End to its ends. */
export function arrowKeys(container) {
  container.addEventListener("keydown", (event) => {
    const buttons = [...container.querySelectorAll("button:not([hidden])")].filter(
      (button) => button.offsetParent,
    );
    const place = buttons.indexOf(document.activeElement);
    const target = {
      ArrowDown: place + 1,
      ArrowUp: place - 1,
      Home: 0,
      End: buttons.length - 1,
    }[event.key];
    if (place >= 0 && buttons[target]) {
      event.preventDefault();
      buttons[target].focus();
    }
  });
}
