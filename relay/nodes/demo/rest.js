// What the page asks the node: REST with a token that is refreshed before it ends. A session lives as long as its tab.

const SESSION = "headland-session";
/** Refreshed so long before its end. */
const EARLY_MS = 30_000;

/** A refusal of the node, in its own words (RFC 9457). */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `status ${status}`);
    Object.assign(this, { status, problem });
  }
}

export class Rest {
  session = JSON.parse(sessionStorage.getItem(SESSION) ?? "null");
  #refreshing = null;

  get signedIn() {
    return this.session !== null;
  }

  login = (who) => this.#begin("login", who);
  register = (who) => this.#begin("register", who);

  signOut() {
    this.session = null;
    sessionStorage.removeItem(SESSION);
  }

  get = (path) => this.#authorised("GET", path);
  post = (path, body, headers) => this.#authorised("POST", path, body, headers);
  put = (path, body) => this.#authorised("PUT", path, body);
  patch = (path, body) => this.#authorised("PATCH", path, body);
  delete = (path) => this.#authorised("DELETE", path);

  /** A token that is good for a while; what both REST and the connection show. */
  async token() {
    if (Date.now() > this.session.ends - EARLY_MS) {
      this.#refreshing ??= this.#begin("refresh", { refresh_token: this.session.refresh_token })
        .finally(() => { this.#refreshing = null; });
      await this.#refreshing;
    }
    return this.session.access_token;
  }

  async #begin(how, body) {
    const made = await ask("POST", how, body, {});
    this.session = { ...this.session, ...made, ends: Date.now() + made.expires_in * 1000 };
    sessionStorage.setItem(SESSION, JSON.stringify(this.session));
  }

  async #authorised(method, path, body, headers = {}) {
    return ask(method, path, body, { ...headers, Authorization: `Bearer ${await this.token()}` });
  }
}

async function ask(method, path, body, headers) {
  const json = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(`/v1/${path}`, {
    method,
    headers: { ...json, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  let said = {};
  try {
    said = text === "" ? {} : JSON.parse(text);
  } catch {
    said = { detail: text };
  }
  if (!answer.ok) throw new Refused(answer.status, said);
  return said;
}
