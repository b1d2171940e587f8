// The chat page: signs in by REST, lives on one connection to the edge. The server subscribes it to all its channels; what was missed
// while away is recovered by the SDK, or loaded anew where that says it cannot be. Text is set as text only.
/* global Centrifuge */
import { Refused, Rest } from "./rest.js";
import { Room } from "./room.js";

const CONVERSATIONS = 50;
const SEND_AGAIN_MS = 1000;
/** How often it looks who has registered. */
const PEOPLE_MS = 3000;
/** Messages that wait to be sent. */
const UNSENT_MAX = 100;

const element = (id) => document.getElementById(id);
const settings = await (await fetch("settings.json")).json();
const rest = new Rest();

/** Rooms by channel id, and by the channel's name on the bus. */
const rooms = new Map();
const streams = new Map();
/** Names by user id. */
const people = new Map();
let client = null;
let open = null;
let live = null;
let nextConversations = null;
const unsent = [];
let sending = false;

const me = () => rest.session.user;
const nameOf = (id) => people.get(id)?.display_name ?? `user ${id}`;
const titleOf = (room) => (room.channel.kind === "dm" ? nameOf(room.peer ?? me().id) : room.channel.name);

function tell(what) {
  element("problem").textContent = what;
  element("problem").hidden = what === "";
}

/** Runs what a person asked for; a refusal is shown. */
async function act(work) {
  try {
    await work();
    tell("");
  } catch (error) {
    if (error instanceof Refused && error.status === 401) signOut();
    tell(error.message);
  }
}

// Signing in and out.

element("sign").addEventListener("submit", (event) => {
  event.preventDefault();
  act(() => begin(rest.login));
});
element("register").addEventListener("click", () => {
  if (element("sign").reportValidity()) act(() => begin((who) => rest.register({ ...who, display_name: who.name })));
});
element("out").addEventListener("click", signOut);

async function begin(how) {
  const [workspace, name, password] = ["workspace", "name", "password"].map((id) => element(id).value);
  await how({ workspace: workspace.trim(), name: name.trim(), password });
  element("password").value = "";
  await start();
}

function signOut() {
  client?.removeAllListeners();
  client?.disconnect();
  rest.signOut();
  for (const all of [rooms, streams, people]) all.clear();
  [client, open, live] = [null, null, null];
  unsent.length = 0;
  showSigned(false);
  showState("disconnected");
}

function showSigned(signed) {
  element("sign").hidden = signed;
  for (const id of ["chat", "offline", "out"]) element(id).hidden = !signed;
  element("me").textContent = signed ? me().display_name : "chat";
  document.title = signed ? `${me().display_name} - Headland chat` : "Headland chat";
}

async function start() {
  showSigned(true);
  show();
  connect();
  await Promise.all([loadPeople(), loadConversations()]);
}

// The connection.

function connect() {
  client = new Centrifuge(settings.url, { getToken: () => rest.token() });
  client.on("state", ({ newState }) => showState(newState));
  client.on("connected", () => {
    tell("");
    sendNext();
  });
  client.on("error", ({ error }) => {
    if (error.message === "transport closed") tellUnreached();
    else tell(error.message);
  });
  client.on("subscribed", ({ channel, wasRecovering, recovered }) => {
    const room = streams.get(channel);
    // A channel that this page does not know is new; of one that could not be recovered what is known may be old.
    if (room === undefined) act(loadConversations);
    else if (wasRecovering && !recovered) act(() => reload(room));
  });
  client.on("unsubscribed", ({ channel }) => gone(channel));
  client.on("publication", ({ channel, data, offset }) => heard(channel, data, offset));
  client.connect();
}

function heard(channel, data, offset) {
  const room = streams.get(channel);
  if (room === undefined) {
    act(loadConversations);
    return;
  }
  const isNew = room.hear(data, offset);
  if (isNew) {
    room.latest_at = data.created_at;
    if (data.sender !== me().id && room !== open) room.unread += 1;
    if (!people.has(data.sender)) act(loadPeople);
  }
  show();
  if (room === open) markRead();
}

async function reload(room) {
  room.forget();
  await loadConversations();
  if (room === open) {
    await room.load();
    show();
    markRead();
  }
}

function gone(channel) {
  const room = streams.get(channel);
  if (room === undefined) return;
  streams.delete(channel);
  rooms.delete(room.id);
  if (room === open) choose(null);
  show();
}

element("offline").addEventListener("click", () => {
  if (client.state === "disconnected") client.connect();
  else client.disconnect();
});

function showState(state) {
  element("state").dataset.state = state;
  element("state").textContent = state;
  const off = state === "disconnected";
  element("offline").setAttribute("aria-pressed", String(off));
  element("offline").textContent = off ? "Go online" : "Go offline";
}

/** A browser does not say whether it was the certificate. */
function tellUnreached() {
  tell(`${settings.url} cannot be reached. If the browser does not trust the development certificate, accept it once at `);
  const link = document.createElement("a");
  link.href = new URL("/", settings.url.replace(/^ws/, "http")).href;
  link.textContent = link.href;
  link.target = "_blank";
  link.rel = "noopener";
  element("problem").append(link);
}

// Conversations and people.

async function loadPeople() {
  let after = "";
  do {
    const { users, next } = await rest.get(`users?limit=200${after}`);
    for (const user of users) people.set(user.id, user);
    after = next ? `&after=${next}` : "";
  } while (after !== "" && people.size < 2000);
  show();
}

async function loadConversations(before) {
  const more = before ? `&before=${encodeURIComponent(before)}` : "";
  const { conversations, next } = await rest.get(`conversations?limit=${CONVERSATIONS}${more}`);
  for (const conversation of conversations) {
    const known = rooms.get(conversation.channel.id);
    if (known !== undefined) Object.assign(known, conversation);
    else keep(new Room(rest, conversation));
  }
  nextConversations = next;
  show();
}

function keep(room) {
  rooms.set(room.id, room);
  streams.set(room.channel.stream, room);
}

element("more").addEventListener("click", () => act(() => loadConversations(nextConversations)));

element("new-group").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = element("group-name");
  act(async () => {
    const { id } = await rest.post("channels", { name: field.value.trim() });
    field.value = "";
    await loadConversations();
    await choose(rooms.get(id));
  });
});

element("invite").addEventListener("submit", (event) => {
  event.preventDefault();
  act(() => rest.put(`channels/${open.id}/members/${element("invited").value}`));
});

element("leave").addEventListener("click", () => act(async () => {
  const room = open;
  await rest.delete(`channels/${room.id}/members/${me().id}`);
  gone(room.channel.stream);
}));

async function openDm(user) {
  const { id } = await rest.post("dms", { user });
  if (!rooms.has(id)) await loadConversations();
  await choose(rooms.get(id));
}

/** Opens a conversation: its last page, and its events while it is open. */
async function choose(room) {
  live?.unsubscribe();
  if (live !== null) client.removeSubscription(live);
  live = null;
  open = room ?? null;
  show();
  if (open === null) return;
  listen(open);
  if (!open.loaded) await open.load();
  show();
  element("messages").scrollTop = element("messages").scrollHeight;
  await markRead();
}

function listen(room) {
  room.seen ??= new Map();
  live = client.newSubscription(room.channel.live);
  live.on("publication", ({ data }) => {
    if (data?.type !== "read" || data.user === me().id) return;
    room.seen.set(data.user, Math.max(data.offset, room.seen.get(data.user) ?? 0));
    show();
  });
  live.on("subscribed", () => act(async () => {
    const { members } = await rest.get(`channels/${room.id}/members?limit=200`);
    for (const { user, last_read } of members) {
      if (user !== me().id) room.seen.set(user, Math.max(last_read, room.seen.get(user) ?? 0));
    }
    show();
  }));
  live.subscribe();
}

async function markRead() {
  const room = open;
  if (room === null || document.hidden || room.top <= room.member.last_read) return;
  const offset = room.top;
  room.member.last_read = offset;
  room.unread = 0;
  show();
  await act(() => rest.put(`channels/${room.id}/read`, { offset }));
}

document.addEventListener("visibilitychange", markRead);
setInterval(() => {
  if (client?.state === "connected" && !document.hidden) act(loadPeople);
}, PEOPLE_MS);

// Messages.

element("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = element("text").value.trim();
  if (open === null || said === "" || unsent.length >= UNSENT_MAX) return;
  element("text").value = "";
  unsent.push({ room: open, text: said, key: crypto.randomUUID() });
  show();
  sendNext();
});

/** Sends what waits, in order, over the connection; again with the same key until it is known to be stored. */
async function sendNext() {
  if (sending || unsent.length === 0 || client?.state !== "connected") return;
  sending = true;
  const { room, text, key } = unsent[0];
  try {
    await client.rpc("publish", { channel: room.channel.stream, data: { body: { text } }, idempotency_key: key });
    unsent.shift();
    tell("");
  } catch (error) {
    tell(`not sent yet: ${error.message}`);
    // Refused for good (the code is the server's and not temporary): it would never be taken.
    if (error.code >= 100 && error.temporary !== true && error.code < 1000) unsent.shift();
    else setTimeout(sendNext, SEND_AGAIN_MS);
  } finally {
    sending = false;
  }
  show();
  if (client?.state === "connected" && element("problem").hidden) sendNext();
}

element("messages").addEventListener("scroll", () => {
  if (element("messages").scrollTop < 80) loadOlder();
});

async function loadOlder() {
  const [room, list] = [open, element("messages")];
  if (room === null || !room.loaded || room.whole) return;
  await act(async () => {
    await room.load();
    const fromEnd = list.scrollHeight - list.scrollTop;
    draw();
    list.scrollTop = list.scrollHeight - fromEnd;
  });
}

element("find").addEventListener("submit", (event) => {
  event.preventDefault();
  act(async () => {
    const { messages } = await rest.get(`search?limit=20&q=${encodeURIComponent(element("words").value)}`);
    element("found").replaceChildren(...messages.map((message) => lineOf(message, false)));
    if (messages.length === 0) element("found").replaceChildren(make("li", "note", "nothing found"));
  });
});

// Drawing: everything from what is known, at most once a frame.

let drawing = false;

function show() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    if (rest.signedIn) draw();
  });
}

function make(tag, kind, text) {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}

function draw() {
  const latest = [...rooms.values()].sort((one, other) => other.latest_at - one.latest_at);
  element("conversations").replaceChildren(...latest.map(conversationLine));
  element("more").hidden = nextConversations === null;
  const others = [...people.values()].sort((one, other) => one.display_name.localeCompare(other.display_name));
  element("people").replaceChildren(...others.map(personLine));
  element("title").textContent = open === null ? "Choose a conversation" : titleOf(open);
  const group = open?.channel.kind === "group";
  for (const id of ["invite", "leave"]) element(id).hidden = !group;
  if (group && element("invited").children.length !== others.length) {
    element("invited").replaceChildren(...others.map((user) => new Option(user.display_name, user.id)));
  }
  for (const id of ["text", "send"]) element(id).disabled = open === null;
  drawMessages();
}

function conversationLine(room) {
  const line = document.createElement("li");
  const button = make("button", "conversation", titleOf(room));
  button.type = "button";
  button.dataset.channel = room.id;
  button.setAttribute("aria-current", String(room === open));
  if (room.unread > 0) button.append(make("span", "unread", String(room.unread)));
  button.addEventListener("click", () => act(() => choose(room)));
  line.append(button);
  return line;
}

function personLine(user) {
  const line = document.createElement("li");
  const button = make("button", "plain person", user.display_name);
  button.type = "button";
  button.addEventListener("click", () => act(() => openDm(user.id)));
  line.append(button);
  return line;
}

function drawMessages() {
  const list = element("messages");
  const following = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const lines = open === null ? [] : open.inOrder().map((message) => lineOf(message, message.sender === me().id));
  const waiting = unsent.filter(({ room }) => room === open).map(({ text }) => make("li", "unsent", text));
  list.replaceChildren(...lines, ...waiting);
  if (following) list.scrollTop = list.scrollHeight;
  const top = open?.top ?? 0;
  const seen = [...(open?.seen ?? [])].filter(([, offset]) => top > 0 && offset >= top).map(([user]) => nameOf(user));
  element("seen").textContent = seen.length > 0 ? `Read by ${seen.sort().join(", ")}` : "";
}

function lineOf(message, own) {
  const line = document.createElement("li");
  line.dataset.offset = message.offset;
  const time = document.createElement("time");
  const at = new Date(message.created_at);
  if (!Number.isNaN(at.getTime())) {
    time.dateTime = at.toISOString();
    time.textContent = at.toLocaleTimeString();
  }
  const { body } = message;
  const text = typeof body?.text === "string" ? body.text : JSON.stringify(body);
  const said = message.deleted_at > 0 ? make("span", "text note", "deleted") : make("span", "text", text);
  line.append(time, make("span", "by", nameOf(message.sender)), said);
  if (message.edited_at > 0 && message.deleted_at === 0) line.append(make("span", "note", " (edited)"));
  if (own && message.deleted_at === 0) line.append(button("Edit", () => edit(message)), button("Delete", () => drop(message)));
  return line;
}

function button(label, work) {
  const made = make("button", "plain small", label);
  made.type = "button";
  made.addEventListener("click", () => act(work));
  return made;
}

async function edit(message) {
  const text = globalThis.prompt("Message", message.body?.text ?? "");
  if (text === null || text.trim() === "") return;
  await rest.patch(`channels/${message.channel ?? open.id}/messages/${message.id}`, { body: { text: text.trim() } });
}

async function drop(message) {
  await rest.delete(`channels/${message.channel ?? open.id}/messages/${message.id}`);
}

element("workspace").value = new URLSearchParams(location.search).get("workspace") ?? settings.workspace;
if (rest.signedIn) await act(start);
else showSigned(false);
