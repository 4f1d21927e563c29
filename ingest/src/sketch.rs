//! Mergeable sketches of latencies.
//!
//! A sketch is a DDSketch (Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile
//! Sketch with Relative-Error Guarantees", VLDB 2019): counts in bins whose bounds grow by a
//! constant factor. A quantile of it is within 1 % of a value that was put in, and sketches merge
//! in any order to the same counts, so that stages and runs are rolled up without their requests.
//!
//! Stored bytes are a prefix of our own (`PLSK`, a version, the accuracy) and then what other
//! implementations of DDSketch read. Bytes come out of tables that others may write: they are
//! looked through before the library decodes them.

use sketches_ddsketch::{Config, DDSketch};

mod bytes;

pub use bytes::SketchError;

/// Relative accuracy: how far a quantile may lie from the value that was put in, as a share of it.
pub const ACCURACY: f64 = 0.01;

/// Bins of a sketch at most, those of negative values apart; the lowest are merged beyond. Values
/// that lie within a factor of 6e17 of each other keep the accuracy: a nanosecond and 19 years.
const MAX_BINS: u32 = 2_048;

/// Values nearer to zero than this count as zero.
const LEAST: f64 = 1e-9;

/// A sketch of values. Which order they came in, and over how many sketches they were spread
/// before a merge, does not matter to its quantiles.
#[derive(Clone)]
pub struct Sketch {
    inner: DDSketch,
}

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.count();
        f.debug_struct("Sketch")
            .field("count", &count)
            .finish_non_exhaustive()
    }
}

impl Default for Sketch {
    fn default() -> Self {
        Self::new()
    }
}

impl Sketch {
    /// A sketch of nothing.
    pub fn new() -> Self {
        Self {
            inner: DDSketch::new(Config::new(ACCURACY, MAX_BINS, LEAST)),
        }
    }

    /// Puts a value in. What is not finite has no place among the bins and is left out: the result
    /// says whether the value is in.
    pub fn add(&mut self, value: f64) -> bool {
        if value.is_finite() {
            self.inner.add(value);
        }
        value.is_finite()
    }

    /// Puts all of another sketch in.
    pub fn merge(&mut self, other: &Self) {
        self.inner
            .merge(&other.inner)
            .expect("every sketch has the same accuracy and bins");
    }

    /// How many values are in it.
    pub fn count(&self) -> u64 {
        self.inner.count() as u64
    }

    /// The value below which a share `q` of the values lies, to within [`ACCURACY`]: that of rank
    /// `floor(q * (n - 1))`, counted from 0; the least and the greatest exactly. `None` of no
    /// values, and where `q` is not from 0 to 1.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let quantile = self.inner.quantile(q).ok().flatten()?;
        // The middle of the outermost bins may lie outside what was put in.
        Some(quantile.clamp(self.inner.min()?, self.inner.max()?))
    }

    /// Bytes in memory, about.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.inner.length() * size_of::<u64>()
    }

    /// The bytes that tables hold.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes::encode(&self.inner)
    }

    /// The sketch of stored bytes.
    ///
    /// # Errors
    /// Where the bytes are no sketch, or one of another version or accuracy.
    pub fn from_bytes(stored: &[u8]) -> Result<Self, SketchError> {
        let body = bytes::check(stored)?;
        let inner = DDSketch::from_java_bytes(body).map_err(|_| SketchError::Torn)?;
        // The library's own decoding takes its defaults for bins and least value.
        let mut sketch = Self::new();
        let merged = sketch.inner.merge(&inner);
        merged.map_err(|_| SketchError::OtherAccuracy)?;
        Ok(sketch)
    }
}

impl Extend<f64> for Sketch {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        for value in values {
            self.add(value);
        }
    }
}

impl FromIterator<f64> for Sketch {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sketch = Self::new();
        sketch.extend(values);
        sketch
    }
}

#[cfg(test)]
mod tests;
