//! Finding the first content and the end of a chunked reply, and nothing else.

/// What has been seen of one reply.
#[derive(Default)]
pub(super) struct Scan {
    /// When the bytes with the first content were read.
    pub(super) first_token_ns: Option<i64>,
    /// The last bytes so far: the end may come in two pieces.
    last: [u8; END.len()],
}

/// The last chunk of a chunked body, with the line end of the chunk before it.
const END: &[u8; 7] = b"\r\n0\r\n\r\n";

/// What stands before the text of a content delta.
const CONTENT: &[u8] = b"\"content\":\"";

impl Scan {
    /// Takes the bytes of one read; true where they end the reply.
    pub(super) fn feed(&mut self, bytes: &[u8], at_ns: i64) -> bool {
        if self.first_token_ns.is_none() && has_content(bytes) {
            self.first_token_ns = Some(at_ns);
        }
        let kept = END.len().saturating_sub(bytes.len());
        self.last.copy_within(END.len() - kept.., 0);
        self.last[kept..].copy_from_slice(&bytes[bytes.len() - (END.len() - kept)..]);
        self.last == *END
    }
}

/// Whether a content delta with text stands in the bytes; one that only names the role has none.
fn has_content(bytes: &[u8]) -> bool {
    bytes
        .windows(CONTENT.len() + 1)
        .any(|window| window.starts_with(CONTENT) && !window.ends_with(b"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &[u8] = b"data: {\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}\n\n\r\n";
    const WORD: &[u8] = b"data: {\"delta\":{\"content\":\" a\"}}\n\n\r\n";

    #[test]
    fn the_first_content_is_no_role() {
        let mut scan = Scan::default();
        assert!(!scan.feed(ROLE, 1));
        assert_eq!(scan.first_token_ns, None);
        assert!(!scan.feed(WORD, 2));
        assert!(!scan.feed(WORD, 3));
        assert_eq!(scan.first_token_ns, Some(2));
    }

    #[test]
    fn the_end_is_found_however_it_is_cut() {
        let whole = [WORD, b"0\r\n\r\n"].concat();
        for cut in 1..whole.len() {
            let mut scan = Scan::default();
            assert!(!scan.feed(&whole[..cut], 1), "cut at {cut}");
            assert!(scan.feed(&whole[cut..], 2), "cut at {cut}");
        }
        let mut scan = Scan::default();
        let ends = whole
            .iter()
            .map(|byte| scan.feed(&[*byte], 1))
            .filter(|end| *end);
        assert_eq!(ends.count(), 1);
    }

    #[test]
    fn a_chunk_whose_size_ends_in_zero_is_no_end() {
        assert!(!Scan::default().feed(b"\r\n10\r\n\r\n", 1));
    }
}
