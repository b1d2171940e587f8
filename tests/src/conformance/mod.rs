//! What tools of others say about a running edge, kept in the tree, and why each of their warnings is no fault of it.

pub mod slow;
pub mod tls;
pub mod websocket;

use std::fmt::Write;

/// What a tool calls better than it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it belongs, and what it is called there.
    pub name: String,
    /// What was found.
    pub text: String,
    /// Whether the tool warns.
    pub warning: bool,
}

/// Why a warning is no fault: part of the finding's name, part of its text, and the reason.
pub type Reason = (&'static str, &'static str, &'static str);

/// A text of all findings, the same for the same edge; warnings with their reasons. The second value is those without one.
pub fn account(title: &str, findings: &[Finding], reasons: &[Reason]) -> (String, Vec<Finding>) {
    let mut text = format!("== {title}\n");
    let mut unexplained = Vec::new();
    for finding in findings {
        let Finding { name, text: found, warning } = finding;
        if !warning {
            let _ = writeln!(text, "        {name}: {found}");
            continue;
        }
        let _ = writeln!(text, "warning {name}: {found}");
        match reasons.iter().find(|(part, word, _)| name.contains(part) && found.contains(word)) {
            Some((_, _, reason)) => {
                let _ = writeln!(text, "        no fault: {reason}");
            }
            None => {
                text.push_str("        UNEXPLAINED\n");
                unexplained.push(finding.clone());
            }
        }
    }
    (text, unexplained)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_without_a_reason_is_told_apart() {
        let finding =
            |name: &str, warning| Finding { name: name.to_owned(), text: "weak".to_owned(), warning };
        let findings = [finding("suite", false), finding("hsts", true), finding("curve", true)];
        let (text, unexplained) = account("x", &findings, &[("hsts", "weak", "no page is served")]);
        assert_eq!(unexplained, [finding("curve", true)]);
        assert_eq!(
            text,
            "== x\n        suite: weak\nwarning hsts: weak\n        no fault: no page is served\n\
             warning curve: weak\n        UNEXPLAINED\n"
        );
    }
}
