//! How long tables are kept, as people write it: `requests=90d,ticks=forever`.

use std::time::Duration;

use plimsoll_ingest::Table;
use plimsoll_warehouse::Retention;

/// Days are taken out whole, so nothing is kept for less than one.
const SHORTEST: Duration = Duration::from_secs(86_400);

/// The retention that a list names; tables that it leaves out are kept as by default.
///
/// # Errors
/// An entry names no table that is kept by day, or no time.
pub(crate) fn parse(text: &str) -> Result<Retention, String> {
    let mut retention = Retention::default();
    let entries = text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let mut named = Vec::new();
    for entry in entries {
        let (name, time) = entry
            .split_once('=')
            .ok_or_else(|| format!("`{entry}` is not of the form TABLE=TIME"))?;
        let table = Table::by_name(name.trim()).filter(|table| table.partitioned());
        let table = table.ok_or_else(|| {
            let tables = Table::ALL.iter().filter(|table| table.partitioned());
            let names: Vec<_> = tables.map(|table| table.name()).collect();
            format!(
                "`{name}` is no table that is kept by day: {} are",
                names.join(", ")
            )
        })?;
        if named.contains(&table) {
            return Err(format!("`{}` is named twice", table.name()));
        }
        named.push(table);
        retention = retention.with(table, kept(time.trim())?);
    }
    Ok(retention)
}

fn kept(text: &str) -> Result<Option<Duration>, String> {
    if text == "forever" {
        return Ok(None);
    }
    match humantime::parse_duration(text) {
        Ok(kept) if kept < SHORTEST => Err(format!("`{text}` is less than a day")),
        Ok(kept) => Ok(Some(kept)),
        Err(error) => Err(format!(
            "`{text}` is no time such as 90d, and not `forever`: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_changes_the_tables_that_it_names() {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        let retention = parse("requests=90d, ticks=2weeks,chunks=forever").expect("a list");
        assert_eq!(retention.of(Table::Requests), days(90));
        assert_eq!(retention.of(Table::Ticks), days(14));
        assert_eq!(retention.of(Table::Chunks), None);
        assert_eq!(parse("").expect("a list"), Retention::default());
    }

    #[test]
    fn the_default_is_that_of_the_warehouse() {
        let text = crate::settings::key::Key::Retention.entry().default;
        assert_eq!(parse(text).expect("a list"), Retention::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            ("requests", "`requests` is not of the form TABLE=TIME"),
            (
                "runs=1d",
                "`runs` is no table that is kept by day: ticks, gpu_samples, requests",
            ),
            ("requests=1h", "`1h` is less than a day"),
            ("requests=long", "`long` is no time such as 90d"),
            ("requests=5d,requests=6d", "`requests` is named twice"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(said), "{error}");
        }
    }
}
