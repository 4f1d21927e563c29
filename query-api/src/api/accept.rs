//! Which representation a caller wants (RFC 9110, section 12.5.1).

use std::cmp::Reverse;

use axum::http::{HeaderMap, header};

use super::problem::{Code, Problem};

/// A representation that can be had, under one or more media types.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<T: 'static> {
    /// What the caller may ask for; the first is what the answer says.
    pub(crate) media_types: &'static [&'static str],
    /// What it stands for.
    pub(crate) value: T,
}

/// Chooses among `offers`, which stand in our order of preference; without an
/// `Accept` header the first is taken.
///
/// # Errors
/// Where the caller takes none of them.
pub(crate) fn negotiate<T: Copy>(
    headers: &HeaderMap,
    offers: &'static [Offer<T>],
) -> Result<T, Problem> {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let ranges: Vec<Range<'_>> = accepted
        .iter()
        .filter_map(|text| Range::parse(text))
        .collect();
    if accepted.is_empty() {
        return Ok(offers[0].value);
    }
    let mut ranked: Vec<(u32, T)> = offers
        .iter()
        .filter_map(|offer| {
            let weight = offer
                .media_types
                .iter()
                .filter_map(|media| weight(&ranges, media))
                .max()?;
            (weight > 0).then_some((weight, offer.value))
        })
        .collect();
    // A stable sort keeps our order among equals.
    ranked.sort_by_key(|(weight, _)| Reverse(*weight));
    ranked.first().map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = offers.iter().map(|offer| offer.media_types[0]).collect();
        Problem::new(
            Code::NotAcceptable,
            format!("accept `{}` names none of them", accepted.join(",")),
        )
        .with_help(format!("there are {}", known.join(", ")))
    })
}

/// The caller's weight of a media type, by the most specific range that
/// matches it; `None` where none does.
fn weight(ranges: &[Range<'_>], media_type: &str) -> Option<u32> {
    let (kind, subkind) = media_type.split_once('/')?;
    let matching = ranges.iter().filter(|range| {
        (range.kind == "*" || range.kind.eq_ignore_ascii_case(kind))
            && (range.subkind == "*" || range.subkind.eq_ignore_ascii_case(subkind))
    });
    matching
        .max_by_key(|range| range.specificity())
        .map(|range| range.thousandths)
}

/// One range of an `Accept` header: `text/*;q=0.5`.
#[derive(Debug, PartialEq, Eq)]
struct Range<'a> {
    kind: &'a str,
    subkind: &'a str,
    thousandths: u32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subkind) = parts.next()?.split_once('/')?;
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let thousandths = match quality {
            Some((_, value)) => (value.trim().parse::<f64>().ok()?.clamp(0.0, 1.0) * 1000.0) as u32,
            None => 1000,
        };
        Some(Self {
            kind,
            subkind,
            thousandths,
        })
    }

    fn specificity(&self) -> u8 {
        match (self.kind, self.subkind) {
            ("*", _) => 0,
            (_, "*") => 1,
            _ => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const OFFERS: &[Offer<&str>] = &[
        Offer {
            media_types: &["application/json"],
            value: "json",
        },
        Offer {
            media_types: &["text/html"],
            value: "html",
        },
        Offer {
            media_types: &["application/x-ndjson", "application/jsonl"],
            value: "ndjson",
        },
    ];

    #[track_caller]
    fn check(accept: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(
                header::ACCEPT,
                HeaderValue::from_str(value).expect("header"),
            );
        }
        assert_eq!(negotiate(&headers, OFFERS).ok(), expected, "{accept:?}");
    }

    #[test]
    fn the_first_is_taken_where_all_are_equal() {
        check(&[], Some("json"));
        check(&["*/*"], Some("json"));
        check(&["text/html, application/json"], Some("json"));
    }

    #[test]
    fn weights_and_wildcards_decide() {
        check(
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            Some("html"),
        );
        check(&["application/json;q=0.1, text/*;q=0.2"], Some("html"));
        check(&["*/*, application/json;q=0"], Some("html"));
        check(
            &["application/json;q=0.5", "application/jsonl"],
            Some("ndjson"),
        );
        check(&["TEXT/HTML; charset=utf-8; Q=1"], Some("html"));
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        check(&["image/png"], None);
        check(&["application/json;q=0"], None);
        check(&["nonsense"], None);
    }
}
