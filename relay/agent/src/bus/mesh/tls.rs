//! TLS 1.3 between edges: both sides' certificates by the operator's authority, or, for development, bare keys of this run (RFC 7250) that
//! prove nothing by themselves; the shared key does then, see `proof`.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature_with_raw_key};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, PeerMisbehaved, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::proof::{EXPORTER_LABEL, Exporter, Means};
use crate::files;
use crate::limits::FILE_BYTES_MAX;

const ALPN: &[u8] = b"headland-mesh";

/// How this edge proves who it is, and what it expects of others.
pub(crate) struct Identity {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// Instead of certificates.
    key: Option<hmac::Key>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file.
    #[error("{0}: {1}")]
    File(String, String),
    /// What the files hold, together.
    #[error("certificate, key and authority do not fit: {0}")]
    Tls(#[from] rustls::Error),
    /// The authority.
    #[error("the authority cannot verify anybody: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.key.is_some() { "a shared key" } else { "certificates" })
    }
}

impl Identity {
    /// Certificates: this edge's with its key, and the authority that signed everybody's.
    pub(crate) fn certificates(certificate: &Path, key: &Path, ca: &Path) -> Result<Self, IdentityError> {
        let chain = read_certificates(certificate)?;
        let signer = || {
            let pem = read(key)?;
            PrivateKeyDer::from_pem_slice(&pem).map_err(|error| fail(key, &error))
        };
        let mut roots = RootCertStore::empty();
        for root in read_certificates(ca)? {
            roots.add(root)?;
        }
        let roots = Arc::new(roots);
        let crypto = Arc::new(provider::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&crypto)).build()?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&crypto))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), signer()?)?;
        let client = ClientConfig::builder_with_provider(crypto)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, signer()?)?;
        Ok(Self::of(server, client, None))
    }

    /// A key that all edges share.
    pub(crate) fn shared(key: &[u8]) -> Result<Self, IdentityError> {
        let crypto = Arc::new(provider::default_provider());
        let failed = |_| rustls::Error::General("the system gives no random numbers".to_owned());
        let pair = Ed25519KeyPair::generate_pkcs8v1(&aws_lc_rs::rand::SystemRandom::new()).map_err(failed)?;
        let pair = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.as_ref().to_vec()));
        let signer: Arc<dyn SigningKey> = provider::sign::any_supported_type(&pair)?;
        let public = signer.public_key().ok_or(rustls::Error::UnsupportedNameType)?;
        let bare = CertifiedKey::new(vec![CertificateDer::from(public.to_vec())], signer);
        let server = ServerConfig::builder_with_provider(Arc::clone(&crypto))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(bare))));
        let client = ClientConfig::builder_with_provider(Arc::clone(&crypto))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyKey(crypto)))
            .with_no_client_auth();
        Ok(Self::of(server, client, Some(hmac::Key::new(hmac::HMAC_SHA256, key))))
    }

    fn of(mut server: ServerConfig, mut client: ClientConfig, key: Option<hmac::Key>) -> Self {
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.send_tls13_tickets = 0;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        Self { server: Arc::new(server), client: Arc::new(client), key }
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(Arc::clone(&self.server)).accept(stream).await.map(TlsStream::Server)
    }

    pub(super) async fn connect(&self, stream: TcpStream, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.client)).connect(name, stream).await.map(TlsStream::Client)
    }

    /// What proves who somebody is on this connection.
    pub(super) fn means(&self, stream: &TlsStream<TcpStream>) -> io::Result<Means<'_>> {
        let (_, session) = stream.get_ref();
        match &self.key {
            Some(key) => {
                let exporter: Exporter = match stream {
                    TlsStream::Client(stream) => {
                        stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None)
                    }
                    TlsStream::Server(stream) => {
                        stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None)
                    }
                }
                .map_err(io::Error::other)?;
                Ok(Means::Key(key, exporter))
            }
            None => {
                let certificate = session.peer_certificates().and_then(|chain| chain.first());
                Ok(Means::Certificate(certificate.map(|certificate| certificate.clone().into_owned())))
            }
        }
    }
}

/// Believes any key that signs the handshake: who has it is proven afterwards.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(fail(path, &"has no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(fail(path, &error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    files::read(path, FILE_BYTES_MAX).map_err(|error| fail(path, &error))
}

fn fail(path: &Path, error: &dyn fmt::Display) -> IdentityError {
    IdentityError::File(path.display().to_string(), error.to_string())
}
