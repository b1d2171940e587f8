//! How the table of limits is made: one row per limit, with how to read it, what is needed, why, and what mends it.

use crate::{Host, Limit, Needs, Reading, Want, Weight};

/// One limit, before a machine and needs are known.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) weight: Weight,
    pub(crate) why: &'static str,
    pub(crate) present: Present,
    /// `None` when the limit does not matter for these needs.
    pub(crate) needed: fn(&Needs) -> Option<Want>,
    pub(crate) mend: Mend,
    /// Most machines do not have it, and are not worse for that.
    pub(crate) optional: bool,
}

/// Where the present value is found.
pub(crate) enum Present {
    /// In the sysctl of the row's name, the number at this place.
    Sysctl(usize),
    /// In the sysctl of the row's name, a word.
    SysctlWord,
    /// Elsewhere; `None` when the limit does not exist there.
    Read(fn(&Host, &Needs) -> Option<Reading>),
}

/// What mends a limit.
pub(crate) enum Mend {
    /// Writing this value to the sysctl of the row's name.
    Sysctl(fn(u64) -> String),
    /// Something that takes words.
    Words(fn(&Host, &Needs, u64) -> String),
}

impl Row {
    /// A row about a sysctl that is one number.
    pub(crate) const fn sysctl(
        name: &'static str,
        weight: Weight,
        needed: fn(&Needs) -> Option<Want>,
        why: &'static str,
    ) -> Self {
        let mend = Mend::Sysctl(|value| value.to_string());
        Self { name, weight, why, present: Present::Sysctl(0), needed, mend, optional: false }
    }

    pub(crate) fn limit(&self, host: &Host, needs: &Needs) -> Option<Limit> {
        let needed = (self.needed)(needs)?;
        let present = match self.present {
            Present::Sysctl(place) => Reading::Number(*host.sysctl(self.name)?.get(place)?),
            Present::SysctlWord => Reading::Word(host.sysctl_text(self.name)?),
            Present::Read(read) => read(host, needs)?,
        };
        let fix = match self.mend {
            Mend::Sysctl(value) => format!("sysctl -w {}=\"{}\"", self.name, value(needed.number())),
            Mend::Words(words) => words(host, needs, needed.number()),
        };
        Some(Limit { name: self.name.to_owned(), present, needed, weight: self.weight, why: self.why, fix })
    }
}
