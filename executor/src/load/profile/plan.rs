//! The stages that a profile makes.

use std::time::Duration;

use plimsoll_ingest::Phase;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Load, Profile};
use crate::load::arrivals::{Arrivals, OfferedRate};
use crate::load::workload::PromptSource;

/// What a request is taken to last where nothing is known yet, to tell how long a run will be.
const ASSUMED_REQUEST: Duration = Duration::from_millis(1500);

/// One stage to run.
#[derive(Debug, Clone, PartialEq)]
pub struct StagePlan {
    /// Its name, for people: `8 req/s`, `concurrency 4`.
    pub name: String,
    /// What it is for; steady stages are judged.
    pub phase: Phase,
    /// When its requests are due.
    pub arrivals: Arrivals,
    /// When it ends.
    pub end: StageEnd,
    /// What its requests ask, by the number of the request within the run.
    pub prompts: PromptSource,
    /// True of a warm-up: the stage that follows begins at this one's end with the requests in
    /// flight, slots and all. Else what is in flight at the end drains first.
    pub hands_over: bool,
}

/// When a stage stops sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageEnd {
    /// After so long.
    After(Duration),
    /// After so many requests.
    Requests(u64),
}

impl StagePlan {
    /// When its requests are due, as offsets from its start, ascending; `None` in a closed loop.
    pub fn deadlines(&self) -> Option<impl Iterator<Item = Duration> + use<>> {
        let (window, most) = match self.end {
            StageEnd::After(window) => (window, usize::MAX),
            StageEnd::Requests(requests) => (
                Duration::MAX,
                usize::try_from(requests).unwrap_or(usize::MAX),
            ),
        };
        Some(self.arrivals.deadlines(window)?.take(most))
    }

    /// How long it sends, as far as can be told: a closed loop that ends by its requests is taken
    /// to need 1.5 s each.
    pub fn expected_duration(&self) -> Duration {
        match (self.end, self.arrivals) {
            (StageEnd::After(duration), _) => duration,
            (StageEnd::Requests(requests), Arrivals::Closed { concurrency }) => {
                let rounds = requests.div_ceil(u64::from(concurrency.get()));
                ASSUMED_REQUEST.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
            }
            (
                StageEnd::Requests(requests),
                Arrivals::Constant { rate } | Arrivals::Poisson { rate, .. },
            ) => nominal_duration(requests, rate),
        }
    }
}

impl Profile {
    /// The stages in the order in which they run, each steady one after its warm-up.
    pub fn plan(&self) -> Vec<StagePlan> {
        let mut plan = Vec::new();
        for (name, arrivals, end) in self.steady_loads() {
            if let Some(warm_up) = self.warm_up_before(arrivals, end) {
                plan.push(StagePlan {
                    name: format!("warm-up to {name}"),
                    phase: Phase::WarmUp,
                    arrivals: self.reseeded(arrivals, plan.len()),
                    end: StageEnd::After(warm_up),
                    prompts: self.prompts.clone(),
                    hands_over: true,
                });
            }
            plan.push(StagePlan {
                name,
                phase: Phase::Steady,
                arrivals: self.reseeded(arrivals, plan.len()),
                end,
                prompts: self.prompts.clone(),
                hands_over: false,
            });
        }
        plan
    }

    /// How many steady stages there are: what people count as stages.
    pub fn steady_stages(&self) -> usize {
        self.steady_loads().count()
    }

    /// How long the stages send, as far as can be told before the run. Probes and drains come on
    /// top.
    pub fn expected_duration(&self) -> Duration {
        let stages = self.plan();
        stages.iter().map(StagePlan::expected_duration).sum()
    }

    fn steady_loads(&self) -> Box<dyn Iterator<Item = (String, Arrivals, StageEnd)> + '_> {
        match &self.load {
            Load::Open(open) => {
                // Each from the first, so that no error adds up; all are in range, as was checked.
                let rate = |step| open.rate.grown(open.factor.powi(step as i32));
                Box::new((0..open.steps).filter_map(rate).map(|rate| {
                    let arrivals = if open.poisson {
                        Arrivals::Poisson { rate, seed: 0 }
                    } else {
                        Arrivals::Constant { rate }
                    };
                    (rate.to_string(), arrivals, open.end)
                }))
            }
            Load::Closed(levels) => Box::new(levels.iter().map(|&(concurrency, end)| {
                let name = format!("concurrency {concurrency}");
                (name, Arrivals::Closed { concurrency }, end)
            })),
        }
    }

    fn warm_up_before(&self, arrivals: Arrivals, end: StageEnd) -> Option<Duration> {
        let steady = match (end, arrivals.offered_rate()) {
            (StageEnd::After(duration), _) => Some(duration),
            (StageEnd::Requests(requests), Some(rate)) => Some(nominal_duration(requests, rate)),
            (StageEnd::Requests(_), None) => None,
        };
        let share = self.warm_up.share_percent.zip(steady);
        let bound = share.map(|(percent, steady)| steady.mul_f64(percent / 100.0));
        let warm_up = bound.map_or(self.warm_up.longest, |bound| {
            self.warm_up.longest.min(bound)
        });
        Some(warm_up).filter(|warm_up| !warm_up.is_zero())
    }

    /// Arrivals with a seed of the stage's own: stages seeded alike would have the same bursts.
    fn reseeded(&self, arrivals: Arrivals, stage: usize) -> Arrivals {
        match arrivals {
            Arrivals::Poisson { rate, .. } => {
                let mut rng = ChaCha8Rng::seed_from_u64(self.prompts.seed());
                // Requests have the streams from 0 up, stages those from the top down.
                rng.set_stream(u64::MAX - stage as u64);
                let seed = rng.next_u64();
                Arrivals::Poisson { rate, seed }
            }
            other => other,
        }
    }
}

/// How long so many arrivals take at a rate.
fn nominal_duration(requests: u64, rate: OfferedRate) -> Duration {
    let seconds = requests as f64 / rate.per_second();
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
