//! permessage-deflate (RFC 7692) as the client of the cases speaks it: every message by itself.

use anyhow::{Context, Result, anyhow, ensure};
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::decompress_to_vec;

use super::play::frame;

const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
/// zlib's default.
const LEVEL: i32 = 6;
/// RFC 7692 §7.2.1.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// An empty last block.
const LAST: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// Codes messages once both ends have agreed to it.
pub(super) struct Coder {
    state: Box<CompressorOxide>,
}

impl Coder {
    /// What a server's head says to an offer; an error where it may not say so.
    pub(super) fn agreed(offer: Option<&str>, head: &str) -> Result<Option<Self>> {
        let answer = head.lines().filter_map(|line| line.split_once(':'));
        let mut answers = answer.filter(|(name, _)| name.eq_ignore_ascii_case("Sec-WebSocket-Extensions"));
        let Some((_, answer)) = answers.next() else { return Ok(None) };
        let offer = offer.context("an answer to no offer")?;
        ensure!(answers.next().is_none(), "two answers to one offer");
        let mut parts = answer.split(';').map(str::trim);
        ensure!(parts.next() == Some("permessage-deflate"), "an answer to something else: {answer}");
        let terms: Vec<&str> = parts.collect();
        ensure!(terms.contains(&"server_no_context_takeover"), "a context is taken over: {answer}");
        // §7.1.2.1: a window that was asked for is named, and no larger.
        let named = terms.contains(&"server_max_window_bits=15");
        ensure!(named || !offer.ends_with("server_max_window_bits=15"), "no word of the window: {answer}");
        let flags = create_comp_flags_from_zip_params(LEVEL, 0, 0);
        Ok(Some(Self { state: Box::new(CompressorOxide::new(flags)) }))
    }

    /// A compressed message, in frames of so many bytes (0: in one).
    pub(super) fn frames(&mut self, text: bool, message: &[u8], fragment: usize) -> Vec<u8> {
        let body = self.deflate(message);
        let bytes = if fragment == 0 { body.len().max(1) } else { fragment };
        let last = body.len().div_ceil(bytes).max(1) - 1;
        let opcode = COMPRESSED | if text { 1 } else { 2 };
        let frames = body.chunks(bytes).enumerate().map(|(index, part)| {
            let first = if index == 0 { opcode } else { 0 };
            frame(if index == last { FIN | first } else { first }, part)
        });
        frames.flatten().collect()
    }

    fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        self.state.reset();
        // Stored blocks, the worst that comes out, have five bytes more each.
        let mut out = vec![0; message.len() + message.len() / 100 + 64];
        let (status, read, written) = compress(&mut self.state, message, &mut out, TDEFLFlush::Sync);
        assert_eq!((status, read), (TDEFLStatus::Okay, message.len()));
        out.truncate(written);
        assert!(out.ends_with(&TAIL), "it was flushed");
        out.truncate(written - TAIL.len());
        out
    }

    /// The message of a compressed body.
    pub(super) fn inflate(&self, body: &[u8]) -> Result<Vec<u8>> {
        let stream = [body, &TAIL, &LAST].concat();
        decompress_to_vec(&stream).map_err(|error| anyhow!("what came cannot be inflated: {error}"))
    }
}
