// One conversation: its messages by id in the order of their offsets, from REST pages and live publications alike, each once.

const PAGE = 50;

export class Room {
  /** By id; each as REST gives it. */
  messages = new Map();
  /** Where older messages begin; `undefined` before the first page, `null` when there are none. */
  #older = undefined;
  #loading = null;
  /** Changes of messages that no page has brought yet, by id. */
  #early = new Map();

  constructor(rest, conversation) {
    Object.assign(this, { rest, ...conversation });
  }

  get id() {
    return this.channel.id;
  }

  get loaded() {
    return this.#older !== undefined;
  }

  get whole() {
    return this.#older === null;
  }

  get top() {
    let top = 0;
    for (const { offset } of this.messages.values()) top = Math.max(top, offset);
    return top;
  }

  /** The last page, then older ones. One at a time. */
  load() {
    this.#loading ??= this.#page().finally(() => { this.#loading = null; });
    return this.#loading;
  }

  /** What is known may be old: the next page is the last one again. */
  forget() {
    this.messages.clear();
    this.#early.clear();
    this.#older = undefined;
  }

  async #page() {
    if (this.whole) return;
    const before = this.loaded ? `&before=${this.#older}` : "";
    const { messages, older } = await this.rest.get(`channels/${this.id}/messages?limit=${PAGE}${before}`);
    for (const message of messages) this.#put(message);
    this.#older = older;
  }

  #put(message) {
    const known = this.messages.get(message.id);
    if (known === undefined || newer(message, known)) this.messages.set(message.id, message);
    const early = this.#early.get(message.id);
    if (early !== undefined) {
      this.#early.delete(message.id);
      this.change(early);
    }
  }

  /** A live publication. Says whether it is a message that was not known. */
  hear(data, offset) {
    if (data?.type === "message") {
      const isNew = !this.messages.has(data.id);
      this.#put({ edited_at: 0, deleted_at: 0, ...data, offset });
      return isNew;
    }
    if (typeof data?.id === "string") this.change(data);
    return false;
  }

  change(data) {
    const known = this.messages.get(data.id);
    if (known === undefined) this.#early.set(data.id, data);
    else if (data.type === "edited" && (data.edited_at ?? 0) >= known.edited_at) Object.assign(known, { body: data.body, edited_at: data.edited_at });
    else if (data.type === "deleted") Object.assign(known, { body: null, deleted_at: data.deleted_at || 1 });
  }

  inOrder() {
    return [...this.messages.values()].sort((one, other) => one.offset - other.offset);
  }
}

const newer = (one, other) => one.deleted_at > other.deleted_at || one.edited_at > other.edited_at;
