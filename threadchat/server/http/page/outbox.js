/** Sends one's own messages: in order, one at a time for each conversation, and each of them once. */

import { refusal } from "./words.js";

const KEY_LIFE = 270; // seconds for which a key surely still stands for the first attempt (the server: 300)
const NOT_SENT = "This was not sent.";
const UNSURE = "The connection was lost while this was sent. It may have arrived.";

export class Outbox {
  #model;
  #ask;
  #changed;
  #busy = new Set(); // conversations with a message under way

  /** `ask(command)` resolves with the reply; `changed()` is called after each step. */
  constructor(model, ask, changed) {
    this.#model = model;
    this.#ask = ask;
    this.#changed = changed;
  }

  write(conversation, text) {
    conversation.timeline.write(text, Date.now() / 1000);
    this.flush(conversation);
  }

  retry(conversation, message) {
    Object.assign(message, { state: "waiting", problem: "", attempt: null });
    this.flush(conversation);
  }

  /** Before the first flush on a new connection: what may not be sent again by itself is marked. */
  review(conversation) {
    for (const message of conversation.timeline.pending) {
      if (conversation.ended) {
        this.#bury(message);
      } else if (
        message.state === "waiting" &&
        message.attempt &&
        !this.#repeatable(conversation, message.attempt)
      ) {
        this.#fail(message, UNSURE);
      }
    }
  }

  async flush(conversation) {
    if (this.#busy.has(conversation)) {
      return;
    }
    this.#busy.add(conversation);
    try {
      for (;;) {
        const message = conversation.timeline.pending.find(({ state }) => state === "waiting");
        if (!message || !this.#ready(conversation)) {
          break;
        }
        await this.#send(conversation, message);
      }
    } finally {
      this.#busy.delete(conversation);
      this.#changed();
    }
  }

  /** The server hung up over a frame's length: sending it again would end the same way. */
  giveUpOnCurrent() {
    for (const conversation of this.#model.conversations) {
      const message = conversation.timeline.pending.find(({ state }) => state === "sending");
      if (message) {
        this.#fail(message, "This message is too long for the server.");
      }
    }
  }

  #ready(conversation) {
    const open = conversation.kind === "direct" ? !conversation.ended : conversation.phase === "joined";
    return open && this.#model.status.phase === "online";
  }

  /** Whether a second attempt can't become a second message. */
  #repeatable(conversation, { user, epoch, at }) {
    if (conversation.kind === "direct") {
      return false; // direct messages have no key
    }
    const sameLog = epoch === conversation.epoch;
    return !sameLog || (user === this.#model.me.user && Date.now() / 1000 - at < KEY_LIFE);
  }

  async #send(conversation, message) {
    const { timeline, epoch = null } = conversation;
    message.state = "sending";
    message.attempt ??= { user: this.#model.me.user, epoch, at: Date.now() / 1000 };
    this.#changed();
    try {
      const { text, key } = message;
      if (conversation.kind === "room") {
        const reply = await this.#ask({ type: "message", room: conversation.name, message: text, key });
        timeline.acknowledge(message, epoch, reply.offset);
      } else {
        await this.#ask({ type: "direct", to: conversation.id, message: text });
        timeline.discard(message);
        const { user: userId, nickname: name } = this.#model.me;
        conversation.add({ userId, name, text, at: message.at, mine: true });
      }
    } catch (error) {
      this.#refused(conversation, message, error);
    }
  }

  #refused(conversation, message, error) {
    if (message.state === "failed") {
      return; // given up while it was under way
    }
    if (error.name === "Lost") {
      message.state = "waiting";
    } else if (conversation.kind === "direct" && error.code === 108) {
      this.#fail(message, `${conversation.nickname} is not online.`);
    } else {
      this.#fail(message, refusal(error, "Not sent"));
    }
  }

  /** The number that this was written to may be somebody else's now: it must not go anywhere. */
  #bury(message) {
    message.final = true;
    if (message.state === "waiting") {
      this.#fail(message, message.attempt ? UNSURE : NOT_SENT);
    }
  }

  #fail(message, problem) {
    Object.assign(message, { state: "failed", problem, matched: null });
  }
}
