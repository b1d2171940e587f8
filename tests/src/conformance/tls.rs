//! sslyze and testssl.sh against a gateway, with both versions of TLS and with 1.3 alone.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Finding, Reason, account};
use crate::world::World;

/// Where the scanners are.
#[derive(Clone, Debug)]
pub struct Scanners {
    /// A Python that has sslyze.
    pub python: PathBuf,
    /// testssl.sh, as Debian calls it.
    pub testssl: PathBuf,
}

/// What is scanned: a title, the gateway's configuration, Mozilla's profile that it must meet, and what of testssl.sh is run.
struct Case {
    title: &'static str,
    gateway: &'static str,
    profile: &'static str,
    testssl: &'static [&'static str],
}

const CASES: [Case; 2] = [
    Case { title: "TLS 1.2 and 1.3, as by default", gateway: "", profile: "intermediate", testssl: &[] },
    Case {
        title: "TLS 1.3 alone: tls12 = false",
        gateway: "[tls]\ntls12 = false\n",
        profile: "modern",
        // Protocols, preferences, defaults of the server, suites.
        testssl: &["-p", "-P", "-S", "-E"],
    },
];

const PRIVATE: &str =
    "the scanned certificate is of a development authority, trusted here by file and by nobody else";

/// Warnings about what a scan on loopback with a development certificate has to look like, or what does not concern WebSockets.
const REASONS: &[Reason] = &[
    ("sslyze", "CA Store", PRIVATE),
    (
        "sslyze",
        "OCSP Must-Staple",
        "an extension of the certificate, which is the operator's choice; this one's authority runs no OCSP",
    ),
    ("sslyze", "Certificate Transparency", "logs are for certificates of public authorities"),
    (
        "sslyze",
        "did not send back an OCSP response",
        "the scanned certificate's authority runs no OCSP; short lifetimes do the same",
    ),
    (
        "testssl engine_problem",
        "",
        "about the scanner's own OpenSSL: it cannot offer GOST suites, which rustls does not know",
    ),
    (
        "testssl cert_revocation",
        "",
        "a development authority has no revocation list; a public certificate brings its own",
    ),
    ("testssl DNS_CAArecord", "", "localhost is in no DNS; a CAA record is set where the operator's zone is"),
    ("testssl HSTS", "", "for pages: a gateway serves none, and clients name wss:// themselves"),
    (
        "testssl security_headers",
        "",
        "for pages: a gateway serves none, what is no upgrade gets a line of text",
    ),
];

/// What differs from run to run, or with the scanner's stores, and says nothing about the server.
const VOLATILE_LINES: &[&str] =
    &["SHA1 Fingerprint:", "Serial Number:", "Not Before:", "Not After:", "SCANS COMPLETED", "=>"];
const VOLATILE_IDS: &[&str] = &[
    "cert",
    "cert_serialNumber",
    "cert_fingerprintSHA1",
    "cert_fingerprintSHA256",
    "cert_notBefore",
    "cert_notAfter",
    "cert_expirationStatus",
    "scanTime",
    // The scanner hangs up as soon as the handshake is done, and so may miss the ticket that TLS 1.3 sends after it. That sessions
    // are resumed is tested end to end.
    "TLS_session_ticket",
    "sessionresumption_ticket",
    "sessionresumption_ID",
    "SSL_sessionID_support",
];

/// Scans, and writes `tls.txt` into `results`; whether no warning was left unexplained.
pub fn run(scanners: &Scanners, results: &Path) -> Result<bool> {
    let mut whole = String::from(
        "What sslyze and testssl.sh say about a gateway's TLS: `cargo xtask conformance tls` writes this file and fails on\n\
         a warning without a reason. A change of it, better or worse, is for review.\n",
    );
    let mut unexplained = Vec::new();
    for case in &CASES {
        println!("{}", case.title);
        let world = World::builder().gateway(case.gateway).start()?;
        let authority = world.file("ca.pem");
        for (tool, findings) in [
            ("sslyze", sslyze(scanners, case, world.secure, &authority)?),
            ("testssl.sh", testssl(scanners, case, world.secure, &authority, &world.file("testssl.json"))?),
        ] {
            let (text, without) = account(&format!("{}: {tool}", case.title), &findings, REASONS);
            whole.push('\n');
            whole.push_str(&text);
            unexplained.extend(without);
        }
    }
    fs::create_dir_all(results)?;
    let file = results.join("tls.txt");
    fs::write(&file, &whole).with_context(|| format!("writing {}", file.display()))?;
    for finding in &unexplained {
        eprintln!("unexplained: {}: {}", finding.name, finding.text);
    }
    let warnings = whole.lines().filter(|line| line.starts_with("warning ")).count();
    println!("{warnings} warnings, {} of them unexplained: {}", unexplained.len(), file.display());
    Ok(unexplained.is_empty())
}

fn sslyze(scanners: &Scanners, case: &Case, at: SocketAddr, authority: &Path) -> Result<Vec<Finding>> {
    let mut command = Command::new(&scanners.python);
    command.args(["-W", "ignore", "-m", "sslyze", "--mozilla_config", case.profile, "--certinfo_ca_file"]);
    command.arg(authority).arg(format!("localhost:{}", at.port())).stdin(Stdio::null());
    let out = command.output().context("sslyze does not start")?;
    let said = String::from_utf8_lossy(&out.stdout);
    let found = lines(&said, at.port());
    ensure!(found.len() > 20, "sslyze did not scan:\n{said}{}", String::from_utf8_lossy(&out.stderr));
    Ok(found)
}

/// The lines of sslyze's report that tell something about the server.
fn lines(said: &str, port: u16) -> Vec<Finding> {
    let port = format!(":{port}");
    let told = said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("---"));
    told.filter(|line| !VOLATILE_LINES.iter().any(|word| line.contains(word)))
        .map(|line| {
            let text = line.split_whitespace().collect::<Vec<_>>().join(" ");
            let text = text.replace(&port, "");
            let bad = ["FAILED", "NOT SUPPORTED", "VULNERABLE", "Not compliant"];
            let compliance = text.starts_with("* ") && !text.ends_with(':');
            let warning = compliance || bad.iter().any(|word| text.contains(word)) && !text.contains("OK - ");
            Finding { name: "sslyze".to_owned(), text, warning }
        })
        .collect()
}

fn testssl(
    scanners: &Scanners,
    case: &Case,
    at: SocketAddr,
    authority: &Path,
    json: &Path,
) -> Result<Vec<Finding>> {
    let mut command = Command::new(&scanners.testssl);
    command
        .args(["--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--add-ca"])
        .arg(authority);
    command.arg("--jsonfile").arg(json).args(case.testssl).arg(format!("localhost:{}", at.port()));
    let out = command.stdin(Stdio::null()).output().context("testssl.sh does not start")?;
    let text = fs::read_to_string(json)
        .with_context(|| format!("testssl.sh wrote nothing:\n{}", String::from_utf8_lossy(&out.stdout)))?;
    let all: Vec<Value> = serde_json::from_str(&text).context("testssl.sh wrote something else than JSON")?;
    let found = entries(&all);
    ensure!(found.len() > 10, "testssl.sh did not scan:\n{}", String::from_utf8_lossy(&out.stdout));
    Ok(found)
}

/// The entries of testssl.sh's report; what is neither good nor only told is a warning.
fn entries(all: &[Value]) -> Vec<Finding> {
    let word = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().trim().to_owned();
    all.iter()
        .filter(|entry| !VOLATILE_IDS.contains(&word(entry, "id").as_str()))
        .map(|entry| Finding {
            name: format!("testssl {}", word(entry, "id")),
            text: word(entry, "finding").split_whitespace().collect::<Vec<_>>().join(" "),
            warning: !matches!(word(entry, "severity").as_str(), "OK" | "INFO"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_sslyze_finds_bad_is_a_warning() {
        let said = "\n ----\n   TLS 1.0 Cipher Suites:\n  Forward Secrecy      OK - Supported\n  Serial Number:   7\n\
                    ROBOT:  VULNERABLE - weak oracle\n Heartbleed:  OK - Not vulnerable\n\
                    localhost:8443: FAILED - Not compliant.\n    * curves: too weak\n";
        let found = lines(said, 8443);
        let warned: Vec<&str> =
            found.iter().filter(|finding| finding.warning).map(|finding| finding.text.as_str()).collect();
        assert_eq!(
            warned,
            ["ROBOT: VULNERABLE - weak oracle", "localhost: FAILED - Not compliant.", "* curves: too weak"]
        );
        assert!(!found.iter().any(|finding| finding.text.contains("Serial")));
    }

    #[test]
    fn what_testssl_grades_below_good_is_a_warning() {
        let entry = |id: &str, severity: &str| json!({ "id": id, "severity": severity, "finding": " a  b " });
        let found = entries(&[entry("BEAST", "OK"), entry("HSTS", "LOW"), entry("cert_notAfter", "HIGH")]);
        assert_eq!(found.len(), 2, "a date says nothing about the server");
        assert_eq!(
            (found[1].name.as_str(), found[1].text.as_str(), found[1].warning),
            ("testssl HSTS", "a b", true)
        );
    }
}
