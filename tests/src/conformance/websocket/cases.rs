//! The table of cases, group by group.

use std::time::Duration;

use super::play::frame;
use super::{Case, End, Event, Step, compressed};

const FIN: u8 = 0x80;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = FIN | 8;
const PING: u8 = FIN | 9;
const PONG: u8 = FIN | 10;

/// How long nothing has to come for it to be silence.
const SILENCE: Duration = Duration::from_millis(150);
/// The same where something is expected.
const PATIENCE: Duration = Duration::from_secs(3);
/// A word of Greek, whose letters take two and three bytes.
const GREEK: &[u8] = "κ\u{1f79}σμε".as_bytes();
/// [`GREEK`], a surrogate, ASCII.
const SURROGATE: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
const HELLO: &[u8] = b"Hello, world!";
const BYTES: &[u8] = &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];

/// Every case, in Autobahn's order.
pub fn all() -> Vec<Case> {
    let groups = [framing(), pings(), reserved_bits(), opcodes(), fragments(), text(), closes(), limits()];
    let mut all: Vec<Case> = groups.into_iter().flatten().collect();
    let stars = vec![b'*'; 65_536];
    all.push(echoed("10.1.1", split(TEXT, &stars, 1300).concat(), None, [Event::Text(stars)]));
    debug_assert_eq!(all.len(), 301);
    all.extend(compressed::cases());
    all
}

/// The client sends, hears what it waits for, and closes.
fn echoed(
    name: impl Into<String>,
    bytes: Vec<u8>,
    chop: Option<usize>,
    events: impl Into<Vec<Event>>,
) -> Case {
    let strict = events.into();
    Case {
        name: name.into(),
        offer: None,
        steps: vec![Step::Send { bytes, chop }],
        strict,
        lenient: None,
        end: End::ByClient,
        informational: false,
    }
}

/// The server fails the connection after these events, or before them.
fn failed(name: impl Into<String>, bytes: Vec<u8>, chop: Option<usize>, events: &[Event], code: u16) -> Case {
    let lenient = (!events.is_empty()).then(Vec::new);
    Case { lenient, end: End::ByServer(vec![code]), ..echoed(name, bytes, chop, events) }
}

/// The client's own close frame is among what it sends.
fn closing(name: impl Into<String>, bytes: Vec<u8>, events: &[Event], codes: &[u16], clean: bool) -> Case {
    Case { end: End::Sent { codes: codes.to_vec(), clean }, ..echoed(name, bytes, None, events) }
}

/// A message in fragments of so many bytes.
fn split(opcode: u8, payload: &[u8], bytes: usize) -> Vec<Vec<u8>> {
    let last = payload.len().div_ceil(bytes).max(1) - 1;
    let part = |(index, part): (usize, &[u8])| {
        let opcode = if index == 0 { opcode } else { CONTINUE };
        frame(if index == last { FIN | opcode } else { opcode }, part)
    };
    payload.chunks(bytes).enumerate().map(part).collect()
}

fn framing() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, opcode, byte) in [("1.1", TEXT, b'*'), ("1.2", BINARY, 0xfe)] {
        let sizes = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536];
        for (index, size) in sizes.into_iter().enumerate() {
            let payload = vec![byte; size];
            let chop = (index == 7).then_some(997);
            let bytes = frame(FIN | opcode, &payload);
            let name = format!("{group}.{}", index + 1);
            cases.push(echoed(name, bytes, chop, [message(opcode, payload)]));
        }
    }
    cases
}

fn message(opcode: u8, payload: Vec<u8>) -> Event {
    if opcode == TEXT { Event::Text(payload) } else { Event::Binary(payload) }
}

fn said(text: &[u8]) -> Event {
    Event::Text(text.to_vec())
}

fn pong(payload: &[u8]) -> Event {
    Event::Pong(payload.to_vec())
}

fn pings() -> Vec<Case> {
    let long = [0xfe; 126];
    let answered = |name, payload: &[u8], chop| echoed(name, frame(PING, payload), chop, [pong(payload)]);
    let silent = |name, bytes| {
        let case = echoed(name, bytes, None, [Event::Silence]);
        Case { steps: [case.steps, vec![Step::Wait(SILENCE)]].concat(), ..case }
    };
    let many: Vec<_> = (0..10).map(|number| format!("payload-{number}").into_bytes()).collect();
    let ten: Vec<u8> = many.iter().flat_map(|payload| frame(PING, payload)).collect();
    let pongs: Vec<_> = many.iter().map(|payload| pong(payload)).collect();
    let unasked = [frame(PONG, b"unsolicited pong payload"), frame(PING, b"ping payload")].concat();
    vec![
        answered("2.1", b"", None),
        answered("2.2", HELLO, None),
        answered("2.3", BYTES, None),
        answered("2.4", &long[..125], None),
        failed("2.5", frame(PING, &long), None, &[], 1002),
        answered("2.6", &long[..125], Some(1)),
        silent("2.7", frame(PONG, b"")),
        silent("2.8", frame(PONG, b"unsolicited pong payload")),
        echoed("2.9", unasked, None, [pong(b"ping payload")]),
        echoed("2.10", ten.clone(), None, pongs.clone()),
        echoed("2.11", ten, Some(1), pongs),
    ]
}

fn reserved_bits() -> Vec<Case> {
    let bits = |bits: u8| bits << 4;
    let after = |number: u8, chop| {
        let frames = [frame(FIN | TEXT, HELLO), frame(FIN | TEXT | bits(number), HELLO), frame(PING, b"")];
        failed(format!("3.{number}"), frames.concat(), chop, &[said(HELLO)], 1002)
    };
    let mut third = after(3, None);
    third.steps = [frame(FIN | TEXT, HELLO), frame(FIN | TEXT | bits(3), HELLO), frame(PING, b"")]
        .map(|bytes| Step::Send { bytes, chop: None })
        .to_vec();
    vec![
        failed("3.1", frame(FIN | TEXT | bits(1), HELLO), None, &[], 1002),
        after(2, None),
        third,
        after(4, Some(1)),
        failed("3.5", frame(FIN | BINARY | bits(5), BYTES), None, &[], 1002),
        failed("3.6", frame(PING | bits(6), HELLO), None, &[], 1002),
        closing("3.7", frame(CLOSE | bits(7), b""), &[], &[1002], false),
    ]
}

fn opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, first) in [("4.1", 3), ("4.2", 11)] {
        for index in 0..5u8 {
            let payload: &[u8] = if matches!(index, 0 | 2) { b"" } else { b"reserved opcode payload" };
            let bad = frame(FIN | (first + index), payload);
            let name = format!("{group}.{}", index + 1);
            let chop = (index == 4).then_some(1);
            if index < 2 {
                cases.push(failed(name, bad, chop, &[], 1002));
            } else {
                let frames = [frame(FIN | TEXT, HELLO), bad, frame(PING, b"")].concat();
                cases.push(failed(name, frames, chop, &[said(HELLO)], 1002));
            }
        }
    }
    cases
}

fn fragments() -> Vec<Case> {
    let both = said(b"fragment1fragment2");
    let last = frame(FIN | CONTINUE, b"fragment2");
    let two = [frame(TEXT, b"fragment1"), last.clone()];
    let pinged = [frame(TEXT, b"fragment1"), frame(PING, b"ping payload"), last.clone()];
    let answered = [pong(b"ping payload"), both.clone()];
    let apart = |frames: &[Vec<u8>]| {
        let step = |bytes: &Vec<u8>| Step::Send { bytes: bytes.clone(), chop: None };
        frames.iter().map(step).collect::<Vec<_>>()
    };
    let mut cases = vec![
        failed("5.1", [frame(PING & !FIN, b"fragment1"), last.clone()].concat(), None, &[], 1002),
        failed("5.2", [frame(PONG & !FIN, b"fragment1"), last].concat(), None, &[], 1002),
        Case { steps: apart(&two), ..echoed("5.3", Vec::new(), None, [both.clone()]) },
        echoed("5.4", two.concat(), None, [both.clone()]),
        echoed("5.5", two.concat(), Some(1), [both.clone()]),
        Case { steps: apart(&pinged), ..echoed("5.6", Vec::new(), None, answered.clone()) },
        echoed("5.7", pinged.concat(), None, answered.clone()),
        echoed("5.8", pinged.concat(), Some(1), answered),
    ];
    for (number, first) in [(9, FIN | CONTINUE), (12, CONTINUE)] {
        let frames = [frame(first, b"non-continuation payload"), frame(FIN | TEXT, HELLO)];
        let name = |more: u8| format!("5.{}", number + more);
        cases.push(failed(name(0), frames.concat(), None, &[], 1002));
        cases.push(Case { steps: apart(&frames), ..failed(name(1), Vec::new(), None, &[], 1002) });
        cases.push(failed(name(2), frames.concat(), Some(1), &[], 1002));
    }
    let behind = [two.concat(), frame(CONTINUE, b"fragment3"), frame(FIN | TEXT, b"fragment4")];
    cases.push(failed("5.15", behind.concat(), None, &[both], 1002));
    for (name, first) in [("5.16", CONTINUE), ("5.17", FIN | CONTINUE)] {
        let once =
            [frame(first, b"fragment1"), frame(TEXT, b"fragment2"), frame(FIN | CONTINUE, b"fragment3")];
        cases.push(failed(name, once.concat().repeat(2), None, &[], 1002));
    }
    let twice = [frame(TEXT, b"fragment1"), frame(FIN | TEXT, b"fragment2")].concat();
    cases.push(failed("5.18", twice, None, &[], 1002));
    cases.extend(["5.19", "5.20"].map(interleaved));
    cases
}

/// Five fragments with two pings between, and a pause in which the first has to be answered.
fn interleaved(name: &str) -> Case {
    let one = [frame(TEXT, b"fragment1"), frame(CONTINUE, b"fragment2"), frame(PING, b"pongme 1!")];
    let two = [
        frame(CONTINUE, b"fragment3"),
        frame(CONTINUE, b"fragment4"),
        frame(PING, b"pongme 2!"),
        frame(FIN | CONTINUE, b"fragment5"),
    ];
    let whole = said(b"fragment1fragment2fragment3fragment4fragment5");
    let events = [pong(b"pongme 1!"), Event::Silence, pong(b"pongme 2!"), whole];
    let mut case = echoed(name, Vec::new(), None, events);
    let send = |bytes| Step::Send { bytes, chop: None };
    case.steps = if name == "5.19" {
        vec![send(one.concat()), Step::Hear, Step::Wait(SILENCE), send(two.concat())]
    } else {
        let apart = one.into_iter().map(send).chain([Step::Hear, Step::Wait(SILENCE)]);
        apart.chain(two.into_iter().map(send)).collect()
    };
    case
}

fn text() -> Vec<Case> {
    let umlauts = "Hello-µ@ßöäüàá-UTF-8!!".as_bytes();
    let middle = [frame(TEXT, b""), frame(CONTINUE, b"middle frame payload"), frame(FIN | CONTINUE, b"")];
    let empty = [frame(TEXT, b""), frame(CONTINUE, b""), frame(FIN | CONTINUE, b"")];
    let mut cases = vec![
        echoed("6.1.1", frame(FIN | TEXT, b""), None, [said(b"")]),
        echoed("6.1.2", empty.concat(), None, [said(b"")]),
        echoed("6.1.3", middle.concat(), None, [said(b"middle frame payload")]),
        echoed("6.2.1", frame(FIN | TEXT, umlauts), None, [said(umlauts)]),
        echoed("6.2.2", split(TEXT, umlauts, 12).concat(), None, [said(umlauts)]),
        echoed("6.2.3", split(TEXT, umlauts, 1).concat(), None, [said(umlauts)]),
        echoed("6.2.4", split(TEXT, GREEK, 1).concat(), None, [said(GREEK)]),
        failed("6.3.1", frame(FIN | TEXT, SURROGATE), None, &[], 1007),
        failed("6.3.2", split(TEXT, SURROGATE, 1).concat(), None, &[], 1007),
    ];
    cases.extend(at_once());
    for (index, sequences) in sequences().into_iter().enumerate() {
        for (number, bytes) in sequences.into_iter().enumerate() {
            let name = format!("6.{}.{}", index + 5, number + 1);
            let sent = frame(FIN | TEXT, &bytes);
            cases.push(match std::str::from_utf8(&bytes) {
                Ok(_) => echoed(name, sent, None, [said(&bytes)]),
                Err(_) => failed(name, sent, None, &[], 1007),
            });
        }
    }
    cases
}

/// 6.4: text is refused at the byte that makes it invalid, in fragments and within a frame; at the end of the message is not strict.
fn at_once() -> Vec<Case> {
    let payload = [GREEK, b"\xf4\x90\x80\x80", b"edited"].concat();
    let cuts = [(11, 15), (12, 13)];
    let in_frames = cuts.map(|(a, b)| {
        [frame(TEXT, &payload[..a]), frame(CONTINUE, &payload[a..b]), frame(FIN | CONTINUE, &payload[b..])]
    });
    let head = frame(FIN | TEXT, &payload).len() - payload.len();
    let in_chops = cuts.map(|(a, b)| {
        let whole = frame(FIN | TEXT, &payload);
        [whole[..head + a].to_vec(), whole[head + a..head + b].to_vec(), whole[head + b..].to_vec()]
    });
    let numbered = in_frames.into_iter().chain(in_chops).zip(["6.4.1", "6.4.2", "6.4.3", "6.4.4"]);
    let case = |([one, two, three], name): ([Vec<u8>; 3], &str)| {
        let send = |bytes| Step::Send { bytes, chop: None };
        Case {
            steps: vec![send(one), Step::Wait(SILENCE), send(two), Step::Wait(PATIENCE), send(three)],
            lenient: Some(vec![Event::Silence, Event::Silence]),
            ..failed(name, Vec::new(), None, &[Event::Silence], 1007)
        }
    };
    numbered.map(case).collect()
}

/// 6.5 to 6.23: Markus Kuhn's stress test of UTF-8 decoders, as Autobahn has it; most are invalid.
fn sequences() -> Vec<Vec<Vec<u8>>> {
    let list = |all: &[&[u8]]| all.iter().map(|bytes| bytes.to_vec()).collect::<Vec<_>>();
    let incomplete: [&[u8]; 10] = [
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ];
    let lonely = [(0xc0, 0xdf), (0xe0, 0xef), (0xf0, 0xf7), (0xf8, 0xfb), (0xfc, 0xfd)];
    let lonely = lonely.map(|(from, to)| (from..to).flat_map(|byte| [byte, b' ']).collect::<Vec<u8>>());
    let mut stray: Vec<Vec<u8>> = list(&[b"\x80", b"\xbf"]);
    stray.extend((2..=6).map(|count| [0x80, 0xbf].into_iter().cycle().take(count).collect()));
    stray.push((0x80..0xbf).collect());
    let greetings = ["hello$world", "hello¢world", "hello€world", "hello\u{24b62}world"].map(str::as_bytes);
    vec![
        list(&[&greetings[..], &[GREEK]].concat()),
        (1..=GREEK.len()).map(|end| GREEK[..end].to_vec()).collect(),
        list(&[b"\0", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]),
        list(&[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
        list(&[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"]),
        list(&[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]),
        list(&[b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"]),
        stray,
        lonely.to_vec(),
        list(&incomplete),
        vec![incomplete.concat()],
        list(&[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
        overlong(b"\xaf"),
        list(&[
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf8\x87\xbf\xbf\xbf",
            b"\xfc\x83\xbf\xbf\xbf\xbf",
        ]),
        overlong(b"\x80"),
        surrogates(&[0xd800, 0xdb7f, 0xdb80, 0xdbff, 0xdc00, 0xdf80, 0xdfff], &[]),
        surrogates(&[0xd800, 0xdb7f, 0xdb80, 0xdbff], &[0xdc00, 0xdfff]),
        no_characters(),
        (0xfff9..=0xffff_u32).filter_map(char::from_u32).map(utf8).collect(),
    ]
}

fn utf8(character: char) -> Vec<u8> {
    character.to_string().into_bytes()
}

/// A character in two to six bytes, of which none but the last says anything.
fn overlong(last: &[u8]) -> Vec<Vec<u8>> {
    let heads = [&b"\xc0"[..], b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80"];
    heads.iter().map(|head| [*head, last].concat()).collect()
}

/// Halves of UTF-16 pairs in three bytes each: the first alone, or each with each of the second.
fn surrogates(first: &[u16], second: &[u16]) -> Vec<Vec<u8>> {
    let half = |code: &u16| vec![0xed, 0x80 | (code >> 6 & 0x3f) as u8, 0x80 | (code & 0x3f) as u8];
    if second.is_empty() {
        return first.iter().map(half).collect();
    }
    let pairs = first.iter().flat_map(|high| second.iter().map(move |low| (high, low)));
    pairs.map(|(high, low)| [half(high), half(low)].concat()).collect()
}

/// The two last code points of every plane: no characters, but valid.
fn no_characters() -> Vec<Vec<u8>> {
    let planes = (0..=16).flat_map(|plane: u32| [plane << 16 | 0xfffe, plane << 16 | 0xffff]);
    planes.filter_map(char::from_u32).map(utf8).collect()
}

fn closes() -> Vec<Case> {
    let normal = [3, 232];
    let bye = frame(CLOSE, &normal);
    let behind = |more: Vec<u8>| [bye.clone(), more].concat();
    let reason = |bytes: &[u8]| frame(CLOSE, &[&normal[..], bytes].concat());
    let clean = |name, bytes| closing(name, bytes, &[], &[1000], true);
    let begun = [frame(TEXT, b"fragment1"), bye.clone(), frame(FIN | CONTINUE, b"fragment2")].concat();
    let large: Vec<u8> = b"BAsd7&jh23".iter().copied().cycle().take(256 << 10).collect();
    let sixth = [frame(FIN | TEXT, &large), frame(FIN | TEXT, HELLO), bye.clone(), frame(PING, b"")].concat();
    let mut cases = vec![
        echoed("7.1.1", frame(FIN | TEXT, HELLO), None, [said(HELLO)]),
        clean("7.1.2", behind(bye.clone())),
        clean("7.1.3", behind(frame(PING, b""))),
        clean("7.1.4", behind(frame(FIN | TEXT, HELLO))),
        clean("7.1.5", begun),
        Case { informational: true, ..clean("7.1.6", sixth) },
        clean("7.3.1", frame(CLOSE, b"")),
        closing("7.3.2", frame(CLOSE, b"a"), &[], &[1002], false),
        clean("7.3.3", bye.clone()),
        clean("7.3.4", reason(b"Hello World!")),
        clean("7.3.5", reason(&[b'*'; 123])),
        closing("7.3.6", reason(&[b'*'; 124]), &[], &[1002], false),
        closing("7.5.1", reason(SURROGATE), &[], &[1002, 1007], false),
    ];
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    for (index, code) in valid.into_iter().enumerate() {
        let name = format!("7.7.{}", index + 1);
        cases.push(closing(name, frame(CLOSE, &u16::to_be_bytes(code)), &[], &[1000, code], true));
    }
    for (index, code) in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999].into_iter().enumerate() {
        let name = format!("7.9.{}", index + 1);
        cases.push(closing(name, frame(CLOSE, &u16::to_be_bytes(code)), &[], &[1002], false));
    }
    for (index, code) in [5000, 65_535].into_iter().enumerate() {
        let name = format!("7.13.{}", index + 1);
        let case = closing(name, frame(CLOSE, &u16::to_be_bytes(code)), &[], &[1002], false);
        cases.push(Case { informational: true, ..case });
    }
    cases
}

fn limits() -> Vec<Case> {
    let kinds = [(0, TEXT, b'*'), (1, BINARY, 0xfe)];
    let mut cases = Vec::new();
    for (more, opcode, byte) in kinds {
        for (index, size) in
            [64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20].into_iter().enumerate()
        {
            let payload = vec![byte; size];
            let name = format!("9.{}.{}", 1 + more, index + 1);
            cases.push(echoed(name, frame(FIN | opcode, &payload), None, [message(opcode, payload)]));
        }
    }
    for (more, opcode, byte) in kinds {
        let payload = vec![byte; 4 << 20];
        for index in 0..9 {
            let name = format!("9.{}.{}", 3 + more, index + 1);
            let frames = split(opcode, &payload, 64 << (2 * index)).concat();
            cases.push(echoed(name, frames, None, [message(opcode, payload.clone())]));
        }
    }
    for (more, opcode, byte) in kinds {
        let payload = vec![byte; 1 << 20];
        for index in 0..6 {
            let name = format!("9.{}.{}", 5 + more, index + 1);
            let bytes = frame(FIN | opcode, &payload);
            cases.push(echoed(name, bytes, Some(64 << index), [message(opcode, payload.clone())]));
        }
    }
    for (more, opcode, byte) in kinds {
        for (index, size) in [0, 16, 64, 256, 1024, 4096].into_iter().enumerate() {
            let payload = vec![byte; size];
            let bytes = frame(FIN | opcode, &payload);
            let echo = message(opcode, payload);
            let case = echoed(format!("9.{}.{}", 7 + more, index + 1), Vec::new(), None, Vec::new());
            cases.push(Case { steps: vec![Step::Repeat { bytes, echo, times: 1000 }], ..case });
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_cases_as_in_each_group_of_autobahn() {
        let all = all();
        let count = |group: &str| all.iter().filter(|case| case.name.starts_with(group)).count();
        let groups = ["1.", "2.", "3.", "4.", "5.", "6.", "7.", "9.", "10."].map(count);
        assert_eq!(groups, [16, 11, 7, 10, 20, 145, 37, 54, 1]);
        assert_eq!([count("6.5."), count("6.6."), count("6.12."), count("6.22.")], [5, 11, 8, 34]);
    }
}
