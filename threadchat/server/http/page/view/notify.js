/** Tells what is new: to a screen reader, and to somebody who looks elsewhere and wants to know. */

import { W } from "../text/words.js";
import { $, h } from "./dom.js";

const SOUND = 0.09; // s

export class Notifier {
  #settings;
  #open;
  #sound = null;

  /** `open(key)` shows a conversation. */
  constructor(settings, open) {
    this.#settings = settings;
    this.#open = open;
  }

  get possible() {
    return "Notification" in window;
  }

  get denied() {
    return this.possible && Notification.permission === "denied";
  }

  /** Whether it is the moment to offer them: there was something to tell, and nobody was asked before. */
  get toBeOffered() {
    return this.possible && !this.#settings.asked && Notification.permission === "default";
  }

  /** Asks the browser, in answer to a click. True where it lets us. */
  async allow() {
    const allowed = this.possible && (await Notification.requestPermission()) === "granted";
    this.#settings.change({ asked: true, notify: allowed });
    return allowed;
  }

  /** `key` is the conversation's; `where` is "" for a private one. */
  tell({ key, name, where, text }) {
    if (this.#settings.sound) {
      this.#play();
    }
    if (!this.#settings.notify || !this.possible || Notification.permission !== "granted") {
      return;
    }
    const title = where ? W.fromWhom(name, where) : name;
    const note = new Notification(title, { body: text.slice(0, 200), tag: key });
    note.onclick = () => {
      window.focus();
      note.close();
      this.#open(key);
    };
  }

  #play() {
    this.#sound ??= new AudioContext();
    const { currentTime: now, destination } = this.#sound;
    const [tone, volume] = [this.#sound.createOscillator(), this.#sound.createGain()];
    tone.frequency.value = 660;
    volume.gain.setValueAtTime(0.12, now);
    volume.gain.exponentialRampToValueAtTime(0.001, now + SOUND * 3);
    tone.connect(volume).connect(destination);
    tone.start(now);
    tone.stop(now + SOUND * 3);
  }
}

const AT_ONCE = 3; // messages that are read out; of more, how many there are
const KEPT = 10; // lines
const AFTER = 300; // ms in which messages are gathered

/** A screen reader hears each message once. The log itself is silent, as it is drawn anew often. */
export class Announcer {
  #waiting = [];
  #timer = 0;

  /** `name` said `text`. */
  message(name, text) {
    this.#waiting.push(W.saysTo(name, text.slice(0, 500)));
    this.#timer ||= setTimeout(() => this.#tell(), AFTER);
  }

  #tell() {
    this.#timer = 0;
    const waiting = this.#waiting.splice(0);
    const lines = waiting.length > AT_ONCE ? [W.newCount(waiting.length)] : waiting;
    $("announcer").append(...lines.map((line) => h("p", {}, line)));
    while ($("announcer").childElementCount > KEPT) {
      $("announcer").firstElementChild.remove();
    }
  }
}
