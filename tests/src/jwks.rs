//! An endpoint that serves a JWK set, as an identity provider does: http, or https with a test's own authority.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::credentials::{Authority, Signer};

/// A request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running endpoint. Dropping it ends it.
#[derive(Debug)]
pub struct Endpoint {
    url: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// What is served; `None` is an error.
    keys: Mutex<Option<Value>>,
    asked: AtomicUsize,
    over: AtomicBool,
}

impl Endpoint {
    /// Serves the public keys of these signers, over https if there is an authority.
    pub fn start(signers: &[&Signer], authority: Option<&Authority>) -> Result<Self> {
        let tls = authority.map(server).transpose()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (scheme, port) = (if tls.is_some() { "https" } else { "http" }, listener.local_addr()?.port());
        let shared = Arc::new(Shared::default());
        let inner = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if inner.over.load(Ordering::Relaxed) {
                    return;
                }
                let _ = answer(&inner, stream, tls.as_ref());
            }
        });
        let made =
            Self { url: format!("{scheme}://localhost:{port}/jwks.json"), shared, thread: Some(thread) };
        made.serve(signers);
        Ok(made)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Other keys from now on.
    pub fn serve(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().filter_map(|signer| signer.jwk().ok()).collect();
        *self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(json!({ "keys": keys }));
    }

    /// Errors from now on.
    pub fn fail(&self) {
        *self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let port = self.url.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok());
        // The listener is woken to find out that it is over.
        let woken = port.is_some_and(|port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok());
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn server(authority: &Authority) -> Result<Arc<ServerConfig>> {
    let made = authority.server(&["localhost"])?;
    let chain = CertificateDer::pem_slice_iter(made.chain.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?))
}

fn answer(shared: &Shared, stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    match tls {
        Some(config) => {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(config))?, stream);
            exchange(shared, &mut stream)?;
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        None => exchange(shared, &mut { stream })?,
    }
    Ok(())
}

fn exchange(shared: &Shared, stream: &mut (impl Read + Write)) -> Result<()> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        match stream.read(&mut part)? {
            0 => return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
            count => head.extend_from_slice(&part[..count]),
        }
    }
    shared.asked.fetch_add(1, Ordering::Relaxed);
    let keys = shared.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (status, body) =
        keys.map_or(("503 Service Unavailable", String::new()), |keys| ("200 OK", keys.to_string()));
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.flush()?;
    Ok(())
}
