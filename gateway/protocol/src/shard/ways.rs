//! What is counted by the way a session is spoken: its transport and its encoding. A counter per way, nothing per connection.

use wire::stats::{TRANSPORTS, TransportStats};

use crate::{client::encoding::Encoding, framing::Framing};

/// Counters by framing and encoding.
#[derive(Default)]
pub(super) struct Ways([[TransportStats; Encoding::ALL.len()]; Framing::COUNT]);

impl Ways {
    pub(super) const fn of(&mut self, framing: Framing, encoding: Encoding) -> &mut TransportStats {
        &mut self.0[framing as usize][encoding.index()]
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.0.as_flattened().iter().map(|way| way.deliveries).sum()
    }

    /// As they are reported.
    pub(super) fn stats(&self) -> [TransportStats; TRANSPORTS.len()] {
        let [web_socket, deflate, stream, sse, poll, [uni, _]] = self.0;
        let [json, protobuf] = [0, 1].map(|encoding: usize| web_socket[encoding] + deflate[encoding]);
        [json, protobuf, uni, stream[0], stream[1], sse[0], poll[0], poll[1]]
    }
}

const _: () = assert!(Encoding::Json.index() == 0 && Framing::Uni as usize + 1 == Framing::COUNT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_reported_under_its_name() {
        let named = [
            (Framing::WebSocket, "websocket"),
            (Framing::Deflate, "websocket"),
            (Framing::Stream, "http_stream"),
            (Framing::Sse, "sse"),
            (Framing::Poll, "poll"),
            (Framing::Uni, "uni_websocket"),
        ];
        for (framing, name) in named {
            for (encoding, encoding_name) in [(Encoding::Json, "json"), (Encoding::Protobuf, "protobuf")] {
                let listed = TRANSPORTS.iter().position(|way| *way == (name, encoding_name));
                let mut ways = Ways::default();
                ways.of(framing, encoding).deliveries = 7;
                assert_eq!(ways.deliveries(), 7);
                // Server-sent events and listeners are told JSON only.
                assert_eq!(
                    ways.stats().iter().position(|way| way.deliveries == 7),
                    listed,
                    "{name} {encoding_name}"
                );
            }
        }
    }
}
