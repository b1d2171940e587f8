//! What one seed decides beforehand: the world, how often which fault comes, how long it lasts. Every seed draws its own rates,
//! many of them zero, so that each fault is also seen without the others.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::random::Random;

/// See the module. Rates are per mille.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Turns with faults and new work.
    pub(super) turns: u32,
    /// Listeners; each speaks TLS or not.
    pub(super) listeners: Vec<bool>,
    /// Clients that stay.
    pub(super) clients: usize,
    /// Clients that come all at once, and go.
    pub(super) storm: usize,
    /// Channels per kind.
    pub(super) channels: usize,
    /// Descriptors a shard may have.
    pub(super) descriptors: usize,
    /// Bytes a socket holds each way.
    pub(super) socket_bytes: usize,
    /// Largest payload.
    pub(super) payload_bytes: u64,
    /// Bound of one connection's backlog.
    pub(super) queue_bytes: u32,
    /// Publications kept in history.
    pub(super) history: u32,
    /// Milliseconds between pings.
    pub(super) ping_ms: u32,
    /// Milliseconds a pong may take.
    pub(super) pong_ms: u32,
    /// Longest sleep of one turn.
    pub(super) pace: Duration,
    /// From one end of the network to the other.
    pub(super) latency: Duration,
    /// Nothing is late on the network, whatever else goes wrong: pings and their answers come in time.
    pub(super) prompt: bool,
    /// Clients write a lot at a time.
    pub(super) flood: bool,
    /// How the ends misbehave.
    pub(super) rates: Rates,
    /// Bytes of publications that wait for the link before the relay leaves some out.
    pub(super) link_bytes: usize,
    /// Refuse more at the door than this many in their handshake; 0: no cap.
    pub(super) handshaking: u32,
    /// Connections per second from one source, and how many of them at once; 0: no limit.
    pub(super) source_rate: (u32, u32),
    /// Addresses that clients come from.
    pub(super) sources: usize,
    /// The relay's history survives its restarts.
    pub(super) durable: bool,
    /// It ends with a drain rather than by everybody leaving.
    pub(super) drains: bool,
    /// Connections per second from one IPv6 site, and from everywhere; as `source_rate`.
    pub(super) site_rate: (u32, u32),
    pub(super) rate: (u32, u32),
    /// Clients come over IPv6.
    pub(super) ipv6: bool,
    /// Reloads bring lists of who is turned away.
    pub(super) lists: bool,
    /// Commands of one connection per second; 0: any number.
    pub(super) commands: u32,
    /// Refused ones per second before a connection ends; 0: any number.
    pub(super) refused: u32,
    /// Which features its clients use.
    pub(super) features: Features,
    /// Shards of the gateway.
    pub(super) shards: usize,
    /// Which ways in there are.
    pub(super) ways: Ways,
}

/// The ways in beside plain WebSockets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    /// Streams, events, polls and emulation.
    pub(super) http: bool,
    /// WebSockets that only listen.
    pub(super) uni: bool,
    /// Compressed messages, for those who offer it.
    pub(super) deflate: bool,
    /// Clients of a listener that echoes.
    pub(super) echoes: usize,
}

impl Ways {
    fn new(random: &mut Random) -> Self {
        Self {
            http: random.chance(450),
            uni: random.chance(200),
            deflate: random.chance(300),
            echoes: if random.chance(150) { random.between(1, 3) as usize } else { 0 },
        }
    }
}

/// What a world's clients ask for beyond publications in open channels.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Features {
    /// The server subscribes some users to channels that their tokens name.
    pub(super) server_side: bool,
    /// Every user has a personal channel.
    pub(super) personal: bool,
    /// There are channels that are entered with a token.
    pub(super) private: bool,
    /// Tokens that expire within seconds, per mille.
    pub(super) expiry: u64,
    /// Connections of one user; 0 is any number.
    pub(super) user_limit: u32,
    /// A user's newest connection ends the others.
    pub(super) single: bool,
    /// Some take publications as differences.
    pub(super) delta: bool,
    /// Some take only publications with certain tags.
    pub(super) tags: bool,
    /// Some take channels by number, where they may.
    pub(super) numbers: bool,
}

impl Features {
    fn new(random: &mut Random) -> Self {
        let single = random.chance(60);
        Self {
            server_side: random.chance(350),
            personal: random.chance(250),
            private: random.chance(350),
            expiry: if random.chance(400) { random.pick(&[100, 400, 900]) } else { 0 },
            user_limit: if single { 1 } else { random.pick(&[0, 0, 0, 1, 3]) },
            single,
            delta: random.chance(350),
            tags: random.chance(350),
            numbers: random.chance(500),
        }
    }

    /// Users matter: most clients have one.
    pub(super) const fn about_users(&self) -> bool {
        self.server_side || self.personal || self.user_limit > 0 || self.expiry > 0
    }
}

/// How often what goes wrong, per mille of the occasions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    /// An edge comes later.
    pub(super) late: u64,
    /// An edge of nothing.
    pub(super) spurious: u64,
    /// An edge of a connection that is gone.
    pub(super) stale: u64,
    /// Bytes in flight arrive in parts.
    pub(super) fragment: u64,
    /// A send takes less than there is room for.
    pub(super) short_send: u64,
    /// An accept says `EMFILE`.
    pub(super) no_descriptor: u64,
    /// An accept says `ECONNABORTED`.
    pub(super) aborted: u64,
    /// A watch fails.
    pub(super) unwatched: u64,
    /// A client breaks its connection off.
    pub(super) reset: u64,
    /// A client ends its direction only.
    pub(super) half_close: u64,
    /// A client sends what is not the protocol.
    pub(super) garbage: u64,
    /// A client stops reading for good.
    pub(super) deaf: u64,
    /// A client answers no pings.
    pub(super) mute: u64,
    /// A client reads a few bytes at a time.
    pub(super) slow: u64,
    /// A client writes byte by byte.
    pub(super) drip: u64,
    /// A client stops halfway through opening.
    pub(super) idle: u64,
    /// The relay goes away.
    pub(super) relay_gone: u64,
    /// The relay stops for a while.
    pub(super) relay_slow: u64,
    /// The wall clock jumps.
    pub(super) wall: u64,
    /// The loop gets no CPU for seconds.
    pub(super) stall: u64,
    /// Settings come again.
    pub(super) apply: u64,
    /// A signature takes long.
    pub(super) slow_signer: u64,
    /// The relay does not have the key, or has it again.
    pub(super) signer: u64,
}

impl Plan {
    /// What `seed` decides.
    pub(super) fn new(random: &mut Random) -> Self {
        let tls = random.chance(150);
        let listeners = match (tls, random.below(4)) {
            (false, 0) => vec![false, false],
            (false, _) => vec![false],
            (true, 0) => vec![true, false],
            (true, _) => vec![true],
        };
        let clients = if tls { random.between(2, 8) } else { random.between(2, 24) } as usize;
        let storm = match random.below(64) {
            0 if !tls => 1000,
            1..=8 if !tls => random.between(20, 150) as usize,
            1..=8 => random.between(5, 15) as usize,
            _ => 0,
        };
        let ways = Ways::new(random);
        let shards = if random.chance(350) { 2 } else { 1 };
        let spare = listeners.len() + 2 + ways.echoes + random.between(2, 40) as usize;
        // With a second connection for the commands of each.
        let connections = if ways.http { 2 * clients } else { clients };
        // In some, clients write more at a time than a loop reads at a time, and no ping brings a second chance.
        let flood = random.chance(120);
        let ping_ms = if flood { 0 } else { random.pick(&[0, 800, 1500, 3000, 25_000]) };
        // Some networks are so good that nothing may ever be late.
        let prompt = !flood && random.chance(150);
        let socket_bytes = random.pick(&[600, 2048, 4096, 16_384, 65_536, 200_000]);
        let socket_bytes = if flood { 200_000 } else { socket_bytes };
        let payload_bytes = random.pick(&[40, 40, 300, 300, 3000, 30_000]);
        // What one recovery gives back fits the backlog: a reader that is ended for it would come back for the same.
        let queue_bytes: u32 = if flood { 1 << 20 } else { random.pick(&[4096, 16_384, 65_536, 1 << 20]) };
        let payload_bytes = if flood { 5000 } else { payload_bytes };
        let payload_bytes = if prompt { 100 } else { payload_bytes.min(u64::from(queue_bytes) / 4) };
        let fitting = queue_bytes / payload_bytes as u32;
        let history = random.pick(&[3, 10, 50, 1000]).min(fitting.max(3));
        let rates = Rates::new(random);
        let pace = Duration::from_millis(random.pick(&[2, 10, 10, 40, 250]));
        Self {
            turns: random.between(150, 700) as u32,
            clients,
            storm,
            channels: random.between(1, 3) as usize,
            descriptors: connections + spare,
            socket_bytes: if prompt { 65_536 } else { socket_bytes },
            payload_bytes,
            queue_bytes,
            history,
            ping_ms,
            pong_ms: if ping_ms == 0 { 0 } else { (ping_ms / 3).max(400) },
            pace: if prompt { pace.min(Duration::from_millis(20)) } else { pace },
            latency: Duration::from_millis(random.pick(&[0, 0, 1, 10, 100])),
            rates: if prompt {
                Rates { late: 0, fragment: 0, short_send: 0, drip: 0, ..rates }
            } else {
                rates
            },
            prompt,
            flood,
            link_bytes: random.pick(&[1500, 8000, 60_000, 1 << 24, 1 << 24]),
            handshaking: random.pick(&[0, 0, 4, 16]),
            source_rate: random.pick(&[(0, 0), (0, 0), (10, 1), (20, 5), (50, 20)]),
            sources: random.pick(&[3, 60_000]),
            durable: random.chance(600),
            drains: random.chance(300),
            site_rate: random.pick(&[(0, 0), (0, 0), (20, 5), (50, 20)]),
            rate: random.pick(&[(0, 0), (0, 0), (0, 0), (30, 10), (100, 50)]),
            ipv6: random.chance(300),
            lists: random.chance(400),
            commands: random.pick(&[0, 0, 0, 5, 20]),
            refused: random.pick(&[0, 60]),
            features: Features::new(random),
            shards,
            ways,
            listeners,
        }
    }
}

impl Plan {
    /// A listener of a shard, as the kernel numbers them; the last one of each echoes.
    pub(super) fn listener(&self, shard: usize, listener: usize) -> usize {
        shard * (self.listeners.len() + usize::from(self.ways.echoes > 0)) + listener
    }

    /// Nothing keeps the relay from passing on what it is asked to.
    pub(super) const fn has_steady_relay(&self) -> bool {
        self.rates.relay_gone == 0 && self.rates.relay_slow == 0
    }

    /// Where a client comes from.
    pub(super) fn address(&self, client: usize) -> IpAddr {
        let place = client % self.sources;
        if self.ipv6 {
            // Clients of one place have its /64 in common, eight places their /48.
            let (site, network, own) = ((place / 8) as u16, (place % 8) as u16, client as u16);
            Ipv6Addr::new(0x2001, 0xdb8, site, network, 0, 0, 0, own).into()
        } else {
            Ipv4Addr::new(10, 0, (place / 250) as u8, (place % 250) as u8).into()
        }
    }

    /// The network carries whatever one connection may be owed within a second or two.
    pub(super) fn is_swift(&self) -> bool {
        self.socket_bytes >= 16_384 && self.latency <= Duration::from_millis(10) && self.pace < LONG_PACE
    }
}

/// A network that moves something every so often only is slow.
const LONG_PACE: Duration = Duration::from_millis(100);

impl Rates {
    fn new(random: &mut Random) -> Self {
        Self {
            late: random.rate(400),
            spurious: random.rate(60),
            stale: random.rate(60),
            fragment: random.rate(500),
            short_send: random.rate(300),
            no_descriptor: random.rate(200),
            aborted: random.rate(100),
            unwatched: random.rate(20),
            reset: random.rate(8),
            half_close: random.rate(6),
            garbage: random.rate(8),
            deaf: random.rate(5),
            mute: random.rate(200),
            slow: random.rate(200),
            drip: random.rate(200),
            idle: random.rate(150),
            relay_gone: random.rate(15),
            relay_slow: random.rate(15),
            wall: random.rate(10),
            stall: random.rate(8),
            apply: random.rate(20),
            slow_signer: random.rate(600),
            signer: random.rate(200),
        }
    }
}
