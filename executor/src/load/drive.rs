//! The one load loop: arrivals are data, requests are tasks, time is absolute.
//!
//! The loop waits for the next of three things: an arrival that falls due, a
//! request that ended, or the brake. It never waits for a reply before it
//! sends what is due. All of it runs on one thread, so that nothing is locked.

mod brake;
mod due;
mod held_up;
mod in_flight;
mod opening;
mod record;
mod request;
mod second;
mod send;

use std::rc::Rc;
use std::time::Duration;

use plimsoll_ingest::Phase;
use tokio::sync::{mpsc, watch};

use super::abort::{AbortRules, AbortWatch};
use super::arrivals::Arrivals;
use super::chat::ChatOptions;
use super::client::Client;
use super::clock::RunClock;
use super::live::{Progress, Recent};
use super::profile::{StageEnd, StagePlan};
use super::recorder::Recorder;
use super::rows::Measured;
use super::stop::{Brake, StopSignal};
use super::workload::PromptSource;
use crate::timer::PreciseTimer;
use crate::verdict::Ending;

use due::{Due, nanos};
pub(crate) use held_up::HeldUp;
use in_flight::InFlight;
pub(crate) use request::RequestShape;
use request::{Ended, Prepared};
use send::Sent;

const SECOND_NS: i64 = 1_000_000_000;
/// The loop looks after itself so often: progress, brake, clocks, spool.
const ROUND_NS: i64 = 100_000_000;
/// After a stop, requests in flight may end for so long.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What the loop shows and heeds.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) profile: String,
    pub(crate) steady_stages: usize,
    pub(crate) expected: Duration,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) stop: StopSignal,
    pub(crate) abort: AbortRules,
    /// Requests in flight past which arrivals are missed.
    pub(crate) in_flight_limit: usize,
}

/// The stage under way.
struct Current {
    number: i64,
    name: String,
    phase: Phase,
    arrivals: Arrivals,
    prompts: PromptSource,
    due: Due,
    started_ns: i64,
    /// When it stops sending; `None` where a number of requests ends it.
    ends_ns: Option<i64>,
    /// Requests that it may still send; `None` where time ends it.
    left: Option<u64>,
    /// Until when the arrivals of an open loop last that a number of requests ends: the last one
    /// has its gap, too.
    lasts_until_ns: i64,
    missed: i64,
    /// How long the loop came later than it meant to, where that was long.
    held_up_ns: i64,
    prepared: Option<Prepared>,
}

/// What was counted since the last tick.
#[derive(Debug, Default, Clone, Copy)]
struct Tick {
    offered: i64,
    completed: i64,
    good: i64,
    errors: i64,
}

/// Sends a run's requests and records what becomes of them.
pub(crate) struct Generator {
    client: Rc<Client>,
    clock: Rc<RunClock>,
    timer: PreciseTimer,
    shape: Rc<RequestShape>,
    outside: Outside,
    recorder: Recorder,
    ended: mpsc::UnboundedReceiver<Ended>,
    report: mpsc::UnboundedSender<Ended>,
    brake: watch::Receiver<Brake>,
    watch: AbortWatch,
    recent: Recent,
    next_request: u64,
    next_stage: i64,
    steady_begun: usize,
    in_flight: InFlight,
    sent: u64,
    ok: u64,
    errors: u64,
    missed: u64,
    tick: Tick,
    next_tick_ns: i64,
    next_round_ns: i64,
    /// Since when nothing may be sent; `None` where it may.
    paused_since_ns: Option<i64>,
    /// How long nothing could be sent while a stage was under way.
    paused_ns: i64,
    /// When the loop means to be back at the latest.
    back_by_ns: i64,
    /// The steady stage of which the loop stood still for the largest part.
    held_up: Option<HeldUp>,
    /// Sum and number of the latencies of this stage's ok requests, end to end.
    e2e_ns: (i64, i64),
    /// Set when the run has to end before its plan does.
    ending: Option<Ending>,
}

impl Generator {
    pub(crate) fn new(
        client: Rc<Client>,
        clock: Rc<RunClock>,
        timer: PreciseTimer,
        shape: RequestShape,
        outside: Outside,
        recorder: Recorder,
    ) -> Self {
        // Unbounded in type only: each request in flight reports once, and
        // requests in flight are limited.
        let (report, ended) = mpsc::unbounded_channel();
        Self {
            client,
            clock,
            timer,
            shape: Rc::new(shape),
            brake: outside.stop.watch(),
            watch: AbortWatch::new(outside.abort),
            outside,
            recorder,
            ended,
            report,
            recent: Recent::default(),
            next_request: 0,
            next_stage: 0,
            steady_begun: 0,
            in_flight: InFlight::default(),
            sent: 0,
            ok: 0,
            errors: 0,
            missed: 0,
            tick: Tick::default(),
            next_tick_ns: SECOND_NS,
            next_round_ns: 0,
            paused_since_ns: None,
            paused_ns: 0,
            back_by_ns: i64::MAX,
            held_up: None,
            e2e_ns: (0, 0),
            ending: None,
        }
    }

    /// Changes what the following requests have in common.
    pub(crate) fn set_options(&mut self, options: ChatOptions) {
        Rc::make_mut(&mut self.shape).options = options;
    }

    /// Runs the stages of a plan, one after another.
    pub(crate) async fn run(&mut self, plan: &[StagePlan]) -> Ending {
        for (index, stage) in plan.iter().enumerate() {
            self.stage(stage).await;
            let last = index + 1 == plan.len();
            if self.ending.is_some() || last || !stage.hands_over {
                self.drain().await;
            }
            if let Some(ending) = self.ending.take() {
                return ending;
            }
        }
        Ending::Finished
    }

    /// Gives back the recorder with all that was measured.
    pub(crate) fn into_recorder(mut self) -> Recorder {
        // The last second is as long as it was; without it sums would not add up.
        self.push_tick(None);
        self.recorder
    }

    async fn stage(&mut self, plan: &StagePlan) {
        // What was asked before the stage counts for it, too.
        self.heed_brake();
        let begun_ns = self.clock.now_ns();
        let started_ns = begun_ns + nanos(self.before_window(plan));
        let opening = self.opening(plan);
        let (ends_ns, left) = match plan.end {
            StageEnd::After(duration) => {
                let lasts = duration.max(opening);
                (Some(started_ns + nanos(lasts)), None)
            }
            StageEnd::Requests(requests) => (None, Some(requests)),
        };
        let lasts = match plan.arrivals.offered_rate() {
            Some(_) => plan.expected_duration(),
            None => Duration::ZERO,
        };
        let mut stage = Current {
            number: self.next_stage,
            name: plan.name.clone(),
            phase: plan.phase,
            arrivals: plan.arrivals,
            prompts: plan.prompts.clone(),
            due: self.due(plan, begun_ns, opening),
            started_ns,
            ends_ns,
            left,
            lasts_until_ns: started_ns.saturating_add(nanos(lasts)),
            missed: 0,
            held_up_ns: 0,
            prepared: None,
        };
        self.next_stage += 1;
        if plan.phase == Phase::Steady {
            self.steady_begun += 1;
            self.e2e_ns = (0, 0);
        }
        let planned = stage.ends_ns.map_or(0, |ends_ns| ends_ns - started_ns);
        self.record(&stage, planned);
        self.back_by_ns = self.clock.now_ns();
        while self.ending.is_none() && !self.is_over(&mut stage) {
            match self.send_what_is_due(&mut stage) {
                // Whatever is owed, requests that are on their way have their turn.
                Sent::SomeOfIt => tokio::task::yield_now().await,
                Sent::AllOfIt => {
                    if stage.prepared.is_none() {
                        stage.prepared = Some(self.prepare_next(&stage.prompts));
                    }
                    self.wait(&mut stage).await;
                }
            }
            // All that has ended by now, before the next look at the clock.
            while let Ok(ended) = self.ended.try_recv() {
                self.on_end(ended, Some(&mut stage));
            }
            self.note_late(&mut stage);
            self.look_after(Some(&stage));
        }
        if let Some(unsent) = stage.prepared.take() {
            // Its number goes to the next request: numbers have no gaps.
            self.next_request = unsent.request_id;
        }
        // A closed loop that a number of requests ends lasts until the last of them has ended; the
        // arrivals of an open one are over, and what is in flight drains outside of its window.
        let closed = matches!(stage.due, Due::Closed(_));
        if closed && stage.ends_ns.is_none() && self.ending.is_none() {
            self.drain().await;
        }
        let until_ns = match stage.ends_ns {
            Some(ends_ns) => ends_ns.min(self.clock.now_ns()),
            None => self.clock.now_ns(),
        };
        self.record(&stage, until_ns - started_ns);
        self.note_held_up(&stage, until_ns);
    }

    fn is_over(&mut self, stage: &mut Current) -> bool {
        let now_ns = self.clock.now_ns();
        // What a pause holds back of a closed loop is not still to be sent; arrivals of an open one
        // are counted as missed first.
        let held = matches!(stage.due, Due::Closed(_)) && *self.brake.borrow() == Brake::Paused;
        match (stage.ends_ns, stage.left) {
            // What fell due before the end is still sent, however late.
            (Some(ends_ns), _) => {
                let sent = stage.due.next_ns().is_none_or(|due_ns| due_ns >= ends_ns);
                now_ns >= ends_ns && (sent || held)
            }
            (None, Some(left)) => left == 0 && now_ns >= stage.lasts_until_ns,
            (None, None) => true,
        }
    }

    async fn wait(&mut self, stage: &mut Current) {
        let paused = *self.brake.borrow() == Brake::Paused;
        let due_ns = stage.due.next_ns().filter(|_| !paused);
        let until_ns = [
            due_ns,
            Some(stage.ends_ns.unwrap_or(stage.lasts_until_ns))
                .filter(|ends_ns| *ends_ns > self.clock.now_ns()),
        ]
        .into_iter()
        .flatten()
        .fold(self.next_look_ns(), i64::min);
        self.back_by_ns = until_ns.max(self.back_by_ns);
        if until_ns <= self.clock.now_ns() {
            // A sleep that is over at once would let nobody else have a turn.
            tokio::task::yield_now().await;
            return;
        }
        tokio::select! {
            biased;
            ended = self.ended.recv() => {
                self.on_end(ended.expect("the loop holds a sender"), Some(stage));
            }
            () = self.timer.sleep_until(self.clock.instant(until_ns)) => {}
            _ = self.brake.changed() => {
                self.heed_brake_in(stage);
            }
        }
    }

    /// Waits for the requests in flight, each up to its timeout; those of a run that has to end
    /// early up to a grace.
    async fn drain(&mut self) {
        self.stop_holding_back();
        let mut give_up_ns: Option<i64> = None;
        while self.in_flight.count() > 0 {
            let now_ns = self.clock.now_ns();
            if self.ending.is_some() {
                let give_up_ns = give_up_ns.get_or_insert(now_ns + nanos(STOP_GRACE));
                if *give_up_ns <= now_ns {
                    self.in_flight.cancel();
                }
            }
            let grace_ns = give_up_ns.filter(|give_up_ns| *give_up_ns > now_ns);
            let until_ns = grace_ns.unwrap_or(i64::MAX).min(self.next_look_ns());
            tokio::select! {
                biased;
                ended = self.ended.recv() => {
                    self.on_end(ended.expect("the loop holds a sender"), None);
                }
                () = self.timer.sleep_until(self.clock.instant(until_ns)) => {}
                _ = self.brake.changed() => self.heed_stop(),
            }
            self.look_after(None);
        }
    }

    /// When the loop has to look after itself next.
    fn next_look_ns(&self) -> i64 {
        let deadline_ns = self.in_flight.next_deadline_ns().unwrap_or(i64::MAX);
        deadline_ns.min(self.next_round_ns).min(self.next_tick_ns)
    }

    /// What has to be done a few times a second, or at a request's deadline.
    fn look_after(&mut self, stage: Option<&Current>) {
        let now_ns = self.clock.now_ns();
        self.in_flight.expire(now_ns);
        while now_ns >= self.next_tick_ns {
            self.push_tick(stage);
        }
        if now_ns < self.next_round_ns {
            return;
        }
        self.next_round_ns = now_ns + ROUND_NS;
        self.clock.resample();
        if self.ending.is_none() {
            let at = Duration::from_nanos(u64::try_from(now_ns).unwrap_or(0));
            self.ending = self
                .watch
                .check(at, self.in_flight.count())
                .map(Ending::Aborted);
        }
        if !self.recorder.flush() && self.ending.is_none() {
            self.ending = Some(Ending::Incomplete(
                "the spool cannot be written".to_string(),
            ));
        }
        self.show(stage, now_ns);
    }

    fn on_end(&mut self, ended: Ended, stage: Option<&mut Current>) {
        self.count_end(&ended.measured);
        if let Some(Current {
            due: Due::Closed(slots),
            ..
        }) = stage
        {
            // A slot falls free when the reply is there, not when we notice.
            let now_ns = self.clock.now_ns();
            slots.give_back(ended.freed_ns.min(now_ns), self.in_flight.count());
        }
        self.recorder.waiting().ended.push(ended.measured);
    }

    fn count_end(&mut self, measured: &Measured) {
        self.in_flight
            .end(measured.trace.identity.request_id as u64);
        let ok = measured.is_ok();
        self.ok += u64::from(ok);
        self.errors += u64::from(!ok);
        self.tick.completed += i64::from(ok);
        self.tick.good += i64::from(measured.is_good());
        self.tick.errors += i64::from(!ok);
        let done_ns = measured.trace.done_ns;
        if ok {
            self.e2e_ns.0 += measured.metrics.e2e_ns;
            self.e2e_ns.1 += 1;
        }
        self.recent.add(done_ns, ok, measured.metrics.ttft_ns);
        self.watch.ended(
            Duration::from_nanos(u64::try_from(done_ns).unwrap_or(0)),
            ok,
        );
    }
}
