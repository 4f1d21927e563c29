//! The `name=value` pairs behind a fault's kind.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::FaultError;

/// The values of one fault, each taken once; [`Arguments::finish`] refuses
/// what nobody took.
pub(super) struct Arguments<'a> {
    kind: &'static str,
    given: Vec<(&'a str, &'a str)>,
    known: Vec<&'static str>,
}

/// A value that is one of a few words.
pub(super) trait Word: Copy + 'static {
    /// Each word and what it means.
    const WORDS: &'static [(&'static str, Self)];
}

impl<'a> Arguments<'a> {
    pub(super) fn parse(kind: &'static str, text: &'a str) -> Result<Self, FaultError> {
        let pair = |text: &'a str| {
            text.split_once('=').ok_or_else(|| FaultError::Form {
                kind,
                text: text.to_owned(),
            })
        };
        let given = match text {
            "" => Vec::new(),
            pairs => pairs.split(',').map(pair).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            kind,
            given,
            known: Vec::new(),
        })
    }

    fn take(&mut self, name: &'static str) -> Option<&'a str> {
        self.known.push(name);
        let position = self.given.iter().position(|(given, _)| *given == name)?;
        Some(self.given.remove(position).1)
    }

    fn refuse(&self, name: &'static str, value: &str, expected: String) -> FaultError {
        FaultError::Value {
            kind: self.kind,
            name,
            value: value.to_owned(),
            expected,
        }
    }

    pub(super) fn number<N>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<N>,
        default: N,
    ) -> Result<N, FaultError>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(value) = self.take(name) else {
            return Ok(default);
        };
        match value.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => {
                let (from, to) = range.into_inner();
                Err(self.refuse(name, value, format!("a number from {from} to {to}")))
            }
        }
    }

    /// A number from 1 up.
    pub(super) fn count(
        &mut self,
        name: &'static str,
        default: u32,
    ) -> Result<NonZeroU32, FaultError> {
        let number = self.number(name, 1..=u32::MAX, default)?;
        Ok(NonZeroU32::new(number).expect("defaults and the range start at one"))
    }

    /// After how many chunks the fault strikes.
    pub(super) fn after(&mut self) -> Result<u32, FaultError> {
        self.number("after", 0..=u32::MAX, 3)
    }

    pub(super) fn duration(
        &mut self,
        name: &'static str,
        default: Duration,
    ) -> Result<Duration, FaultError> {
        match self.take(name) {
            None => Ok(default),
            Some(value) => humantime::parse_duration(value)
                .map_err(|_| self.refuse(name, value, "a time such as 100ms".to_owned())),
        }
    }

    pub(super) fn word<W: Word>(
        &mut self,
        name: &'static str,
        default: W,
    ) -> Result<W, FaultError> {
        let Some(value) = self.take(name) else {
            return Ok(default);
        };
        match W::WORDS.iter().find(|(word, _)| *word == value) {
            Some((_, meaning)) => Ok(*meaning),
            None => {
                let words: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
                Err(self.refuse(name, value, format!("one of {}", words.join(", "))))
            }
        }
    }

    pub(super) fn finish(self) -> Result<(), FaultError> {
        match self.given.first() {
            None => Ok(()),
            Some((name, _)) => Err(FaultError::Name {
                kind: self.kind,
                name: (*name).to_owned(),
                known: format!("it has {}", self.known.join(", ")),
            }),
        }
    }
}
