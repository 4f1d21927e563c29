//! The word that somebody may have meant.

/// The candidate that looks most like `word`; the first of equals, `None` of no candidates.
///
/// Likeness is Jaro-Winkler's, which forgives swapped, missing and doubled letters and rewards a
/// common beginning.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likest_candidate_is_named() {
        let keys = ["rate", "duration", "concurrency", "requests"];
        assert_eq!(nearest("durration", keys), Some("duration"));
        assert_eq!(nearest("concurency", keys), Some("concurrency"));
        assert_eq!(nearest("reqests", keys), Some("requests"));
        assert_eq!(nearest("x", []), None);
    }
}
