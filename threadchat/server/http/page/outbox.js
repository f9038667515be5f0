/** Shows what becomes of one's own messages; the client sends them: in order, and each of them once. */

import { notSent } from "./text/phrases.js";

export class Outbox {
  #model;
  #client;
  #changed;

  /** `client()` is the connection's; `changed()` is called after each step. */
  constructor(model, client, changed) {
    this.#model = model;
    this.#client = client;
    this.#changed = changed;
  }

  /** `replyTo` is the id of the message that this one answers, in the room's present log. */
  write(conversation, text, { replyTo = 0 } = {}) {
    const { epoch = null } = conversation;
    this.#send(conversation, conversation.timeline.write(text, Date.now() / 1000, { replyTo, epoch }));
  }

  retry(conversation, message) {
    Object.assign(message, { problem: "", offset: null });
    this.#send(conversation, message);
  }

  /** What waited when the page was loaded anew goes on to wait. */
  adopt(conversation) {
    if (conversation.ended) {
      return;
    }
    const { kind, name, id, timeline } = conversation;
    const waiting = kind === "room" ? this.#client().room(name).waiting : this.#client().waitingFor(id);
    for (const { key, message: text, at, done } of waiting) {
      this.#follow(conversation, timeline.write(text, at / 1000, { key }), done);
    }
  }

  /** The connection came or went: what is on its way says so. */
  review() {
    const state = this.#onItsWay();
    for (const { timeline } of this.#model.conversations) {
      for (const message of timeline.pending) {
        message.state = ["sending", "waiting"].includes(message.state) ? state : message.state;
      }
    }
  }

  #onItsWay() {
    return this.#model.status.phase === "online" ? "sending" : "waiting";
  }

  #send(conversation, message) {
    const { text, key, replyTo, epoch } = message;
    const { kind, name, id } = conversation;
    const reply = replyTo ? { reply_to: replyTo, epoch } : {};
    const done =
      kind === "room"
        ? this.#client().room(name).message(text, { key, ...reply })
        : this.#client().direct(id, text, { key });
    this.#follow(conversation, message, done);
  }

  async #follow(conversation, message, done) {
    message.state = this.#onItsWay();
    this.#changed();
    try {
      const { epoch, offset } = await done;
      if (conversation.kind === "room") {
        conversation.timeline.acknowledge(message, epoch, offset);
      } else {
        this.#delivered(conversation, message);
      }
    } catch (error) {
      if (error.code === "taken") {
        conversation.timeline.discard(message);
      } else {
        const problem = notSent(error, conversation);
        Object.assign(message, {
          state: "failed",
          problem,
          matched: null,
          final: Boolean(conversation.ended),
        });
      }
    }
    this.#changed();
  }

  #delivered(direct, message) {
    direct.timeline.discard(message);
    const { user: userId, nickname: name } = this.#model.me;
    direct.add({ userId, name, text: message.text, at: message.at, mine: true });
  }
}
