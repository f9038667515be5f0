// The dashboard's page. All it knows of the protocol is threadchat.js.

import { connect } from "/live/threadchat.js";

const byId = (id) => document.getElementById(id);
const chat = connect("/live");
chat.on("state", ({ phase, reason }) => { byId("state").value = [phase, reason].filter(Boolean).join(": "); });

// Orders: those in the table, and then each change. The events begin first, so that nothing falls in between.
const orders = chat.room("orders");
const cancelled = new Set();
orders.on("subscribed", async ({ recovered }) => {
  if (!recovered) (await (await fetch("/orders")).json()).forEach(draw);
});
orders.on("order.created", draw);
orders.on("order.cancelled", ({ id }) => { cancelled.add(id); byId(id)?.remove(); });

function draw({ id, what }) {
  if (byId(id) || cancelled.has(id)) return;
  const item = byId("orders").appendChild(document.createElement("li"));
  item.id = id;
  item.textContent = what;
  const button = item.appendChild(document.createElement("button"));
  button.textContent = "Cancel";
  button.onclick = () => call("order.cancel", { id }, ({ left }) => `Cancelled; you have ${left} left.`);
}

// A command: its answer, or why it was refused.
async function call(name, data, tell) {
  try {
    byId("answer").value = tell(await chat.call(name, data));
  } catch (error) {
    byId("answer").value = `Refused: ${error.reason}`;
  }
}

byId("export").onclick = () => call("export", null, ({ job }) => {
  chat.room(job).on("progress", ({ done }) => { byId("progress").value = done; });
  return "The export has begun.";
});

// What is for this user alone comes to each of their tabs.
chat.inbox.on("notice", ({ text }) => { byId("notice").value = text; });

byId("form").onsubmit = (event) => {
  event.preventDefault();
  fetch("/orders", { method: "POST", body: new FormData(event.target) });
};
