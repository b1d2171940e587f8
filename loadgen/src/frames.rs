//! What one connection is about to send: commands gathered into WebSocket messages, masked. Scratch of a thread; holds
//! nothing between connections.

use protocol::client::command::{Command, Request};
use protocol::client::encoding::Encoding;
use protocol::client::limits::MESSAGES_IN_FRAME_MAX;
use protocol::ws::{self, Opcode};

/// The outgoing plaintext of one connection's turn.
#[derive(Debug)]
pub struct Frames {
    /// Finished frames.
    bytes: Vec<u8>,
    /// Commands that are not yet a frame.
    commands: Vec<u8>,
    count: usize,
    encoding: Encoding,
    dice: Dice,
}

/// Mask keys and other bytes that need only differ. Nothing secret hangs on them: a load generator has no page script to
/// defend a proxy against (RFC 6455 §10.3).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Seeded once per thread from the system.
    pub fn new(seed: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(seed) | 1)
    }

    /// The next eight bytes (xorshift64*).
    pub fn roll(&mut self) -> [u8; 8] {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    }

    fn mask(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.roll();
        [a, b, c, d]
    }
}

impl Frames {
    /// Nothing to send.
    pub fn new(encoding: Encoding, dice: Dice) -> Self {
        Self { bytes: Vec::new(), commands: Vec::new(), count: 0, encoding, dice }
    }

    /// Adds a command, in one message with those before it.
    pub fn command(&mut self, command: &Command<'_>) {
        if self.count == MESSAGES_IN_FRAME_MAX {
            self.seal();
        }
        if self.count > 0 {
            self.commands.extend_from_slice(self.encoding.separator());
        }
        self.encoding.command(command, &mut self.commands);
        self.count += 1;
    }

    /// Adds a message of commands that are encoded already, after the commands so far.
    pub fn message(&mut self, commands: &[u8]) {
        self.seal();
        let key = self.dice.mask();
        ws::masked_frame(self.encoding.frame_opcode(), commands, key, &mut self.bytes);
    }

    /// Answers the server's ping.
    pub fn pong(&mut self) {
        self.command(&Command { id: 0, request: Request::Pong });
    }

    /// Adds a WebSocket control frame, after the commands so far.
    pub fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        debug_assert!(opcode.is_control());
        self.seal();
        let key = self.dice.mask();
        ws::masked_frame(opcode, payload, key, &mut self.bytes);
    }

    /// Adds a close frame, the last thing on a connection.
    pub fn close(&mut self, code: Option<u16>) {
        self.seal();
        let key = self.dice.mask();
        ws::masked_close_frame(code, "", key, &mut self.bytes);
    }

    /// Adds bytes that are no WebSocket frames yet.
    pub fn raw(&mut self) -> &mut Vec<u8> {
        debug_assert_eq!(self.count, 0, "commands go after the upgrade");
        &mut self.bytes
    }

    /// Bytes that need only differ.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// Everything as bytes of the stream; empty when there is nothing.
    pub fn finished(&mut self) -> &[u8] {
        self.seal();
        &self.bytes
    }

    /// Forgets it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.commands.clear();
        self.count = 0;
    }

    fn seal(&mut self) {
        if self.count > 0 {
            let key = self.dice.mask();
            ws::masked_frame(self.encoding.frame_opcode(), &self.commands, key, &mut self.bytes);
            self.commands.clear();
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::client::command::Rpc;
    use protocol::ws::{Item, Limits, Reader, Role};

    use super::*;

    fn read(frames: &mut Frames) -> Vec<String> {
        let mut bytes = frames.finished().to_vec();
        let (mut reader, mut input, mut texts) = (Reader::new(), bytes.as_mut_slice(), Vec::new());
        while !input.is_empty() {
            let (used, item) = reader.next(Role::Server, input, &Limits::default()).unwrap();
            match item {
                Item::Text(text) => texts.push(text.into_owned()),
                other => texts.push(format!("{other:?}")),
            }
            input = &mut input[used..];
        }
        texts
    }

    fn frames() -> Frames {
        Frames::new(Encoding::Json, Dice::new([7; 8]))
    }

    #[test]
    fn commands_share_a_message_up_to_the_bound() {
        let mut frames = frames();
        for id in 1..=MESSAGES_IN_FRAME_MAX as u32 + 2 {
            frames.command(&Command { id, request: Request::Rpc(Rpc::default()) });
        }
        let lines: Vec<usize> = read(&mut frames).iter().map(|text| text.lines().count()).collect();
        assert_eq!(lines, [MESSAGES_IN_FRAME_MAX, 2]);
    }

    #[test]
    fn a_control_frame_keeps_its_place() {
        let mut frames = frames();
        frames.pong();
        frames.control(Opcode::Pong, b"x");
        frames.pong();
        assert_eq!(read(&mut frames), ["{}", "Pong([120])", "{}"]);
        frames.clear();
        assert!(frames.finished().is_empty());
    }

    #[test]
    fn dice_differ_from_roll_to_roll_even_from_a_zero_seed() {
        let mut dice = Dice::new([0; 8]);
        assert_ne!(dice.roll(), dice.roll());
    }
}
