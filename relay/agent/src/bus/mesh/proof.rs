//! What two edges say before anything else: versions, names, and a proof of who they are that is bound to their TLS session.
//!
//! With certificates the proof is the certificate, whose names must have the edge's. With a shared key it is a MAC over the session's
//! exporter and the hello (RFC 8446 §7.5), so nobody between the two can pass it on.

use std::io;

use aws_lc_rs::hmac;
use relay::bus::EdgeId;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wire::frame::FrameError;
use wire::mesh::{HELLO_BYTES, Hello, PROOF_BYTES, VERSION};

/// What the two sides' TLS session gives both of them and nobody else.
pub(super) type Exporter = [u8; 32];
/// Its label.
pub(super) const EXPORTER_LABEL: &[u8] = b"EXPORTER-headland-mesh";

/// Why somebody is not the edge it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("its first bytes are not those of an edge")]
    NotAnEdge,
    #[error("it speaks mesh version {theirs}, this edge {VERSION}: run one release on all edges")]
    Version { theirs: u16 },
    #[error("it says that it is {0:?}")]
    Name(String),
    #[error("it takes this edge for {0:?}: the lists of edges differ")]
    Mistaken(String),
    #[error("it is not in this edge's list")]
    Unlisted,
    #[error("its key is another: give every edge the same bus.mesh.shared_key")]
    Key,
    #[error("its certificate is not one of {0:?}: the edge's name must be among the names in it")]
    Certificate(String),
}

impl Refused {
    /// Whether trying again soon is of no use.
    pub(super) const fn lasts(&self) -> bool {
        !matches!(self, Self::Socket(_))
    }
}

/// How this side proves itself and what it expects.
pub(super) enum Means<'a> {
    /// The other side's certificate, verified already but for its names.
    Certificate(Option<CertificateDer<'a>>),
    /// The key and the session.
    Key(&'a hmac::Key, Exporter),
}

/// Which side speaks.
#[derive(Clone, Copy)]
enum Side {
    Dialing = 0,
    Accepting = 1,
}

impl Means<'_> {
    fn prove(&self, side: Side, name: &str, to: &str) -> [u8; PROOF_BYTES] {
        let mut proof = [0; PROOF_BYTES];
        if let Self::Key(key, exporter) = self {
            proof.copy_from_slice(hmac::sign(key, &said(exporter, side, name, to)).as_ref());
        }
        proof
    }

    fn check(&self, side: Side, hello: &Hello<'_>) -> Result<(), Refused> {
        match self {
            Self::Key(key, exporter) => {
                let said = said(exporter, side, hello.name, hello.to);
                hmac::verify(key, &said, &hello.proof).map_err(|_| Refused::Key)
            }
            Self::Certificate(certificate) => {
                let wrong = || Refused::Certificate(hello.name.to_owned());
                let certificate = certificate.as_ref().ok_or_else(wrong)?;
                let entity = webpki::EndEntityCert::try_from(certificate).map_err(|_| wrong())?;
                let name = ServerName::try_from(hello.name).map_err(|_| wrong())?;
                entity.verify_is_valid_for_subject_name(&name).map_err(|_| wrong())
            }
        }
    }
}

fn said(exporter: &Exporter, side: Side, name: &str, to: &str) -> Vec<u8> {
    // Lengths stand before texts, so that no two hellos say the same.
    let mut said = vec![side as u8, name.len() as u8];
    said.extend_from_slice(name.as_bytes());
    said.push(to.len() as u8);
    said.extend_from_slice(to.as_bytes());
    said.extend_from_slice(exporter);
    said
}

/// The dialing side: says who it is, and hears that the other is `to`.
pub(super) async fn dialing<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    means: &Means<'_>,
    (me, run): (&str, u64),
    to: &str,
) -> Result<EdgeId, Refused> {
    say(stream, &Hello { version: VERSION, run, name: me, to, proof: means.prove(Side::Dialing, me, to) })
        .await?;
    let bytes = hear(stream).await?;
    let hello = decode(&bytes)?;
    if hello.name != to {
        return Err(Refused::Name(hello.name.to_owned()));
    }
    if hello.to != me {
        return Err(Refused::Mistaken(hello.to.to_owned()));
    }
    means.check(Side::Accepting, &hello)?;
    Ok(EdgeId(hello.run))
}

/// The accepting side: hears who dials, whom this edge must know, and says who it is. The name comes with a refusal as far as it is known.
pub(super) async fn accepting<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    means: &Means<'_>,
    (me, run): (&str, u64),
    knows: impl FnOnce(&str) -> bool,
) -> (Option<String>, Result<EdgeId, Refused>) {
    let bytes = match hear(stream).await {
        Ok(bytes) => bytes,
        Err(error) => return (None, Err(error.into())),
    };
    let hello = match decode(&bytes) {
        Ok(hello) => hello,
        Err(refused) => {
            // So that the other side can say why, too.
            let answer = Hello { version: VERSION, run, name: me, to: "", proof: [0; PROOF_BYTES] };
            let _ = say(stream, &answer).await;
            return (Hello::decode(&bytes).ok().map(|hello| hello.name.to_owned()), Err(refused));
        }
    };
    let name = hello.name.to_owned();
    let checked = match () {
        () if hello.to != me => Err(Refused::Mistaken(hello.to.to_owned())),
        () if !knows(&name) => Err(Refused::Unlisted),
        () => means.check(Side::Dialing, &hello),
    };
    let edge = EdgeId(hello.run);
    // A stranger learns nothing but the version.
    let result = match checked {
        Ok(()) => {
            let proof = means.prove(Side::Accepting, me, &name);
            let answer = Hello { version: VERSION, run, name: me, to: &name, proof };
            say(stream, &answer).await.map(|()| edge).map_err(Refused::from)
        }
        Err(refused) => Err(refused),
    };
    (Some(name), result)
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, hello: &Hello<'_>) -> io::Result<()> {
    stream.write_all(&hello.encode()).await?;
    stream.flush().await
}

async fn hear<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<[u8; HELLO_BYTES]> {
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Hello<'_>, Refused> {
    let hello = Hello::decode(bytes).map_err(|_: FrameError| Refused::NotAnEdge)?;
    if hello.version != VERSION {
        return Err(Refused::Version { theirs: hello.version });
    }
    Ok(hello)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Exporter = [5; 32];

    fn key(text: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())
    }

    async fn meet(
        one: &Means<'_>,
        other: &Means<'_>,
        to: &str,
    ) -> (Result<EdgeId, Refused>, Result<EdgeId, Refused>) {
        let (mut a, mut b) = tokio::io::duplex(1024);
        let accept = async move {
            let met = accepting(&mut b, other, ("b", 2), |name| name == "a").await.1;
            drop(b);
            met
        };
        tokio::join!(dialing(&mut a, one, ("a", 1), to), accept)
    }

    #[tokio::test]
    async fn edges_with_one_key_and_one_session_know_each_other() {
        let key = key("secret");
        let met = meet(&Means::Key(&key, SESSION), &Means::Key(&key, SESSION), "b").await;
        assert_eq!((met.0.unwrap(), met.1.unwrap()), (EdgeId(2), EdgeId(1)));
    }

    #[tokio::test]
    async fn another_key_another_session_or_another_name_is_refused() {
        let (ours, theirs) = (key("secret"), key("other"));
        let met = meet(&Means::Key(&ours, SESSION), &Means::Key(&theirs, SESSION), "b").await;
        assert!(met.0.is_err() && matches!(met.1, Err(Refused::Key)));
        let met = meet(&Means::Key(&ours, SESSION), &Means::Key(&ours, [6; 32]), "b").await;
        assert!(met.0.is_err() && matches!(met.1, Err(Refused::Key)));
        let met = meet(&Means::Key(&ours, SESSION), &Means::Key(&ours, SESSION), "c").await;
        assert!(met.0.is_err() && matches!(met.1, Err(Refused::Mistaken(name)) if name == "c"));
    }

    #[tokio::test]
    async fn a_proof_cannot_be_said_back() {
        let key = key("secret");
        let means = Means::Key(&key, SESSION);
        let (mut a, mut b) = tokio::io::duplex(1024);
        let echo = async move {
            let mut bytes = hear(&mut b).await.unwrap();
            let hello = Hello::decode(&bytes).unwrap();
            bytes = Hello { name: "b", to: "a", ..hello }.encode();
            b.write_all(&bytes).await.unwrap();
        };
        let (met, ()) = tokio::join!(dialing(&mut a, &means, ("a", 1), "b"), echo);
        assert!(matches!(met, Err(Refused::Key)));
    }

    #[tokio::test]
    async fn another_version_is_named_to_both() {
        let key = key("secret");
        let means = Means::Key(&key, SESSION);
        let (mut a, mut b) = tokio::io::duplex(1024);
        let hello = Hello { version: 9, run: 1, name: "a", to: "b", proof: [0; PROOF_BYTES] };
        say(&mut a, &hello).await.unwrap();
        let (name, met) = accepting(&mut b, &means, ("b", 2), |_| true).await;
        assert!(name.as_deref() == Some("a") && matches!(met, Err(Refused::Version { theirs: 9 })));
        let answer = hear(&mut a).await.unwrap();
        assert_eq!(Hello::decode(&answer).unwrap().version, VERSION);
    }
}
