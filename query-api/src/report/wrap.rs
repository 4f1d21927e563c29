//! Lines of words that end before the edge.

use super::table::width;

/// Breaks a text at spaces into lines of at most `columns`; a word that is
/// longer has a line of its own and passes the edge, so that it can be copied.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_words_stay_whole() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 80), ["one two three"]);
        assert_eq!(
            wrap("a http://example/very/long b", 6),
            ["a", "http://example/very/long", "b"]
        );
        assert!(wrap("  ", 10).is_empty());
    }
}
