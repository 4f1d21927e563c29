//! Whole replies, step by step.

use std::num::NonZeroU32;

use serde_json::Value;

use super::super::call::Call;
use super::super::fault::Abort;
use super::super::plan::Plan;
use super::*;

struct Sent {
    due_ms: i64,
    kinds: Vec<EventKind>,
    tokens: u32,
    text: Vec<u8>,
}

struct Played {
    sent: Vec<Sent>,
    broken: Option<(i64, Abort)>,
}

impl Played {
    fn dues_ms(&self) -> Vec<i64> {
        self.sent.iter().map(|sent| sent.due_ms).collect()
    }

    fn tokens(&self) -> Vec<u32> {
        self.sent.iter().map(|sent| sent.tokens).collect()
    }

    fn last_kinds(&self) -> &[EventKind] {
        &self.sent.last().expect("something was sent").kinds
    }

    fn text(&self) -> String {
        let bytes = self.sent.iter().flat_map(|sent| sent.text.clone());
        String::from_utf8(bytes.collect()).expect("UTF-8")
    }

    /// The data of every event.
    fn events(&self) -> Vec<Value> {
        self.text()
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).expect(data))
            .collect()
    }
}

/// A reply of five tokens: TTFT 50 ms, ITL 10 ms, starting at 0.
fn play(faults: &[&str], stream: bool) -> Played {
    let mut config = SimulatorConfig::new(NonZeroU32::MIN);
    config.prompt_token = Duration::ZERO;
    config.faults = faults
        .iter()
        .map(|fault| fault.parse().expect(fault))
        .collect();
    let call = Call {
        model: config.model.clone(),
        stream,
        stream_options: true,
        include_usage: true,
        prompt_tokens: 3,
        output_tokens: NonZeroU32::new(5),
    };
    let Plan::Reply(plan) = Plan::new(&config, &call, 0) else {
        panic!("no reply");
    };
    let to = ReplyTo {
        config: &config,
        created_s: 1,
        ordinal: 0,
        prompt_tokens: 3,
        start_ns: 0,
    };
    let steps: Vec<Step> = if stream {
        let mut script = Script::new(&to, plan);
        std::iter::from_fn(|| script.next(|| 1)).collect()
    } else {
        vec![whole_reply(&to, &plan, 1)]
    };
    let mut played = Played {
        sent: vec![],
        broken: None,
    };
    for step in steps {
        let due_ms = step.due_ns() / 1_000_000;
        match step {
            Step::Break { how, .. } => played.broken = Some((due_ms, how)),
            Step::Send(emission) => played.sent.push(Sent {
                due_ms,
                kinds: emission.marks.iter().map(|mark| mark.kind).collect(),
                tokens: emission.marks.tokens(),
                text: emission.frame.into_bytes().to_vec(),
            }),
        }
    }
    played
}

fn stream(fault: &str) -> Played {
    play(&[fault], true)
}

#[test]
fn a_sound_reply() {
    let reply = play(&[], true);
    assert_eq!(reply.dues_ms(), [50, 60, 70, 80, 90]);
    assert_eq!(reply.tokens(), [1, 1, 1, 1, 1]);
    let end = [
        EventKind::Content,
        EventKind::Finish,
        EventKind::Usage,
        EventKind::Done,
    ];
    assert_eq!(reply.last_kinds(), end);
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
    let events = reply.events();
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "a mark on the hull");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[5]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[6]["choices"], serde_json::json!([]));
    assert_eq!(events[6]["usage"]["completion_tokens"], 5);
    assert_eq!(events[6]["usage"]["prompt_tokens"], 3);
}

#[test]
fn a_role_comes_first_and_alone() {
    let reply = stream("role-only");
    assert_eq!(reply.dues_ms(), [0, 50, 60, 70, 80, 90]);
    assert_eq!(reply.sent[0].kinds, [EventKind::Role]);
    let events = reply.events();
    assert_eq!(events[0]["choices"][0]["delta"]["content"], "");
    assert!(events[1]["choices"][0]["delta"]["role"].is_null());
}

#[test]
fn bundles_leave_when_their_last_token_is_due() {
    let first = stream("bundle:tokens=3");
    assert_eq!(first.dues_ms(), [70, 80, 90]);
    assert_eq!(first.tokens(), [3, 1, 1]);
    let all = stream("bundle:tokens=2,chunks=all");
    assert_eq!(all.dues_ms(), [60, 80, 90]);
    assert_eq!(all.tokens(), [2, 2, 1]);
}

#[test]
fn channels_follow_each_other_and_bundles_stay_within_one() {
    let faults = [
        "reasoning:tokens=3",
        "tool-call",
        "bundle:tokens=2,chunks=all",
    ];
    let reply = play(&faults, true);
    assert_eq!(reply.tokens(), [2, 1, 2]);
    assert_eq!(reply.sent[1].kinds, [EventKind::Reasoning]);
    assert_eq!(reply.last_kinds()[0], EventKind::Tool);
    let events = reply.events();
    assert_eq!(
        events[0]["choices"][0]["delta"]["reasoning_content"],
        "a mark"
    );
    let call = &events[2]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], r#"{"query":"the hull"}"#);
    assert_eq!(events[3]["choices"][0]["finish_reason"], "tool_calls");
    let details = &events[4]["usage"]["completion_tokens_details"];
    assert_eq!(details["reasoning_tokens"], 3);
}

#[test]
fn usage_in_every_place() {
    let missing = stream("no-usage");
    assert!(!missing.text().contains("prompt_tokens"));

    let content = stream("late-usage:at=content");
    assert_eq!(content.events()[4]["usage"]["completion_tokens"], 5);
    assert!(!content.last_kinds().contains(&EventKind::Usage));

    let finish = stream("late-usage:at=finish");
    assert_eq!(finish.events()[5]["usage"]["completion_tokens"], 5);

    let own = stream("late-usage");
    assert_eq!(own.dues_ms(), [50, 60, 70, 80, 90, 190]);
    assert_eq!(own.last_kinds(), [EventKind::Usage, EventKind::Done]);

    let after = stream("late-usage:at=after-done,delay=0s");
    let end = [
        EventKind::Content,
        EventKind::Finish,
        EventKind::Done,
        EventKind::Usage,
    ];
    assert_eq!(after.last_kinds(), end);
    let later = stream("late-usage:at=after-done");
    assert_eq!(later.last_kinds(), [EventKind::Usage]);
    assert_eq!(later.sent[4].kinds.last(), Some(&EventKind::Done));
}

#[test]
fn a_reply_breaks_off_where_the_next_chunk_was_due() {
    let reply = stream("abort:after=2,how=close");
    assert_eq!(reply.dues_ms(), [50, 60]);
    assert_eq!(reply.broken, Some((70, Abort::Close)));
    assert_eq!(stream("abort:after=5").broken, None);
    assert_eq!(
        stream("abort:after=0,how=end").broken,
        Some((50, Abort::End))
    );
}

#[test]
fn an_error_object_takes_the_place_of_a_chunk() {
    let reply = stream("error-event:after=1");
    assert_eq!(reply.dues_ms(), [50, 60]);
    assert_eq!(reply.last_kinds(), [EventKind::Error, EventKind::Done]);
    assert!(reply.events()[1]["error"]["message"].is_string());
}

#[test]
fn a_stall_moves_what_follows() {
    let reply = stream("stall:after=2,pause=1s");
    assert_eq!(reply.dues_ms(), [50, 60, 1_070, 1_080, 1_090]);
}

#[test]
fn a_malformed_event_comes_on_top() {
    for how in ["json", "utf8", "line"] {
        let reply = stream(&format!("malformed:after=2,how={how}"));
        assert_eq!(
            reply.sent[2].kinds,
            [EventKind::Malformed, EventKind::Content]
        );
        assert_eq!(reply.tokens(), [1, 1, 1, 1, 1]);
    }
}

#[test]
fn pings_come_before_every_chunk() {
    let reply = stream("pings");
    assert_eq!(reply.dues_ms(), [0, 50, 60, 70, 80, 90]);
    assert_eq!(reply.sent[0].text, b": ping\n\n");
    assert_eq!(reply.text().matches(": ping\n\n").count(), 6);
    assert_eq!(reply.events().len(), 7);
}

#[test]
fn lines_may_end_in_cr_lf() {
    let text = play(&["crlf", "pings", "role-only"], true).text();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(text.ends_with("data: [DONE]\r\n\r\n"));
}

#[test]
fn the_end_may_be_missing() {
    let reply = stream("no-done");
    assert!(!reply.text().contains("[DONE]"));
    assert_eq!(reply.last_kinds().last(), Some(&EventKind::Usage));
}

#[test]
fn a_reply_may_stop_early() {
    let reply = stream("stop-early:tokens=2");
    assert_eq!(reply.dues_ms(), [50, 60]);
    assert_eq!(reply.events()[2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(reply.events()[3]["usage"]["completion_tokens"], 2);
}

#[test]
fn split_writes_are_the_same_bytes_and_the_same_every_time() {
    let split = || stream("split-writes:pieces=4,gap=1ms");
    let reply = split();
    assert_eq!(reply.sent.len(), 20);
    assert_eq!(reply.dues_ms()[..5], [50, 51, 52, 53, 60]);
    assert_eq!(reply.events().len(), 7);
    let bytes = |played: Played| -> Vec<Vec<u8>> {
        played.sent.into_iter().map(|sent| sent.text).collect()
    };
    assert_eq!(bytes(reply), bytes(split()));
}

#[test]
fn a_whole_reply_is_due_with_its_last_token() {
    let reply = play(&["reasoning:tokens=2"], false);
    assert_eq!(reply.dues_ms(), [90]);
    assert_eq!(reply.last_kinds(), [EventKind::Whole]);
    assert_eq!(reply.tokens(), [5]);
    let body: Value = serde_json::from_str(&reply.text()).expect("JSON");
    let message = &body["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "a mark");
    assert_eq!(message["content"], "on the hull");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["usage"]["total_tokens"], 8);
}

#[test]
fn a_whole_tool_call_has_its_arguments_as_text() {
    let reply = play(&["tool-call"], false);
    let body: Value = serde_json::from_str(&reply.text()).expect("JSON");
    let call = &body["choices"][0]["message"]["tool_calls"][0]["function"];
    let arguments = call["arguments"].as_str().expect("text");
    let arguments: Value = serde_json::from_str(arguments).expect("JSON in it");
    assert_eq!(arguments["query"], "a mark on the hull");
}

#[test]
fn a_whole_reply_may_break_or_be_unreadable() {
    let broken = play(&["abort:after=2,how=reset"], false);
    assert_eq!(broken.broken, Some((70, Abort::Reset)));
    let malformed = play(&["malformed"], false);
    serde_json::from_slice::<Value>(&malformed.sent[0].text).expect_err("cut off");
    assert_eq!(play(&["stall:pause=1s"], false).dues_ms(), [1_090]);
}
