//! Closed sets of words that columns hold as text.

/// A word that is not one of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no {set}; it is one of {allowed}")]
pub struct UnknownWord {
    /// What was found.
    pub word: String,
    /// The name of the set.
    pub set: &'static str,
    /// The words of the set, separated by commas.
    pub allowed: String,
}

/// Makes an enum of a closed set of words: its words in order, and their texts.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $set:literal { $($(#[$word_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$word_doc])* $variant),+ }

        impl $name {
            /// Every word of the set, in its order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as the column holds it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::vocabulary::UnknownWord;

            fn from_str(word: &str) -> Result<Self, $crate::vocabulary::UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::vocabulary::UnknownWord {
                        word: word.to_string(),
                        set: $set,
                        allowed: [$($word),+].join(", "),
                    }),
                }
            }
        }

        impl $crate::vocabulary::serde::Serialize for $name {
            fn serialize<S: $crate::vocabulary::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> $crate::vocabulary::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::vocabulary::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                word.parse().map_err($crate::vocabulary::serde::de::Error::custom)
            }
        }
    };
}
pub use words;

#[doc(hidden)]
pub use serde;

words! {
    /// What part of a run a stage, or a request, belongs to.
    Phase, "phase" {
        /// A request that asks whether the subject answers at all.
        Probe = "probe",
        /// Load that brings the subject to its working state; not judged.
        WarmUp = "warm_up",
        /// Load that is judged.
        Steady = "steady",
        /// Load after the judged part; not judged.
        CoolDown = "cool_down",
        /// Load after an overload, watched until the subject serves as before.
        Recovery = "recovery",
    }
}

words! {
    /// How a request ended.
    RequestStatus, "request status" {
        /// 2xx, at least one token, and a finish reason or `[DONE]`.
        Ok = "ok",
        /// Refused for load: 429 or 503.
        Shed = "shed",
        /// Another status that is not 2xx.
        HttpError = "http_error",
        /// Failed before the first byte of the answer.
        Connection = "connection",
        /// Not done within the request's timeout.
        Timeout = "timeout",
        /// The body ended without a finish reason.
        Incomplete = "incomplete",
        /// The answer cannot be parsed.
        Protocol = "protocol",
        /// Ended by the generator: a stop, or the end of a stage's drain.
        Cancelled = "cancelled",
    }
}

words! {
    /// Whose failure it was.
    FailureKind, "failure kind" {
        /// The answer's content is wrong.
        Content = "content",
        /// The answer breaks the API's contract.
        Contract = "contract",
        /// The subject refused for load.
        Overload = "overload",
        /// Something between the generator and the subject failed.
        Dependency = "dependency",
        /// Time ran out.
        Timeout = "timeout",
        /// The generator itself ended or failed it.
        Harness = "harness",
    }
}

words! {
    /// Where a count of tokens comes from.
    TokenSource, "token source" {
        /// The server's usage object.
        Usage = "usage",
        /// A tokenizer file of the model.
        Tokenizer = "tokenizer",
        /// One token a content chunk.
        Chunks = "chunks",
    }
}

words! {
    /// Who took the receive times.
    TimestampSource, "timestamp source" {
        /// The kernel, when the bytes arrived.
        Kernel = "kernel",
        /// The generator, when it had read them.
        User = "user",
    }
}

words! {
    /// What asked for a job.
    Trigger, "trigger" {
        /// A person at a command line.
        Manual = "manual",
        /// A call of the API.
        Api = "api",
        /// A schedule.
        Schedule = "schedule",
        /// The import of another tool's results.
        Import = "import",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_others_are_refused_with_the_list() {
        for phase in Phase::ALL {
            assert_eq!(phase.as_str().parse(), Ok(*phase));
        }
        let message = "warmup".parse::<Phase>().expect_err("unknown").to_string();
        assert_eq!(
            message,
            "`warmup` is no phase; it is one of probe, warm_up, steady, cool_down, recovery"
        );
    }
}
