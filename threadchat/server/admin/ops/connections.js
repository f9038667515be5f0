// The table of the slowest connections: rows are kept while their connection is listed, so the focus stays.

import { make } from "./charts.js";
import { bytes, count, moment, span, together } from "./words.js";

const NAMED = 2; // rooms in the table; the dialog names more

const find = (id) => document.getElementById(id);

/** The columns: heading, class, and the text of a cell or its texts. */
const COLUMNS = [
  ["No.", "number", (it) => `${it.number}`],
  ["Who", "", (it) => [who(it), it.nickname && it.user !== null ? ` ${it.user}` : ""]],
  ["Address", "", (it) => it.address || "–"],
  ["State", "", (it) => it.state.toLowerCase().replaceAll("_", " ")],
  ["Rooms", "", (it) => roomsOf(it)],
  ["Waiting for", "number", (it) => (it.outbox_age ? together(moment(it.outbox_age)) : "–")],
  ["Messages", "number", (it) => count(it.outbox_messages)],
  ["Bytes", "number", (it) => together(bytes(it.outbox_bytes))],
  ["Last write", "number", (it) => (it.last_write === null ? "never" : `${together(moment(it.last_write))} ago`)],
  ["Round trip", "number", (it) => (silent(it) ? `none for ${together(moment(it.ping_age))}` : together(moment(it.round_trip)))],
  ["Sent", "number", (it) => together(bytes(it.bytes_out))],
  ["Age", "number", (it) => span(it.age)],
  ["Node", "node", (it) => it.node.slice(0, 8) || "–"],
];

const who = (it) => it.nickname || (it.user === null ? "nobody yet" : `user ${it.user}`);
const silent = (it) => it.ping_age !== null && it.ping_age > Math.max(5, it.round_trip ?? 0);

export function roomsOf({ rooms, room_count: number }) {
  if (!number) return "–";
  return rooms.slice(0, NAMED).join(", ") + (number > NAMED ? ` +${number - NAMED}` : "");
}

export class Connections {
  #rows = new Map(); // key -> {element, cells, button, it}

  /** `onKick` is called with the connection whose button was pressed. */
  constructor(onKick) {
    this.onKick = onKick;
    const headings = COLUMNS.map(([title, kind]) => make("th", { className: kind, textContent: title, scope: "col" }));
    const action = make("th", { scope: "col" }, make("span", { className: "unseen", textContent: "Action" }));
    for (const each of [...headings, action]) each.setAttribute("role", "columnheader");
    find("slowest-head").replaceChildren(...headings, action);
  }

  show(list, several) {
    const focused = document.activeElement;
    const rows = list.map((it) => this.#row(it));
    const listed = new Set(list.map((it) => it.key));
    for (const key of this.#rows.keys()) if (!listed.has(key)) this.#rows.delete(key);
    const body = find("slowest");
    const elements = rows.map((row) => row.element);
    if (elements.length !== body.children.length || elements.some((each, place) => body.children[place] !== each)) {
      body.replaceChildren(...elements);
      if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
    }
    find("slowest-table").classList.toggle("several", several);
    find("nobody").hidden = list.length > 0;
  }

  #row(it) {
    let row = this.#rows.get(it.key);
    if (!row) this.#rows.set(it.key, (row = this.#make()));
    row.it = it;
    row.element.dataset.number = it.number;
    row.element.dataset.user = it.user ?? "";
    row.element.className = it.outbox_age >= 1 || silent(it) ? "stuck" : "";
    COLUMNS.forEach(([, , say], place) => {
      const [text, beside = ""] = [say(it)].flat();
      const [first, second] = row.cells[place].children;
      if (first.textContent !== text) first.textContent = text;
      if (second.textContent !== beside) second.textContent = beside;
    });
    row.button.hidden = it.user === null;
    row.button.setAttribute("aria-label", `Kick ${who(it)}…`);
    return row;
  }

  #make() {
    const cells = COLUMNS.map(([title, kind]) =>
      make("td", { className: kind, data: { label: title } }, make("span"), make("span", { className: "soft" })));
    const button = make("button", { type: "button", className: "quiet small-button", textContent: "Kick…", data: { testid: "kick" } });
    const last = make("td", { className: "action" }, button);
    const element = make("tr", {}, ...cells, last);
    element.setAttribute("role", "row");
    for (const each of [...cells, last]) each.setAttribute("role", "cell");
    const row = { element, cells, button, it: null };
    button.addEventListener("click", () => this.onKick(row.it));
    return row;
  }
}
