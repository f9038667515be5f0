/** A server in a process of its own, on a free port that it keeps over restarts. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

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

  /** `python -m threadchat` with these arguments more. */
  static start(...more) {
    return Server.#open((port) => ["-m", "threadchat", "--port", port, "--log-level", "error", ...more]);
  }

  /** application.py, which lies beside this file. */
  static startApplication(broker = "memory") {
    return Server.#open((port) => [fileURLToPath(new URL("application.py", import.meta.url)), port, broker]);
  }

  static async #open(command) {
    const server = new Server();
    const port = await freePort();
    server.url = `ws://127.0.0.1:${port}/chat`;
    server.#arguments = command(String(port));
    await server.start();
    return server;
  }

  async start() {
    this.#process = spawn(process.env.PYTHON ?? "python3", this.#arguments, {
      stdio: ["ignore", "pipe", process.env.SERVER_LOG ? "inherit" : "ignore"],
    });
    const started = once(createInterface(this.#process.stdout), "line");
    const ended = once(this.#process, "exit").then(([code]) => {
      throw new Error(`the server did not start, exit code ${code}`);
    });
    ended.catch(() => {});
    await Promise.race([started, ended]);
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
  for (let found; !(found = await condition());) {
    if (Date.now() > deadline) {
      throw new Error(`still waiting: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
