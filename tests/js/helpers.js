/** What the tests against real servers share: chats that end with their test, and waiting for what comes. */

import "./crypto.js";
import { connect } from "../../threadchat/server/browser/threadchat.js";
import { until } from "./server.js";
import { NodeSocket, sockets } from "./websocket.js";

const chats = [];

/** A chat of this client on a real server. */
export function open(url, options = {}) {
  const chat = connect(url, { WebSocket: NodeSocket, storage: null, ...options });
  chats.push(chat);
  return chat;
}

export function closeAll() {
  chats.splice(0).forEach((chat) => chat.close());
  sockets.length = 0;
}

/** Pulls every cable that is plugged in. */
export const cut = () => sockets.splice(0).forEach((socket) => socket.cut());

/** Resolves with the next thing of this kind. */
export const next = (source, what) =>
  new Promise((resolve) => {
    const off = source.on(what, (thing) => (off(), resolve(thing)));
  });

export const state = (chat, phase) =>
  until(() => chat.state.phase === phase, `${phase}, it is ${chat.state.phase}`);

/** A promise of a server's that is stopped whatever happens. */
export async function withServer(starting, act) {
  const server = await starting;
  try {
    await act(server);
  } finally {
    closeAll();
    await server.stop();
  }
}
