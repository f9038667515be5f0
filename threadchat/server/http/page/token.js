/** Takes a token over from the address, `#token=…` or `#token=…&room`, and out of it: addresses are passed on. */

import { rememberedToken, rememberToken } from "./storage.js";

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
