//! Which faults strike a request, and what they make of its reply.

use std::time::Duration;

use super::call::Call;
use super::config::SimulatorConfig;
use super::fault::{
    Abort, BundledChunks, Fault, Malformed, ReasoningField, ReplyFault, UsagePlace,
};

/// What becomes of a request that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It is served.
    Reply(ReplyPlan),
    /// It is answered at once with an HTTP error.
    Fail(u16),
    /// It is refused because it has `stream_options`.
    RefuseUsage,
    /// It is never answered.
    Hang,
}

/// How a reply looks, whatever its timing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplyPlan {
    pub(crate) tokens: u32,
    pub(crate) finish_reason: &'static str,
    pub(crate) role_only: bool,
    /// Tokens in the first chunk, and in each later one.
    pub(crate) bundle: (u32, u32),
    /// How many of the tokens are reasoning, and under which name.
    pub(crate) reasoning: Option<(u32, ReasoningField)>,
    pub(crate) tool_call: bool,
    pub(crate) usage: Option<UsagePlace>,
    pub(crate) usage_delay: Duration,
    pub(crate) done: bool,
    pub(crate) cut: Option<(u32, Cut)>,
    pub(crate) stall: Option<(u32, Duration)>,
    pub(crate) malformed: Option<(u32, Malformed)>,
    pub(crate) split: Option<(u32, Duration)>,
    pub(crate) pings: bool,
    pub(crate) crlf: bool,
}

/// How a reply ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Abort(Abort),
    Error,
}

impl Plan {
    /// The fate of a request; its ordinal counts from 0. The same request with
    /// the same ordinal always meets the same one.
    pub(crate) fn new(config: &SimulatorConfig, call: &Call, ordinal: u64) -> Self {
        let asked = call.output_tokens.unwrap_or(config.default_output_tokens);
        let mut reply = ReplyPlan::sound(asked.get(), call);
        for fault in &config.faults {
            let Fault::Reply { every, fault } = *fault else {
                continue;
            };
            if !(ordinal + 1).is_multiple_of(u64::from(every.get())) {
                continue;
            }
            match fault {
                ReplyFault::Hang => return Self::Hang,
                ReplyFault::HttpError { status } => return Self::Fail(status),
                ReplyFault::UsageRefused if call.stream_options => return Self::RefuseUsage,
                other => reply.suffer(other),
            }
        }
        Self::Reply(reply)
    }
}

impl ReplyPlan {
    /// A sound reply of five tokens without usage.
    #[cfg(test)]
    pub(crate) const EXAMPLE: Self = Self {
        tokens: 5,
        finish_reason: "length",
        role_only: false,
        bundle: (1, 1),
        reasoning: None,
        tool_call: false,
        usage: None,
        usage_delay: Duration::ZERO,
        done: true,
        cut: None,
        stall: None,
        malformed: None,
        split: None,
        pings: false,
        crlf: false,
    };

    fn sound(tokens: u32, call: &Call) -> Self {
        let usage = (!call.stream || call.include_usage).then_some(UsagePlace::Own);
        Self {
            tokens,
            finish_reason: "length",
            role_only: false,
            bundle: (1, 1),
            reasoning: None,
            tool_call: false,
            usage,
            usage_delay: Duration::ZERO,
            done: true,
            cut: None,
            stall: None,
            malformed: None,
            split: None,
            pings: false,
            crlf: false,
        }
    }

    fn suffer(&mut self, fault: ReplyFault) {
        match fault {
            ReplyFault::RoleOnly => self.role_only = true,
            ReplyFault::Bundle { tokens, chunks } => {
                let later = match chunks {
                    BundledChunks::First => 1,
                    BundledChunks::All => tokens.get(),
                };
                self.bundle = (tokens.get(), later);
            }
            ReplyFault::Reasoning { tokens, field } => {
                self.reasoning = Some((tokens.get(), field));
            }
            ReplyFault::ToolCall => {
                self.tool_call = true;
                self.finish_reason = "tool_calls";
            }
            ReplyFault::StopEarly { tokens } if tokens.get() < self.tokens => {
                self.tokens = tokens.get();
                self.finish_reason = "stop";
            }
            ReplyFault::NoUsage => self.usage = None,
            ReplyFault::LateUsage { at, delay } => {
                self.usage = self.usage.map(|_| at);
                self.usage_delay = delay;
            }
            ReplyFault::NoDone => self.done = false,
            ReplyFault::Abort { after, how } => self.cut_at(after, Cut::Abort(how)),
            ReplyFault::ErrorEvent { after } => self.cut_at(after, Cut::Error),
            ReplyFault::Stall { after, pause } => self.stall = Some((after, pause)),
            ReplyFault::Malformed { after, how } => self.malformed = Some((after, how)),
            ReplyFault::SplitWrites { pieces, gap } => self.split = Some((pieces.get(), gap)),
            ReplyFault::Pings => self.pings = true,
            ReplyFault::Crlf => self.crlf = true,
            // These are no matter of a reply's looks, or change nothing here.
            ReplyFault::StopEarly { .. }
            | ReplyFault::UsageRefused
            | ReplyFault::HttpError { .. }
            | ReplyFault::Hang => {}
        }
    }

    /// The earliest of several ends is the one that happens.
    fn cut_at(&mut self, after: u32, how: Cut) {
        if self.cut.is_none_or(|(earlier, _)| after < earlier) {
            self.cut = Some((after, how));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn plan(faults: &[&str], ordinal: u64) -> Plan {
        let mut config = SimulatorConfig::new(NonZeroU32::MIN);
        config.faults = faults
            .iter()
            .map(|fault| fault.parse().expect(fault))
            .collect();
        let call = Call {
            model: "m".to_owned(),
            stream: true,
            stream_options: true,
            include_usage: true,
            prompt_tokens: 1,
            output_tokens: NonZeroU32::new(10),
        };
        Plan::new(&config, &call, ordinal)
    }

    fn reply(faults: &[&str]) -> ReplyPlan {
        match plan(faults, 0) {
            Plan::Reply(reply) => reply,
            other => panic!("expected a reply, got {other:?}"),
        }
    }

    #[test]
    fn every_nth_request_is_struck() {
        let struck: Vec<u64> = (0..9)
            .filter(|ordinal| plan(&["http-error:every=3,status=502"], *ordinal) == Plan::Fail(502))
            .collect();
        assert_eq!(struck, [2, 5, 8]);
    }

    #[test]
    fn faults_act_together() {
        let reply = reply(&["crlf", "pings", "bundle:tokens=3", "no-done"]);
        assert!(reply.crlf && reply.pings && !reply.done);
        assert_eq!(reply.bundle, (3, 1));
        assert_eq!(reply.usage, Some(UsagePlace::Own));
    }

    #[test]
    fn the_earliest_end_wins() {
        let reply = reply(&["abort:after=5", "error-event:after=2", "abort:after=4"]);
        assert_eq!(reply.cut, Some((2, Cut::Error)));
    }

    #[test]
    fn usage_that_is_missing_cannot_be_late() {
        assert_eq!(reply(&["no-usage", "late-usage:at=finish"]).usage, None);
        assert_eq!(
            reply(&["late-usage:at=finish"]).usage,
            Some(UsagePlace::Finish)
        );
    }

    #[test]
    fn a_reply_is_only_ever_shortened() {
        let short = reply(&["stop-early:tokens=2"]);
        assert_eq!((short.tokens, short.finish_reason), (2, "stop"));
        let whole = reply(&["stop-early:tokens=20"]);
        assert_eq!((whole.tokens, whole.finish_reason), (10, "length"));
    }
}
