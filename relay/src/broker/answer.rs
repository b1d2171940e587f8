//! Questions of shards: subscribe with recovery, history, and refusals.

use std::time::Duration;

use wire::code::{self, ErrorCode};
use wire::frame;
use wire::limits::RECOVERY_BYTES_MAX;
use wire::link::{Position, Publication, ToShard};
use wire::settings::Namespace;

use super::Broker;
use crate::stream::Kept;
use crate::{LinkId, Stream};

/// `ToRelay::History` in one piece.
pub(super) struct HistoryQuestion<'a> {
    pub(super) request: u32,
    pub(super) channel: &'a str,
    pub(super) since: Option<Position<'a>>,
    pub(super) limit: i32,
    pub(super) reverse: bool,
}

/// What a subscriber wants back.
#[derive(Clone, Copy)]
pub(super) struct Recovery<'a> {
    /// Where it was.
    pub(super) position: Position<'a>,
    /// The last publication is enough.
    pub(super) latest: bool,
}

impl Broker {
    /// A channel's options, or why it cannot be.
    pub(super) fn admit(&self, channel: &str) -> Result<&Namespace, ErrorCode> {
        self.settings.channel(channel)
    }

    /// The channel's place in the table, made if there is room.
    pub(super) fn open(&mut self, channel: &str) -> Result<u32, ErrorCode> {
        let (index, forgotten) = self.channels.open(channel, &self.limits);
        self.counters.streams_forgotten += forgotten;
        self.counters.channels_refused += u64::from(index.is_none());
        index.ok_or(code::LIMIT_EXCEEDED)
    }

    /// The channel with its stream begun, publications over their time gone, and its position renewed.
    pub(super) fn open_stream(&mut self, now: Duration, channel: &str, kept: Kept) -> Result<u32, ErrorCode> {
        let index = self.open(channel)?;
        self.channels.stream(index, now, kept);
        self.channels.change(index, |channel| channel.stream.as_mut().map(|stream| stream.expire(now)));
        Ok(index)
    }

    pub(super) fn subscribe(
        &mut self,
        now: Duration,
        link: LinkId,
        request: u32,
        channel: &str,
        recover: Option<Recovery<'_>>,
    ) {
        let kept = match self.admit(channel).map(Self::kept) {
            Ok(kept) => kept,
            Err(error) => return self.fail(link, request, error),
        };
        let opened = match kept {
            Some(kept) => self.open_stream(now, channel, kept),
            None => self.open(channel),
        };
        let index = match opened {
            Ok(index) => index,
            Err(error) => return self.fail(link, request, error),
        };
        self.channels.change(index, |channel| {
            if !channel.links.contains(&link) {
                channel.links.push(link);
            }
        });
        // The answer's position includes everything so far, so a gap must be closed before it, whatever room that takes.
        self.repair_channel(link, index, usize::MAX);
        self.answer_subscribed(link, request, index, kept.is_some(), recover);
    }

    /// What one answer may hold: it has to fit the backlog that its client may have, with room for what comes meanwhile, or the
    /// client would be closed as slow, come back and ask for the same.
    pub(super) fn answer_bytes_max(&self) -> usize {
        RECOVERY_BYTES_MAX.min(self.settings.client.queue_max_size as usize / 2)
    }

    pub(super) fn answer_subscribed(
        &mut self,
        link: LinkId,
        request: u32,
        index: u32,
        history: bool,
        recover: Option<Recovery<'_>>,
    ) {
        let limit = self.settings.client.recovery_max_publication_limit as usize;
        let stream = self.channels.channel(index).and_then(|channel| channel.stream.as_deref());
        let stream = stream.filter(|_| history);
        let publications = match (stream, recover) {
            (Some(stream), Some(Recovery { position, latest: true })) => latest(stream, position),
            (Some(stream), Some(asked)) => recovered(stream, asked.position, limit, self.answer_bytes_max()),
            _ => None,
        };
        match (recover, &publications) {
            (Some(_), Some(_)) => self.counters.recovered += 1,
            (Some(_), None) => self.counters.unrecovered += 1,
            _ => {}
        }
        let epoch = stream.map(Stream::epoch);
        let message = ToShard::Subscribed {
            request,
            offset: stream.map_or(0, Stream::top),
            epoch: epoch.as_ref().map_or("", |epoch| epoch.as_str()),
            recovered: publications.is_some(),
            publications: publications.unwrap_or_default(),
        };
        let mut frame = Vec::new();
        let encoded = frame::encode(&message, &mut frame);
        self.queue_or_fail(link, request, encoded, frame);
    }

    pub(super) fn history(&mut self, now: Duration, link: LinkId, question: &HistoryQuestion<'_>) {
        match self.read_history(now, question) {
            Ok(frame) => self.queue_or_fail(link, question.request, Ok(()), frame),
            Err(error) => self.fail(link, question.request, error),
        }
    }

    fn read_history(&mut self, now: Duration, question: &HistoryQuestion<'_>) -> Result<Vec<u8>, ErrorCode> {
        let kept = Self::kept(self.admit(question.channel)?).ok_or(code::NOT_AVAILABLE)?;
        let index = self.open_stream(now, question.channel, kept)?;
        let stream = self.channels.channel(index).and_then(|channel| channel.stream.as_deref());
        let stream = stream.ok_or(code::INTERNAL)?;
        let most = self.settings.client.history_max_publication_limit as usize;
        let limit = usize::try_from(question.limit).map_or(most, |limit| limit.min(most));
        let epoch = stream.epoch();
        let message = ToShard::History {
            request: question.request,
            offset: stream.top(),
            epoch: epoch.as_str(),
            publications: page(stream, question.since, limit, self.answer_bytes_max(), question.reverse)?,
        };
        let mut frame = Vec::new();
        frame::encode(&message, &mut frame).map_err(|_| code::LIMIT_EXCEEDED)?;
        Ok(frame)
    }

    pub(super) fn fail(&mut self, link: LinkId, request: u32, error: ErrorCode) {
        self.queue_message(link, &ToShard::Failed { request, code: error.code });
    }

    /// An answer whose encoding may have been too large is still an answer.
    pub(super) fn queue_or_fail(
        &mut self,
        link: LinkId,
        request: u32,
        encoded: Result<(), frame::FrameError>,
        frame: impl AsRef<[u8]>,
    ) {
        match encoded {
            Ok(()) => self.queue_answer(link, frame.as_ref()),
            Err(_) => self.fail(link, request, code::LIMIT_EXCEEDED),
        }
    }
}

/// What came after `asked`: all of it, or `None`. Never a part.
fn recovered<'a>(
    stream: &'a Stream,
    asked: Position<'_>,
    limit: usize,
    bytes_max: usize,
) -> Option<Vec<Publication<'a>>> {
    let places = stream.after(asked)?;
    if places.len() > limit {
        return None;
    }
    let bytes: usize = stream.frames(places.clone()).map(|(_, frame)| frame.len()).sum();
    if bytes > bytes_max {
        return None;
    }
    Some(stream.frames(places).filter_map(|(_, frame)| publication(frame)).collect())
}

/// The last publication, or none when that is where the asking one was; `None` when it is gone.
fn latest<'a>(stream: &'a Stream, asked: Position<'_>) -> Option<Vec<Publication<'a>>> {
    let (_, frame) = stream.frames(0..stream.len()).next_back()?;
    let there = asked.offset > 0 && asked.offset == stream.top() && asked.epoch == stream.epoch().as_str();
    Some(if there { Vec::new() } else { publication(frame).into_iter().collect() })
}

/// One page of history, at most `limit` publications and as many as fit an answer.
fn page<'a>(
    stream: &'a Stream,
    since: Option<Position<'_>>,
    limit: usize,
    bytes_max: usize,
    reverse: bool,
) -> Result<Vec<Publication<'a>>, ErrorCode> {
    let (first, end) = (stream.first(), stream.top() + 1);
    let mut offsets = first..end;
    if let Some(since) = since {
        let other_epoch = !since.epoch.is_empty() && since.epoch != stream.epoch().as_str();
        if other_epoch || since.offset > stream.top() {
            return Err(code::UNRECOVERABLE_POSITION);
        }
        offsets = match reverse {
            true => first..since.offset.max(first),
            false => (since.offset + 1).max(first)..end,
        };
    }
    // Fits: the kept publications are counted by a usize.
    let places = (offsets.start - first) as usize..(offsets.end - first) as usize;
    let frames = stream.frames(places);
    let mut bytes = 0;
    let fits = |(_, frame): &(u64, &[u8])| {
        bytes += frame.len();
        bytes <= bytes_max
    };
    let decode = |(_, frame): (u64, &'a [u8])| publication(frame);
    Ok(if reverse {
        frames.rev().take(limit).take_while(fits).filter_map(decode).collect()
    } else {
        frames.take(limit).take_while(fits).filter_map(decode).collect()
    })
}

/// The publication in a stored frame.
fn publication(frame: &[u8]) -> Option<Publication<'_>> {
    let (body, _) = frame::split(frame).ok().flatten()?;
    match frame::decode(body) {
        Ok(ToShard::Publication { publication, .. }) => Some(publication),
        _ => {
            debug_assert!(false, "streams hold publications that were encoded here");
            None
        }
    }
}
