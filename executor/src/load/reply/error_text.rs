//! Error texts of servers, made fit for a column: one line, bounded, without the key.

use std::fmt;

/// The most characters of an error text.
const LIMIT: usize = 500;

/// What stands for a secret.
const MASK: &str = "[redacted]";

/// A word after `Bearer` that is at least this long is taken for a key.
const KEY_LENGTH: usize = 16;

/// What error texts must not show. Its `Debug` shows nothing either.
#[derive(Clone, Default)]
pub struct Redaction {
    secret: Option<Box<str>>,
}

impl Redaction {
    /// For requests that carry no key.
    pub fn none() -> Self {
        Self::default()
    }

    /// For requests that carry `secret`, in whatever header.
    pub fn of(secret: &str) -> Self {
        let secret = secret.trim();
        Self {
            secret: (!secret.is_empty()).then(|| secret.into()),
        }
    }

    /// `raw` on one line of at most 500 characters, without the secret and without any other
    /// long word that follows `Bearer`.
    pub(super) fn error_text(&self, raw: &str) -> String {
        // Before anything is cut or joined, so that no part of the secret is left over.
        let open = match &self.secret {
            Some(secret) => raw.replace(&**secret, MASK),
            None => raw.to_string(),
        };
        let mut line = String::new();
        let mut after_bearer = false;
        let words = open.split(|c: char| c.is_whitespace() || c.is_control());
        for word in words.filter(|word| !word.is_empty()) {
            if !line.is_empty() {
                line.push(' ');
            }
            let is_key = after_bearer && word.len() >= KEY_LENGTH;
            line.push_str(if is_key { MASK } else { word });
            after_bearer = word
                .trim_start_matches(|c: char| !c.is_alphanumeric())
                .eq_ignore_ascii_case("bearer");
        }
        match line.char_indices().nth(LIMIT - 1) {
            Some((cut, last)) if cut + last.len_utf8() < line.len() => {
                line.truncate(cut);
                line.push('…');
                line
            }
            _ => line,
        }
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redaction(..)")
    }
}

/// The title of a web page, which mostly is the error that it tells of; `None` if it has none.
pub(super) fn page_title(page: &str) -> Option<&str> {
    // Case matters to no browser, and this changes no byte's place.
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title>")? + "<title>".len();
    let length = lower[start..].find("</title>")?;
    let title = page[start..start + length].trim();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_control_characters_become_single_spaces() {
        let text = Redaction::none().error_text("  a\r\n\tb\u{0}c\u{1b}[31m  ");
        assert_eq!(text, "a b c [31m");
    }

    #[test]
    fn long_texts_end_in_an_ellipsis_at_500_characters() {
        let redaction = Redaction::none();
        let fits = "ü".repeat(500);
        assert_eq!(redaction.error_text(&fits), fits);
        let long = redaction.error_text(&"ü".repeat(501));
        assert_eq!(long.chars().count(), 500);
        assert!(long.ends_with("ü…"));
    }

    #[test]
    fn the_key_is_not_shown() {
        let redaction = Redaction::of(" sk-1234 ");
        assert_eq!(
            redaction.error_text("key sk-1234 (header \"Bearer sk-1234\") is wrong"),
            "key [redacted] (header \"Bearer [redacted]\") is wrong"
        );
        assert_eq!(format!("{redaction:?}"), "Redaction(..)");
        let at_the_cut = format!("{}sk-1234", "x".repeat(496));
        assert!(!redaction.error_text(&at_the_cut).contains("sk-"));
    }

    #[test]
    fn another_key_after_bearer_is_not_shown_either() {
        let redaction = Redaction::none();
        assert_eq!(
            redaction.error_text("authorization: bearer abcdefghijklmnop0123"),
            "authorization: bearer [redacted]"
        );
        assert_eq!(
            redaction.error_text("a Bearer token is needed"),
            "a Bearer token is needed"
        );
    }

    #[test]
    fn an_empty_key_hides_nothing() {
        assert_eq!(Redaction::of("").error_text("abc"), "abc");
    }

    #[test]
    fn a_page_is_told_by_its_title() {
        let page = "<html><head><TITLE> 502 Bad Gateway</Title></head>";
        assert_eq!(page_title(page), Some("502 Bad Gateway"));
        assert_eq!(page_title("<html><title></title>"), None);
        assert_eq!(page_title("<html>"), None);
    }
}
