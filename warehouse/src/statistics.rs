//! What decides whether a difference is more than noise. Values in, values
//! out: no rows, no clock.

mod change_points;
mod false_discovery;
mod noise;
mod two_samples;

pub use change_points::{ChangePoint, Detected, Level, change_points};
pub use false_discovery::discoveries;
pub(crate) use noise::Noise;
