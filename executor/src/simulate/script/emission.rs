//! One step of a reply.

use super::super::fault::Abort;
use super::super::frame::ReplyFrame;
use super::super::truth::EventKind;

/// What a reply does next. Deadlines are nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Emission),
    /// The reply ends here, unfinished.
    Break {
        due_ns: i64,
        how: Abort,
    },
}

impl Step {
    pub(crate) fn due_ns(&self) -> i64 {
        match self {
            Self::Send(emission) => emission.due_ns,
            Self::Break { due_ns, .. } => *due_ns,
        }
    }

    /// Whether all before it must have been written first, though the machine
    /// be so late that both are due.
    pub(crate) fn stands_apart(&self) -> bool {
        match self {
            Self::Send(emission) => emission.apart,
            Self::Break { .. } => true,
        }
    }
}

/// What leaves in one write.
#[derive(Debug)]
pub(crate) struct Emission {
    pub(crate) due_ns: i64,
    pub(crate) frame: ReplyFrame,
    /// The events whose last byte is in the frame.
    pub(crate) marks: Marks,
    /// Whether it must leave in a write of its own.
    pub(crate) apart: bool,
}

impl Emission {
    pub(crate) fn new(due_ns: i64, bytes: Vec<u8>, marks: Marks) -> Self {
        Self {
            due_ns,
            frame: bytes.into(),
            marks,
            apart: false,
        }
    }
}

/// An event as the truth log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) kind: EventKind,
    pub(crate) tokens: u32,
}

/// The events of one write; a list in place, since there is one for each
/// chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    marks: [Option<Mark>; Self::MOST],
}

impl Marks {
    /// The last chunk of a reply with every oddity: malformed, comment,
    /// content, finish, usage, done.
    const MOST: usize = 6;

    pub(crate) fn one(kind: EventKind, tokens: u32) -> Self {
        let mut marks = Self::default();
        marks.push(kind, tokens);
        marks
    }

    pub(crate) fn push(&mut self, kind: EventKind, tokens: u32) {
        let free = self.marks.iter_mut().find(|mark| mark.is_none());
        *free.expect("no write has more events than the fullest") = Some(Mark { kind, tokens });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Mark> + '_ {
        self.marks.iter().flatten().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks[0].is_none()
    }

    /// How many output tokens these events carry.
    pub(crate) fn tokens(&self) -> u32 {
        self.iter().map(|mark| mark.tokens).sum()
    }
}
