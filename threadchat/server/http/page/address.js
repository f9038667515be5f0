/**
 * What the address names: #garden is a room, #garden/17 a message in it, #@7 the private conversation with user 7;
 * and #token=… or #token=…&garden a token, which is taken out of it, as addresses are passed on.
 */

import { rememberToken, rememberUser, rememberedSession, rememberedToken, rememberedUser } from "./storage.js";
import { W } from "./text/words.js";

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

const SHOWN = 64; // characters of a name in the question

/** {token, fresh}: the tab's token or null, and whether the address brought it just now. */
export function takeToken() {
  const [, token, room] = /^#token=([^&]+)(?:&(.*))?$/.exec(location.hash) ?? [];
  const former = rememberedToken();
  if (!token) {
    return { token: former, fresh: false };
  }
  history.replaceState(null, "", room ? `#${room}` : location.pathname + location.search);
  if (token === former || !mayReplace(token, former)) {
    return { token: former, fresh: false };
  }
  rememberToken(token);
  rememberUser(claimsOf(token).sub);
  return { token, fresh: true };
}

/** Anybody can send a link: it makes nobody somebody else who was somebody before, unless they agree. */
function mayReplace(token, former) {
  const claims = claimsOf(token);
  const user = former === null ? rememberedUser() : String(claimsOf(former).sub);
  const session = rememberedSession();
  if (user === String(claims.sub) || (user === null && !session)) {
    return true;
  }
  const before = session?.me.nickname || (user === null ? W.withoutAccount : W.user(user));
  const after = W.named(nicknameIn(token) || W.somebody, claims.sub ?? W.unknown);
  return confirm(W.linkSignsIn(after.slice(0, SHOWN), before.slice(0, SHOWN)));
}

/** What a token says, which may be anything: the server decides what it is worth. */
function claimsOf(token) {
  try {
    const bytes = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)))) ?? {};
  } catch {
    return {};
  }
}

/** The nickname that a token gives, or "". */
export function nicknameIn(token) {
  const { nickname } = claimsOf(token);
  return typeof nickname === "string" ? nickname.trim() : "";
}
