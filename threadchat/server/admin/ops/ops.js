// Asks the server every second with the key that was typed in, and shows why there is no answer.

import { titleOf } from "./alerts.js";
import { Board } from "./board.js";
import { make } from "./charts.js";
import { KickDialog } from "./kick.js";

const KEY = "threadchat.ops.key";
const EVERY = 1000; // milliseconds
const PATIENCE = 8000;
const TITLE = document.title;

const find = (id) => document.getElementById(id);
const dialog = new KickDialog((name, fields) => call(name, fields, sessionStorage.getItem(KEY)));
const board = new Board((connection) => dialog.open(connection));
let round = 0; // the answers of an older round are ignored

function letIn(key) {
  sessionStorage.setItem(KEY, key);
  find("door").hidden = true;
  round += 1;
  ask(round, key);
}

function showDoor(problem = "") {
  round += 1;
  sessionStorage.removeItem(KEY);
  dialog.close();
  document.title = TITLE;
  find("board").hidden = true;
  find("door").hidden = false;
  find("problem").textContent = problem;
  find("key").focus();
  find("key").select();
}

/** Does a call of the HTTP API. `status` is null if there is no answer in time. Raises nothing. */
async function call(name, fields, key) {
  try {
    const reply = await fetch(new URL(`api/${name}`, document.baseURI), {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-API-Key": key },
      body: JSON.stringify(fields),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PATIENCE),
    });
    return { ok: reply.ok, status: reply.status, answer: await reply.json().catch(() => null) };
  } catch {
    return { ok: false, status: null, answer: null };
  }
}

/** Asks once, and again after a second. */
async function ask(mine, key) {
  const { ok, status, answer } = await call("ops", board.wanted, key);
  if (mine !== round) return;
  if (status === 401) {
    showDoor("The server does not know this key. It is the api_key of its configuration.");
    return;
  }
  find("board").hidden = false;
  if (ok && answer) {
    board.show(answer);
    if (answer.ready) tell("live", "live");
    else tell("broken", "The message store is away; commands are refused until it is back");
  } else {
    const since = board.dim(status);
    if (status === null) tell("away", `The server does not answer since ${since}; asking again`);
    else tell("away", `The server answers with status ${status} since ${since}; asking again`);
  }
  alarm();
  setTimeout(() => mine === round && ask(mine, key), EVERY);
}

function tell(state, words) {
  find("status").dataset.state = state;
  if (find("status").textContent !== words) find("status").textContent = words; // read out once
}

function alarm() {
  const { alerts } = board;
  const title = titleOf(alerts, TITLE);
  if (document.title !== title) document.title = title;
  const shown = alerts.filter((it) => it.name !== "dead"); // the status says that
  find("alerts").hidden = !shown.length;
  find("alerts").replaceChildren(...shown.map(({ name, text }) => make("li", { data: { name }, textContent: text })));
}

find("door-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = find("key").value.trim();
  find("key").value = "";
  // A header cannot carry other characters, and no key contains them.
  if (/^[!-~]+$/.test(key)) letIn(key);
  else showDoor("A key has letters, digits and signs of ASCII, and no spaces.");
});
find("leave").addEventListener("click", () => showDoor());
find("range").addEventListener("change", () => {
  board.hour = find("hour").checked;
  board.drawHistory();
});

const kept = sessionStorage.getItem(KEY);
if (kept) letIn(kept);
else showDoor();
