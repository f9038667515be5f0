// Asks the server every second with the key that was typed in, and shows why there is no answer.

import { Board } from "./board.js";

const KEY = "threadchat.ops.key";
const EVERY = 1000; // milliseconds
const PATIENCE = 8000;
const URL_OF_API = new URL("api/ops", document.baseURI);

const find = (id) => document.getElementById(id);
const board = new Board();
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
  find("board").hidden = true;
  find("door").hidden = false;
  find("problem").textContent = problem;
  find("key").focus();
  find("key").select();
}

function tell(state, words) {
  find("status").dataset.state = state;
  find("status").textContent = words;
}

/** Asks once, and again after a second. */
async function ask(mine, key) {
  let answer = null;
  try {
    answer = await fetch(URL_OF_API, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-API-Key": key },
      body: "{}",
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (mine === round && answer.ok) {
      const seen = await answer.json();
      if (mine === round) show(seen);
    }
  } catch {
    answer = null; // the server is away, or too slow
  }
  if (mine !== round) return;
  if (answer?.status === 401) {
    showDoor("The server does not know this key. It is the api_key of its configuration.");
    return;
  }
  if (answer === null) tell("away", "The server does not answer; asking again");
  else if (!answer.ok) tell("away", `The server answers with status ${answer.status}; asking again`);
  if (find("board").hidden && !answer?.ok) find("board").hidden = false;
  setTimeout(() => mine === round && ask(mine, key), EVERY);
}

function show(seen) {
  find("board").hidden = false;
  board.show(seen);
  if (seen.ready) tell("live", "live");
  else tell("broken", "The message store is away; commands are refused until it is back");
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

const kept = sessionStorage.getItem(KEY);
if (kept) letIn(kept);
else showDoor();
