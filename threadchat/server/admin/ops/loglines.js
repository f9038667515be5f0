// The last lines of the log, of all processes that answered, in the order of their times.

import { make } from "./charts.js";
import { clock } from "./words.js";

const MOST = 200; // lines that are shown

const find = (id) => document.getElementById(id);

export class LogLines {
  #last = {}; // process -> the number of its last line
  lines = [];

  /** What the next request says is known. */
  get known() {
    return this.#last;
  }

  /** Takes the new lines of an answer; `ahead` is how many seconds this computer's clock is ahead. */
  take({ process, node, log, nodes }, ahead) {
    const fresh = log.filter((line) => line.number > (this.#last[process] ?? 0));
    const alive = new Set(nodes.map((it) => it.process));
    this.#last = Object.fromEntries(Object.entries(this.#last).filter(([each]) => alive.has(each)));
    if (!fresh.length) return;
    this.#last[process] = fresh.at(-1).number;
    this.lines.push(...fresh.map((line) => ({ ...line, node, time: line.time + ahead })));
    this.lines.sort((one, other) => one.time - other.time);
    this.lines.splice(0, this.lines.length - MOST);
    this.#draw();
  }

  /** The lines since `time`. */
  since(time) {
    return this.lines.filter((line) => line.time >= time);
  }

  #draw() {
    const box = find("log");
    const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
    box.replaceChildren(...this.lines.map((line) => make("div", { className: `log-line ${line.level}` },
      make("span", { className: "soft", textContent: `${clock(line.time)} ` }),
      make("span", { className: "level", textContent: `${line.level} ` }),
      make("span", { textContent: line.message }))));
    find("log-empty").hidden = true;
    if (atEnd) box.scrollTop = box.scrollHeight;
  }
}
