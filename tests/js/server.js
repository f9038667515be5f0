/** `python -m threadchat` in a process of its own, on a free port that it keeps over restarts. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  return port;
}

export class Server {
  #process = null;
  #arguments;

  static async start(...more) {
    const server = new Server();
    server.port = await freePort();
    server.url = `ws://127.0.0.1:${server.port}/chat`;
    server.#arguments = ["-m", "threadchat", "--port", String(server.port), "--log-level", "error", ...more];
    await server.start();
    return server;
  }

  async start() {
    this.#process = spawn(process.env.PYTHON ?? "python3", this.#arguments, {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(createInterface(this.#process.stdout), "line");
  }

  async stop(signal = "SIGTERM") {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill(signal);
      await once(this.#process, "exit");
    }
  }
}

/** Waits until something holds that nothing announces. */
export async function until(condition, what) {
  const deadline = Date.now() + 20_000;
  for (let found; !(found = await condition()); ) {
    if (Date.now() > deadline) {
      throw new Error(`still waiting: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
