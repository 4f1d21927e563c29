//! Cutting an event into pieces that leave in writes of their own.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::emission::{Emission, Marks};

/// Cuts events at borders that come from a seed.
#[derive(Debug)]
pub(crate) struct Splitter {
    pieces: u32,
    gap_ns: i64,
    random: Box<ChaCha8Rng>,
}

impl Splitter {
    pub(crate) fn new(pieces: u32, gap: Duration, random: ChaCha8Rng) -> Self {
        Self {
            pieces,
            gap_ns: i64::try_from(gap.as_nanos()).unwrap_or(i64::MAX),
            random: Box::new(random),
        }
    }

    /// The same bytes in as many pieces as asked for, or as there are bytes.
    ///
    /// Where there is a character of several bytes, one border lies inside of
    /// it. The marks go with the last piece, which completes the events.
    pub(crate) fn split(&mut self, emission: Emission) -> VecDeque<Emission> {
        let mut bytes = emission.frame.into_bytes();
        let mut borders: Vec<usize> = Vec::new();
        let inside: Vec<usize> = (1..bytes.len())
            .filter(|place| bytes[*place] & 0b1100_0000 == 0b1000_0000)
            .collect();
        if self.pieces > 1 && !inside.is_empty() {
            borders.push(inside[self.random.random_range(0..inside.len())]);
        }
        let pieces = (self.pieces as usize).clamp(1, bytes.len());
        while borders.len() + 1 < pieces {
            let place = self.random.random_range(1..bytes.len());
            if !borders.contains(&place) {
                borders.push(place);
            }
        }
        borders.sort_unstable();

        let mut due_ns = emission.due_ns;
        let mut done = 0;
        let mut parts = VecDeque::with_capacity(pieces);
        for border in borders {
            let piece = bytes.split_to(border - done);
            done = border;
            parts.push_back(Emission {
                due_ns,
                frame: piece.into(),
                marks: Marks::default(),
                apart: true,
            });
            due_ns = due_ns.saturating_add(self.gap_ns);
        }
        parts.push_back(Emission {
            due_ns,
            frame: bytes.into(),
            marks: emission.marks,
            apart: true,
        });
        parts
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::super::truth::EventKind;
    use super::*;

    fn split(text: &str, pieces: u32, seed: u64) -> Vec<Emission> {
        let random = ChaCha8Rng::seed_from_u64(seed);
        let mut splitter = Splitter::new(pieces, Duration::from_nanos(10), random);
        let marks = Marks::one(EventKind::Content, 1);
        splitter
            .split(Emission::new(100, text.as_bytes().to_vec(), marks))
            .into()
    }

    #[test]
    fn pieces_make_up_the_event_and_the_last_one_is_marked() {
        for seed in 0..50 {
            let pieces = split("data: {\"größer\"}\n\n", 4, seed);
            assert_eq!(pieces.len(), 4);
            let dues: Vec<i64> = pieces.iter().map(|piece| piece.due_ns).collect();
            assert_eq!(dues, [100, 110, 120, 130]);
            let marked: Vec<usize> = pieces
                .iter()
                .map(|piece| piece.marks.iter().count())
                .collect();
            assert_eq!(marked, [0, 0, 0, 1]);
            let parts: Vec<_> = pieces
                .into_iter()
                .map(|piece| piece.frame.into_bytes())
                .collect();
            assert_eq!(parts.concat(), "data: {\"größer\"}\n\n".as_bytes());
            let broken = parts.iter().any(|part| std::str::from_utf8(part).is_err());
            assert!(broken, "no character was cut");
        }
    }

    #[test]
    fn there_are_no_more_pieces_than_bytes() {
        assert_eq!(split("abc", 9, 1).len(), 3);
        assert_eq!(split("abc", 1, 1).len(), 1);
    }
}
