//! Publishers and gateways of the bus bench: links to relays, without gateways behind them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use wire::link::{ToRelay, ToShard};
use wire::tags::Tags;

use super::Latency;
use crate::link::Link;
use crate::wait;
use crate::world::World;

/// Publications that are not answered yet.
const WINDOW: u32 = 256;

/// A channel's name.
pub(super) fn name(channel: usize) -> String {
    format!("bus:{channel}")
}

/// Whoever publishes, at another edge.
#[derive(Debug)]
pub(super) struct Publisher {
    link: Link,
    next: u32,
}

impl Publisher {
    pub(super) fn open(world: &World, gateway: u64) -> Result<Self> {
        Ok(Self { link: Link::open(&world.file("relay.sock"), gateway)?, next: 0 })
    }

    fn say(&mut self, channel: usize, data: &[u8]) -> Result<()> {
        self.next += 1;
        let (request, channel, tags) = (self.next, name(channel), Tags::NONE);
        self.link.say(&ToRelay::Publish {
            request,
            channel: &channel,
            data,
            info: None,
            tags,
            key: "",
            skip_history: false,
            delta: false,
        })
    }

    /// Hears what there is; how many were answered, and which requests were refused.
    fn hear(&mut self) -> Result<(u32, Vec<u32>)> {
        let (mut answered, mut refused) = (0, Vec::new());
        self.link.hear(|message| match message {
            ToShard::Published { .. } => answered += 1,
            ToShard::Failed { request, .. } => {
                answered += 1;
                refused.push(*request);
            }
            _ => {}
        })?;
        Ok((answered, refused))
    }

    /// Publishes for so long, as fast as it is answered; how many were made.
    pub(super) fn stream(&mut self, time: Duration, channels: usize, bytes: usize) -> Result<u64> {
        let until = wait::now() + time;
        self.keep(channels, bytes, |_| wait::now() < until)
    }

    /// One more.
    pub(super) fn one(&mut self) -> Result<()> {
        self.stream_count(1, 1, 1)
    }

    /// Publishes so many.
    pub(super) fn stream_count(&mut self, count: u64, channels: usize, bytes: usize) -> Result<()> {
        self.keep(channels, bytes, |made| made < count).map(|_| ())
    }

    fn keep(&mut self, channels: usize, bytes: usize, more: impl Fn(u64) -> bool) -> Result<u64> {
        let data = vec![b'x'; bytes];
        let (mut made, mut open) = (0u64, 0);
        loop {
            while open < WINDOW && more(made) {
                self.say(made as usize % channels, &data)?;
                (made, open) = (made + 1, open + 1);
            }
            if open == 0 {
                return Ok(made);
            }
            self.link.flush()?;
            let (answered, refused) = self.hear()?;
            open -= answered;
            refused.is_empty().then_some(()).context("a publication was refused")?;
        }
    }

    /// One publication at a time that says when it was made.
    pub(super) fn probes(&mut self, count: usize, pause: Duration) -> Result<Vec<Instant>> {
        let mut times = Vec::with_capacity(count);
        for number in 0..count {
            let data = format!("probe {number}");
            times.push(wait::now());
            self.say(0, data.as_bytes())?;
            self.link.flush()?;
            while self.hear()?.0 == 0 {}
            wait::pause(pause);
        }
        Ok(times)
    }

    /// One publication in each channel; what is refused is tried again.
    pub(super) fn once_each(&mut self, channels: usize, bytes: usize) -> Result<()> {
        let data = vec![b'x'; bytes];
        let mut due: Vec<usize> = (0..channels).rev().collect();
        let mut open = HashMap::new();
        while !due.is_empty() || !open.is_empty() {
            while open.len() < WINDOW as usize
                && let Some(channel) = due.pop()
            {
                self.say(channel, &data)?;
                open.insert(self.next, channel);
            }
            self.link.flush()?;
            let mut again = Vec::new();
            self.link.hear(|message| match message {
                ToShard::Published { request, .. } => drop(open.remove(request)),
                ToShard::Failed { request, .. } => again.extend(open.remove(request)),
                _ => {}
            })?;
            due.extend(again);
        }
        Ok(())
    }
}

/// Gateways that want channels: each a link.
#[derive(Debug)]
pub(super) struct Audience {
    links: Vec<Link>,
}

impl Audience {
    /// Opens links and waits until all of them have all channels.
    pub(super) fn open(world: &World, gateways: u64, channels: usize) -> Result<Self> {
        let open = |gateway| -> Result<Link> {
            let mut link = Link::open(&world.file("relay.sock"), 1000 + gateway)?;
            let mut left: Vec<usize> = (0..channels).collect();
            let mut open = HashMap::new();
            let mut request = 0;
            while !left.is_empty() || !open.is_empty() {
                while open.len() < 4 * WINDOW as usize
                    && let Some(channel) = left.pop()
                {
                    request += 1;
                    let name = name(channel);
                    link.say(&ToRelay::Subscribe { request, channel: &name, recover: None, latest: false })?;
                    open.insert(request, channel);
                }
                link.flush()?;
                link.hear(|message| match message {
                    ToShard::Subscribed { request, .. } => drop(open.remove(request)),
                    ToShard::Failed { request, .. } => left.extend(open.remove(request)),
                    _ => {}
                })?;
            }
            Ok(link)
        };
        Ok(Self { links: (0..gateways).map(open).collect::<Result<_>>()? })
    }

    /// Listens while `publish` does its work and says how many it made; every gateway has heard all of them in the end.
    pub(super) fn while_published(
        self,
        publisher: &mut Publisher,
        publish: impl FnOnce(&mut Publisher) -> Result<u64>,
    ) -> Result<(Self, u64)> {
        // Known only in the end; the last publication makes everybody look at it.
        let count = Arc::new(AtomicU64::new(u64::MAX));
        let listen = |mut link: Link| -> JoinHandle<Result<Link>> {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                let mut heard = 0;
                while heard < count.load(Relaxed) {
                    link.hear(|message| heard += u64::from(matches!(message, ToShard::Publication { .. })))?;
                }
                Ok(link)
            })
        };
        let listeners: Vec<_> = self.links.into_iter().map(listen).collect();
        let made = publish(publisher)?;
        count.store(made, Relaxed);
        publisher.one()?;
        let links = listeners.into_iter().map(|listener| joined(listener)?).collect::<Result<_>>()?;
        Ok((Self { links }, made))
    }

    /// How long probes take to the first gateway.
    pub(super) fn probes(
        mut self,
        publish: impl FnOnce() -> Result<Vec<Instant>>,
        count: usize,
    ) -> Result<(Self, Latency)> {
        let mut link = self.links.swap_remove(0);
        let listener = thread::spawn(move || -> Result<(Link, Vec<Instant>)> {
            let mut times = Vec::with_capacity(count);
            while times.len() < count {
                link.hear(|message| {
                    if matches!(message, ToShard::Publication { publication, .. } if publication.data.starts_with(b"probe")) {
                        times.push(wait::now());
                    }
                })?;
            }
            Ok((link, times))
        });
        let made = publish()?;
        let (link, heard) = joined(listener)??;
        self.links.push(link);
        let times = made.iter().zip(&heard).map(|(made, heard)| heard.saturating_duration_since(*made));
        Ok((self, Latency::of(times.collect())))
    }

    /// When the first channel and when the last one was heard of for the first time, counted from `began`.
    pub(super) fn each_once(
        mut self,
        channels: usize,
        began: Instant,
        publish: impl FnOnce() -> Result<()>,
    ) -> Result<(Duration, Duration)> {
        let mut link = self.links.swap_remove(0);
        let listener = thread::spawn(move || -> Result<(Instant, Instant)> {
            let (mut first, mut heard) = (None, HashSet::new());
            while heard.len() < channels {
                link.hear(|message| {
                    if let ToShard::Publication { channel, .. } = message {
                        first.get_or_insert_with(wait::now);
                        heard.insert((*channel).to_owned());
                    }
                })?;
            }
            Ok((first.context("nothing was heard")?, wait::now()))
        });
        publish()?;
        let (first, last) = joined(listener)??;
        Ok((first - began, last - began))
    }
}

fn joined<T>(thread: JoinHandle<T>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread of the bench panicked"))
}
