/** The page's document without a browser: jsdom, and stubs of what jsdom does not have. */

import { readFileSync } from "node:fs";
import module, { createRequire } from "node:module";

const { register } = module; // since Node 20.6

export const FOLDER = new URL("../../threadchat/server/http/page/", import.meta.url);

/** Whether jsdom is installed; `NODE_PACKAGES` is the folder with node_modules. */
export const hasDom = Boolean(register) && (() => {
  try {
    return Boolean(jsdom());
  } catch {
    return false;
  }
})();

function jsdom() {
  return createRequire(`${process.env.NODE_PACKAGES ?? "."}/`)("jsdom");
}

/** Makes the page's document the global one. Modules that look for elements as they load are imported after it. */
export function openPage(url = "http://localhost/") {
  const html = readFileSync(new URL("index.html", FOLDER), "utf8").replace(/<script.*<\/script>/, "");
  const { window } = new (jsdom().JSDOM)(html, { url, pretendToBeVisual: true });
  const { HTMLElement, HTMLDialogElement } = window;
  Object.defineProperty(HTMLElement.prototype, "offsetParent", { get() { return this.parentNode; } });
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
  HTMLDialogElement.prototype.close = function () {
    this.open = false;
    this.dispatchEvent(new window.Event("close"));
  };
  const popup = window.document.getElementById("popup");
  let open = false;
  popup.matches = (selector) => (selector === ":popover-open" ? open : HTMLElement.prototype.matches.call(popup, selector));
  popup.showPopover = () => (open = true);
  popup.hidePopover = () => {
    open = false;
    popup.dispatchEvent(Object.assign(new window.Event("toggle"), { newState: "closed" }));
  };
  window.matchMedia = () => ({ matches: false, addEventListener: () => {} });
  HTMLElement.prototype.scrollIntoView = () => {};
  const names = ["document", "location", "history", "HTMLButtonElement", "Event", "KeyboardEvent", "AbortController"];
  names.forEach((name) => Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true }));
  Object.assign(globalThis, {
    window,
    matchMedia: window.matchMedia,
    getComputedStyle: window.getComputedStyle,
    requestAnimationFrame: (act) => setTimeout(act),
    ResizeObserver: class {
      observe() {}
    },
    innerHeight: 800,
    innerWidth: 1200,
  });
  return window;
}

export const $ = (id) => document.getElementById(id);

/** Presses a key on an element. True where nobody took it. */
export const press = (element, key, init = {}) =>
  element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...init }));

export const tick = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until something is true, for 10 s at most. */
export async function until(condition, what) {
  for (let attempt = 0; !condition(); attempt += 1) {
    if (attempt === 1_000) {
      throw new Error(`waited for ${what}`);
    }
    await tick(10);
  }
}

/** The page imports the client from where the server has it. */
if (register) {
  const client = new URL("../../threadchat/server/browser/threadchat.js", import.meta.url).href;
  const hook = `export const resolve = (name, context, next) => next(name === "../threadchat.js" ? "${client}" : name, context);`;
  register(`data:text/javascript,${encodeURIComponent(hook)}`);
}
