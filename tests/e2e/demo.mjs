// The chat page in headless Chromium, as two people use it on two devices each: `node demo.mjs SCENARIO`.
import { browser } from "./chromium.mjs";
import { assert, run, within } from "./lib.mjs";

const PAGE = process.env.HEADLAND_URL;
const WITHIN_MS = 60_000;
const PASSWORD = "correct horse battery";

/** One device of a person: a tab with a session of its own. */
class Device {
  static async open(browser, name, how) {
    const context = await browser.newContext();
    const tab = await context.newPage();
    const device = new Device(context, tab, name);
    tab.on("console", (said) => said.type() === "error" && device.complaints.push(said.text()));
    tab.on("pageerror", (error) => device.complaints.push(String(error)));
    await tab.goto(PAGE);
    await tab.getByLabel("Name", { exact: true }).fill(name);
    await tab.getByLabel("Password").fill(PASSWORD);
    await device.button(how).click();
    await device.state("connected");
    return device;
  }

  constructor(context, tab, name) {
    Object.assign(this, { context, tab, name, complaints: [] });
  }

  async state(wanted) {
    await this.tab.locator(`#state[data-state="${wanted}"]`).waitFor({ timeout: WITHIN_MS });
  }

  button(name) {
    return this.tab.getByRole("button", { name, exact: true });
  }

  conversation(title) {
    return this.tab.locator("#conversations .conversation", { hasText: title });
  }

  async person(name) {
    await this.tab.locator("#people .person", { hasText: name }).click({ timeout: WITHIN_MS });
    await this.tab.locator("#title", { hasText: name }).waitFor({ timeout: WITHIN_MS });
  }

  async enter(title) {
    await this.conversation(title).click({ timeout: WITHIN_MS });
    await this.tab.locator("#title", { hasText: title }).waitFor({ timeout: WITHIN_MS });
  }

  async group(title, ...others) {
    await this.tab.getByLabel("Group name").fill(title);
    await this.button("Create").click();
    await this.tab.locator("#title", { hasText: title }).waitFor({ timeout: WITHIN_MS });
    for (const other of others) {
      await this.tab.getByLabel("Person").selectOption({ label: other });
      await this.button("Add").click();
    }
  }

  async say(text) {
    const input = this.tab.getByRole("textbox", { name: "Message" });
    await input.fill(text, { timeout: WITHIN_MS });
    await input.press("Enter");
  }

  async hears(text) {
    await this.line(text).first().waitFor({ timeout: WITHIN_MS });
  }

  line(text) {
    return this.tab.locator("#messages li[data-offset] .text", { hasText: text });
  }

  async unread(title, count) {
    const settled = async () => {
      const badge = this.conversation(title).locator(".unread");
      while ((await badge.count()) === 0 || (await badge.textContent({ timeout: WITHIN_MS })) !== String(count)) {
        await this.tab.waitForTimeout(20);
      }
    };
    await within(`${count} unread in ${title}`, settled(), WITHIN_MS);
  }

  async seenBy(name) {
    await this.tab.locator("#seen", { hasText: name }).waitFor({ timeout: WITHIN_MS });
  }

  /** What stands in the open conversation, in the page's order. */
  messages() {
    const said = (lines) => lines.map((line) => line.querySelector(".text").textContent);
    return this.tab.locator("#messages li[data-offset]").evaluateAll(said);
  }

  async shows(...wanted) {
    const settled = async () => {
      while (JSON.stringify(await this.messages()) !== JSON.stringify(wanted)) await this.tab.waitForTimeout(20);
    };
    await within(`${this.name} to see ${wanted}`, settled(), WITHIN_MS);
  }

  async offline() {
    await this.button("Go offline").click();
    await this.state("disconnected");
  }

  async online() {
    await this.button("Go online").click();
    await this.state("connected");
  }
}

/** Gives a scenario a browser and two people with two devices each, and looks at what their consoles said. */
function two(scenario) {
  return async () => {
    const opened = await browser(process.env.HEADLAND_CERTIFICATE);
    try {
      // Others may have registered on this node before.
      const [ann, bob] = ["Ann", "Bob"].map((name) => `${name}-${process.pid}`);
      const phones = [await Device.open(opened, ann, "Register"), await Device.open(opened, bob, "Register")];
      const desks = [await Device.open(opened, ann, "Sign in"), await Device.open(opened, bob, "Sign in")];
      await scenario({ ann: phones[0], bob: phones[1], annAtDesk: desks[0], bobAtDesk: desks[1], opened });
      for (const { complaints } of [...phones, ...desks]) assert.deepEqual(complaints, []);
    } finally {
      await opened.close();
    }
  };
}

await run({
  a_direct_message_reaches_every_device_of_both: two(async ({ ann, bob, annAtDesk, bobAtDesk }) => {
    await ann.person(bob.name);
    await ann.say("hello Bob");
    // Bob's devices learn of a conversation that did not exist when they connected.
    for (const device of [bob, bobAtDesk]) {
      await device.unread(ann.name, 1);
      await device.enter(ann.name);
      await device.shows("hello Bob");
    }
    await annAtDesk.enter(bob.name);
    await bobAtDesk.say("hello Ann");
    for (const device of [ann, annAtDesk, bob, bobAtDesk]) await device.shows("hello Bob", "hello Ann");
    await bob.seenBy(ann.name);
    await ann.seenBy(bob.name);
  }),

  what_a_group_said_while_one_was_offline_is_there_once_and_in_order: two(async ({ ann, bob, annAtDesk, bobAtDesk }) => {
    await ann.group("harbour", bob.name);
    await bob.enter("harbour");
    await ann.say("before");
    await bob.shows("before");
    await bob.offline();
    for (const text of ["one", "two", "three"]) await ann.say(text);
    await ann.shows("before", "one", "two", "three");
    await bobAtDesk.enter("harbour");
    await bobAtDesk.say("four");
    await annAtDesk.enter("harbour");
    await annAtDesk.shows("before", "one", "two", "three", "four");
    assert.deepEqual(await bob.messages(), ["before"]);
    await bob.online();
    await bob.shows("before", "one", "two", "three", "four");
    await ann.say("after");
    await bob.shows("before", "one", "two", "three", "four", "after");
  }),

  who_lost_the_network_comes_back_without_loss: two(async ({ ann, bob }) => {
    await ann.person(bob.name);
    await ann.say("before");
    await bob.enter(ann.name);
    await bob.context.setOffline(true);
    await bob.state("connecting");
    await ann.say("missed");
    await bob.say("written without a network");
    await bob.context.setOffline(false);
    await bob.state("connected");
    const all = ["before", "missed", "written without a network"];
    await bob.shows(...all);
    await ann.shows(...all);
    // What a browser says of requests without a network is no fault of the page.
    bob.complaints.length = 0;
  }),

  older_messages_come_by_scrolling_up: two(async ({ ann, bob }) => {
    await ann.person(bob.name);
    const count = 130;
    for (let n = 1; n <= count; n += 1) await ann.say(`line ${n} of many`);
    await ann.hears(`line ${count} of many`);
    // A page that begins anew has heard nothing yet.
    await bob.tab.reload();
    await bob.state("connected");
    await bob.enter(ann.name);
    await bob.hears(`line ${count} of many`);
    assert.equal(await bob.line("line 1 of many").count(), 0, "a page is not everything");
    const scrolled = async () => {
      while ((await bob.messages())[0] !== "line 1 of many") {
        await bob.tab.locator("#messages").evaluate((list) => { list.scrollTop = 0; });
        await bob.tab.waitForTimeout(20);
      }
    };
    await within("the first message", scrolled(), WITHIN_MS);
    const wanted = Array.from({ length: count }, (_, n) => `line ${n + 1} of many`);
    assert.deepEqual(await bob.messages(), wanted);
  }),

  edits_and_deletions_reach_who_is_there_and_who_comes_back: two(async ({ ann, bob, bobAtDesk }) => {
    await ann.person(bob.name);
    await ann.say("frist");
    await ann.say("secret");
    for (const device of [bob, bobAtDesk]) {
      await device.enter(ann.name);
      await device.shows("frist", "secret");
    }
    await bobAtDesk.offline();
    ann.tab.once("dialog", (dialog) => dialog.accept("first"));
    await ann.tab.locator("#messages li", { hasText: "frist" }).getByRole("button", { name: "Edit" }).click();
    await bob.shows("first", "secret");
    await ann.tab.locator("#messages li", { hasText: "secret" }).getByRole("button", { name: "Delete" }).click();
    await bob.shows("first", "deleted");
    await bobAtDesk.online();
    await bobAtDesk.shows("first", "deleted");
  }),

  who_leaves_a_group_hears_nothing_more_of_it: two(async ({ ann, bob, annAtDesk }) => {
    await ann.group("lighthouse", bob.name);
    await bob.enter("lighthouse");
    await annAtDesk.enter("lighthouse");
    await ann.say("all here");
    await bob.shows("all here");
    await bob.button("Leave").click();
    await bob.conversation("lighthouse").waitFor({ state: "detached", timeout: WITHIN_MS });
    await ann.say("Bob is gone");
    await annAtDesk.shows("all here", "Bob is gone");
    assert.equal(await bob.line("Bob is gone").count(), 0);
    assert.equal(await bob.conversation("lighthouse").count(), 0);
  }),

  messages_are_found_by_their_words_and_are_text_never_markup: two(async ({ ann, bob }) => {
    const markup = "<img src=x onerror=alert(1)> marzipan <script>alert(2)</script>";
    await ann.person(bob.name);
    await ann.say(markup);
    await bob.enter(ann.name);
    await bob.shows(markup);
    const search = async () => {
      do {
        await bob.tab.getByRole("searchbox", { name: "Words" }).fill("marzipan");
        await bob.button("Search").click();
        await bob.tab.locator("#found li").first().waitFor({ timeout: WITHIN_MS });
      } while ((await bob.tab.locator("#found .text", { hasText: "marzipan" }).count()) === 0);
    };
    await within("the search to find it", search(), WITHIN_MS);
    assert.equal(await bob.tab.locator("#messages img, #messages script, #found img, #found script").count(), 0);
  }),
});
