//! The keys that sign tokens, as this node knows them: signing, verifying, the published set, rotation.
//!
//! Owns what was read from the control database last. Other nodes make keys too: the set is read again all the time, and at once
//! when a token names a key that is not in it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time;

use super::logic::{Claims, Times};
use crate::cache::Recent;
use crate::clock::Clock;
use crate::config::Tokens;
use crate::http::Caller;
use crate::limits::{ACCESS_TOKEN_MAX, KEYS_EVERY, KEYS_PAUSE, VERIFIED_MAX};
use crate::log::log;
use crate::model::{Id, UnixMs};
use crate::problem::{Kind, Problem};
use crate::relays::names::UserName;
use crate::state::Node;
use crate::store::{Control, SigningKey, StoreError};

/// The keys, and tokens that were good.
#[derive(Debug)]
pub struct Keys {
    ring: RwLock<Arc<Ring>>,
    /// By SHA-256 of the token: who it is and until when (Unix milliseconds).
    verified: Recent<[u8; 32], (Caller, UnixMs)>,
    validation: Validation,
    config: Tokens,
    wanted: Notify,
    read: watch::Sender<u64>,
}

/// What was read at one time.
#[derive(Debug, Default)]
pub struct Ring {
    keys: Vec<SigningKey>,
    public: Vec<(String, DecodingKey)>,
    /// The JWK set as JSON.
    pub document: Bytes,
    /// Its entity tag.
    pub tag: String,
}

impl Keys {
    /// With what the control database has; makes the first key of a system.
    pub async fn open(control: &dyn Control, config: &Tokens, clock: &Clock) -> Result<Self, StoreError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
        // Compared with this program's own clock.
        validation.validate_exp = false;
        let keys = Self {
            ring: RwLock::default(),
            verified: Recent::new(VERIFIED_MAX),
            validation,
            config: config.clone(),
            wanted: Notify::new(),
            read: watch::Sender::new(0),
        };
        keys.read(control, clock).await?;
        Ok(keys)
    }

    /// Makes a key if it is time to, and reads what there is.
    pub async fn read(&self, control: &dyn Control, clock: &Clock) -> Result<(), StoreError> {
        let now = clock.unix();
        let mut keys = control.keys(now).await?;
        if let Some(due) = self.times().due(&keys, now) {
            let (id, private) = new_key()?;
            let key = SigningKey { id, private, signs_from: due.signs_from, ends_at: due.ends_at };
            if control.add_key(&key, due.unless_after).await? {
                log!("key {} signs from {} on", key.id, key.signs_from);
            }
            keys = control.keys(now).await?;
            control.drop_keys(now).await?;
        }
        let ring = Ring::new(keys)?;
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        self.read.send_modify(|count| *count += 1);
        Ok(())
    }

    /// A token of a user, and for how many seconds it is good.
    pub fn sign(&self, workspace: Id, user: Id, now: UnixMs) -> Result<(String, u64), Problem> {
        let fault = |what: &str| {
            log!("no token: {what}");
            Problem::new(Kind::Internal, "")
        };
        let ring = self.ring();
        let key = self.times().signs(&ring.keys, now).ok_or_else(|| fault("there is no key that signs"))?;
        let lifetime = self.config.access_lifetime.as_secs();
        let iat = now / 1000;
        let claims = Claims {
            iss: self.config.issuer.clone(),
            aud: self.config.audience.clone(),
            sub: UserName { workspace, user }.to_string(),
            iat,
            exp: iat.saturating_add_unsigned(lifetime),
            jti: random_text::<12>().map_err(|error| fault(&error.to_string()))?,
        };
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::EdDSA) };
        let token = encode(&header, &claims, &EncodingKey::from_ed_der(&key.private));
        Ok((token.map_err(|error| fault(&error.to_string()))?, lifetime))
    }

    /// Whose token it is. One that names an unknown key waits until the keys were read again.
    pub async fn caller(&self, token: &str, clock: &Clock) -> Result<Caller, Problem> {
        if token.len() > ACCESS_TOKEN_MAX {
            return Err(refused("is too long"));
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let now = clock.unix();
        if let Some((caller, until)) = self.verified.get(&hash) {
            return if now < until { Ok(caller) } else { Err(refused("is over")) };
        }
        let header = decode_header(token).map_err(|_| refused("is no token"))?;
        let kid = header.kid.as_deref().ok_or_else(|| refused("names no key"))?;
        let mut ring = self.ring();
        if ring.key(kid).is_none() {
            self.read_again().await;
            ring = self.ring();
        }
        let key = ring.key(kid).ok_or_else(|| refused("is signed with an unknown key"))?;
        let claims =
            decode::<Claims>(token, key, &self.validation).map_err(|_| refused("is not good"))?.claims;
        let until = claims.exp.saturating_mul(1000);
        if now >= until {
            return Err(refused("is over"));
        }
        let name = UserName::parse(&claims.sub).ok_or_else(|| refused("is nobody's"))?;
        let caller = Caller { workspace: name.workspace, user: name.user };
        self.verified.put(hash, (caller, until), 1);
        Ok(caller)
    }

    /// What is published now.
    pub fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long others may keep the published set.
    pub fn fresh_for(&self) -> Duration {
        (self.config.publish_before / 4).min(Duration::from_secs(300))
    }

    /// Who issues.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    async fn read_again(&self) {
        let mut read = self.read.subscribe();
        self.wanted.notify_one();
        let _ = time::timeout(2 * KEYS_PAUSE, read.changed()).await;
    }

    fn times(&self) -> Times {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 8);
        let config = &self.config;
        Times {
            lifetime: ms(config.access_lifetime),
            rotate: ms(config.rotate_every),
            before: ms(config.publish_before),
        }
    }
}

impl Ring {
    fn new(mut keys: Vec<SigningKey>) -> Result<Self, StoreError> {
        // Whoever takes only some of them takes the newest.
        keys.sort_by_key(|key| std::cmp::Reverse(key.signs_from));
        let (mut public, mut set) = (Vec::new(), Vec::new());
        for key in &keys {
            let broken = |_| StoreError::Refused(format!("the key {} is broken", key.id));
            let pair = Ed25519KeyPair::from_pkcs8(&key.private).map_err(broken)?;
            let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
            let decoding = DecodingKey::from_ed_components(&x)
                .map_err(|_| StoreError::Refused(format!("the key {} is broken", key.id)))?;
            public.push((key.id.clone(), decoding));
            set.push(json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.id, "x": x,
            }));
        }
        let document = json!({ "keys": set }).to_string();
        let tag = entity_tag(document.as_bytes());
        Ok(Self { keys, public, document: document.into(), tag })
    }

    fn key(&self, id: &str) -> Option<&DecodingKey> {
        self.public.iter().find(|(known, _)| known == id).map(|(_, key)| key)
    }
}

/// Reads the keys again and again, and makes new ones in time, until the task is dropped.
pub async fn keep(node: &Node) {
    loop {
        tokio::select! {
            () = time::sleep(KEYS_EVERY.min(node.checked.config.tokens.rotate_every / 8)) => {}
            () = node.keys.wanted.notified() => {}
        }
        if let Err(error) = node.keys.read(&**node.router.control(), &node.clock).await {
            log!("the keys stay as they were: {error}");
        }
        // Strangers' tokens may name any key.
        time::sleep(KEYS_PAUSE).await;
    }
}

/// A strong entity tag of these bytes.
pub(crate) fn entity_tag(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let hex: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Random bytes as text.
pub(crate) fn random_text<const BYTES: usize>() -> Result<String, StoreError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes)
        .map_err(|_| StoreError::Refused("the system gives no random numbers".to_owned()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn new_key() -> Result<(String, Vec<u8>), StoreError> {
    let pair = Ed25519KeyPair::generate_pkcs8v1(&rand::SystemRandom::new())
        .map_err(|_| StoreError::Refused("no key can be made".to_owned()))?;
    Ok((random_text::<9>()?, pair.as_ref().to_vec()))
}

fn refused(why: &str) -> Problem {
    Problem::new(Kind::Unauthorized, format!("the token {why}"))
}
