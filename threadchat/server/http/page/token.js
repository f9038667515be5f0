/** Takes a token over from the address, `#token=…` or `#token=…&room`, and out of it: addresses are passed on. */

import { rememberedSession, rememberedToken, rememberedUser, rememberToken, rememberUser } from "./storage.js";

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
  const before = session?.me.nickname || (user === null ? "somebody without an account" : `user ${user}`);
  const after = `${nicknameIn(token) || "somebody"} (user ${claims.sub ?? "unknown"})`;
  return confirm(
    `This link signs you in as ${after.slice(0, SHOWN)}. ` +
      `Until now you are ${before.slice(0, SHOWN)} here. Go on as the one whom the link names?`,
  );
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
