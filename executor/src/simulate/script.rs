//! Everything that a reply sends, and when: computed, not yet sent.
//!
//! A script yields [`Step`]s in the order of their deadlines. It knows nothing
//! of sockets and reads no clock, so that a test sees a whole reply at once.

mod emission;
mod split;
mod whole;

use std::collections::VecDeque;
use std::time::Duration;

use super::config::SimulatorConfig;
use super::event::{Channel, Delta, EventShape, Usage};
use super::fault::UsagePlace;
use super::pace::{Chance, Pace, random};
use super::plan::{Cut, ReplyPlan};
use super::truth::EventKind;
use super::wording::Wording;

pub(crate) use emission::{Emission, Marks, Step};
pub(crate) use whole::whole_reply;

use split::Splitter;

/// The steps of one streamed reply.
#[derive(Debug)]
pub(crate) struct Script {
    plan: ReplyPlan,
    shape: EventShape,
    pace: Pace,
    wording: Wording,
    usage: Usage,
    splitter: Option<Splitter>,
    stage: Stage,
    /// Tokens and chunks with tokens so far.
    tokens: u32,
    chunks: u32,
    /// What is left of an event that was split.
    pieces: VecDeque<Emission>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Opening { start_ns: i64 },
    Tokens,
    LateUsage { due_ns: i64 },
    Finished,
}

/// Which reply is meant: everything but its looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyTo<'a> {
    pub(crate) config: &'a SimulatorConfig,
    /// When the server started, in seconds since 1970.
    pub(crate) created_s: i64,
    pub(crate) ordinal: u64,
    pub(crate) prompt_tokens: u32,
    /// When its service begins, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) start_ns: i64,
}

impl ReplyTo<'_> {
    fn pace(&self) -> Pace {
        Pace::new(self.config, self.ordinal, self.prompt_tokens, self.start_ns)
    }

    fn usage(&self, plan: &ReplyPlan, wording: &Wording) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: plan.tokens,
            reasoning_tokens: wording.reasoning_tokens(),
        }
    }
}

impl Script {
    pub(crate) fn new(reply: &ReplyTo<'_>, plan: ReplyPlan) -> Self {
        let wording = Wording::new(&plan, reply.ordinal);
        let splitter = plan.split.map(|(pieces, gap)| {
            let borders = random(reply.config.seed, reply.ordinal, Chance::Borders);
            Splitter::new(pieces, gap, borders)
        });
        Self {
            shape: EventShape::new(
                reply.ordinal,
                reply.created_s,
                &reply.config.model,
                plan.crlf,
                plan.usage.is_some(),
            ),
            pace: reply.pace(),
            usage: reply.usage(&plan, &wording),
            plan,
            wording,
            splitter,
            stage: Stage::Opening {
                start_ns: reply.start_ns,
            },
            tokens: 0,
            chunks: 0,
            pieces: VecDeque::new(),
        }
    }

    /// The next step; `None` at the end. `busy` tells how many requests are
    /// served now.
    pub(crate) fn next(&mut self, busy: impl Fn() -> u32) -> Option<Step> {
        if let Some(piece) = self.pieces.pop_front() {
            return Some(Step::Send(piece));
        }
        match (self.compose(busy)?, &mut self.splitter) {
            (Step::Send(emission), Some(splitter)) => {
                self.pieces = splitter.split(emission);
                self.pieces.pop_front().map(Step::Send)
            }
            (step, _) => Some(step),
        }
    }

    fn compose(&mut self, busy: impl Fn() -> u32) -> Option<Step> {
        loop {
            match self.stage {
                Stage::Opening { start_ns } => {
                    self.stage = Stage::Tokens;
                    if self.plan.role_only || self.plan.pings {
                        return Some(Step::Send(self.opening(start_ns)));
                    }
                }
                Stage::Tokens => return Some(self.chunk(busy)),
                Stage::LateUsage { due_ns } => {
                    self.stage = Stage::Finished;
                    return Some(Step::Send(self.late_usage(due_ns)));
                }
                Stage::Finished => return None,
            }
        }
    }

    /// What is sent before the first token, when the service begins.
    fn opening(&self, due_ns: i64) -> Emission {
        let mut out = String::new();
        let mut marks = Marks::default();
        if self.plan.pings {
            self.shape.ping(&mut out);
            marks.push(EventKind::Comment, 0);
        }
        if self.plan.role_only {
            let role = Delta {
                role: true,
                ..Delta::EMPTY
            };
            self.shape.delta(&mut out, &role);
            marks.push(EventKind::Role, 0);
        }
        Emission::new(due_ns, out.into_bytes(), marks)
    }

    /// The next chunk with tokens, and all that belongs to it.
    fn chunk(&mut self, busy: impl Fn() -> u32) -> Step {
        let here = self.chunks;
        if let Some((after, pause)) = self.plan.stall
            && after == here
        {
            self.pace.delay(pause);
        }
        let bundle = match here {
            0 => self.plan.bundle.0,
            _ => self.plan.bundle.1,
        };
        let (channel, border) = self.wording.channel(self.tokens);
        let from = self.tokens;
        let to = from.saturating_add(bundle).min(border);
        let mut due_ns = self.pace.next(&busy);
        for _ in from + 1..to {
            due_ns = self.pace.next(&busy);
        }
        if let Some((after, cut)) = self.plan.cut
            && after == here
        {
            self.stage = Stage::Finished;
            return self.cut(due_ns, cut);
        }
        self.chunks += 1;
        self.tokens = to;

        let last = to == self.plan.tokens;
        let malformed = self.plan.malformed.filter(|(after, _)| *after == here);
        let plain = here > 0
            && to - from == 1
            && !last
            && !self.plan.pings
            && malformed.is_none()
            && !self.wording.begins_answer(from);
        if plain {
            let frame = self.shape.word(channel, self.wording.word(from));
            let marks = Marks::one(kind(channel), 1);
            return Step::Send(Emission {
                due_ns,
                frame,
                marks,
                apart: false,
            });
        }

        let mut marks = Marks::default();
        let mut bytes = Vec::new();
        if let Some((_, how)) = malformed {
            bytes = self.shape.malformed(how);
            marks.push(EventKind::Malformed, 0);
        }
        let mut out = String::new();
        if self.plan.pings {
            self.shape.ping(&mut out);
            marks.push(EventKind::Comment, 0);
        }
        let text = self.wording.text(from..to);
        let delta = Delta {
            role: here == 0 && !self.plan.role_only,
            text: Some((channel, &text)),
            call_begins: self.wording.begins_answer(from),
            finish_reason: None,
            usage: (last && self.plan.usage == Some(UsagePlace::Content)).then_some(self.usage),
        };
        self.shape.delta(&mut out, &delta);
        marks.push(kind(channel), to - from);
        if last {
            self.ending(due_ns, &mut out, &mut marks);
        }
        bytes.extend_from_slice(out.as_bytes());
        Step::Send(Emission::new(due_ns, bytes, marks))
    }

    /// What follows the last token, in the same write where it can.
    fn ending(&mut self, due_ns: i64, out: &mut String, marks: &mut Marks) {
        let finish = Delta {
            finish_reason: Some(self.plan.finish_reason),
            usage: (self.plan.usage == Some(UsagePlace::Finish)).then_some(self.usage),
            ..Delta::EMPTY
        };
        self.shape.delta(out, &finish);
        marks.push(EventKind::Finish, 0);
        let delay = self.plan.usage_delay;
        let own_chunk = matches!(
            self.plan.usage,
            Some(UsagePlace::Own | UsagePlace::AfterDone)
        );
        if own_chunk && delay > Duration::ZERO {
            if self.plan.usage == Some(UsagePlace::AfterDone) {
                self.done(out, marks);
            }
            let due_ns =
                due_ns.saturating_add_unsigned(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
            self.stage = Stage::LateUsage { due_ns };
            return;
        }
        self.stage = Stage::Finished;
        match self.plan.usage {
            Some(UsagePlace::Own) => {
                self.usage(out, marks);
                self.done(out, marks);
            }
            Some(UsagePlace::AfterDone) => {
                self.done(out, marks);
                self.usage(out, marks);
            }
            Some(UsagePlace::Content | UsagePlace::Finish) | None => self.done(out, marks),
        }
    }

    fn late_usage(&self, due_ns: i64) -> Emission {
        let mut out = String::new();
        let mut marks = Marks::default();
        self.usage(&mut out, &mut marks);
        if self.plan.usage == Some(UsagePlace::Own) {
            self.done(&mut out, &mut marks);
        }
        Emission::new(due_ns, out.into_bytes(), marks)
    }

    fn usage(&self, out: &mut String, marks: &mut Marks) {
        self.shape.usage(out, self.usage);
        marks.push(EventKind::Usage, 0);
    }

    fn done(&self, out: &mut String, marks: &mut Marks) {
        if self.plan.done {
            self.shape.done(out);
            marks.push(EventKind::Done, 0);
        }
    }

    fn cut(&self, due_ns: i64, cut: Cut) -> Step {
        let how = match cut {
            Cut::Abort(how) => how,
            Cut::Error => {
                let mut out = String::new();
                let mut marks = Marks::one(EventKind::Error, 0);
                self.shape.error(&mut out);
                self.done(&mut out, &mut marks);
                return Step::Send(Emission::new(due_ns, out.into_bytes(), marks));
            }
        };
        Step::Break { due_ns, how }
    }
}

fn kind(channel: Channel) -> EventKind {
    match channel {
        Channel::Content => EventKind::Content,
        Channel::Reasoning(_) => EventKind::Reasoning,
        Channel::Tool => EventKind::Tool,
    }
}

#[cfg(test)]
mod tests;
