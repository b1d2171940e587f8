//! Names with a number in them: `room-{n%1000}` is `room-0` for connection 0, 1000, 2000 ..

use std::fmt::Write;

/// A name per connection number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    number: Number,
    after: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Absent,
    Plain,
    Modulo(u32),
}

impl Pattern {
    /// Text with at most one `{n}` or `{n%M}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((before, rest)) = text.split_once('{') else {
            return Ok(Self { before: text.to_owned(), number: Number::Absent, after: String::new() });
        };
        let bad = || format!("{text:?}: what stands in braces is {{n}} or {{n%NUMBER}}, once");
        let (inside, after) = rest.split_once('}').ok_or_else(bad)?;
        let number = match inside.split_once('%') {
            None if inside == "n" => Number::Plain,
            Some(("n", modulus)) => {
                Number::Modulo(modulus.parse().ok().filter(|&modulus| modulus > 0).ok_or_else(bad)?)
            }
            _ => return Err(bad()),
        };
        if after.contains('{') {
            return Err(bad());
        }
        Ok(Self { before: before.to_owned(), number, after: after.to_owned() })
    }

    /// The name of connection `n`, in place of what `out` held.
    pub fn write(&self, n: u32, out: &mut String) {
        out.clear();
        out.push_str(&self.before);
        let number = match self.number {
            Number::Absent => None,
            Number::Plain => Some(n),
            Number::Modulo(modulus) => Some(n % modulus),
        };
        if let Some(number) = number {
            let _ = write!(out, "{number}");
        }
        out.push_str(&self.after);
    }

    /// The name of connection `n`.
    pub fn name(&self, n: u32) -> String {
        let mut name = String::new();
        self.write(n, &mut name);
        name
    }

    /// Different names among connections `0..count`; names `0..distinct` are all of them.
    pub fn distinct(&self, count: u32) -> u32 {
        match self.number {
            Number::Absent => count.min(1),
            Number::Plain => count,
            Number::Modulo(modulus) => count.min(modulus),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_where_the_braces_are() {
        assert_eq!(Pattern::parse("room-{n%1000}").unwrap().name(2_007), "room-7");
        assert_eq!(Pattern::parse("user:{n}#x").unwrap().name(42), "user:42#x");
        assert_eq!(Pattern::parse("news").unwrap().name(9), "news");
    }

    #[test]
    fn distinct_names_are_counted() {
        assert_eq!(Pattern::parse("news").unwrap().distinct(500), 1);
        assert_eq!(Pattern::parse("news").unwrap().distinct(0), 0);
        assert_eq!(Pattern::parse("{n}").unwrap().distinct(500), 500);
        assert_eq!(Pattern::parse("{n%7}").unwrap().distinct(500), 7);
        assert_eq!(Pattern::parse("{n%7}").unwrap().distinct(3), 3);
    }

    #[test]
    fn other_braces_are_refused() {
        for text in ["{", "{m}", "{n%0}", "{n%x}", "{n}{n}", "{n%-1}", "a{n%5000000000}"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
