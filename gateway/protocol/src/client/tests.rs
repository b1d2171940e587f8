//! What the tests of all codecs need: any command, with payloads of the codec's own.

use std::borrow::Cow;

use proptest::{collection::vec, option, prelude::*};

use super::command::{Connect, History, Publish, Request, Resume, Rpc, Since, SubRefresh, Subscribe};

/// Payloads are borrowed by the types under test: whoever makes them leaks a few kilobytes.
pub(super) type Payload = fn() -> BoxedStrategy<&'static [u8]>;

pub(super) fn text() -> impl Strategy<Value = Cow<'static, str>> {
    any::<String>().prop_map(Cow::Owned)
}

fn subscribe(payload: Payload) -> impl Strategy<Value = Request<'static>> {
    let flags = any::<(bool, bool, bool, bool)>();
    (text(), text(), text(), any::<u64>(), payload(), flags, text(), any::<i64>(), any::<i32>()).prop_map(
        |(channel, token, epoch, offset, data, flags, delta, flag, kind)| {
            let (recover, positioned, recoverable, join_leave) = flags;
            let filter: &[u8] = if recover { b"{}" } else { b"" };
            Request::Subscribe(Subscribe {
                channel,
                token,
                recover,
                epoch,
                offset,
                data,
                positioned,
                recoverable,
                join_leave,
                delta,
                filter,
                flag,
                kind,
            })
        },
    )
}

fn connect(payload: Payload) -> impl Strategy<Value = Request<'static>> {
    let resume = (text(), any::<bool>(), any::<u64>(), text())
        .prop_map(|(channel, recover, offset, epoch)| Resume { channel, recover, offset, epoch });
    (text(), payload(), text(), text(), vec(resume, 0..4)).prop_map(|(token, data, name, version, subs)| {
        Request::Connect(Connect { token, data, name, version, subs })
    })
}

fn history() -> impl Strategy<Value = Request<'static>> {
    let since = (any::<u64>(), text()).prop_map(|(offset, epoch)| Since { offset, epoch });
    (text(), any::<i32>(), option::of(since), any::<bool>()).prop_map(|(channel, limit, since, reverse)| {
        Request::History(History { channel, limit, since, reverse })
    })
}

/// Any command but a pong.
pub(super) fn request(payload: Payload) -> impl Strategy<Value = Request<'static>> {
    prop_oneof![
        connect(payload),
        Just(Request::Ping),
        subscribe(payload),
        text().prop_map(|channel| Request::Unsubscribe { channel }),
        (text(), payload()).prop_map(|(channel, data)| Request::Publish(Publish { channel, data })),
        text().prop_map(|channel| Request::Presence { channel }),
        text().prop_map(|channel| Request::PresenceStats { channel }),
        history(),
        (text(), payload()).prop_map(|(method, data)| Request::Rpc(Rpc { method, data })),
        payload().prop_map(|data| Request::Send { data }),
        text().prop_map(|token| Request::Refresh { token }),
        (text(), text()).prop_map(|(channel, token)| Request::SubRefresh(SubRefresh { channel, token })),
    ]
}
