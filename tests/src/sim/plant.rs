//! Bugs on purpose, to see that each is caught. Those of the loop's system calls are made where these are ([`super::system`]); those
//! of what the gateway makes of settings and messages are made around it, so that it behaves as if it had them.

use protocol::client::encoding::Encoding;
use serde_json::Value;
use wire::{admission::CommandKind, settings::Settings};

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// None.
    Nothing,
    /// A descriptor is not closed.
    LeakedDescriptor,
    /// A byte that was taken for sending is not sent.
    DroppedByte,
    /// An edge is not told.
    MissedEdge,
    /// Two publications leave in the wrong order.
    ReorderedOffset,
    /// What has expired stays.
    ForgottenExpiry,
    /// What has expired ends without its time for a refresh.
    ForgottenGrace,
    /// A difference is made to another publication than the client has.
    WrongBase,
    /// A filter is not asked.
    IgnoredFilter,
    /// Commands are refused within their rate.
    StingyRate,
    /// Commands for another shard's session reach it twice.
    DoubledCommand,
    /// A poll is not given all that was published since the one before.
    ForgetfulPoll,
}

impl Plant {
    /// Settings as a gateway with the bug takes them.
    pub(super) fn bend(self, mut settings: Settings) -> Settings {
        let client = &mut settings.client;
        match self {
            Self::ForgottenExpiry => {
                (client.expired_close_delay_ms, client.expired_sub_close_delay_ms) = (3_600_000, 3_600_000);
            }
            Self::ForgottenGrace => {
                (client.expired_close_delay_ms, client.expired_sub_close_delay_ms) = (0, 0);
            }
            Self::StingyRate => {
                let rate = &mut settings.admission.commands.0[CommandKind::Total as usize].rate;
                *rate -= *rate / 3;
            }
            _ => {}
        }
        settings
    }
}

/// What stands between the gateway and one client's ears.
#[derive(Debug, Default)]
pub(super) struct Mangler {
    patch: Option<Value>,
}

impl Mangler {
    /// Messages as a gateway with the bug sends them.
    pub(super) fn mangle(
        &mut self,
        plant: Plant,
        encoding: Encoding,
        polls: bool,
        messages: Vec<u8>,
    ) -> Vec<u8> {
        let forgets = plant == Plant::ForgetfulPoll && polls;
        if !forgets && plant != Plant::WrongBase || encoding != Encoding::Json {
            return messages;
        }
        let lines = messages.split(|byte| *byte == b'\n').map(|line| {
            let Ok(mut message) = serde_json::from_slice::<Value>(line) else { return line.to_vec() };
            if forgets {
                let missed = message["subscribe"]["publications"].as_array_mut();
                let Some(missed) = missed.filter(|missed| missed.len() > 1) else { return line.to_vec() };
                missed.remove(0);
                return message.to_string().into_bytes();
            }
            let publication = &mut message["push"]["pub"];
            if publication["delta"] != true {
                return line.to_vec();
            }
            let own = publication["data"].clone();
            if let Some(before) = self.patch.replace(own) {
                publication["data"] = before;
            }
            message.to_string().into_bytes()
        });
        lines.collect::<Vec<_>>().join(&b'\n')
    }
}
