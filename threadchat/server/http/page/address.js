/**
 * What the address names: #garden is a room, #garden/17 a message in it, #@7 the private conversation with user 7;
 * and #token=… or #token=…&garden a token, which is taken out of it, as addresses are passed on.
 */

import { rememberToken, rememberedToken } from "./storage.js";

/** The fragment for a conversation. */
export const addressOf = (key) => {
  const encoded = encodeURIComponent(key.slice(1));
  return key.startsWith("#") ? `#${encoded}` : `#@${encoded}`;
};

/** {key} of a private conversation, {key, room, event} of a room, where `event` may be 0; or null. */
export function addressed(hash) {
  const text = hash.slice(1);
  try {
    if (text.startsWith("@")) {
      return { key: `@${decodeURIComponent(text.slice(1))}` };
    }
    const [, name, event = "0"] = /^([^/]*)(?:\/(\d{1,15}))?$/.exec(text) ?? [];
    const room = decodeURIComponent(name ?? text).trim().normalize();
    return room ? { key: `#${room}`, room, event: Number(event) } : null;
  } catch {
    return null; // a stray % names no room
  }
}

/** {token, fresh}: the tab's token or null, and whether the address brought it just now. */
export function takeToken() {
  const [, token, room] = /^#token=([^&]+)(?:&(.*))?$/.exec(location.hash) ?? [];
  if (!token) {
    return { token: rememberedToken(), fresh: false };
  }
  rememberToken(token);
  history.replaceState(null, "", room ? `#${room}` : location.pathname + location.search);
  return { token, fresh: true };
}

/** The nickname that a token gives, or "". The server decides what the token is worth; this only reads it. */
export function nicknameIn(token) {
  try {
    const bytes = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    const { nickname } = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0))));
    return typeof nickname === "string" ? nickname.trim() : "";
  } catch {
    return "";
  }
}
