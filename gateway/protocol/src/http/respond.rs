//! Responses: the head of a stream, short answers, and what a page is told that asks whether it may.

use std::io::Write;

use crate::{client::encoding::Encoding, framing::Framing, ws::Opcode};

/// What a client waits for that sends its body only then.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends the head of a response in chunks.
pub fn start(framing: Framing, encoding: Encoding, origin: Option<&[u8]>, last: bool, out: &mut Vec<u8>) {
    let kind = match (framing, encoding.frame_opcode()) {
        (Framing::Sse, _) => "text/event-stream; charset=utf-8",
        (_, Opcode::Text) => "application/json",
        _ => "application/octet-stream",
    };
    write(out, format_args!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"));
    // No proxy may keep it, nor hold it back.
    out.extend_from_slice(
        b"Cache-Control: private, no-cache, no-store, must-revalidate, max-age=0\r\nX-Accel-Buffering: no\r\n\
          X-Content-Type-Options: nosniff\r\n",
    );
    end(origin, last, out);
}

/// Appends a short answer.
pub fn respond(status: u16, origin: Option<&[u8]>, last: bool, out: &mut Vec<u8>) {
    let (phrase, sentence) = match status {
        204 => ("No Content", ""),
        400 => ("Bad Request", "The body is not an emulation request: {session, node, data}.\n"),
        404 => ("Not Found", "There is no such session: it has ended, or belongs to another edge.\n"),
        415 => ("Unsupported Media Type", "This encoding is not served: send JSON.\n"),
        _ => ("Service Unavailable", "The session cannot be reached now: try again later.\n"),
    };
    write(out, format_args!("HTTP/1.1 {status} {phrase}\r\n"));
    // RFC 9110 §8.6: none with 204.
    if status != 204 {
        let length = sentence.len();
        write(out, format_args!("Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n"));
    }
    end(origin, last, out);
    out.extend_from_slice(sentence.as_bytes());
}

/// Appends the answer to a browser's question whether a page may ask.
pub fn preflight(methods: &str, fields: &[u8], origin: Option<&[u8]>, last: bool, out: &mut Vec<u8>) {
    write(out, format_args!("HTTP/1.1 204 No Content\r\nAllow: {methods}\r\n"));
    if origin.is_some() {
        write(
            out,
            format_args!(
                "Access-Control-Allow-Methods: {methods}\r\nAccess-Control-Max-Age: {MAX_AGE_S}\r\n"
            ),
        );
        if !fields.is_empty() {
            out.extend_from_slice(b"Access-Control-Allow-Headers: ");
            out.extend_from_slice(fields);
            out.extend_from_slice(b"\r\n");
        }
    }
    end(origin, last, out);
}

/// How long a browser need not ask again; none keeps an answer for longer.
const MAX_AGE_S: u32 = 7200;

/// What every response has in the end: who may read it, and whether the connection goes on.
fn end(origin: Option<&[u8]>, last: bool, out: &mut Vec<u8>) {
    if let Some(origin) = origin {
        out.extend_from_slice(b"Access-Control-Allow-Origin: ");
        out.extend_from_slice(origin);
        out.extend_from_slice(b"\r\nAccess-Control-Allow-Credentials: true\r\n");
    }
    out.extend_from_slice(b"Vary: Origin\r\n");
    out.extend_from_slice(if last { b"Connection: close\r\n\r\n" } else { b"\r\n" });
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "writing to a Vec does not fail");
}
