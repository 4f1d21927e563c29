//! What a simulated server can do wrong, as a closed list.
//!
#![doc = include_str!("faults.md")]

mod arguments;
mod text;

use std::num::NonZeroU32;
use std::time::Duration;

pub use text::FaultError;

/// The table of faults and their values, in Markdown.
pub const FAULT_TABLE: &str = include_str!("faults.md");

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Something that happens to the reply of each `every`-th request.
    Reply {
        /// 1: to every reply.
        every: NonZeroU32,
        /// What happens.
        fault: ReplyFault,
    },
    /// The server is not ready at first.
    SlowStart {
        /// For how long after the start.
        time: Duration,
        /// What it does in the meantime.
        how: NotReady,
    },
    /// The server dies.
    Crash {
        /// How many requests it takes before.
        after: u64,
    },
}

/// What happens to a reply; `after` is a number of chunks with tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyFault {
    /// A first chunk with a role and no content.
    RoleOnly,
    /// Several tokens in one chunk.
    Bundle {
        /// How many.
        tokens: NonZeroU32,
        /// In which chunks.
        chunks: BundledChunks,
    },
    /// The first tokens come on the reasoning channel.
    Reasoning {
        /// How many.
        tokens: NonZeroU32,
        /// Under which name.
        field: ReasoningField,
    },
    /// All tokens are arguments of a tool call.
    ToolCall,
    /// The reply is shorter than asked for.
    StopEarly {
        /// Its length.
        tokens: NonZeroU32,
    },
    /// Usage is never sent.
    NoUsage,
    /// Usage comes in an unusual place or time.
    LateUsage {
        /// The place.
        at: UsagePlace,
        /// How long after the last token, for usage in a chunk of its own.
        delay: Duration,
    },
    /// The stream ends without `[DONE]`.
    NoDone,
    /// The reply breaks off.
    Abort {
        /// After how many chunks.
        after: u32,
        /// How the client learns of it.
        how: Abort,
    },
    /// A pause in the middle.
    Stall {
        /// After how many chunks.
        after: u32,
        /// How long.
        pause: Duration,
    },
    /// An event that is no valid one.
    Malformed {
        /// After how many chunks.
        after: u32,
        /// What is wrong with it.
        how: Malformed,
    },
    /// Events come in pieces.
    SplitWrites {
        /// How many.
        pieces: NonZeroU32,
        /// How long between two of them.
        gap: Duration,
    },
    /// An error object instead of the rest.
    ErrorEvent {
        /// After how many chunks.
        after: u32,
    },
    /// An HTTP error at once.
    HttpError {
        /// Its status, from 400 to 599.
        status: u16,
    },
    /// No answer at all.
    Hang,
    /// 400 where usage is asked for.
    UsageRefused,
    /// Comments between the events.
    Pings,
    /// Lines that end in CR LF.
    Crlf,
}

/// Generates a closed set of words that a value may have.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl arguments::Word for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }
    };
}

words! {
    /// Which chunks carry several tokens.
    BundledChunks {
        /// The first alone.
        First = "first",
        /// All.
        All = "all",
    }
}

words! {
    /// What servers call the channel of reasoning.
    ReasoningField {
        /// The name that most use.
        ReasoningContent = "reasoning_content",
        /// The shorter one.
        Reasoning = "reasoning",
    }
}

words! {
    /// Where usage is put.
    UsagePlace {
        /// On the last chunk with content.
        Content = "content",
        /// On the chunk with the finish reason.
        Finish = "finish",
        /// In a chunk of its own without choices.
        Own = "own",
        /// The same, but after `[DONE]`.
        AfterDone = "after-done",
    }
}

words! {
    /// How a reply breaks off.
    Abort {
        /// A TCP reset.
        Reset = "reset",
        /// The connection closed with the HTTP body unfinished.
        Close = "close",
        /// The HTTP body ended properly, the stream not.
        End = "end",
    }
}

words! {
    /// What is wrong with an event.
    Malformed {
        /// Its JSON is cut off.
        Json = "json",
        /// It is not UTF-8.
        Utf8 = "utf8",
        /// It is a line without any field.
        Line = "line",
    }
}

words! {
    /// What a server does that is not ready.
    NotReady {
        /// It answers 503 on every path.
        Unavailable = "503",
        /// It resets every connection.
        Refuse = "refuse",
    }
}
