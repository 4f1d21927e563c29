//! How a fault is written on a command line.

use std::str::FromStr;
use std::time::Duration;

use super::arguments::Arguments;
use super::{
    Abort, BundledChunks, Fault, Malformed, NotReady, ReasoningField, ReplyFault, UsagePlace,
};

/// A fault that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// There is no such kind.
    #[error("there is no fault `{kind}`; did you mean `{nearest}`?")]
    Kind {
        /// What was given.
        kind: String,
        /// The kind whose name is closest.
        nearest: &'static str,
    },
    /// The kind has no such value.
    #[error("fault `{kind}` has no value `{name}`; {known}")]
    Name {
        /// The kind.
        kind: &'static str,
        /// The value's name as given.
        name: String,
        /// What it has.
        known: String,
    },
    /// The value is not one that can be meant.
    #[error("fault `{kind}`: `{name}={value}` must be {expected}")]
    Value {
        /// The kind.
        kind: &'static str,
        /// The value's name.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: String,
    },
    /// No `name=value`.
    #[error("fault `{kind}`: `{text}` is not of the form name=value")]
    Form {
        /// The kind.
        kind: &'static str,
        /// What was given.
        text: String,
    },
}

/// Reads the values of one kind.
type Build = fn(&mut Arguments<'_>) -> Result<Fault, FaultError>;

/// Every kind and how it is made, in the order of the table.
const KINDS: [(&str, Build); 20] = [
    ("role-only", |values| reply(values, ReplyFault::RoleOnly)),
    ("bundle", |values| {
        let fault = ReplyFault::Bundle {
            tokens: values.count("tokens", 4)?,
            chunks: values.word("chunks", BundledChunks::First)?,
        };
        reply(values, fault)
    }),
    ("reasoning", |values| {
        let fault = ReplyFault::Reasoning {
            tokens: values.count("tokens", 8)?,
            field: values.word("field", ReasoningField::ReasoningContent)?,
        };
        reply(values, fault)
    }),
    ("tool-call", |values| reply(values, ReplyFault::ToolCall)),
    ("stop-early", |values| {
        let tokens = values.count("tokens", 4)?;
        reply(values, ReplyFault::StopEarly { tokens })
    }),
    ("no-usage", |values| reply(values, ReplyFault::NoUsage)),
    ("late-usage", |values| {
        let fault = ReplyFault::LateUsage {
            at: values.word("at", UsagePlace::Own)?,
            delay: values.duration("delay", Duration::from_millis(100))?,
        };
        reply(values, fault)
    }),
    ("no-done", |values| reply(values, ReplyFault::NoDone)),
    ("abort", |values| {
        let fault = ReplyFault::Abort {
            after: values.after()?,
            how: values.word("how", Abort::Reset)?,
        };
        reply(values, fault)
    }),
    ("stall", |values| {
        let fault = ReplyFault::Stall {
            after: values.after()?,
            pause: values.duration("pause", Duration::from_secs(2))?,
        };
        reply(values, fault)
    }),
    ("malformed", |values| {
        let fault = ReplyFault::Malformed {
            after: values.after()?,
            how: values.word("how", Malformed::Json)?,
        };
        reply(values, fault)
    }),
    ("split-writes", |values| {
        let fault = ReplyFault::SplitWrites {
            pieces: values.count("pieces", 3)?,
            gap: values.duration("gap", Duration::from_micros(500))?,
        };
        reply(values, fault)
    }),
    ("error-event", |values| {
        let after = values.after()?;
        reply(values, ReplyFault::ErrorEvent { after })
    }),
    ("http-error", |values| {
        let status = values.number("status", 400..=599, 500)?;
        reply(values, ReplyFault::HttpError { status })
    }),
    ("hang", |values| reply(values, ReplyFault::Hang)),
    ("usage-refused", |values| {
        reply(values, ReplyFault::UsageRefused)
    }),
    ("pings", |values| reply(values, ReplyFault::Pings)),
    ("crlf", |values| reply(values, ReplyFault::Crlf)),
    ("slow-start", |values| {
        Ok(Fault::SlowStart {
            time: values.duration("time", Duration::from_secs(5))?,
            how: values.word("how", NotReady::Unavailable)?,
        })
    }),
    ("crash", |values| {
        let after = values.number("after", 0..=u64::MAX, 100)?;
        Ok(Fault::Crash { after })
    }),
];

fn reply(values: &mut Arguments<'_>, fault: ReplyFault) -> Result<Fault, FaultError> {
    let every = values.count("every", 1)?;
    Ok(Fault::Reply { every, fault })
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (kind, values) = text.split_once(':').unwrap_or((text, ""));
        let Some((kind, build)) = KINDS.iter().find(|(known, _)| *known == kind) else {
            return Err(FaultError::Kind {
                kind: kind.to_owned(),
                nearest: nearest_kind(kind),
            });
        };
        let mut values = Arguments::parse(kind, values)?;
        let fault = build(&mut values)?;
        values.finish()?;
        Ok(fault)
    }
}

fn nearest_kind(kind: &str) -> &'static str {
    let likeness = |known: &str| strsim::jaro_winkler(known, kind);
    let nearest = KINDS
        .iter()
        .max_by(|a, b| likeness(a.0).total_cmp(&likeness(b.0)));
    nearest.expect("the list of kinds is not empty").0
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::FAULT_TABLE;
    use super::*;

    fn struck(every: u32, fault: ReplyFault) -> Fault {
        let every = NonZeroU32::new(every).expect("not zero");
        Fault::Reply { every, fault }
    }

    fn check(text: &str, fault: Fault) {
        assert_eq!(text.parse::<Fault>(), Ok(fault), "{text}");
    }

    #[test]
    fn the_table_lists_exactly_the_kinds_and_all_parse_bare() {
        let rows: Vec<&str> = FAULT_TABLE
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        assert_eq!(rows, KINDS.map(|(kind, _)| kind));
        for (kind, _) in KINDS {
            kind.parse::<Fault>().expect("every kind has defaults");
        }
    }

    #[test]
    fn values_are_read() {
        let four = NonZeroU32::new(4).expect("not zero");
        check("role-only", struck(1, ReplyFault::RoleOnly));
        check("crlf:every=3", struck(3, ReplyFault::Crlf));
        let bundle = ReplyFault::Bundle {
            tokens: four,
            chunks: BundledChunks::All,
        };
        check("bundle:chunks=all", struck(1, bundle));
        let abort = ReplyFault::Abort {
            after: 0,
            how: Abort::Close,
        };
        check("abort:every=2,after=0,how=close", struck(2, abort));
        let stall = ReplyFault::Stall {
            after: 3,
            pause: Duration::from_millis(250),
        };
        check("stall:pause=250ms", struck(1, stall));
        check("crash:after=7", Fault::Crash { after: 7 });
        let start = Fault::SlowStart {
            time: Duration::from_secs(1),
            how: NotReady::Refuse,
        };
        check("slow-start:time=1s,how=refuse", start);
    }

    #[test]
    fn what_cannot_be_read_says_what_can() {
        let refuse = |text: &str, message: &str| {
            let error = text.parse::<Fault>().expect_err(text);
            assert_eq!(error.to_string(), message);
        };
        refuse("abrt", "there is no fault `abrt`; did you mean `abort`?");
        refuse(
            "abort:aftr=1",
            "fault `abort` has no value `aftr`; it has after, how, every",
        );
        refuse(
            "crash:every=2",
            "fault `crash` has no value `every`; it has after",
        );
        refuse(
            "abort:how=softly",
            "fault `abort`: `how=softly` must be one of reset, close, end",
        );
        refuse(
            "bundle:tokens=0",
            "fault `bundle`: `tokens=0` must be a number from 1 to 4294967295",
        );
        refuse(
            "http-error:status=200",
            "fault `http-error`: `status=200` must be a number from 400 to 599",
        );
        refuse(
            "stall:pause=soon",
            "fault `stall`: `pause=soon` must be a time such as 100ms",
        );
        refuse(
            "stall:pause",
            "fault `stall`: `pause` is not of the form name=value",
        );
    }
}
