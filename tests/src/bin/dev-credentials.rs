//! Writes what `cargo xtask up` needs into a folder: an authority (kept when it is there), a server certificate under it and its
//! key. Prints a shared secret and a token signed with it as JSON.
#![forbid(unsafe_code)]

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use tests::credentials::{Authority, hs256};

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let folder = PathBuf::from(args.next().context("usage: dev-credentials FOLDER NAME...")?);
    let names: Vec<String> = args.collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let kept = folder.join("ca-key.pem");
    let authority = match fs::read_to_string(&kept) {
        Ok(key) if folder.join("ca.pem").exists() => Authority::from_key(&key)?,
        _ => {
            let authority = Authority::new()?;
            private(&kept, &authority.key())?;
            fs::write(folder.join("ca.pem"), authority.certificate())?;
            authority
        }
    };
    let server = authority.server(&names)?;
    fs::write(folder.join("server.pem"), &server.chain)?;
    private(&folder.join("server-key.pem"), &server.key)?;
    let secret = secret()?;
    let token = hs256(&secret, &json!({ "sub": "developer", "info": { "name": "Developer" } }))?;
    println!("{}", json!({ "secret": secret, "token": token }));
    Ok(())
}

/// 256 bits as hexadecimal text.
fn secret() -> Result<String> {
    let mut bytes = [0; 32];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file that only its owner can read.
fn private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}
