//! One message as a channel's subscribers get it: once for each encoding, and once more for each other framing that somebody needs.

use std::{cell::OnceCell, rc::Rc};

use crate::{
    client::encoding::Encoding,
    framing::{FORMS, Framing},
    ws::Deflater,
};

/// One message, encoded once for each encoding that [`super::Channel::encodings`] names: WebSocket frames, and what became of them for
/// those who get them otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frames(pub [Option<Rc<[u8]>>; Encoding::ALL.len()], OnceCell<Box<Reframed>>);

/// The same in other framings, made when the first receiver needs one.
type Reframed = [[OnceCell<Rc<[u8]>>; FORMS]; Encoding::ALL.len()];

impl Frames {
    /// The message in one encoding and framing.
    pub fn get(&self, encoding: Encoding, framing: Framing, deflater: &mut Deflater) -> Option<&Rc<[u8]>> {
        let frame = self.0[encoding.index()].as_ref()?;
        let Some(form) = framing.form() else { return Some(frame) };
        let reframed = &self.1.get_or_init(Box::default)[encoding.index()][form];
        Some(reframed.get_or_init(|| framing.reframe(encoding, frame, deflater)))
    }

    /// As encoded: other framings are a few bytes more for a short time.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().flatten().map(|frame| frame.len()).sum()
    }
}
