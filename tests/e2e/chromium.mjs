// Headless Chromium through playwright, which trusts one key.
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.HEADLAND_CLIENTS, "node", "from-here.js"))("playwright-core");

/** A browser that trusts the key of the certificate in this file; everything else about certificates stays as it is. */
export function browser(certificate, ...more) {
  const key = new X509Certificate(readFileSync(certificate)).publicKey;
  const pin = createHash("sha256").update(key.export({ type: "spki", format: "der" })).digest("base64");
  const args = [`--ignore-certificate-errors-spki-list=${pin}`, "--disable-dev-shm-usage", ...more];
  return chromium.launch({
    executablePath: process.env.HEADLAND_CHROMIUM ?? "/usr/bin/chromium",
    // The sandbox of Chromium does not run as root, as containers do.
    chromiumSandbox: process.getuid() !== 0,
    args,
  });
}
