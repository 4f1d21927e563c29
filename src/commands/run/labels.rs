//! Labels of runs, as the command line gives them.

use std::collections::BTreeMap;

use crate::failure::Failure;

/// The labels in texts such as `team=inference`.
///
/// # Errors
/// A text has no `=` or no name before it, or a name comes twice.
pub(super) fn parse(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    for text in texts {
        let pair = text
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()));
        let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::usage(
                format_args!("--label `{text}` is no name=value"),
                "write it as --label team=inference",
            ));
        };
        if labels.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(
                format_args!("--label {name} is given more than once"),
                "give each label one value",
            ));
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Result<Vec<(String, String)>, Option<String>> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        parse(&texts)
            .map(|labels| labels.into_iter().collect())
            .map_err(|failure| failure.lines())
    }

    #[test]
    fn a_label_is_a_name_and_a_value() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            parsed(&["team=inference", "query=a=b", "empty="]),
            Ok(vec![
                pair("empty", ""),
                pair("query", "a=b"),
                pair("team", "inference")
            ])
        );
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for (texts, error) in [
            (&["team"][..], "--label `team` is no name=value"),
            (&["=x"][..], "--label `=x` is no name=value"),
            (&["a=1", "a=2"][..], "--label a is given more than once"),
        ] {
            let lines = parsed(texts).expect_err(error).expect("two lines");
            assert!(lines.starts_with(&format!("error: {error}\n")), "{lines}");
        }
    }
}
