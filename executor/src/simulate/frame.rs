//! The bytes of one write, put together from parts that exist already.

use std::sync::Arc;

use bytes::{Buf, Bytes};

/// What goes out in one write.
///
/// A chunk of a stream is the same as the one before but for its word. As
/// a word between two parts that the whole reply shares it costs no
/// allocation and is small to move; Hyper copies the bytes into its write
/// buffer, from where they leave in one system call.
#[derive(Clone, Debug)]
pub(crate) enum ReplyFrame {
    /// A word in its surroundings, and how many bytes were taken already.
    Word {
        around: Arc<Surroundings>,
        word: &'static str,
        taken: usize,
    },
    /// Anything else.
    Built(Bytes),
}

/// What stands before and behind a word.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) before: String,
    pub(crate) after: String,
}

impl ReplyFrame {
    pub(crate) fn word(around: &Arc<Surroundings>, word: &'static str) -> Self {
        Self::Word {
            around: Arc::clone(around),
            word,
            taken: 0,
        }
    }

    /// All of it in one run.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        self.copy_to_bytes(self.remaining())
    }
}

impl From<Vec<u8>> for ReplyFrame {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Built(bytes.into())
    }
}

impl From<Bytes> for ReplyFrame {
    fn from(bytes: Bytes) -> Self {
        Self::Built(bytes)
    }
}

impl Buf for ReplyFrame {
    fn remaining(&self) -> usize {
        match self {
            Self::Word {
                around,
                word,
                taken,
            } => around.before.len() + word.len() + around.after.len() - taken,
            Self::Built(bytes) => bytes.len(),
        }
    }

    /// Never empty while bytes remain.
    fn chunk(&self) -> &[u8] {
        match self {
            Self::Word {
                around,
                word,
                taken,
            } => {
                let mut taken = *taken;
                for part in [&around.before, *word, &around.after] {
                    if taken < part.len() {
                        return &part.as_bytes()[taken..];
                    }
                    taken -= part.len();
                }
                &[]
            }
            Self::Built(bytes) => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        assert!(
            count <= self.remaining(),
            "advanced past the end of a frame"
        );
        match self {
            Self::Word { taken, .. } => *taken += count,
            Self::Built(bytes) => bytes.advance(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(before: &str, word: &'static str, after: &str) -> ReplyFrame {
        let around = Surroundings {
            before: before.to_owned(),
            after: after.to_owned(),
        };
        ReplyFrame::word(&Arc::new(around), word)
    }

    #[test]
    fn parts_follow_each_other_at_any_step() {
        for step in 1..12 {
            let mut frame = frame("head", "word", "end");
            assert_eq!(frame.remaining(), 11);
            let mut read = Vec::new();
            while frame.has_remaining() {
                assert!(!frame.chunk().is_empty());
                let take = step.min(frame.chunk().len());
                read.extend_from_slice(&frame.chunk()[..take]);
                frame.advance(take);
            }
            assert_eq!(read, b"headwordend");
        }
    }

    #[test]
    fn empty_parts_are_passed_over() {
        assert_eq!(frame("", "", "end").chunk(), b"end");
        assert_eq!(&frame("", "a", "").into_bytes()[..], b"a");
        assert_eq!(&ReplyFrame::from(b"abc".to_vec()).into_bytes()[..], b"abc");
    }

    #[test]
    fn a_frame_is_small_since_it_is_moved_for_every_chunk() {
        assert!(size_of::<ReplyFrame>() <= 40);
    }
}
