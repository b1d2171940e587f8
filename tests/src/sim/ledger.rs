//! What was said, by whom, where, and what is known of its place: the truth that every client's view is held against.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use protocol::client::received::Message;

/// One publication as its publisher knows it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// Number of the channel.
    pub(super) channel: usize,
    /// Number of the client.
    pub(super) publisher: usize,
    /// The publisher's session; empty until it is known.
    session: String,
    /// When it was put into words.
    pub(super) at: Duration,
    /// Bytes of padding in the payload.
    padding: usize,
    /// The payload is not JSON.
    raw: bool,
    /// What the padding is made of.
    letter: char,
    /// The value of the tag [`TAG`].
    pub(super) tag: Option<u64>,
    /// It was said more than once, with one key.
    repeated: bool,
    /// The publisher has been told that it is stored and on its way.
    pub(super) acknowledged: bool,
    /// Where some client saw it.
    place: Option<(String, u64)>,
}

/// What a publication is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// Bytes of padding in the payload.
    pub(super) padding: usize,
    /// The payload is not JSON.
    pub(super) raw: bool,
    /// It is much like the others of its kind.
    pub(super) alike: bool,
    /// The value of the tag [`TAG`].
    pub(super) tag: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    said: Vec<Said>,
    /// Serial by channel, epoch, offset.
    places: BTreeMap<(usize, String, u64), u64>,
    /// The relay may forget the keys of what was said more than once.
    forgets: bool,
}

impl Ledger {
    /// Nothing has been said. The relay `forgets` the keys of what is said more than once, or does not.
    pub(super) fn new(forgets: bool) -> Self {
        Self { forgets, ..Self::default() }
    }

    /// Whether a channel without history may have a publication once more.
    pub(super) fn may_recur(&self, serial: u64) -> bool {
        self.forgets && self.said(serial).repeated
    }

    /// Something new to say; the serial and the payload.
    pub(super) fn say(
        &mut self,
        channel: usize,
        publisher: usize,
        session: &str,
        at: Duration,
        words: Words,
    ) -> (u64, Vec<u8>) {
        let Words { padding, raw, alike, tag } = words;
        let serial = self.said.len() as u64;
        // What is to be sent as differences is much like what was said before.
        let letter = if alike { '=' } else { char::from(b'a' + (serial % 26) as u8) };
        let session = session.to_owned();
        self.said.push(Said {
            channel,
            publisher,
            session,
            at,
            padding,
            raw,
            letter,
            tag,
            repeated: false,
            acknowledged: false,
            place: None,
        });
        (serial, payload(serial, padding, raw, letter))
    }

    /// The publisher was told that it is out.
    pub(super) fn acknowledge(&mut self, serial: u64) {
        self.said[serial as usize].acknowledged = true;
    }

    /// Everything said.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &Said)> {
        self.said.iter().enumerate().map(|(serial, said)| (serial as u64, said))
    }

    /// One of them.
    pub(super) fn said(&self, serial: u64) -> &Said {
        &self.said[serial as usize]
    }

    /// Somebody got a publication: was it ever said, here, in these words, and was its place always the same? With an empty epoch
    /// the place is not known. Returns the serial.
    pub(super) fn heard(
        &mut self,
        channel: usize,
        epoch: &str,
        message: &Message<'_>,
    ) -> Result<u64, String> {
        let data = undone(message.data);
        let text = String::from_utf8_lossy(&data);
        let serial = text.trim_start_matches(['"', RAW]).split(':').next();
        let serial = serial.and_then(|number| number.parse().ok());
        let serial: u64 = serial.ok_or_else(|| format!("nobody said {text:.60}"))?;
        let said = self.said.get_mut(serial as usize).ok_or_else(|| format!("nobody said {text:.60}"))?;
        if *data != payload(serial, said.padding, said.raw, said.letter) {
            return Err(format!("publication {serial} was said in other words than {text:.60}"));
        }
        if said.channel != channel {
            return Err(format!("publication {serial} was said in channel {}, not {channel}", said.channel));
        }
        let from = message.info.as_ref().map(|info| info.client.as_ref());
        if let (true, Some(from)) = (said.session.is_empty(), from) {
            // It was said together with the beginning of its session, which had no name yet.
            from.clone_into(&mut said.session);
        }
        if from != Some(&said.session) {
            return Err(format!("publication {serial} was said by {}, not {from:?}", said.session));
        }
        let tags: Vec<(&str, &str)> =
            message.tags.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        let value = said.tag.map(|value| value.to_string());
        if tags != value.iter().map(|value| (TAG, value.as_str())).collect::<Vec<_>>() {
            return Err(format!("publication {serial} was said with tag {value:?}, not {tags:?}"));
        }
        self.placed(serial, epoch, message.offset)?;
        Ok(serial)
    }

    /// Somebody learned where a publication is: it is there for everybody, and nowhere else. (A stream that began anew, with a relay
    /// that has forgotten its keys, may have it once more.)
    pub(super) fn placed(&mut self, serial: u64, epoch: &str, offset: u64) -> Result<(), String> {
        if offset == 0 || epoch.is_empty() {
            return Ok(());
        }
        let place = (epoch.to_owned(), offset);
        let said = &mut self.said[serial as usize];
        match &said.place {
            Some(known) if *known == place => return Ok(()),
            Some(known) if !said.repeated || known.0 == place.0 => {
                return Err(format!("publication {serial} is at {known:?} and at {place:?}"));
            }
            Some(_) | None => {}
        }
        let other = self.places.insert((said.channel, place.0.clone(), place.1), serial);
        if let Some(other) = other.filter(|other| *other != serial) {
            return Err(format!("publications {other} and {serial} are both at {place:?}"));
        }
        said.place = Some(place);
        Ok(())
    }

    /// The publisher says it again, with the same key.
    pub(super) fn repeat(&mut self, serial: u64) {
        self.said[serial as usize].repeated = true;
    }
}

/// The one tag there is.
pub(super) const TAG: &str = "n";

fn payload(serial: u64, padding: usize, raw: bool, letter: char) -> Vec<u8> {
    let text = format!("\"{serial}:{}\"", String::from(letter).repeat(padding));
    // A raw one begins with a byte that is neither JSON nor text.
    if raw { [&[0xff], text.as_bytes()].concat() } else { text.into_bytes() }
}

/// A JSON client gets what is not JSON as base64 in a string.
fn undone(data: &[u8]) -> Cow<'_, [u8]> {
    let inner = data.strip_prefix(b"\"/").and_then(|rest| rest.strip_suffix(b"\""));
    match inner.map(|inner| STANDARD.decode([b"/", inner].concat())) {
        Some(Ok(bytes)) => bytes.into(),
        _ => data.into(),
    }
}

/// How a byte that is no text is shown.
const RAW: char = char::REPLACEMENT_CHARACTER;
