// What a worker must get right about messages: which orders it takes, and what a report may carry.

const RESULTS = /^warrener\.results\.\d{1,9}$/; // a report that no queue takes would come back for ever
const RESULT_BYTES_MAX = 16 * 1024 * 1024;
const MESSAGE_CHARACTERS_MAX = 2_000;
const STACK_CHARACTERS_MAX = 16_384;

class Told extends Error {
  constructor(outcome, code, message, seconds = null) {
    super(message);
    Object.assign(this, { outcome, code, seconds });
  }
}

// For endpoints to throw: no further attempt is worth its while.
export class PermanentError extends Told {
  constructor(code, message) {
    super("permanent", code, message);
  }
}

// For endpoints to throw: try again, after so many seconds.
export class RetryLater extends Told {
  constructor(message, seconds) {
    super("retry_later", "retry-later", message, seconds);
  }
}

// For endpoints to throw: only a person can help; steps that name the same cause share the answer,
// which the next attempt finds in `order.context.answer`.
export class UserActionRequired extends Told {
  constructor(action, { cause = action, message = action, form = null } = {}) {
    super("user_action", "user-action", message);
    this.asked = { action, cause, message, form };
  }
}

// Another worker of the queue may know it, hence not permanent.
export class UnknownEndpoint extends Told {
  constructor(name) {
    super("failed", "unknown-endpoint", `this worker knows no endpoint ${name}`);
  }
}

// Returns the order in a message; null if it is none, or one of another version of the protocol.
export function orderIn(content) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
    const order = JSON.parse(text);
    const known = order.type === "RunStep" && (order.v ?? 1) === 1;
    const named = order.job && order.step && order.token && order.attempt > 0;
    return known && named && RESULTS.test(order.reply_to) ? order : null;
  } catch {
    return null;
  }
}

// Returns a result as it may be sent; throws PermanentError on what JSON or UTF-8 cannot carry.
export function checkedResult(result = null) {
  let text;
  try {
    text = JSON.stringify(result, (_, value) => {
      if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`${value} is not JSON`);
      if (typeof value === "string" && value !== wellFormed(value)) throw new TypeError("half a character");
      return value;
    });
  } catch (error) {
    throw new PermanentError("bad-result", `result: ${error.message}`);
  }
  const size = Buffer.byteLength(text ?? "null");
  if (size > RESULT_BYTES_MAX) throw new PermanentError("payload-too-large", `result: ${size} bytes`);
  return text === undefined ? null : result;
}

// Returns the part of a report that says why there is no result.
export function failure(thrown, attempt) {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const { outcome, code, seconds } = error instanceof Told ? error : { outcome: "failed", code: "error" };
  const message = wellFormed(error.message || error.name).slice(0, MESSAGE_CHARACTERS_MAX);
  const traceback = wellFormed(error.stack ?? "").slice(0, STACK_CHARACTERS_MAX);
  const type = error.constructor.name;
  const report = { outcome, retry_after: seconds, error: { code, message, type, attempt, traceback } };
  return error.asked ? { ...report, user_action: error.asked } : report;
}

// Returns text without halves of characters, which UTF-8 does not have.
function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
