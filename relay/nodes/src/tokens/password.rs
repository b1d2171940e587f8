//! Passwords: argon2id, on threads where waiting harms nobody, so many at once and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use tokio::task;

use crate::limits::HASHES_WAITING_MAX;
use crate::log::log;
use crate::problem::{Kind, Problem};

/// Hashes and verifies.
#[derive(Debug)]
pub struct Hasher {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// What is verified where there is no user, so that it takes as long.
    nobody: String,
}

impl Hasher {
    /// So many at once; 0 is one less than there are cores.
    pub fn new(at_once: usize) -> Result<Self, Problem> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = if at_once == 0 { cores.saturating_sub(1).max(1) } else { at_once };
        let nobody = hash("nobody's password")?;
        Ok(Self { permits: Arc::new(Semaphore::new(at_once)), waiting: AtomicUsize::new(0), nobody })
    }

    /// As a text with its parameters and its salt.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        self.work(move || hash(&password)).await?
    }

    /// Whether it is the password. Without a hash it is not, and takes as long.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Problem> {
        let there = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let verify = move || Ok(argon2()?.verify_password(password.as_bytes(), hash.as_str()).is_ok());
        let good: Result<bool, Problem> = self.work(verify).await?;
        Ok(good? && there)
    }

    /// Passwords that wait or are hashed.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let busy = || Problem::new(Kind::Busy, "Too many sign-ins are under way");
        let _waits = Waits::new(&self.waiting).ok_or_else(busy)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| busy())?;
        // The permit is the work's: one whose client has gone is still done, and counts.
        let done = task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await.map_err(fault)
    }
}

/// A place in the queue.
struct Waits<'w>(&'w AtomicUsize);

impl<'w> Waits<'w> {
    fn new(waiting: &'w AtomicUsize) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(waiting);
        (before < HASHES_WAITING_MAX).then_some(place)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What OWASP recommends for argon2id: 19 MiB, two passes, one lane.
fn argon2() -> Result<Argon2<'static>, Problem> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(fault)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, Problem> {
    Ok(argon2()?.hash_password(password.as_bytes()).map_err(fault)?.to_string())
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn fault(error: impl std::fmt::Display) -> Problem {
    log!("passwords: {error}");
    Problem::new(Kind::Internal, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_good_with_its_own_hash_and_never_without_one() {
        let hasher = Hasher::new(1).unwrap();
        let hash = hasher.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify("wrong horse".to_owned(), Some(hash)).await.unwrap());
        assert!(!hasher.verify("nobody's password".to_owned(), None).await.unwrap());
        assert_eq!(hasher.waiting(), 0);
    }

    #[tokio::test]
    async fn past_the_bound_it_is_refused_at_once() {
        let hasher = Hasher::new(1).unwrap();
        let places: Vec<_> = (0..HASHES_WAITING_MAX).filter_map(|_| Waits::new(&hasher.waiting)).collect();
        assert_eq!(places.len(), HASHES_WAITING_MAX);
        assert_eq!(hasher.hash("a".to_owned()).await.unwrap_err().kind(), Kind::Busy);
        drop(places);
        assert_eq!(hasher.waiting(), 0);
    }
}
