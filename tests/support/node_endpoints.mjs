// Endpoints for the tests of the worker in Node.

import { existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";

// The worker that runs this, wherever it is installed.
const { UserActionRequired } = await import(new URL("protocol.mjs", pathToFileURL(process.argv[1])));

export const endpoints = {
  "test.echo": (args) => args,
  "test.trace": (_, { traceparent, order }) => [traceparent, order.context?.traceparent],
  "test.nothing": () => undefined,
  "test.not_a_number": () => ({ deep: [NaN] }),
  "test.half_a_character": () => "\ud800",
  "test.too_large": () => "x".repeat(16 * 1024 * 1024),
  "test.throw": ({ message }) => {
    throw new RangeError(message);
  },
  "test.ask": ({ page }, { order }) => {
    const { answer } = order.context ?? {};
    if (answer === undefined) {
      throw new UserActionRequired("reconnect", { cause: `page-${page}`, form: { type: "object" } });
    }
    return answer;
  },
  "test.throw_text": () => {
    throw "just text";
  },
  // Runs until the file is there, or nobody waits any longer.
  "test.until": async ({ file }, { signal, progress, order }) => {
    progress(0.5, order.path);
    while (!existsSync(file) && !signal.aborted) await pause(10);
    return signal.aborted ? "aborted" : "seen";
  },
};
