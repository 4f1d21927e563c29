//! A sketch as bytes, and what may be handed to the decoder.
//!
//! The library's decoder trusts its input: keys that lie far apart or counts that overflow stop
//! the process. So the body is walked first, and taken only in the shape in which it is written.

use sketches_ddsketch::DDSketch;

use super::{ACCURACY, MAX_BINS};

/// Four letters, a version, the accuracy.
const MAGIC: &[u8; 4] = b"PLSK";
const VERSION: u8 = 1;
const PREFIX_BYTES: usize = MAGIC.len() + 1 + size_of::<f64>();

/// The parts of a body, in their order; each has a byte in front that says which it is.
const COUNT: u8 = 0xA0;
const MIN: u8 = 0x88;
const MAX: u8 = 0x8C;
const SUM: u8 = 0x84;
const MAPPING: u8 = 0x02;
const ZEROS: u8 = 0x04;
const POSITIVE: u8 = 0x05;
const NEGATIVE: u8 = 0x07;

/// No key of a finite number lies beyond it: they are logarithms to the base 1.02.
const KEY_LIMIT: i64 = 40_000;

/// Whole numbers up to here are exact as floats, which is how counts are stored.
const COUNT_LIMIT: f64 = (1u64 << 53) as f64;

/// Why bytes are no sketch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    /// They do not begin as a sketch does.
    #[error("these bytes are no sketch of Plimsoll's")]
    NoSketch,
    /// A later release wrote it.
    #[error("the sketch is of version {found}, and this release reads version {VERSION}")]
    Newer {
        /// The version.
        found: u8,
    },
    /// Its bins are not ours, and counts cannot be moved from one to the other.
    #[error("the sketch has another accuracy than {ACCURACY}")]
    OtherAccuracy,
    /// It is cut off, or was changed.
    #[error("the sketch is damaged")]
    Torn,
}

pub(super) fn encode(sketch: &DDSketch) -> Vec<u8> {
    let mut stored = Vec::with_capacity(PREFIX_BYTES + 64);
    stored.extend_from_slice(MAGIC);
    stored.push(VERSION);
    stored.extend_from_slice(&ACCURACY.to_le_bytes());
    stored.extend_from_slice(&sketch.to_java_bytes());
    stored
}

/// The body, if it is one that may be decoded.
pub(super) fn check(stored: &[u8]) -> Result<&[u8], SketchError> {
    let rest = stored.strip_prefix(MAGIC).ok_or(SketchError::NoSketch)?;
    let (&version, rest) = rest.split_first().ok_or(SketchError::Torn)?;
    if version != VERSION {
        return Err(SketchError::Newer { found: version });
    }
    let (accuracy, body) = rest.split_at_checked(8).ok_or(SketchError::Torn)?;
    if accuracy != ACCURACY.to_le_bytes() {
        return Err(SketchError::OtherAccuracy);
    }
    Body { rest: body }.walk().ok_or(SketchError::Torn)?;
    Ok(body)
}

/// What is left of a body.
struct Body<'a> {
    rest: &'a [u8],
}

impl Body<'_> {
    /// Walks all parts in their order; `None` at the first that is not as it is written.
    fn walk(mut self) -> Option<()> {
        let mut told = 0.0;
        if self.part(COUNT) {
            told = self.count()?;
            let least = self.part(MIN).then(|| self.float())??;
            let greatest = self.part(MAX).then(|| self.float())??;
            (least <= greatest).then_some(())?;
        }
        if self.part(SUM) {
            self.float()?;
        }
        let gamma = self.part(MAPPING).then(|| self.float())??;
        let ours = (1.0 + ACCURACY) / (1.0 - ACCURACY);
        (gamma == ours && self.float()? == 0.0).then_some(())?;
        let mut counted = 0.0;
        if self.part(ZEROS) {
            counted += self.count()?;
        }
        for store in [POSITIVE, NEGATIVE] {
            if self.part(store) {
                counted += self.bins()?;
            }
        }
        (self.rest.is_empty() && counted == told && told <= COUNT_LIMIT).then_some(())
    }

    /// Whether the next part is this one.
    fn part(&mut self, flag: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == flag => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// A finite float.
    fn float(&mut self) -> Option<f64> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(f64::from_le_bytes(*bytes)).filter(|value| value.is_finite())
    }

    /// A whole number: seven bits a byte, the lowest first, eight bits in the ninth.
    fn whole(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..=56).step_by(7) {
            let next = self.byte()?;
            if next < 0x80 || shift == 56 {
                return Some(value | u64::from(next) << shift);
            }
            value |= u64::from(next & 0x7F) << shift;
        }
        None
    }

    /// A count, at least 1: a float's bits less those of 1, of which the first are stored first.
    fn count(&mut self) -> Option<f64> {
        let mut bits = 0u64;
        for shift in (1..=57).rev().step_by(7) {
            let next = self.byte()?;
            if shift == 1 {
                bits |= u64::from(next);
            } else {
                bits |= u64::from(next & 0x7F) << shift;
                if next < 0x80 {
                    break;
                }
            }
        }
        let count = f64::from_bits(bits.rotate_right(6).wrapping_add(1f64.to_bits())) - 1.0;
        let sound = (1.0..=COUNT_LIMIT).contains(&count) && count.fract() == 0.0;
        sound.then_some(count)
    }

    /// The bins of one sign: how many, then of each how far its key is from the one before, and
    /// its count. Gives the sum of the counts.
    fn bins(&mut self) -> Option<f64> {
        let bins = self.whole()?;
        (1..=u64::from(MAX_BINS)).contains(&bins).then_some(())?;
        let (mut first, mut key, mut counted) = (None, 0i64, 0.0);
        for _ in 0..bins {
            let step = self.whole()?;
            let step = (step >> 1).cast_signed() ^ -(step & 1).cast_signed();
            key = key.checked_add(step).filter(|key| key.abs() <= KEY_LIMIT)?;
            let least = *first.get_or_insert(key);
            let rises = step > 0 || counted == 0.0;
            (rises && key - least < i64::from(MAX_BINS)).then_some(())?;
            counted += self.count()?;
        }
        Some(counted)
    }
}
