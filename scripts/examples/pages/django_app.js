// The page of a Django user: the lobby's messages, and what the site has to say to this user alone.

import { connect } from "/chat/threadchat.js";

const byId = (id) => document.getElementById(id);
const chat = connect("/chat"); // Django's session cookie says who it is
const lobby = chat.room("lobby");
chat.on("hello", ({ user, nickname }) => { byId("me").textContent = `${nickname} (${user})`; });
chat.inbox.on("login", ({ from }) => { byId("login").value = `You logged in from ${from}.`; });

lobby.on("message", ({ from, message }) => {
  byId("messages").appendChild(document.createElement("li")).textContent = `${from}: ${message}`;
});
lobby.join();

byId("form").onsubmit = (event) => {
  event.preventDefault();
  lobby.message(event.target.text.value).catch(({ reason }) => { byId("error").value = reason; });
  event.target.reset();
};
