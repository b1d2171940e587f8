//! The part of TLS 1.3's key schedule that an established connection needs: keys from a traffic secret, and the next secret.

use aws_lc_rs::hkdf::{KeyType, Prk};
use zeroize::Zeroize;

use super::error::TlsError;
use super::state::View;
use super::suite::Suite;

/// Derives key and IV of `half` from its traffic secret (RFC 8446 §7.3).
pub(super) fn rekey(suite: Suite, half: &mut View<'_>) -> Result<(), TlsError> {
    debug_assert!(suite.is_tls13());
    let secret = Prk::new_less_safe(suite.hkdf(), half.secret);
    expand(&secret, b"key", half.key)?;
    expand(&secret, b"iv", half.iv)
}

/// Replaces the traffic secret of `half` by its successor (RFC 8446 §7.2), derives the keys and starts counting anew.
pub(super) fn advance(suite: Suite, half: &mut View<'_>) -> Result<(), TlsError> {
    debug_assert!(suite.is_tls13());
    let mut next = [0; 48];
    let next = &mut next[..half.secret.len()];
    let done = {
        let secret = Prk::new_less_safe(suite.hkdf(), half.secret);
        expand(&secret, b"traffic upd", next)
    };
    half.secret.copy_from_slice(next);
    next.zeroize();
    done?;
    half.restart();
    rekey(suite, half)
}

/// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
fn expand(secret: &Prk, label: &[u8], out: &mut [u8]) -> Result<(), TlsError> {
    debug_assert!(label.len() <= 12 && out.len() <= 48);
    let prefix = [0, out.len() as u8, 6 + label.len() as u8];
    let info = [&prefix[..], b"tls13 ", label, &[0]];
    secret.expand(&info, Length(out.len()))?.fill(out)?;
    Ok(())
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
