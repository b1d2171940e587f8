//! The one extension that is known: permessage-deflate (RFC 7692), with no context taken over on either side.
//!
//! Owns which offers are taken and the answer. An offer that asks for what is not done here is declined, as if it had not been made.

use httparse::Header;

use super::{
    Refusal,
    fields::{elements, is_token},
};

/// An offer that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deflate {
    /// The client asks for the largest window in so many words, and is to be told that it has it.
    names_window: bool,
}

/// The header field.
pub(super) const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
/// What our own client offers.
pub(super) const OFFER: &str = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

const NAME: &[u8] = b"permessage-deflate";
const SERVER_FORGETS: &[u8] = b"server_no_context_takeover";
const CLIENT_FORGETS: &[u8] = b"client_no_context_takeover";
const SERVER_WINDOW: &[u8] = b"server_max_window_bits";
const CLIENT_WINDOW: &[u8] = b"client_max_window_bits";
const ANSWER: &[u8] =
    b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const WINDOW: &[u8] = b"; server_max_window_bits=15";
/// RFC 7692 §7.1.2: windows of 2^8 to 2^15 bytes.
const WINDOWS: [&[u8]; 8] = [b"8", b"9", b"10", b"11", b"12", b"13", b"14", b"15"];
/// The window of our compressor. Smaller ones cannot be promised.
const OURS: &[u8] = b"15";

impl Deflate {
    /// The first offer that can be kept. What is not written as RFC 6455 §9.1 has it is refused, whatever it offers.
    pub(super) fn choose(headers: &[Header<'_>]) -> Result<Option<Self>, Refusal> {
        let mut chosen = None;
        for offer in elements(headers, EXTENSIONS) {
            let mut parts = parts(offer);
            let (name, value) = parts.next().unwrap_or(Err(Refusal::Malformed))?;
            if value.is_some() {
                return Err(Refusal::Malformed);
            }
            let mut terms = Terms::default();
            for part in parts {
                let (name, value) = part?;
                terms.add(name, value);
            }
            if name == NAME && !terms.declined {
                chosen = chosen.or(Some(Self { names_window: terms.seen[2] }));
            }
        }
        Ok(chosen)
    }

    /// Appends the field that takes the offer, from the end of the line before.
    pub(super) fn answer(self, out: &mut Vec<u8>) {
        out.extend_from_slice(ANSWER);
        if self.names_window {
            out.extend_from_slice(WINDOW);
        }
    }
}

/// Whether a server's answer takes [`OFFER`] (RFC 7692 §5.1): nothing else, and it takes over no context.
pub(super) fn is_answer(headers: &[Header<'_>]) -> bool {
    let mut answers = elements(headers, EXTENSIONS);
    let (Some(answer), None) = (answers.next(), answers.next()) else { return false };
    let mut parts = parts(answer);
    let named = parts.next() == Some(Ok((NAME, None)));
    let mut forgets = false;
    named
        && parts.all(|part| {
            let Ok((name, value)) = part else { return false };
            let again = forgets;
            forgets |= name == SERVER_FORGETS;
            match name {
                SERVER_FORGETS => value.is_none() && !again,
                CLIENT_FORGETS => value.is_none(),
                _ => false,
            }
        })
        && forgets
}

/// What one offer asks for.
#[derive(Default)]
struct Terms {
    /// The four parameters that there are.
    seen: [bool; 4],
    /// Unknown, wrong, repeated, or more than can be kept (RFC 7692 §7).
    declined: bool,
}

impl Terms {
    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let (index, kept) = match name {
            SERVER_FORGETS => (0, value.is_none()),
            CLIENT_FORGETS => (1, value.is_none()),
            SERVER_WINDOW => (2, value == Some(OURS)),
            // A hint: any window that a client compresses with is understood.
            CLIENT_WINDOW => (3, value.is_none_or(|value| WINDOWS.contains(&value))),
            _ => return self.declined = true,
        };
        self.declined |= !kept || self.seen[index];
        self.seen[index] = true;
    }
}

/// A name, with a value if it has one.
type Part<'a> = Result<(&'a [u8], Option<&'a [u8]>), Refusal>;

/// An element's name and parameters. Values may stand in quotes, but are tokens there too.
fn parts(element: &[u8]) -> impl Iterator<Item = Part<'_>> {
    element.split(|&byte| byte == b';').map(|part| {
        let mut sides = part.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
        let (name, value) = (sides.next().unwrap_or_default(), sides.next());
        let bare = |value: &[u8]| value.len() >= 2 && value.starts_with(b"\"") && value.ends_with(b"\"");
        let value = value.map(|value| if bare(value) { &value[1..value.len() - 1] } else { value });
        let fine = is_token(name) && value.is_none_or(is_token);
        if fine { Ok((name, value)) } else { Err(Refusal::Malformed) }
    })
}
