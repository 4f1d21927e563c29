//! One request, worked out on paper, and the edges of each definition.

use plimsoll_ingest::{Phase, TimestampSource};

use super::super::chat::DeltaKind::{self, Content, Empty, Reasoning, RoleOnly, ToolCall};
use super::super::reply::{BodyEnd, ChunkMark, Redaction, Reply};
use super::super::trace::{RequestIdentity, RequestTrace};
use super::*;

/// A request due at 1000, sent at 1100 and done at 9000, with these chunks and tokens.
pub(super) fn trace(
    chunks: &[(i64, DeltaKind, Option<u16>)],
    output_tokens: Option<i64>,
) -> RequestTrace {
    let mut reply = Reply::streaming().finish(BodyEnd::Cancelled, &Redaction::none());
    reply.output_tokens = output_tokens;
    reply.chunks = chunks
        .iter()
        .map(|&(at_ns, kind, tokens)| ChunkMark {
            at_ns,
            kind,
            tokens,
        })
        .collect();
    RequestTrace {
        identity: RequestIdentity {
            request_id: 0,
            stage: 0,
            phase: Phase::Steady,
            workload_class: None,
        },
        scheduled_ns: 1000,
        sent_ns: 1100,
        done_ns: 9000,
        retries: 0,
        timestamp_source: TimestampSource::User,
        reply,
    }
}

/// Role, reasoning, two contents (the second of three tokens), a tool call, finish: 6 tokens.
fn full() -> RequestTrace {
    let chunks = [
        (2000, RoleOnly, Some(0)),
        (3000, Reasoning, Some(1)),
        (4000, Content, Some(1)),
        (5600, Content, Some(3)),
        (6000, ToolCall, Some(1)),
        (6500, Empty, Some(0)),
    ];
    trace(&chunks, Some(6))
}

#[test]
fn each_definition_on_paper() {
    let full = full();
    assert_eq!(queue(&full), 100);
    assert_eq!(ttft(&full, Since::Scheduled), Some(3000 - 1000));
    assert_eq!(ttft(&full, Since::Sent), Some(3000 - 1100));
    assert_eq!(ttft_any(&full, Since::Scheduled), Some(2000 - 1000));
    assert_eq!(ttft_any(&full, Since::Sent), Some(2000 - 1100));
    assert_eq!(ttft_content(&full, Since::Sent), Some(4000 - 1100));
    assert_eq!(tpot(&full), Some((6000 - 3000) / 5));
    assert_eq!(tpot_any(&full), Some((6500 - 2000) / 5));
    // 4900 / 6 = 816.67
    assert_eq!(ntpot(&full), Some(817));
    assert_eq!(e2e(&full, Since::Scheduled), 8000);
    assert_eq!(e2e(&full, Since::Sent), 7900);
    assert_eq!(e2e_last_token(&full, Since::Sent), Some(4900));
    assert_eq!(e2e_last_chunk(&full, Since::Sent), Some(5400));
    let gaps: Vec<i64> = chunk_gaps(&full).collect();
    assert_eq!(gaps, [1000, 1600, 400]);
    let all: Vec<i64> = all_chunk_gaps(&full).collect();
    assert_eq!(all, [1000, 1000, 1600, 400, 500]);
    assert_eq!(token_gaps(&full), Some(vec![1000, 534, 533, 533, 400]));
    assert_eq!(
        chunk_times(&full),
        Some(ChunkTimes {
            at_ns: vec![1900, 1000, 1600, 400],
            tokens: Some(vec![1, 1, 3, 1]),
        })
    );
    assert_eq!(
        RequestMetrics::of(&full),
        RequestMetrics {
            queue_ns: 100,
            ttft_ns: Some(2000),
            ttft_any_ns: Some(1000),
            tpot_ns: Some(600),
            ntpot_ns: Some(817),
            // Of 400, 1000 and 1600: ranks 1, 1.8, 1.9 and 1.98.
            itl_ns: Some([1000, 1480, 1540, 1588].into()),
            e2e_ns: 8000,
        }
    );
}

#[test]
fn no_chunk_means_no_token_times() {
    let none = trace(&[], Some(5));
    let metrics = RequestMetrics::of(&none);
    assert_eq!((metrics.queue_ns, metrics.e2e_ns), (100, 8000));
    assert_eq!(metrics.ttft_ns.or(metrics.ttft_any_ns), None);
    assert_eq!(metrics.tpot_ns.or(metrics.ntpot_ns), None);
    assert_eq!(metrics.itl_ns, None);
    assert_eq!((chunk_times(&none), token_gaps(&none)), (None, None));
}

#[test]
fn a_role_only_chunk_is_a_chunk_but_no_token() {
    let role = trace(&[(2000, RoleOnly, Some(0))], None);
    assert_eq!(ttft_any(&role, Since::Scheduled), Some(1000));
    assert_eq!(ttft(&role, Since::Scheduled), None);
    assert_eq!(chunk_times(&role), None);
}

#[test]
fn reasoning_alone_has_a_first_token_and_no_content() {
    let thinking = trace(&[(2000, Reasoning, None)], Some(1));
    assert_eq!(ttft(&thinking, Since::Sent), Some(900));
    assert_eq!(ttft_content(&thinking, Since::Sent), None);
}

#[test]
fn one_token_has_no_time_per_later_token() {
    let one = trace(&[(2000, Content, Some(1)), (2500, Empty, Some(0))], Some(1));
    assert_eq!((tpot(&one), tpot_any(&one)), (None, None));
    assert_eq!(ntpot(&one), Some(900));
    assert_eq!(RequestMetrics::of(&one).itl_ns, None);
    let unknown = trace(&[(2000, Content, None), (2500, Content, None)], None);
    assert_eq!((tpot(&unknown), ntpot(&unknown)), (None, None));
    let none = trace(&[(2000, Content, None), (2500, Content, None)], Some(0));
    assert_eq!((tpot(&none), ntpot(&none)), (None, None));
}

#[test]
fn tokens_that_came_at_once_say_nothing_of_the_time_between() {
    let bundled = trace(&[(2000, Content, None), (2000, Content, None)], Some(8));
    assert_eq!(tpot(&bundled), None);
    assert_eq!(RequestMetrics::of(&bundled).itl_ns, Some([0; 4].into()));
}

#[test]
fn unknown_tokens_of_one_chunk_leave_the_times() {
    let partly = trace(&[(2000, Content, Some(1)), (2500, Content, None)], Some(4));
    assert_eq!(token_gaps(&partly), None);
    let times = chunk_times(&partly).expect("tokens came");
    assert_eq!((times.at_ns, times.tokens), (vec![900, 500], None));
}

#[test]
fn a_chunk_that_the_server_counts_as_no_token_lengthens_the_next_gap() {
    let chunks = [
        (2000, Content, Some(1)),
        (2500, Content, Some(0)),
        (3000, Content, Some(2)),
    ];
    assert_eq!(token_gaps(&trace(&chunks, Some(3))), Some(vec![500, 500]));
}

#[test]
fn quotients_round_to_the_nearest_and_halves_go_up() {
    let wanted = [(7, 2, 4), (5, 4, 1), (6, 4, 2), (-7, 2, -3), (-5, 4, -1)];
    for (total, parts, quotient) in wanted {
        assert_eq!(rounded(total, parts), quotient, "{total} / {parts}");
    }
    assert_eq!(rounded(i64::MAX, 1), i64::MAX);
    assert_eq!(rounded(i64::MIN, 1), i64::MIN);
}

#[test]
fn tokens_that_came_with_the_first_chunk_or_before_are_no_later_ones() {
    let chunks = [
        (2000, Content, Some(4)),
        (5000, Content, Some(1)),
        (6000, Content, Some(1)),
    ];
    assert_eq!(tpot(&trace(&chunks, Some(6))), Some(2000), "two came later");
    let chunks = [(2000, Content, None), (6000, Content, None)];
    let mut hidden = trace(&chunks, Some(105));
    assert_eq!(tpot(&hidden), Some(38), "4000 over 104");
    hidden.reply.reasoning_tokens = Some(100);
    assert_eq!(tpot(&hidden), Some(1000), "the reasoning was never sent");
    let seen = [(2000, Reasoning, None), (6000, Content, None)];
    let mut seen = trace(&seen, Some(105));
    seen.reply.reasoning_tokens = Some(100);
    assert_eq!(tpot(&seen), Some(38), "it was sent");
}
