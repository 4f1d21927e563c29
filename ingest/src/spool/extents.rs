//! How far each segment could be read when the spool was sealed.
//!
//! The end marker carries it: a byte that the disk changes afterwards hides all
//! frames behind it in its segment, and would otherwise be taken for the end
//! that a killed process left.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch, UInt32Array, UInt64Array};
use arrow::datatypes::{UInt32Type, UInt64Type};

use super::segment::Extent;

const SEGMENT: &str = "segment";
const WHOLE: &str = "whole_bytes";

pub(super) fn to_batch(extents: &[Extent]) -> RecordBatch {
    let numbers: UInt32Array = extents.iter().map(|extent| Some(extent.segment)).collect();
    let whole: UInt64Array = extents.iter().map(|extent| Some(extent.whole)).collect();
    let columns: [(&str, ArrayRef); 2] = [(SEGMENT, Arc::new(numbers)), (WHOLE, Arc::new(whole))];
    RecordBatch::try_from_iter(columns).expect("two columns of one length")
}

/// Bytes that could be read when `sealed` was made, and cannot be now.
pub(super) fn missing(sealed: &RecordBatch, now: &[Extent]) -> u64 {
    let numbers = sealed[SEGMENT].as_primitive::<UInt32Type>().values();
    let whole = sealed[WHOLE].as_primitive::<UInt64Type>().values();
    let left = |number: u32| {
        let mut segments = now.iter().filter(|extent| extent.segment == number);
        segments.next().map_or(0, |extent| extent.whole)
    };
    let pairs = numbers.iter().zip(whole);
    pairs
        .map(|(number, whole)| whole.saturating_sub(left(*number)))
        .sum()
}
