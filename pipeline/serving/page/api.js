/**
 * The server's API. Every address is relative to the page's, so nothing goes to another server, and a proxy may put
 * the whole of it under a path of its own.
 */

const KEY = "facepipe-key";
const TRIES = 60;

/** An answer that is none: the server's problem, or no answer at all (status 0). */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** The key is kept as long as the tab is open. */
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

/** The answer of `GET /v1/models`. */
export async function models() {
  return (await ask("v1/models", {})).json();
}

/**
 * The result of one picture.
 *
 * @param {Blob} picture encoded.
 * @param {object} choice `{conf, detector, classifiers}`; what is null or empty is the server's choice.
 * @param {object} [asking] `{signal, busy}`: an abort signal; called with seconds when the server is busy.
 */
export async function detect(picture, choice, asking) {
  const answer = await ask(`v1/detect?${query(choice)}`, body(picture), asking);
  return (await answer.json()).results[0];
}

/**
 * The picture as the server shows it, a JPEG.
 *
 * @param {object} [hidden] `{hide: "blur" | "pixelate", what: "faces" | "heads"}`; without it boxes are drawn.
 */
export async function render(picture, choice, hidden = {}, asking = {}) {
  const parameters = query(choice);
  parameters.set("render", "image");
  for (const [name, value] of Object.entries(hidden)) parameters.set(name, value);
  return (await ask(`v1/detect?${parameters}`, body(picture), asking)).blob();
}

function query({ conf, detector, classifiers }) {
  const parameters = new URLSearchParams();
  if (conf !== null) parameters.set("conf", conf);
  if (detector !== null) parameters.set("detector", detector);
  for (const each of classifiers) parameters.append("classifier", each);
  return parameters;
}

const body = (picture) => ({
  method: "POST",
  body: picture,
  headers: { "Content-Type": "application/octet-stream" }, // its bytes say what it is, not its name
});

/** Ask until the server has room, or has refused so often that it seems to have none. */
async function ask(address, options, { signal, busy } = {}) {
  for (let tried = 1; ; tried += 1) {
    const answer = await once(address, { ...options, signal });
    if (answer.ok) return answer;
    const problem = await problemOf(answer);
    if (answer.status !== 503 || tried === TRIES) throw problem;
    // A little more than was asked for, and not the same for all, so that not everybody comes back at once.
    const seconds = (Number(answer.headers.get("Retry-After")) || 1) * (1 + Math.random() / 2);
    busy?.(seconds, problem.message);
    await pause(seconds, signal);
  }
}

async function once(address, options) {
  const headers = { ...options.headers, ...(key.get() ? { "X-API-Key": key.get() } : {}) };
  try {
    return await fetch(address, { ...options, headers, cache: "no-store", redirect: "error" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, "No answer: the server is down, or cut the upload off because it is too large");
  }
}

async function problemOf(answer) {
  try {
    return new Problem(answer.status, (await answer.json()).detail ?? answer.statusText);
  } catch {
    return new Problem(answer.status, `${answer.status} ${answer.statusText}`);
  }
}

function pause(seconds, signal) {
  return new Promise((done, stopped) => {
    const clock = setTimeout(done, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(clock);
      stopped(signal.reason);
    });
  });
}
