//! The name that someone probably meant.

/// How few of a name's characters may be mistyped (Damerau-Levenshtein, as a share that is right).
const MOSTLY_RIGHT: f64 = 0.5;

/// How alike two names must else be (Jaro-Winkler): a name that is only begun is right as well.
const BEGINS_ALIKE: f64 = 0.8;

/// The known name most like `word`; `None` where none is like it.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        let right = strsim::normalized_damerau_levenshtein(&word, &name);
        let begins = strsim::jaro_winkler(&word, &name);
        (right >= MOSTLY_RIGHT || begins >= BEGINS_ALIKE).then_some((right, begins))
    };
    known
        .into_iter()
        .filter_map(|name| Some((likeness(name)?, name)))
        .max_by(|((a_right, a_begins), _), ((b_right, b_begins), _)| {
            let by_beginning = a_begins.total_cmp(b_begins);
            a_right.total_cmp(b_right).then(by_beginning)
        })
        .map(|(_, name)| name)
}

/// A help line: the nearest known name, or all of them where none is near.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(word, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let all: Vec<_> = known.into_iter().collect();
            format!("it is one of: {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["warehouse", "spool", "sql.timeout", "sql.max_rows"];

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        for (typed, meant) in [
            ("warehose", "warehouse"),
            ("sql.timout", "sql.timeout"),
            ("sql.maxrows", "sql.max_rows"),
            ("SPOOL", "spool"),
            ("ware", "warehouse"),
        ] {
            assert_eq!(nearest(typed, KEYS), Some(meant), "{typed}");
        }
    }

    #[test]
    fn swapped_letters_are_one_slip() {
        assert_eq!(nearest("rnu", ["runs", "run"]), Some("run"));
    }

    #[test]
    fn of_names_equally_near_the_one_that_begins_alike_wins() {
        assert_eq!(nearest("runn", ["run", "runs"]), Some("run"));
        assert_eq!(nearest("runn", ["runs", "run"]), Some("run"));
    }

    #[test]
    fn a_stranger_gets_the_whole_list() {
        assert_eq!(nearest("kubernetes", KEYS), None);
        assert_eq!(
            did_you_mean("kubernetes", KEYS),
            "it is one of: warehouse, spool, sql.timeout, sql.max_rows"
        );
    }
}
