/** Remembers a little between visits, and does without where the browser refuses to store. */

const NICKNAME = "threadchat.nickname";
const SESSION = "threadchat.session";
const TOKEN = "threadchat.token";
const USER = "threadchat.user";

function read(area, key) {
  try {
    return window[area].getItem(key);
  } catch {
    return null;
  }
}

function write(area, key, value) {
  try {
    window[area].setItem(key, value);
  } catch {
    // Storage is full or forbidden: the chat still works, it only forgets on reload.
  }
}

/** The nickname belongs to the browser: every tab offers it. */
export const rememberedNickname = () => read("localStorage", NICKNAME) ?? "";
export const rememberNickname = (nickname) => write("localStorage", NICKNAME, nickname);

/** The session belongs to the tab: it outlives a reload, and a second tab has its own. */
export function rememberedSession() {
  try {
    return JSON.parse(read("sessionStorage", SESSION)) ?? null;
  } catch {
    return null;
  }
}
export const rememberSession = (session) => write("sessionStorage", SESSION, JSON.stringify(session));

/** The token, too, is the tab's; the address hands it over only once. */
export const rememberedToken = () => read("sessionStorage", TOKEN);
export const rememberToken = (token) => write("sessionStorage", TOKEN, token);

/** Whom the last token named belongs to the browser: a new tab has to ask before it becomes somebody else. */
export const rememberedUser = () => read("localStorage", USER);
export const rememberUser = (user) => write("localStorage", USER, String(user));
