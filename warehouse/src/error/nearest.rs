//! The name that somebody probably meant.

/// The candidate nearest to `name`, if one is near enough to be what was meant.
///
/// Near is a Damerau-Levenshtein distance of at most a third of the name's
/// length, or one name being a part of the other.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(name: &str, candidate: &str) -> usize {
    let part = name.len() >= 4 && candidate.contains(name);
    let whole = candidate.len() >= 4 && name.contains(candidate);
    if part || whole {
        1
    } else {
        strsim::damerau_levenshtein(name, candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_a_stranger_is_not() {
        let tables = ["runs", "stages", "requests", "performance_summary"];
        assert_eq!(nearest("run", tables), Some("runs"));
        assert_eq!(nearest("reqeusts", tables), Some("requests"));
        assert_eq!(nearest("STAGE", tables), Some("stages"));
        assert_eq!(nearest("summary", tables), Some("performance_summary"));
        assert_eq!(nearest("customers", tables), None);
        assert_eq!(nearest("x", []), None);
    }
}
