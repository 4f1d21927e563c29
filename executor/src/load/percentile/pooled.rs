//! Exact percentiles of more values than fit into memory, in two passes.
//!
//! The first pass counts values in about logarithmic bins; from the counts it
//! follows in which bins the wanted ranks lie. The second pass counts the
//! distinct values of those bins alone, which are no more than the bin is wide,
//! and selects among them. The results are those
//! of [`percentiles`](super::percentiles) over all values at once.

use std::collections::BTreeMap;

use super::{Percentile, Percentiles, Rank};

/// Bits of a value below its highest that tell bins apart: a bin is at most
/// one part in 2,048 wide.
const FINE_BITS: u32 = 11;
const FINE: usize = 1 << FINE_BITS;
/// One bin for all that is negative, then those of 0 and up.
const BINS: usize = 1 + (64 - FINE_BITS as usize) * FINE;

fn bin_of(value: i64) -> usize {
    let Ok(value) = u64::try_from(value) else {
        return 0;
    };
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(FINE_BITS + 1);
    1 + (shift as usize) * FINE + (value >> shift) as usize
}

/// The first pass: how many values lie in which bin.
#[derive(Debug, Clone)]
pub struct PooledCount {
    bins: Vec<u64>,
    count: usize,
}

impl Default for PooledCount {
    fn default() -> Self {
        Self {
            bins: vec![0; BINS],
            count: 0,
        }
    }
}

impl PooledCount {
    /// Counts one value.
    pub fn add(&mut self, value: i64) {
        self.bins[bin_of(value)] += 1;
        self.count += 1;
    }

    /// What the second pass has to keep.
    pub fn selection(&self) -> PooledSelection {
        let ranks = Percentile::ALL.map(|percentile| Rank::of(percentile, self.count));
        let mut bins: Vec<KeptBin> = Vec::new();
        for rank in ranks.iter().flatten() {
            for rank in [rank.lower, (rank.lower + 1).min(self.count - 1)] {
                let kept = bins
                    .iter()
                    .any(|bin| bin.first <= rank && rank < bin.first + bin.len);
                if !kept {
                    bins.push(self.bin_at(rank));
                }
            }
        }
        bins.sort_unstable_by_key(|bin| bin.number);
        PooledSelection { ranks, bins }
    }

    fn bin_at(&self, rank: usize) -> KeptBin {
        let mut first = 0;
        for (number, count) in self.bins.iter().enumerate() {
            let len = *count as usize;
            if rank < first + len {
                return KeptBin {
                    number,
                    first,
                    len,
                    values: BTreeMap::new(),
                };
            }
            first += len;
        }
        unreachable!("a rank lies below the count, and the bins hold the count")
    }
}

#[derive(Debug)]
struct KeptBin {
    number: usize,
    /// Rank of its smallest value.
    first: usize,
    len: usize,
    /// How often each of its values came.
    values: BTreeMap<i64, usize>,
}

impl KeptBin {
    /// The value of a rank that lies in this bin or above it.
    fn value_at(&self, rank: usize) -> Option<i64> {
        let mut left = rank - self.first;
        for (value, count) in &self.values {
            if left < *count {
                return Some(*value);
            }
            left -= count;
        }
        None
    }
}

/// The second pass: the values around the wanted ranks.
#[derive(Debug)]
pub struct PooledSelection {
    ranks: [Option<Rank>; 4],
    bins: Vec<KeptBin>,
}

impl PooledSelection {
    /// Takes one value; all of the first pass have to come again, in any order.
    pub fn add(&mut self, value: i64) {
        let number = bin_of(value);
        if let Ok(index) = self.bins.binary_search_by_key(&number, |bin| bin.number) {
            *self.bins[index].values.entry(value).or_default() += 1;
        }
    }

    /// The percentiles; `None` of no values.
    pub fn percentiles(self) -> Option<Percentiles> {
        let at = |rank: usize| {
            let bin = self.bins.iter().rfind(|bin| bin.first <= rank)?;
            bin.value_at(rank)
        };
        let mut found = [0; 4];
        for (slot, rank) in found.iter_mut().zip(&self.ranks) {
            let rank = rank.as_ref()?;
            let lower = at(rank.lower)?;
            *slot = rank.between(lower, at(rank.lower + 1));
        }
        Some(found.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::percentile::percentiles;
    use proptest::prelude::*;

    fn pooled(values: &[i64]) -> Option<Percentiles> {
        let mut count = PooledCount::default();
        values.iter().for_each(|value| count.add(*value));
        let mut selection = count.selection();
        values.iter().for_each(|value| selection.add(*value));
        selection.percentiles()
    }

    proptest! {
        #[test]
        fn two_passes_give_what_one_gives(
            values in prop::collection::vec(
                prop_oneof![any::<i64>(), -5i64..5, 9_000_000i64..11_000_000], 0..300),
        ) {
            prop_assert_eq!(pooled(&values), percentiles(&mut values.clone()));
        }
    }

    #[test]
    fn bins_are_in_the_order_of_values() {
        let values = [
            i64::MIN,
            -1,
            0,
            1,
            2047,
            2048,
            4095,
            4096,
            4098,
            1 << 40,
            i64::MAX,
        ];
        let bins: Vec<_> = values.iter().map(|value| bin_of(*value)).collect();
        assert!(bins.is_sorted(), "{bins:?}");
        assert!(bins[10] < BINS);
    }
}
