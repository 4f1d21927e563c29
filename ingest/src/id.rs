//! Identifiers of jobs, tasks and runs, and the integer key that joins use.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::time::{Date, Timestamp};

/// 2020-01-01T00:00:00Z in milliseconds: where run keys begin to count.
const RUN_KEY_EPOCH_MS: i64 = 1_577_836_800_000;

/// A text that should have been an identifier and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind} id; ids are UUIDs such as 01927f1a-5c7e-7d0a-9b1e-3f2a9c41d7e0")]
pub struct IdError {
    /// What kind of identifier was expected.
    pub kind: &'static str,
    /// What was found.
    pub text: String,
}

/// Builds a version 7 UUID whose 74 bits beside the time are fresh random.
///
/// `Uuid::now_v7` counts within a millisecond; two hosts that count from
/// equal places would make run keys collide, so nothing here counts.
fn random_v7(at: Timestamp) -> Uuid {
    let mut random = [0u8; 10];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    v7_from_parts(at.millis(), random)
}

fn v7_from_parts(millis: i64, random: [u8; 10]) -> Uuid {
    let millis = u64::try_from(millis).unwrap_or(0) & 0xFFFF_FFFF_FFFF;
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes[6] = (bytes[6] & 0x0F) | 0x70;
    bytes[8] = (bytes[8] & 0x3F) | 0x80;
    Uuid::from_bytes(bytes)
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier that carries `at` in milliseconds.
            pub fn new(at: Timestamp) -> Self {
                Self(random_v7(at))
            }

            /// The last 8 characters, as output shows it.
            pub fn short(&self) -> String {
                let text = self.0.simple().to_string();
                text[24..].to_string()
            }

            /// The moment in the identifier, in whole milliseconds.
            pub fn created_at(&self) -> Timestamp {
                Timestamp::from_micros(uuid_millis(self.0) * 1_000)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let refuse = || IdError { kind: $kind, text: text.to_string() };
                let uuid = Uuid::try_parse(text).map_err(|_| refuse())?;
                if uuid.get_version_num() == 7 { Ok(Self(uuid)) } else { Err(refuse()) }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id! {
    /// Identifies a run: one execution of a task.
    RunId, "run"
}
uuid_id! {
    /// Identifies a job: what was submitted.
    JobId, "job"
}
uuid_id! {
    /// Identifies a task: one suite of a job.
    TaskId, "task"
}

fn uuid_millis(uuid: Uuid) -> i64 {
    (uuid.as_u128() >> 80) as i64
}

impl RunId {
    /// The identifier whose bits beside the time come from `digest`, so that
    /// importing the same file twice gives the same run.
    pub fn from_digest(at: Timestamp, digest: [u8; 10]) -> Self {
        Self(v7_from_parts(at.millis(), digest))
    }

    /// The integer that joins use:
    /// `((unix ms - 1577836800000) << 22) | rand_a | the top 10 bits of rand_b`.
    pub fn run_key(&self) -> i64 {
        let bits = self.0.as_u128();
        let rand_a = ((bits >> 64) & 0xFFF) as i64;
        let rand_b_top = ((bits >> 52) & 0x3FF) as i64;
        ((uuid_millis(self.0) - RUN_KEY_EPOCH_MS) << 22) | (rand_a << 10) | rand_b_top
    }

    /// The UTC day of the run's start, by which big tables are partitioned.
    pub fn date(&self) -> Date {
        self.created_at().date()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_700_000_000_123_456);

    #[test]
    fn an_id_carries_its_time_and_prints_as_version_7() {
        let id = RunId::new(AT);
        assert_eq!(id.created_at().micros(), 1_700_000_000_123_000);
        assert_eq!(id.date().to_string(), "2023-11-14");
        assert_eq!(id.to_string().as_bytes()[14], b'7');
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().ends_with(&id.short()));
        assert_eq!(id.short().len(), 8);
    }

    #[test]
    fn the_run_key_is_time_then_22_random_bits() {
        let id = RunId::from_digest(AT, [0xFF; 10]);
        let ms = 1_700_000_000_123 - RUN_KEY_EPOCH_MS;
        assert_eq!(id.run_key(), (ms << 22) | 0x3F_FFFF);
        let id = RunId::from_digest(AT, [0x01, 0x02, 0xFF, 0, 0, 0, 0, 0, 0, 0]);
        // rand_a is 0x102; rand_b begins after the two bits of the variant.
        assert_eq!(id.run_key(), (ms << 22) | (0x102 << 10) | 0b11_1111_0000);
    }

    #[test]
    fn ids_of_one_millisecond_differ_and_do_not_count() {
        let mut keys: Vec<i64> = (0..64)
            .map(|_| RunId::new(AT).run_key() & 0x3F_FFFF)
            .collect();
        let in_order = keys.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(!in_order, "64 random keys in rising order are a counter");
        keys.sort_unstable();
        keys.dedup();
        assert!(keys.len() > 60);
    }

    #[test]
    fn other_uuids_are_refused_by_name() {
        let refused = "0b5cbe7e-1111-4222-8333-444455556666".parse::<RunId>();
        let message = refused.expect_err("version 4").to_string();
        assert!(message.contains("is no run id"), "{message}");
        assert!("".parse::<JobId>().is_err());
    }
}
