// The page of the ported program. There: <script src="socket.io.js">; each comment says what stood in a line's place.

import { connect } from "/live/threadchat.js";

const byId = (id) => document.getElementById(id);
const chat = connect("/live"); // io()
let room = "lobby";

function show(line) {
  byId("said").appendChild(document.createElement("li")).textContent = line;
}

async function call(name, data) { // socket.emit(name, data, ack)
  try {
    byId("ack").value = JSON.stringify(await chat.call(name, data));
  } catch (error) { // there: whatever the ack was made to mean
    byId("ack").value = `refused: ${error.reason}`;
  }
}

const entered = new Set();
chat.on("hello", () => entered.forEach((name) => call("enter", name))); // socket.on("connect", …)

byId("enter").onsubmit = (event) => {
  event.preventDefault();
  room = event.target.room.value;
  if (entered.has(room)) return;
  entered.add(room);
  chat.room(room).on("status", ({ text }) => show(text)); // socket.on("status", …), of whatever room
  chat.room(room).on("said", ({ by, text }) => show(`${by}: ${text}`));
  call("enter", room);
};

byId("say").onsubmit = (event) => {
  event.preventDefault();
  call("say", { room, text: event.target.text.value });
  event.target.reset();
};

chat.inbox.on("warning", ({ text }) => { byId("warning").value = text; }); // socket.on("warning", …)
