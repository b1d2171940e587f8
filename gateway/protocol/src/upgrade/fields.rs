//! Header fields of a head: singletons, comma lists, and the shapes that are refused.

use httparse::Header;

/// The only value of a field that may come once; `Err` when it comes more often.
pub(crate) fn single<'a>(headers: &[Header<'a>], name: &str) -> Result<Option<&'a [u8]>, Repeated> {
    let mut values = all(headers, name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Repeated),
    }
}

/// A field that may come once came twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Repeated;

/// Every value of a field, in order.
pub(crate) fn all<'a>(headers: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// The elements of a comma list that may be spread over several fields; empty ones are skipped (RFC 9110 §5.6.1).
pub(crate) fn elements<'a>(headers: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    all(headers, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether a list holds an element, in any case.
pub(crate) fn has(headers: &[Header<'_>], name: &str, element: &str) -> bool {
    elements(headers, name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether every line ends in CRLF. The parser would take a lone LF, where another program may see another line.
pub(crate) fn lines_are_strict(head: &[u8]) -> bool {
    let mut before = 0;
    head.iter().all(|&byte| {
        let strict = byte != b'\n' || before == b'\r';
        before = byte;
        strict
    })
}
