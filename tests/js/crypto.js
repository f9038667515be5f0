/** Node 18 has what browsers call `crypto`, and does not call it so. */

import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
