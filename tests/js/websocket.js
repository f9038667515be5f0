/**
 * A WebSocket client (RFC 6455) as small as these tests need it: Node has none of its own before version 22, and
 * one from npm would need a network. `cut` ends it as a pulled cable does, and `deaf` loses what the server says.
 */

import { randomBytes } from "node:crypto";
import { request } from "node:http";

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** Every one that was made, so that a test can cut what the client under test opened. */
export const sockets = [];

export class NodeSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  deaf = false;
  #stream = null;
  #rest = Buffer.alloc(0);
  #over = false;

  constructor(url) {
    sockets.push(this);
    const headers = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
    };
    const asking = request(url.replace("ws", "http"), { headers });
    asking.on("upgrade", (_, stream, head) => this.#opened(stream, head));
    asking.on("response", (response) => (response.resume(), this.#closed(1006, "")));
    asking.on("error", () => this.#closed(1006, ""));
    asking.end();
    this.#stream = asking;
  }

  send(text) {
    this.#write(TEXT, Buffer.from(text));
  }

  close(code = 1000) {
    if (!this.#over && this.#rest && this.opened) {
      this.#write(CLOSE, Buffer.from([code >> 8, code & 255]));
    }
    this.cut();
  }

  cut() {
    this.#stream.destroy();
    this.#closed(1006, "");
  }

  #opened(stream, head) {
    this.opened = true;
    this.#stream = stream;
    stream.setNoDelay();
    stream.on("data", (data) => this.#read(data));
    stream.on("close", () => this.#closed(1006, ""));
    stream.on("error", () => {});
    this.onopen?.({});
    this.#read(head);
  }

  #closed(code, reason) {
    if (!this.#over) {
      this.#over = true;
      this.onclose?.({ code, reason });
    }
  }

  #read(data) {
    if (this.deaf) {
      return;
    }
    let rest = Buffer.concat([this.#rest, data]);
    for (let frame; (frame = firstFrame(rest)); rest = frame.rest) {
      const { opcode, payload } = frame;
      if (opcode === TEXT) {
        this.onmessage?.({ data: payload.toString() });
      } else if (opcode === PING) {
        this.#write(PONG, payload);
      } else if (opcode === CLOSE) {
        this.#closed(payload.length ? payload.readUInt16BE(0) : 1005, payload.subarray(2).toString());
        this.#stream.end();
      }
    }
    this.#rest = rest;
  }

  #write(opcode, payload) {
    const { length } = payload;
    const size = length < 126 ? [length] : length < 65536 ? [126, length >> 8, length & 255] : null;
    const long = Buffer.alloc(9);
    long[0] = 127;
    long.writeBigUInt64BE(BigInt(length), 1);
    const head = size ? Buffer.from(size) : long;
    head[0] |= 0x80;
    const mask = randomBytes(4);
    const masked = payload.map((byte, index) => byte ^ mask[index % 4]);
    this.#stream.write(Buffer.concat([Buffer.from([0x80 | opcode]), head, mask, masked]));
  }
}

/** The server's frames are neither masked nor in parts. */
function firstFrame(data) {
  let length = data[1];
  let start = 2;
  if (length === 126) {
    [length, start] = [data.length >= 4 ? data.readUInt16BE(2) : NaN, 4];
  } else if (length === 127) {
    [length, start] = [data.length >= 10 ? Number(data.readBigUInt64BE(2)) : NaN, 10];
  }
  const end = start + length;
  return (
    data.length >= end && {
      opcode: data[0] & 15,
      payload: data.subarray(start, end),
      rest: data.subarray(end),
    }
  );
}
