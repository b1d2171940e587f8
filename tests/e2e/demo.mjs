// The demo page in headless Chromium, as two people use it in two tabs: `node demo.mjs SCENARIO`.
import { browser } from "./chromium.mjs";
import { assert, run, within } from "./lib.mjs";

const PAGE = process.env.HEADLAND_URL;
const WITHIN_MS = 20_000;

/** A person with a tab of their own, joined to a channel. */
class Person {
  static async open(browser, name, channel) {
    const context = await browser.newContext();
    const tab = await context.newPage();
    const person = new Person(context, tab);
    tab.on("console", (said) => said.type() === "error" && person.complaints.push(said.text()));
    tab.on("pageerror", (error) => person.complaints.push(String(error)));
    await tab.goto(`${PAGE}?${new URLSearchParams({ name, channel })}`);
    await person.state("connected");
    return person;
  }

  constructor(context, tab) {
    Object.assign(this, { context, tab, complaints: [] });
  }

  async state(wanted) {
    await this.tab.locator(`#state[data-state="${wanted}"]`).waitFor({ timeout: WITHIN_MS });
  }

  async say(text) {
    const input = this.tab.getByRole("textbox", { name: "Message" });
    await input.fill(text, { timeout: WITHIN_MS });
    await input.press("Enter");
    await this.hears(text);
  }

  async hears(text) {
    await this.tab.locator("#messages .text", { hasText: text }).waitFor({ timeout: WITHIN_MS });
  }

  async notes(text) {
    await this.tab.locator("#messages .note", { hasText: text }).last().waitFor({ timeout: WITHIN_MS });
  }

  async sees(...names) {
    const there = () => this.tab.locator("#present li").evaluateAll((lines) => lines.map((line) => line.dataset.user));
    const settled = async () => {
      while (JSON.stringify(await there()) !== JSON.stringify(names)) await this.tab.waitForTimeout(20);
    };
    await within(`${names} to be present`, settled(), WITHIN_MS);
  }

  /** The messages in the page's order; `true` beside those that were recovered. */
  messages() {
    const said = (lines) =>
      lines.map((line) => [line.querySelector(".text").textContent, line.classList.contains("recovered")]);
    return this.tab.locator("#messages li[data-offset]").evaluateAll(said);
  }

  button(name) {
    return this.tab.getByRole("button", { name });
  }
}

/** Gives a scenario a browser, two people in a channel of its own, and a look at what their consoles said. */
function two(scenario) {
  return async () => {
    const opened = await browser(process.env.HEADLAND_CERTIFICATE);
    try {
      const channel = `chat:${process.pid}`;
      const ann = await Person.open(opened, "Ann", channel);
      await ann.sees("Ann");
      const bob = await Person.open(opened, "Bob", channel);
      await bob.sees("Ann", "Bob");
      await scenario(ann, bob, opened, channel);
      return [ann, bob];
    } finally {
      await opened.close();
    }
  };
}

const quiet = (person) => assert.deepEqual(person.complaints, []);

await run({
  two_tabs_chat_and_see_each_other: two(async (ann, bob) => {
    await ann.notes("Bob joined");
    await ann.sees("Ann", "Bob");
    await ann.say("hello Bob");
    await bob.hears("hello Bob");
    await bob.say("hello Ann");
    await ann.hears("hello Ann");
    const wanted = [["hello Bob", false], ["hello Ann", false]];
    assert.deepEqual(await ann.messages(), wanted);
    assert.deepEqual(await bob.messages(), wanted);
    assert.equal(await bob.tab.locator("#messages .by").first().textContent(), "Ann");
    await bob.context.close();
    await ann.notes("Bob left");
    await ann.sees("Ann");
    [ann, bob].forEach(quiet);
  }),

  what_was_said_while_a_tab_was_offline_is_recovered_in_order: two(async (ann, bob) => {
    await ann.say("before");
    await bob.hears("before");
    await bob.button("Go offline").click();
    await bob.state("disconnected");
    await ann.notes("Bob left");
    for (const text of ["one", "two", "three"]) await ann.say(text);
    assert.deepEqual(await bob.messages(), [["before", false]]);
    await bob.button("Go online").click();
    await bob.hears("three");
    await ann.say("after");
    await bob.hears("after");
    const missed = ["one", "two", "three"].map((text) => [text, true]);
    assert.deepEqual(await bob.messages(), [["before", false], ...missed, ["after", false]]);
    await ann.sees("Ann", "Bob");
    [ann, bob].forEach(quiet);
  }),

  a_tab_whose_network_is_lost_comes_back_by_itself: two(async (ann, bob) => {
    await ann.say("before");
    await bob.hears("before");
    await bob.context.setOffline(true);
    await bob.state("connecting");
    await ann.say("missed");
    await bob.context.setOffline(false);
    await bob.state("connected");
    await bob.hears("missed");
    assert.deepEqual(await bob.messages(), [["before", false], ["missed", true]]);
    quiet(ann);
  }),

  who_comes_late_reads_what_was_said: two(async (ann, bob, browser, channel) => {
    await ann.say("first");
    await bob.say("second");
    const eve = await Person.open(browser, "Eve", channel);
    await eve.hears("second");
    assert.deepEqual(await eve.messages(), [["first", false], ["second", false]]);
    await eve.sees("Ann", "Bob", "Eve");
    quiet(eve);
  }),

  what_people_say_is_text_and_never_markup: two(async (ann, bob) => {
    const markup = "<img src=x onerror=alert(1)><script>alert(2)</script>";
    await ann.say(markup);
    await bob.hears(markup);
    assert.equal(await bob.tab.locator("#messages img, #messages script").count(), 0);
    [ann, bob].forEach(quiet);
  }),

  what_others_send_does_not_break_the_page: two(async (ann, bob) => {
    // As another program would, through the same connection: data that this page would not send.
    const strange = [{ text: 7, at: 1e300 }, null, "word", { at: "now" }, [1]];
    await ann.tab.evaluate(async (all) => {
      const { token } = await (await fetch("token", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ user: "Mallory" }),
      })).json();
      const { url } = await (await fetch("settings.json")).json();
      const client = new globalThis.Centrifuge(url, { token });
      const room = client.newSubscription(document.getElementById("channel").value);
      room.subscribe();
      client.connect();
      await room.ready();
      for (const data of all) await room.publish(data);
      client.disconnect();
    }, strange);
    await ann.say("still here");
    await bob.hears("still here");
    assert.equal((await bob.messages()).length, strange.length + 1);
    [ann, bob].forEach(quiet);
  }),

  it_works_by_keyboard_and_says_what_its_parts_are: two(async (ann) => {
    const { tab } = ann;
    for (const [role, name] of [
      ["textbox", "Name"],
      ["textbox", "Channel"],
      ["textbox", "Message"],
      ["log", "Messages"],
      ["button", "Send"],
      ["button", "Go offline"],
    ]) {
      assert.equal(await tab.getByRole(role, { name }).count(), 1, `${role} ${name}`);
    }
    await tab.getByRole("textbox", { name: "Message" }).focus();
    await tab.keyboard.type("typed");
    await tab.keyboard.press("Tab");
    assert.equal(await tab.evaluate(() => document.activeElement.id), "send");
    await tab.keyboard.press("Enter");
    await ann.hears("typed");
    await tab.getByRole("button", { name: "Go offline" }).focus();
    await tab.keyboard.press("Space");
    await ann.state("disconnected");
    assert.equal(await ann.button("Go online").getAttribute("aria-pressed"), "true");
  }),
});
